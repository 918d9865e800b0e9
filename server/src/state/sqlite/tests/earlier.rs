//! States of earlier versions, of later ones, and what a disk has left of one.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;

fn dump(schema: u32) -> PathBuf {
    let states = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/state");
    states.join(format!("schema-{schema}.sql"))
}

/// A data directory with the state of an earlier daemon.
fn earlier(schema: u32) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let sql = fs::read_to_string(dump(schema)).unwrap();
    let connection = Connection::open(path_in(directory.path())).unwrap();
    connection.execute_batch(&sql).unwrap();
    directory
}

/// Breaks when a daemon that is replaced by this one loses what its tenants had.
#[test]
fn a_state_of_every_earlier_schema_is_brought_up_to_date() {
    // Of the present schema there may be one; of each before it there must be.
    let present = dump(SCHEMA).exists().then_some(SCHEMA);
    for schema in (1..SCHEMA).chain(present) {
        let directory = earlier(schema);
        for _ in 0..2 {
            let state = SqliteState::open(&path_in(directory.path())).unwrap();
            assert_whole(&state, schema);
        }
    }
    assert!(dump(1).exists());
}

/// Everything that tests/fixtures/state/make.py writes.
fn assert_whole(state: &SqliteState, schema: u32) {
    let version: i64 = state
        .connection()
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, i64::from(SCHEMA));
    let other = state.tenant(&"other".parse().unwrap()).unwrap();
    assert_eq!(state.tenant(&TenantName::local()).unwrap(), LOCAL);
    assert_eq!(other, TenantId(2));

    let tokens = state.tokens().unwrap();
    let keys: Vec<_> = tokens.iter().map(|token| token.key.0[0]).collect();
    assert_eq!(keys, [1, 2, 3]);
    let [first, rotated, revoked] = &tokens[..] else {
        panic!("three were written")
    };
    assert_eq!((first.tenant, first.secret_sha256), (LOCAL, [17; 32]));
    assert_eq!(first.scopes, Scopes::of(&[Scope::Train, Scope::Jobs]));
    assert_eq!(rotated.tenant_name.as_str(), "other");
    assert_eq!(rotated.previous, Some(([19; 32], UnixMillis(9000))));
    assert_eq!(rotated.expires, Some(UnixMillis(5000)));
    assert_eq!(revoked.revoked, Some(UnixMillis(1500)));

    let job = state.job(LOCAL, JobKey([1; 16])).unwrap().unwrap();
    assert_eq!(job.state, JobState::Done);
    assert_eq!(
        (job.created, job.ended),
        (UnixMillis(2000), Some(UnixMillis(2004)))
    );
    assert_eq!((job.agreed.cut, job.agreed.adapter.rank), (1, 4));
    assert_eq!(job.agreed.settings.class_weights, [0.5, 1.5]);
    assert_eq!((job.examples.train, job.examples.bytes), (8, 640));
    let failed = state.job(other, JobKey([2; 16])).unwrap().unwrap();
    assert_eq!(failed.failure, Some(FailureClass::ClientLost));
    let open = state.open_jobs().unwrap();
    let [open] = &open[..] else {
        panic!("one was at work")
    };
    // Seeds are kept from the second schema on.
    let seed = (schema >= 2).then_some([7; 32]);
    assert_eq!(open.record.key, JobKey([3; 16]));
    assert_eq!(open.seed.map(|seed| seed.0), seed);

    let events = state.events(LOCAL, job.key, 0, 9, usize::MAX).unwrap();
    let (events, now) = events.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["queued", "started", "step", "validation", "done"]);
    assert_eq!((events[3].cursor, now), (4, JobState::Done));
    assert_eq!(events[3].data["confusion"], serde_json::json!([3, 1, 1, 3]));
    // Before the third schema no daemon wrote an adapter: such a row has no files.
    let adapters = state.adapters(LOCAL, None, 9).unwrap();
    let names: Vec<_> = adapters.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, if schema >= 3 { vec!["first"] } else { vec![] });
}

/// The bytes of a state that lies whole in its file, of more than a few pages.
fn whole() -> Vec<u8> {
    let directory = earlier(1);
    let path = path_in(directory.path());
    let state = SqliteState::open(&path).unwrap();
    for number in 10..200 {
        state.create_job(&new_job(number), NOW).unwrap();
    }
    drop(state);
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.len() > 16 * 4096, "{}", bytes.len());
    bytes
}

fn refused(bytes: &[u8]) -> StateError {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(directory.path());
    fs::write(&path, bytes).unwrap();
    let refused = SqliteState::open(&path).unwrap_err();
    assert!(fs::read(&path).unwrap() == bytes, "it was written to");
    refused
}

/// Breaks when a daemon begins anew on what is left of a state, or writes into it.
#[test]
fn a_state_that_is_cut_off_or_damaged_is_refused_and_left_as_it_is() {
    let whole = whole();
    let half = &whole[..whole.len() / 2 + 100];
    let page_less = &whole[..whole.len() - 4096];
    let mut no_tree = whole.clone();
    no_tree[4096..4104].fill(0xff); // the head of the second page
    let mut no_header = whole.clone();
    no_header[..16].fill(0);
    for (case, bytes) in [half, page_less, &no_tree, &no_header]
        .into_iter()
        .enumerate()
    {
        let error = refused(bytes);
        assert!(
            matches!(error, StateError::Damaged { .. }),
            "{case}: {error}"
        );
        let said = error.to_string();
        for part in ["state.sqlite", "left as it is", "backup"] {
            assert!(said.contains(part), "{said}");
        }
    }
}

#[test]
fn a_state_of_a_later_version_is_not_written_to() {
    let mut later = whole();
    // `user_version`, big-endian: https://www.sqlite.org/fileformat2.html#the_database_header
    later[60..64].copy_from_slice(&(SCHEMA + 1).to_be_bytes());
    let error = refused(&later);
    assert!(matches!(error, StateError::NewerSchema { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("start the version that wrote it")
    );
}

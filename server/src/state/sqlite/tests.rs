#![allow(clippy::unwrap_used)]

mod earlier;

use std::sync::Arc;

use rusqlite::Connection;
use shared::protocol::message::{DoneReason, TrainDone};

use super::migrations::SCHEMA;
use super::test_support::{LOCAL, fit, new_job, opened};
use super::*;
use crate::auth::{Scope, Scopes};
use crate::state::{FailureClass, RunSeed, path_in};

const NOW: UnixMillis = UnixMillis(1000);

fn done() -> JobEvent {
    JobEvent::Done(TrainDone {
        steps: 1,
        best_step: 1,
        reason: DoneReason::Finished,
    })
}

fn token(number: u8) -> TokenRecord {
    TokenRecord {
        key: TokenKey([number; 16]),
        tenant: LOCAL,
        tenant_name: TenantName::local(),
        secret_sha256: [number; 32],
        previous: None,
        scopes: Scopes::of(&[Scope::Train, Scope::Jobs]),
        created: NOW,
        expires: Some(UnixMillis(2000)),
        revoked: None,
    }
}

/// Breaks when the durability that is promised is not asked for.
#[test]
fn the_file_is_written_durably() {
    let (_directory, state) = opened();
    let connection = state.connection();
    let text = |name| -> String {
        connection
            .pragma_query_value(None, name, |row| row.get(0))
            .unwrap()
    };
    let number = |name| -> i64 {
        connection
            .pragma_query_value(None, name, |row| row.get(0))
            .unwrap()
    };
    assert_eq!(text("journal_mode"), "wal");
    assert_eq!(number("synchronous"), 2); // FULL
    assert_eq!(number("foreign_keys"), 1);
    assert_eq!(number("secure_delete"), 1);
    assert_eq!(number("user_version"), i64::from(SCHEMA));
}

#[test]
fn a_state_is_found_again() {
    let (directory, state) = opened();
    state.create_job(&new_job(1), NOW).unwrap();
    state.add_token(&token(1)).unwrap();
    drop(state);
    let state = SqliteState::open(&path_in(directory.path())).unwrap();
    let job = state.job(LOCAL, JobKey([1; 16])).unwrap().unwrap();
    let NewJob {
        agreed, examples, ..
    } = new_job(1);
    assert_eq!((job.state, job.created), (JobState::Queued, NOW));
    assert_eq!((job.agreed, job.examples), (agreed, examples));
    assert_eq!(state.tokens().unwrap(), [token(1)]);
}

#[test]
fn a_file_of_a_later_version_is_left_as_it_is() {
    let (directory, state) = opened();
    drop(state);
    let path = path_in(directory.path());
    let connection = Connection::open(&path).unwrap();
    connection
        .pragma_update(None, "user_version", SCHEMA + 1)
        .unwrap();
    let refused = SqliteState::open(&path).unwrap_err();
    let StateError::NewerSchema { expected, actual } = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((expected, actual), (SCHEMA, SCHEMA + 1));
    connection.pragma_update(None, "user_version", -1).unwrap();
    let refused = SqliteState::open(&path).unwrap_err();
    assert!(matches!(refused, StateError::ForeignSchema { actual: -1 }));
}

#[test]
fn a_file_that_is_no_database_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(directory.path());
    std::fs::write(&path, [7; 4096]).unwrap();
    assert!(matches!(
        SqliteState::open(&path),
        Err(StateError::Damaged { .. })
    ));
    assert_eq!(std::fs::read(&path).unwrap(), [7; 4096]);
}

#[test]
fn only_its_owner_may_look_in() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("a/b");
    SqliteState::open(&path_in(&inner)).unwrap();
    let mode = std::fs::metadata(&inner).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_log_only_grows_and_its_events_move_the_job() {
    let (_directory, state) = opened();
    let key = JobKey([1; 16]);
    state.create_job(&new_job(1), NOW).unwrap();
    let started = JobEvent::Started { steps_total: 3 };
    let after = state.append(key, &[started, JobEvent::Paused], UnixMillis(1001));
    assert_eq!(after.unwrap(), JobState::Paused);
    // Said again: written, and nothing moves.
    state
        .append(key, &[JobEvent::Paused], UnixMillis(1002))
        .unwrap();
    // A held job takes no step, so it cannot end by itself; then nothing of the call is kept.
    let both = [JobEvent::Paused, done()];
    let refused = state.append(key, &both, UnixMillis(1003));
    assert!(matches!(refused, Err(StateError::Transition(_))));
    state
        .append(key, &[JobEvent::Continued, done()], UnixMillis(1004))
        .unwrap();
    let (events, now) = state
        .events(LOCAL, key, 0, 100, usize::MAX)
        .unwrap()
        .unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    let expected = ["queued", "started", "paused", "paused", "continued", "done"];
    assert_eq!(kinds, expected);
    let cursors: Vec<_> = events.iter().map(|event| event.cursor).collect();
    assert_eq!(cursors, [1, 2, 3, 4, 5, 6]);
    assert_eq!(now, JobState::Done);
    let job = state.job(LOCAL, key).unwrap().unwrap();
    // The first start and the end count.
    assert_eq!(job.started, Some(UnixMillis(1001)));
    assert_eq!(job.ended, Some(UnixMillis(1004)));
    assert_eq!(job.failure, None);
    let late = state.append(key, &[JobEvent::Continued], UnixMillis(1005));
    assert!(matches!(late, Err(StateError::HasEnded { .. })));
    let unknown = state.append(JobKey([9; 16]), &[done()], NOW);
    assert!(matches!(unknown, Err(StateError::UnknownJob)));
}

#[test]
fn a_page_of_events_is_bounded_in_number_and_bytes() {
    let (_directory, state) = opened();
    let key = JobKey([1; 16]);
    state.create_job(&new_job(1), NOW).unwrap();
    let started = JobEvent::Started { steps_total: 3 };
    let continued = vec![JobEvent::Continued; 8];
    state.append(key, &[started], NOW).unwrap();
    state.append(key, &continued, NOW).unwrap();
    let page = |after, limit, bytes_max| {
        let (events, _) = state
            .events(LOCAL, key, after, limit, bytes_max)
            .unwrap()
            .unwrap();
        events.iter().map(|event| event.cursor).collect::<Vec<_>>()
    };
    assert_eq!(page(0, 3, usize::MAX), [1, 2, 3]);
    assert_eq!(page(3, 100, usize::MAX), [4, 5, 6, 7, 8, 9, 10]);
    // "{}" is two bytes, and one event comes whatever its size.
    assert_eq!(page(4, 100, 4), [5, 6]);
    assert_eq!(page(4, 100, 0), [5]);
    assert_eq!(page(10, 100, usize::MAX), [0; 0]);
    assert_eq!(page(u64::MAX, 100, usize::MAX), [0; 0]);
}

#[test]
fn a_tenant_sees_its_own_only() {
    let (_directory, state) = opened();
    let other = state.tenant(&"other".parse().unwrap()).unwrap();
    assert_ne!(other, LOCAL);
    let key = JobKey([1; 16]);
    state.create_job(&new_job(1), NOW).unwrap();
    state
        .append(key, &[JobEvent::Failed(FailureClass::Trainer)], NOW)
        .unwrap();
    let adapter = AdapterRecord {
        key: AdapterKey([1; 16]),
        job: Some(key),
        tenant: LOCAL,
        name: "first".parse().unwrap(),
        fit: fit(),
        is_default: false,
        created: NOW,
        metrics: serde_json::json!({ "accuracy": 0.5 }),
        bytes: 12,
    };
    state.add_adapter(&adapter).unwrap();
    assert_eq!(
        state.adapters(LOCAL, None, 9).unwrap(),
        std::slice::from_ref(&adapter)
    );
    assert_eq!(state.job(other, key).unwrap(), None);
    assert_eq!(state.jobs(other, None, 9).unwrap(), []);
    assert_eq!(state.events(other, key, 0, 9, 9).unwrap(), None);
    assert_eq!(state.adapters(other, None, 9).unwrap(), []);
    assert_eq!(state.delete_job(other, key).unwrap(), None);
    let foreign = AdapterRecord {
        key: AdapterKey([2; 16]),
        tenant: other,
        ..adapter
    };
    assert!(matches!(
        state.add_adapter(&foreign),
        Err(StateError::UnknownJob)
    ));
    let removed = Removed {
        events: 2,
        adapters: vec![AdapterKey([1; 16])],
    };
    assert_eq!(state.delete_job(LOCAL, key).unwrap(), Some(removed));
    assert_eq!(state.events(LOCAL, key, 0, 9, 9).unwrap(), None);
    assert_eq!(state.adapters(LOCAL, None, 9).unwrap(), []);
}

#[test]
fn a_job_that_goes_on_is_not_deleted() {
    let (_directory, state) = opened();
    state.create_job(&new_job(1), NOW).unwrap();
    let refused = state.delete_job(LOCAL, JobKey([1; 16]));
    let queued = JobState::Queued;
    assert!(matches!(refused, Err(StateError::NotEnded { state }) if state == queued));
    let open = state.open_jobs().unwrap();
    let keys: Vec<_> = open.iter().map(|open| open.record.key).collect();
    assert_eq!(keys, [JobKey([1; 16])]);
    assert_eq!(
        (open[0].tenant, open[0].seed),
        (LOCAL, Some(RunSeed([1; 32])))
    );
}

#[test]
fn jobs_count_until_they_have_ended() {
    let (_directory, state) = opened();
    let other = state.tenant(&"other".parse().unwrap()).unwrap();
    let key = JobKey([1; 16]);
    state.create_job(&new_job(1), NOW).unwrap();
    state.create_job(&new_job(2), NOW).unwrap();
    let started = JobEvent::Started { steps_total: 3 };
    state
        .append(key, &[started, JobEvent::Paused], NOW)
        .unwrap();
    assert_eq!(state.count_open_jobs(LOCAL).unwrap(), 2);
    assert_eq!(state.count_open_jobs(other).unwrap(), 0);
    assert_eq!(state.job_state(key).unwrap(), Some(JobState::Paused));
    state
        .append(key, &[JobEvent::Continued, done()], NOW)
        .unwrap();
    assert_eq!(state.count_open_jobs(LOCAL).unwrap(), 1);
    assert_eq!(state.open_jobs().unwrap().len(), 1);
    assert_eq!(state.job_state(key).unwrap(), Some(JobState::Done));
    assert_eq!(state.job_state(JobKey([9; 16])).unwrap(), None);
}

/// What a daemon stopped, or what killed it, goes on: where it was, with steps that were taken
/// before.
#[test]
fn a_job_goes_back_into_the_queue_and_on() {
    let (_directory, state) = opened();
    let key = JobKey([1; 16]);
    state.create_job(&new_job(1), NOW).unwrap();
    let (step, steps_total) = (2, 3);
    let resumed = || JobEvent::Resumed { step, steps_total };
    let started = JobEvent::Started { steps_total };
    let stopped = state.append(key, &[started, JobEvent::Queued], NOW);
    assert_eq!(stopped.unwrap(), JobState::Queued);
    assert_eq!(
        state.append(key, &[resumed()], NOW).unwrap(),
        JobState::Running
    );
    // It was killed: nothing was said in between.
    assert_eq!(
        state.append(key, &[resumed()], NOW).unwrap(),
        JobState::Running
    );
    let held = state.append(key, &[JobEvent::Paused, resumed(), JobEvent::Paused], NOW);
    assert_eq!(held.unwrap(), JobState::Paused);
    let (events, _) = state.events(LOCAL, key, 3, 1, 99).unwrap().unwrap();
    assert_eq!(events[0].kind, "resumed");
    assert_eq!(
        events[0].data,
        serde_json::json!({ "step": 2, "steps_total": 3 })
    );
}

/// A file of the first version, with a job that was open when its daemon ended.
#[test]
fn a_file_of_the_first_version_is_brought_up_to_date() {
    let (directory, state) = opened();
    state.create_job(&new_job(1), NOW).unwrap();
    {
        let connection = state.connection();
        let back = "ALTER TABLE jobs DROP COLUMN seed; PRAGMA user_version = 1;";
        connection.execute_batch(back).unwrap();
    }
    drop(state);
    let state = SqliteState::open(&path_in(directory.path())).unwrap();
    let open = state.open_jobs().unwrap();
    assert_eq!(open[0].record.key, JobKey([1; 16]));
    assert_eq!(open[0].seed, None);
    state.create_job(&new_job(2), NOW).unwrap();
}

#[test]
fn a_list_goes_on_where_it_was_also_when_that_job_is_gone() {
    let (_directory, state) = opened();
    // Two of the same millisecond among them.
    for (number, time) in [(1, 10), (2, 20), (3, 20), (4, 30)] {
        state
            .create_job(&new_job(number), UnixMillis(time))
            .unwrap();
    }
    let numbers = |jobs: &[JobRecord]| jobs.iter().map(|job| job.key.0[0]).collect::<Vec<_>>();
    let first = state.jobs(LOCAL, None, 2).unwrap();
    assert_eq!(numbers(&first), [4, 3]);
    let place = first[1].place();
    state
        .append(place.key, &[JobEvent::Failed(FailureClass::Trainer)], NOW)
        .unwrap();
    state.delete_job(LOCAL, place.key).unwrap().unwrap();
    let rest = state.jobs(LOCAL, Some(place), 9).unwrap();
    assert_eq!(numbers(&rest), [2, 1]);
}

#[test]
fn a_token_is_revoked_once_and_rotated_before() {
    let (_directory, state) = opened();
    let key = TokenKey([1; 16]);
    assert_eq!(state.token(key).unwrap(), (None, false));
    assert!(matches!(
        state.revoke_token(key, NOW),
        Err(StateError::UnknownToken)
    ));
    state.add_token(&token(1)).unwrap();
    state.rotate_token(key, [8; 32], UnixMillis(1500)).unwrap();
    let (rotated, any) = state.token(key).unwrap();
    let rotated = rotated.unwrap();
    assert!(any);
    assert_eq!(rotated.secret_sha256, [8; 32]);
    assert_eq!(rotated.previous, Some(([1; 32], UnixMillis(1500))));
    state.revoke_token(key, UnixMillis(1600)).unwrap();
    state.revoke_token(key, UnixMillis(1700)).unwrap();
    let (revoked, any) = state.token(key).unwrap();
    assert_eq!(revoked.unwrap().revoked, Some(UnixMillis(1600)));
    // A daemon whose tokens are all revoked still has had some.
    assert!(any);
    assert!(matches!(
        state.rotate_token(key, [9; 32], NOW),
        Err(StateError::UnknownToken)
    ));
    assert_eq!(state.token(TokenKey([2; 16])).unwrap(), (None, true));
}

/// Two connections at once, as the daemon and the command line. Breaks when one of them does not
/// wait for the other.
#[test]
fn two_processes_write_side_by_side() {
    let (directory, state) = opened();
    let other = SqliteState::open(&path_in(directory.path())).unwrap();
    let key = JobKey([1; 16]);
    state.create_job(&new_job(1), NOW).unwrap();
    state
        .append(key, &[JobEvent::Started { steps_total: 1 }], NOW)
        .unwrap();
    let (state, other) = (Arc::new(state), Arc::new(other));
    let writers = [state.clone(), other, state.clone()].map(|store| {
        std::thread::spawn(move || {
            for _ in 0..10 {
                store.append(key, &[JobEvent::Continued], NOW).unwrap();
            }
        })
    });
    for writer in writers {
        writer.join().unwrap();
    }
    let (events, _) = state
        .events(LOCAL, key, 0, 100, usize::MAX)
        .unwrap()
        .unwrap();
    let cursors: Vec<_> = events.iter().map(|event| event.cursor).collect();
    assert_eq!(cursors, (1..=32).collect::<Vec<_>>());
}

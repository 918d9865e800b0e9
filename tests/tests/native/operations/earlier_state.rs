//! A daemon that is started on what another version has left, or on what a disk has left of it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use rusqlite::Connection;
use serde_json::Value;
use server::auth::{Scope, Scopes};
use server::state::{UnixMillis, path_in};
use server::token_command::create;
use tempfile::TempDir;
use tests::assets::{ModelDirectory, repository};
use tests::{Options, TestServer, http};

use crate::samples::server_with;
use tests::daemon::program;

/// A data directory with the state of a daemon of the first schema; tests/fixtures/state says what is
/// in it.
fn first_schema() -> TempDir {
    let data = tempfile::tempdir().unwrap();
    let dump = repository().join("tests/fixtures/state/schema-1.sql");
    let connection = Connection::open(path_in(data.path())).unwrap();
    let dump = fs::read_to_string(dump).unwrap();
    connection.execute_batch(&dump).unwrap();
    data
}

async fn get(server: &TestServer, path: &str, tenant: &str) -> Value {
    let scopes = Scopes::of(&[Scope::Jobs, Scope::Adapters]);
    let (store, name) = (server.state.blocking(), tenant.parse().unwrap());
    let token = create(store, name, scopes, None, UnixMillis::now()).unwrap();
    let bearer = format!("Bearer {}", token.reveal());
    let answer = http::get(server.addr, path, &[("Authorization", &bearer)])
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{path}");
    serde_json::from_slice(&answer.body).unwrap()
}

/// Breaks when tenants lose jobs, or get in without a token, with a new version of the daemon.
#[tokio::test]
async fn a_daemon_goes_on_with_the_state_of_the_first_schema() {
    let options = Options {
        data: Some(Arc::new(first_schema())),
        ..Options::default()
    };
    let server = server_with(options).await;
    // There are tokens, so nobody is let in without one.
    let without = http::get(server.addr, "/v1/jobs", &[]).await.unwrap();
    assert_eq!(without.status, 401);

    let jobs = get(&server, "/v1/jobs", "local").await;
    let [job] = &jobs["jobs"].as_array().unwrap()[..] else {
        panic!("{jobs}")
    };
    assert_eq!(
        (&job["id"], &job["state"]),
        (&"01".repeat(16).into(), &"done".into())
    );
    assert_eq!(job["agreed"]["settings"]["epochs"], 3);
    let path = format!("/v1/jobs/{}/events", "01".repeat(16));
    let events = get(&server, &path, "local").await;
    assert_eq!(events["events"].as_array().unwrap().len(), 5);
    let adapters = get(&server, "/v1/adapters", "local").await;
    // No daemon of that schema wrote an adapter: the row that is there has no files.
    assert_eq!(adapters["adapters"], serde_json::json!([]));

    // The other tenant's: one that had failed, and one that was at work when that daemon ended.
    let jobs = get(&server, "/v1/jobs", "other").await;
    let states = jobs["jobs"].as_array().unwrap();
    let states: Vec<_> = states.iter().map(|job| &job["state"]).collect();
    assert_eq!(states, ["failed", "failed"]);
}

/// Starts the program on a data directory; it is to end by itself.
fn refused(data: &Path) -> Output {
    let model = ModelDirectory::of_reference("bert-shaped").unwrap();
    Command::new(program().unwrap())
        .env_clear()
        .args(["--listen", "127.0.0.1:0", "--device", "cpu", "--model"])
        .arg(model.path())
        .arg("--data")
        .arg(data)
        .output()
        .unwrap()
}

/// Breaks when a daemon serves with half a state, or writes into one that it does not understand.
#[test]
fn a_daemon_does_not_start_on_a_state_that_is_damaged_or_newer() {
    let whole = first_schema();
    let whole = fs::read(path_in(whole.path())).unwrap();
    let half = whole[..whole.len() / 2].to_vec();
    let mut newer = whole;
    newer[60..64].copy_from_slice(&1000_u32.to_be_bytes()); // `user_version`
    for (bytes, said) in [(half, "damaged"), (newer, "has schema 1000")] {
        let data = tempfile::tempdir().unwrap();
        let path = path_in(data.path());
        fs::write(&path, &bytes).unwrap();
        let output = refused(data.path());
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(
            errors.contains(said) && errors.contains("backup"),
            "{errors}"
        );
        assert!(output.stdout.is_empty());
        assert!(
            fs::read(&path).unwrap() == bytes,
            "{said}: it was written to"
        );
    }
}

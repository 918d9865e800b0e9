//! A copy of a data directory, taken as docs/operations.md says while the daemon works, and a daemon
//! that is started on it.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::Value;
use shared::adapter::peft::TENSORS_FILE;
use tests::RawClient;
use tests::http::{self, Response};

use tests::daemon::{Daemon, program};

use crate::samples;

fn run(arguments: &[&str], data: &Path) -> Output {
    Command::new(program().unwrap())
        .env_clear()
        .args(arguments)
        .arg("--data")
        .arg(data)
        .output()
        .unwrap()
}

fn token(data: &Path) -> String {
    let output = run(&["token", "create", "--tenant", "acme"], data);
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn get(daemon: &Daemon, path: &str, token: &str) -> Response {
    let bearer = format!("Bearer {token}");
    http::get(daemon.addr, path, &[("Authorization", &bearer)])
        .await
        .unwrap()
}

/// A client of the tenant whose run has come to its end and whose session is open.
async fn trained(daemon: &Daemon, token: &str) -> RawClient {
    let catalogue = get(daemon, "/v1/catalogue", token).await;
    let catalogue: Value = serde_json::from_slice(&catalogue.body).unwrap();
    let hello = tests::test_server::hello(&catalogue).unwrap();
    let mut client = RawClient::connect_as(daemon.addr, token).await.unwrap();
    client.hello(hello).await.unwrap();
    samples::trained(&mut client).await;
    client
}

/// The kept adapters with the bytes of their tensors.
fn adapters(data: &Path) -> Vec<(OsString, Vec<u8>)> {
    let entries = fs::read_dir(data.join("adapters")).unwrap();
    let entries = entries.map(|entry| {
        let entry = entry.unwrap();
        let tensors = fs::read(entry.path().join(TENSORS_FILE)).unwrap();
        (entry.file_name(), tensors)
    });
    entries.collect()
}

/// Breaks when tenants, tokens, jobs or adapters are not in a backup, or the daemon has to be
/// stopped for it.
#[tokio::test]
async fn a_backup_of_a_running_daemon_is_a_daemon_with_the_same_tenants_tokens_and_jobs() {
    let mut daemon = Daemon::start(&[]).await.unwrap();
    let secret = token(&daemon.data());
    let client = trained(&daemon, &secret).await;
    let jobs = get(&daemon, "/v1/jobs", &secret).await;
    let page: Value = serde_json::from_slice(&jobs.body).unwrap();
    let job = page["jobs"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/jobs/{job}/events");
    let events = get(&daemon, &path, &secret).await;

    let kept = adapters(&daemon.data());
    assert_eq!(kept.len(), 1);

    let restored = Arc::new(tempfile::tempdir().unwrap());
    let to = restored.path().join("data");
    let output = run(&["backup", "--to", to.to_str().unwrap()], &daemon.data());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    // The place is taken now.
    let again = run(&["backup", "--to", to.to_str().unwrap()], &daemon.data());
    assert_eq!(again.status.code(), Some(1));
    assert!(!to.join("sessions").exists());
    // The daemon noticed nothing; what happens to it from now on is not in the backup.
    let list = run(&["token", "list"], &daemon.data());
    let id = String::from_utf8(list.stdout).unwrap();
    let id = id.lines().nth(1).unwrap().split('\t').next().unwrap();
    assert!(
        run(&["token", "revoke", id], &daemon.data())
            .status
            .success()
    );
    assert_eq!(get(&daemon, "/v1/jobs", &secret).await.status, 401);
    drop(client);
    daemon.signal("TERM").unwrap();
    daemon.ended().await.unwrap();

    let second = Daemon::start_in(restored, &[]).await.unwrap();
    let found = get(&second, "/v1/jobs", &secret).await;
    assert_eq!((found.status, found.body), (200, jobs.body));
    let found = get(&second, &path, &secret).await;
    assert_eq!((found.status, found.body), (200, events.body));
    assert_eq!(
        http::get(second.addr, "/v1/jobs", &[])
            .await
            .unwrap()
            .status,
        401
    );
    // Its start removes what the state does not know.
    assert_eq!(adapters(&second.data()), kept);
    drop(trained(&second, &secret).await);
}

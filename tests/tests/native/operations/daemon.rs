//! The built program `cutlayer-server` as a process: signals, with a WebSocket open.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;
use tests::RawClient;
use tests::daemon::Daemon;
use tests::http::get;

use super::tls::{connect, fixture};

async fn welcomed(daemon: &Daemon) -> anyhow::Result<RawClient> {
    let response = get(daemon.addr, "/v1/catalogue", &[]).await?;
    let catalogue: Value = serde_json::from_slice(&response.body)?;
    let hello = tests::test_server::hello(&catalogue).context("no Hello")?;
    Ok(RawClient::welcomed(daemon.addr, hello).await?.0)
}

#[tokio::test]
async fn sigterm_tells_sessions_and_ends_in_time() {
    let mut daemon = Daemon::start(&["--shutdown-seconds", "10"]).await.unwrap();
    let mut client = welcomed(&daemon).await.unwrap();
    let mut silent = RawClient::connect(daemon.addr).await.unwrap();
    daemon.signal("TERM").unwrap();
    let signalled = Instant::now();
    assert_eq!(client.closed().await.unwrap(), Some(1012));
    assert_eq!(silent.closed().await.unwrap(), Some(1013));
    drop((client, silent));
    let status = daemon.ended().await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    assert!(signalled.elapsed() < Duration::from_secs(10));
    assert!(RawClient::connect(daemon.addr).await.is_err());
    // Lines of JSON, and one id for all lines of a session.
    let lines: Vec<Value> = daemon
        .log()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let ids = |message: &str| -> Vec<String> {
        let lines = lines
            .iter()
            .filter(|line| line["fields"]["message"] == message);
        let id = |line: &Value| line["span"]["request_id"].as_str().unwrap().to_owned();
        lines.map(id).collect()
    };
    let (mut opened, mut closed) = (ids("a session opened"), ids("a session closed"));
    opened.sort();
    closed.sort();
    assert_eq!(opened.len(), 2);
    assert_eq!(opened, closed);
    assert!(opened[0].len() == 32 && opened[0] != opened[1]);
}

/// Breaks when an impatient operator has to send SIGKILL.
#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    let mut daemon = Daemon::start(&["--shutdown-seconds", "600"]).await.unwrap();
    // A client that does not answer the close frame is waited for, two seconds or more.
    let _client = welcomed(&daemon).await.unwrap();
    daemon.signal("TERM").unwrap();
    daemon
        .eventually(|daemon| daemon.log().contains("once more").then_some(()))
        .await
        .unwrap();
    daemon.signal("TERM").unwrap();
    let status = daemon.ended().await.unwrap();
    assert_eq!(status.code(), Some(130));
}

#[tokio::test]
async fn sighup_takes_a_new_certificate_and_keeps_the_old_one_when_it_is_bad() {
    let files = tempfile::tempdir().unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| files.path().join(name));
    let place = |name: &str| {
        std::fs::copy(fixture(&format!("{name}-cert.pem")), &cert).unwrap();
        std::fs::copy(fixture(&format!("{name}-key.pem")), &key).unwrap();
    };
    place("test-only");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (cert_text, key_text) = (text(&cert), text(&key));
    let arguments = ["--tls-cert", &cert_text, "--tls-key", &key_text];
    let mut daemon = Daemon::start(&arguments).await.unwrap();
    connect(daemon.addr, "test-only-cert.pem").await.unwrap();

    std::fs::write(&cert, "no certificate").unwrap();
    daemon.signal("HUP").unwrap();
    daemon
        .eventually(|daemon| daemon.log().contains("stays what it was").then_some(()))
        .await
        .unwrap();
    connect(daemon.addr, "test-only-cert.pem").await.unwrap();

    place("test-only-other");
    daemon.signal("HUP").unwrap();
    daemon
        .eventually(|daemon| daemon.log().contains("were read again").then_some(()))
        .await
        .unwrap();
    connect(daemon.addr, "test-only-other-cert.pem")
        .await
        .unwrap();
    assert!(connect(daemon.addr, "test-only-cert.pem").await.is_err());
}

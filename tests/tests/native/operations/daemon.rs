//! The built program `cutlayer-server` as a process: signals, with a WebSocket open.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;
use tempfile::TempDir;
use tests::RawClient;
use tests::assets::ModelDirectory;
use tests::http::get;

use super::tls::{connect, fixture};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program of the same build: Cargo names it only to tests of its own package.
pub(super) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let directory = test.parent().unwrap().parent().unwrap();
    let program = directory.join("cutlayer-server");
    let help = "build it first: cargo build --release --package server";
    assert!(program.is_file(), "no {}; {help}", program.display());
    program
}

/// A running process, killed when the test ends.
pub(super) struct Daemon {
    child: Child,
    pub(super) addr: SocketAddr,
    directory: TempDir,
    _model: ModelDirectory,
}

impl Daemon {
    pub(super) async fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments).await
    }

    /// Starts a daemon that works in `data` of a directory.
    pub(super) async fn start_in(directory: TempDir, arguments: &[&str]) -> Self {
        let model = ModelDirectory::of_reference("bert-shaped").unwrap();
        let file = |name: &str| std::fs::File::create(directory.path().join(name)).unwrap();
        let child = Command::new(program())
            .env_clear()
            .args(["--listen", "127.0.0.1:0", "--device", "cpu", "--model"])
            .arg(model.path())
            .arg("--data")
            .arg(directory.path().join("data"))
            .arg("--json-logs")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("log"))
            .spawn()
            .unwrap();
        let mut daemon = Self {
            child,
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            directory,
            _model: model,
        };
        let url = daemon.eventually(|daemon| {
            let out = std::fs::read_to_string(daemon.directory.path().join("out")).ok()?;
            out.ends_with('\n').then_some(out)
        });
        let url = url.await;
        let authority = url.trim().split("//").nth(1).unwrap().trim_end_matches('/');
        daemon.addr = authority.parse().unwrap();
        daemon
    }

    pub(super) async fn eventually<T>(
        &mut self,
        mut look: impl FnMut(&mut Self) -> Option<T>,
    ) -> T {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(Instant::now() < give_up, "it never came:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    pub(super) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    pub(super) async fn ended(&mut self) -> ExitStatus {
        self.eventually(|daemon| daemon.child.try_wait().unwrap())
            .await
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) async fn welcomed(daemon: &Daemon) -> anyhow::Result<RawClient> {
    let response = get(daemon.addr, "/v1/catalogue", &[]).await?;
    let catalogue: Value = serde_json::from_slice(&response.body)?;
    let hello = tests::test_server::hello(&catalogue).context("no Hello")?;
    Ok(RawClient::welcomed(daemon.addr, hello).await?.0)
}

#[tokio::test]
async fn sigterm_tells_sessions_and_ends_in_time() {
    let mut daemon = Daemon::start(&["--shutdown-seconds", "10"]).await;
    let mut client = welcomed(&daemon).await.unwrap();
    let mut silent = RawClient::connect(daemon.addr).await.unwrap();
    daemon.signal("TERM");
    let signalled = Instant::now();
    assert_eq!(client.closed().await.unwrap(), Some(1012));
    assert_eq!(silent.closed().await.unwrap(), Some(1013));
    drop((client, silent));
    let status = daemon.ended().await;
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
    let mut daemon = Daemon::start(&["--shutdown-seconds", "600"]).await;
    // A client that does not answer the close frame is waited for, two seconds or more.
    let _client = welcomed(&daemon).await.unwrap();
    daemon.signal("TERM");
    daemon
        .eventually(|daemon| daemon.log().contains("once more").then_some(()))
        .await;
    daemon.signal("TERM");
    let status = daemon.ended().await;
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
    let mut daemon = Daemon::start(&arguments).await;
    connect(daemon.addr, "test-only-cert.pem").await.unwrap();

    std::fs::write(&cert, "no certificate").unwrap();
    daemon.signal("HUP");
    daemon
        .eventually(|daemon| daemon.log().contains("stays what it was").then_some(()))
        .await;
    connect(daemon.addr, "test-only-cert.pem").await.unwrap();

    place("test-only-other");
    daemon.signal("HUP");
    daemon
        .eventually(|daemon| daemon.log().contains("were read again").then_some(()))
        .await;
    connect(daemon.addr, "test-only-other-cert.pem")
        .await
        .unwrap();
    assert!(connect(daemon.addr, "test-only-cert.pem").await.is_err());
}

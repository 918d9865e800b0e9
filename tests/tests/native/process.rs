//! The built program `cutlayer-server` as a process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tests::assets::ModelDirectory;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program of the same build: Cargo names it only to tests of its own package.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let directory = test.parent().unwrap().parent().unwrap();
    let program = directory.join("cutlayer-server");
    let help = "build it first: cargo build --release --package server";
    assert!(program.is_file(), "no {}; {help}", program.display());
    program
}

/// A running process, killed when the test ends.
pub struct Daemon {
    pub child: Child,
    pub addr: SocketAddr,
    directory: Arc<TempDir>,
    _model: ModelDirectory,
}

impl Daemon {
    pub async fn start(arguments: &[&str]) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), arguments).await
    }

    /// Starts it in a directory in which another one may have worked.
    pub async fn start_in(directory: Arc<TempDir>, arguments: &[&str]) -> Self {
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

    pub async fn eventually<T>(&mut self, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(Instant::now() < give_up, "it never came:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    pub async fn ended(&mut self) -> ExitStatus {
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

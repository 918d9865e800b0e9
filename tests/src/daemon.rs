//! The built program `cutlayer-server` as a process of its own: its signals, its log, what it uses.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::assets::ModelDirectory;
use crate::small_disk::SmallDisk;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running process, killed when this is dropped.
#[derive(Debug)]
pub struct Daemon {
    /// Where it listens.
    pub addr: SocketAddr,
    child: Child,
    directory: Arc<TempDir>,
    /// Where its data directory is for others.
    data: PathBuf,
    _model: ModelDirectory,
}

/// What a process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Of its memory, what is in RAM.
    pub rss_bytes: u64,
    /// Open files and sockets.
    pub files: usize,
}

/// The program of the same build: Cargo names it only to tests of its own package.
///
/// # Errors
///
/// When it was not built.
pub fn program() -> anyhow::Result<PathBuf> {
    // `target/release/deps/native-0123` and `target/release/examples/soak`.
    let own = std::env::current_exe()?;
    let directory = own.parent().and_then(Path::parent);
    let program = directory
        .context("this program lies nowhere")?
        .join("cutlayer-server");
    let help = "build it first: cargo build --release --package server";
    ensure!(program.is_file(), "no {}; {help}", program.display());
    Ok(program)
}

impl Usage {
    /// Of a process by its name below Linux' `/proc`: its number, or `self`.
    ///
    /// # Errors
    ///
    /// When it has ended, or there is no `/proc`.
    pub fn of(process: &str) -> anyhow::Result<Self> {
        let process = Path::new("/proc").join(process);
        let status = fs::read_to_string(process.join("status"))?;
        Ok(Self {
            rss_bytes: rss_bytes(&status).context("no VmRSS")?,
            files: fs::read_dir(process.join("fd"))?.count(),
        })
    }
}

impl Daemon {
    /// Starts the daemon for the model `bert-shaped` on a free port, with more arguments.
    ///
    /// # Errors
    ///
    /// When it was not built, or does not say where it listens.
    pub async fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_in(Arc::new(tempfile::tempdir()?), arguments).await
    }

    /// As `start`, in a directory in which another one may have worked.
    ///
    /// # Errors
    ///
    /// As for `start`.
    pub async fn start_in(directory: Arc<TempDir>, arguments: &[&str]) -> anyhow::Result<Self> {
        let data = directory.path().join("data");
        let command = Command::new(program()?);
        Self::spawn(directory, command, arguments, |_| data).await
    }

    /// As `start`, with a data directory on a disk of its own, which goes with it.
    ///
    /// # Errors
    ///
    /// As for `start`, and when there is no such disk.
    pub async fn start_on(disk: &SmallDisk, arguments: &[&str]) -> anyhow::Result<Self> {
        let directory = Arc::new(tempfile::tempdir()?);
        let data = directory.path().join("data");
        fs::create_dir(&data)?;
        let command = disk.command(&data, &program()?);
        Self::spawn(directory, command, arguments, |child| {
            SmallDisk::seen_from_outside(child, &data)
        })
        .await
    }

    async fn spawn(
        directory: Arc<TempDir>,
        mut command: Command,
        arguments: &[&str],
        data: impl FnOnce(&Child) -> PathBuf,
    ) -> anyhow::Result<Self> {
        let model = ModelDirectory::of_reference("bert-shaped")?;
        let file = |name: &str| fs::File::create(directory.path().join(name));
        let child = command
            .env_clear()
            .args(["--listen", "127.0.0.1:0", "--device", "cpu", "--model"])
            .arg(model.path())
            .arg("--data")
            .arg(directory.path().join("data"))
            .arg("--json-logs")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file("out")?)
            .stderr(file("log")?)
            .spawn()?;
        let mut daemon = Self {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            data: data(&child),
            child,
            directory,
            _model: model,
        };
        let url = daemon.eventually(|daemon| {
            let out = fs::read_to_string(daemon.directory.path().join("out")).ok()?;
            out.ends_with('\n').then_some(out)
        });
        let url = url.await?;
        let authority = url.trim().split("//").nth(1).context("no address")?;
        daemon.addr = authority.trim_end_matches('/').parse()?;
        Ok(daemon)
    }

    /// Looks until something is there.
    ///
    /// # Errors
    ///
    /// When it never comes; with the log.
    pub async fn eventually<T>(
        &mut self,
        mut look: impl FnMut(&mut Self) -> Option<T>,
    ) -> anyhow::Result<T> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return Ok(found);
            }
            ensure!(Instant::now() < give_up, "it never came:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What it has logged; nothing if that cannot be read.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// Sends a signal by its name, such as `TERM`.
    ///
    /// # Errors
    ///
    /// When there is no such process any more.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status()?;
        ensure!(sent.success(), "{name} could not be sent");
        Ok(())
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        self.eventually(|daemon| daemon.child.try_wait().ok().flatten())
            .await
    }

    /// Sends TERM and waits.
    ///
    /// # Errors
    ///
    /// When it does not end, or not with 0; with the log.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.signal("TERM")?;
        let code = self.ended().await?.code();
        ensure!(code == Some(0), "it ended with {code:?}:\n{}", self.log());
        Ok(())
    }

    /// What it uses now.
    ///
    /// # Errors
    ///
    /// When it has ended, or there is no `/proc`.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(&self.child.id().to_string())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `VmRSS:      1234 kB`
fn rss_bytes(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// Bytes of all files under a directory. A file that goes meanwhile counts as nothing.
///
/// # Errors
///
/// When the directory itself cannot be read.
pub fn bytes_under(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        bytes += match metadata.is_dir() {
            true => bytes_under(&entry.path()).unwrap_or(0),
            false => metadata.len(),
        };
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    9 kB\nVmRSS:\t    1234 kB\nThreads:\t2\n";
        assert_eq!(rss_bytes(status), Some(1_263_616));
        assert_eq!(rss_bytes("Name:\tx\n"), None);
    }

    #[test]
    fn a_directory_has_the_bytes_of_its_files() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), [0; 5]).unwrap();
        fs::create_dir(directory.path().join("b")).unwrap();
        fs::write(directory.path().join("b/c"), [0; 7]).unwrap();
        assert_eq!(bytes_under(directory.path()).unwrap(), 12);
    }
}

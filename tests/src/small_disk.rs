//! A disk of a few megabytes that can really be full: a `tmpfs` in a mount namespace of one
//! process, gone with it, whatever becomes of the test.
//!
//! Root mounts it as it is; anybody else in a user namespace of its own, where the system allows
//! that.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;

/// Ways to a mount namespace, by the options of `unshare`.
const WAYS: [&str; 2] = ["-m", "-Urm"];

/// Mounts a disk and becomes another program: bytes, place, program, its arguments.
const MOUNT: &str = "mount -t tmpfs -o size=$0,mode=700 tmpfs \"$1\" && shift && exec \"$@\"";

/// Disks of one size.
#[derive(Debug, Clone, Copy)]
pub struct SmallDisk {
    bytes: u64,
    way: &'static str,
}

impl SmallDisk {
    /// Disks of so many bytes.
    ///
    /// # Errors
    ///
    /// When this user may not mount anything here.
    pub fn new(bytes: u64) -> anyhow::Result<Self> {
        let place = tempfile::tempdir()?;
        let disks = WAYS.map(|way| Self { bytes, way });
        disks
            .into_iter()
            .find(|disk| {
                let mut command = disk.command(place.path(), Path::new("true"));
                let silent = command.stdout(Stdio::null()).stderr(Stdio::null());
                silent.status().is_ok_and(|status| status.success())
            })
            .context("no tmpfs can be mounted here, neither as root nor in a user namespace")
    }

    /// A command that runs a program with the disk at a directory.
    pub fn command(&self, at: &Path, program: &Path) -> Command {
        let mut command = Command::new("unshare");
        command
            .args([self.way, "sh", "-c", MOUNT, &self.bytes.to_string()])
            .arg(at)
            .arg(program);
        command
    }

    /// The path by which others get at a directory that a process alone sees.
    pub fn seen_from_outside(process: &Child, directory: &Path) -> PathBuf {
        let root = Path::new("/proc")
            .join(process.id().to_string())
            .join("root");
        let inside = directory.strip_prefix("/").unwrap_or(directory);
        root.join(inside)
    }
}

/// A file that takes all the room of a disk, until it is dropped.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Ballast {
    /// Fills the disk that a directory is on.
    ///
    /// # Errors
    ///
    /// When the disk fails otherwise than by being full.
    pub fn fill(directory: &Path) -> io::Result<Self> {
        let path = directory.join("ballast");
        let file = File::create(&path)?;
        let bytes = 0;
        let mut ballast = Self { path, file, bytes };
        ballast.top_up()?;
        Ok(ballast)
    }

    /// Takes what others have given back meanwhile.
    ///
    /// # Errors
    ///
    /// As for `fill`.
    pub fn top_up(&mut self) -> io::Result<()> {
        for piece in [64 * 1024, 4096, 1] {
            self.bytes += write_until_full(&mut self.file, piece)?;
        }
        Ok(())
    }

    /// Gives so many bytes back.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn spare(&mut self, bytes: u64) -> io::Result<()> {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.file.set_len(self.bytes)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        // It may have gone with its disk.
        let _ = fs::remove_file(&self.path);
    }
}

/// Writes pieces of so many bytes while there is room; gives the bytes.
fn write_until_full(file: &mut File, piece: usize) -> io::Result<u64> {
    let zeros = vec![0; piece];
    let mut bytes = 0;
    loop {
        match file.write(&zeros) {
            Ok(0) => return Ok(bytes),
            Ok(written) => bytes += written as u64,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(bytes),
            Err(error) => return Err(error),
        }
    }
}

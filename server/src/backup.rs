//! `cutlayer-server backup`: copies a data directory while the daemon works in it.
//!
//! The state is copied by SQLite at one moment (`VACUUM INTO`), then the files. What is left out is
//! made again or of no use to another process: the lock, the sessions that are open, the bottoms.
//!
//! Files change only in ways that a copy may be taken of at any moment: one that is replaced is
//! replaced by its name, and of an activation store the index is copied first, so that the payloads
//! that it knows are there. A job that begins after the state was copied has files and is not in the
//! state, and one that ends meanwhile may have lost its files. An adapter that is kept meanwhile has
//! files and is not in the state either, and one that is deleted has a record without files.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::Parser;

use crate::state::{SqliteState, StateError, path_in};
use crate::store::durable;

/// What of a data directory is not copied, by the first letters of its name; the state is copied by
/// itself.
const LEFT_OUT: [&str; 4] = ["lock", "sessions", "artifacts", "state.sqlite"];

/// Before the other files of its directory.
const FIRST: &str = "index";

/// What an interrupted write has left.
const PARTIAL: &str = ".partial";

/// Copies a data directory, whether the daemon runs or not.
#[derive(Debug, Clone, Parser)]
#[command(name = "cutlayer-server backup")]
pub struct BackupArgs {
    /// The daemon's data directory.
    #[arg(
        long,
        env = "CUTLAYER_DATA",
        value_name = "DIR",
        default_value = "cutlayer-data"
    )]
    pub data: PathBuf,

    /// Where the copy goes: a directory that is not there yet. A daemon can be started on it.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

/// No backup was made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The state.
    #[error(transparent)]
    State(#[from] StateError),
    /// A file or directory.
    #[error("{} cannot be copied: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The file system's reason.
        source: io::Error,
    },
}

/// What was copied beside the state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl BackupArgs {
    /// Copies the directory. Blocks.
    ///
    /// # Guarantee
    ///
    /// The copy survives a loss of power when this returns `Ok`; otherwise there is none.
    ///
    /// # Errors
    ///
    /// When the place is taken, the state is not one of this version, or the file system refuses.
    pub fn run(&self) -> Result<Copied, BackupError> {
        create(&self.to)?;
        let copied = self.copy();
        if copied.is_err() {
            // It was made here, and half a backup is none.
            let _ = fs::remove_dir_all(&self.to);
        }
        copied
    }

    fn copy(&self) -> Result<Copied, BackupError> {
        SqliteState::back_up(&path_in(&self.data), &path_in(&self.to))?;
        let mut copied = Copied::default();
        for entry in entries(&self.data)? {
            let is_left_out = LEFT_OUT.iter().any(|name| entry.starts_with(name));
            if !is_left_out {
                copy(&self.data.join(&entry), &self.to.join(&entry), &mut copied)?;
            }
        }
        durable::sync_directory(&self.to).map_err(failed(&self.to))?;
        durable::sync_parent(&self.to).map_err(failed(&self.to))?;
        Ok(copied)
    }
}

/// Copies a file, or a directory with what is in it; nothing where it is gone meanwhile.
fn copy(from: &Path, to: &Path, copied: &mut Copied) -> Result<(), BackupError> {
    let metadata = match fs::symlink_metadata(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(failed(from))?,
    };
    if metadata.is_dir() {
        create(to)?;
        for entry in entries(from)? {
            copy(&from.join(&entry), &to.join(&entry), copied)?;
        }
        return durable::sync_directory(to).map_err(failed(to));
    }
    if !metadata.is_file() {
        return Ok(()); // no daemon makes anything else
    }
    let bytes = match fs::copy(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        bytes => bytes.map_err(failed(from))?,
    };
    let synced = File::open(to).and_then(|file| file.sync_all());
    synced.map_err(failed(to))?;
    copied.files += 1;
    copied.bytes += bytes;
    Ok(())
}

/// Names in a directory in the order of copying; none where it is gone meanwhile. What has no name
/// in Unicode is not of a daemon.
fn entries(directory: &Path) -> Result<Vec<String>, BackupError> {
    let found = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(failed(directory))?,
    };
    let mut names = Vec::new();
    for entry in found {
        let name = entry.map_err(failed(directory))?.file_name();
        names.extend(
            name.into_string()
                .ok()
                .filter(|name| !name.ends_with(PARTIAL)),
        );
    }
    names.sort_by_key(|name| (name != FIRST, name.clone()));
    Ok(names)
}

fn create(directory: &Path) -> Result<(), BackupError> {
    let created = DirBuilder::new().mode(0o700).create(directory);
    created.map_err(failed(directory))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    |source| BackupError::Io { path, source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::state::{StateStore, TenantName};
    use crate::store::{ActivationStore, DataDirectory};

    fn write(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"bytes").unwrap();
    }

    /// Breaks when a backup lacks what a daemon needs, or has what only its process needs.
    #[test]
    fn everything_that_outlives_a_process_is_copied_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let args = BackupArgs {
            data: root.path().join("data"),
            to: root.path().join("backup"),
        };
        let held = DataDirectory::open(&args.data).unwrap();
        let state = SqliteState::open(&path_in(&args.data)).unwrap();
        let tenant = state.tenant(&TenantName::local()).unwrap();
        let _session: ActivationStore = held.new_session(2).unwrap();
        let adapter = "adapters/c/adapter_config.json";
        for path in [
            "jobs/a/checkpoint",
            "jobs/a/examples/index",
            adapter,
            "artifacts/b",
        ] {
            write(&args.data.join(path));
        }
        write(&args.data.join("jobs/a/checkpoint.partial"));
        let copied = args.run().unwrap();
        assert_eq!(
            copied,
            Copied {
                files: 3,
                bytes: 15
            }
        );
        let names = entries(&args.to).unwrap();
        assert_eq!(names, ["adapters", "jobs", "state.sqlite"]);
        assert!(args.to.join("jobs/a/examples/index").exists());
        assert!(args.to.join(adapter).exists());
        for path in ["", "jobs/a", "adapters/c"].map(|path| args.to.join(path)) {
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
        let restored = SqliteState::open(&path_in(&args.to)).unwrap();
        assert_eq!(restored.tenant(&TenantName::local()).unwrap(), tenant);
    }

    #[test]
    fn an_index_is_copied_before_its_payloads() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["activations", "index", "b.partial"] {
            write(&directory.path().join(name));
        }
        let names = entries(directory.path()).unwrap();
        assert_eq!(names, ["index", "activations"]);
    }

    #[test]
    fn a_place_that_is_taken_is_left_as_it_is_and_half_a_backup_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        let taken = root.path().join("taken");
        write(&taken.join("kept"));
        let args = BackupArgs {
            data: data.clone(),
            to: taken.clone(),
        };
        assert!(matches!(args.run(), Err(BackupError::Io { .. })));
        assert!(taken.join("kept").exists());

        fs::create_dir(&data).unwrap();
        fs::write(path_in(&data), [7; 4096]).unwrap();
        let to = root.path().join("backup");
        let args = BackupArgs { data, to };
        assert!(matches!(args.run(), Err(BackupError::State(_))));
        assert!(!args.to.exists());
    }
}

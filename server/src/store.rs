//! What the daemon keeps on disk: one directory for artifacts, one a session for activations.
//!
//! | file | what |
//! |---|---|
//! | [`activations`] | the examples of a session or a job, on disk |
//! | `index`, `record` | their index, in memory and in bytes |
//! | [`durable`] | writes that survive a loss of power |
//! | [`error`] | why a store does not take or give what it was asked for |
//!
//! Nothing here knows sockets or training. A session's data lives exactly as long as its
//! connection: whatever an earlier process left behind of sessions is removed at start. A store that
//! was created to be kept is not among them.

pub mod activations;
pub mod durable;
pub mod error;
mod index;
mod record;

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub use activations::{ActivationStore, LabelledBatch};
pub use error::StoreError;

/// The data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirectoryError {
    /// Another daemon works in it.
    #[error("{} is in use by another cutlayer-server; give each its own --data", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("the data directory {} cannot be prepared: {source}", path.display())]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// The file system's reason.
        source: io::Error,
    },
}

/// The daemon's directory, held alone while the daemon lives.
#[derive(Debug)]
pub struct DataDirectory {
    root: PathBuf,
    /// Locked; the operating system lets go of it when the process ends, however it ends.
    _lock: File,
}

impl DataDirectory {
    /// Creates the directory where needed, locks it, and removes sessions that an earlier process
    /// left behind.
    ///
    /// # Errors
    ///
    /// `InUse` while another process holds it, `Io` when the file system refuses.
    pub fn open(root: &Path) -> Result<Self, DataDirectoryError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| DataDirectoryError::Io { path, source }
        };
        create_private(root).map_err(failed(root))?;
        let lock_path = root.join("lock");
        let lock = File::create(&lock_path).map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataDirectoryError::InUse {
                    path: root.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(&lock_path)(source)),
        }
        let directory = Self {
            root: root.to_owned(),
            _lock: lock,
        };
        let sessions = directory.sessions();
        match fs::remove_dir_all(&sessions) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&sessions)(error));
            }
            _ => {}
        }
        create_private(&sessions).map_err(failed(&sessions))?;
        for kept in [directory.artifacts(), directory.adapters()] {
            create_private(&kept).map_err(failed(&kept))?;
        }
        Ok(directory)
    }

    /// Where bottom artifacts are kept from one start to the next.
    pub fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// Where each adapter has a directory of its own, from one start to the next.
    pub fn adapters(&self) -> PathBuf {
        self.root.join("adapters")
    }

    /// Where each session has a directory of its own.
    pub fn sessions(&self) -> PathBuf {
        self.root.join("sessions")
    }

    /// Creates the store of a new session, in a directory with a random name.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    pub fn new_session(&self, d_model: usize) -> io::Result<ActivationStore> {
        let directory = tempfile::Builder::new()
            .prefix("")
            .rand_bytes(16)
            .tempdir_in(self.sessions())?;
        Ok(ActivationStore::create(directory, d_model)?)
    }
}

/// Only the daemon's own user may look in: activations are private data too.
pub(crate) fn create_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn removes_what_an_earlier_process_left() {
        let root = tempfile::tempdir().unwrap();
        let stale = root.path().join("sessions/abandoned");
        fs::create_dir_all(&stale).unwrap();
        fs::write(stale.join("activations"), [1, 2, 3]).unwrap();
        let kept = root.path().join("artifacts/kept");
        fs::create_dir_all(&kept).unwrap();
        let data = DataDirectory::open(root.path()).unwrap();
        assert!(!stale.exists());
        assert!(kept.exists());
        assert!(data.sessions().exists());
    }

    #[test]
    fn is_held_by_one_daemon_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let first = DataDirectory::open(root.path()).unwrap();
        let second = DataDirectory::open(root.path());
        assert!(matches!(second, Err(DataDirectoryError::InUse { .. })));
        drop(first);
        assert!(DataDirectory::open(root.path()).is_ok());
    }
}

//! What the daemon keeps on disk: one directory for artifacts, one a session for activations.
//!
//! | file | what |
//! |---|---|
//! | [`activations`] | the examples of a session or a job, on disk |
//! | `index`, `record` | their index, in memory and in bytes |
//! | `home` | where a store lies, and whether it stays |
//! | [`jobs`] | what a job has on disk |
//! | [`adapters`] | what a kept adapter has on disk |
//! | [`keyed`] | directories named after jobs or adapters |
//! | [`durable`] | writes that survive a loss of power |
//! | [`usage`] | how much lies there |
//! | [`sealing`] | encryption at rest |
//! | [`error`] | why a store does not take or give what it was asked for |
//!
//! Nothing here knows sockets or training. A session's data lives exactly as long as its
//! connection: whatever an earlier process left behind of sessions is removed at start. From `Train`
//! on it is a job's, and stays until the job has ended, too.

pub mod activations;
pub mod adapters;
pub mod durable;
pub mod error;
mod home;
mod index;
pub mod jobs;
pub mod keyed;
mod record;
pub mod sealing;
pub mod usage;

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub use activations::{ActivationStore, LabelledBatch};
pub use adapters::{AdapterFiles, AdaptersDirectory, RemovedAdapterFiles, export};
pub use error::StoreError;
pub use jobs::{JobFiles, JobsDirectory, RemovedFiles};
pub use sealing::{SealedFile, Sealing, StoreKey};

/// Below the data directory.
const JOBS: &str = "jobs";
/// Below the data directory.
const ADAPTERS: &str = "adapters";

/// The id of the key that jobs' files and adapters are sealed with; not there where it is not sealed.
const SEALED_WITH: &str = "sealed-with";

/// The data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirectoryError {
    /// Another daemon works in it.
    #[error("{} is in use by another cutlayer-server; give each its own --data", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// What jobs have there, or an adapter, is sealed with another key than is set, or one of the two
    /// is none.
    #[error(
        "what is in {} was written with the key {expected}; the key that is set is {actual}: \
         set the other, or let jobs end with it and delete them and all adapters first",
        path.display()
    )]
    OtherKey {
        /// The directory.
        path: PathBuf,
        /// The id of the key that is needed, or `none`.
        expected: String,
        /// The id of the key that is set, or `none`.
        actual: String,
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
    sealing: Sealing,
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
            sealing: Sealing::default(),
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
        for kept in ["artifacts", JOBS, ADAPTERS].map(|name| root.join(name)) {
            create_private(&kept).map_err(failed(&kept))?;
        }
        Ok(directory)
    }

    /// The same directory, where activations, checkpoints and adapters are sealed with a key.
    ///
    /// The key's id is written down there: a daemon that is started with another one by mistake must
    /// not take every job for damaged.
    ///
    /// # Errors
    ///
    /// `OtherKey` while there are files of jobs or adapters that were written with another key; `Io`
    /// when the file system refuses.
    pub fn with_sealing(self, sealing: Sealing) -> Result<Self, DataDirectoryError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| DataDirectoryError::Io { path, source }
        };
        let note = self.root.join(SEALED_WITH);
        let found = match fs::read_to_string(&note) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            found => Some(found.map_err(failed(&note))?),
        };
        let wanted = sealing.key_id().map(|key| key.to_string());
        if found != wanted {
            for path in [JOBS, ADAPTERS].map(|sealed| self.root.join(sealed)) {
                if fs::read_dir(&path).map_err(failed(&path))?.next().is_some() {
                    let name = |key: Option<String>| key.unwrap_or_else(|| "none".to_owned());
                    return Err(DataDirectoryError::OtherKey {
                        path,
                        expected: name(found),
                        actual: name(wanted),
                    });
                }
            }
            let noted = match wanted {
                Some(key) => durable::replace(&note, key.as_bytes()),
                None => fs::remove_file(&note),
            };
            noted.map_err(failed(&note))?;
        }
        Ok(Self { sealing, ..self })
    }

    /// What is in it is sealed with this.
    pub fn sealing(&self) -> &Sealing {
        &self.sealing
    }

    /// Where bottom artifacts are kept from one start to the next.
    pub fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// Where each session has a directory of its own.
    pub fn sessions(&self) -> PathBuf {
        self.root.join("sessions")
    }

    /// Where each kept adapter has a directory of its own.
    pub fn adapters(&self) -> AdaptersDirectory {
        AdaptersDirectory::new(self.root.join(ADAPTERS), self.sealing.clone())
    }

    /// Where each job has a directory of its own.
    pub fn jobs(&self) -> JobsDirectory {
        JobsDirectory::new(self.root.join(JOBS), self.sealing.clone())
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
        let store = ActivationStore::create_sealed(directory, d_model, &self.sealing);
        Ok(store?)
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
        let kept =
            ["artifacts/kept", "jobs/kept", "adapters/kept"].map(|path| root.path().join(path));
        for path in &kept {
            fs::create_dir_all(path).unwrap();
        }
        let data = DataDirectory::open(root.path()).unwrap();
        assert!(!stale.exists());
        assert!(kept.iter().all(|path| path.exists()));
        assert!(data.sessions().exists());
    }

    /// Breaks when a daemon with the wrong key gives up every job, or the right one is not taken.
    #[test]
    fn another_key_is_refused_while_a_job_or_an_adapter_has_files() {
        let root = tempfile::tempdir().unwrap();
        let key = |digit: &str| Sealing::from(StoreKey::parse(&digit.repeat(64)));
        let open = |sealing| {
            DataDirectory::open(root.path())
                .unwrap()
                .with_sealing(sealing)
        };
        // Nothing is there yet: any key, and none.
        for sealing in [key("a"), Sealing::default(), key("b"), key("a")] {
            open(sealing).unwrap();
        }
        let [job, adapter] = ["jobs/job", "adapters/one"].map(|path| root.path().join(path));
        for kept in [&adapter, &job] {
            fs::create_dir(kept).unwrap();
            for sealing in [key("b"), Sealing::default()] {
                let refused = open(sealing);
                let Err(DataDirectoryError::OtherKey { path, expected, .. }) = refused else {
                    panic!("{refused:?}")
                };
                assert_eq!(Some(&*path), kept.parent());
                assert_eq!(expected, key("a").key_id().unwrap().to_string());
            }
            open(key("a")).unwrap();
            fs::remove_dir(kept).unwrap();
        }
        open(Sealing::default()).unwrap();
        fs::create_dir(&job).unwrap();
        let refused = open(key("a"));
        assert!(matches!(refused, Err(DataDirectoryError::OtherKey { .. })));
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

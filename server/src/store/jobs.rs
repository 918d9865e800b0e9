//! What a job has on disk: a directory of its own below `jobs/`.
//!
//! | path | what | until |
//! |---|---|---|
//! | `examples/` | the activation store that the run reads | job and session have ended |
//! | `checkpoint` | the run, to be taken up again | the job has ended |
//!
//! All of it is sealed where the data directory is, and belongs to its job: no file passes for one of
//! another job.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::keyed::{Keyed, KeyedDirectory};
use super::{ActivationStore, Sealing, StoreError, create_private, durable};
use crate::state::JobKey;

/// Where jobs have their directories.
pub type JobsDirectory = KeyedDirectory<JobFiles>;

/// The directory of one job.
#[derive(Debug, Clone)]
pub struct JobFiles {
    path: PathBuf,
    sealing: Sealing,
}

impl Keyed for JobFiles {
    type Key = JobKey;

    fn at(path: PathBuf, sealing: Sealing) -> Self {
        Self { path, sealing }
    }
}

impl JobFiles {
    /// Creates the directory.
    ///
    /// # Guarantee
    ///
    /// It survives a loss of power when this returns.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    pub fn create(&self) -> io::Result<()> {
        create_private(&self.path)?;
        durable::sync_parent(&self.path)
    }

    /// Where its examples are.
    pub fn examples(&self) -> PathBuf {
        self.path.join("examples")
    }

    /// Opens its examples.
    ///
    /// # Errors
    ///
    /// As of [`ActivationStore::open_sealed`].
    pub fn open_examples(&self) -> Result<ActivationStore, StoreError> {
        ActivationStore::open_sealed(&self.examples(), &self.sealing)
    }

    /// What its files are sealed with.
    pub fn sealing(&self) -> &Sealing {
        &self.sealing
    }

    /// Whose they are, for a seal: the name of the directory, which is that of the job.
    pub fn owner(&self) -> &[u8] {
        let name = self.path.file_name();
        name.map_or(&[], |name| name.as_bytes())
    }

    /// Where its checkpoint is.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join("checkpoint")
    }

    /// Removes what only a run that goes on needs; the directory too, if nothing is left in it.
    /// Returns the bytes that went.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    pub fn remove_checkpoint(&self) -> io::Result<u64> {
        let mut bytes = durable::remove(&self.checkpoint())?;
        // What an interruption has left of a write.
        bytes += durable::remove(&self.checkpoint().with_extension("partial"))?;
        self.remove_if_empty();
        Ok(bytes)
    }

    /// Removes everything, and says what it was.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    pub fn remove(&self) -> io::Result<RemovedFiles> {
        let removed = RemovedFiles {
            example_bytes: durable::remove(&self.examples())?,
            checkpoint_bytes: durable::remove(&self.checkpoint())?,
        };
        durable::remove(&self.path)?;
        Ok(removed)
    }

    /// Removes the directory if nothing is in it.
    pub fn remove_if_empty(&self) {
        // Otherwise it is not empty, or not there.
        if fs::remove_dir(&self.path).is_ok() {
            let _ = durable::sync_parent(&self.path);
        }
    }
}

/// What a job had on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemovedFiles {
    /// Of its examples.
    pub example_bytes: u64,
    /// Of its checkpoint.
    pub checkpoint_bytes: u64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn jobs() -> (tempfile::TempDir, JobsDirectory) {
        let root = tempfile::tempdir().unwrap();
        let jobs = JobsDirectory::new(root.path().to_owned(), Sealing::default());
        (root, jobs)
    }

    /// A job with 5 bytes of examples and 3 of a checkpoint.
    fn job(jobs: &JobsDirectory, number: u8) -> JobFiles {
        let files = jobs.of(JobKey([number; 16]));
        files.create().unwrap();
        fs::create_dir(files.examples()).unwrap();
        fs::write(files.examples().join("activations"), [0; 5]).unwrap();
        fs::write(files.checkpoint(), [0; 3]).unwrap();
        files
    }

    #[test]
    fn what_goes_is_counted() {
        let (_root, jobs) = jobs();
        let removed = |[example_bytes, checkpoint_bytes]: [u64; 2]| RemovedFiles {
            example_bytes,
            checkpoint_bytes,
        };
        let files = job(&jobs, 1);
        assert_eq!(files.remove().unwrap(), removed([5, 3]));
        assert!(jobs.found().unwrap().is_empty());
        assert_eq!(files.remove().unwrap(), removed([0, 0]));
    }

    #[test]
    fn the_directory_goes_with_the_last_that_is_in_it() {
        let (_root, jobs) = jobs();
        let files = job(&jobs, 1);
        assert_eq!(files.remove_checkpoint().unwrap(), 3);
        assert_eq!(jobs.found().unwrap().len(), 1);
        fs::remove_dir_all(files.examples()).unwrap();
        assert_eq!(files.remove_checkpoint().unwrap(), 0);
        assert!(jobs.found().unwrap().is_empty());
    }

    #[test]
    fn only_the_daemons_user_may_look_in() {
        let (_root, jobs) = jobs();
        let files = job(&jobs, 1);
        let mode = fs::metadata(&files.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn directories_are_found_by_their_jobs() {
        let (root, jobs) = jobs();
        job(&jobs, 7);
        fs::create_dir(root.path().join("of-nobody")).unwrap();
        let mut found: Vec<_> = jobs.found().unwrap();
        found.sort_by_key(|(key, _)| *key);
        let keys: Vec<_> = found.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, [None, Some(JobKey([7; 16]))]);
    }
}

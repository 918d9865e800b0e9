//! What a job has on disk: a directory of its own below `jobs/`.
//!
//! | path | what | until |
//! |---|---|---|
//! | `examples/` | the activation store that the run reads | job and session have ended |
//! | `checkpoint` | the run, to be taken up again | the job has ended |
//! | `adapter/` | the best adapter, as a PEFT directory | the job is deleted |
//!
//! All of it is sealed where the data directory is, and belongs to its job: no file passes for one of
//! another job.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{ActivationStore, SealedFile, Sealing, StoreError, create_private, durable};
use crate::state::JobKey;

/// The settings of an adapter, in Python's form.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";
/// Its matrices.
pub const ADAPTER_TENSORS: &str = "adapter_model.safetensors";

/// Where jobs have their directories.
#[derive(Debug, Clone)]
pub struct JobsDirectory {
    path: PathBuf,
    sealing: Sealing,
}

impl JobsDirectory {
    pub(super) fn new(path: PathBuf, sealing: Sealing) -> Self {
        Self { path, sealing }
    }

    /// The directory of one job, which may not be there.
    pub fn of(&self, job: JobKey) -> JobFiles {
        self.at(self.path.join(job.to_string()))
    }

    fn at(&self, path: PathBuf) -> JobFiles {
        let sealing = self.sealing.clone();
        JobFiles { path, sealing }
    }

    /// The directories that are there, each with the job that it is named after; none for a name
    /// that no job has.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    pub fn found(&self) -> io::Result<Vec<(Option<JobKey>, JobFiles)>> {
        let entries = fs::read_dir(&self.path)?.map(|entry| {
            let entry = entry?;
            let name = entry.file_name();
            let key = name.to_str().and_then(|name| name.parse().ok());
            Ok((key, self.at(entry.path())))
        });
        entries.collect()
    }
}

/// The directory of one job.
#[derive(Debug, Clone)]
pub struct JobFiles {
    path: PathBuf,
    sealing: Sealing,
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

    /// Where its best adapter is, once the job has ended.
    pub fn adapter(&self) -> PathBuf {
        self.path.join("adapter")
    }

    /// Writes its best adapter: the two files of a PEFT directory.
    ///
    /// # Guarantee
    ///
    /// As of [`durable::replace`], for each file.
    ///
    /// # Errors
    ///
    /// When the file system refuses, or the system has no randomness for a seal.
    pub fn write_adapter(&self, config: &[u8], tensors: &[u8]) -> io::Result<()> {
        let directory = self.adapter();
        create_private(&directory)?;
        // The tensors last: where they are, the adapter is whole.
        for (name, bytes) in [(ADAPTER_CONFIG, config), (ADAPTER_TENSORS, tensors)] {
            let sealed = self
                .sealing
                .seal_file(SealedFile::Adapter, &self.part(name), bytes);
            let bytes = sealed.map_err(StoreError::from)?;
            durable::replace(&directory.join(name), &bytes)?;
        }
        durable::sync_parent(&directory)
    }

    /// Reads one of the two files of its best adapter.
    ///
    /// # Errors
    ///
    /// When it is not there; `InvalidData` with [`StoreError::Sealed`] in it when it is not what was
    /// written for this job, or with another key; otherwise the file system's reason.
    pub fn read_adapter(&self, name: &str) -> io::Result<Vec<u8>> {
        let bytes = fs::read(self.adapter().join(name))?;
        let opened = self
            .sealing
            .open_file(SealedFile::Adapter, &self.part(name), &bytes);
        Ok(opened.map_err(StoreError::from)?.into_owned())
    }

    fn part(&self, name: &str) -> Vec<u8> {
        [self.owner(), b"/", name.as_bytes()].concat()
    }

    /// Whether its best adapter is there, whole.
    pub fn has_adapter(&self) -> bool {
        self.adapter().join(ADAPTER_TENSORS).is_file()
    }

    /// Removes what only a run that goes on needs; the directory too, if nothing is left in it.
    /// Returns the bytes that went.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    pub fn remove_checkpoint(&self) -> io::Result<u64> {
        let mut bytes = remove(&self.checkpoint())?;
        // What an interruption has left of a write.
        bytes += remove(&self.checkpoint().with_extension("partial"))?;
        self.remove_if_empty();
        Ok(bytes)
    }

    /// Removes the examples, with all that [`Self::remove_checkpoint`] does. Returns the bytes that
    /// went.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    pub fn remove_examples(&self) -> io::Result<u64> {
        Ok(remove(&self.examples())? + self.remove_checkpoint()?)
    }

    /// Removes everything, and says what it was.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    pub fn remove(&self) -> io::Result<RemovedFiles> {
        let removed = RemovedFiles {
            example_bytes: remove(&self.examples())?,
            checkpoint_bytes: remove(&self.checkpoint())?,
            adapter_bytes: remove(&self.adapter())?,
        };
        remove(&self.path)?;
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
    /// Of its adapter.
    pub adapter_bytes: u64,
}

/// Removes a file or directory that may not be there, and says how many bytes it had.
fn remove(path: &Path) -> io::Result<u64> {
    let bytes = match bytes_of(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed.and_then(|()| durable::sync_parent(path)) {
        // Otherwise somebody else was faster.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(bytes),
    }
}

fn bytes_of(path: &Path) -> io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    let inside = fs::read_dir(path)?.map(|entry| bytes_of(&entry?.path()));
    inside.sum()
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

    /// A job with 5 bytes of examples, 3 of a checkpoint and 2 + 4 of an adapter.
    fn job(jobs: &JobsDirectory, number: u8) -> JobFiles {
        let files = jobs.of(JobKey([number; 16]));
        files.create().unwrap();
        fs::create_dir(files.examples()).unwrap();
        fs::write(files.examples().join("activations"), [0; 5]).unwrap();
        fs::write(files.checkpoint(), [0; 3]).unwrap();
        files.write_adapter(&[0; 2], &[0; 4]).unwrap();
        files
    }

    #[test]
    fn what_goes_is_counted_and_the_adapter_stays_longest() {
        let (_root, jobs) = jobs();
        let files = job(&jobs, 1);
        assert_eq!(files.remove_examples().unwrap(), 5 + 3);
        assert!(files.has_adapter());
        assert_eq!(files.remove_examples().unwrap(), 0);
        let removed = |[example_bytes, checkpoint_bytes, adapter_bytes]: [u64; 3]| RemovedFiles {
            example_bytes,
            checkpoint_bytes,
            adapter_bytes,
        };
        assert_eq!(files.remove().unwrap(), removed([0, 0, 6]));
        assert!(jobs.found().unwrap().is_empty());
        assert_eq!(job(&jobs, 1).remove().unwrap(), removed([5, 3, 6]));
        assert_eq!(files.remove().unwrap(), removed([0, 0, 0]));
    }

    #[test]
    fn a_directory_without_a_result_goes_with_what_a_run_needs() {
        let (_root, jobs) = jobs();
        let files = job(&jobs, 1);
        fs::remove_dir_all(files.adapter()).unwrap();
        files.remove_examples().unwrap();
        assert!(jobs.found().unwrap().is_empty());
    }

    #[test]
    fn only_the_daemons_user_may_look_in() {
        let (_root, jobs) = jobs();
        let files = job(&jobs, 1);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&files.path), 0o700);
        assert_eq!(mode(&files.adapter()), 0o700);
        let tensors = files.adapter().join("adapter_model.safetensors");
        assert_eq!(mode(&tensors), 0o600);
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

    /// Breaks when an adapter lies in the clear although there is a key, or passes for another's.
    #[test]
    fn a_sealed_adapter_is_that_of_its_job() {
        use crate::store::StoreKey;
        let root = tempfile::tempdir().unwrap();
        let key = |digit: &str| Sealing::from(StoreKey::parse(&digit.repeat(64)));
        let jobs = |digit| JobsDirectory::new(root.path().to_owned(), key(digit));
        let [first, second] = [[1; 16], [2; 16]].map(|job| jobs("a").of(JobKey(job)));
        first.create().unwrap();
        first.write_adapter(b"settings", b"matrices").unwrap();
        assert!(first.has_adapter());
        assert_eq!(first.read_adapter(ADAPTER_CONFIG).unwrap(), b"settings");
        assert_eq!(first.read_adapter(ADAPTER_TENSORS).unwrap(), b"matrices");
        let stored = fs::read(first.adapter().join(ADAPTER_TENSORS)).unwrap();
        assert!(!stored.windows(8).any(|window| window == b"matrices"));

        let refused = |files: &JobFiles, name| {
            let kind = files.read_adapter(name).unwrap_err().kind();
            assert_eq!(kind, io::ErrorKind::InvalidData);
        };
        refused(&jobs("b").of(JobKey([1; 16])), ADAPTER_TENSORS);
        fs::rename(&first.path, &second.path).unwrap();
        refused(&second, ADAPTER_TENSORS);
        fs::rename(&second.path, &first.path).unwrap();
        let [config, tensors] =
            [ADAPTER_CONFIG, ADAPTER_TENSORS].map(|name| first.adapter().join(name));
        fs::copy(config, tensors).unwrap();
        refused(&first, ADAPTER_TENSORS);
    }
}

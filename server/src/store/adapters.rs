//! What a kept adapter has on disk: a directory of its own below `adapters/`, with the two files of
//! a PEFT directory.
//!
//! Both are sealed where the data directory is, and belong to their adapter and their name: no file
//! passes for another one, or for one of another adapter.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use shared::adapter::peft::{CONFIG_FILE, PeftFiles, TENSORS_FILE};

use super::keyed::{Keyed, KeyedDirectory};
use super::{SealedFile, Sealing, StoreError, create_private, durable};
use crate::state::AdapterKey;

/// Where kept adapters have their directories.
pub type AdaptersDirectory = KeyedDirectory<AdapterFiles>;

/// The directory of one adapter.
#[derive(Debug, Clone)]
pub struct AdapterFiles {
    path: PathBuf,
    sealing: Sealing,
}

impl Keyed for AdapterFiles {
    type Key = AdapterKey;

    fn at(path: PathBuf, sealing: Sealing) -> Self {
        Self { path, sealing }
    }
}

impl AdapterFiles {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the adapter to a directory that only the daemon's user may enter.
    ///
    /// # Guarantee
    ///
    /// It survives a loss of power when this returns.
    ///
    /// # Errors
    ///
    /// When the file system refuses, or the system has no randomness for a seal.
    pub fn write(&self, files: &PeftFiles) -> io::Result<()> {
        create_private(&self.path)?;
        for (name, bytes) in [(CONFIG_FILE, &files.config), (TENSORS_FILE, &files.tensors)] {
            let sealed = self
                .sealing
                .seal_file(SealedFile::Adapter, &self.owner(name), bytes);
            let bytes = sealed.map_err(StoreError::from)?;
            durable::replace(&self.path.join(name), &bytes)?;
        }
        durable::sync_parent(&self.path)
    }

    /// Reads the adapter.
    ///
    /// # Errors
    ///
    /// As of [`Self::read_file`].
    pub fn read(&self) -> io::Result<PeftFiles> {
        Ok(PeftFiles {
            config: self.read_file(CONFIG_FILE)?,
            tensors: self.read_file(TENSORS_FILE)?,
        })
    }

    /// Reads one of the two files.
    ///
    /// # Errors
    ///
    /// `NotFound` when it is not there; `InvalidData` with [`StoreError::Sealed`] in it when it is
    /// not what was written as this file of this adapter, or with another key; otherwise the file
    /// system's reason.
    pub fn read_file(&self, name: &str) -> io::Result<Vec<u8>> {
        let bytes = fs::read(self.path.join(name))?;
        let opened = self
            .sealing
            .open_file(SealedFile::Adapter, &self.owner(name), &bytes);
        Ok(opened.map_err(StoreError::from)?.into_owned())
    }

    /// Removes the directory, and says what was in it; nothing where it is not there.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    pub fn remove(&self) -> io::Result<RemovedAdapterFiles> {
        let files = fs::read_dir(&self.path).map_or(0, Iterator::count);
        let bytes = durable::remove(&self.path)?;
        Ok(RemovedAdapterFiles { files, bytes })
    }

    /// Whose a file is, for a seal: the name of the directory, which is the adapter's key, and the
    /// file's.
    fn owner(&self, name: &str) -> Vec<u8> {
        let directory = self
            .path
            .file_name()
            .map_or(&[][..], |name| name.as_bytes());
        [directory, b"/", name.as_bytes()].concat()
    }
}

/// Copies an adapter into a directory of its own below another one, for whoever may read that: it
/// is not sealed, and not for the daemon only. Gives the directory.
///
/// # Guarantee
///
/// The copy is whole and on disk when this returns `Ok`; after a failure there is none.
///
/// # Errors
///
/// When the file system refuses.
pub fn export(below: &Path, name: &str, files: &PeftFiles) -> io::Result<PathBuf> {
    let directory = below.join(name);
    fs::create_dir_all(&directory)?;
    let write = |name: &str, bytes: &[u8]| {
        let mut file = File::create(directory.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    let written = write(CONFIG_FILE, &files.config)
        .and_then(|()| write(TENSORS_FILE, &files.tensors))
        .and_then(|()| durable::sync_directory(&directory));
    if written.is_err() {
        // It failed for a reason that is reported; half an adapter would pass for one.
        let _ = fs::remove_dir_all(&directory);
    }
    written.map(|()| directory)
}

/// What adapters had on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemovedAdapterFiles {
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::store::StoreKey;

    const FIRST: AdapterKey = AdapterKey([1; 16]);
    const SECOND: AdapterKey = AdapterKey([2; 16]);

    /// 8 bytes and 6 bytes.
    fn adapter() -> PeftFiles {
        PeftFiles {
            config: b"settings".to_vec(),
            tensors: b"matrix".to_vec(),
        }
    }

    fn adapters(root: &Path, digit: &str) -> AdaptersDirectory {
        let sealing = Sealing::from(StoreKey::parse(&digit.repeat(64)));
        AdaptersDirectory::new(root.to_owned(), sealing)
    }

    #[test]
    fn files_are_for_the_daemon_only_and_go_counted() {
        let root = tempfile::tempdir().unwrap();
        let clear = AdaptersDirectory::new(root.path().to_owned(), Sealing::default());
        let files = clear.of(FIRST);
        files.write(&adapter()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(files.path()), 0o700);
        for name in [CONFIG_FILE, TENSORS_FILE] {
            assert_eq!(mode(&files.path().join(name)), 0o600);
        }
        let bytes = fs::read(files.path().join(TENSORS_FILE)).unwrap();
        assert_eq!(bytes, b"matrix");
        fs::create_dir(root.path().join("of-nobody")).unwrap();
        let mut keys: Vec<_> = clear
            .found()
            .unwrap()
            .into_iter()
            .map(|one| one.0)
            .collect();
        keys.sort();
        assert_eq!(keys, [None, Some(FIRST)]);
        let removed = |files, bytes| RemovedAdapterFiles { files, bytes };
        assert_eq!(files.remove().unwrap(), removed(2, 14));
        assert_eq!(files.remove().unwrap(), removed(0, 0));
    }

    #[test]
    fn a_copy_is_whole_or_not_there() {
        let root = tempfile::tempdir().unwrap();
        let directory = export(root.path(), "job-1", &adapter()).unwrap();
        assert_eq!(directory, root.path().join("job-1"));
        assert_eq!(fs::read(directory.join(CONFIG_FILE)).unwrap(), b"settings");
        assert_eq!(fs::read(directory.join(TENSORS_FILE)).unwrap(), b"matrix");
        // The second file has no room.
        let full = root.path().join("job-2");
        fs::create_dir(&full).unwrap();
        std::os::unix::fs::symlink("/dev/full", full.join(TENSORS_FILE)).unwrap();
        let refused = export(root.path(), "job-2", &adapter()).unwrap_err();
        assert!(durable::is_full(&refused));
        assert!(!full.exists());
    }

    /// Breaks when an adapter lies in the clear although there is a key, or passes for another's.
    #[test]
    fn a_sealed_adapter_is_itself_and_no_other() {
        let root = tempfile::tempdir().unwrap();
        let [first, second] = [FIRST, SECOND].map(|key| adapters(root.path(), "a").of(key));
        first.write(&adapter()).unwrap();
        assert_eq!(first.read().unwrap(), adapter());
        let [config, tensors] = [CONFIG_FILE, TENSORS_FILE].map(|name| first.path().join(name));
        let stored = fs::read(&tensors).unwrap();
        assert!(!stored.windows(6).any(|window| window == b"matrix"));

        let refused = |files: &AdapterFiles| {
            let kind = files.read().unwrap_err().kind();
            assert_eq!(kind, io::ErrorKind::InvalidData);
        };
        refused(&adapters(root.path(), "b").of(FIRST));
        fs::rename(first.path(), second.path()).unwrap();
        refused(&second);
        fs::rename(second.path(), first.path()).unwrap();
        fs::copy(config, tensors).unwrap();
        refused(&first);
    }
}

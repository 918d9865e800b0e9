//! Directories below one directory, each named after a key.

use std::fmt;
use std::fs;
use std::io;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::str::FromStr;

use super::Sealing;

/// What is in the directory of one key.
pub trait Keyed {
    /// What the directory is named after; it is written in hexadecimal digits, whoever wrote it.
    type Key: Copy + fmt::Display + FromStr;

    /// The files there, which are sealed so; the directory may not be there.
    fn at(path: PathBuf, sealing: Sealing) -> Self;
}

/// Where the directories are.
#[derive(Debug, Clone)]
pub struct KeyedDirectory<F> {
    path: PathBuf,
    sealing: Sealing,
    of_each: PhantomData<F>,
}

impl<F: Keyed> KeyedDirectory<F> {
    pub(super) fn new(path: PathBuf, sealing: Sealing) -> Self {
        Self {
            path,
            sealing,
            of_each: PhantomData,
        }
    }

    /// The directory of one key, which may not be there.
    pub fn of(&self, key: F::Key) -> F {
        self.at(self.path.join(key.to_string()))
    }

    fn at(&self, path: PathBuf) -> F {
        F::at(path, self.sealing.clone())
    }

    /// The directories that are there, each with the key that it is named after; none for a name
    /// that no key has.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    pub fn found(&self) -> io::Result<Vec<(Option<F::Key>, F)>> {
        let entries = fs::read_dir(&self.path)?.map(|entry| {
            let entry = entry?;
            let name = entry.file_name();
            let key = name.to_str().and_then(|name| name.parse().ok());
            Ok((key, self.at(entry.path())))
        });
        entries.collect()
    }
}

//! Where an activation store lies, and whether it goes with whoever holds it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use super::durable;

/// Whose a directory is.
enum Place {
    /// Its store's: it goes with it.
    Temporary(TempDir),
    /// A job's: it stays until it is removed.
    Kept(PathBuf),
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(directory) => directory.path(),
            Self::Kept(path) => path,
        }
    }
}

/// The directory of a store.
pub(super) struct Home(Mutex<Place>);

impl Home {
    /// A directory that is deleted when this is dropped.
    pub(super) fn temporary(directory: TempDir) -> Self {
        Self(Mutex::new(Place::Temporary(directory)))
    }

    /// A directory that stays.
    pub(super) fn kept(directory: &Path) -> Self {
        Self(Mutex::new(Place::Kept(directory.to_owned())))
    }

    pub(super) fn path(&self) -> PathBuf {
        self.place().path().to_owned()
    }

    /// Moves the directory by renaming it; it stays from then on.
    pub(super) fn move_to(&self, directory: &Path) -> io::Result<()> {
        let mut place = self.place();
        let from = place.path().to_owned();
        fs::rename(&from, directory)?;
        let earlier = std::mem::replace(&mut *place, Place::Kept(directory.to_owned()));
        if let Place::Temporary(directory) = earlier {
            // Its name is free again: whoever takes it next must not lose it to this guard.
            let _ = directory.keep();
        }
        durable::sync_parent(directory)?;
        durable::sync_parent(&from)
    }

    /// Removes the directory and what is in it.
    pub(super) fn remove(&self) -> io::Result<()> {
        let path = self.path();
        fs::remove_dir_all(&path)?;
        durable::sync_parent(&path)
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

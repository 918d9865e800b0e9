//! Writes that survive a loss of power, and the reason that is worth a name when they fail.
//!
//! A file's name lies in its directory: a file that is on disk can still be lost with its name, so
//! whoever creates, renames or removes syncs the directory, too.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Puts the names in a directory on disk.
///
/// # Errors
///
/// When the file system refuses.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Puts the name of a file or directory on disk, or that it has none any more.
///
/// # Errors
///
/// When the file system refuses.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_directory(Path::new(".")),
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

/// Whether there was no room: on the device, or of a user's share.
pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Writes a file in place of what it was.
///
/// # Guarantee
///
/// Whoever reads the file, after whatever interruption, finds all of the old bytes or all of the
/// new; the new when this has returned `Ok`. The bytes are written beside it first, to a file whose
/// name ends in `.partial`; one that an interruption has left is overwritten by the next write.
/// Two writers at once are not provided for.
///
/// # Errors
///
/// When the file system refuses; then the old bytes are still there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = partial(path)?;
    let written = write(&partial, bytes).and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        // It failed for a reason that is reported; what is left takes room only.
        let _ = fs::remove_file(&partial);
    }
    written?;
    sync_parent(path)
}

/// Reads what [`replace`] has written.
///
/// # Errors
///
/// When there is no such file, or the file system refuses.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn partial(path: &Path) -> io::Result<PathBuf> {
    let mut name: OsString = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.into();
    name.push(".partial");
    Ok(path.with_file_name(name))
}

/// Removes a file or directory that may not be there, and says how many bytes it had.
///
/// # Errors
///
/// When the file system refuses.
pub fn remove(path: &Path) -> io::Result<u64> {
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
    match removed.and_then(|()| sync_parent(path)) {
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
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_stays_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        fs::write(
            directory.path().join("state.partial"),
            b"left by an interruption",
        )
        .unwrap();
        for bytes in [&b"first"[..], b"2nd"] {
            replace(&path, bytes).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        replace(&path, b"old").unwrap();
        fs::create_dir(directory.path().join("state.partial")).unwrap();
        assert!(replace(&path, b"new").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn a_path_without_a_name_is_refused() {
        let refused = replace(Path::new("/"), b"").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }
}

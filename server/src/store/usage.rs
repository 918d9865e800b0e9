//! How much lies in the data directory.

use std::fs;
use std::io;
use std::path::Path;

/// Bytes of all files under a directory, links not followed. What goes meanwhile counts as nothing.
///
/// # Errors
///
/// When there is no such directory, or the file system refuses.
pub fn bytes_under(root: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            // A session that ended meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound && directory != root => continue,
            Err(error) => return Err(error),
        };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => open.push(entry.path()),
                Ok(metadata) if metadata.is_file() => bytes += metadata.len(),
                _ => {}
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_all_files_are_counted() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::write(root.path().join("one"), [0; 3]).unwrap();
        fs::write(root.path().join("a/b/two"), [0; 40]).unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("a/loop")).unwrap();
        assert_eq!(bytes_under(root.path()).unwrap(), 43);
        assert!(bytes_under(&root.path().join("nothing")).is_err());
    }
}

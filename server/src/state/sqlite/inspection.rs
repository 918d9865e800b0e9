//! A look at a state before anything of it is changed: opening for writing alone would already
//! write to it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{BUSY_MAX, migrations};
use crate::state::StateError;

/// Reads a state through, if there is one, and holds its schema against this version's.
///
/// Reads every page, so it takes as long as the disk needs for the file. Whether the pages fit
/// together is checked, not every byte of every value: SQLite keeps no checksums.
///
/// # Guarantee
///
/// The file is not written to.
///
/// # Errors
///
/// `Damaged` for a file that is no database, is cut off, or whose pages do not fit together;
/// `NewerSchema` and `ForeignSchema`; else when it cannot be read.
pub(super) fn inspect(path: &Path) -> Result<(), StateError> {
    let bytes = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(source) => {
            let path = path.to_owned();
            return Err(StateError::Io { path, source });
        }
    };
    // SQLite creates a file empty and writes its first page later.
    if bytes == 0 {
        return Ok(());
    }
    read_through(path).map_err(|error| match error {
        StateError::Database(error) if is_damage(&error) => damaged(path, error.to_string()),
        error => error,
    })
}

fn read_through(path: &Path) -> Result<(), StateError> {
    let connection = read_only(path)?;
    // First: what a later version wrote is for that version to check.
    migrations::known_schema(&connection)?;
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" {
        Ok(())
    } else {
        // Before it stands which database of the connection: there is one.
        let found = found.lines().next_back().unwrap_or_default();
        Err(damaged(path, found.to_owned()))
    }
}

/// A connection that writes nothing.
pub(super) fn read_only(path: &Path) -> Result<Connection, StateError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_MAX)?;
    Ok(connection)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(
        code,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

fn damaged(path: &Path, found: String) -> StateError {
    StateError::Damaged {
        path: path.to_owned(),
        found,
    }
}

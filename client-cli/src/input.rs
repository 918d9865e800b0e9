//! Files of the owner, read before anything is asked of the server: a wrong file is worth no download.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use client_wasm::file::{ChosenColumns, LabelledFile};
use shared::text::{ColumnChoice, Columns, Table, TextRow, Texts, check_file_bytes};

/// A file as it is handed to the client: columns are found there.
pub(crate) struct OwnedFile {
    /// Name without directory; its ending tells the format.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl OwnedFile {
    /// Reads a file that is not larger than what can be used.
    ///
    /// # Errors
    ///
    /// When there is no such file, it is too large, or may not be read.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let named = || format!("{} cannot be read", path.display());
        let metadata = fs::metadata(path).with_context(named)?;
        if metadata.is_dir() {
            bail!("{} is a directory, not a file", path.display());
        }
        check_file_bytes(metadata.len()).with_context(named)?;
        let bytes = fs::read(path).with_context(named)?;
        let name = path.file_name().unwrap_or_default();
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            bytes,
        })
    }

    /// Reads a file that can be trained on, or says why it cannot.
    ///
    /// # Errors
    ///
    /// As `read`, and what is wrong with its rows or columns.
    pub(crate) fn read_labelled(path: &Path, columns: &ChosenColumns) -> anyhow::Result<Self> {
        let owned = Self::read(path)?;
        let mut file = LabelledFile::read(&owned.name, &owned.bytes)?;
        file.choose(columns)?;
        file.dataset()?;
        Ok(owned)
    }
}

/// Reads texts to classify; a label column is not needed and not used.
///
/// # Errors
///
/// When it is no file of texts, or has no such column.
pub(crate) fn read_texts(path: &Path, columns: &ChosenColumns) -> anyhow::Result<Vec<TextRow>> {
    let file = OwnedFile::read(path)?;
    let table = Table::read(&file.name, &file.bytes)?;
    let choice = ColumnChoice {
        text: columns.text.as_deref(),
        pair: columns.pair.as_deref(),
        label: None,
    };
    let columns = Columns::choose(&table, &choice)?;
    Ok(Texts::from_table(&table, &columns)?.rows().to_vec())
}

/// Finds out before a long run whether a file could be written after it.
///
/// # Errors
///
/// When its directory does not exist, or it is a directory itself.
pub(crate) fn check_writable(path: &Path) -> anyhow::Result<()> {
    if path.is_dir() {
        bail!("{} is a directory, not a file", path.display());
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
            bail!("there is no directory {} to write to", parent.display())
        }
        _ => Ok(()),
    }
}

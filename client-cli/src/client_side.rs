//! What stays at the client of a classifier that the server keeps: names of the classes, and how
//! texts are released to it.
//!
//! The server has neither. The file holds no text, no token and no key of a release: a later run
//! draws its own noise.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use client_wasm::options::{PrivacyOptions, UploadDtype};
use serde::{Deserialize, Serialize};

use crate::record::private_file;

/// What stays here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClientSide {
    /// The model's name.
    pub(crate) model_id: String,
    /// Blocks at the client.
    pub(crate) cut: u32,
    /// Tokens of a text that are used.
    pub(crate) seq_length_max: u32,
    /// Names of the classes, in the order of their numbers.
    pub(crate) labels: Vec<String>,
    /// Which mechanism, with the eta that was used.
    pub(crate) privacy: PrivacyOptions,
    /// How activations are written.
    pub(crate) dtype: UploadDtype,
}

impl ClientSide {
    /// Writes it to a file that only its owner may read and that is not there yet.
    ///
    /// # Errors
    ///
    /// When the file is there, or cannot be written.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let named = || format!("{} cannot be written", path.display());
        let json = serde_json::to_vec_pretty(self)?;
        let mut file = private_file(path).with_context(named)?;
        file.write_all(&json).with_context(named)
    }

    /// Reads what was written.
    ///
    /// # Errors
    ///
    /// When there is no such file, or it is another one.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let json = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        // What a parser says would repeat the file.
        serde_json::from_slice(&json)
            .ok()
            .with_context(|| format!("{} is not what --client-side writes", path.display()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_here_is_written_once_and_read_again() {
        let name = format!("cutlayer-client-side-{}.json", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_file(&path);
        let side = ClientSide {
            model_id: "m".to_owned(),
            cut: 1,
            seq_length_max: 64,
            labels: vec!["no".to_owned(), "yes".to_owned()],
            privacy: PrivacyOptions {
                eta: Some(33.5),
                ..PrivacyOptions::default()
            },
            dtype: UploadDtype::Int8,
        };
        side.write(&path).unwrap();
        assert_eq!(ClientSide::read(&path).unwrap(), side);
        assert!(side.write(&path).is_err()); // another one's labels may be in it
        fs::write(&path, "{\"labels\": [\"secret\"]}").unwrap();
        let error = format!("{:#}", ClientSide::read(&path).unwrap_err());
        assert!(!error.contains("secret"), "{error}");
        fs::remove_file(&path).unwrap();
    }
}

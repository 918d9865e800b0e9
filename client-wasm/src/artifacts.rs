//! What a client needs of the server before it can run the bottom, as the catalogue lists it. Where
//! the bytes come from, and that they are the right ones, is `cache`'s.

use serde::Deserialize;

use crate::cache::{self, Files, Unfetched, Unobtained};
use crate::error::{ClientError, UNAUTHORIZED};
use crate::events::LoadingStage;

/// The path of the catalogue.
pub const CATALOGUE_PATH: &str = "/v1/catalogue";

/// Largest catalogue that is read.
pub(crate) const CATALOGUE_BYTES_MAX: u64 = 1024 * 1024;

/// Largest file that is read: the bottom of a large encoder in f32.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// What the server offers.
#[derive(Debug, Clone, Deserialize)]
pub struct Catalogue {
    /// The model's name.
    pub model_id: String,
    /// `bert`, `roberta` or `distilbert`.
    pub family: String,
    /// Blocks of the whole model.
    pub n_layers: u32,
    /// Width of an activation.
    pub d_model: u32,
    /// Longest example in tokens.
    pub seq_length_max: u32,
    /// The cuts that can be chosen.
    pub cuts: Vec<CutEntry>,
    /// `tokenizer.json`
    pub tokenizer: FileEntry,
    /// `config.json`
    pub config: FileEntry,
}

/// The bottoms of one cut.
#[derive(Debug, Clone, Deserialize)]
pub struct CutEntry {
    /// Blocks that the client runs.
    pub cut: u32,
    /// One file a precision.
    pub artifacts: Vec<BottomEntry>,
}

/// One bottom.
#[derive(Debug, Clone, Deserialize)]
pub struct BottomEntry {
    /// `f16`, `f32` or `int8`.
    pub precision: String,
    /// The file.
    #[serde(flatten)]
    pub file: FileEntry,
}

/// Where a file is, and how to know that it is the right one.
#[derive(Debug, Clone, Deserialize)]
pub struct FileEntry {
    /// Path at the server.
    pub path: String,
    /// Hexadecimal.
    pub sha256: String,
    /// Size.
    pub bytes: u64,
}

impl FileEntry {
    /// The last part of its path.
    pub fn name(&self) -> &str {
        let path = self.path.split('?').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }

    /// The digest as the protocol carries it.
    ///
    /// # Errors
    ///
    /// When it is not 64 hexadecimal digits.
    pub fn digest(&self) -> Result<[u8; 32], ClientError> {
        let mut digest = [0; 32];
        let valid = self.sha256.len() == 64 && self.sha256.is_ascii();
        for (at, byte) in digest.iter_mut().enumerate() {
            let pair = self.sha256.get(2 * at..2 * at + 2).filter(|_| valid);
            *byte = pair
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .ok_or_else(|| ClientError::Protocol("a sha256 is malformed".to_owned()))?;
        }
        Ok(digest)
    }
}

impl Catalogue {
    /// Gives a file whose sha256 is right, from what is kept of it and from the server.
    /// `on_bytes(bytes, bytes_total)` is told how far it is.
    ///
    /// # Errors
    ///
    /// When it cannot be fetched, or is not the file that the catalogue names.
    pub async fn file(
        &self,
        files: &impl Files,
        entry: &FileEntry,
        stage: LoadingStage,
        mut on_bytes: impl FnMut(u64, u64),
    ) -> Result<Vec<u8>, ClientError> {
        let what = match stage {
            LoadingStage::Bottom => "the bottom of the model",
            LoadingStage::Tokenizer => "the tokenizer",
            _ => "a file",
        };
        if entry.bytes > FILE_BYTES_MAX {
            let bytes_max = FILE_BYTES_MAX;
            return Err(unfetched(what, Unfetched::TooLong { bytes_max }));
        }
        let label = format!("{} {}", self.model_id, entry.name());
        let told = |bytes| on_bytes(bytes, entry.bytes);
        let obtained = cache::obtain(files, entry, entry.digest()?, &label, told).await;
        obtained.map_err(|error| match error {
            Unobtained::Unfetched(error) => unfetched(what, error),
            Unobtained::Wrong => ClientError::WrongArtifact {
                what: what.to_owned(),
            },
        })
    }

    /// The bottom of a cut in a precision; the smallest cut when none is named.
    ///
    /// # Errors
    ///
    /// When the server does not offer it.
    pub fn bottom(
        &self,
        cut: Option<u32>,
        precision: &str,
    ) -> Result<(u32, &BottomEntry), ClientError> {
        let offered = || self.cuts.iter().map(|entry| entry.cut);
        let cut = cut.or_else(|| offered().min()).unwrap_or(0);
        let entry = self.cuts.iter().find(|entry| entry.cut == cut);
        let bottom = entry.and_then(|entry| {
            entry
                .artifacts
                .iter()
                .find(|bottom| bottom.precision == precision)
        });
        bottom
            .map(|bottom| (cut, bottom))
            .ok_or_else(|| ClientError::Option {
                name: "cut",
                problem: format!(
                    "{cut} in {precision} is not offered; the server has {:?}",
                    offered().collect::<Vec<_>>()
                ),
            })
    }
}

/// Reads the catalogue of a server.
///
/// # Errors
///
/// When it cannot be fetched or read.
pub async fn catalogue(files: &impl Files) -> Result<Catalogue, ClientError> {
    let what = "the catalogue";
    let bytes = files.catalogue().await;
    let bytes = bytes.map_err(|error| unfetched(what, error))?;
    serde_json::from_slice(&bytes).map_err(|error| ClientError::Fetch {
        what: what.to_owned(),
        reason: format!("it is not a catalogue of this version ({error})"),
    })
}

fn unfetched(what: &str, error: Unfetched) -> ClientError {
    match error {
        Unfetched::Status(UNAUTHORIZED) => ClientError::TokenNeeded,
        error => ClientError::Fetch {
            what: what.to_owned(),
            reason: error.to_string(),
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_name_without_its_directory_and_version() {
        let entry = FileEntry {
            path: "/v1/artifacts/bottom-1-f16.safetensors?sha256=00".to_owned(),
            sha256: String::new(),
            bytes: 0,
        };
        assert_eq!(entry.name(), "bottom-1-f16.safetensors");
    }

    #[test]
    fn a_digest_is_read_from_hexadecimal_or_refused() {
        let entry = |sha256: &str| FileEntry {
            path: String::new(),
            sha256: sha256.to_owned(),
            bytes: 0,
        };
        let digest = entry(&format!("0aff{}", "00".repeat(30))).digest().unwrap();
        assert_eq!(digest[..3], [10, 255, 0]);
        assert!(entry("0aff").digest().is_err());
        assert!(entry(&"zz".repeat(32)).digest().is_err());
        assert!(entry(&"é".repeat(32)).digest().is_err());
    }
}

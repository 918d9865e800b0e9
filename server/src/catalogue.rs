//! What the daemon offers: one model, its cuts, and the files that a client needs to run the
//! bottom.
//!
//! A bottom artifact is cut out of the model once, written beside a sidecar with its sha256, and
//! reused by later starts. The tokenizer and the configuration are copied beside it, so that what
//! is served stays what was hashed even when somebody edits the model's directory. Nothing here
//! serves anything; `routes` does.

mod description;
mod files;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use description::{Answer, Description};
use description::{FileDescription, describe};
pub use files::Artifact;
use files::sha256;
pub(crate) use files::sum;
use shared::model::weights::{Precision, bottom_artifact};
use shared::model::{ModelConfig, ModelError};
use shared::protocol::limits::{Limits, MODEL_ID_BYTES_MAX};

use crate::session::{CutOffer, Offer};

/// Where artifacts are served.
pub const ARTIFACTS_PATH: &str = "/v1/artifacts";

/// The model directory cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A file that a model directory must have.
    #[error(
        "{} is missing; a model directory has config.json, model.safetensors and tokenizer.json",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{} cannot be read or written: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The file system's reason.
        source: io::Error,
    },
    /// The files are not a model of a supported family.
    #[error("{} is not a usable model: {source}", path.display())]
    Model {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        source: ModelError,
    },
    /// The directory's name cannot be the model's name.
    #[error(
        "{} cannot name the model: use 1 to {MODEL_ID_BYTES_MAX} letters, digits, '-', '_' or '.'",
        path.display()
    )]
    Name {
        /// The directory.
        path: PathBuf,
    },
    /// A cut that the model does not have.
    #[error("cut {actual} does not exist: a cut is below the model's {n_layers} blocks")]
    Cut {
        /// Asked for.
        actual: u32,
        /// Blocks of the model.
        n_layers: usize,
    },
    /// The tokenizer is not JSON.
    #[error("{} is not a tokenizer.json: {source}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// One model, ready to be offered.
#[derive(Debug)]
pub struct Catalogue {
    description: Description,
    artifacts: BTreeMap<String, Artifact>,
    cuts: Vec<CutOffer>,
}

impl Catalogue {
    /// Reads a Hugging Face directory and makes sure of its artifacts. Blocking; takes seconds the
    /// first time.
    ///
    /// `cuts`: the cuts to offer; empty for all. `limits.seq_length_max` is lowered to what the
    /// model has positions for.
    ///
    /// # Errors
    ///
    /// When a file is missing or is not what it should be, or an artifact cannot be written.
    pub fn load(
        model_dir: &Path,
        cuts: &[u32],
        artifacts_dir: &Path,
        limits: Limits,
    ) -> Result<Self, CatalogueError> {
        let ModelFiles {
            model_id,
            config,
            cuts,
            config_bytes,
            tokenizer_bytes,
        } = ModelFiles::read(model_dir, cuts)?;
        let model = read(&model_dir.join("model.safetensors"))?;
        let invalid = |source| CatalogueError::Model {
            path: model_dir.to_owned(),
            source,
        };

        let shelf = files::Shelf::open(artifacts_dir, &sha256(&model), &sha256(&config_bytes))?;
        let mut artifacts = BTreeMap::new();
        for cut in &cuts {
            for precision in Precision::ALL {
                let make = || bottom_artifact(&config, &model, *cut as usize, precision);
                let artifact = shelf.keep(&bottom_name(*cut, precision), make, invalid)?;
                artifacts.insert(bottom_name(*cut, precision), artifact);
            }
        }
        for (name, bytes) in [
            ("config.json", config_bytes),
            ("tokenizer.json", tokenizer_bytes),
        ] {
            artifacts.insert(name.to_owned(), shelf.copy(name, &bytes)?);
        }

        let seq_length_max = u16::try_from(config.seq_length_max).unwrap_or(u16::MAX);
        let seq_length_max = seq_length_max.min(limits.seq_length_max);
        let limits = Limits {
            seq_length_max,
            ..limits
        };
        Ok(Self {
            description: describe(model_id, &config, &cuts, &artifacts, limits),
            cuts: cuts.iter().map(|cut| cut_offer(*cut, &artifacts)).collect(),
            artifacts,
        })
    }

    /// The answer to `GET /v1/catalogue`. `program` is what the page runs and the path where it is
    /// served; none where no page is.
    pub fn answer(&self, program: Option<(&str, &Artifact)>) -> Answer<'_> {
        Answer {
            model: &self.description,
            program: program.map(|(path, artifact)| FileDescription::new(path, artifact)),
        }
    }

    /// A file by the last part of its path.
    pub fn artifact(&self, name: &str) -> Option<&Artifact> {
        self.artifacts.get(name)
    }

    /// The model's name.
    pub fn model_id(&self) -> &str {
        &self.description.model_id
    }

    /// What a session may agree to, on a trainer that computes on `device`; `trains_dense` as its
    /// model's task head says.
    pub fn offer(&self, device: &str, trains_dense: bool) -> Offer {
        Offer {
            model_id: self.description.model_id.clone(),
            d_model: u32::try_from(self.description.d_model).unwrap_or(u32::MAX),
            cuts: self.cuts.clone(),
            limits: self.description.limits,
            device: device.to_owned(),
            trains_dense,
        }
    }
}

/// A model directory, all but its weights.
#[derive(Debug)]
pub struct ModelFiles {
    /// The model's name.
    pub model_id: String,
    /// Its sizes.
    pub config: ModelConfig,
    /// The cuts to offer.
    pub cuts: Vec<u32>,
    config_bytes: Vec<u8>,
    tokenizer_bytes: Vec<u8>,
}

impl ModelFiles {
    /// Reads what `Catalogue::load` reads first, and writes nothing.
    ///
    /// # Errors
    ///
    /// When a file is missing or is not what it should be, or a cut does not exist.
    pub fn read(model_dir: &Path, cuts: &[u32]) -> Result<Self, CatalogueError> {
        let model_id = model_id(model_dir)?;
        let config_bytes = read(&model_dir.join("config.json"))?;
        let tokenizer_bytes = read_tokenizer(&model_dir.join("tokenizer.json"))?;
        let config =
            ModelConfig::from_json(&config_bytes).map_err(|source| CatalogueError::Model {
                path: model_dir.to_owned(),
                source,
            })?;
        let cuts = offered_cuts(cuts, config.n_layers)?;
        Ok(Self {
            model_id,
            config,
            cuts,
            config_bytes,
            tokenizer_bytes,
        })
    }
}

/// The directory's name, which also is a segment of a path and a word of `Hello`.
fn model_id(model_dir: &Path) -> Result<String, CatalogueError> {
    let refuse = || CatalogueError::Name {
        path: model_dir.to_owned(),
    };
    let canonical = fs::canonicalize(model_dir).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => CatalogueError::Missing {
            path: model_dir.to_owned(),
        },
        _ => CatalogueError::Io {
            path: model_dir.to_owned(),
            source,
        },
    })?;
    let name = canonical
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(refuse)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fits = (1..=MODEL_ID_BYTES_MAX).contains(&name.len()) && name.chars().all(plain);
    if fits {
        Ok(name.to_owned())
    } else {
        Err(refuse())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CatalogueError> {
    fs::read(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => CatalogueError::Missing {
            path: path.to_owned(),
        },
        _ => CatalogueError::Io {
            path: path.to_owned(),
            source,
        },
    })
}

/// The tokenizer's bytes, unchanged. The server does not tokenize: it only makes sure that it
/// serves JSON.
fn read_tokenizer(path: &Path) -> Result<Vec<u8>, CatalogueError> {
    let bytes = read(path)?;
    match serde_json::from_slice::<serde::de::IgnoredAny>(&bytes) {
        Ok(_) => Ok(bytes),
        Err(source) => Err(CatalogueError::Tokenizer {
            path: path.to_owned(),
            source,
        }),
    }
}

fn offered_cuts(cuts: &[u32], n_layers: usize) -> Result<Vec<u32>, CatalogueError> {
    let all = 0..u32::try_from(n_layers).unwrap_or(u32::MAX);
    if cuts.is_empty() {
        return Ok(all.collect());
    }
    if let Some(&actual) = cuts.iter().find(|cut| !all.contains(cut)) {
        return Err(CatalogueError::Cut { actual, n_layers });
    }
    let mut cuts = cuts.to_vec();
    cuts.sort_unstable();
    cuts.dedup();
    Ok(cuts)
}

fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::F16 => "f16",
        Precision::F32 => "f32",
        Precision::Int8 => "int8",
    }
}

fn bottom_name(cut: u32, precision: Precision) -> String {
    format!("bottom-{cut}-{}.safetensors", precision_name(precision))
}

fn cut_offer(cut: u32, artifacts: &BTreeMap<String, Artifact>) -> CutOffer {
    let names = Precision::ALL.map(|precision| bottom_name(cut, precision));
    let sha256s = names
        .iter()
        .filter_map(|name| artifacts.get(name))
        .map(|artifact| artifact.sha256);
    CutOffer {
        cut,
        bottom_sha256: sha256s.collect(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_those_of_the_model() {
        assert_eq!(offered_cuts(&[], 3).unwrap(), [0, 1, 2]);
        assert_eq!(offered_cuts(&[2, 0, 2], 3).unwrap(), [0, 2]);
        let error = offered_cuts(&[3], 3).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cut 3 does not exist: a cut is below the model's 3 blocks"
        );
    }

    #[test]
    fn the_model_is_named_by_its_directory() {
        let parent = tempfile::tempdir().unwrap();
        let named = parent.path().join("all-MiniLM-L6-v2");
        fs::create_dir(&named).unwrap();
        assert_eq!(model_id(&named).unwrap(), "all-MiniLM-L6-v2");
        let odd = parent.path().join("two words");
        fs::create_dir(&odd).unwrap();
        assert!(matches!(model_id(&odd), Err(CatalogueError::Name { .. })));
    }

    #[test]
    fn a_missing_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let model = directory.path().join("m");
        fs::create_dir(&model).unwrap();
        fs::write(model.join("config.json"), "{}").unwrap();
        let error = Catalogue::load(&model, &[], directory.path(), Limits::default()).unwrap_err();
        assert!(
            matches!(&error, CatalogueError::Missing { path } if path.ends_with("tokenizer.json"))
        );
        fs::write(model.join("tokenizer.json"), "not json").unwrap();
        let error = Catalogue::load(&model, &[], directory.path(), Limits::default()).unwrap_err();
        assert!(matches!(error, CatalogueError::Tokenizer { .. }), "{error}");
    }
}

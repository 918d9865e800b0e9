//! Files on the daemon's shelf: written once, whole, with a sidecar that says what they are.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::model::ModelError;

use super::CatalogueError;
use crate::hex::{hex, unhex};

/// A file that may be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Where it is.
    pub path: PathBuf,
    /// Of its bytes.
    pub sha256: [u8; 32],
    /// Its size.
    pub bytes: u64,
}

impl Artifact {
    /// Describes a file that is there, reading it once in pieces; none where there is none.
    pub(crate) fn of_file(path: PathBuf) -> io::Result<Option<Self>> {
        let file = match fs::File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let (bytes, sha256) = sum(file)?;
        Ok(Some(Self {
            path,
            sha256,
            bytes,
        }))
    }

    /// The sha256 as the catalogue, the `ETag` and the query spell it.
    pub fn sha256_hex(&self) -> String {
        hex(&self.sha256)
    }
}

/// What is written beside an artifact. An artifact without one was not finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sidecar {
    sha256: String,
    bytes: u64,
    /// What it was made from; another configuration makes another artifact.
    config_sha256: String,
    /// The release that made it: a later one may cut differently.
    made_by: String,
}

/// The artifacts of one model, in a directory named after the sha256 of its weights.
#[derive(Debug)]
pub(super) struct Shelf {
    directory: PathBuf,
    config_sha256: String,
}

impl Shelf {
    pub(super) fn open(
        artifacts_dir: &Path,
        model_sha256: &[u8; 32],
        config_sha256: &[u8; 32],
    ) -> Result<Self, CatalogueError> {
        let directory = artifacts_dir.join(hex(model_sha256));
        fs::create_dir_all(&directory).map_err(failed(&directory))?;
        Ok(Self {
            directory,
            config_sha256: hex(config_sha256),
        })
    }

    /// Gives the artifact that is there, or makes it.
    pub(super) fn keep(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Vec<u8>, ModelError>,
        invalid: impl FnOnce(ModelError) -> CatalogueError,
    ) -> Result<Artifact, CatalogueError> {
        if let Some(artifact) = self.find(name) {
            return Ok(artifact);
        }
        let bytes = make().map_err(invalid)?;
        tracing::info!(name, bytes = bytes.len(), "wrote an artifact");
        self.write(name, &bytes)
    }

    /// Writes a file whose bytes are at hand, unless the same is there.
    pub(super) fn copy(&self, name: &str, bytes: &[u8]) -> Result<Artifact, CatalogueError> {
        match self.find(name) {
            Some(artifact) if artifact.sha256 == sha256(bytes) => Ok(artifact),
            _ => self.write(name, bytes),
        }
    }

    /// A finished artifact of this configuration and this release, if there is one.
    fn find(&self, name: &str) -> Option<Artifact> {
        let path = self.directory.join(name);
        let sidecar: Sidecar = serde_json::from_slice(&fs::read(self.sidecar(name)).ok()?).ok()?;
        let sha256 = unhex(&sidecar.sha256)?;
        let bytes = fs::metadata(&path).ok()?.len();
        let expected = self.describe(&sha256, bytes);
        (sidecar == expected).then_some(Artifact {
            path,
            sha256,
            bytes,
        })
    }

    /// The sidecar is removed first and written last: whatever happens in between, no sidecar
    /// speaks of other bytes.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<Artifact, CatalogueError> {
        let path = self.directory.join(name);
        let sidecar = self.sidecar(name);
        match fs::remove_file(&sidecar) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&sidecar)(error));
            }
            _ => {}
        }
        self.replace(&path, bytes)?;
        let (sha256, bytes) = (sha256(bytes), bytes.len() as u64);
        let description = serde_json::to_vec(&self.describe(&sha256, bytes))
            .expect("a sidecar has string keys and no fallible values");
        self.replace(&sidecar, &description)?;
        Ok(Artifact {
            path,
            sha256,
            bytes,
        })
    }

    /// Replaces a file as a whole or not at all.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), CatalogueError> {
        let write = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            Ok(())
        };
        write().map_err(failed(path))
    }

    fn describe(&self, sha256: &[u8; 32], bytes: u64) -> Sidecar {
        Sidecar {
            sha256: hex(sha256),
            bytes,
            config_sha256: self.config_sha256.clone(),
            made_by: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn sidecar(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CatalogueError + use<> {
    let path = path.to_owned();
    |source| CatalogueError::Io { path, source }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Length and sha256 of what is read in pieces, and never held whole.
pub(crate) fn sum(mut content: impl io::Read) -> io::Result<(u64, [u8; 32])> {
    let mut hasher = Sha256::new();
    let bytes = io::copy(&mut content, &mut hasher)?;
    Ok((bytes, hasher.finalize().into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shelf(directory: &Path, config: u8) -> Shelf {
        Shelf::open(directory, &[1; 32], &[config; 32]).unwrap()
    }

    fn keep(shelf: &Shelf, bytes: Option<&[u8]>) -> Artifact {
        let make = || Ok(bytes.expect("it should have been reused").to_vec());
        let invalid = |source| CatalogueError::Model {
            path: PathBuf::new(),
            source,
        };
        shelf
            .keep("bottom-0-f16.safetensors", make, invalid)
            .unwrap()
    }

    #[test]
    fn sha256_of_abc() {
        // Source: FIPS 180-4, example of one block.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&sha256(b"abc")), expected);
        assert_eq!(unhex(expected), Some(sha256(b"abc")));
        assert_eq!(unhex::<32>("zz"), None);
    }

    #[test]
    fn a_file_is_described_by_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program.wasm");
        assert_eq!(Artifact::of_file(path.clone()).unwrap(), None);
        fs::write(&path, b"abc").unwrap();
        let artifact = Artifact::of_file(path).unwrap().unwrap();
        assert_eq!((artifact.bytes, artifact.sha256), (3, sha256(b"abc")));
        assert!(Artifact::of_file(directory.path().to_owned()).is_err());
    }

    #[test]
    fn an_artifact_is_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let made = keep(&shelf(directory.path(), 2), Some(b"abc"));
        assert_eq!((made.bytes, made.sha256), (3, sha256(b"abc")));
        assert_eq!(keep(&shelf(directory.path(), 2), None), made);
    }

    #[test]
    fn it_is_made_anew_for_another_configuration_or_when_cut_short() {
        let directory = tempfile::tempdir().unwrap();
        keep(&shelf(directory.path(), 2), Some(b"abc"));
        let other = keep(&shelf(directory.path(), 3), Some(b"abcd"));
        assert_eq!(other.bytes, 4);
        fs::write(&other.path, b"ab").unwrap();
        assert_eq!(keep(&shelf(directory.path(), 3), Some(b"abcd")).bytes, 4);
        assert_eq!(fs::read(&other.path).unwrap(), b"abcd");
    }

    #[test]
    fn a_copy_follows_its_source() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = shelf(directory.path(), 2);
        let first = shelf.copy("tokenizer.json", b"{}").unwrap();
        assert_eq!(shelf.copy("tokenizer.json", b"{}").unwrap(), first);
        let second = shelf.copy("tokenizer.json", b"[]").unwrap();
        assert_eq!(second.sha256, sha256(b"[]"));
        assert_eq!(fs::read(second.path).unwrap(), b"[]");
    }
}

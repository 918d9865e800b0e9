//! A run on disk: everything that decides its future, between two steps.
//!
//! The file is a safetensors file. What is no matrix is in the `__metadata__` of its header:
//!
//! | key | what |
//! |---|---|
//! | `state` | [`State`] as JSON; its `version` is 1 |
//! | `sha256` | of all bytes of the file with these 64 digits as zeros, in hexadecimal |
//!
//! The matrices are little-endian f32, row-major, of two dimensions. `NAME` is a trained matrix'
//! ([`ParameterName`](shared::adapter::ParameterName)):
//!
//! | tensor | what |
//! |---|---|
//! | `adapter.NAME` | the adapter after `step` |
//! | `moment_1.NAME`, `moment_2.NAME` | AdamW's, where it has taken a step |
//! | `best.NAME` | the best adapter, where something was validated |
//! | `probe` | what the top makes of a fixed input, `[1, d_model]`: other weights, other numbers |
//!
//! Here are bytes. What of a run is in them, and how it goes on, is in `run::state`.
//!
//! The file holds no activation and no label. It is private all the same: an adapter tells of what
//! it was trained on.

mod error;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::hex::hex;
use crate::store::{SealedFile, Sealing, durable};
pub use error::CheckpointError;

/// Of [`State`].
const VERSION: u32 = 1;
const STATE: &str = "state";
const SHA256: &str = "sha256";
const SHA256_DIGITS: usize = 64;

/// What of a run is no matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Of this form.
    pub version: u32,
    /// Settings and shapes, each as text: they must be those of the run that goes on.
    pub conditions: BTreeMap<String, String>,
    /// sha256 of the headers of all examples without their labels.
    pub examples_sha256: String,
    /// Optimizer steps taken.
    pub step: u32,
    /// The order of the training examples in the current epoch.
    pub order: Vec<usize>,
    /// The random generator.
    pub generator: Generator,
    /// Accuracy and loss of the best validation so far, as the bits of f32.
    pub best_bits: Option<[u32; 2]>,
    /// Validations since.
    pub validations_without_gain: u32,
    /// The step of the best adapter.
    pub best_step: Option<u32>,
    /// Steps that AdamW has taken with each matrix that it has moments of.
    pub optimizer_steps: BTreeMap<String, usize>,
    /// This side's share of the norm of the last step, as the bits of f32, where the client is yet
    /// to be told.
    pub untold_bits: Option<u32>,
}

/// ChaCha8, and where in its stream it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    /// Key.
    pub seed: [u8; 32],
    /// Stream, as the cipher's nonce.
    pub stream: u64,
    /// Block of 16 words.
    pub block: u64,
    /// Word of it.
    pub word: u32,
}

/// Row-major numbers with their shape.
#[derive(Clone, PartialEq)]
pub struct Matrix {
    /// Rows and columns.
    pub shape: [usize; 2],
    /// As many as the shape says.
    pub values: Vec<f32>,
}

impl fmt::Debug for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Matrix({:?})", self.shape)
    }
}

/// Everything that decides a run's future.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    state: State,
    matrices: BTreeMap<String, Matrix>,
}

impl Checkpoint {
    /// A checkpoint of a run's state; `run::state` makes it.
    pub(super) fn new(mut state: State, matrices: BTreeMap<String, Matrix>) -> Self {
        state.version = VERSION;
        Self { state, matrices }
    }

    /// What is no matrix.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// A matrix by its name in the file.
    pub fn matrix(&self, name: &str) -> Option<&Matrix> {
        self.matrices.get(name)
    }

    /// Writes it to a file, in place of an earlier one. Returns the bytes written.
    ///
    /// # Guarantee
    ///
    /// As of [`durable::replace`]: after whatever interruption the file is the earlier checkpoint or
    /// this one, whole.
    ///
    /// # Errors
    ///
    /// `Full` when there is no room; otherwise the file system's reason. The earlier checkpoint is
    /// still there then.
    pub fn save(&self, path: &Path) -> Result<u64, CheckpointError> {
        self.save_sealed(path, &Sealing::default(), &[])
    }

    /// As [`Self::save`], sealed where there is a key; `of` says whose run it is.
    ///
    /// # Errors
    ///
    /// As of [`Self::save`], and `Sealed` when the system has no randomness.
    pub fn save_sealed(
        &self,
        path: &Path,
        sealing: &Sealing,
        of: &[u8],
    ) -> Result<u64, CheckpointError> {
        let bytes = self.to_bytes()?;
        let stored = sealing.seal_file(SealedFile::Checkpoint, of, &bytes)?;
        durable::replace(path, &stored)?;
        Ok(stored.len() as u64)
    }

    /// Reads what [`Self::save`] has written.
    ///
    /// # Errors
    ///
    /// When there is no such file, or it is not exactly what was written.
    pub fn load(path: &Path) -> Result<Self, CheckpointError> {
        Self::load_sealed(path, &Sealing::default(), &[])
    }

    /// Reads what [`Self::save_sealed`] has written with the same key for the same run.
    ///
    /// # Errors
    ///
    /// As of [`Self::load`], and `Sealed` where it was written with another key, for another run, or
    /// one of the two has no key.
    pub fn load_sealed(path: &Path, sealing: &Sealing, of: &[u8]) -> Result<Self, CheckpointError> {
        let stored = durable::read(path)?;
        Self::from_bytes(&sealing.open_file(SealedFile::Checkpoint, of, &stored)?)
    }

    /// The bytes of the file.
    ///
    /// # Errors
    ///
    /// `Malformed` when a matrix does not have as many numbers as its shape says.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        let malformed = |missing: &str| CheckpointError::Malformed {
            missing: missing.to_owned(),
        };
        let state = serde_json::to_string(&self.state).map_err(|_| malformed(STATE))?;
        let metadata = HashMap::from([
            (STATE.to_owned(), state),
            (SHA256.to_owned(), "0".repeat(SHA256_DIGITS)),
        ]);
        let little_endian = |matrix: &Matrix| -> Vec<u8> {
            let values = matrix.values.iter();
            values.flat_map(|value| value.to_le_bytes()).collect()
        };
        let matrices = self.matrices.iter();
        let stored: Vec<_> = matrices
            .map(|(name, matrix)| (name, matrix.shape, little_endian(matrix)))
            .collect();
        let mut views = Vec::with_capacity(stored.len());
        for (name, shape, bytes) in &stored {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes);
            views.push((*name, view.map_err(|_| malformed(name))?));
        }
        let bytes = safetensors::serialize(views, Some(metadata));
        let mut bytes = bytes.map_err(|_| malformed("header"))?;
        let (digest, sum) = sum(&bytes).ok_or_else(|| malformed(SHA256))?;
        bytes[digest].copy_from_slice(sum.as_bytes());
        Ok(bytes)
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    ///
    /// `Damaged` when any byte is not the one that was written; `WrongVersion` and `Malformed` when
    /// all are, but another program or another version wrote them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let malformed = |missing: &str| CheckpointError::Malformed {
            missing: missing.to_owned(),
        };
        let (digest, sum) = sum(bytes).ok_or(CheckpointError::Damaged)?;
        if bytes[digest] != *sum.as_bytes() {
            return Err(CheckpointError::Damaged);
        }
        let (_, header) =
            SafeTensors::read_metadata(bytes).map_err(|_| malformed("readable header"))?;
        let metadata = header.metadata().as_ref();
        let state = metadata.and_then(|metadata| metadata.get(STATE));
        let state = state.ok_or_else(|| malformed(STATE))?;
        let Version { version } = serde_json::from_str(state).map_err(|_| malformed("version"))?;
        if version != VERSION {
            return Err(CheckpointError::WrongVersion {
                expected: VERSION,
                actual: version,
            });
        }
        let state = serde_json::from_str(state).map_err(|_| malformed(STATE))?;
        let file = SafeTensors::deserialize(bytes).map_err(|_| malformed("readable tensors"))?;
        let matrices = file.iter().map(|(name, view)| {
            let matrix = matrix(&view).ok_or_else(|| malformed(name))?;
            Ok((name.to_owned(), matrix))
        });
        Ok(Self {
            state,
            matrices: matrices.collect::<Result<_, CheckpointError>>()?,
        })
    }
}

/// All that is read before it is known that the rest can be.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

fn matrix(view: &TensorView<'_>) -> Option<Matrix> {
    let shape = <[usize; 2]>::try_from(view.shape()).ok()?;
    let (numbers, rest) = view.data().as_chunks::<4>();
    let is_f32 = view.dtype() == Dtype::F32 && rest.is_empty();
    is_f32.then(|| Matrix {
        shape,
        values: numbers
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect(),
    })
}

/// Where the digits of the sha256 are, and which they must be.
///
/// Inside another text of the header quotes are escaped, so the first that reads like the key is the
/// key.
fn sum(bytes: &[u8]) -> Option<(std::ops::Range<usize>, String)> {
    let key = format!("\"{SHA256}\":\"");
    let found = bytes
        .windows(key.len())
        .position(|window| window == key.as_bytes());
    let start = found? + key.len();
    let digest = start..start.checked_add(SHA256_DIGITS)?;
    let (before, after) = (bytes.get(..start)?, bytes.get(digest.end..)?);
    let mut hasher = Sha256::new();
    hasher.update(before);
    hasher.update([b'0'; SHA256_DIGITS]);
    hasher.update(after);
    Some((digest, hex(&hasher.finalize())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn checkpoint() -> Checkpoint {
        let state = State {
            version: 0,
            conditions: BTreeMap::from([("cut".to_owned(), "\"sha256\":\"1".to_owned())]),
            examples_sha256: "ab".to_owned(),
            step: 3,
            order: vec![2, 0, 1],
            generator: Generator {
                seed: [7; 32],
                stream: u64::MAX,
                block: u64::MAX - 1,
                word: 15,
            },
            best_bits: Some([0.75_f32.to_bits(), f32::NAN.to_bits()]),
            validations_without_gain: 2,
            best_step: Some(2),
            optimizer_steps: BTreeMap::from([("a".to_owned(), 3)]),
            untold_bits: None,
        };
        // Numbers that a text would lose: negative zero, the smallest, an infinite one.
        let values = vec![-0.0, f32::from_bits(1), f32::INFINITY, 0.1, 2.0, -3.0];
        let matrix = Matrix {
            shape: [2, 3],
            values,
        };
        Checkpoint::new(state, BTreeMap::from([("adapter.a".to_owned(), matrix)]))
    }

    fn bits(matrix: &Matrix) -> Vec<u32> {
        matrix.values.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn what_is_written_is_read_back_bit_for_bit() {
        let written = checkpoint();
        let read = Checkpoint::from_bytes(&written.to_bytes().unwrap()).unwrap();
        assert_eq!(read.state(), written.state());
        let [read, written] = [&read, &written].map(|it| it.matrix("adapter.a").unwrap());
        assert_eq!(read.shape, written.shape);
        assert_eq!(bits(read), bits(written));
    }

    /// Python reads it: it is a safetensors file without anything before or after.
    #[test]
    fn the_file_is_a_safetensors_file() {
        let bytes = checkpoint().to_bytes().unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let view = file.tensor("adapter.a").unwrap();
        assert_eq!((view.dtype(), view.shape()), (Dtype::F32, &[2, 3][..]));
        assert_eq!(view.data()[16..20], 2.0_f32.to_le_bytes());
    }

    #[test]
    fn any_other_byte_is_refused() {
        let bytes = checkpoint().to_bytes().unwrap();
        for at in 0..bytes.len() {
            for flip in [0x01, 0x2a, 0x80] {
                let mut flipped = bytes.clone();
                flipped[at] ^= flip;
                let refused = Checkpoint::from_bytes(&flipped);
                assert!(
                    matches!(refused, Err(CheckpointError::Damaged)),
                    "{at}: {refused:?}"
                );
            }
        }
    }

    #[test]
    fn any_other_length_is_refused() {
        let bytes = checkpoint().to_bytes().unwrap();
        for length in 0..bytes.len() {
            let refused = Checkpoint::from_bytes(&bytes[..length]);
            assert!(matches!(refused, Err(CheckpointError::Damaged)), "{length}");
        }
        let longer = [&bytes[..], &[0]].concat();
        let refused = Checkpoint::from_bytes(&longer);
        assert!(matches!(refused, Err(CheckpointError::Damaged)));
    }

    #[test]
    fn a_later_version_is_refused_by_its_number() {
        let mut later = checkpoint();
        later.state.version = 2;
        let refused = Checkpoint::from_bytes(&later.to_bytes().unwrap());
        assert!(
            matches!(
                refused,
                Err(CheckpointError::WrongVersion {
                    expected: 1,
                    actual: 2
                })
            ),
            "{refused:?}"
        );
    }

    #[test]
    fn a_save_replaces_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("checkpoint");
        let missing = Checkpoint::load(&path);
        assert!(matches!(missing, Err(CheckpointError::Io { .. })));
        let mut checkpoint = checkpoint();
        for step in [4, 5] {
            checkpoint.state.step = step;
            let bytes = checkpoint.save(&path).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().len(), bytes);
            assert_eq!(Checkpoint::load(&path).unwrap().state().step, step);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    /// `/dev/full` takes no byte.
    #[test]
    fn a_full_disk_leaves_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("checkpoint");
        checkpoint().save(&path).unwrap();
        let partial = directory.path().join("checkpoint.partial");
        std::os::unix::fs::symlink("/dev/full", partial).unwrap();
        let mut later = checkpoint();
        later.state.step = 4;
        let refused = later.save(&path);
        assert!(
            matches!(refused, Err(CheckpointError::Full { .. })),
            "{refused:?}"
        );
        assert_eq!(Checkpoint::load(&path).unwrap().state().step, 3);
        later.save(&path).unwrap();
        assert_eq!(Checkpoint::load(&path).unwrap().state().step, 4);
    }

    /// Breaks when a checkpoint lies in the clear although there is a key, or goes into another run.
    #[test]
    fn a_sealed_checkpoint_is_that_of_its_key_and_its_run() {
        use crate::store::StoreKey;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("checkpoint");
        let key = |digit: &str| Sealing::from(StoreKey::parse(&digit.repeat(64)));
        let checkpoint = checkpoint();
        let bytes = checkpoint.save_sealed(&path, &key("a"), b"run").unwrap();
        let stored = fs::read(&path).unwrap();
        assert_eq!(stored.len() as u64, bytes);
        assert!(!stored.windows(7).any(|window| window == b"adapter"));
        let read = Checkpoint::load_sealed(&path, &key("a"), b"run").unwrap();
        assert_eq!(read.state(), checkpoint.state());
        for refused in [
            Checkpoint::load_sealed(&path, &key("b"), b"run"),
            Checkpoint::load_sealed(&path, &key("a"), b"another"),
            Checkpoint::load(&path),
        ] {
            assert!(
                matches!(refused, Err(CheckpointError::Sealed(_))),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn its_debug_form_holds_no_number_of_the_adapter() {
        let mut checkpoint = checkpoint();
        let numbers = vec![777_313.0];
        let matrix = Matrix {
            shape: [1, 1],
            values: numbers,
        };
        checkpoint.matrices.insert("best.a".to_owned(), matrix);
        assert!(!format!("{checkpoint:?}").contains("777313"));
    }
}

//! Why a run is not kept, or does not go on.

use std::io;

use crate::store::durable;
use crate::store::sealing::SealError;
use crate::trainer::TrainerError;

/// A checkpoint cannot be taken, written, read, or gone on from.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// No room on the device, or none for this user.
    #[error("the disk is full: {source}")]
    Full {
        /// The file system's reason.
        source: io::Error,
    },
    /// The file system refused.
    #[error("a checkpoint cannot be read or written: {source}")]
    Io {
        /// The file system's reason.
        source: io::Error,
    },
    /// It is sealed with another key than is set, or for another run, or bytes of it are not those
    /// that were sealed.
    #[error("the checkpoint cannot be opened: {0}")]
    Sealed(#[from] SealError),
    /// The bytes are not those that were written.
    #[error("the checkpoint is damaged, or is none: its sha256 is not the one it states")]
    Damaged,
    /// The bytes are those that were written, but not by this program.
    #[error("the checkpoint has no {missing}")]
    Malformed {
        /// What is not there, or not of its kind.
        missing: String,
    },
    /// Another version wrote it.
    #[error("expected version {expected} of a checkpoint; got {actual}")]
    WrongVersion {
        /// Ours.
        expected: u32,
        /// The file's.
        actual: u32,
    },
    /// The run that it was taken of has another setting, or another shape of model.
    #[error("the checkpoint is of another run: expected {name} {expected}; got {actual}")]
    OtherRun {
        /// What differs.
        name: String,
        /// Of the run that is to go on.
        expected: String,
        /// In the checkpoint.
        actual: String,
    },
    /// The run that it was taken of has other examples, or in another order.
    #[error("the checkpoint is of a run with other examples")]
    OtherExamples,
    /// The top has other weights.
    #[error(
        "the checkpoint is of another model: its top differs by {actual} on a fixed input; at most \
         {expected} is rounding"
    )]
    OtherWeights {
        /// The largest difference that passes.
        expected: f32,
        /// The largest difference that was found.
        actual: f32,
    },
    /// A matrix has another shape.
    #[error("the checkpoint's {name}: expected shape {expected:?}; got {actual:?}")]
    WrongShape {
        /// The tensor's name.
        name: String,
        /// By the run that is to go on.
        expected: [usize; 2],
        /// In the checkpoint.
        actual: [usize; 2],
    },
    /// The run waits for its client in the middle of a step, so there is nothing whole to keep.
    #[error("the run is in the middle of a step with its client; a checkpoint is of whole steps")]
    MidStep,
    /// The run itself.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
}

impl From<io::Error> for CheckpointError {
    fn from(source: io::Error) -> Self {
        if durable::is_full(&source) {
            Self::Full { source }
        } else {
            Self::Io { source }
        }
    }
}

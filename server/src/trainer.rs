//! The thread that owns the device, the top model, the adapters and the optimizers.
//!
//! Sessions talk to it through [`TrainerHandle`]. It takes one optimizer step of one job at a time,
//! or small steps of several in one pass, fair by rows, and answers predictions between steps. It knows neither sockets nor the protocol's
//! phases.
//!
//! | file | what |
//! |---|---|
//! | `adapters` | kept adapters that were asked lately, in memory |
//! | [`checkpoint`] | a run on disk |
//! | [`device`] | which device computes |
//! | `handle` | how others talk to the thread |
//! | `keeper` | when a run is written to disk |
//! | [`run`] | one fine-tuning run, alone or step by step with its client |
//! | [`step`] | the mathematics of a step; the optimizer is `shared::adapter`'s |
//! | `self_test` | a step before the first client |
//! | `turns` | whose turn it is |
//! | `worker` | the thread's loop; `worker/together` takes small steps of several runs at once |
//!
//! A run that needs something of its client is parked: it says so in an [`Ask`], and takes its next
//! turn when the [`Answer`] has come. Others go on meanwhile.

mod adapters;
pub mod checkpoint;
pub mod device;
mod handle;
mod keeper;
pub mod run;
mod self_test;
pub mod step;
mod turns;
mod worker;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shared::adapter::AdapterError;
use shared::model::ModelError;
use shared::protocol::exchange::Square;
use shared::protocol::message::{
    AdapterSettings, Batch, BottomTraining, CutGradient, Judgement, LabelPlace, Pooled, StepReport,
    TrainDone, TrainSettings, ValidationReport,
};
use shared::protocol::tensor::ActivationDtype;

use crate::state::RunSeed;
use crate::store::{ActivationStore, JobFiles};
pub use adapters::{Inspected, KeptAdapter};
use checkpoint::{Checkpoint, CheckpointError};
pub use handle::TrainerHandle;

/// How all runs of a trainer are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainerSettings {
    /// Where adapters of finished runs are written as PEFT directories; nowhere without it.
    pub export_dir: Option<PathBuf>,
    /// With it a run's randomness is fixed by it and the run's number; otherwise it is the system's.
    pub seed: Option<u64>,
    /// How often a run is written to disk while it goes on: what a crash costs at most, and a step.
    pub checkpoint_every: Duration,
    /// Bytes of memory for kept adapters.
    pub adapter_bytes_max: u64,
}

/// Names one session's run at the trainer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub u64);

/// Everything that a run needs. The session has checked it against the limits.
#[derive(Debug, Clone)]
pub struct JobSpec {
    /// Blocks that the client runs.
    pub cut: usize,
    /// Classes of the task.
    pub n_classes: usize,
    /// The adapter to train.
    pub adapter: AdapterSettings,
    /// How to train it.
    pub settings: TrainSettings,
    /// Where the labels, and so the head and the loss are.
    pub labels: LabelPlace,
    /// Whether the client trains an adapter, too.
    pub bottom: BottomTraining,
    /// The session's examples; nothing is added to it while the run lasts.
    pub examples: Arc<ActivationStore>,
}

impl JobSpec {
    /// Whether everything that the run needs is at the server.
    pub fn is_alone(&self) -> bool {
        is_alone(self.labels, self.bottom)
    }
}

/// Whether a run with its labels and its bottom there has everything it needs at the server, so that
/// it goes on without its client.
pub fn is_alone(labels: LabelPlace, bottom: BottomTraining) -> bool {
    labels == LabelPlace::Server && bottom == BottomTraining::Frozen
}

/// A run that is to begin, or to go on.
#[derive(Debug)]
pub struct RunOrder {
    /// What it needs.
    pub spec: JobSpec,
    /// Where it is kept while it goes on.
    pub files: JobFiles,
    /// Fixes its randomness.
    pub seed: RunSeed,
    /// None for a run that begins.
    pub again: Option<Again>,
}

/// Where an earlier process left a run.
#[derive(Debug)]
pub struct Again {
    /// The run, between two steps; without one it begins at its first step.
    pub checkpoint: Option<Box<Checkpoint>>,
    /// Whether it was held.
    pub is_held: bool,
}

/// What a run reports, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum TrainerEvent {
    /// The run has begun.
    Started {
        /// Optimizer steps of the whole run.
        steps_total: u32,
    },
    /// The run goes on where an earlier process left it.
    Resumed {
        /// Optimizer steps taken before.
        step: u32,
        /// Optimizer steps of the whole run.
        steps_total: u32,
    },
    /// One optimizer step is done.
    Step(StepReport),
    /// One validation is done.
    Validation(ValidationReport),
    /// The run is held.
    Paused,
    /// The run goes on.
    Continued,
    /// The run is parked until the client has answered this.
    Ask(Ask),
    /// The gradient at the cut of the step that was just taken.
    CutGradient(CutGradient, Payload),
    /// The run is over.
    Done(TrainDone),
    /// The run failed; the server's log says why.
    Failed,
}

/// What a run needs of its client before it can go on.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// The activations of a batch.
    Activations {
        /// Which.
        batch: Batch,
        /// Rows of each of its examples.
        seq_lengths: Vec<u16>,
        /// Whether the step before awaits the client's share of the norm.
        square: Square,
    },
    /// The gradient of what the client's head reads.
    Gradient {
        /// What it reads.
        pooled: Pooled,
        /// The numbers.
        payload: Payload,
        /// Whether this step awaits the client's share of the norm.
        square: Square,
    },
    /// What the client says of validation examples.
    Verdict {
        /// What its head reads.
        pooled: Pooled,
        /// The numbers.
        payload: Payload,
        /// Whether these are the last of the pass.
        last: bool,
    },
}

/// What the client has answered. The session has held it against the [`Ask`].
#[derive(Clone, PartialEq)]
pub enum Answer {
    /// To `Ask::Activations`.
    Activations {
        /// The activations.
        batch: ActivationBatch,
        /// As what they came.
        dtype: ActivationDtype,
        /// The client's share of the norm of the step before.
        gradient_square: Option<f32>,
    },
    /// To `Ask::Gradient`.
    Gradient {
        /// `[examples, d_model]`, row-major.
        values: Vec<f32>,
        /// The client's share of the norm of this step.
        gradient_square: Option<f32>,
    },
    /// To `Ask::Verdict`.
    Verdict(Judgement),
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Activations { .. } => "Activations",
            Self::Gradient { .. } => "Gradient",
            Self::Verdict(_) => "Verdict",
        })
    }
}

/// The bytes of a tensor on their way to the client.
#[derive(Clone, PartialEq)]
pub struct Payload(pub Vec<u8>);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

/// What the best adapter says of some examples.
#[derive(Debug, Clone, PartialEq)]
pub enum Predicted {
    /// Class probabilities, `[examples, n_classes]`.
    Probabilities(Vec<f32>),
    /// What the client's head reads, `[examples, d_model]`.
    Pooled(Vec<f32>),
}

/// Activations to classify: `[sum of seq_lengths, d_model]`, row-major.
#[derive(Clone, PartialEq)]
pub struct ActivationBatch {
    /// Numbers, row-major.
    pub values: Vec<f32>,
    /// Rows of each example.
    pub seq_lengths: Vec<u16>,
}

impl fmt::Debug for ActivationBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActivationBatch({} examples)", self.seq_lengths.len())
    }
}

/// The trainer could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum TrainerError {
    /// The model's files.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The adapter's settings or files.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// A file could not be read or written.
    #[error("a file cannot be read or written: {0}")]
    Io(#[from] std::io::Error),
    /// The device asked for is not there.
    #[error("no GPU that can be used was found; install a Vulkan driver or use --device cpu")]
    NoGpu,
    /// The device failed.
    #[error("the compute device failed or was lost")]
    Device,
    /// A number of the run is no longer finite.
    #[error("the training diverged: a number is not finite any more")]
    Diverged,
    /// The checkpoint is not of this run, or cannot be read.
    #[error(transparent)]
    Checkpoint(Box<CheckpointError>),
    /// The run does not wait for such an answer.
    #[error("the run does not wait for this answer")]
    NotAwaited,
    /// There is no training example.
    #[error("there is no training example")]
    NothingToTrain,
    /// The files of a kept adapter are not there any more.
    #[error("the adapter is not there any more")]
    UnknownAdapter,
    /// The job is not known, or has nothing to predict with yet.
    #[error("the job is not known to the trainer")]
    UnknownJob,
    /// The thread has ended.
    #[error("the trainer's thread has ended")]
    Gone,
}

impl From<CheckpointError> for TrainerError {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Trainer(error) => error,
            error => Self::Checkpoint(Box::new(error)),
        }
    }
}

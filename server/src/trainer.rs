//! The thread that owns the device, the top model, the adapters and the optimizers.
//!
//! Sessions talk to it through `TrainerHandle`. It takes one optimizer step of one job at a time, in turn, and
//! answers predictions between steps.

use std::sync::Arc;

use shared::protocol::message::{AdapterSettings, StepReport, TrainDone, TrainSettings, ValidationReport};
use tokio::sync::mpsc;

use crate::store::ActivationStore;

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
    /// The session's examples; nothing is added to it while the run lasts.
    pub examples: Arc<ActivationStore>,
}

/// What a run reports, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum TrainerEvent {
    /// The run has begun.
    Started {
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
    /// The run is over.
    Done(TrainDone),
    /// The run failed; the server's log says why.
    Failed,
}

/// Activations to classify: `[sum of seq_lengths, d_model]`, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct ActivationBatch {
    /// Numbers, row-major.
    pub values: Vec<f32>,
    /// Rows of each example.
    pub seq_lengths: Vec<u16>,
}

/// Talks to the trainer's thread. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TrainerHandle;

/// The trainer's thread is gone or could not do what was asked; the log says why.
#[derive(Debug, thiserror::Error)]
#[error("the trainer could not do this")]
pub struct TrainerError;

#[allow(unused_variables, clippy::unused_async, clippy::missing_errors_doc)]
impl TrainerHandle {
    /// Starts the trainer's thread.
    pub fn spawn(
        model_dir: &std::path::Path,
        device: crate::args::DeviceChoice,
        export_dir: Option<std::path::PathBuf>,
    ) -> Result<Self, TrainerError> {
        Ok(Self)
    }
    /// What the trainer computes on: `cpu` or the GPU adapter's name.
    pub fn device_name(&self) -> &str {
        "cpu"
    }
    /// Starts a run; its reports go to `events` and end with `Done` or `Failed`.
    pub async fn start(&self, job: JobId, spec: JobSpec, events: mpsc::Sender<TrainerEvent>) -> Result<(), TrainerError> {
        Err(TrainerError)
    }
    /// Holds a run after its current step.
    pub async fn pause(&self, job: JobId) -> Result<(), TrainerError> {
        Err(TrainerError)
    }
    /// Goes on with a held run.
    pub async fn resume(&self, job: JobId) -> Result<(), TrainerError> {
        Err(TrainerError)
    }
    /// Ends a run and keeps its best adapter.
    pub async fn cancel(&self, job: JobId) -> Result<(), TrainerError> {
        Err(TrainerError)
    }
    /// Class probabilities `[examples, n_classes]` by the job's best adapter.
    pub async fn predict(&self, job: JobId, batch: ActivationBatch) -> Result<Vec<f32>, TrainerError> {
        Err(TrainerError)
    }
    /// Forgets a run and its adapter.
    pub fn forget(&self, job: JobId) {}
}

//! The thread that owns the device, the top model, the adapters and the optimizers.
//!
//! Sessions talk to it through [`TrainerHandle`]. It takes one optimizer step of one job at a time,
//! in turn, and answers predictions between steps. It knows neither sockets nor the protocol's
//! phases.
//!
//! | file | what |
//! |---|---|
//! | `adapters` | kept adapters that were asked lately, in memory |
//! | [`checkpoint`] | a run on disk |
//! | [`device`] | which device computes |
//! | [`run`] | one fine-tuning run, alone or step by step with its client |
//! | [`step`] | the mathematics of a step; the optimizer is `shared::adapter`'s |
//! | `self_test` | a step before the first client |
//! | `worker` | the thread's loop |
//!
//! A run that needs something of its client is parked: it says so in an [`Ask`], and takes its next
//! turn when the [`Answer`] has come. Others go on meanwhile.

mod adapters;
pub mod checkpoint;
pub mod device;
pub mod run;
mod self_test;
pub mod step;
mod worker;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc as sync_mpsc};
use std::time::Instant;

use shared::adapter::AdapterError;
use shared::adapter::peft::PeftFiles;
use shared::model::ModelError;
use shared::protocol::exchange::Square;
use shared::protocol::message::{
    AdapterSettings, Batch, BottomTraining, CutGradient, Judgement, LabelPlace, Pooled, StepReport,
    TrainDone, TrainSettings, ValidationReport,
};
use shared::protocol::tensor::ActivationDtype;
use tokio::sync::{mpsc, oneshot};
use tracing::Span;

use crate::args::DeviceChoice;
use crate::readiness::Readiness;
use crate::state::AdapterKey;
use crate::store::ActivationStore;
use crate::telemetry::metrics::{COMMANDS_WAITING, TRAINER_WAIT};

pub use adapters::{Inspected, KeptAdapter};

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

/// What the thread is asked to do.
#[derive(Debug)]
enum Command {
    /// With the session's span, so that the run's lines in the log carry its id.
    Start(
        JobId,
        Box<JobSpec>,
        mpsc::Sender<TrainerEvent>,
        Span,
        Reply<()>,
    ),
    Pause(JobId, Reply<()>),
    Resume(JobId, Reply<()>),
    Cancel(JobId, Reply<()>),
    Answer(JobId, Box<Answer>, Reply<()>),
    Predict(JobId, ActivationBatch, Reply<Predicted>),
    PredictKept(KeptAdapter, ActivationBatch, Reply<Predicted>),
    Files(JobId, Reply<Option<PeftFiles>>),
    Inspect(PeftFiles, usize, Reply<Inspected>),
    ForgetAdapter(AdapterKey),
    Forget(JobId),
}

type Reply<T> = oneshot::Sender<Result<T, TrainerError>>;

/// Talks to the trainer's thread. Cheap to clone; the thread ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct TrainerHandle {
    commands: sync_mpsc::Sender<Command>,
    device_name: Arc<str>,
    trains_dense: bool,
    readiness: Readiness,
}

impl TrainerHandle {
    /// Loads the model onto a device and starts the thread. Blocks while it loads.
    ///
    /// Adapters of finished runs are written below `export_dir` as PEFT directories, if it is
    /// given. With a `seed` a run's randomness is fixed by it and the job's number; otherwise it is
    /// the system's. Kept adapters take at most `adapter_bytes_max` of memory.
    ///
    /// # Errors
    ///
    /// When the model cannot be read, or the device asked for is not there.
    pub fn spawn(
        model_dir: &Path,
        choice: DeviceChoice,
        export_dir: Option<PathBuf>,
        seed: Option<u64>,
        adapter_bytes_max: u64,
    ) -> Result<Self, TrainerError> {
        let device = device::open(choice)?;
        let cache = adapters::AdapterCache::new(adapter_bytes_max);
        let worker = worker::Worker::load(model_dir, device.device, export_dir, seed, cache)?;
        let trains_dense = worker.trains_dense();
        let (commands, inbox) = sync_mpsc::channel();
        let readiness = Readiness::default();
        let tested = readiness.clone();
        std::thread::Builder::new()
            .name("trainer".to_owned())
            .spawn(move || {
                let _holder = tested.fails_with_its_holder();
                worker.test(&tested);
                worker.run(&inbox);
            })?;
        Ok(Self {
            commands,
            device_name: device.name.into(),
            trains_dense,
            readiness,
        })
    }

    /// Whether the trainer's self-test has passed.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Whether the dense layer of the task head is trained.
    pub fn trains_dense(&self) -> bool {
        self.trains_dense
    }

    /// What the trainer computes on: `cpu` or the GPU adapter's name.
    pub fn device_name(&self) -> &str {
        &self.device_name
    }

    /// Starts a run; its reports go to `events` and end with `Done` or `Failed`.
    ///
    /// # Errors
    ///
    /// When the run cannot be prepared.
    pub async fn start(
        &self,
        job: JobId,
        spec: JobSpec,
        events: mpsc::Sender<TrainerEvent>,
    ) -> Result<(), TrainerError> {
        let span = Span::current();
        self.ask(|reply| Command::Start(job, Box::new(spec), events, span, reply))
            .await
    }

    /// Holds a run after its current step.
    ///
    /// # Errors
    ///
    /// When the job is not running.
    pub async fn pause(&self, job: JobId) -> Result<(), TrainerError> {
        self.ask(|reply| Command::Pause(job, reply)).await
    }

    /// Goes on with a held run.
    ///
    /// # Errors
    ///
    /// When the job is not running.
    pub async fn resume(&self, job: JobId) -> Result<(), TrainerError> {
        self.ask(|reply| Command::Resume(job, reply)).await
    }

    /// Ends a run and keeps its best adapter. Does nothing for a run that has ended.
    ///
    /// # Errors
    ///
    /// When the job is not known.
    pub async fn cancel(&self, job: JobId) -> Result<(), TrainerError> {
        self.ask(|reply| Command::Cancel(job, reply)).await
    }

    /// Gives a parked run what it waits for.
    ///
    /// # Errors
    ///
    /// When the job is not running, or waits for something else.
    pub async fn answer(&self, job: JobId, answer: Answer) -> Result<(), TrainerError> {
        self.ask(|reply| Command::Answer(job, Box::new(answer), reply))
            .await
    }

    /// What the job's best adapter says: class probabilities, or what the client's head reads.
    ///
    /// # Errors
    ///
    /// When the job has not ended, or the device fails.
    pub async fn predict(
        &self,
        job: JobId,
        batch: ActivationBatch,
    ) -> Result<Predicted, TrainerError> {
        self.ask(|reply| Command::Predict(job, batch, reply)).await
    }

    /// What a kept adapter says: class probabilities.
    ///
    /// # Errors
    ///
    /// When its files are gone or not readable, or the device fails.
    pub async fn predict_kept(
        &self,
        adapter: KeptAdapter,
        batch: ActivationBatch,
    ) -> Result<Predicted, TrainerError> {
        self.ask(|reply| Command::PredictKept(adapter, batch, reply))
            .await
    }

    /// The best adapter of a run that has ended; none where a part of it is at the client.
    ///
    /// # Errors
    ///
    /// When the job has not ended, or the device fails.
    pub async fn files(&self, job: JobId) -> Result<Option<PeftFiles>, TrainerError> {
        self.ask(|reply| Command::Files(job, reply)).await
    }

    /// Holds files that somebody brought against the model, for a cut.
    ///
    /// # Errors
    ///
    /// `Adapter` where they do not fit.
    pub async fn inspect(&self, files: PeftFiles, cut: usize) -> Result<Inspected, TrainerError> {
        self.ask(|reply| Command::Inspect(files, cut, reply)).await
    }

    /// Takes a kept adapter out of memory; its files are somebody else's.
    pub fn forget_adapter(&self, adapter: AdapterKey) {
        COMMANDS_WAITING.up();
        // A thread that has ended has forgotten everything.
        let _ = self.commands.send(Command::ForgetAdapter(adapter));
    }

    /// Forgets a run and its adapter.
    pub fn forget(&self, job: JobId) {
        COMMANDS_WAITING.up();
        // A thread that has ended has forgotten everything.
        let _ = self.commands.send(Command::Forget(job));
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, TrainerError> {
        let (reply, answer) = oneshot::channel();
        let asked = Instant::now();
        COMMANDS_WAITING.up();
        self.commands
            .send(command(reply))
            .map_err(|_| TrainerError::Gone)?;
        let answer = answer.await.map_err(|_| TrainerError::Gone)?;
        TRAINER_WAIT.record_time(asked.elapsed());
        answer
    }
}

//! How others talk to the trainer's thread.

use std::path::Path;
use std::sync::{Arc, mpsc as sync_mpsc};
use std::time::Instant;

use rand::TryRng;
use rand::rngs::SysRng;
use shared::adapter::peft::PeftFiles;
use tokio::sync::{mpsc, oneshot};

use super::{
    ActivationBatch, Answer, Inspected, JobId, KeptAdapter, Predicted, RunOrder, TrainerError,
    TrainerEvent, TrainerSettings, device, worker,
};
use crate::args::DeviceChoice;
use crate::readiness::Readiness;
use crate::state::{AdapterKey, RunSeed};
use crate::telemetry::metrics::{COMMANDS_WAITING, TRAINER_WAIT};
use crate::telemetry::traces::RunTrace;

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    /// With what is around it at the session, so that the run's lines in the log carry its id and
    /// its steps belong to its trace.
    Start(
        JobId,
        Box<RunOrder>,
        mpsc::Sender<TrainerEvent>,
        RunTrace,
        Reply<()>,
    ),
    Pause(JobId, Reply<()>),
    Resume(JobId, Reply<()>),
    Cancel(JobId, Reply<()>),
    Suspend(JobId, Reply<()>),
    Answer(JobId, Box<Answer>, Reply<()>),
    Predict(JobId, ActivationBatch, Reply<Predicted>),
    PredictKept(KeptAdapter, ActivationBatch, Reply<Predicted>),
    Files(JobId, Reply<Option<PeftFiles>>),
    Inspect(PeftFiles, usize, Reply<Inspected>),
    ForgetAdapter(AdapterKey),
    Forget(JobId),
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, TrainerError>>;

/// Talks to the trainer's thread. Cheap to clone; the thread ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct TrainerHandle {
    commands: sync_mpsc::Sender<Command>,
    device_name: Arc<str>,
    trains_dense: bool,
    seed: Option<u64>,
    readiness: Readiness,
}

impl TrainerHandle {
    /// Loads the model onto a device and starts the thread. Blocks while it loads.
    ///
    /// # Errors
    ///
    /// When the model cannot be read, or the device asked for is not there.
    pub fn spawn(
        model_dir: &Path,
        choice: DeviceChoice,
        settings: TrainerSettings,
    ) -> Result<Self, TrainerError> {
        let device = device::open(choice)?;
        let seed = settings.seed;
        let worker = worker::Worker::load(model_dir, device.device, settings)?;
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
            seed,
            readiness,
        })
    }

    /// What fixes the randomness of a run that is to begin.
    ///
    /// # Errors
    ///
    /// When the system has no randomness.
    pub fn seed_of(&self, job: JobId) -> Result<RunSeed, TrainerError> {
        run_seed(self.seed, job)
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

    /// Starts a run, or goes on with one; its reports go to `events` and end with `Done` or
    /// `Failed`.
    ///
    /// # Errors
    ///
    /// When the run cannot be prepared, or its checkpoint is not one of it.
    pub async fn start(
        &self,
        job: JobId,
        order: RunOrder,
        events: mpsc::Sender<TrainerEvent>,
    ) -> Result<(), TrainerError> {
        let span = RunTrace::here();
        self.ask(|reply| Command::Start(job, Box::new(order), events, span, reply))
            .await
    }

    /// Lets go of a run for a later process, which finds it on disk as it is now. No report follows.
    /// Where it cannot be written, the one of before stays, and the log says so.
    ///
    /// # Errors
    ///
    /// `UnknownJob` when the run has ended.
    pub async fn suspend(&self, job: JobId) -> Result<(), TrainerError> {
        self.ask(|reply| Command::Suspend(job, reply)).await
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

/// What fixes a run: start of the adapter, order of batches, dropout.
fn run_seed(seed: Option<u64>, JobId(job): JobId) -> Result<RunSeed, TrainerError> {
    let mut bytes = [0; 32];
    match seed {
        // Side by side, so that two jobs or two seeds never share a generator.
        Some(seed) => {
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            bytes[8..16].copy_from_slice(&job.to_le_bytes());
        }
        None => SysRng
            .try_fill_bytes(&mut bytes)
            .map_err(std::io::Error::other)?,
    }
    Ok(RunSeed(bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Breaks when a seeded run cannot be repeated, or an unseeded one can.
    #[test]
    fn a_seed_and_a_job_fix_a_run() {
        let of = |seed, job| run_seed(seed, JobId(job)).unwrap();
        assert_eq!(of(Some(1), 1), of(Some(1), 1));
        assert_ne!(of(Some(1), 1), of(Some(1), 2));
        assert_ne!(of(Some(1), 2), of(Some(2), 1));
        assert_ne!(of(None, 1), of(None, 1));
    }
}

//! The loop of the trainer's thread.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{SystemTime, UNIX_EPOCH};

use burn::tensor::Device;
use rand::SeedableRng;
use rand::rngs::SysRng;
use rand_chacha::ChaCha8Rng;
use shared::adapter::peft::{self, CONFIG_FILE, PeftFiles, TENSORS_FILE};
use shared::model::{CutLayer, ModelConfig, TopModel};
use shared::protocol::message::{DoneReason, LabelPlace, TrainDone};
use tokio::sync::mpsc;
use tracing::Span;

use super::adapters::{self, AdapterCache};
use super::run::{Run, Trained};
use super::step::{DeviceBatch, pooled, probabilities};
use super::{
    ActivationBatch, Answer, Command, JobId, JobSpec, KeptAdapter, Predicted, TrainerError,
    TrainerEvent, self_test,
};
use crate::readiness::{Readiness, Stage};
use crate::telemetry::metrics::{ADAPTERS, COMMANDS_WAITING};

/// Everything that the thread owns.
#[derive(Debug)]
pub(super) struct Worker {
    config: ModelConfig,
    top: TopModel,
    device: Device,
    export_dir: Option<PathBuf>,
    seed: Option<u64>,
    jobs: BTreeMap<JobId, Job>,
    kept: AdapterCache,
    last_served: Option<JobId>,
}

#[derive(Debug)]
enum Job {
    Running {
        run: Box<Run>,
        events: mpsc::Sender<TrainerEvent>,
        held: bool,
        /// Of the session that started it.
        span: Span,
    },
    Ended(Box<Trained>),
}

impl Worker {
    /// Loads all blocks of a model; every cut is served from them.
    pub(super) fn load(
        model_dir: &Path,
        device: Device,
        export_dir: Option<PathBuf>,
        seed: Option<u64>,
        kept: AdapterCache,
    ) -> Result<Self, TrainerError> {
        let config = ModelConfig::from_json(&fs::read(model_dir.join("config.json"))?)?;
        let file = fs::read(model_dir.join("model.safetensors"))?;
        let cut = CutLayer::new(0, &config)?;
        let top = TopModel::load(&config, &file, cut, &device)?;
        Ok(Self {
            config,
            top,
            device,
            export_dir,
            seed,
            jobs: BTreeMap::new(),
            kept,
            last_served: None,
        })
    }

    /// Whether the dense layer of the task head is trained.
    pub(super) fn trains_dense(&self) -> bool {
        self.top.head().trains_dense()
    }

    /// Takes one step before the first client.
    pub(super) fn test(&self, readiness: &Readiness) {
        match self_test::run(&self.config, &self.top, &self.device) {
            Ok(()) => readiness.enter(Stage::Ready),
            Err(error) => {
                tracing::error!(%error, "the self-test failed");
                readiness.enter(Stage::Failed);
            }
        }
    }

    /// Serves until the last handle is dropped.
    pub(super) fn run(mut self, inbox: &Receiver<Command>) {
        loop {
            let next = self.next_job();
            let command = if next.is_some() {
                match inbox.try_recv() {
                    Ok(command) => Some(command),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => return,
                }
            } else {
                match inbox.recv() {
                    Ok(command) => Some(command),
                    Err(_) => return,
                }
            };
            match (command, next) {
                (Some(command), _) => self.obey(command),
                (None, Some(job)) => self.advance(job),
                (None, None) => {}
            }
            ADAPTERS.set((self.jobs.len() + self.kept.len()) as f64);
        }
    }

    /// The next job after the one served last that can go on, so that all are served in turn. A run
    /// that is held, or parked until its client answers, cannot.
    fn next_job(&self) -> Option<JobId> {
        let running = |(id, job): (&JobId, &Job)| match job {
            Job::Running { run, held, .. } => (!*held && run.is_ready()).then_some(*id),
            Job::Ended(_) => None,
        };
        let after = self
            .last_served
            .map_or(JobId(0), |JobId(id)| JobId(id.wrapping_add(1)));
        self.jobs
            .range(after..)
            .find_map(running)
            .or_else(|| self.jobs.iter().find_map(running))
    }

    fn obey(&mut self, command: Command) {
        COMMANDS_WAITING.down(1);
        // A reply that nobody waits for any more is not an error.
        match command {
            Command::Start(id, spec, events, span, reply) => {
                let _ = reply.send(self.start(id, *spec, events, span));
            }
            Command::Pause(id, reply) => {
                let _ = reply.send(self.hold(id, true, TrainerEvent::Paused));
            }
            Command::Resume(id, reply) => {
                let _ = reply.send(self.hold(id, false, TrainerEvent::Continued));
            }
            Command::Cancel(id, reply) => {
                let _ = reply.send(self.cancel(id));
            }
            Command::Answer(id, answer, reply) => {
                let _ = reply.send(self.answer(id, *answer));
            }
            Command::Predict(id, batch, reply) => {
                let _ = reply.send(self.predict(id, &batch));
            }
            Command::PredictKept(kept, batch, reply) => {
                let _ = reply.send(self.predict_kept(&kept, &batch));
            }
            Command::Files(id, reply) => {
                let _ = reply.send(self.files(id));
            }
            Command::Inspect(files, cut, reply) => {
                let inspected =
                    adapters::inspect(&files, cut, &self.config, &self.top, &self.device);
                let _ = reply.send(inspected);
            }
            Command::ForgetAdapter(key) => self.kept.forget(key),
            Command::Forget(id) => {
                self.jobs.remove(&id);
            }
        }
    }

    fn start(
        &mut self,
        id: JobId,
        spec: JobSpec,
        events: mpsc::Sender<TrainerEvent>,
        span: Span,
    ) -> Result<(), TrainerError> {
        let top = self.top.skip(spec.cut);
        let rng = run_rng(self.seed, id)?;
        let run = Run::new(spec, &self.config, top, &self.device, rng)?;
        report(
            &events,
            TrainerEvent::Started {
                steps_total: run.steps_total(),
            },
        );
        self.jobs.insert(
            id,
            Job::Running {
                run: Box::new(run),
                events,
                held: false,
                span,
            },
        );
        Ok(())
    }

    fn hold(&mut self, id: JobId, hold: bool, event: TrainerEvent) -> Result<(), TrainerError> {
        match self.jobs.get_mut(&id) {
            Some(Job::Running { held, events, .. }) => {
                *held = hold;
                report(events, event);
                Ok(())
            }
            _ => Err(TrainerError::UnknownJob),
        }
    }

    fn cancel(&mut self, id: JobId) -> Result<(), TrainerError> {
        match self.jobs.remove(&id) {
            Some(Job::Running {
                run, events, span, ..
            }) => {
                let _entered = span.enter();
                let done = run.done(DoneReason::Cancelled);
                self.end(id, *run, &events, done);
                Ok(())
            }
            Some(ended) => {
                self.jobs.insert(id, ended);
                Ok(())
            }
            None => Err(TrainerError::UnknownJob),
        }
    }

    fn answer(&mut self, id: JobId, answer: Answer) -> Result<(), TrainerError> {
        match self.jobs.get_mut(&id) {
            Some(Job::Running { run, .. }) => run.answer(answer),
            _ => Err(TrainerError::UnknownJob),
        }
    }

    fn predict(&self, id: JobId, batch: &ActivationBatch) -> Result<Predicted, TrainerError> {
        match self.jobs.get(&id) {
            Some(Job::Ended(trained)) => {
                let batch = DeviceBatch::new(batch, self.config.d_model, &self.device);
                let Trained {
                    top,
                    adapter,
                    labels,
                    ..
                } = &**trained;
                Ok(match labels {
                    LabelPlace::Server => {
                        Predicted::Probabilities(probabilities(top, adapter, &batch)?)
                    }
                    LabelPlace::Client => Predicted::Pooled(pooled(top, adapter, &batch)?),
                })
            }
            _ => Err(TrainerError::UnknownJob),
        }
    }

    fn predict_kept(
        &mut self,
        kept: &KeptAdapter,
        batch: &ActivationBatch,
    ) -> Result<Predicted, TrainerError> {
        let load = || adapters::read(kept, &self.config, &self.top, &self.device);
        let adapter = self.kept.get_or_load(kept.key, load)?;
        let batch = DeviceBatch::new(batch, self.config.d_model, &self.device);
        let top = self.top.skip(kept.cut);
        let answer = probabilities(&top, &adapter, &batch)?;
        Ok(Predicted::Probabilities(answer))
    }

    /// The best adapter of a run that has ended, if all of it is here.
    fn files(&self, id: JobId) -> Result<Option<PeftFiles>, TrainerError> {
        match self.jobs.get(&id) {
            Some(Job::Ended(trained)) if trained.is_whole => {
                Ok(Some(peft::write(&trained.adapter, &self.config)?))
            }
            Some(Job::Ended(_)) => Ok(None),
            _ => Err(TrainerError::UnknownJob),
        }
    }

    /// Takes one turn of a run and reports it.
    fn advance(&mut self, id: JobId) {
        self.last_served = Some(id);
        let Some(Job::Running {
            mut run,
            events,
            held,
            span,
        }) = self.jobs.remove(&id)
        else {
            return;
        };
        let entered = span.enter();
        match run.turn() {
            Ok(turn) => {
                for event in turn.events {
                    report(&events, event);
                }
                match turn.done {
                    Some(done) => self.end(id, *run, &events, done),
                    None if events.is_closed() => {} // nobody is left to train for
                    None => {
                        drop(entered);
                        let job = Job::Running {
                            run,
                            events,
                            held,
                            span,
                        };
                        self.jobs.insert(id, job);
                    }
                }
            }
            Err(error) => {
                tracing::error!(job = id.0, %error, "a run failed");
                report(&events, TrainerEvent::Failed);
            }
        }
    }

    fn end(&mut self, id: JobId, run: Run, events: &mpsc::Sender<TrainerEvent>, done: TrainDone) {
        let trained = run.into_trained();
        match &self.export_dir {
            Some(_) if !trained.is_whole => {
                tracing::info!(
                    job = id.0,
                    "a part of this adapter is at the client: not exported"
                );
            }
            Some(directory) => {
                if let Err(error) = self.export(directory, id, &trained) {
                    tracing::error!(job = id.0, %error, "an adapter could not be exported");
                }
            }
            None => {}
        }
        self.jobs.insert(id, Job::Ended(Box::new(trained)));
        report(events, TrainerEvent::Done(done));
    }

    fn export(&self, directory: &Path, id: JobId, trained: &Trained) -> Result<(), TrainerError> {
        let files = peft::write(&trained.adapter, &self.config)?;
        // The time, so that a daemon that starts to count anew overwrites nothing.
        let started = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs());
        let directory = directory.join(format!("job-{started}-{}", id.0));
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(CONFIG_FILE), files.config)?;
        fs::write(directory.join(TENSORS_FILE), files.tensors)?;
        tracing::info!(job = id.0, directory = %directory.display(), "adapter exported");
        Ok(())
    }
}

/// The generator of a run: start of the adapter, order of batches, dropout.
fn run_rng(seed: Option<u64>, JobId(job): JobId) -> Result<ChaCha8Rng, TrainerError> {
    let Some(seed) = seed else {
        return Ok(ChaCha8Rng::try_from_rng(&mut SysRng).map_err(std::io::Error::other)?);
    };
    // Side by side, so that two jobs or two seeds never share a generator.
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&job.to_le_bytes());
    Ok(ChaCha8Rng::from_seed(bytes))
}

/// Places in the queue that the reports of steps leave free for all others.
const RESERVED: usize = 16;

/// Reports do not hold the thread up: where the queue is nearly full a step's report is dropped, so
/// that there is room for every other report.
fn report(events: &mpsc::Sender<TrainerEvent>, event: TrainerEvent) {
    if !matches!(event, TrainerEvent::Step(_)) {
        // Fails only when the session is gone.
        let _ = events.blocking_send(event);
    } else if events.capacity() > RESERVED {
        let _ = events.try_send(event);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand_chacha::rand_core::Rng;

    use super::*;

    /// Breaks when a seeded run cannot be repeated, or an unseeded one can.
    #[test]
    fn a_seed_and_a_job_fix_a_run() {
        let first = |seed, job| run_rng(seed, JobId(job)).unwrap().next_u64();
        assert_eq!(first(Some(1), 1), first(Some(1), 1));
        assert_ne!(first(Some(1), 1), first(Some(1), 2));
        assert_ne!(first(Some(1), 2), first(Some(2), 1));
        assert_ne!(first(None, 1), first(None, 1));
    }
}

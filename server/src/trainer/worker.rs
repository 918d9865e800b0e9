//! The loop of the trainer's thread.

mod together;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError};

use burn::tensor::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use shared::adapter::peft::{self, PeftFiles};
use shared::model::{CutLayer, ModelConfig, TopModel};
use shared::protocol::message::{DoneReason, LabelPlace, TrainDone};
use tokio::sync::mpsc;

use super::adapters::{self, AdapterCache};
use super::handle::Command;
use super::keeper::{Keeper, export};
use super::run::{Run, Trained, Turn};
use super::step::{DeviceBatch, pooled, probabilities};
use super::turns::Turns;
use super::{
    ActivationBatch, Again, Answer, JobId, KeptAdapter, Predicted, RunOrder, TrainerError,
    TrainerEvent, TrainerSettings, self_test,
};
use crate::limits::RUN_EVENTS_RESERVED;
use crate::readiness::{Readiness, Stage};
use crate::telemetry::metrics::{ADAPTERS, COMMANDS_WAITING};
use crate::telemetry::traces::RunTrace;

/// Everything that the thread owns.
#[derive(Debug)]
pub(super) struct Worker {
    config: ModelConfig,
    top: TopModel,
    device: Device,
    settings: TrainerSettings,
    jobs: BTreeMap<JobId, Job>,
    kept: AdapterCache,
    turns: Turns,
}

#[derive(Debug)]
enum Job {
    Running(Box<Running>),
    Ended(Box<Trained>),
}

#[derive(Debug)]
struct Running {
    run: Run,
    events: mpsc::Sender<TrainerEvent>,
    held: bool,
    /// Rows that it has had of the device, as [`Turns`] counts.
    had: u64,
    /// None for a run that ends with its client.
    keeper: Option<Keeper>,
    /// Of the session that started it, and its own.
    span: RunTrace,
}

impl Worker {
    /// Loads all blocks of a model; every cut is served from them.
    pub(super) fn load(
        model_dir: &Path,
        device: Device,
        settings: TrainerSettings,
    ) -> Result<Self, TrainerError> {
        let config = ModelConfig::from_json(&fs::read(model_dir.join("config.json"))?)?;
        let file = fs::read(model_dir.join("model.safetensors"))?;
        let cut = CutLayer::new(0, &config)?;
        let top = TopModel::load(&config, &file, cut, &device)?;
        Ok(Self {
            config,
            top,
            device,
            kept: AdapterCache::new(settings.adapter_bytes_max),
            settings,
            jobs: BTreeMap::new(),
            turns: Turns::default(),
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
            let order = self.order();
            let command = if order.is_empty() {
                match inbox.recv() {
                    Ok(command) => Some(command),
                    Err(_) => return,
                }
            } else {
                match inbox.try_recv() {
                    Ok(command) => Some(command),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => return,
                }
            };
            match command {
                Some(command) => self.obey(command),
                None => self.advance(&order),
            }
            ADAPTERS.set((self.jobs.len() + self.kept.len()) as f64);
        }
    }

    /// The jobs that can go on, the next first. A run that is held, or parked until its client
    /// answers, cannot.
    fn order(&mut self) -> Vec<JobId> {
        let ready = self.jobs.iter().filter_map(|(id, job)| match job {
            Job::Running(running) if !running.held && running.run.is_ready() => {
                Some((*id, running.had))
            }
            _ => None,
        });
        self.turns.order(ready)
    }

    fn obey(&mut self, command: Command) {
        COMMANDS_WAITING.down(1);
        // A reply that nobody waits for any more is not an error.
        match command {
            Command::Start(id, order, events, span, reply) => {
                let _ = reply.send(self.start(id, *order, events, span));
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
            Command::Suspend(id, reply) => {
                let _ = reply.send(self.suspend(id));
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
        order: RunOrder,
        events: mpsc::Sender<TrainerEvent>,
        span: RunTrace,
    ) -> Result<(), TrainerError> {
        let RunOrder {
            spec,
            files,
            seed,
            again,
        } = order;
        let every = self.settings.checkpoint_every;
        let keeper = spec.is_alone().then(|| Keeper::new(files, every));
        let top = self.top.skip(spec.cut);
        let (model, device) = (&self.config, &self.device);
        let checkpoint = again.as_ref().and_then(|again| again.checkpoint.as_deref());
        let run = match checkpoint {
            Some(checkpoint) => Run::restore(spec, model, top, device, checkpoint)?,
            None => Run::new(spec, model, top, device, ChaCha8Rng::from_seed(seed.0))?,
        };
        let held = begin(&run, again.as_ref(), &events);
        let running = Running {
            run,
            events,
            held,
            had: self.turns.joins(0),
            keeper,
            span,
        };
        match running.run.end() {
            // It was killed between its last step and the news of it.
            Some(done) => self.end(id, running, done),
            None => drop(self.jobs.insert(id, Job::Running(Box::new(running)))),
        }
        Ok(())
    }

    fn hold(&mut self, id: JobId, hold: bool, event: TrainerEvent) -> Result<(), TrainerError> {
        match self.jobs.get_mut(&id) {
            Some(Job::Running(running)) => {
                running.held = hold;
                running.had = self.turns.joins(running.had);
                report(&running.events, event);
                Ok(())
            }
            _ => Err(TrainerError::UnknownJob),
        }
    }

    fn cancel(&mut self, id: JobId) -> Result<(), TrainerError> {
        if matches!(self.jobs.get(&id), Some(Job::Ended(_))) {
            return Ok(());
        }
        let running = self.take_running(id).ok_or(TrainerError::UnknownJob)?;
        let _entered = running.span.entered();
        let done = running.run.done(DoneReason::Cancelled);
        self.end(id, *running, done);
        Ok(())
    }

    fn suspend(&mut self, id: JobId) -> Result<(), TrainerError> {
        let mut running = self.take_running(id).ok_or(TrainerError::UnknownJob)?;
        let _entered = running.span.entered();
        if let Some(keeper) = &mut running.keeper {
            keeper.keep(&running.run);
        }
        Ok(())
    }

    /// Takes a run out of the jobs; one that has ended stays there.
    fn take_running(&mut self, id: JobId) -> Option<Box<Running>> {
        match self.jobs.remove(&id)? {
            Job::Running(running) => Some(running),
            ended @ Job::Ended(_) => {
                self.jobs.insert(id, ended);
                None
            }
        }
    }

    fn answer(&mut self, id: JobId, answer: Answer) -> Result<(), TrainerError> {
        match self.jobs.get_mut(&id) {
            Some(Job::Running(running)) => {
                running.run.answer(answer)?;
                running.had = self.turns.joins(running.had);
                Ok(())
            }
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

    /// Takes one turn of the first of some runs and reports it; of others, too, where their steps can
    /// be taken with it.
    fn advance(&mut self, order: &[JobId]) {
        match self.taken_together(order)[..] {
            [] => {}
            [id] => self.advance_alone(id),
            ref ids => self.advance_together(ids),
        }
    }

    fn advance_alone(&mut self, id: JobId) {
        let Some(mut running) = self.take_running(id) else {
            return;
        };
        let _entered = running.span.entered();
        running.span.turn_begins();
        let turn = running.run.turn();
        self.close_turn(id, running, turn);
    }

    /// Reports the turn of a run that was taken out of the jobs, and puts it back if it goes on.
    fn close_turn(
        &mut self,
        id: JobId,
        mut running: Box<Running>,
        turn: Result<Turn, TrainerError>,
    ) {
        let turn = match turn {
            Ok(turn) => turn,
            Err(error) => {
                tracing::error!(job = id.0, %error, "a run failed");
                running.span.failed();
                return report(&running.events, TrainerEvent::Failed);
            }
        };
        running.had = running.had.saturating_add(running.run.take_rows());
        running.span.turn_ended(&turn.events);
        for event in turn.events {
            report(&running.events, event);
        }
        match turn.done {
            Some(done) => self.end(id, *running, done),
            None if running.events.is_closed() => {} // nobody is left to train for
            None => {
                if let Some(keeper) = &mut running.keeper {
                    keeper.keep_if_due(&running.run);
                }
                self.jobs.insert(id, Job::Running(running));
            }
        }
    }

    /// Ends a run. Where its adapter is exported, it is there when the end is reported.
    fn end(&mut self, id: JobId, running: Running, done: TrainDone) {
        let Running { run, events, .. } = running;
        let trained = run.into_trained();
        match &self.settings.export_dir {
            Some(_) if !trained.is_whole => {
                tracing::info!(
                    job = id.0,
                    "a part of this adapter is at the client: not exported"
                );
            }
            Some(directory) => {
                let adapter = peft::write(&trained.adapter, &self.config);
                let exported = adapter
                    .map_err(TrainerError::from)
                    .and_then(|adapter| export(directory, id, &adapter));
                if let Err(error) = exported {
                    tracing::error!(job = id.0, %error, "an adapter could not be exported");
                }
            }
            None => {}
        }
        self.jobs.insert(id, Job::Ended(Box::new(trained)));
        report(&events, TrainerEvent::Done(done));
    }
}

/// Reports that a run begins or goes on, and says whether it is held.
fn begin(run: &Run, again: Option<&Again>, events: &mpsc::Sender<TrainerEvent>) -> bool {
    let (step, steps_total) = (run.step(), run.steps_total());
    let is_held = again.is_some_and(|again| again.is_held);
    report(
        events,
        match again {
            None => TrainerEvent::Started { steps_total },
            Some(_) => TrainerEvent::Resumed { step, steps_total },
        },
    );
    if is_held {
        report(events, TrainerEvent::Paused);
    }
    is_held
}

/// Reports do not hold the thread up: where the queue is nearly full a step's report is dropped, so
/// that there is room for every other report.
fn report(events: &mpsc::Sender<TrainerEvent>, event: TrainerEvent) {
    if !matches!(event, TrainerEvent::Step(_)) {
        // Fails only when nobody records the run any more.
        let _ = events.blocking_send(event);
    } else if events.capacity() > RUN_EVENTS_RESERVED {
        let _ = events.try_send(event);
    }
}

#[cfg(test)]
mod tests;

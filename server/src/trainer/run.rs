//! One fine-tuning run: its order of examples, its steps, its validations, its best adapter.
//!
//! Here is a run that has everything it needs at the server. `exchange` is the run whose labels or
//! whose bottom are at the client: the same steps, in turns between which it may wait. `state` is how
//! a run survives the process: see [`Run::checkpoint`] and [`Run::restore`].

mod exchange;
mod state;

use std::mem;
use std::time::Instant;

use burn::tensor::Device;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shared::adapter::{Adapter, AdapterOptimizer, LoraConfig, Schedule};
use shared::metrics::{Measurement, Ranking};
use shared::model::{ModelConfig, TopModel};
use shared::protocol::message::{
    DoneReason, LabelPlace, Split, StepReport, TrainDone, TrainSettings, ValidationReport,
};

use super::step::{BatchGradients, DeviceBatch, TrainBatch, scores};
use super::{Answer, JobSpec, TrainerError, TrainerEvent};
use crate::store::LabelledBatch;
use crate::telemetry::metrics::OPTIMIZER;
use exchange::Exchange;

/// Examples classified at a time in a validation: bounds memory, not the result.
const VALIDATION_BATCH: usize = 64;

/// A run, between two turns.
#[derive(Debug)]
pub struct Run {
    spec: JobSpec,
    model: ModelConfig,
    top: TopModel,
    device: Device,
    adapter: Adapter,
    optimizer: AdapterOptimizer,
    schedule: Schedule,
    rng: ChaCha8Rng,
    order: Vec<usize>,
    validation: Vec<usize>,
    steps_per_epoch: u32,
    steps_total: u32,
    step: u32,
    ranking: Ranking,
    best: Option<Best>,
    exchange: Exchange,
    /// Rows of an example to train on, on average.
    rows_mean: f64,
    /// Rows that went through the top since somebody asked.
    rows_new: u64,
}

#[derive(Debug)]
struct Best {
    step: u32,
    adapter: Adapter,
}

/// What one turn of a run produced.
#[derive(Debug, Default)]
pub struct Turn {
    /// Reports, in order.
    pub events: Vec<TrainerEvent>,
    /// The end, when this was the last turn.
    pub done: Option<TrainDone>,
}

impl Run {
    /// Prepares a run; nothing is trained yet.
    ///
    /// # Errors
    ///
    /// When the settings are not those of an adapter, or there is nothing to train on.
    pub fn new(
        spec: JobSpec,
        model: &ModelConfig,
        top: TopModel,
        device: &Device,
        mut rng: ChaCha8Rng,
    ) -> Result<Self, TrainerError> {
        let lora = LoraConfig::try_from(&spec.adapter)?;
        // A generator of its own: the order of the examples does not depend on where the head is.
        let mut init = ChaCha8Rng::from_rng(&mut rng);
        let (cut, n_classes) = (spec.cut, spec.n_classes);
        let adapter = match spec.labels {
            LabelPlace::Server => {
                Adapter::init(&lora, model, &top, cut, n_classes, &mut init, device)
            }
            LabelPlace::Client => {
                Adapter::init_lora(&lora, model, cut..model.n_layers, &mut init, device)
            }
        };
        let order = spec.examples.indices(Split::Train);
        let validation = spec.examples.indices(Split::Validation);
        let steps_per_epoch = steps_per_epoch(order.len(), &spec.settings);
        let steps_total = steps_per_epoch.saturating_mul(spec.settings.epochs);
        if steps_total == 0 {
            return Err(TrainerError::NothingToTrain);
        }
        let headers = spec.examples.headers(&order)?;
        let rows: f64 = headers.iter().map(|h| f64::from(h.seq_length)).sum();
        let rows_mean = rows / order.len() as f64;
        let settings = &spec.settings;
        Ok(Self {
            optimizer: AdapterOptimizer::new(settings),
            schedule: Schedule::new(settings.learning_rate, settings.warmup_share, steps_total),
            device: device.clone(),
            ranking: Ranking::default(),
            step: 0,
            best: None,
            exchange: Exchange::default(),
            spec,
            model: model.clone(),
            top,
            adapter,
            rng,
            order,
            validation,
            steps_per_epoch,
            steps_total,
            rows_mean,
            rows_new: 0,
        })
    }

    /// Optimizer steps taken.
    pub fn step(&self) -> u32 {
        self.step
    }

    /// Optimizer steps of the whole run.
    pub fn steps_total(&self) -> u32 {
        self.steps_total
    }

    /// Whether the run can take a turn; one that waits for its client cannot.
    pub fn is_ready(&self) -> bool {
        self.exchange.is_ready()
    }

    /// Gives the run what it waits for.
    ///
    /// # Errors
    ///
    /// When it waits for nothing, or for something else.
    pub fn answer(&mut self, answer: Answer) -> Result<(), TrainerError> {
        self.exchange.take_answer(answer)
    }

    /// Goes on until the client is needed, or a step with its validation is done.
    ///
    /// # Errors
    ///
    /// When the activations cannot be read, the training diverges or the device fails.
    pub fn turn(&mut self) -> Result<Turn, TrainerError> {
        if !self.spec.is_alone() {
            return self.turn_together();
        }
        let started = Instant::now();
        let batch = self.begin_step()?;
        let d_model = self.spec.examples.d_model();
        let (loss, gradients) = batch.gradients(&self.top, d_model, &self.device)?;
        self.end_step(started, loss, gradients)
    }

    /// About how many rows the next step has, if it needs nothing but its gradients and so can be
    /// taken with those of other runs: between [`Self::begin_step`] and [`Self::end_step`].
    pub fn rows_expected(&self) -> Option<usize> {
        let size = self.spec.settings.batch_size as usize;
        let within = (self.step % self.steps_per_epoch) as usize;
        let rest = self.order.len().saturating_sub(within.saturating_mul(size));
        let rows = self.rows_mean * rest.min(size) as f64;
        self.spec.is_alone().then_some(rows.ceil() as usize)
    }

    /// Rows that went through the top since this was asked last.
    pub fn take_rows(&mut self) -> u64 {
        mem::take(&mut self.rows_new)
    }

    /// The blocks that its adapter is beside.
    pub fn top(&self) -> &TopModel {
        &self.top
    }

    /// Blocks that its client runs.
    pub fn cut(&self) -> usize {
        self.spec.cut
    }

    /// What the next step wants the gradients of.
    ///
    /// # Errors
    ///
    /// When the activations cannot be read.
    pub fn begin_step(&mut self) -> Result<TrainBatch, TrainerError> {
        let indices = self.next_examples();
        let LabelledBatch {
            activations,
            labels,
        } = self.spec.examples.read(&indices)?;
        let batch = TrainBatch {
            adapter: self.adapter.with_dropout_seed(self.rng.next_u64()),
            activations,
            labels,
            class_weights: self.spec.settings.class_weights.clone(),
        };
        self.rows_new += rows_of(&batch.activations.seq_lengths);
        Ok(batch)
    }

    /// Takes the step that was begun, and the validation after it where one is due.
    ///
    /// # Errors
    ///
    /// When the activations cannot be read or the device fails.
    pub fn end_step(
        &mut self,
        started: Instant,
        loss: f32,
        gradients: BatchGradients,
    ) -> Result<Turn, TrainerError> {
        let rate = self.schedule.learning_rate(self.step);
        let stepped = OPTIMIZER.time(|| {
            self.optimizer
                .step(&self.adapter, gradients.adapter, 0.0, rate)
        });
        self.adapter = stepped;
        let mut events = vec![TrainerEvent::Step(self.count_step(Some(loss), started))];
        if self.validation_is_due() {
            events.push(TrainerEvent::Validation(self.validate()?));
        }
        let done = self.end();
        Ok(Turn { events, done })
    }

    /// The end of the run at this point.
    pub fn done(&self, reason: DoneReason) -> TrainDone {
        let best_step = self.best.as_ref().map_or(self.step, |best| best.step);
        TrainDone {
            steps: self.step,
            best_step,
            reason,
        }
    }

    /// The run's result: the model and the best adapter, the last one where nothing was validated.
    pub fn into_trained(self) -> Trained {
        let is_whole = self.spec.is_alone();
        let adapter = self.best.map_or(self.adapter, |best| best.adapter);
        Trained {
            top: self.top,
            adapter,
            labels: self.spec.labels,
            is_whole,
        }
    }

    /// The end, when this was the last step or patience has run out; a run that is restored may be
    /// there already. Where the labels are at the client, it alone knows of its patience.
    pub fn end(&self) -> Option<TrainDone> {
        if self.step == self.steps_total {
            return Some(self.done(DoneReason::Finished));
        }
        let stopped = self.ranking.is_exhausted(self.spec.settings.patience);
        stopped.then(|| self.done(DoneReason::StoppedEarly))
    }

    /// The examples of the next step, in an order drawn anew for each epoch.
    fn next_examples(&mut self) -> Vec<usize> {
        let within = self.step % self.steps_per_epoch;
        if within == 0 {
            self.order.shuffle(&mut self.rng);
        }
        let size = self.spec.settings.batch_size as usize;
        let rest = self.order.iter().skip(within as usize * size);
        rest.take(size).copied().collect()
    }

    /// Counts a step that was taken.
    fn count_step(&mut self, loss: Option<f32>, started: Instant) -> StepReport {
        let learning_rate = self.schedule.learning_rate(self.step);
        let epoch = self.step / self.steps_per_epoch + 1;
        self.step += 1;
        StepReport {
            step: self.step,
            epoch,
            loss,
            learning_rate: learning_rate as f32,
            step_millis: u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX),
        }
    }

    fn validation_is_due(&self) -> bool {
        let per_epoch = self
            .spec
            .settings
            .validations_per_epoch
            .clamp(1, self.steps_per_epoch);
        let interval = self.steps_per_epoch / per_epoch;
        let within = (self.step - 1) % self.steps_per_epoch + 1;
        let at_end = within == self.steps_per_epoch;
        // The last interval of an epoch takes what the division left over.
        let between = within.is_multiple_of(interval) && within / interval < per_epoch;
        !self.validation.is_empty() && (at_end || between)
    }

    fn validate(&mut self) -> Result<ValidationReport, TrainerError> {
        let examples = &self.spec.examples;
        let mut measurement = Measurement::new(self.spec.n_classes);
        for indices in self.validation.chunks(VALIDATION_BATCH) {
            let LabelledBatch {
                activations,
                labels,
            } = examples.read(indices)?;
            self.rows_new += rows_of(&activations.seq_lengths);
            let batch = DeviceBatch::new(&activations, examples.d_model(), &self.device);
            measurement.add(&scores(&self.top, &self.adapter, &batch)?, &labels);
        }
        Ok(self.rank(&measurement))
    }

    /// Keeps the adapter if this validation is the best so far.
    fn rank(&mut self, measurement: &Measurement) -> ValidationReport {
        let best = self.ranking.enter(measurement);
        if best {
            self.keep_best();
        }
        measurement.report(self.step, best)
    }

    fn keep_best(&mut self) {
        self.best = Some(Best {
            step: self.step,
            adapter: self.adapter.clone(),
        });
    }
}

/// What a run leaves behind: enough to answer predictions.
#[derive(Debug)]
pub struct Trained {
    /// The blocks of this cut.
    pub top: TopModel,
    /// The best adapter.
    pub adapter: Adapter,
    /// Where the labels are, and so the trained part of the head.
    pub labels: LabelPlace,
    /// Whether the adapter is all that was trained; otherwise the client has the rest.
    pub is_whole: bool,
}

/// Rows of examples of these lengths.
fn rows_of(seq_lengths: &[u16]) -> u64 {
    seq_lengths.iter().map(|length| u64::from(*length)).sum()
}

/// Optimizer steps of one epoch; the last batch may be smaller.
fn steps_per_epoch(examples: usize, settings: &TrainSettings) -> u32 {
    u32::try_from(examples)
        .unwrap_or(u32::MAX)
        .div_ceil(settings.batch_size.max(1))
}

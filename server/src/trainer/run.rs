//! One fine-tuning run: its order of examples, its steps, its validations, its best adapter.

use std::time::Instant;

use burn::tensor::Device;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use shared::adapter::{Adapter, LoraConfig};
use shared::metrics::Confusion;
use shared::model::{ModelConfig, TopModel};
use shared::protocol::message::{
    DoneReason, Split, StepReport, TrainDone, TrainSettings, ValidationReport,
};

use super::optimizer::{AdapterOptimizer, Schedule};
use super::step::{PaddedBatch, cross_entropy, gradients, logits};
use super::{JobSpec, TrainerError};
use crate::store::LabelledBatch;

/// Examples classified at a time in a validation: bounds memory, not the result.
const VALIDATION_BATCH: usize = 64;

/// A run, between two steps.
#[derive(Debug)]
pub struct Run {
    spec: JobSpec,
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
    best: Option<Best>,
    validations_without_gain: u32,
}

#[derive(Debug)]
struct Best {
    step: u32,
    accuracy: f32,
    loss: f32,
    adapter: Adapter,
}

/// What one turn of a run produced.
#[derive(Debug)]
pub struct Turn {
    /// The step that was taken.
    pub step: StepReport,
    /// The validation after it, when one was due.
    pub validation: Option<ValidationReport>,
    /// The end, when this was the last step.
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
        let adapter = Adapter::init(
            &lora,
            model,
            &top,
            spec.cut,
            spec.n_classes,
            &mut rng,
            device,
        );
        let order = spec.examples.indices(Split::Train);
        let validation = spec.examples.indices(Split::Validation);
        let steps_per_epoch = steps_per_epoch(order.len(), &spec.settings);
        let steps_total = steps_per_epoch.saturating_mul(spec.settings.epochs);
        if steps_total == 0 {
            return Err(TrainerError::NothingToTrain);
        }
        let settings = &spec.settings;
        Ok(Self {
            optimizer: AdapterOptimizer::new(settings),
            schedule: Schedule::new(settings.learning_rate, settings.warmup_share, steps_total),
            device: device.clone(),
            validations_without_gain: 0,
            step: 0,
            best: None,
            spec,
            top,
            adapter,
            rng,
            order,
            validation,
            steps_per_epoch,
            steps_total,
        })
    }

    /// Optimizer steps of the whole run.
    pub fn steps_total(&self) -> u32 {
        self.steps_total
    }

    /// Takes one optimizer step, and validates when that is due.
    ///
    /// # Errors
    ///
    /// When the activations cannot be read or the device fails.
    pub fn turn(&mut self) -> Result<Turn, TrainerError> {
        let step = self.train_step()?;
        let done = self.step == self.steps_total;
        let validation = if self.validation_is_due() {
            Some(self.validate()?)
        } else {
            None
        };
        let patience = self.spec.settings.patience;
        let stopped = patience > 0 && self.validations_without_gain >= patience;
        let done = match (done, stopped) {
            (true, _) => Some(self.done(DoneReason::Finished)),
            (false, true) => Some(self.done(DoneReason::StoppedEarly)),
            (false, false) => None,
        };
        Ok(Turn {
            step,
            validation,
            done,
        })
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
        let adapter = self.best.map_or(self.adapter, |best| best.adapter);
        Trained {
            top: self.top,
            adapter,
            n_classes: self.spec.n_classes,
        }
    }

    fn train_step(&mut self) -> Result<StepReport, TrainerError> {
        let started = Instant::now();
        let within = self.step % self.steps_per_epoch;
        if within == 0 {
            self.order.shuffle(&mut self.rng);
        }
        let size = self.spec.settings.batch_size as usize;
        let indices: Vec<usize> = self
            .order
            .iter()
            .copied()
            .skip(within as usize * size)
            .take(size)
            .collect();
        let LabelledBatch {
            activations,
            labels,
        } = self.spec.examples.read(&indices)?;
        let batch = PaddedBatch::new(&activations, self.spec.examples.d_model(), &self.device);
        let adapter = self.adapter.with_dropout_seed(self.rng.next_u64());
        let weights = &self.spec.settings.class_weights;
        let (loss, gradients) = gradients(&self.top, &adapter, &batch, &labels, weights)?;
        let learning_rate = self.schedule.learning_rate(self.step);
        self.adapter = self.optimizer.step(&self.adapter, gradients, learning_rate);
        let epoch = self.step / self.steps_per_epoch + 1;
        self.step += 1;
        Ok(StepReport {
            step: self.step,
            epoch,
            loss,
            learning_rate: learning_rate as f32,
            step_millis: u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX),
        })
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
        let n_classes = self.spec.n_classes;
        let mut confusion = Confusion::new(n_classes);
        let mut loss = 0.0;
        for indices in self.validation.chunks(VALIDATION_BATCH) {
            let LabelledBatch {
                activations,
                labels,
            } = examples.read(indices)?;
            let batch = PaddedBatch::new(&activations, examples.d_model(), &self.device);
            let logits = logits(&self.top, &self.adapter, &batch);
            let mean = cross_entropy(logits.clone(), &labels, &[]).into_scalar::<f32>();
            loss += mean * labels.len() as f32;
            let scores = logits
                .into_data()
                .try_into_vec::<f32>()
                .map_err(|_| TrainerError::Device)?;
            for (scores, label) in scores.chunks_exact(n_classes).zip(&labels) {
                confusion.add(*label as usize, argmax(scores));
            }
        }
        let loss = loss / self.validation.len() as f32;
        let accuracy = confusion.accuracy();
        let best = self.best.as_ref().is_none_or(|best| {
            accuracy > best.accuracy || (accuracy == best.accuracy && loss < best.loss)
        });
        if best {
            let adapter = self.adapter.clone();
            self.best = Some(Best {
                step: self.step,
                accuracy,
                loss,
                adapter,
            });
            self.validations_without_gain = 0;
        } else {
            self.validations_without_gain += 1;
        }
        Ok(ValidationReport {
            step: self.step,
            loss,
            accuracy,
            macro_f1: confusion.macro_f1(),
            confusion: confusion.counts().to_vec(),
            best,
        })
    }
}

/// What a run leaves behind: enough to answer predictions.
#[derive(Debug)]
pub struct Trained {
    /// The blocks of this cut.
    pub top: TopModel,
    /// The best adapter.
    pub adapter: Adapter,
    /// Classes of the task.
    pub n_classes: usize,
}

/// Optimizer steps of one epoch; the last batch may be smaller.
fn steps_per_epoch(examples: usize, settings: &TrainSettings) -> u32 {
    u32::try_from(examples)
        .unwrap_or(u32::MAX)
        .div_ceil(settings.batch_size.max(1))
}

fn argmax(scores: &[f32]) -> usize {
    let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(class, _)| class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_score_wins() {
        assert_eq!(argmax(&[0.1, 0.7, 0.2]), 1);
    }
}

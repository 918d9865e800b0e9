//! A run whose labels or whose bottom are at the client: the same steps, in turns.
//!
//! | labels | bottom | a step |
//! |---|---|---|
//! | client | frozen | pooled out, its gradient back, optimizer |
//! | server | lora | batch out, activations back, loss and gradients, cut gradient out |
//! | client | lora | batch out, activations back, pooled out, gradient back, cut gradient out |
//!
//! With an adapter at the client and clipping, the optimizer's step waits for the client's share of
//! the norm. It comes with the activations of the next batch, which are computed after the client
//! has taken its own step; nothing here uses the adapter in between.

use std::mem;
use std::time::Instant;

use burn::tensor::Tensor;
use rand_chacha::rand_core::Rng;
use shared::adapter::gradient_square;
use shared::metrics::Measurement;
use shared::protocol::exchange::Square;
use shared::protocol::message::{
    Batch, BottomTraining, CutGradient, DoneReason, Judgement, LabelPlace, Pooled, Split,
};
use shared::protocol::tensor::{ActivationDtype, TensorDescriptor};

use super::{Run, Turn, rows_of};
use crate::telemetry::metrics::OPTIMIZER;
use crate::trainer::step::{
    BatchGradients, DeviceBatch, OpenPass, gradients, number, pooled, scores,
};
use crate::trainer::{ActivationBatch, Answer, Ask, Payload, TrainerError, TrainerEvent};

/// Where an exchange stands.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    stage: Stage,
    answer: Option<Answer>,
    /// Of the step at work.
    started: Option<Instant>,
    /// The last step's gradients, until the client has told its share of their norm.
    unapplied: Option<Unapplied>,
    /// Our share of the norm of the last step, until the client is told.
    untold: Option<f32>,
    validating: Option<Validating>,
}

/// What the run waits for.
#[derive(Debug, Default)]
enum Stage {
    /// Nothing: the next turn asks.
    #[default]
    Between,
    /// The activations of these examples.
    Activations(Asked),
    /// The gradient of what came out of the top; the activations came as `dtype` where the bottom is
    /// trained.
    Gradient {
        pass: Box<OpenPass>,
        dtype: Option<ActivationDtype>,
    },
    /// What the client says of validation examples.
    Verdict,
}

#[derive(Debug)]
struct Asked {
    split: Split,
    indices: Vec<usize>,
}

#[derive(Debug)]
struct Unapplied {
    gradients: Vec<Tensor<2>>,
    /// The client's share that is known already: that of its head.
    square_elsewhere: f32,
    learning_rate: f64,
}

/// A pass over the validation examples.
#[derive(Debug)]
struct Validating {
    /// Examples that were asked for.
    next: usize,
    /// Where the labels are here.
    measurement: Measurement,
}

impl Exchange {
    /// An exchange at the beginning of a step; `untold` is our share of the norm of the last.
    pub(super) fn between_steps(untold: Option<f32>) -> Self {
        Self {
            untold,
            ..Self::default()
        }
    }

    /// What [`Self::between_steps`] needs to go on from here; none in the middle of a step or of a
    /// validation.
    pub(super) fn untold_between_steps(&self) -> Option<Option<f32>> {
        let is_between = matches!(self.stage, Stage::Between)
            && self.answer.is_none()
            && self.unapplied.is_none()
            && self.validating.is_none();
        is_between.then_some(self.untold)
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Between) || self.answer.is_some()
    }

    pub(super) fn take_answer(&mut self, answer: Answer) -> Result<(), TrainerError> {
        let fits = matches!(
            (&self.stage, &answer),
            (Stage::Activations(_), Answer::Activations { .. })
                | (Stage::Gradient { .. }, Answer::Gradient { .. })
                | (Stage::Verdict, Answer::Verdict(_))
        );
        if !fits || self.answer.is_some() {
            return Err(TrainerError::NotAwaited);
        }
        self.answer = Some(answer);
        Ok(())
    }
}

impl Turn {
    fn of(event: TrainerEvent) -> Self {
        let events = vec![event];
        Self { events, done: None }
    }
}

impl Run {
    /// Goes on until the client is needed, or a batch is done with.
    pub(super) fn turn_together(&mut self) -> Result<Turn, TrainerError> {
        let stage = mem::take(&mut self.exchange.stage);
        match (stage, self.exchange.answer.take()) {
            (Stage::Between, _) => self.ask(),
            (
                Stage::Activations(asked),
                Some(Answer::Activations {
                    batch,
                    dtype,
                    gradient_square,
                }),
            ) => {
                self.apply(gradient_square.unwrap_or(0.0));
                self.run_top(&asked, &batch, Some(dtype))
            }
            (
                Stage::Gradient { pass, dtype },
                Some(Answer::Gradient {
                    values,
                    gradient_square,
                }),
            ) => {
                let gradients = pass.backward(values)?;
                self.close_step(None, gradients, gradient_square.unwrap_or(0.0), dtype)
            }
            (Stage::Verdict, Some(Answer::Verdict(judgement))) => self.judged(judgement),
            _ => Err(TrainerError::NotAwaited),
        }
    }

    /// Begins the next batch: of the validation that goes on, else of the next step.
    fn ask(&mut self) -> Result<Turn, TrainerError> {
        let asked = self.next_asked();
        if self.spec.bottom == BottomTraining::Frozen {
            let stored = self.spec.examples.read(&asked.indices)?;
            return self.run_top(&asked, &stored.activations, None);
        }
        let headers = self.spec.examples.headers(&asked.indices)?;
        let batch = Batch {
            step: self.step_of(asked.split),
            split: asked.split,
            example_ids: headers.iter().map(|header| header.example_id).collect(),
        };
        let seq_lengths = headers.iter().map(|header| header.seq_length).collect();
        let square = Square::of(self.clips(), self.exchange.unapplied.is_some());
        self.exchange.stage = Stage::Activations(asked);
        Ok(Turn::of(TrainerEvent::Ask(Ask::Activations {
            batch,
            seq_lengths,
            square,
        })))
    }

    /// Every batch has `batch_size` examples, validation too; only the last of a pass may have fewer.
    fn next_asked(&mut self) -> Asked {
        let size = self.spec.settings.batch_size as usize;
        if let Some(validating) = &mut self.exchange.validating {
            let rest = self.validation.iter().skip(validating.next);
            let indices: Vec<usize> = rest.take(size).copied().collect();
            validating.next += indices.len();
            let split = Split::Validation;
            return Asked { split, indices };
        }
        self.exchange.started = Some(Instant::now());
        Asked {
            split: Split::Train,
            indices: self.next_examples(),
        }
    }

    /// The step that a batch is for, or that it is measured after.
    fn step_of(&self, split: Split) -> u32 {
        match split {
            Split::Train => self.step + 1,
            Split::Validation => self.step,
        }
    }

    fn clips(&self) -> bool {
        self.spec.settings.gradient_norm_max > 0.0
    }

    /// Runs a batch through the top, and the head if it is here.
    fn run_top(
        &mut self,
        asked: &Asked,
        activations: &ActivationBatch,
        dtype: Option<ActivationDtype>,
    ) -> Result<Turn, TrainerError> {
        self.rows_new += rows_of(&activations.seq_lengths);
        let batch = DeviceBatch::new(activations, self.spec.examples.d_model(), &self.device);
        match (self.spec.labels, asked.split) {
            (LabelPlace::Server, Split::Train) => {
                let labels = self.labels(asked)?;
                let adapter = self.adapter.with_dropout_seed(self.rng.next_u64());
                let weights = &self.spec.settings.class_weights;
                let batch = batch.leaf();
                let (loss, gradients) = gradients(&self.top, &adapter, &batch, &labels, weights)?;
                self.close_step(Some(loss), gradients, 0.0, dtype)
            }
            (LabelPlace::Server, Split::Validation) => {
                let scores = scores(&self.top, &self.adapter, &batch)?;
                self.measure(&scores, &self.labels(asked)?)
            }
            (LabelPlace::Client, Split::Train) => {
                let adapter = self.adapter.with_dropout_seed(self.rng.next_u64());
                let batch = match self.spec.bottom {
                    BottomTraining::Frozen => batch,
                    BottomTraining::Lora => batch.leaf(),
                };
                let pass = OpenPass::new(&self.top, &adapter, batch);
                let (pooled, payload) = self.show(asked, &pass.pooled()?)?;
                let square = Square::of(self.clips(), true);
                let pass = Box::new(pass);
                self.exchange.stage = Stage::Gradient { pass, dtype };
                Ok(Turn::of(TrainerEvent::Ask(Ask::Gradient {
                    pooled,
                    payload,
                    square,
                })))
            }
            (LabelPlace::Client, Split::Validation) => {
                let values = pooled(&self.top, &self.adapter, &batch)?;
                let (pooled, payload) = self.show(asked, &values)?;
                let last = self.all_validated();
                self.exchange.stage = Stage::Verdict;
                Ok(Turn::of(TrainerEvent::Ask(Ask::Verdict {
                    pooled,
                    payload,
                    last,
                })))
            }
        }
    }

    /// What the client's head reads, as a message; it carries our share of the last step's norm
    /// where the client does not know it yet.
    fn show(&mut self, asked: &Asked, values: &[f32]) -> Result<(Pooled, Payload), TrainerError> {
        let headers = self.spec.examples.headers(&asked.indices)?;
        let d_model = self.spec.examples.d_model();
        let (tensor, payload) =
            TensorDescriptor::encode_rows(ActivationDtype::F32, d_model, values)
                .map_err(|_| TrainerError::Diverged)?;
        let pooled = Pooled {
            step: self.step_of(asked.split),
            split: asked.split,
            example_ids: headers.iter().map(|header| header.example_id).collect(),
            pooled: tensor,
            gradient_square: self.exchange.untold.take(),
        };
        Ok((pooled, Payload(payload)))
    }

    /// Ends a step: the optimizer's step at once where all of the norm is known, else the gradient
    /// at the cut to the client first. `square_elsewhere` is what is known of the client's share.
    fn close_step(
        &mut self,
        loss: Option<f32>,
        gradients: BatchGradients,
        square_elsewhere: f32,
        dtype: Option<ActivationDtype>,
    ) -> Result<Turn, TrainerError> {
        let BatchGradients { adapter, cut } = gradients;
        let own = match gradient_square(&adapter) {
            Some(square) if self.clips() => Some(number(square)?),
            _ => None,
        };
        let learning_rate = self.schedule.learning_rate(self.step);
        self.exchange.unapplied = Some(Unapplied {
            gradients: adapter,
            square_elsewhere,
            learning_rate,
        });
        let mut events = Vec::new();
        if let (Some(dtype), Some(cut)) = (dtype, cut) {
            let (step, d_model) = (self.step + 1, self.spec.examples.d_model());
            let written = CutGradient::write(step, dtype, d_model, &cut, own);
            let (message, payload) = written.map_err(|_| TrainerError::Diverged)?;
            events.push(TrainerEvent::CutGradient(message, Payload(payload)));
            if !self.clips() {
                self.apply(0.0);
            }
        } else {
            self.apply(0.0);
            self.exchange.untold = own;
        }
        let started = self.exchange.started.take().unwrap_or_else(Instant::now);
        let report = self.count_step(loss, started);
        events.push(TrainerEvent::Step(report));
        if self.validation_is_due() {
            self.exchange.validating = Some(Validating {
                next: 0,
                measurement: Measurement::new(self.spec.n_classes),
            });
            return Ok(Turn { events, done: None });
        }
        let done = self.end();
        Ok(Turn { events, done })
    }

    /// Takes the optimizer's step that waited, if any; `square` is what the client's share lacked.
    fn apply(&mut self, square: f32) {
        if let Some(unapplied) = self.exchange.unapplied.take() {
            let Unapplied {
                gradients,
                square_elsewhere,
                learning_rate,
            } = unapplied;
            let square = square_elsewhere + square;
            let stepped = OPTIMIZER.time(|| {
                self.optimizer
                    .step(&self.adapter, gradients, square, learning_rate)
            });
            self.adapter = stepped;
        }
    }

    /// Labels of examples that are here.
    fn labels(&self, asked: &Asked) -> Result<Vec<u32>, TrainerError> {
        let headers = self.spec.examples.headers(&asked.indices)?;
        Ok(headers.iter().filter_map(|header| header.label).collect())
    }

    fn all_validated(&self) -> bool {
        let validating = self.exchange.validating.as_ref();
        validating.is_none_or(|validating| validating.next == self.validation.len())
    }

    /// Measures validation examples whose labels are here.
    fn measure(&mut self, scores: &[f32], labels: &[u32]) -> Result<Turn, TrainerError> {
        if let Some(validating) = &mut self.exchange.validating {
            validating.measurement.add(scores, labels);
        }
        if !self.all_validated() {
            return Ok(Turn::default());
        }
        let Some(Validating { measurement, .. }) = self.exchange.validating.take() else {
            return Err(TrainerError::NotAwaited);
        };
        let report = self.rank(&measurement);
        Ok(Turn {
            events: vec![TrainerEvent::Validation(report)],
            done: self.end(),
        })
    }

    /// Goes on as the client says, which measures where the labels are.
    fn judged(&mut self, judgement: Judgement) -> Result<Turn, TrainerError> {
        if !self.all_validated() {
            return match judgement {
                Judgement::Unfinished => Ok(Turn::default()),
                _ => Err(TrainerError::NotAwaited),
            };
        }
        self.exchange.validating = None;
        match judgement {
            Judgement::Unfinished => return Err(TrainerError::NotAwaited),
            Judgement::Best => self.keep_best(),
            Judgement::NotBest | Judgement::Stop => {}
        }
        let done = match (self.step == self.steps_total, judgement) {
            (true, _) => Some(self.done(DoneReason::Finished)),
            (false, Judgement::Stop) => Some(self.done(DoneReason::StoppedEarly)),
            (false, _) => None,
        };
        let events = Vec::new();
        Ok(Turn { events, done })
    }
}

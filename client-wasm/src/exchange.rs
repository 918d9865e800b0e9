//! The client's part of a run that is taken step by step with the server: its head where labels stay
//! here, its adapter where the bottom is trained.
//!
//! | the server sends | the client answers |
//! |---|---|
//! | `Batch` | `BatchActivations`: kept tokens through the bottom and its adapter |
//! | `Pooled` of training examples | `PooledGradient`: head, loss, gradient |
//! | `Pooled` of validation examples | `Verdict`: measured here |
//! | `CutGradient` | nothing; the adapter's backward pass, and the step |
//!
//! Clipping is by the norm of all gradients of a step, wherever they are. Each side tells its sum of
//! squares in the next message that it sends anyway; a step is taken here when the last one is known:
//! with `CutGradient`, and without an adapter in the bottom with the next `Pooled`.

mod begin;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng;
use shared::adapter::{Adapter, Schedule};
use shared::metrics::{Measurement, Ranking};
use shared::protocol::exchange::{Square, check_tensor};
use shared::protocol::message::{
    Batch, BatchActivations, ClientMessage, CutGradient, Judgement, Pooled, PooledGradient, Split,
    TrainSettings, ValidationReport, Verdict,
};
use shared::protocol::tensor::{ActivationDtype, TensorDescriptor};

use crate::bottom_adapter::BottomAdapter;
use crate::error::ClientError;
use crate::head::TaskHead;
use crate::label_defence::LabelDefence;
use crate::ledger::Ledger;
use crate::pipeline::Pipeline;
use shared::privacy::BottomInput;

/// What stays here of the examples of a session; an example's id is its place.
#[derive(Default)]
pub(crate) struct KeptExamples {
    pub(crate) splits: Vec<Split>,
    pub(crate) labels: Vec<u32>,
    /// Tokens after the mechanism, where the bottom is trained: one release, used in every step.
    pub(crate) inputs: Vec<BottomInput>,
}

impl std::fmt::Debug for KeptExamples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeptExamples({})", self.splits.len())
    }
}

/// What a run has trained here.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrainedHere {
    pub(crate) head: Option<Adapter>,
    pub(crate) bottom: Option<Adapter>,
}

/// The head of a run, and what it measures.
#[derive(Debug)]
pub(crate) struct HeadSide {
    pub(crate) head: TaskHead,
    pub(crate) defence: Option<LabelDefence>,
    pub(crate) n_classes: usize,
}

/// What the server's message asks to be sent, and what there is to report.
pub(crate) struct Reply {
    pub(crate) message: ClientMessage,
    pub(crate) payload: Vec<u8>,
    pub(crate) validation: Option<ValidationReport>,
}

/// A step whose norm is not known in all its parts yet.
#[derive(Debug, Clone, Copy)]
struct OpenStep {
    step: u32,
    /// Whether the head has yet to see what came out of the top.
    awaits_head: bool,
    /// The head's share, as told to the server.
    head_square: f32,
}

/// One run at the client.
#[derive(Debug)]
pub(crate) struct Exchange {
    settings: TrainSettings,
    schedule: Schedule,
    ledger: Ledger,
    dtype: ActivationDtype,
    rng: ChaCha20Rng,
    head: Option<HeadSide>,
    measurement: Option<Measurement>,
    ranking: Ranking,
    bottom: Option<BottomAdapter>,
    /// The last `Batch` of the server, and the rows of its answer.
    asked: Option<(Batch, u64)>,
    open: Option<OpenStep>,
    /// The bottom's share of the norm of the last step, until the server is told.
    untold: Option<f32>,
    /// The step whose loss was computed here last.
    loss: Option<(u32, f32)>,
}

impl Exchange {
    /// A run that nothing was asked of yet; `settings` with the client's own class weights. `rng`
    /// draws the adapter's dropout.
    pub(crate) fn new(
        settings: TrainSettings,
        kept: &KeptExamples,
        dtype: ActivationDtype,
        rng: ChaCha20Rng,
        head: Option<HeadSide>,
        bottom: Option<BottomAdapter>,
    ) -> Self {
        let ledger = Ledger::new(kept.splits.clone(), &settings);
        let TrainSettings {
            learning_rate,
            warmup_share,
            ..
        } = settings;
        Self {
            schedule: Schedule::new(learning_rate, warmup_share, ledger.steps_total()),
            ledger,
            settings,
            dtype,
            rng,
            head,
            measurement: None,
            ranking: Ranking::default(),
            bottom,
            asked: None,
            open: None,
            untold: None,
            loss: None,
        }
    }

    /// Optimizer steps of the whole run.
    pub(crate) fn steps_total(&self) -> u32 {
        self.ledger.steps_total()
    }

    /// The loss of a step, if it was computed here and last.
    pub(crate) fn loss(&self, step: u32) -> Option<f32> {
        self.loss
            .filter(|(of, _)| *of == step)
            .map(|(_, loss)| loss)
    }

    /// Answers `Batch`.
    ///
    /// # Errors
    ///
    /// When the server may not ask for this, the numbers are no longer finite, or the device fails.
    pub(crate) async fn batch(
        &mut self,
        pipeline: &Pipeline,
        kept: &KeptExamples,
        batch: Batch,
    ) -> Result<Reply, ClientError> {
        if self.open.is_some() {
            return Err(unexpected("a batch before the gradient of the last"));
        }
        let bottom = self.bottom.as_mut();
        let bottom = bottom.ok_or_else(|| unexpected("a batch of a frozen bottom"))?;
        self.ledger
            .enter(batch.step, batch.split, &batch.example_ids)?;
        let inputs = batch
            .example_ids
            .iter()
            .map(|id| &kept.inputs[*id as usize]);
        let tokens = pipeline.token_batch(inputs)?;
        let activations = match batch.split {
            Split::Train => {
                let seed = self.rng.next_u64();
                bottom.forward(&pipeline.bottom, &tokens, seed).await?
            }
            Split::Validation => bottom.activations(&pipeline.bottom, &tokens).await?,
        };
        let (tensor, payload) = activations
            .to_payload(self.dtype)
            .map_err(|_| ClientError::Diverged)?;
        if batch.split == Split::Train {
            self.open = Some(OpenStep {
                step: batch.step,
                awaits_head: self.head.is_some(),
                head_square: 0.0,
            });
        }
        let answer = BatchActivations {
            step: batch.step,
            seq_lengths: activations.seq_lengths().to_vec(),
            activations: tensor,
            gradient_square: self.untold.take(),
        };
        self.asked = Some((batch, u64::from(tensor.rows)));
        Ok(Reply {
            message: ClientMessage::BatchActivations(answer),
            payload,
            validation: None,
        })
    }

    /// Answers `Pooled`.
    ///
    /// # Errors
    ///
    /// When the server may not show this now, the numbers are no longer finite, or the device fails.
    pub(crate) async fn pooled(
        &mut self,
        pipeline: &Pipeline,
        kept: &KeptExamples,
        pooled: &Pooled,
        payload: &[u8],
    ) -> Result<Reply, ClientError> {
        if self.head.is_none() {
            return Err(no_labels());
        }
        let (step, split) = (pooled.step, pooled.split);
        let d_model = u32::try_from(pipeline.bottom.config().d_model).unwrap_or(u32::MAX);
        let examples = pooled.example_ids.len();
        check_tensor(&pooled.pooled, payload, examples as u64, d_model)?;
        let values = pooled.pooled.decode(payload);
        let values = values.map_err(|_| ClientError::Diverged)?;
        if self.bottom.is_some() {
            self.check_shown(pooled)?;
        } else {
            self.ledger.enter(step, split, &pooled.example_ids)?;
            let square = Square::of(self.clips(), self.open.is_some());
            square.check(pooled.gradient_square)?;
            self.take_step(pooled.gradient_square.unwrap_or(0.0), None);
        }
        let labels: Vec<u32> = pooled
            .example_ids
            .iter()
            .map(|id| kept.labels[*id as usize])
            .collect();
        match split {
            Split::Train => self.gradient(step, values, &labels).await,
            Split::Validation => self.verdict(step, values, &labels).await,
        }
    }

    /// Holds what the server shows against the batch that it has asked for.
    fn check_shown(&mut self, pooled: &Pooled) -> Result<(), ClientError> {
        let asked = self.asked.as_ref().map(|(batch, _)| batch);
        let same = asked.is_some_and(|asked| {
            (asked.step, asked.split) == (pooled.step, pooled.split)
                && asked.example_ids == pooled.example_ids
        });
        let due = match pooled.split {
            Split::Train => self.open.is_some_and(|open| open.awaits_head),
            Split::Validation => self.open.is_none(),
        };
        if !same || !due {
            return Err(unexpected("what it shows is not what it asked for"));
        }
        if pooled.split == Split::Validation {
            self.asked = None; // shown once
        }
        Ok(Square::NotOwed.check(pooled.gradient_square)?)
    }

    /// Takes the gradient at the cut, and the step.
    ///
    /// # Errors
    ///
    /// When no batch awaits it, it does not fit, or the device fails.
    pub(crate) async fn cut_gradient(
        &mut self,
        pipeline: &Pipeline,
        message: &CutGradient,
        payload: &[u8],
    ) -> Result<(), ClientError> {
        let not_awaited = || unexpected("a gradient that nothing awaits");
        let open = self.open.filter(|open| !open.awaits_head);
        let open = open.ok_or_else(not_awaited)?;
        let rows = self.asked.as_ref().map_or(0, |(_, rows)| *rows);
        let d_model = u32::try_from(pipeline.bottom.config().d_model).unwrap_or(u32::MAX);
        let square = Square::of(self.clips(), true);
        let gradient = message.read(payload, open.step, rows, square, d_model)?;
        let bottom = self.bottom.as_mut().ok_or_else(not_awaited)?;
        let own = bottom.backward(&gradient).await?;
        self.take_step(message.gradient_square.unwrap_or(0.0), own);
        self.untold = own;
        Ok(())
    }

    /// Keeps the bottom's adapter if the server, which measures, says that it is the best.
    pub(crate) fn measured(&mut self, report: &ValidationReport) {
        if let Some(bottom) = self.bottom.as_mut().filter(|_| report.best) {
            bottom.keep();
        }
    }

    /// What the run has trained here: the best, or the last where nothing was measured.
    pub(crate) fn into_trained(self) -> TrainedHere {
        TrainedHere {
            head: self.head.map(|side| side.head.into_best()),
            bottom: self.bottom.map(BottomAdapter::into_best),
        }
    }

    fn clips(&self) -> bool {
        self.settings.gradient_norm_max > 0.0
    }

    /// Takes the open step, if any, in all that is trained here. `top` is the sum of squares in the
    /// top, `bottom` in the bottom.
    fn take_step(&mut self, top: f32, bottom: Option<f32>) {
        let Some(OpenStep {
            step, head_square, ..
        }) = self.open.take()
        else {
            return;
        };
        let rate = self.schedule.learning_rate(step - 1); // counts from 0
        if let Some(side) = &mut self.head {
            side.head.step(top + bottom.unwrap_or(0.0), rate);
        }
        if let Some(adapter) = &mut self.bottom {
            adapter.step(top + head_square, rate);
        }
    }

    /// Loss and gradient of a training batch.
    async fn gradient(
        &mut self,
        step: u32,
        values: Vec<f32>,
        labels: &[u32],
    ) -> Result<Reply, ClientError> {
        let clips = self.clips();
        let d_model = values.len() / labels.len().max(1);
        let side = self.head.as_mut().ok_or_else(no_labels)?;
        let mut own = side.head.gradient(values, labels).await?;
        if let Some(defence) = &mut side.defence {
            defence.defend(&mut own.pooled, labels);
            // The norm of the head's own gradients tells of labels, too; this one tells nothing that
            // the gradient itself does not.
            let square = own.pooled.iter().map(|value| value * value).sum();
            own.square = clips.then_some(square);
        }
        let (tensor, payload) =
            TensorDescriptor::encode_rows(ActivationDtype::F32, d_model, &own.pooled)
                .map_err(|_| ClientError::Diverged)?;
        self.loss = Some((step, own.loss));
        self.open = Some(OpenStep {
            step,
            awaits_head: false,
            head_square: own.square.unwrap_or(0.0),
        });
        let answer = PooledGradient {
            step,
            gradient: tensor,
            gradient_square: own.square,
        };
        Ok(Reply {
            message: ClientMessage::PooledGradient(answer),
            payload,
            validation: None,
        })
    }

    /// Measures a validation batch.
    async fn verdict(
        &mut self,
        step: u32,
        values: Vec<f32>,
        labels: &[u32],
    ) -> Result<Reply, ClientError> {
        let side = self.head.as_mut().ok_or_else(no_labels)?;
        let n_classes = side.n_classes;
        let scores = side.head.scores(values).await?;
        let measurement = self
            .measurement
            .get_or_insert_with(|| Measurement::new(n_classes));
        measurement.add(&scores, labels);
        let (mut judgement, mut validation) = (Judgement::Unfinished, None);
        if self.ledger.ends_validation()
            && let Some(measurement) = self.measurement.take()
        {
            let best = self.ranking.enter(&measurement);
            validation = Some(measurement.report(step, best));
            judgement = self.judge(best);
        }
        Ok(Reply {
            message: ClientMessage::Verdict(Verdict { step, judgement }),
            payload: Vec::new(),
            validation,
        })
    }

    fn judge(&mut self, best: bool) -> Judgement {
        if best {
            if let Some(side) = &mut self.head {
                side.head.keep();
            }
            if let Some(bottom) = &mut self.bottom {
                bottom.keep();
            }
            return Judgement::Best;
        }
        if self.ranking.is_exhausted(self.settings.patience) {
            Judgement::Stop
        } else {
            Judgement::NotBest
        }
    }
}

fn unexpected(what: &str) -> ClientError {
    ClientError::Protocol(what.to_owned())
}

fn no_labels() -> ClientError {
    unexpected("labels of this session are not here")
}

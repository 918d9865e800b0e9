//! The trainer's run in all four combinations, with a client in the same thread.
//!
//! The bottom of these clients has no adapter, so its share of every norm is 0 and its activations
//! are always those of the upload: whatever is where, the run must be the one that the server takes
//! alone. What would break this: another order of the examples, a step that is applied twice, late
//! or not at all, a validation of the wrong adapter, a head that steps out of turn.

use std::sync::Arc;

use burn::tensor::Device;
use client_wasm::head::TaskHead;
use futures_util::FutureExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use server::store::ActivationStore;
use server::trainer::run::Run;
use server::trainer::{ActivationBatch, Answer, Ask, JobSpec, TrainerError, TrainerEvent};
use shared::adapter::{Adapter, LoraConfig, ParameterName, Schedule};
use shared::metrics::{Measurement, Ranking};
use shared::protocol::exchange::Square;
use shared::protocol::message::{
    AdapterSettings, AdapterTarget, BottomTraining, DoneReason, ExampleHeader, Judgement,
    LabelPlace, Split, TrainDone, TrainSettings,
};
use shared::protocol::tensor::ActivationDtype;
use tests::reference::Reference;

use crate::samples::upload;

pub(super) const CUT: usize = 1;
pub(super) const SEED: u64 = 11;
pub(super) const ROWS: u16 = 3;

pub(super) fn settings(gradient_norm_max: f32) -> TrainSettings {
    TrainSettings {
        epochs: 3,
        batch_size: 3, // 10 training examples: the last batch of an epoch has one
        learning_rate: 0.02,
        warmup_share: 0.1,
        weight_decay: 0.01,
        gradient_norm_max,
        class_weights: vec![0.5, 2.0],
        patience: 0,
        validations_per_epoch: 2,
    }
}

fn adapter_settings() -> AdapterSettings {
    AdapterSettings {
        rank: 2,
        alpha: 4.0,
        dropout: 0.1,
        targets: vec![AdapterTarget::Query, AdapterTarget::Value],
    }
}

/// What a run came to.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) losses: Vec<f32>,
    pub(super) validations: Vec<(f32, bool)>,
    pub(super) done: TrainDone,
}

/// A client that has the examples, and the head where labels are with it.
pub(super) struct Client {
    headers: Vec<ExampleHeader>,
    values: Vec<f32>,
    d_model: usize,
    head: Option<TaskHead>,
    schedule: Schedule,
    measurement: Measurement,
    ranking: Ranking,
    patience: u32,
    /// The step whose head gradients await the server's share of the norm.
    open: Option<u32>,
    losses: Vec<f32>,
    validations: Vec<(f32, bool)>,
}

impl Client {
    fn rows(&self, ids: &[u32]) -> ActivationBatch {
        let width = usize::from(ROWS) * self.d_model;
        let of = |id: &u32| &self.values[*id as usize * width..][..width];
        ActivationBatch {
            values: ids.iter().flat_map(of).copied().collect(),
            seq_lengths: vec![ROWS; ids.len()],
        }
    }

    fn labels(&self, ids: &[u32]) -> Vec<u32> {
        let label = |id: &u32| self.headers[*id as usize].label.unwrap();
        ids.iter().map(label).collect()
    }

    /// Takes the head's step, if one is open.
    fn close(&mut self, top_square: f32) {
        if let (Some(step), Some(head)) = (self.open.take(), &mut self.head) {
            head.step(top_square, self.schedule.learning_rate(step - 1));
        }
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        let share = |square: Square| (square == Square::Owed).then_some(0.0);
        match ask {
            Ask::Activations {
                batch,
                seq_lengths,
                square,
            } => {
                assert_eq!(seq_lengths, vec![ROWS; batch.example_ids.len()]);
                Answer::Activations {
                    batch: self.rows(&batch.example_ids),
                    dtype: ActivationDtype::F32,
                    gradient_square: share(square),
                }
            }
            Ask::Gradient {
                pooled,
                payload,
                square,
            } => {
                self.close(pooled.gradient_square.unwrap_or(0.0));
                let values = pooled.pooled.decode(&payload.0).unwrap();
                let labels = self.labels(&pooled.example_ids);
                let head = self.head.as_mut().unwrap();
                let own = head.gradient(values, &labels).now_or_never();
                let own = own.unwrap().unwrap();
                assert_eq!(own.square.is_some(), square == Square::Owed);
                self.losses.push(own.loss);
                self.open = Some(pooled.step);
                Answer::Gradient {
                    values: own.pooled,
                    gradient_square: own.square,
                }
            }
            Ask::Verdict {
                pooled,
                payload,
                last,
            } => {
                self.close(pooled.gradient_square.unwrap_or(0.0));
                let values = pooled.pooled.decode(&payload.0).unwrap();
                let scores = self.head.as_ref().unwrap().scores(values).now_or_never();
                let labels = self.labels(&pooled.example_ids);
                self.measurement.add(&scores.unwrap().unwrap(), &labels);
                Answer::Verdict(if last {
                    self.judge(pooled.step)
                } else {
                    Judgement::Unfinished
                })
            }
        }
    }

    fn judge(&mut self, step: u32) -> Judgement {
        let measurement = std::mem::replace(&mut self.measurement, Measurement::new(2));
        let best = self.ranking.enter(&measurement);
        self.validations
            .push((measurement.report(step, best).loss, best));
        match (best, self.ranking.is_exhausted(self.patience)) {
            (true, _) => Judgement::Best,
            (false, true) => Judgement::Stop,
            (false, false) => Judgement::NotBest,
        }
    }
}

/// Trains 10 examples and validates 10.
fn train(labels: LabelPlace, bottom: BottomTraining, settings: &TrainSettings) -> Outcome {
    let (run, client) = begin(spec(labels, bottom, settings), settings);
    finish(run, client, |run| run)
}

/// Takes a run to its end; `before_turn` is given the run before each turn, and gives the one that
/// goes on.
pub(super) fn finish(
    mut run: Run,
    mut client: Client,
    mut before_turn: impl FnMut(Run) -> Run,
) -> Outcome {
    let mut done = None;
    while done.is_none() {
        run = before_turn(run);
        assert!(run.is_ready());
        let turn = run.turn().unwrap();
        done = turn.done;
        for event in turn.events {
            match event {
                TrainerEvent::Step(report) => client.losses.extend(report.loss),
                TrainerEvent::Validation(report) => {
                    client.validations.push((report.loss, report.best));
                }
                TrainerEvent::CutGradient(gradient, _) => {
                    // The head's step is taken when the server's share is known.
                    client.close(gradient.gradient_square.unwrap_or(0.0));
                }
                TrainerEvent::Ask(ask) => {
                    assert!(!run.is_ready(), "a run that has asked is parked");
                    let answer = client.answer(ask);
                    run.answer(answer).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
    }
    Outcome {
        losses: client.losses,
        validations: client.validations,
        done: done.unwrap(),
    }
}

/// A run of 20 examples, half of them to validate.
pub(super) fn spec(
    labels: LabelPlace,
    bottom: BottomTraining,
    settings: &TrainSettings,
) -> JobSpec {
    let (batch, payload) = upload(0, 20, ROWS);
    let sent = |header: &ExampleHeader| ExampleHeader {
        label: header.label.filter(|_| labels == LabelPlace::Server),
        ..*header
    };
    let headers: Vec<_> = batch.examples.iter().map(sent).collect();
    let d_model = batch.activations.columns as usize;
    let store = ActivationStore::create(tempfile::tempdir().unwrap(), d_model).unwrap();
    match bottom {
        BottomTraining::Frozen => {
            store.append(&headers, batch.activations, &payload).unwrap();
        }
        BottomTraining::Lora => {
            store.append_headers(&headers).unwrap();
        }
    }
    let on_wire = TrainSettings {
        class_weights: match labels {
            LabelPlace::Server => settings.class_weights.clone(),
            LabelPlace::Client => Vec::new(),
        },
        ..settings.clone()
    };
    JobSpec {
        cut: CUT,
        n_classes: 2,
        adapter: adapter_settings(),
        settings: on_wire,
        labels,
        bottom,
        examples: Arc::new(store),
    }
}

/// A run that has not taken a step, and its client.
pub(super) fn begin(spec: JobSpec, settings: &TrainSettings) -> (Run, Client) {
    let reference = Reference::open("bert-shaped", None, Device::flex());
    let (model, top, device) = (&reference.config, reference.top(CUT), Device::flex());
    let (batch, payload) = upload(0, 20, ROWS);
    let values = batch.activations.decode(&payload).unwrap();
    let labels = spec.labels;
    // What the run draws first: the client's head begins as the server's would.
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut init = ChaCha8Rng::from_rng(&mut rng);
    let lora = LoraConfig::try_from(&adapter_settings()).unwrap();
    let whole = Adapter::init(&lora, model, &top, CUT, 2, &mut init, &device);
    let head = TaskHead::new(&whole.part(ParameterName::is_head), model, settings);
    let rng = ChaCha8Rng::seed_from_u64(SEED);
    let run = Run::new(spec, model, top, &device, rng).unwrap();
    let client = Client {
        headers: batch.examples,
        values,
        d_model: model.d_model,
        head: (labels == LabelPlace::Client).then_some(head),
        schedule: Schedule::new(
            settings.learning_rate,
            settings.warmup_share,
            run.steps_total(),
        ),
        measurement: Measurement::new(2),
        ranking: Ranking::default(),
        patience: settings.patience,
        open: None,
        losses: Vec::new(),
        validations: Vec::new(),
    };
    (run, client)
}

pub(super) const ELSEWHERE: [(LabelPlace, BottomTraining); 3] = [
    (LabelPlace::Client, BottomTraining::Frozen),
    (LabelPlace::Server, BottomTraining::Lora),
    (LabelPlace::Client, BottomTraining::Lora),
];

fn assert_same(actual: &Outcome, expected: &Outcome, what: &str) {
    assert_eq!(actual.done, expected.done, "{what}");
    assert_eq!(actual.losses.len(), expected.losses.len(), "{what}");
    for (step, (actual, expected)) in actual.losses.iter().zip(&expected.losses).enumerate() {
        let difference = (actual / expected - 1.0).abs();
        assert!(
            difference < 1e-4,
            "{what}, step {step}: {actual} against {expected}"
        );
    }
    assert_eq!(
        actual.validations.len(),
        expected.validations.len(),
        "{what}"
    );
    for (actual, expected) in actual.validations.iter().zip(&expected.validations) {
        assert!(
            (actual.0 / expected.0 - 1.0).abs() < 1e-4,
            "{what}: {actual:?}"
        );
        assert_eq!(actual.1, expected.1, "{what}");
    }
}

/// Clipping acts in every step (a bound below every norm), sometimes, and never.
#[test]
fn a_run_is_the_same_wherever_its_labels_and_its_bottom_are() {
    for gradient_norm_max in [0.01, 1.0, 0.0] {
        let settings = settings(gradient_norm_max);
        let alone = train(LabelPlace::Server, BottomTraining::Frozen, &settings);
        assert_eq!((alone.losses.len(), alone.validations.len()), (12, 6));
        let (first, last) = (alone.losses[0], alone.losses[11]);
        assert!(
            (first / last - 1.0).abs() > 1e-2,
            "nothing was learned: {alone:?}"
        );
        for (labels, bottom) in ELSEWHERE {
            let together = train(labels, bottom, &settings);
            let what = format!("{labels:?}, {bottom:?}, bound {gradient_norm_max}");
            assert_same(&together, &alone, &what);
        }
    }
}

/// With a learning rate that moves nothing, no validation after the first is an improvement.
#[test]
fn patience_runs_out_wherever_the_labels_are() {
    let settings = TrainSettings {
        patience: 2,
        learning_rate: f32::MIN_POSITIVE,
        ..settings(1.0)
    };
    let alone = train(LabelPlace::Server, BottomTraining::Frozen, &settings);
    assert_eq!(alone.done.reason, DoneReason::StoppedEarly);
    assert_eq!(alone.validations.len(), 3);
    for (labels, bottom) in ELSEWHERE {
        let together = train(labels, bottom, &settings);
        assert_eq!(together.done, alone.done, "{labels:?}, {bottom:?}");
    }
}

#[test]
fn a_parked_run_takes_one_answer_of_the_right_kind() {
    let settings = settings(1.0);
    let (mut run, mut client) = begin(
        spec(LabelPlace::Client, BottomTraining::Frozen, &settings),
        &settings,
    );
    let turn = run.turn().unwrap();
    let [TrainerEvent::Ask(ask)] = &turn.events[..] else {
        panic!("{turn:?}")
    };
    let wrong = run.answer(Answer::Verdict(Judgement::Best));
    assert!(matches!(wrong, Err(TrainerError::NotAwaited)), "{wrong:?}");
    assert!(!run.is_ready());
    let answer = client.answer(ask.clone());
    run.answer(answer.clone()).unwrap();
    let again = run.answer(answer);
    assert!(matches!(again, Err(TrainerError::NotAwaited)), "{again:?}");
    assert!(run.is_ready());
    // A run that is let go of while it is parked has an end all the same.
    let done = run.done(DoneReason::Cancelled);
    assert_eq!((done.steps, done.reason), (0, DoneReason::Cancelled));
}

/// Every batch of a pass has as many examples as every other; the last takes what is left.
#[test]
fn batches_tell_nothing_by_their_size() {
    let settings = settings(1.0);
    let (mut run, mut client) = begin(
        spec(LabelPlace::Server, BottomTraining::Lora, &settings),
        &settings,
    );
    let mut sizes = [Vec::new(), Vec::new()];
    loop {
        let turn = run.turn().unwrap();
        for event in turn.events {
            if let TrainerEvent::Ask(ask) = event {
                if let Ask::Activations { batch, .. } = &ask {
                    let validates = usize::from(batch.split == Split::Validation);
                    sizes[validates].push(batch.example_ids.len());
                }
                let answer = client.answer(ask);
                run.answer(answer).unwrap();
            }
        }
        if turn.done.is_some() {
            break;
        }
    }
    assert_eq!(sizes[0], [3, 3, 3, 1].repeat(3));
    assert_eq!(sizes[1], [3, 3, 3, 1].repeat(6));
}

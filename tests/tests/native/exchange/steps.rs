//! The step code of both sides, wired together without a socket, against PyTorch and peft.
//!
//! What would break these: a wrong half of the head, a gradient that is not that of the loss, padding
//! in the wrong place, two optimizers that do not follow one schedule, norms that are not one norm.

use burn::tensor::{Device, Tensor};
use client_wasm::bottom_adapter::BottomAdapter;
use client_wasm::head::TaskHead;
use futures_util::FutureExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use server::trainer::ActivationBatch;
use server::trainer::step::{BatchGradients, DeviceBatch, OpenPass, gradients, logits};
use shared::adapter::{
    Adapter, AdapterOptimizer, LoraConfig, ParameterName, Schedule, Target, gradient_square,
};
use shared::model::CutActivations;
use shared::protocol::exchange::Square;
use shared::protocol::message::{CutGradient, LabelPlace, TrainSettings};
use shared::protocol::tensor::ActivationDtype;
use tests::reference::{Reference, ReferenceBatch, numbers, relative_difference};

const TOLERANCE: f32 = 1e-4;

const FAMILIES: [&str; 3] = ["bert-shaped", "roberta-shaped", "distilbert-shaped"];

fn shaped(name: &str) -> Reference {
    Reference::open(name, None, Device::flex())
}

/// The result of something that the processor computes, which does not wait.
fn now<V, E: std::fmt::Debug>(future: impl Future<Output = Result<V, E>>) -> V {
    future.now_or_never().unwrap().unwrap()
}

fn number(tensor: Option<Tensor<1>>) -> f32 {
    numbers(tensor.unwrap())[0]
}

fn settings(reference: &Reference) -> TrainSettings {
    TrainSettings {
        epochs: 1,
        batch_size: 4,
        learning_rate: 1e-3,
        warmup_share: 0.2,
        weight_decay: 0.01,
        gradient_norm_max: 1.0,
        class_weights: reference.class_weights(),
        patience: 0,
        validations_per_epoch: 1,
    }
}

/// Block of a matrix, if it stands in one.
fn layer(name: &ParameterName) -> Option<usize> {
    match name {
        ParameterName::LoraA { layer, .. } | ParameterName::LoraB { layer, .. } => Some(*layer),
        _ => None,
    }
}

/// An adapter in its three parts: in the bottom, in the top, in the head.
struct Parts {
    bottom: Adapter,
    top: Adapter,
    head: Adapter,
}

impl Parts {
    fn of(whole: &Adapter, cut: usize) -> Self {
        let below = |name: &ParameterName| layer(name).is_some_and(|layer| layer < cut);
        let above = |name: &ParameterName| layer(name).is_some_and(|layer| layer >= cut);
        Self {
            bottom: whole.part(below),
            top: whole.part(above),
            head: whole.part(ParameterName::is_head),
        }
    }

    /// What the server trains: the top, and the head where labels travel.
    fn at_server(&self, labels: LabelPlace) -> Adapter {
        let heads = match labels {
            LabelPlace::Server => Some(&self.head),
            LabelPlace::Client => None,
        };
        let of = |adapter: &Adapter| -> Vec<(ParameterName, Tensor<2>)> {
            let matrices = adapter.parameters().iter().cloned();
            adapter.names().zip(matrices).collect()
        };
        let matrices = of(&self.top)
            .into_iter()
            .chain(heads.map(of).unwrap_or_default());
        Adapter::from_parameters(self.top.config(), matrices)
    }
}

/// Both sides of a run; the bottom has an adapter from cut 1 on.
struct TwoSides<'a> {
    reference: &'a Reference,
    cut: usize,
    settings: TrainSettings,
    bottom: BottomAdapter,
    head: Option<TaskHead>,
    top: Adapter,
    optimizer: AdapterOptimizer,
}

/// What one step let out.
struct Seen {
    loss: f32,
    activations: CutActivations,
    pooled_gradient: Option<Vec<f32>>,
    cut_gradient: Vec<f32>,
}

impl<'a> TwoSides<'a> {
    fn new(reference: &'a Reference, whole: &Adapter, cut: usize, labels: LabelPlace) -> Self {
        let settings = settings(reference);
        let parts = Parts::of(whole, cut);
        let head = TaskHead::new(&parts.head, &reference.config, &settings);
        Self {
            reference,
            cut,
            bottom: BottomAdapter::new(parts.bottom.clone(), &settings),
            head: (labels == LabelPlace::Client).then_some(head),
            top: parts.at_server(labels),
            optimizer: AdapterOptimizer::new(&settings),
            settings,
        }
    }

    /// One step in the order of the protocol: batch, activations, pooled, its gradient, gradient at
    /// the cut, and both sides' steps.
    fn step(&mut self, batch: &ReferenceBatch, learning_rate: f64) -> Seen {
        let d_model = self.reference.config.d_model;
        let (bottom, top) = (
            self.reference.bottom(self.cut),
            self.reference.top(self.cut),
        );
        let tokens = self.reference.tokens(batch);
        let activations = now(self.bottom.forward(&bottom, &tokens, 0));
        let dtype = ActivationDtype::F32;
        let (tensor, payload) = activations.to_payload(dtype).unwrap();
        let arrived = ActivationBatch {
            values: tensor.decode(&payload).unwrap(),
            seq_lengths: activations.seq_lengths().to_vec(),
        };
        let padded = DeviceBatch::new(&arrived, d_model, &Device::flex()).leaf();
        let weights = &self.settings.class_weights;
        let (mut head_square, mut pooled_gradient) = (0.0, None);
        let (loss, gradients): (f32, BatchGradients) = match &mut self.head {
            None => gradients(&top, &self.top, &padded, &batch.labels, weights).unwrap(),
            Some(head) => {
                let pass = OpenPass::new(&top, &self.top, padded);
                let own = now(head.gradient(pass.pooled().unwrap(), &batch.labels));
                head_square = own.square.unwrap();
                pooled_gradient = Some(own.pooled.clone());
                (own.loss, pass.backward(own.pooled).unwrap())
            }
        };
        let top_square = number(gradient_square(&gradients.adapter));
        let written =
            CutGradient::write(1, dtype, d_model, &gradients.cut.unwrap(), Some(top_square));
        let (message, payload) = written.unwrap();
        let rows = u64::from(tensor.rows);
        let width = u32::try_from(d_model).unwrap();
        let cut_gradient = message
            .read(&payload, 1, rows, Square::Owed, width)
            .unwrap();
        let bottom_square = match self.cut {
            0 => 0.0, // no block, no adapter
            _ => now(self.bottom.backward(&cut_gradient)).unwrap(),
        };
        let at_client = head_square + bottom_square;
        let optimizer = &mut self.optimizer;
        self.top = optimizer.step(&self.top, gradients.adapter, at_client, learning_rate);
        self.bottom.step(top_square + head_square, learning_rate);
        if let Some(head) = &mut self.head {
            head.step(top_square + bottom_square, learning_rate);
        }
        Seen {
            loss,
            activations,
            pooled_gradient,
            cut_gradient,
        }
    }
}

/// The first ten losses of the unsplit run, whatever is where.
fn trains_as_pytorch(reference: &Reference, cut: usize, labels: LabelPlace) {
    let mut sides = TwoSides::new(reference, &reference.adapter(), cut, labels);
    let schedule = Schedule::new(1e-3, 0.2, 10);
    let batches = reference.training_batches();
    for ((step, batch), theirs) in (0..).zip(&batches).zip(reference.losses()) {
        let loss = sides.step(batch, schedule.learning_rate(step)).loss;
        assert!(
            (loss / theirs - 1.0).abs() < TOLERANCE,
            "cut {cut}, labels {labels:?}, step {step}: {loss} against {theirs}"
        );
    }
}

#[test]
fn a_trained_bottom_with_labels_at_the_server_trains_as_pytorch_at_every_cut() {
    for name in FAMILIES {
        let reference = shaped(name);
        for cut in 1..reference.config.n_layers {
            trains_as_pytorch(&reference, cut, LabelPlace::Server);
        }
    }
}

/// At cut 0 this is labels at the client alone.
#[test]
fn labels_at_the_client_train_as_pytorch_at_every_cut() {
    for name in FAMILIES {
        let reference = shaped(name);
        for cut in 0..reference.config.n_layers {
            trains_as_pytorch(&reference, cut, LabelPlace::Client);
        }
    }
}

#[test]
fn a_head_at_the_client_gives_the_logits_of_a_head_at_the_server() {
    for name in FAMILIES {
        let reference = shaped(name);
        let batch = reference.batch();
        let whole = reference.adapter();
        for cut in 0..reference.config.n_layers {
            let parts = Parts::of(&whole, cut);
            let (bottom, top) = (reference.bottom(cut), reference.top(cut));
            let activations = reference.activations(&bottom, &batch);
            let at_server = parts.at_server(LabelPlace::Server);
            let expected = numbers(logits(&top, &at_server, &activations));
            let pass = OpenPass::new(&top, &parts.top, activations);
            let head = TaskHead::new(&parts.head, &reference.config, &settings(&reference));
            let scores = now(head.scores(pass.pooled().unwrap()));
            let difference = relative_difference(&scores, &expected);
            assert!(difference < TOLERANCE, "{name}, cut {cut}: {difference}");
        }
    }
}

/// The two ways to begin draw the same numbers: a head alone, and a head behind its adapter.
#[test]
fn a_head_begins_as_a_head_of_a_whole_adapter() {
    for name in FAMILIES {
        let reference = shaped(name);
        let lora = LoraConfig::new(2, 4.0, 0.0, [Target::Query]).unwrap();
        let (model, top, device) = (&reference.config, reference.top(1), Device::flex());
        let n_layers = model.n_layers;
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let blocks = Adapter::init_lora(&lora, model, 1..n_layers, &mut rng, &device);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let whole = Adapter::init(&lora, model, &top, 1, 2, &mut rng, &device);
        let same = whole.part(|name| !name.is_head());
        assert_eq!(blocks.parameters().len(), same.parameters().len());
        for (ours, theirs) in blocks.parameters().iter().zip(same.parameters()) {
            assert_eq!(numbers(ours.clone()), numbers(theirs.clone()));
        }
        let dense = top.head().trains_dense();
        let head = Adapter::init_head(&lora, model, dense, 2, &mut rng, &device);
        let shapes = |adapter: &Adapter| -> Vec<_> {
            let dims = adapter.parameters().iter().map(|matrix| matrix.dims());
            adapter.names().zip(dims.collect::<Vec<_>>()).collect()
        };
        assert_eq!(shapes(&head), shapes(&whole.part(ParameterName::is_head)));
    }
}

/// Gradient matching reads zeros first (method.md, section 4, GRAD): a row that is exactly zero says
/// that a position is padding, or that an example has no part in the loss. None travels, not even
/// in the first step, in which every product of factors is zero.
#[test]
fn zero_pattern() {
    for name in FAMILIES {
        let reference = shaped(name);
        let d_model = reference.config.d_model;
        let (model, device) = (&reference.config, Device::flex());
        let lora = LoraConfig::new(4, 8.0, 0.0, [Target::Query, Target::Value]).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let n_classes = reference.n_classes();
        let first = Adapter::init(
            &lora,
            model,
            &reference.top(0),
            0,
            n_classes,
            &mut rng,
            &device,
        );
        let schedule = Schedule::new(1e-3, 0.0, 10);
        for cut in 1..model.n_layers {
            let mut sides = TwoSides::new(&reference, &first, cut, LabelPlace::Client);
            for (step, batch) in (0..3).zip(&reference.training_batches()) {
                let seen = sides.step(batch, schedule.learning_rate(step));
                let lengths = seen.activations.seq_lengths();
                let real: usize = lengths.iter().map(|length| usize::from(*length)).sum();
                let longest = lengths
                    .iter()
                    .max()
                    .map_or(0, |length| usize::from(*length));
                assert!(
                    real < longest * lengths.len(),
                    "the batch has no padding to hide"
                );
                let narrow =
                    CutGradient::write(1, ActivationDtype::F16, d_model, &seen.cut_gradient, None);
                let (message, payload) = narrow.unwrap();
                let narrow = message.gradient.decode(&payload).unwrap();
                let pooled = seen.pooled_gradient.unwrap();
                let tensors: [(&str, &[f32], usize); 4] = [
                    ("activations", seen.activations.values(), real),
                    ("cut gradient", &seen.cut_gradient, real),
                    ("cut gradient in f16", &narrow, real),
                    ("pooled gradient", &pooled, lengths.len()),
                ];
                for (what, values, rows) in tensors {
                    assert_eq!(values.len(), rows * d_model, "{what} has padding");
                    let zero = |row: &[f32]| row.iter().all(|value| *value == 0.0);
                    let zeros = values.chunks_exact(d_model).filter(|row| zero(row)).count();
                    assert_eq!(zeros, 0, "{name}, cut {cut}, step {step}: {what}");
                }
            }
        }
    }
}

//! The factors of a low-rank adapter, and the task head, as one list of matrices.
//!
//! One list, because an optimizer, a checkpoint and a file all walk over it in the same order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::config::{LoraConfig, Target};
use super::dropout::Dropout;
use super::name::ParameterName;
use crate::model::{HeadLayer, ModelConfig, TopModel, rows_times};

/// What is trained on one side of a session: everything, or the side's share.
#[derive(Debug, Clone)]
pub struct Adapter {
    config: LoraConfig,
    index: Arc<BTreeMap<ParameterName, usize>>,
    parameters: Vec<Tensor<2>>,
    dropout_seed: Option<u64>,
}

/// The factors beside one projection.
#[derive(Debug)]
pub struct Lora<'a> {
    a: &'a Tensor<2>,
    b: &'a Tensor<2>,
    scale: f32,
    dropout: Option<Dropout>,
}

impl Lora<'_> {
    /// `(alpha / rank) (x A) B`, with dropout on x in training.
    ///
    /// # Shapes
    ///
    /// - x: `[batch, seq, d_in]`
    /// - output: `[batch, seq, d_out]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = match self.dropout {
            Some(dropout) => dropout.forward(x),
            None => x,
        };
        let inner = rows_times(x, self.a.clone(), None); // [batch, seq, rank]
        rows_times(inner.mul_scalar(self.scale), self.b.clone(), None)
    }

    /// `[d_in, rank]` and `[rank, d_out]`.
    pub(crate) fn factors(&self) -> [&Tensor<2>; 2] {
        [self.a, self.b]
    }

    /// `alpha / rank`
    pub(crate) fn scale(&self) -> f32 {
        self.scale
    }

    /// In training, where there is any.
    pub(crate) fn dropout(&self) -> Option<Dropout> {
        self.dropout
    }

    /// The same without dropout, for an x that has gone through it.
    pub(crate) fn without_dropout(&self) -> Self {
        Self {
            dropout: None,
            ..*self
        }
    }
}

impl Adapter {
    /// A new adapter with its head: A uniform in `+-1/sqrt(d_in)` (as PEFT), B zero, so that it
    /// changes nothing yet; the head as the model file has it, else normal with deviation 0.02 and
    /// bias zero.
    pub fn init(
        config: &LoraConfig,
        model: &ModelConfig,
        top: &TopModel,
        first_layer: usize,
        n_classes: usize,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let shapes = shapes(config, model, top, first_layer, n_classes);
        let stored = |name: &ParameterName, shape| {
            let stored = top.head().stored(name, shape);
            stored.map(|tensor| tensor.to_device(device))
        };
        Self::drawn(config, shapes, stored, rng, device)
    }

    /// A new adapter in some blocks, without a head; drawn as [`Self::init`] draws the factors.
    pub fn init_lora(
        config: &LoraConfig,
        model: &ModelConfig,
        layers: Range<usize>,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let shapes = lora_shapes(config, model, layers);
        Self::drawn(config, shapes, |_, _| None, rng, device)
    }

    /// A new head without an adapter in any block, for a side that has no model file to take it
    /// from; drawn as [`Self::init`] draws it. `trains_dense` as `ClassificationHead` says.
    pub fn init_head(
        config: &LoraConfig,
        model: &ModelConfig,
        trains_dense: bool,
        n_classes: usize,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let shapes = head_shapes(model, trains_dense, n_classes);
        Self::drawn(config, shapes, |_, _| None, rng, device)
    }

    fn drawn(
        config: &LoraConfig,
        shapes: Vec<(ParameterName, [usize; 2])>,
        stored: impl Fn(&ParameterName, [usize; 2]) -> Option<Tensor<2>>,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let parameters = shapes.into_iter().map(|(name, shape)| {
            let tensor = stored(&name, shape).unwrap_or_else(|| {
                let values = initial_values(&name, shape, rng);
                Tensor::from_data(TensorData::new(values, shape), device)
            });
            (name, tensor)
        });
        Self::from_parameters(config, parameters)
    }

    /// An adapter of given matrices. What a forward pass needs and is not among them is taken as
    /// absent.
    pub fn from_parameters(
        config: &LoraConfig,
        parameters: impl IntoIterator<Item = (ParameterName, Tensor<2>)>,
    ) -> Self {
        let sorted: BTreeMap<_, _> = parameters.into_iter().collect();
        let index = sorted.keys().copied().zip(0..).collect();
        Self {
            config: config.clone(),
            index: Arc::new(index),
            parameters: sorted.into_values().collect(),
            dropout_seed: None,
        }
    }

    /// The settings.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// Names of the matrices, in the order of [`Self::parameters`].
    pub fn names(&self) -> impl Iterator<Item = ParameterName> + '_ {
        self.index.keys().copied()
    }

    /// The matrices.
    pub fn parameters(&self) -> &[Tensor<2>] {
        &self.parameters
    }

    /// The same adapter with every matrix replaced.
    pub fn map(&self, change: impl FnMut(&Tensor<2>) -> Tensor<2>) -> Self {
        Self {
            parameters: self.parameters.iter().map(change).collect(),
            ..self.clone()
        }
    }

    /// The matrices with these names, as an adapter of their own.
    pub fn part(&self, belongs: impl Fn(&ParameterName) -> bool) -> Self {
        let parameters = self.names().zip(self.parameters.iter().cloned());
        Self::from_parameters(&self.config, parameters.filter(|(name, _)| belongs(name)))
    }

    /// The same matrices as leaves of a new graph, so that a backward pass gives their gradients.
    pub fn leaves(&self) -> Self {
        self.map(|parameter| parameter.clone().autodiff().require_grad())
    }

    /// Takes the gradients of these leaves, in the order of [`Self::parameters`]; none if one is
    /// missing.
    pub fn take_gradients(&self, gradients: &mut Gradients) -> Option<Vec<Tensor<2>>> {
        let own = self.parameters.iter();
        own.map(|leaf| leaf.grad_remove(gradients)).collect()
    }

    /// The same adapter in training mode: its dropout masks are drawn from `seed`.
    pub fn with_dropout_seed(&self, seed: u64) -> Self {
        let on = self.config.dropout() > 0.0;
        Self {
            dropout_seed: on.then_some(seed),
            ..self.clone()
        }
    }

    /// The factors beside a projection, if it has any.
    pub fn lora(&self, layer: usize, target: Target) -> Option<Lora<'_>> {
        Some(Lora {
            a: self.get(&ParameterName::LoraA { layer, target })?,
            b: self.get(&ParameterName::LoraB { layer, target })?,
            scale: self.config.scale(),
            dropout: self.dropout_seed.map(|seed| {
                let place = (layer as u64) << 8 | target as u64;
                Dropout {
                    probability: self.config.dropout(),
                    seed: seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                }
            }),
        })
    }

    /// The trained dense layer of the head, where the family trains it.
    pub fn head_dense(&self) -> Option<HeadLayer> {
        Some(HeadLayer {
            weight: self.get(&ParameterName::HeadDenseWeight)?.clone(),
            bias: self.get(&ParameterName::HeadDenseBias)?.clone(),
        })
    }

    /// The classifier.
    ///
    /// # Panics
    ///
    /// When the adapter was built without one: only the side that has the head asks.
    pub fn classifier(&self) -> HeadLayer {
        let get = |name| {
            self.get(&name)
                .expect("every adapter has a classifier")
                .clone()
        };
        HeadLayer {
            weight: get(ParameterName::ClassifierWeight),
            bias: get(ParameterName::ClassifierBias),
        }
    }

    fn get(&self, name: &ParameterName) -> Option<&Tensor<2>> {
        self.index.get(name).map(|at| &self.parameters[*at])
    }
}

/// Names and shapes of everything that is trained above a cut.
pub(super) fn shapes(
    config: &LoraConfig,
    model: &ModelConfig,
    top: &TopModel,
    first_layer: usize,
    n_classes: usize,
) -> Vec<(ParameterName, [usize; 2])> {
    let mut shapes = lora_shapes(config, model, first_layer..model.n_layers);
    shapes.extend(head_shapes(model, top.head().trains_dense(), n_classes));
    shapes
}

fn lora_shapes(
    config: &LoraConfig,
    model: &ModelConfig,
    layers: Range<usize>,
) -> Vec<(ParameterName, [usize; 2])> {
    let mut shapes = Vec::new();
    for layer in layers {
        for target in config.targets() {
            let [d_in, d_out] = match target {
                Target::FeedForwardUp => [model.d_model, model.d_ff],
                Target::FeedForwardDown => [model.d_ff, model.d_model],
                _ => [model.d_model, model.d_model],
            };
            let [a, b] = [[d_in, config.rank()], [config.rank(), d_out]];
            shapes.push((ParameterName::LoraA { layer, target }, a));
            shapes.push((ParameterName::LoraB { layer, target }, b));
        }
    }
    shapes
}

fn head_shapes(
    model: &ModelConfig,
    trains_dense: bool,
    n_classes: usize,
) -> Vec<(ParameterName, [usize; 2])> {
    let d_model = model.d_model;
    let mut shapes = Vec::new();
    if trains_dense {
        shapes.push((ParameterName::HeadDenseWeight, [d_model, d_model]));
        shapes.push((ParameterName::HeadDenseBias, [1, d_model]));
    }
    shapes.push((ParameterName::ClassifierWeight, [d_model, n_classes]));
    shapes.push((ParameterName::ClassifierBias, [1, n_classes]));
    shapes
}

fn initial_values(name: &ParameterName, shape: [usize; 2], rng: &mut ChaCha8Rng) -> Vec<f32> {
    let count = shape[0] * shape[1];
    let mut uniform = || f64::from(rng.next_u32()) / f64::from(u32::MAX);
    match name {
        ParameterName::LoraA { .. } => {
            let bound = 1.0 / (shape[0] as f64).sqrt();
            (0..count)
                .map(|_| ((2.0 * uniform() - 1.0) * bound) as f32)
                .collect()
        }
        ParameterName::HeadDenseWeight | ParameterName::ClassifierWeight => {
            // Box-Muller; Source: Annals of Mathematical Statistics 29 (1958), page 610.
            let mut normal = || {
                let radius = (-2.0 * (1.0 - uniform() * 0.999_999).ln()).sqrt();
                (0.02 * radius * (std::f64::consts::TAU * uniform()).cos()) as f32
            };
            (0..count).map(|_| normal()).collect()
        }
        _ => vec![0.0; count],
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn matrix<const R: usize, const C: usize>(values: [[f32; C]; R]) -> Tensor<2> {
        Tensor::from_floats(values, &Device::flex())
    }

    #[test]
    fn the_product_of_the_factors_is_scaled_by_alpha_over_rank() {
        let config = LoraConfig::new(1, 3.0, 0.0, [Target::Query]).unwrap();
        let (layer, target) = (0, Target::Query);
        let adapter = Adapter::from_parameters(
            &config,
            [
                (
                    ParameterName::LoraA { layer, target },
                    matrix([[1.0], [2.0]]),
                ),
                (ParameterName::LoraB { layer, target }, matrix([[5.0, 0.0]])),
            ],
        );
        let x = matrix([[1.0, 1.0]]).unsqueeze::<3>();
        let y = adapter.lora(0, Target::Query).unwrap().forward(x);
        assert_eq!(y.into_data().try_to_vec::<f32>().unwrap(), [45.0, 0.0]); // 3 * (1 + 2) * 5
        assert!(adapter.lora(1, Target::Query).is_none());
    }

    #[test]
    fn an_adapter_in_parts_has_every_matrix_once() {
        let config = LoraConfig::new(1, 1.0, 0.0, [Target::Query]).unwrap();
        let (layer, target) = (0, Target::Query);
        let whole = Adapter::from_parameters(
            &config,
            [
                (ParameterName::LoraA { layer, target }, matrix([[1.0]])),
                (ParameterName::LoraB { layer, target }, matrix([[2.0]])),
                (ParameterName::ClassifierWeight, matrix([[3.0]])),
                (ParameterName::ClassifierBias, matrix([[4.0]])),
            ],
        );
        let (head, blocks) = (
            whole.part(ParameterName::is_head),
            whole.part(|name| !name.is_head()),
        );
        let values = |adapter: &Adapter| -> Vec<f32> {
            let own = adapter.parameters().iter().cloned();
            own.map(Tensor::into_scalar).collect()
        };
        assert_eq!(
            (values(&head), values(&blocks)),
            (vec![3.0, 4.0], vec![1.0, 2.0])
        );
        assert_eq!(head.classifier().weight.dims(), [1, 1]);
        assert!(head.lora(0, target).is_none() && blocks.lora(0, target).is_some());
    }

    #[test]
    fn a_leaf_has_the_gradient_of_what_was_made_of_it() {
        let config = LoraConfig::new(1, 1.0, 0.0, [Target::Query]).unwrap();
        let parameters = [(ParameterName::ClassifierBias, matrix([[2.0, 3.0]]))];
        let leaves = Adapter::from_parameters(&config, parameters).leaves();
        let bias = leaves.parameters()[0].clone();
        let mut gradients = (bias.clone() * bias).sum().backward(); // d(x^2) = 2 x
        let own = leaves.take_gradients(&mut gradients).unwrap();
        assert_eq!(
            own[0].clone().into_data().try_to_vec::<f32>().unwrap(),
            [4.0, 6.0]
        );
        assert!(leaves.take_gradients(&mut gradients).is_none()); // they were taken
    }
}

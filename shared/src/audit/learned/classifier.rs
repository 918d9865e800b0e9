//! From a feature vector to a class, learnt from labelled examples.

use burn::tensor::{Device, Tensor};
use rand::seq::SliceRandom;

use super::features::{Features, Scaler};
use super::loss::cross_entropy;
use super::readout::Hidden;
use super::training::{Descent, LEARNING_RATE};
use super::{generator, normal, read};
use crate::audit::AuditError;

/// What lies between features and classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Architecture {
    /// Nothing: logistic regression.
    Linear,
    /// One hidden layer of this width with ReLU.
    Hidden(usize),
}

/// Labelled examples of the attacker.
#[derive(Clone, Copy)]
pub(crate) struct Labelled<'a> {
    /// One vector an example.
    pub(crate) features: &'a Features,
    /// One class an example.
    pub(crate) classes: &'a [u32],
    /// Number of classes.
    pub(crate) n_classes: usize,
}

/// Steps of a training, rounded up to whole passes; the pass with the best held-out loss counts.
/// 40 passes over a thousand examples.
const STEPS: usize = 1000;

/// Examples of a step.
const BATCH: usize = 32;

/// One labelled example in this many is held out to choose the pass.
const HELD_OUT: usize = 5;

/// A trained classifier.
pub(crate) struct Classifier {
    architecture: Architecture,
    matrices: Vec<Tensor<2>>,
    scaler: Scaler,
    device: Device,
}

impl Classifier {
    /// Trains with AdamW on four fifths of the examples and keeps the matrices of the pass after
    /// which the other fifth costs least.
    ///
    /// # Errors
    ///
    /// When there are fewer than two classes or no examples, or the device fails.
    pub(crate) fn train(
        labelled: Labelled<'_>,
        architecture: Architecture,
        seed: u64,
        device: &Device,
        progress: &dyn Fn(f64),
    ) -> Result<Self, AuditError> {
        let count = labelled.features.len().min(labelled.classes.len());
        if count < HELD_OUT || labelled.n_classes < 2 {
            return Err(AuditError::NotApplicable {
                reason: "the attacker has too few labelled examples",
            });
        }
        let mut rng = generator(seed, 7);
        let scaler = Scaler::of(labelled.features);
        let features = scaler.apply(labelled.features.clone());
        let mut order: Vec<usize> = (0..count).collect();
        order.shuffle(&mut rng);
        let (held_out, training) = order.split_at_mut(count / HELD_OUT);
        let batch = |indices: &[usize]| {
            let classes = indices.iter().map(|at| labelled.classes[*at]);
            let x = features.select(indices).tensor(device);
            (x, classes.collect::<Vec<u32>>())
        };
        let (validation, validation_classes) = batch(held_out);

        let width = features.width();
        let mut matrices = match architecture {
            Architecture::Linear => Vec::new(),
            Architecture::Hidden(d_hidden) => Hidden::init(width, d_hidden, &mut rng, device),
        };
        let d_last = match architecture {
            Architecture::Linear => width,
            Architecture::Hidden(d_hidden) => d_hidden,
        };
        matrices.push(normal([d_last, labelled.n_classes], 0.02, &mut rng, device));
        matrices.push(Tensor::zeros([1, labelled.n_classes], device));

        let mut descent = Descent::new(LEARNING_RATE);
        let mut best = (f32::INFINITY, matrices.clone());
        let epochs = STEPS.div_ceil(training.len().div_ceil(BATCH));
        for epoch in 0..epochs {
            training.shuffle(&mut rng);
            let done = epoch as f64 / epochs as f64;
            for indices in training.chunks(BATCH) {
                let (x, classes) = batch(indices);
                descent.step(&mut matrices, done, |leaves| {
                    cross_entropy(logits(architecture, leaves, x), &classes)
                })?;
            }
            let scores = logits(architecture, &matrices, validation.clone());
            let loss = cross_entropy(scores, &validation_classes)?.value;
            if loss < best.0 {
                best = (loss, matrices.clone());
            }
            progress((epoch + 1) as f64 / epochs as f64);
        }
        Ok(Self {
            architecture,
            matrices: best.1,
            scaler,
            device: device.clone(),
        })
    }

    /// A score of each class, larger for more likely, one list an example.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub(crate) fn scores(&self, features: Features) -> Result<Vec<Vec<f32>>, AuditError> {
        if features.len() == 0 {
            return Ok(Vec::new());
        }
        let x = self.scaler.apply(features).tensor(&self.device);
        let logits = logits(self.architecture, &self.matrices, x);
        let [_, n_classes] = logits.dims();
        let scores = read(logits)?;
        Ok(scores
            .chunks_exact(n_classes)
            .map(<[f32]>::to_vec)
            .collect())
    }
}

/// `[examples, n_classes]`
fn logits(architecture: Architecture, matrices: &[Tensor<2>], x: Tensor<2>) -> Tensor<2> {
    const REASON: &str = "a classifier keeps the matrices it was built with";
    let (inner, last) = match architecture {
        Architecture::Linear => (x, matrices),
        Architecture::Hidden(_) => {
            let (hidden, last) = matrices.split_first_chunk().expect(REASON);
            (Hidden::forward(hidden, x), last)
        }
    };
    let [weight, bias] = last.first_chunk().expect(REASON);
    inner.matmul(weight.clone()) + bias.clone()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    /// Points of four corners; the class is whether the signs agree, which no line separates.
    fn corners(count: usize, seed: u64) -> (Features, Vec<u32>) {
        let mut rng = generator(seed, 0);
        let mut corner = |side: usize| -> f32 {
            let noise: f64 = StandardNormal.sample(&mut rng);
            (2.0 * side as f64 - 1.0 + 0.2 * noise) as f32
        };
        let sides = |at: usize| (at % 2, at / 2 % 2);
        let points = (0..count).map(sides);
        let rows: Vec<Vec<f32>> = points
            .clone()
            .map(|(a, b)| vec![corner(a), corner(b)])
            .collect();
        let classes = points.map(|(a, b)| u32::from(a == b)).collect();
        (Features::of_rows(&rows), classes)
    }

    fn accuracy(architecture: Architecture) -> f64 {
        let (features, classes) = corners(400, 1);
        let labelled = Labelled {
            features: &features,
            classes: &classes,
            n_classes: 2,
        };
        let device = Device::flex();
        let classifier = Classifier::train(labelled, architecture, 3, &device, &|_| ()).unwrap();
        let (features, classes) = corners(200, 2);
        let scores = classifier.scores(features).unwrap();
        let right = scores.iter().zip(&classes);
        let right = right.filter(|(s, class)| u32::from(s[1] > s[0]) == **class);
        right.count() as f64 / 200.0
    }

    /// Fails when the hidden layer is not trained, or classes and rows are mixed up.
    #[test]
    fn a_hidden_layer_learns_what_a_line_cannot() {
        let hidden = accuracy(Architecture::Hidden(32));
        assert!(hidden > 0.97, "{hidden}");
        let linear = accuracy(Architecture::Linear);
        assert!(linear < 0.8, "{linear}");
    }

    #[test]
    fn one_class_is_not_enough() {
        let (features, classes) = corners(40, 1);
        let labelled = Labelled {
            features: &features,
            classes: &classes,
            n_classes: 1,
        };
        let trained =
            Classifier::train(labelled, Architecture::Linear, 3, &Device::flex(), &|_| ());
        assert!(matches!(trained, Err(AuditError::NotApplicable { .. })));
    }
}

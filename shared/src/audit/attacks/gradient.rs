//! GRAD: the tokens of one example, from the gradient of the adapter that stands in the bottom.
//!
//! Not a line of the table of attacks: it attacks a single step of a training in which the
//! adapter's gradients leave the client, and needs that step's adapter and label. Meant for small
//! models and few tokens; what it finds there, it would find elsewhere with more work.

use burn::tensor::activation::softmax;
use burn::tensor::{Int, Tensor, TensorData};

use crate::adapter::{Adapter, ParameterName};
use crate::audit::AuditError;
use crate::audit::learned::loss::{Loss, cross_entropy};
use crate::audit::learned::training::Descent;
use crate::audit::learned::{generator, matrix, normal, read};
use crate::model::{BottomModel, DeviceFailed, Sequences, TopModel};
use crate::text::TokenIds;

/// Iterations of the search.
const ITERATIONS: usize = 300;

/// Peak learning rate of the search: Z must reach differences of about 5 in these iterations.
const LEARNING_RATE: f64 = 0.1;

/// Length of the step of the central difference, in the space of the adapter's matrices.
const STEP: f64 = 0.01;

/// One step of a training, as the attacker knows it. Whoever owns the model has both halves at cut
/// 0, wherever the client cuts.
#[derive(Clone, Copy)]
pub struct TrainingStep<'a> {
    /// The embeddings: a bottom that is cut at 0.
    pub embeddings: &'a BottomModel,
    /// All blocks and the head: the top behind cut 0.
    pub blocks: &'a TopModel,
    /// All trained matrices before the step.
    pub adapter: &'a Adapter,
    /// Blocks of the client. The gradients of every LoRA B in them were seen.
    pub cut: usize,
    /// The label of the example; try each where it is not known.
    pub label: u32,
}

impl std::fmt::Debug for TrainingStep<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TrainingStep({} blocks of the client)", self.cut)
    }
}

/// What the search found.
#[derive(Clone, PartialEq)]
pub struct Inverted {
    /// The likeliest token of every position that was looked for, in order.
    pub tokens: Vec<u32>,
    /// `1 - cosine` of the observed gradient and that of the relaxed tokens: 0 for a match. The
    /// smallest over several labels tells the label.
    pub distance: f64,
}

impl std::fmt::Debug for Inverted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Inverted({} tokens)", self.tokens.len())
    }
}

impl TrainingStep<'_> {
    /// The gradients that the client of this step computes for a text: those of every LoRA B in
    /// its blocks, one list a matrix.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn gradients(&self, text: &TokenIds) -> Result<Vec<Vec<f32>>, AuditError> {
        let words = rows(self.embeddings, text.ids());
        self.gradients_at(words)
    }

    /// Gradient matching: `minimise 1 - cos(g(softmax(Z) E), g)` over Z, g the observed gradients.
    ///
    /// `frame` gives the number of tokens and the special ones, which are no secret; its ordinary
    /// ids are not looked at. Guesses are among `candidates`.
    ///
    /// The slope of the distance needs second derivatives of the loss L. With v the slope of the
    /// distance in g, it is the derivative of `dL/dx` along v in the space of the matrices, here a
    /// central difference. Source: Deep Leakage from Gradients, arXiv 1906.08935, with the cosine
    /// of arXiv 2003.14053 and the tokens relaxed; the difference is that of DARTS, arXiv
    /// 1806.09055, equation 8.
    ///
    /// # Errors
    ///
    /// [`AuditError::NotApplicable`] when there is nothing to look for or the gradient is zero;
    /// [`AuditError::Answers`] when `observed` has other sizes than this step's gradients; or when
    /// the device fails.
    pub fn invert(
        &self,
        frame: &TokenIds,
        candidates: &[u32],
        observed: &[Vec<f32>],
        seed: u64,
    ) -> Result<Inverted, AuditError> {
        let search = Search::new(self, frame, candidates)?;
        let observed: Vec<f32> = observed.concat();
        let mut rng = generator(seed, 8);
        let device = self.embeddings.device();
        let mut z = vec![normal(search.shape(), 0.01, &mut rng, device)];
        let mut descent = Descent::new(LEARNING_RATE);
        let mut distance = 1.0;
        for iteration in 0..ITERATIONS {
            let words = search.words(&z[0]);
            let matching = Matching::of(&self.gradients_at(words.clone())?.concat(), &observed)?;
            distance = matching.distance;
            let slope = self.slope(&words, &matching)?;
            let done = iteration as f64 / ITERATIONS as f64;
            descent.step(&mut z, done, |leaves| {
                let surrogate = (search.words(&leaves[0]) * slope).sum();
                let value = distance as f32;
                Ok(Loss { value, surrogate })
            })?;
        }
        let z = read(z.remove(0))?;
        let tokens = z.chunks_exact(candidates.len()).map(|scores| {
            let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            best.map_or(candidates[0], |(at, _)| candidates[at])
        });
        Ok(Inverted {
            tokens: tokens.collect(),
            distance,
        })
    }

    /// Whether the gradient of a matrix was seen.
    fn seen(&self, name: ParameterName) -> bool {
        matches!(name, ParameterName::LoraB { layer, .. } if layer < self.cut)
    }

    /// The loss of an example that is given as rows of the embedding table, or mixtures of them.
    fn loss(&self, words: Tensor<3>, adapter: &Adapter) -> Result<Loss, AuditError> {
        let [_, seq, _] = words.dims();
        let device = self.embeddings.device();
        let sequences = Sequences::new(&[seq], device);
        let x = self.embeddings.forward_words(words);
        cross_entropy(self.blocks.forward(x, &sequences, adapter), &[self.label])
    }

    fn gradients_at(&self, words: Tensor<3>) -> Result<Vec<Vec<f32>>, AuditError> {
        let mut names = self.adapter.names();
        let leaves = self.adapter.map(|parameter| {
            let seen = names.next().is_some_and(|name| self.seen(name));
            if seen {
                parameter.clone().autodiff().require_grad()
            } else {
                parameter.clone()
            }
        });
        let mut gradients = self.loss(words, &leaves)?.surrogate.backward();
        let seen = leaves.names().zip(leaves.parameters());
        let seen = seen.filter(|(name, _)| self.seen(*name));
        seen.map(|(_, leaf)| {
            let gradient = leaf.grad_remove(&mut gradients).ok_or(DeviceFailed)?;
            Ok(read(gradient)?)
        })
        .collect()
    }

    /// `(dL/dx at matrices + e v - dL/dx at matrices - e v) / 2e`, `[1, seq, d_model]`.
    fn slope(&self, words: &Tensor<3>, matching: &Matching) -> Result<Tensor<3>, AuditError> {
        let size = STEP / matching.length.max(f64::MIN_POSITIVE);
        let at = |size: f64| {
            let leaf = words.clone().autodiff().require_grad();
            let loss = self.loss(leaf.clone(), &self.moved(&matching.slope, size))?;
            let mut gradients = loss.surrogate.backward();
            let gradient = leaf.grad_remove(&mut gradients);
            gradient.ok_or(AuditError::from(DeviceFailed))
        };
        Ok((at(size)? - at(-size)?).div_scalar(2.0 * size))
    }

    /// The adapter with `size` times a direction added to the matrices that were seen.
    fn moved(&self, direction: &[f64], size: f64) -> Adapter {
        let mut names = self.adapter.names();
        let mut rest = direction;
        self.adapter.map(|parameter| {
            let seen = names.next().is_some_and(|name| self.seen(name));
            if !seen {
                return parameter.clone();
            }
            let shape = parameter.dims();
            let (own, others) = rest.split_at(shape.iter().product());
            rest = others;
            let step = own.iter().map(|value| (value * size) as f32).collect();
            parameter.clone() + matrix(step, shape, self.embeddings.device())
        })
    }
}

/// How far two gradients are from each other, and where that grows.
struct Matching {
    distance: f64,
    slope: Vec<f64>, // d distance / d own
    length: f64,     // of the slope
}

impl Matching {
    /// `1 - cos(own, observed)` and its slope in `own`:
    /// `<own, observed> own / (|own|^3 |observed|) - observed / (|own| |observed|)`.
    fn of(own: &[f32], observed: &[f32]) -> Result<Self, AuditError> {
        if own.len() != observed.len() {
            return Err(AuditError::Answers {
                of: "numbers of a gradient",
                expected: own.len(),
                actual: observed.len(),
            });
        }
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
            products.sum()
        };
        let (square, product) = (dot(own, own), dot(own, observed));
        let lengths = (square * dot(observed, observed)).sqrt();
        if lengths == 0.0 || !lengths.is_finite() {
            return Err(AuditError::NotApplicable {
                reason: "the gradient says nothing: it is zero",
            });
        }
        let both = own.iter().zip(observed);
        let slope = both.map(|(own, observed)| {
            (product / square * f64::from(*own) - f64::from(*observed)) / lengths
        });
        let slope: Vec<f64> = slope.collect();
        let length = slope.iter().map(|value| value * value).sum::<f64>().sqrt();
        Ok(Self {
            distance: 1.0 - product / lengths,
            slope,
            length,
        })
    }
}

/// Where candidates stand among the special tokens.
struct Search {
    table: Tensor<2>, // [candidates, d_model]
    fixed: Tensor<2>, // [seq, d_model], zero where a token is looked for
    place: Tensor<2>, // [seq, looked for], one at the place of each
}

impl Search {
    fn new(
        step: &TrainingStep<'_>,
        frame: &TokenIds,
        candidates: &[u32],
    ) -> Result<Self, AuditError> {
        let device = step.embeddings.device();
        let seq = frame.len();
        let wanted: Vec<usize> = (0..seq).filter(|at| !frame.special()[*at]).collect();
        if wanted.is_empty() || candidates.is_empty() {
            return Err(AuditError::NotApplicable {
                reason: "there is no token to look for",
            });
        }
        let mut place = vec![0.0; seq * wanted.len()];
        for (column, row) in wanted.iter().enumerate() {
            place[row * wanted.len() + column] = 1.0;
        }
        let special = frame.special().iter().map(|s| f32::from(u8::from(*s)));
        let special = matrix(special.collect(), [seq, 1], device);
        let [_, _, d_model] = rows(step.embeddings, &candidates[..1]).dims();
        let table = rows(step.embeddings, candidates).reshape([candidates.len(), d_model]);
        // The ordinary ids of the frame are multiplied by zero.
        let fixed = rows(step.embeddings, frame.ids()).reshape([seq, d_model]) * special;
        Ok(Self {
            table,
            fixed,
            place: matrix(place, [seq, wanted.len()], device),
        })
    }

    /// Of Z: tokens looked for, candidates.
    fn shape(&self) -> [usize; 2] {
        [self.place.dims()[1], self.table.dims()[0]]
    }

    /// The relaxed example, `[1, seq, d_model]`.
    fn words(&self, z: &Tensor<2>) -> Tensor<3> {
        let mixed = softmax(z.clone(), 1).matmul(self.table.clone());
        (self.place.clone().matmul(mixed) + self.fixed.clone()).unsqueeze::<3>()
    }
}

/// Rows of the embedding table, `[1, ids, d_model]`.
fn rows(embeddings: &BottomModel, ids: &[u32]) -> Tensor<3> {
    let ids: Vec<i32> = ids.iter().map(|id| id.cast_signed()).collect();
    let ids = TensorData::new(ids.clone(), [ids.len()]);
    let ids = Tensor::<1, Int>::from_data(ids, embeddings.device());
    embeddings.word_table().clone().select(0, ids).unsqueeze()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::adapter::{LoraConfig, Target};
    use crate::audit::learned::test_world::{FIRST, ORDINARY, World, text};

    /// By hand: own (1, 0), observed (3, 4): cosine 0.6; slope (0.6 - 0.6, -0.8).
    #[test]
    fn the_slope_of_the_distance_is_that_of_the_formula() {
        let matching = Matching::of(&[1.0, 0.0], &[3.0, 4.0]).unwrap();
        assert!((matching.distance - 0.4).abs() < 1e-12);
        assert!(matching.slope[0].abs() < 1e-12 && (matching.slope[1] + 0.8).abs() < 1e-12);
        assert!(matches!(
            Matching::of(&[0.0, 0.0], &[3.0, 4.0]),
            Err(AuditError::NotApplicable { .. })
        ));
    }

    /// Chance is 1 in 16 a token.
    #[test]
    fn tokens_follow_from_the_gradient_of_a_tiny_model() {
        let world = World::new();
        let config = world.bottom.config();
        let lora = LoraConfig::new(8, 16.0, 0.0, [Target::Query, Target::Value]).unwrap();
        let mut rng = generator(1, 0);
        let device = world.bottom.device();
        let adapter = Adapter::init(&lora, config, &world.top, 0, 2, &mut rng, device);
        let step = TrainingStep {
            embeddings: &world.bottom,
            blocks: &world.top,
            adapter: &adapter,
            cut: 2,
            label: 1,
        };
        let candidates: Vec<u32> = (FIRST..FIRST + ORDINARY).collect();
        let frame = text([0, 0, 0, 0]);
        let mut right = 0;
        for tokens in [[7, 8, 12, 15], [13, 4, 1, 4], [2, 11, 0, 9]] {
            let truth = text(tokens);
            let observed = step.gradients(&truth).unwrap();
            let found = step.invert(&frame, &candidates, &observed, 1).unwrap();
            let pairs = found.tokens.iter().zip(&truth.ids()[1..5]);
            right += pairs.filter(|(found, truth)| found == truth).count();
        }
        assert!(right >= 9, "{right} of 12");
    }
}

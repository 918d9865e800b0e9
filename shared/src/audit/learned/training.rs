//! Optimizer, schedule, and how much arithmetic an attack may spend.

use burn::optim::{AdamW, AdamWConfig, AdamWState, Optimizer};
use burn::tensor::Tensor;
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::loss::Loss;
use crate::audit::AuditError;
use crate::model::DeviceFailed;

/// Floating-point operations that one attack may spend on training.
///
/// One to three minutes on two cores (docs/audit-learned.md), and one pass of the infilling attack
/// over 8,000 sentences of 25 tokens with 12,000 public tokens.
pub(crate) const FLOPS_MAX: f64 = 2e13;

/// Texts that are released, held in memory and trained on together: 38 MB of activations at 25
/// tokens and width 384 times four, which is what 1,024 texts take.
pub(crate) const CHUNK: usize = 1024;

/// Peak learning rate where nothing else is said; what PEFT's examples use for LoRA.
pub(crate) const LEARNING_RATE: f64 = 1e-3;

/// Share of the training in which the learning rate rises.
const WARMUP: f64 = 0.06;

/// As usual with AdamW.
const WEIGHT_DECAY: f32 = 0.01;

/// The L2 norm of all gradients together is bounded by this, as in the server's training.
const GRADIENT_NORM_MAX: f64 = 1.0;

/// What a budget allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Texts of one pass.
    pub(crate) texts: usize,
    /// Passes.
    pub(crate) epochs: usize,
}

impl Budget {
    /// As many whole passes over `texts` as [`FLOPS_MAX`] allows, at most `epochs_max`; a part of
    /// the texts, once, where one pass is already too much.
    pub(crate) fn within(texts: usize, flops_of_a_pass: f64, epochs_max: usize) -> Self {
        let passes = FLOPS_MAX / flops_of_a_pass.max(1.0);
        if passes < 1.0 {
            let texts = ((texts as f64 * passes) as usize).max(1);
            return Self { texts, epochs: 1 };
        }
        let epochs = (passes.min(epochs_max as f64) as usize).max(1);
        Self { texts, epochs }
    }

    /// Which texts are trained on when: every pass in a new order, in chunks.
    pub(crate) fn chunks(&self, texts: usize, rng: &mut ChaCha8Rng) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let mut order: Vec<usize> = (0..texts).collect();
        let total = (self.texts * self.epochs) as f64;
        let mut seen = 0;
        for _ in 0..self.epochs {
            order.shuffle(rng);
            for texts in order[..self.texts.min(order.len())].chunks(CHUNK) {
                let start = seen as f64 / total;
                seen += texts.len();
                chunks.push(Chunk {
                    texts: texts.to_vec(),
                    seed: rng.next_u64(),
                    start,
                    end: seen as f64 / total,
                });
            }
        }
        chunks
    }
}

/// Texts that are released and trained on together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chunk {
    /// Indices of public texts.
    pub(crate) texts: Vec<usize>,
    /// Of the draws that release them.
    pub(crate) seed: u64,
    /// Share of the training before this chunk.
    start: f64,
    /// Share of the training behind this chunk.
    end: f64,
}

impl Chunk {
    /// Share of the training that is done when `part` of this chunk is.
    pub(crate) fn done(&self, part: f64) -> f64 {
        self.start + part * (self.end - self.start)
    }
}

/// Linear warm-up to the peak, then linear decay to 0; `done` is the share of the training.
fn learning_rate(peak: f64, done: f64) -> f64 {
    let share = if done < WARMUP {
        // Never 0: the first step of a training would be lost.
        (done / WARMUP).max(0.1)
    } else {
        (1.0 - done) / (1.0 - WARMUP)
    };
    peak * share
}

/// AdamW over a list of matrices, with the norm of all gradients together bounded before it.
///
/// Source: Decoupled Weight Decay Regularization, arXiv 1711.05101; betas 0.9 and 0.999, epsilon
/// 1e-8. As the server's, over plain matrices instead of an adapter: the server's room cannot be
/// named from here.
pub(crate) struct Descent {
    adamw: AdamW,
    peak: f64,
    states: Vec<Option<AdamWState<2>>>,
}

impl Descent {
    /// An optimizer that has not taken a step.
    pub(crate) fn new(peak: f64) -> Self {
        let adamw = AdamWConfig::new()
            .with_epsilon(1e-8)
            .with_weight_decay(WEIGHT_DECAY);
        Self {
            adamw: adamw.build(),
            peak,
            states: Vec::new(),
        }
    }

    /// Takes one step down the loss that `loss` computes of the matrices; gives its value before
    /// the step.
    ///
    /// # Errors
    ///
    /// When `loss` fails, or a matrix has no gradient.
    pub(crate) fn step(
        &mut self,
        parameters: &mut [Tensor<2>],
        done: f64,
        loss: impl FnOnce(&[Tensor<2>]) -> Result<Loss, AuditError>,
    ) -> Result<f32, AuditError> {
        let leaves: Vec<Tensor<2>> = parameters
            .iter()
            .map(|parameter| parameter.clone().autodiff().require_grad())
            .collect();
        let loss = loss(&leaves)?;
        let mut found = loss.surrogate.backward();
        let gradients: Option<Vec<Tensor<2>>> = leaves
            .iter()
            .map(|leaf| leaf.grad_remove(&mut found))
            .collect();
        let gradients = bounded(gradients.ok_or(DeviceFailed)?);
        let rate = learning_rate(self.peak, done);
        self.states.resize_with(parameters.len(), || None);
        for ((parameter, gradient), state) in
            parameters.iter_mut().zip(gradients).zip(&mut self.states)
        {
            let (updated, after) = self
                .adamw
                .step(rate, parameter.clone(), gradient, state.take());
            *parameter = updated;
            *state = after;
        }
        Ok(loss.value)
    }
}

/// All gradients times `min(1, max / (norm + 1e-6))`, as PyTorch's `clip_grad_norm_`.
fn bounded(gradients: Vec<Tensor<2>>) -> Vec<Tensor<2>> {
    let squares = gradients
        .iter()
        .map(|gradient| gradient.clone().square().sum());
    let Some(sum) = squares.reduce(|a, b| a + b) else {
        return gradients;
    };
    let scale = (sum.sqrt() + 1e-6)
        .recip()
        .mul_scalar(GRADIENT_NORM_MAX)
        .clamp_max(1.0);
    gradients
        .into_iter()
        .map(|gradient| gradient * scale.clone().unsqueeze::<2>())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::tensor::Device;

    use super::*;
    use crate::audit::learned::{generator, matrix, read};

    #[test]
    fn a_budget_buys_whole_passes_or_a_part_of_one() {
        let budget = |flops, max| Budget::within(1_000, flops, max);
        let whole = |epochs| Budget {
            texts: 1_000,
            epochs,
        };
        assert_eq!(budget(FLOPS_MAX / 2.5, 9), whole(2));
        assert_eq!(budget(FLOPS_MAX / 100.0, 9), whole(9));
        let part = Budget {
            texts: 250,
            epochs: 1,
        };
        assert_eq!(budget(FLOPS_MAX * 4.0, 9), part);
    }

    #[test]
    fn every_pass_sees_every_text_once_and_the_shares_meet() {
        let texts = CHUNK + 10;
        let budget = Budget { texts, epochs: 2 };
        let chunks = budget.chunks(texts, &mut generator(1, 0));
        assert_eq!(chunks.len(), 4);
        for pass in chunks.chunks(2) {
            let mut seen: Vec<usize> = pass.iter().flat_map(|c| c.texts.clone()).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..texts).collect::<Vec<_>>());
        }
        assert_ne!(chunks[0].texts, chunks[2].texts);
        assert_ne!(chunks[0].seed, chunks[2].seed);
        assert_eq!(chunks[0].done(0.0), 0.0);
        assert_eq!(chunks[1].done(1.0), 0.5);
        assert_eq!(chunks[3].done(1.0), 1.0);
    }

    #[test]
    fn the_rate_rises_and_falls() {
        assert_eq!(learning_rate(2.0, WARMUP), 2.0);
        assert!((learning_rate(2.0, WARMUP / 2.0) - 1.0).abs() < 1e-12);
        assert!((learning_rate(2.0, (1.0 + WARMUP) / 2.0) - 1.0).abs() < 1e-12);
        assert_eq!(learning_rate(2.0, 1.0), 0.0);
    }

    /// Fails when a gradient goes to the wrong matrix, or a step goes up.
    #[test]
    fn descent_finds_the_bottom_of_two_parabolas() {
        let device = Device::flex();
        let mut parameters = vec![
            matrix(vec![0.0], [1, 1], &device),
            matrix(vec![0.0], [1, 1], &device),
        ];
        let mut descent = Descent::new(0.1);
        for step in 0..400 {
            let loss = |leaves: &[Tensor<2>]| {
                let left = leaves[0].clone().sub_scalar(1.0).square().sum();
                let right = leaves[1].clone().add_scalar(2.0).square().sum();
                let surrogate = left + right;
                let value = read(surrogate.clone().without_autodiff())?[0];
                Ok(Loss { value, surrogate })
            };
            descent
                .step(&mut parameters, f64::from(step) / 400.0, loss)
                .unwrap();
        }
        let found: Vec<f32> = parameters
            .into_iter()
            .map(|parameter| read(parameter).unwrap()[0])
            .collect();
        assert!(
            (found[0] - 1.0).abs() < 0.05 && (found[1] + 2.0).abs() < 0.05,
            "{found:?}"
        );
    }
}

//! EIA-opt: looks for words that would give the released activations, through the bottom itself.
//!
//! `minimise ||bottom(softmax(Z / T) E) - h||^2 over Z`, T 0.05, Adam 5e-3, 500 iterations. Source:
//! method.md, section 4. On the first examples only, and over the most frequent tokens of public
//! text: it is slow.

use burn::optim::{AdamWConfig, AdamWState, Optimizer};
use burn::tensor::activation::softmax;
use burn::tensor::{Int, Tensor, TensorData};

use crate::audit::attack::{Attack, Attacker, AuditError, Guesses, Pending, TOP};
use crate::audit::prior::Unigrams;
use crate::audit::released::Released;
use crate::audit::search::{Best, read, tokens_of};
use crate::model::DeviceFailed;

/// Examples that are attacked.
const EXAMPLES: usize = 8;

/// Tokens that a position may turn out to be.
const TOKENS: usize = 4_096;

const TEMPERATURE: f64 = 0.05;
const LEARNING_RATE: f64 = 5e-3;
const ITERATIONS: usize = 500;

/// White-box relaxation.
#[derive(Debug)]
pub(super) struct Relaxation;

impl Relaxation {
    async fn guesses(
        &self,
        attacker: &Attacker<'_>,
        observed: &Released,
    ) -> Result<Guesses, AuditError> {
        let tokens = tokens(attacker);
        let table = rows(attacker, &tokens);
        let examples: Vec<&[f32]> = observed.examples().take(EXAMPLES).collect();
        let mut guesses = Vec::with_capacity(examples.len());
        for (done, example) in examples.iter().enumerate() {
            let progress = |share: f64| {
                (attacker.progress)((done as f64 + share) / examples.len() as f64);
            };
            let scores = relaxed(attacker, &table, example, &progress).await?;
            let row = |scores: &[f32]| {
                let mut best = Best::default();
                for (token, score) in tokens.iter().zip(scores) {
                    best.offer(TOP, *token, *score);
                }
                tokens_of(&best.into_vec(), TOP)
            };
            guesses.push(scores.chunks_exact(tokens.len()).map(row).collect());
        }
        Ok(Guesses::Rows(guesses))
    }
}

impl Attack for Relaxation {
    fn id(&self) -> &'static str {
        "eia-opt"
    }

    fn about(&self) -> &'static str {
        "Searches for words whose activations, through the client's own part of the model, come \
         closest to the released ones. On a few texts only."
    }

    fn run<'a>(
        &'a self,
        attacker: &'a Attacker<'a>,
        observed: &'a Released,
    ) -> Pending<'a, Guesses> {
        Box::pin(self.guesses(attacker, observed))
    }
}

/// All tokens where they are few, else the most frequent of public text and the special ones.
fn tokens(attacker: &Attacker<'_>) -> Vec<u32> {
    let vocab_size = attacker.bottom.config().vocab_size;
    if vocab_size <= TOKENS || attacker.public.is_empty() {
        return (0..).take(vocab_size.min(TOKENS)).collect();
    }
    let prior = Unigrams::of(attacker.public, vocab_size);
    let special = attacker.special_mask();
    let mut tokens = prior.most_frequent(TOKENS - attacker.special_ids.len(), &special);
    tokens.extend(attacker.special_ids);
    tokens
}

fn rows(attacker: &Attacker<'_>, tokens: &[u32]) -> Tensor<2> {
    let ids: Vec<i32> = tokens.iter().map(|token| token.cast_signed()).collect();
    let ids = TensorData::new(ids, [tokens.len()]);
    let ids = Tensor::<1, Int>::from_data(ids, attacker.bottom.device());
    attacker.bottom.word_table().clone().select(0, ids)
}

/// Z after the search, `[rows, tokens]`.
async fn relaxed(
    attacker: &Attacker<'_>,
    table: &Tensor<2>,
    example: &[f32],
    progress: &impl Fn(f64),
) -> Result<Vec<f32>, AuditError> {
    let [tokens, d_model] = table.dims();
    let device = attacker.bottom.device();
    let count = example.len() / d_model;
    let target = TensorData::new(example.to_vec(), [1, count, d_model]);
    let target = Tensor::<3>::from_data(target, device);
    let adam = AdamWConfig::new().with_weight_decay(0.0).build();
    let mut state: Option<AdamWState<2>> = None;
    let mut z = Tensor::<2>::zeros([count, tokens], device);
    for iteration in 0..ITERATIONS {
        let leaf = z.clone().autodiff().require_grad();
        let words = softmax(leaf.clone().div_scalar(TEMPERATURE), 1).matmul(table.clone());
        let output = attacker.bottom.forward_words(words.unsqueeze::<3>());
        let loss = (output - target.clone()).square().sum();
        let mut gradients = loss.backward();
        let gradient = leaf.grad_remove(&mut gradients).ok_or(DeviceFailed)?;
        (z, state) = adam.step(LEARNING_RATE, z, gradient, state.take());
        progress((iteration + 1) as f64 / ITERATIONS as f64);
    }
    Ok(read(z).await?)
}

//! BAG: which tokens a text holds, from its pooled rows.

use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::audit::learned::features::Features;
use crate::audit::learned::loss::binary_cross_entropy;
use crate::audit::learned::public::{PublicRelease, held, release_flops_of_a_row, tokens_behind};
use crate::audit::learned::readout::{Hidden, Readout};
use crate::audit::learned::training::{Budget, Chunk, Descent, LEARNING_RATE};
use crate::audit::learned::vocabulary::PublicVocabulary;
use crate::audit::learned::{generator, read};
use crate::audit::{Attack, Attacker, AuditError, Guesses, Pending, Released};

/// A multi-label classifier on the pooled rows of a text.
///
/// `scores = LN(m S + relu([m, f, u, l] W + b) M + ..) E^T + c`, m the mean row, f the first, u and
/// l the largest and the smallest number of each column, trained
/// with binary cross-entropy over the tokens of public texts that the attacker released itself.
/// The n best scores are guessed, n the number of tokens, estimated from the number of rows.
///
/// Source: method.md, section 4, BAG. A token is guessed once: how often it occurs is not learnt.
#[derive(Debug, Clone, Copy)]
pub(super) struct BagOfTokens;

/// Vectors that a text is pooled to.
const POOLINGS: usize = 4;

/// Width of the hidden layer.
const D_HIDDEN: usize = 1024;

/// Texts of a step.
const BATCH: usize = 64;

/// Passes over each chunk at most. A pooled text is small, so one release is learnt from often;
/// by ten passes the tokens of single texts begin to be memorised.
const EPOCHS_MAX: usize = 10;

impl Attack for BagOfTokens {
    fn id(&self) -> &'static str {
        "bag"
    }

    fn about(&self) -> &'static str {
        "A small network, trained on public text released in the same way, guesses which words a \
         text holds, in no order."
    }

    fn run<'a>(
        &'a self,
        attacker: &'a Attacker<'a>,
        observed: &'a Released,
    ) -> Pending<'a, Guesses> {
        Box::pin(async move {
            let mut rng = generator(attacker.seed, 3);
            let vocabulary = PublicVocabulary::of(attacker.public)?;
            let table = vocabulary.table(attacker.bottom);
            let mut network = Network::over(vocabulary, table, D_HIDDEN, &mut rng);
            let last = network.learn_all(attacker, &mut rng).await?;
            let scores = network.scores(&pooled(observed))?;
            let rows = observed.activations.seq_lengths().iter();
            let counts = rows.map(|rows| tokens_behind(attacker, last.as_ref(), (*rows).into()));
            let best = scores.iter().zip(counts);
            let best = best.map(|(scores, count)| network.vocabulary.best(scores, count));
            Ok(Guesses::Bags(best.collect()))
        })
    }
}

struct Network {
    vocabulary: PublicVocabulary,
    readout: Readout,
    matrices: Vec<Tensor<2>>, // of the hidden layer, then of the readout
    descent: Descent,
    d_model: usize,
    device: Device,
}

impl Network {
    fn over(
        vocabulary: PublicVocabulary,
        table: Tensor<2>,
        d_hidden: usize,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let [_, d_model] = table.dims();
        let device = table.device();
        let prior = vocabulary.log_odds(&device);
        let readout = Readout::new(table);
        let mut matrices = Hidden::init(POOLINGS * d_model, d_hidden, rng, &device);
        matrices.extend(readout.init(d_hidden, prior));
        Self {
            vocabulary,
            readout,
            matrices,
            descent: Descent::new(LEARNING_RATE),
            d_model,
            device,
        }
    }

    /// Releases the public texts once and learns from their pooled rows in many passes; gives one
    /// chunk of the release.
    async fn learn_all(
        &mut self,
        attacker: &Attacker<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Option<PublicRelease>, AuditError> {
        let rows: usize = attacker.public.iter().map(|text| text.len()).sum();
        let of_release = rows as f64 * release_flops_of_a_row(attacker);
        let release = Budget::within(attacker.public.len(), of_release, 1);
        let mut all = Vec::new();
        let mut sets = Vec::new();
        let mut last = None;
        for chunk in release.chunks(attacker.public.len(), rng) {
            let drawn = PublicRelease::draw(attacker, &chunk.texts, chunk.seed).await?;
            let features = pooled(drawn.released());
            all.extend(features.rows().map(<[f32]>::to_vec));
            sets.extend(
                drawn
                    .examples()
                    .map(|(text, _)| held(text, &self.vocabulary)),
            );
            last = Some(drawn);
        }
        let all = Features::of_rows(&all);
        let hidden = 2 * 3 * POOLINGS * self.d_model * D_HIDDEN;
        let of_a_pass = sets.len() as f64 * (self.readout.flops_of_a_row(D_HIDDEN) + hidden as f64);
        let budget = Budget::within(sets.len(), of_a_pass, EPOCHS_MAX);
        for chunk in budget.chunks(sets.len(), rng) {
            self.learn(&all, &sets, &chunk, attacker.progress)?;
        }
        Ok(last)
    }

    /// One pass over the texts of a chunk, in its order.
    fn learn(
        &mut self,
        pooled: &Features,
        sets: &[Vec<u32>],
        chunk: &Chunk,
        progress: &dyn Fn(f64),
    ) -> Result<(), AuditError> {
        for (at, batch) in chunk.texts.chunks(BATCH).enumerate() {
            let x = pooled.select(batch).tensor(&self.device);
            let own: Vec<Vec<u32>> = batch.iter().map(|at| sets[*at].clone()).collect();
            let done = chunk.done((at * BATCH) as f64 / chunk.texts.len() as f64);
            let readout = &self.readout;
            self.descent.step(&mut self.matrices, done, |leaves| {
                binary_cross_entropy(logits(readout, leaves, x), &own)
            })?;
            progress(done);
        }
        Ok(())
    }

    /// A score of each public token, one list a text.
    fn scores(&self, pooled: &Features) -> Result<Vec<Vec<f32>>, AuditError> {
        let indices: Vec<usize> = (0..pooled.len()).collect();
        let mut scores = Vec::with_capacity(indices.len());
        for batch in indices.chunks(BATCH) {
            let x = pooled.select(batch).tensor(&self.device);
            let values = read(logits(&self.readout, &self.matrices, x))?;
            let rows = values.chunks_exact(self.vocabulary.len());
            scores.extend(rows.map(<[f32]>::to_vec));
        }
        Ok(scores)
    }
}

/// Mean row, first row, largest and smallest numbers.
fn pooled(released: &Released) -> Features {
    Features::pooled(released).beside(&Features::extremes(released))
}

/// `[texts, vocabulary]`; x is `[texts, POOLINGS d_model]`, the mean row first.
fn logits(readout: &Readout, matrices: &[Tensor<2>], x: Tensor<2>) -> Tensor<2> {
    const REASON: &str = "a network keeps the matrices it was built with";
    let [_, width] = x.dims();
    let (hidden, rest) = matrices.split_first_chunk().expect(REASON);
    let mean = x.clone().narrow(1, 0, width / POOLINGS);
    let inner = Hidden::forward(hidden, x);
    readout.logits(rest.first_chunk().expect(REASON), mean, inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::FutureExt;
    use rand::RngExt;

    use super::*;
    use crate::audit::Simulator;
    use crate::audit::learned::test_world::{Hiding, ORDINARY, World, recall, text};
    use crate::text::TokenIds;

    /// Texts of four different tokens in a random order.
    fn texts(count: usize, seed: u64) -> Vec<TokenIds> {
        let mut rng = generator(seed, 0);
        (0..count)
            .map(|_| {
                let mut tokens: Vec<u32> = (0..ORDINARY).collect();
                for place in 0..4 {
                    tokens.swap(place, rng.random_range(place..ORDINARY as usize));
                }
                text(tokens[..4].iter().copied())
            })
            .collect()
    }

    /// Chance is 4 of 16; comparing the mean row with the table, without training, finds about
    /// 0.77 of the tokens.
    #[test]
    fn planted_tokens_are_found_in_pooled_rows() {
        let world = World::new();
        let client = Hiding {
            bottom: &world.bottom,
            share: 0.0,
            keeps_positions: true,
        };
        let public = texts(400, 1);
        let attacker = world.attacker(&public, &client);
        let private = texts(100, 2);
        let observed = client
            .release(&private, 99)
            .now_or_never()
            .unwrap()
            .unwrap();
        let run = BagOfTokens.run(&attacker, &observed).now_or_never();
        let Guesses::Bags(guesses) = run.unwrap().unwrap() else {
            panic!("a bag is expected");
        };
        assert!(guesses.iter().all(|guess| guess.len() == 4));
        let recall = recall(&private, &guesses);
        assert!(recall > 0.95, "{recall}");
    }
}

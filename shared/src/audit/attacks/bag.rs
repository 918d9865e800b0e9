//! BAG: which tokens a text holds, each told by the row that says it best.

use burn::tensor::{Device, Tensor};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::audit::learned::batch::grouped;
use crate::audit::learned::features::mean_row;
use crate::audit::learned::loss::{binary_cross_entropy, text_scores};
use crate::audit::learned::public::{PublicRelease, held, release_flops_of_a_row, tokens_behind};
use crate::audit::learned::readout::{Hidden, Readout};
use crate::audit::learned::training::{Budget, Chunk, Descent, LEARNING_RATE};
use crate::audit::learned::vocabulary::PublicVocabulary;
use crate::audit::learned::{generator, matrix, read};
use crate::audit::{Attack, Attacker, AuditError, Guesses, Pending, Released};

/// A multi-label classifier on the rows of a text, whichever words they stand for.
///
/// `logits of row r = LN(x_r S + relu([x_r, m] W + b) M + ..) E^T + c`, m the mean row of the text;
/// a text's score of a token is `ln mean over r of exp(logit)`. Trained with binary cross-entropy
/// over the tokens of public texts that the attacker released itself. The n best scores are
/// guessed, n the number of tokens, estimated from the number of rows.
///
/// Source: method.md, section 4, BAG. Deviation: rows are pooled after the readout and not before.
/// A pooled row blurs what a single one says, and names fewer than half of the tokens of texts that
/// nothing protects. A token is guessed once: how often it occurs is not learnt.
#[derive(Debug, Clone, Copy)]
pub(super) struct BagOfTokens;

/// Width of the hidden layer.
const D_HIDDEN: usize = 1024;

/// Passes at most, each under new draws.
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
            let budget = network.budget(attacker);
            let mut last = None;
            for chunk in budget.chunks(attacker.public.len(), &mut rng) {
                let drawn = PublicRelease::draw(attacker, &chunk.texts, chunk.seed).await?;
                network.learn(&drawn, &chunk, &mut rng, attacker.progress)?;
                last = Some(drawn);
            }
            let guesses = observed.examples().map(|rows| {
                let count = tokens_behind(attacker, last.as_ref(), rows.len() / network.d_model);
                Ok(network.vocabulary.best(&network.scores(rows)?, count))
            });
            Ok(Guesses::Bags(guesses.collect::<Result<_, AuditError>>()?))
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
        let mut matrices = Hidden::init(2 * d_model, d_hidden, rng, &device);
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

    /// As if a released row stood for one token: fewer rows take less.
    fn budget(&self, attacker: &Attacker<'_>) -> Budget {
        let rows: usize = attacker.public.iter().map(|text| text.len()).sum();
        let hidden = 2 * 3 * 2 * self.d_model * D_HIDDEN;
        let own = self.readout.flops_of_a_row(D_HIDDEN) + hidden as f64;
        let of_a_pass = rows as f64 * (own + release_flops_of_a_row(attacker));
        Budget::within(attacker.public.len(), of_a_pass, EPOCHS_MAX)
    }

    /// One pass over some released texts, in batches of like length and random order.
    fn learn(
        &mut self,
        drawn: &PublicRelease,
        chunk: &Chunk,
        rng: &mut ChaCha8Rng,
        progress: &dyn Fn(f64),
    ) -> Result<(), AuditError> {
        let (texts, rows): (Vec<_>, Vec<_>) = drawn.examples().unzip();
        let of_text = rows.iter().map(|rows| rows.len() / self.d_model);
        let of_text: Vec<usize> = of_text.collect();
        let mut batches = grouped(&of_text);
        batches.shuffle(rng);
        let mut seen = 0;
        for batch in batches {
            let done = chunk.done(seen as f64 / rows.len() as f64);
            seen += batch.len();
            progress(done);
            let sets = batch.iter().map(|at| held(texts[*at], &self.vocabulary));
            let sets: Vec<Vec<u32>> = sets.collect();
            let lengths: Vec<usize> = batch.iter().map(|at| of_text[*at]).collect();
            let own: Vec<&[f32]> = batch.iter().map(|at| rows[*at]).collect();
            let [x, with_mean] = self.inputs(&own);
            let readout = &self.readout;
            self.descent.step(&mut self.matrices, done, |leaves| {
                binary_cross_entropy(logits(readout, leaves, x, with_mean), &lengths, &sets)
            })?;
        }
        Ok(())
    }

    /// A score of each public token for the rows of one text.
    fn scores(&self, rows: &[f32]) -> Result<Vec<f32>, AuditError> {
        let [x, with_mean] = self.inputs(&[rows]);
        let values = read(logits(&self.readout, &self.matrices, x, with_mean))?;
        Ok(text_scores(&values, self.vocabulary.len()))
    }

    /// The rows of some texts, `[rows, d_model]`, and each beside the mean of its text,
    /// `[rows, 2 d_model]`.
    fn inputs(&self, texts: &[&[f32]]) -> [Tensor<2>; 2] {
        let width = self.d_model;
        let (mut rows, mut with_mean) = (Vec::new(), Vec::new());
        for text in texts {
            let mean = mean_row(text, width);
            for row in text.chunks_exact(width) {
                rows.extend_from_slice(row);
                with_mean.extend_from_slice(row);
                with_mean.extend_from_slice(&mean);
            }
        }
        let count = rows.len() / width;
        [
            matrix(rows, [count, width], &self.device),
            matrix(with_mean, [count, 2 * width], &self.device),
        ]
    }
}

/// `[rows, vocabulary]`
fn logits(
    readout: &Readout,
    matrices: &[Tensor<2>],
    x: Tensor<2>,
    with_mean: Tensor<2>,
) -> Tensor<2> {
    const REASON: &str = "a network keeps the matrices it was built with";
    let (hidden, rest) = matrices.split_first_chunk().expect(REASON);
    let inner = Hidden::forward(hidden, with_mean);
    readout.logits(rest.first_chunk().expect(REASON), x, inner)
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

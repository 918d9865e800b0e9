//! EIA-learned: a small network reads every released row on its own.

use burn::tensor::{Device, Tensor};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::audit::learned::loss::cross_entropy;
use crate::audit::learned::public::{PublicRelease, ordinary_positions, release_flops_of_a_row};
use crate::audit::learned::readout::{Hidden, Readout};
use crate::audit::learned::training::{Budget, Chunk, Descent, LEARNING_RATE};
use crate::audit::learned::vocabulary::PublicVocabulary;
use crate::audit::learned::{generator, matrix, read};
use crate::audit::{Attack, Attacker, AuditError, Guesses, Pending, Released, TOP};

/// `argmax over public v of LN(x S + relu(x W + b) M + ..) E_v + c_v`, trained with AdamW and
/// cross-entropy on public text that the attacker released itself.
///
/// Source: method.md, section 4, EIA-learned (`h -> 2048 -> V`). Deviation: the output matrix goes
/// through the embedding table, see [`Readout`].
#[derive(Debug, Clone, Copy)]
pub(super) struct LearnedInversion;

/// Width of the hidden layer. Half of the method's: the budget goes into more rows instead.
const D_HIDDEN: usize = 1024;

/// Rows of a step: about 800 steps a pass over 200,000 rows.
const BATCH: usize = 256;

/// Passes at most, each under new draws. For all-MiniLM-L6-v2, 8,000 texts of 25 tokens and 12,000
/// public tokens the budget allows one for `token`, whose search costs as much again, and two for
/// `vector`.
const EPOCHS_MAX: usize = 8;

impl Attack for LearnedInversion {
    fn id(&self) -> &'static str {
        "eia-learned"
    }

    fn about(&self) -> &'static str {
        "A small network, trained on public text released in the same way, guesses each word from \
         its own row alone."
    }

    fn run<'a>(
        &'a self,
        attacker: &'a Attacker<'a>,
        observed: &'a Released,
    ) -> Pending<'a, Guesses> {
        Box::pin(async move {
            if !attacker.simulator.keeps_positions() {
                return Err(AuditError::NotApplicable {
                    reason: "the released rows do not stand for single words",
                });
            }
            let mut rng = generator(attacker.seed, 1);
            let mut network = Network::new(attacker, &mut rng)?;
            let budget = network.budget(attacker);
            for chunk in budget.chunks(attacker.public.len(), &mut rng) {
                let drawn = PublicRelease::draw(attacker, &chunk.texts, chunk.seed).await?;
                let (rows, classes) = network.ordinary_rows(&drawn);
                network.learn(&rows, &classes, &chunk, &mut rng, attacker.progress)?;
            }
            let guesses = observed.examples().map(|rows| network.guess(rows));
            Ok(Guesses::Rows(guesses.collect::<Result<_, _>>()?))
        })
    }
}

/// The network and what it has learnt.
struct Network {
    vocabulary: PublicVocabulary,
    readout: Readout,
    matrices: Vec<Tensor<2>>, // of the hidden layer, then of the readout
    descent: Descent,
    d_model: usize,
    device: Device,
}

impl Network {
    fn new(attacker: &Attacker<'_>, rng: &mut ChaCha8Rng) -> Result<Self, AuditError> {
        let vocabulary = PublicVocabulary::of(attacker.public)?;
        let table = vocabulary.table(attacker.bottom);
        Ok(Self::over(vocabulary, table, D_HIDDEN, rng))
    }

    fn over(
        vocabulary: PublicVocabulary,
        table: Tensor<2>,
        d_hidden: usize,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let [_, d_model] = table.dims();
        let device = table.device();
        let prior = vocabulary.log_unigram(&device);
        let readout = Readout::new(table);
        let mut matrices = Hidden::init(d_model, d_hidden, rng, &device);
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

    fn budget(&self, attacker: &Attacker<'_>) -> Budget {
        let rows: usize = attacker.public.iter().map(|text| text.len()).sum();
        let hidden = 2 * 3 * self.d_model * D_HIDDEN;
        let own = self.readout.flops_of_a_row(D_HIDDEN) + hidden as f64;
        let of_a_pass = rows as f64 * (own + release_flops_of_a_row(attacker));
        Budget::within(attacker.public.len(), of_a_pass, EPOCHS_MAX)
    }

    /// The rows of ordinary tokens, `[rows, d_model]`, and the tokens' numbers.
    fn ordinary_rows(&self, drawn: &PublicRelease) -> (Vec<f32>, Vec<u32>) {
        let (mut rows, mut classes) = (Vec::new(), Vec::new());
        for (text, released) in drawn.examples() {
            for (position, class) in ordinary_positions(text, &self.vocabulary) {
                let start = position * self.d_model;
                if let Some(row) = released.get(start..start + self.d_model) {
                    rows.extend_from_slice(row);
                    classes.push(class);
                }
            }
        }
        (rows, classes)
    }

    /// One pass over some rows, in a new order.
    fn learn(
        &mut self,
        rows: &[f32],
        classes: &[u32],
        chunk: &Chunk,
        rng: &mut ChaCha8Rng,
        progress: &dyn Fn(f64),
    ) -> Result<(), AuditError> {
        let mut order: Vec<usize> = (0..classes.len()).collect();
        order.shuffle(rng);
        let mut seen = 0;
        for batch in order.chunks(BATCH) {
            let own = |at: &usize| &rows[at * self.d_model..(at + 1) * self.d_model];
            let values: Vec<f32> = batch.iter().flat_map(own).copied().collect();
            let targets: Vec<u32> = batch.iter().map(|at| classes[*at]).collect();
            let x = matrix(values, [batch.len(), self.d_model], &self.device);
            let done = chunk.done(seen as f64 / classes.len() as f64);
            let readout = &self.readout;
            self.descent.step(&mut self.matrices, done, |leaves| {
                cross_entropy(logits(readout, leaves, x), &targets)
            })?;
            seen += batch.len();
            progress(done);
        }
        Ok(())
    }

    /// The best tokens of each row of one example.
    fn guess(&self, rows: &[f32]) -> Result<Vec<Vec<u32>>, AuditError> {
        let mut guesses = Vec::with_capacity(rows.len() / self.d_model);
        for batch in rows.chunks(BATCH * self.d_model) {
            let count = batch.len() / self.d_model;
            let x = matrix(batch.to_vec(), [count, self.d_model], &self.device);
            let scores = read(logits(&self.readout, &self.matrices, x))?;
            let rows = scores.chunks_exact(self.vocabulary.len());
            guesses.extend(rows.map(|row| self.vocabulary.best(row, TOP)));
        }
        Ok(guesses)
    }
}

/// `[rows, vocabulary]`
fn logits(readout: &Readout, matrices: &[Tensor<2>], x: Tensor<2>) -> Tensor<2> {
    const REASON: &str = "a network keeps the matrices it was built with";
    let (hidden, rest) = matrices.split_first_chunk().expect(REASON);
    let inner = Hidden::forward(hidden, x.clone());
    readout.logits(rest.first_chunk().expect(REASON), x, inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::text::TokenIds;

    const VOCABULARY: usize = 16;

    /// Row v is the v-th unit vector.
    fn network() -> (Network, ChaCha8Rng) {
        let ids: Vec<u32> = (100..100 + VOCABULARY as u32).collect();
        let types = vec![0; VOCABULARY];
        let text = TokenIds::new(ids, types, vec![false; VOCABULARY]).unwrap();
        let vocabulary = PublicVocabulary::of(&[text]).unwrap();
        let table = Tensor::eye(VOCABULARY, &Device::flex());
        let mut rng = generator(5, 1);
        let network = Network::over(vocabulary, table, 32, &mut rng);
        (network, rng)
    }

    /// Token v comes back as the row of token 3v + 1: without training every guess is wrong.
    fn rows() -> Vec<f32> {
        let row = |v: usize| (0..VOCABULARY).map(move |at| at == (3 * v + 1) % VOCABULARY);
        let rows = (0..VOCABULARY).flat_map(row);
        rows.map(|hot| f32::from(u8::from(hot))).collect()
    }

    fn right(network: &Network) -> usize {
        let guesses = network.guess(&rows()).unwrap();
        let right = guesses
            .iter()
            .zip(100..)
            .filter(|(guess, v)| guess[0] == *v);
        right.count()
    }

    /// Fails when rows and targets are paired wrongly, or the network is not trained.
    #[test]
    fn a_table_of_orthogonal_rows_is_learnt_completely() {
        let (mut network, mut rng) = network();
        assert_eq!(right(&network), 0);
        let classes: Vec<u32> = (0..VOCABULARY as u32).collect();
        let (texts, epochs) = (1, 600);
        let budget = Budget { texts, epochs };
        for chunk in budget.chunks(1, &mut generator(1, 0)) {
            network
                .learn(&rows(), &classes, &chunk, &mut rng, &|_| ())
                .unwrap();
        }
        assert_eq!(right(&network), VOCABULARY);
    }

    #[test]
    fn the_same_seed_learns_the_same() {
        let learnt = || {
            let (mut network, mut rng) = network();
            let classes: Vec<u32> = (0..VOCABULARY as u32).collect();
            let budget = Budget {
                texts: 1,
                epochs: 3,
            };
            for chunk in budget.chunks(1, &mut generator(1, 0)) {
                network
                    .learn(&rows(), &classes, &chunk, &mut rng, &|_| ())
                    .unwrap();
            }
            network.guess(&rows()).unwrap()
        };
        assert_eq!(learnt(), learnt());
    }
}

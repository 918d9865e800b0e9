//! MASK: the server's own blocks read the whole released text and say what stood at each position.

use burn::tensor::{Device, Tensor};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::adapter::{Adapter, LoraConfig, ParameterName, Target};
use crate::audit::learned::batch::{Batch, Selection, grouped};
use crate::audit::learned::loss::{Loss, binary_cross_entropy, cross_entropy, text_scores};
use crate::audit::learned::public::{
    PublicRelease, block_weights, held, ordinary_positions, release_flops_of_a_row, tokens_behind,
};
use crate::audit::learned::readout::{MATRICES, Readout};
use crate::audit::learned::training::{Budget, Chunk, Descent, LEARNING_RATE};
use crate::audit::learned::vocabulary::PublicVocabulary;
use crate::audit::learned::{generator, read};
use crate::audit::{Attack, Attacker, AuditError, Guesses, Pending, Released, TOP};
use crate::model::TopModel;
use crate::text::TokenIds;

/// Infilling with the pre-trained model that the server owns.
///
/// `h` = the released rows, run through the blocks behind the cut with LoRA beside every
/// projection; `argmax over public v of LN(x S + h M + b) E_v + c_v` at each position (see
/// [`Readout`]). Trained with AdamW and cross-entropy on public text that the attacker released
/// itself. Where the mechanism does not keep positions, a text's score of a token is `ln mean over
/// rows of exp(logit)` and the loss is multi-label over the tokens of the text.
///
/// Source: method.md, section 4, MASK; here for every mechanism, not for `token` alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Infilling;

/// Rank of the factors beside every projection: room for another task than the one that the
/// blocks were trained for, and still small beside them.
const RANK: usize = 16;

/// Twice the rank, as usual.
const ALPHA: f32 = 32.0;

/// Passes at most, each under new draws. For all-MiniLM-L6-v2 and 8,000 texts of 25 tokens the
/// budget allows one.
const EPOCHS_MAX: usize = 10;

impl Attack for Infilling {
    fn id(&self) -> &'static str {
        "mask"
    }

    fn about(&self) -> &'static str {
        "The server's own language model, trained on public text released in the same way, reads \
         the whole text and fills in each word."
    }

    fn run<'a>(
        &'a self,
        attacker: &'a Attacker<'a>,
        observed: &'a Released,
    ) -> Pending<'a, Guesses> {
        Box::pin(async move {
            let top = attacker.top.ok_or(AuditError::NotApplicable {
                reason: "the attacker does not have the model behind the cut",
            })?;
            let mut rng = generator(attacker.seed, 2);
            let mut model = Infiller::new(attacker, top, &mut rng)?;
            let mut last = None;
            for chunk in model
                .budget(attacker)
                .chunks(attacker.public.len(), &mut rng)
            {
                let drawn = PublicRelease::draw(attacker, &chunk.texts, chunk.seed).await?;
                let (texts, rows): (Vec<_>, Vec<_>) = drawn.examples().unzip();
                model.learn(&texts, &rows, &chunk, &mut rng, attacker.progress)?;
                last = Some(drawn);
            }
            let examples: Vec<&[f32]> = observed.examples().collect();
            let guesses = match model.reading {
                Reading::Positions => Guesses::Rows(model.guess_rows(&examples)?),
                Reading::Bag => Guesses::Bags(model.guess_bags(&examples, |rows| {
                    tokens_behind(attacker, last.as_ref(), rows)
                })?),
            };
            Ok(guesses)
        })
    }
}

/// What the model says of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// The token of every row.
    Positions,
    /// The tokens of the text.
    Bag,
}

/// What it should have said.
enum Answer {
    Classes(Vec<u32>),
    /// Of each text: rows, and the tokens that it holds.
    Sets(Vec<usize>, Vec<Vec<u32>>),
}

impl Answer {
    fn loss(&self, logits: Tensor<2>) -> Result<Loss, AuditError> {
        match self {
            Self::Classes(classes) => cross_entropy(logits, classes),
            Self::Sets(lengths, sets) => binary_cross_entropy(logits, lengths, sets),
        }
    }
}

impl Reading {
    /// The rows to read of some texts, and the right answers.
    fn of(
        self,
        texts: &[&TokenIds],
        batch: &Batch,
        vocabulary: &PublicVocabulary,
    ) -> (Selection, Answer) {
        match self {
            Self::Positions => {
                let (mut rows, mut classes) = (Vec::new(), Vec::new());
                for (example, text) in texts.iter().enumerate() {
                    for (position, class) in ordinary_positions(text, vocabulary) {
                        rows.push((example, position));
                        classes.push(class);
                    }
                }
                (rows, Answer::Classes(classes))
            }
            Self::Bag => {
                let lengths = batch.sequences().seq_lengths().to_vec();
                let sets = texts.iter().map(|text| held(text, vocabulary));
                (batch.all_rows(), Answer::Sets(lengths, sets.collect()))
            }
        }
    }
}

/// The blocks with their adapter, the readout, and what they have learnt.
struct Infiller<'a> {
    top: &'a TopModel,
    adapter: Adapter, // the factors at the start
    reading: Reading,
    vocabulary: PublicVocabulary,
    readout: Readout,
    matrices: Vec<Tensor<2>>, // of the readout, then the factors
    descent: Descent,
    d_model: usize,
    device: Device,
}

impl<'a> Infiller<'a> {
    fn new(
        attacker: &Attacker<'_>,
        top: &'a TopModel,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self, AuditError> {
        let config = attacker.bottom.config();
        let device = attacker.bottom.device().clone();
        let vocabulary = PublicVocabulary::of(attacker.public)?;
        let (reading, prior) = if attacker.simulator.keeps_positions() {
            (Reading::Positions, vocabulary.log_unigram(&device))
        } else {
            (Reading::Bag, vocabulary.log_odds(&device))
        };
        let adapter = factors(attacker, top, rng);
        let readout = Readout::new(vocabulary.table(attacker.bottom));
        let mut matrices = readout.init(config.d_model, prior);
        matrices.extend(adapter.parameters().iter().cloned());
        Ok(Self {
            top,
            adapter,
            reading,
            vocabulary,
            readout,
            matrices,
            descent: Descent::new(LEARNING_RATE),
            d_model: config.d_model,
            device,
        })
    }

    /// A row costs two operations a weight forwards and, since the blocks are frozen, two
    /// backwards; the factors beside them train and cost one product more.
    fn budget(&self, attacker: &Attacker<'_>) -> Budget {
        let config = attacker.bottom.config();
        let blocks = config.n_layers - attacker.bottom.cut().index();
        let factors = self.adapter.parameters().iter();
        let factors: usize = factors.map(|m| m.dims().iter().product::<usize>()).sum();
        let own = 2 * (2 * blocks * block_weights(config) + 3 * factors);
        let of_a_row = own as f64
            + self.readout.flops_of_a_row(self.d_model)
            + release_flops_of_a_row(attacker);
        let rows: usize = attacker.public.iter().map(|text| text.len()).sum();
        Budget::within(attacker.public.len(), rows as f64 * of_a_row, EPOCHS_MAX)
    }

    /// One pass over some released texts, in batches of like length and random order.
    fn learn(
        &mut self,
        texts: &[&TokenIds],
        rows: &[&[f32]],
        chunk: &Chunk,
        rng: &mut ChaCha8Rng,
        progress: &dyn Fn(f64),
    ) -> Result<(), AuditError> {
        let mut seen = 0;
        let mut batches = grouped(&self.lengths(rows));
        batches.shuffle(rng);
        for batch in batches {
            let done = chunk.done(seen as f64 / rows.len() as f64);
            seen += batch.len();
            progress(done);
            let texts: Vec<&TokenIds> = batch.iter().map(|at| texts[*at]).collect();
            let rows: Vec<&[f32]> = batch.iter().map(|at| rows[*at]).collect();
            check_rows(self.reading, &texts, &self.lengths(&rows))?;
            let batch = Batch::new(&rows, self.d_model, &self.device);
            let (selection, target) = self.reading.of(&texts, &batch, &self.vocabulary);
            if selection.is_empty() {
                continue; // texts of special tokens only
            }
            let (top, adapter, readout) = (self.top, &self.adapter, &self.readout);
            self.descent.step(&mut self.matrices, done, |leaves| {
                target.loss(logits(top, adapter, readout, leaves, &batch, &selection))
            })?;
        }
        Ok(())
    }

    /// The best tokens of every row of every example.
    fn guess_rows(&self, examples: &[&[f32]]) -> Result<Vec<Vec<Vec<u32>>>, AuditError> {
        let mut guesses = vec![Vec::new(); examples.len()];
        for group in grouped(&self.lengths(examples)) {
            let rows: Vec<&[f32]> = group.iter().map(|at| examples[*at]).collect();
            let batch = Batch::new(&rows, self.d_model, &self.device);
            let scores = self.scores(&batch, &batch.all_rows())?;
            let mut scores = scores.chunks_exact(self.vocabulary.len());
            for at in group {
                let own = scores.by_ref().take(examples[at].len() / self.d_model);
                let best = own.map(|scores| self.vocabulary.best(scores, TOP));
                guesses[at] = best.collect();
            }
        }
        Ok(guesses)
    }

    /// The most probable tokens of every example, as many as `count` says of its number of rows.
    fn guess_bags(
        &self,
        examples: &[&[f32]],
        count: impl Fn(usize) -> usize,
    ) -> Result<Vec<Vec<u32>>, AuditError> {
        let mut guesses = vec![Vec::new(); examples.len()];
        for group in grouped(&self.lengths(examples)) {
            let rows: Vec<&[f32]> = group.iter().map(|at| examples[*at]).collect();
            let batch = Batch::new(&rows, self.d_model, &self.device);
            let scores = self.scores(&batch, &batch.all_rows())?;
            let mut rest = scores.as_slice();
            for at in group {
                let count_of_rows = examples[at].len() / self.d_model;
                let (own, others) = rest.split_at(count_of_rows * self.vocabulary.len());
                let scores = text_scores(own, self.vocabulary.len());
                guesses[at] = self.vocabulary.best(&scores, count(count_of_rows));
                rest = others;
            }
        }
        Ok(guesses)
    }

    fn scores(&self, batch: &Batch, selection: &[(usize, usize)]) -> Result<Vec<f32>, AuditError> {
        let (adapter, readout) = (&self.adapter, &self.readout);
        let logits = logits(self.top, adapter, readout, &self.matrices, batch, selection);
        Ok(read(logits)?)
    }

    fn lengths(&self, examples: &[&[f32]]) -> Vec<usize> {
        let lengths = examples.iter().map(|rows| rows.len() / self.d_model);
        lengths.collect()
    }
}

/// Factors beside every projection of the blocks, without a task head.
fn factors(attacker: &Attacker<'_>, top: &TopModel, rng: &mut ChaCha8Rng) -> Adapter {
    let lora = LoraConfig::new(RANK, ALPHA, 0.0, Target::ALL)
        .expect("rank, alpha and targets are constants in range");
    let (config, device) = (attacker.bottom.config(), attacker.bottom.device());
    let first_layer = attacker.bottom.cut().index();
    let whole = Adapter::init(&lora, config, top, first_layer, 1, rng, device);
    let factors = whole.names().zip(whole.parameters().iter().cloned());
    let factors = factors.filter(|(name, _)| {
        use ParameterName::{LoraA, LoraB};
        matches!(name, LoraA { .. } | LoraB { .. })
    });
    Adapter::from_parameters(&lora, factors)
}

/// A text that is read by position must have a row for each.
fn check_rows(reading: Reading, texts: &[&TokenIds], rows: &[usize]) -> Result<(), AuditError> {
    let mut pairs = texts.iter().map(|text| text.len()).zip(rows);
    match pairs.find(|(expected, actual)| reading == Reading::Positions && expected != *actual) {
        None => Ok(()),
        Some((expected, actual)) => Err(AuditError::Answers {
            of: "positions of a public text",
            expected,
            actual: *actual,
        }),
    }
}

/// `[selected, vocabulary]`
fn logits(
    top: &TopModel,
    adapter: &Adapter,
    readout: &Readout,
    matrices: &[Tensor<2>],
    batch: &Batch,
    selection: &[(usize, usize)],
) -> Tensor<2> {
    let (own, factors) = matrices
        .split_first_chunk::<MATRICES>()
        .expect("a model keeps the matrices it was built with");
    let mut factors = factors.iter();
    let adapter = adapter.map(|start| factors.next().unwrap_or(start).clone());
    let hidden = top.hidden(batch.x().clone(), batch.sequences(), &adapter);
    let x = batch.pick(batch.x().clone(), selection);
    readout.logits(own, x, batch.pick(hidden, selection))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::FutureExt;
    use rand::RngExt;

    use super::*;
    use crate::audit::learned::test_world::{FIRST, Hiding, MASK, ORDINARY, World, recall, text};

    /// Texts of a language in which token 2k follows 2k + 1 and the other way round: a hidden
    /// token follows from any other and from its place.
    fn texts(count: usize, seed: u64) -> Vec<TokenIds> {
        let mut rng = generator(seed, 0);
        (0..count)
            .map(|_| {
                let pair = rng.random_range(0..ORDINARY / 2);
                text((0..8).map(|place| 2 * pair + place % 2))
            })
            .collect()
    }

    /// Unigrams say 1 in 16, an attack on single rows too: hidden rows differ by place only.
    #[test]
    fn hidden_tokens_are_recovered_from_their_context() {
        let world = World::new();
        let client = Hiding {
            bottom: &world.bottom,
            share: 0.3,
            keeps_positions: true,
        };
        let public = texts(400, 1);
        let attacker = world.attacker(&public, &client);
        let private = texts(60, 2);
        let observed = client_release(&client, &private);
        let run = Infilling.run(&attacker, &observed);
        let Guesses::Rows(guesses) = run.now_or_never().unwrap().unwrap() else {
            panic!("positions are kept");
        };
        let (mut hidden, mut recovered) = (0, 0);
        let sanitized = observed.sanitized.unwrap();
        for ((text, seen), guesses) in private.iter().zip(&sanitized).zip(&guesses) {
            for ((id, seen), guess) in text.ids().iter().zip(seen.ids()).zip(guesses) {
                if *seen == MASK {
                    hidden += 1;
                    recovered += usize::from(guess[0] == *id);
                }
            }
        }
        let share = recovered as f64 / f64::from(hidden);
        assert!(hidden > 100 && share > 0.5, "{recovered} of {hidden}");
    }

    /// Chance is 2 tokens of 16.
    #[test]
    fn without_positions_the_bag_is_recovered() {
        let world = World::new();
        let client = Hiding {
            bottom: &world.bottom,
            share: 0.5,
            keeps_positions: false,
        };
        let public = texts(400, 1);
        let attacker = world.attacker(&public, &client);
        let private = texts(60, 2);
        let observed = client_release(&client, &private);
        let run = Infilling.run(&attacker, &observed);
        let Guesses::Bags(guesses) = run.now_or_never().unwrap().unwrap() else {
            panic!("positions are not kept");
        };
        assert!(
            guesses.iter().all(|guess| guess.len() == 8),
            "8 tokens each"
        );
        let best: Vec<Vec<u32>> = guesses.iter().map(|guess| guess[..2].to_vec()).collect();
        let recall = recall(&private, &best);
        assert!(recall > 0.8, "{recall}");
    }

    #[test]
    fn without_the_model_the_attack_does_not_run() {
        let world = World::new();
        let client = Hiding {
            bottom: &world.bottom,
            share: 0.0,
            keeps_positions: true,
        };
        let public = [text([FIRST])];
        let attacker = Attacker {
            top: None,
            ..world.attacker(&public, &client)
        };
        let observed = client_release(&client, &public);
        let result = Infilling.run(&attacker, &observed).now_or_never().unwrap();
        assert!(matches!(result, Err(AuditError::NotApplicable { .. })));
    }

    fn client_release(client: &Hiding<'_>, texts: &[TokenIds]) -> Released {
        use crate::audit::Simulator;
        client.release(texts, 99).now_or_never().unwrap().unwrap()
    }
}

//! What the server would see of a text, word for word, and how much of the data changes.

use serde::Serialize;
use shared::model::CutActivations;
use shared::privacy::change::changes;
use shared::privacy::{BottomInput, Change, Mechanism, PrivateExample};
use shared::text::TokenIds;

use crate::error::ClientError;
use crate::pipeline::{Pipeline, TextPair};

/// Tokens that the shares are measured on; more would not change what a person sees.
pub const SHARES_TOKENS_MAX: usize = 2_000;

/// Texts that are run at a time.
const BATCH: usize = 16;

/// Some texts beside what the server would see. Stays on the device that made it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preview {
    /// The first texts, token by token.
    pub examples: Vec<PreviewExample>,
    /// Over all tokens that were looked at.
    pub shares: Shares,
    /// How many those were, special tokens excluded.
    pub tokens_counted: usize,
}

/// One text.
#[derive(Clone, PartialEq, Serialize)]
pub struct PreviewExample {
    /// Its tokens.
    pub tokens: Vec<PreviewToken>,
}

impl std::fmt::Debug for PreviewExample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PreviewExample({} tokens)", self.tokens.len())
    }
}

/// One token and what the server would take it for.
#[derive(Clone, PartialEq, Serialize)]
pub struct PreviewToken {
    /// The token.
    pub text: String,
    /// What the server would see.
    pub seen: String,
    /// `unchanged`, `near`, `far`, `removed` or `special`.
    pub kind: &'static str,
    /// Whether it continues the word before it.
    pub continues: bool,
}

/// Shares of the tokens, together 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Shares {
    /// Came out as they went in.
    pub unchanged: f64,
    /// Became one of their nearest neighbours.
    pub near: f64,
    /// Became something else.
    pub far: f64,
    /// Were left out or blanked out, or averaged with others.
    pub removed: f64,
}

/// What becomes of some texts, for the eyes of their owner.
pub(crate) struct Seen {
    /// Each text, and for each of its tokens what the server would take it for.
    pub(crate) texts: Vec<(TokenIds, Vec<(u32, Change)>)>,
    /// What the bottom is given of each.
    pub(crate) inputs: Vec<BottomInput>,
    /// What leaves, where the activations themselves are perturbed.
    pub(crate) perturbed: Option<CutActivations>,
}

/// How many tokens came out in which way; special ones are not counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts([usize; 4]);

impl Counts {
    pub(crate) fn add(&mut self, seen: &[(u32, Change)]) {
        for (_, change) in seen {
            match change {
                Change::Special => {}
                Change::Unchanged => self.0[0] += 1,
                Change::Near => self.0[1] += 1,
                Change::Far => self.0[2] += 1,
                Change::Removed => self.0[3] += 1,
            }
        }
    }

    pub(crate) fn total(&self) -> usize {
        self.0.iter().sum()
    }

    pub(crate) fn shares(&self) -> Shares {
        let total = self.total().max(1) as f64;
        let [unchanged, near, far, removed] = self.0.map(|count| count as f64 / total);
        Shares {
            unchanged,
            near,
            far,
            removed,
        }
    }
}

impl Pipeline {
    /// Shows the first `shown` texts as the server would see them, and measures the shares over as
    /// many of `texts` as hold [`SHARES_TOKENS_MAX`] tokens. It is the very release that an upload
    /// would send.
    ///
    /// Where the activations themselves are perturbed the server sees a noisy vector and no token;
    /// shown is the token whose clean activation, among all those of the texts at hand, is nearest.
    /// That is more than a real attacker has, who does not own the clean ones.
    ///
    /// # Errors
    ///
    /// When a text has no token, or the device fails.
    pub async fn preview(
        &self,
        texts: &[TextPair<'_>],
        shown: usize,
    ) -> Result<Preview, ClientError> {
        let mut examples = Vec::new();
        let mut counts = Counts::default();
        for batch in texts.chunks(BATCH) {
            for (before, seen) in self.seen(&*self.mechanism, batch).await?.texts {
                counts.add(&seen);
                if examples.len() < shown {
                    examples.push(self.example(&before, &seen)?);
                }
            }
            if counts.total() >= SHARES_TOKENS_MAX && examples.len() >= shown {
                break;
            }
        }
        Ok(Preview {
            examples,
            shares: counts.shares(),
            tokens_counted: counts.total(),
        })
    }

    /// What a mechanism would make of some texts. Nothing of it is released.
    pub(crate) async fn seen(
        &self,
        mechanism: &dyn Mechanism,
        texts: &[TextPair<'_>],
    ) -> Result<Seen, ClientError> {
        let mut examples = self.examples_of(mechanism, texts)?;
        if mechanism.perturbs_activations() {
            return self.seen_activations(mechanism, examples).await;
        }
        let inputs = mechanism.privatize(&mut examples).await?;
        let mut seen = Vec::with_capacity(inputs.len());
        for (example, input) in examples.into_iter().zip(&inputs) {
            let changes = changes(&self.table, &example.tokens, input, self.blank()).await?;
            seen.push((example.tokens, changes));
        }
        Ok(Seen {
            texts: seen,
            inputs,
            perturbed: None,
        })
    }

    /// What stands where nothing came out.
    fn blank(&self) -> u32 {
        self.tokenizer.mask_id().unwrap_or(u32::MAX)
    }

    async fn seen_activations(
        &self,
        mechanism: &dyn Mechanism,
        mut examples: Vec<PrivateExample>,
    ) -> Result<Seen, ClientError> {
        let inputs = mechanism.privatize(&mut examples).await?;
        let clean = self.bottom(&inputs).await?;
        let noisy = mechanism.perturb(clean.clone(), &mut examples);
        let nearest = if noisy.seq_lengths() == clean.seq_lengths() {
            nearest_rows(&noisy, &clean)
        } else {
            Vec::new() // averages: no row is that of one token
        };
        let owners: Vec<u32> = examples
            .iter()
            .flat_map(|example| example.tokens.ids().to_vec())
            .collect();
        let blank = self.blank();
        let mut answers = nearest.into_iter().map(|row| owners[row]);
        let seen = |example: PrivateExample| {
            let positions = example.tokens.ids().iter().zip(example.tokens.special());
            let seen = positions.map(|(id, special)| match (answers.next(), special) {
                (_, true) => (*id, Change::Special),
                (Some(answer), false) if answer == *id => (answer, Change::Unchanged),
                (Some(answer), false) => (answer, Change::Far),
                (None, false) => (blank, Change::Removed),
            });
            let seen = seen.collect();
            (example.tokens, seen)
        };
        Ok(Seen {
            texts: examples.into_iter().map(seen).collect(),
            inputs,
            perturbed: Some(noisy),
        })
    }

    fn example(
        &self,
        before: &TokenIds,
        after: &[(u32, Change)],
    ) -> Result<PreviewExample, ClientError> {
        let pieces = self.tokenizer.pieces(before);
        let ids = after.iter().map(|(id, _)| *id).collect();
        let seen = self.tokenizer.pieces(&before.with_ids(ids)?);
        let tokens = pieces
            .into_iter()
            .zip(seen)
            .zip(after)
            .map(|((piece, seen), (_, change))| PreviewToken {
                text: piece.text,
                seen: match change {
                    Change::Removed => String::new(),
                    _ => seen.text,
                },
                kind: match change {
                    Change::Special => "special",
                    Change::Unchanged => "unchanged",
                    Change::Near => "near",
                    Change::Far => "far",
                    Change::Removed => "removed",
                },
                continues: piece.continues,
            })
            .collect();
        Ok(PreviewExample { tokens })
    }
}

/// For each row of `noisy` the nearest row of `clean`, by Euclidean distance.
fn nearest_rows(noisy: &CutActivations, clean: &CutActivations) -> Vec<usize> {
    let d_model = clean.d_model();
    let distance =
        |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum() };
    noisy
        .values()
        .chunks_exact(d_model)
        .map(|row| {
            let candidates = clean.values().chunks_exact(d_model).enumerate();
            let best = candidates
                .map(|(at, candidate)| (at, distance(row, candidate)))
                .min_by(|a, b| a.1.total_cmp(&b.1));
            best.map_or(0, |(at, _)| at)
        })
        .collect()
}

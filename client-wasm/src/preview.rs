//! What the server would see of a text, word for word, and how much of the data changes.

use rand_chacha::ChaCha20Rng;
use serde::Serialize;
use shared::model::CutActivations;
use shared::privacy::Change;
use shared::text::TokenIds;

use crate::error::ClientError;
use crate::pipeline::{BottomInput, Mechanism, Pipeline, TextPair};

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
    /// `unchanged`, `near`, `far` or `special`.
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
}

impl Pipeline {
    /// Shows the first `shown` texts as the server would see them, and measures the shares over as
    /// many of `texts` as hold [`SHARES_TOKENS_MAX`] tokens. It is the very release that an upload
    /// would send.
    ///
    /// Under `vector` the server sees a noisy vector and no token; shown is the token whose clean
    /// activation, among all those of the texts at hand, is nearest. That is more than a real
    /// attacker has, who does not own the clean ones.
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
        let mut counts = [0usize; 3];
        for batch in texts.chunks(BATCH) {
            for (before, after, changes) in self.seen(batch).await? {
                for change in &changes {
                    match change {
                        Change::Special => {}
                        Change::Unchanged => counts[0] += 1,
                        Change::Near => counts[1] += 1,
                        Change::Far => counts[2] += 1,
                    }
                }
                if examples.len() < shown {
                    examples.push(self.example(&before, &after, &changes));
                }
            }
            if counts.iter().sum::<usize>() >= SHARES_TOKENS_MAX && examples.len() >= shown {
                break;
            }
        }
        let total = counts.iter().sum::<usize>();
        let share = |count: usize| count as f64 / total.max(1) as f64;
        let [unchanged, near, far] = counts.map(share);
        Ok(Preview {
            examples,
            shares: Shares {
                unchanged,
                near,
                far,
            },
            tokens_counted: total,
        })
    }

    /// Each text before and after, and what became of each token.
    async fn seen(
        &self,
        texts: &[TextPair<'_>],
    ) -> Result<Vec<(TokenIds, TokenIds, Vec<Change>)>, ClientError> {
        let mut tokens = self.tokens(texts)?;
        match self.mechanism {
            Mechanism::None => Ok(tokens
                .into_iter()
                .map(|(ids, _)| {
                    let special = ids.special().iter();
                    let kind = |special: &bool| {
                        if *special {
                            Change::Special
                        } else {
                            Change::Unchanged
                        }
                    };
                    let changes = special.map(kind).collect();
                    (ids.clone(), ids, changes)
                })
                .collect()),
            Mechanism::Token(_) => {
                let inputs = self.privatize(&mut tokens).await?;
                let mut seen = Vec::with_capacity(inputs.len());
                for ((before, _), input) in tokens.into_iter().zip(inputs) {
                    if let BottomInput::Privatized(after) = input {
                        let changes = self.token_privatizer.changes(&before, &after).await?;
                        seen.push((before, after.token_ids().clone(), changes));
                    }
                }
                Ok(seen)
            }
            Mechanism::Vector(_) => self.seen_vectors(&mut tokens).await,
        }
    }

    async fn seen_vectors(
        &self,
        tokens: &mut [(TokenIds, ChaCha20Rng)],
    ) -> Result<Vec<(TokenIds, TokenIds, Vec<Change>)>, ClientError> {
        let inputs = self.privatize(tokens).await?;
        let clean = self.bottom(&inputs).await?;
        let mut noisy = clean.clone();
        self.perturb(&mut noisy, tokens);
        let owners: Vec<u32> = tokens
            .iter()
            .flat_map(|(ids, _)| ids.ids().to_vec())
            .collect();
        let mut nearest = nearest_rows(&noisy, &clean)
            .into_iter()
            .map(|row| owners[row]);
        tokens
            .iter()
            .map(|(before, _)| {
                let answers: Vec<u32> = nearest.by_ref().take(before.len()).collect();
                let changes = before.ids().iter().zip(&answers).zip(before.special());
                let changes = changes
                    .map(|((id, answer), special)| match (special, id == answer) {
                        (true, _) => Change::Special,
                        (false, true) => Change::Unchanged,
                        (false, false) => Change::Far,
                    })
                    .collect();
                let shown = before.ids().iter().zip(&answers).zip(before.special());
                let shown =
                    shown.map(|((id, answer), special)| if *special { *id } else { *answer });
                Ok((before.clone(), before.with_ids(shown.collect())?, changes))
            })
            .collect()
    }

    fn example(&self, before: &TokenIds, after: &TokenIds, changes: &[Change]) -> PreviewExample {
        let pieces = self.tokenizer.pieces(before);
        let seen = self.tokenizer.pieces(after);
        let tokens = pieces
            .into_iter()
            .zip(seen)
            .zip(changes)
            .map(|((piece, seen), change)| PreviewToken {
                text: piece.text,
                seen: seen.text,
                kind: match change {
                    Change::Special => "special",
                    Change::Unchanged => "unchanged",
                    Change::Near => "near",
                    Change::Far => "far",
                },
                continues: piece.continues,
            })
            .collect();
        PreviewExample { tokens }
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

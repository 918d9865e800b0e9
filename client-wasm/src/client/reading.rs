//! The reading: what an attacker could read back of the file, measured here before anything is sent.
//!
//! For each protection level the attacks `eia-nn` and `eia-bayes` of `shared::audit` are tried on some
//! rows, and under the mechanism that is set the names and numbers are counted that leave word for
//! word. Nothing is sent, and the mechanism that is set stays as it is. Formulas and limits:
//! docs/audit.md.

mod course;
mod reference;
mod rows;
mod survivors;

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use serde::Serialize;
use shared::audit::attack::pause;
use shared::audit::attacks::{AS_IS, BAYES, NEAREST};
use shared::audit::score::score;
use shared::audit::{Attack, Attacker, AuditError, NoiseLaw, Pending, Released, Simulator, Truth};
use shared::privacy::{BottomInput, Eta, Mechanism};
use shared::text::{Example, TokenIds};

use super::Client;
use super::attacked::{attackers_examples, law, named, training_text};
use super::protection::Ready;
use crate::error::ClientError;
use crate::events::Event;
use crate::options::{PrivacyOptions, ReadingOptions};
use crate::pipeline::Pipeline;
use crate::preview::{Counts, Seen, Shares};

use course::Course;
pub use course::Stop;
pub use reference::Undefended;
use rows::{Rows, fitting, spread};
pub use survivors::{Kept, Survivor, Survivors};
use survivors::{Tally, Word, words};

/// Texts that are run at a time. Few, since nothing else on this thread runs meanwhile.
const BATCH: usize = 4;

/// Rows that are searched for names and numbers, and tokens of those that hold some.
const SEARCHED_ROWS_MAX: usize = 1_000;
const SEARCHED_TOKENS_MAX: usize = 2_000;

/// Stages of a level: releasing, and each attack.
const STAGES_A_LEVEL: usize = 3;

/// What an attacker could read back. Stays on the device that made it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    /// One for each level that was asked for.
    pub points: Vec<ReadingPoint>,
    /// The same rows without a mechanism.
    pub undefended: Undefended,
    /// Share of the tokens that is right by frequencies alone: the most frequent one of the
    /// attacker's text, guessed at every place, or as many of them as the text has tokens where
    /// places are lost.
    pub chance: f64,
    /// Rows that were attacked.
    pub examples: usize,
    /// Their tokens, special ones left out.
    pub tokens: usize,
    /// What leaves word for word under the mechanism that is set.
    pub survivors: Survivors,
}

/// One protection level.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReadingPoint {
    /// As it was asked for.
    pub level: f64,
    /// The mechanism's parameter, where it has one.
    pub eta: Option<f64>,
    /// What becomes of the tokens.
    #[serde(flatten)]
    pub shares: Shares,
    /// Share of the tokens that the nearest-neighbour attack recovers, in place, or in no order where
    /// places are lost.
    pub nn: f64,
    /// The same of the attack that knows the noise and which words are common; none where it does
    /// not apply.
    pub bayes: Option<f64>,
}

/// Rows after a mechanism, beside what they were.
struct Observed {
    tokens: Vec<TokenIds>,
    released: Released,
    counts: Counts,
}

const NOT_PROTECTED: ClientError = ClientError::NotYet("choose the protection first");

impl<T> Client<T> {
    /// Tries attacks on the file's own rows at some protection levels of the mechanism that is set,
    /// and counts what would leave word for word. Sends nothing and changes nothing.
    ///
    /// # Errors
    ///
    /// `ClientError::Stopped` when `stop` asks for it; when there is no file or no mechanism, a level
    /// is out of range, or the device fails.
    pub async fn reading(
        &self,
        options: &ReadingOptions,
        stop: &Stop,
        on_event: impl FnMut(Event),
    ) -> Result<Reading, ClientError> {
        let chosen = self.protected.options.as_ref().ok_or(NOT_PROTECTED)?;
        if options.examples == 0 {
            return Err(ClientError::Option {
                name: "examples",
                problem: "at least one row is attacked".to_owned(),
            });
        }
        let stages = 1 + STAGES_A_LEVEL * (1 + options.levels.len());
        let course = Course::new(stages, stop, on_event);
        let survivors = self.survivors(&course).await?;
        let rows = self.rows_of_reading(options.examples, &course).await?;
        let (undefended, chance) = self.without_mechanism(&rows, &course).await?;
        let mut points = Vec::with_capacity(options.levels.len());
        let mut tokens = 0;
        for level in options.levels.iter().copied() {
            course.rest().await?;
            let at_level = PrivacyOptions {
                protection: Some(level),
                eta: None,
                ..chosen.clone()
            };
            let ready = course.drive(self.prepare(&at_level)).await??;
            let point;
            (point, tokens) = self.point(level, &ready, &rows, &course).await?;
            points.push(point);
        }
        Ok(Reading {
            points,
            undefended,
            chance,
            examples: rows.attacked.len(),
            tokens,
            survivors,
        })
    }

    /// One level, and how many tokens were attacked.
    async fn point(
        &self,
        level: f64,
        ready: &Ready,
        rows: &Rows<'_>,
        course: &Course<'_, impl FnMut(Event)>,
    ) -> Result<(ReadingPoint, usize), ClientError> {
        let mechanism = &*ready.prepared.mechanism;
        let observed = self.observed(mechanism, rows, course).await?;
        course.end_stage();
        // Whoever has the frozen bottom can compute the tokens that it was given, whatever the cut.
        let nearest = match mechanism.perturbs_activations() {
            true => NEAREST,
            false => AS_IS,
        };
        let attack = (mechanism, rows, &observed);
        let nn = self.success(nearest, attack, course).await??;
        course.end_stage();
        let bayes = match self.success(BAYES, attack, course).await? {
            Ok(success) => Some(success),
            Err(AuditError::NotApplicable { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        course.end_stage();
        let point = ReadingPoint {
            level,
            eta: ready.prepared.eta.map(Eta::get),
            shares: observed.counts.shares(),
            nn,
            bayes,
        };
        Ok((point, observed.counts.total()))
    }

    /// The attacked rows after a mechanism.
    async fn observed(
        &self,
        mechanism: &dyn Mechanism,
        rows: &Rows<'_>,
        course: &Course<'_, impl FnMut(Event)>,
    ) -> Result<Observed, ClientError> {
        let d_model = self.pipeline.bottom.config().d_model;
        let mut tokens = Vec::with_capacity(rows.attacked.len());
        let mut counts = Counts::default();
        let mut released: Option<Released> = None;
        for texts in rows.attacked.chunks(BATCH) {
            course.rest().await?;
            let seen = course.drive(self.pipeline.seen(mechanism, texts)).await??;
            let Seen {
                texts,
                inputs,
                perturbed,
            } = seen;
            let batch = match perturbed {
                Some(activations) => Released::new(activations),
                None => Released::of_tokens(given(&inputs), d_model),
            };
            released = Some(match released {
                Some(all) => all.join(batch),
                None => batch,
            });
            for (before, seen) in texts {
                counts.add(&seen);
                tokens.push(before);
            }
            course.tell(tokens.len() as f64 / rows.attacked.len() as f64);
        }
        Ok(Observed {
            tokens,
            released: released.unwrap_or_else(|| Released::of_tokens(Vec::new(), d_model)),
            counts,
        })
    }

    /// The share of the tokens that an attack recovers; inside, why it cannot be tried.
    async fn success(
        &self,
        attack: &dyn Attack,
        (mechanism, rows, observed): (&dyn Mechanism, &Rows<'_>, &Observed),
        course: &Course<'_, impl FnMut(Event)>,
    ) -> Result<Result<f64, AuditError>, ClientError> {
        let simulator = TokenSimulator {
            pipeline: &self.pipeline,
            mechanism,
        };
        let progress = |share| course.tell(share);
        let attacker = Attacker {
            bottom: &self.pipeline.bottom,
            top: None,
            special_ids: &rows.special_ids,
            public: &rows.public,
            public_classes: None,
            simulator: &simulator,
            undefended: &simulator, // asked by attacks that are trained, and none is run here
            seed: rows.seed,
            progress: &progress,
        };
        let truth = Truth {
            tokens: &observed.tokens,
            named: &[],
            classes: &[],
            keeps_positions: mechanism.keeps_positions(),
        };
        let run = attack.run(&attacker, &observed.released);
        let guesses = course.drive(run).await?;
        Ok(guesses.and_then(|guesses| Ok(score(&guesses, &truth)?.success())))
    }

    /// The names and numbers that leave word for word under the mechanism that is set. Its noise is
    /// that of an upload, so that these are the very words.
    async fn survivors(
        &self,
        course: &Course<'_, impl FnMut(Event)>,
    ) -> Result<Survivors, ClientError> {
        let all = (0..self.dataset()?.examples().len()).collect();
        let searched = self
            .tokenized(&spread(all, SEARCHED_ROWS_MAX), course)
            .await?;
        let searched = searched.into_iter().filter_map(|(row, tokens)| {
            let (named, pieces) = named(&self.pipeline, row, &tokens);
            let words = words(&named, &pieces);
            (!words.is_empty()).then_some((row, tokens.len(), words))
        });
        let size = |(_, tokens, _): &(&Example, usize, Vec<Word>)| *tokens;
        let searched = fitting(searched.collect(), SEARCHED_TOKENS_MAX, size);
        let mut tally = Tally::default();
        for (at, rows) in searched.chunks(BATCH).enumerate() {
            course.rest().await?;
            let texts: Vec<_> = rows.iter().map(|(row, ..)| training_text(row)).collect();
            let mechanism = &*self.pipeline.mechanism;
            let seen = course
                .drive(self.pipeline.seen(mechanism, &texts))
                .await??;
            for ((_, _, words), (_, seen)) in rows.iter().zip(&seen.texts) {
                tally.add(words, seen);
            }
            course.tell(((at + 1) * BATCH) as f64 / searched.len() as f64);
        }
        course.end_stage();
        Ok(tally.into_survivors())
    }
}

/// The attacker's copy of a client, as far as it is looked at here: only the tokens that the bottom
/// would be given, so that the bottom need not run.
struct TokenSimulator<'a> {
    pipeline: &'a Pipeline,
    mechanism: &'a dyn Mechanism,
}

impl Simulator for TokenSimulator<'_> {
    fn release<'a>(&'a self, tokens: &'a [TokenIds], seed: u64) -> Pending<'a, Released> {
        Box::pin(async move {
            let mut seeds = ChaCha20Rng::seed_from_u64(seed);
            let mut sanitized = Vec::with_capacity(tokens.len());
            for texts in tokens.chunks(BATCH) {
                pause().await;
                let mut examples = attackers_examples(texts, &mut seeds);
                sanitized.extend(given(&self.mechanism.privatize(&mut examples).await?));
            }
            let d_model = self.pipeline.bottom.config().d_model;
            Ok(Released::of_tokens(sanitized, d_model))
        })
    }

    fn noise(&self) -> NoiseLaw {
        law(self.pipeline, self.mechanism)
    }

    fn keeps_positions(&self) -> bool {
        self.mechanism.keeps_positions()
    }
}

/// The tokens that the bottom is given.
fn given(inputs: &[BottomInput]) -> Vec<TokenIds> {
    let given = inputs.iter().map(BottomInput::token_ids);
    given.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_crosses_to_the_page_in_one_piece() {
        let point = ReadingPoint {
            level: 0.5,
            eta: None,
            shares: Shares {
                unchanged: 0.25,
                ..Shares::default()
            },
            nn: 0.5,
            bayes: None,
        };
        let expected = serde_json::json!({
            "level": 0.5, "eta": null, "unchanged": 0.25, "near": 0.0, "far": 0.0, "removed": 0.0,
            "nn": 0.5, "bayes": null,
        });
        assert_eq!(serde_json::to_value(point).ok(), Some(expected));
    }
}

//! How a client protects its file: which mechanism, how strong, which words matter, and what a
//! person sees of it.

use std::rc::Rc;

use serde::Serialize;
use shared::privacy::calibration::TokenCurve;
use shared::privacy::contribution::{CAVEAT, Contribution, ContributionTable, LABEL_CAVEAT};
use shared::privacy::mechanism::{Material, MechanismEntry, Prepared, Strength, entry};
use shared::privacy::ranking::Ranking;
use shared::privacy::{Eta, Protection, ordinary_ids};
use shared::text::RawText;

use super::{Client, owned_pairs, text_pair};
use crate::error::ClientError;
use crate::options::{PROTECTION_DEFAULT, PrivacyOptions, TrainOptions};
use crate::pipeline::TextPair;
use crate::preview::Preview;
use crate::seed::Draw;
use crate::transport::Transport;

/// Words that are shown as contributing.
const CONTRIBUTING_SHOWN: usize = 40;

/// Texts that a calibration looks at, spread over the file.
const CALIBRATION_TEXTS: usize = 256;

/// Rows that are tokenized at a time when words are ranked.
const RANKED_ROWS: usize = 512;

/// Everything of a file that its protection is computed from. None of it is ever sent.
#[derive(Debug, Default)]
pub(super) struct Protected {
    /// As they were chosen last.
    pub(super) options: Option<PrivacyOptions>,
    curve: Option<TokenCurve>,
    sides: Option<Sides>,
    words: Option<Words>,
}

/// What the training rows say of words.
#[derive(Debug)]
struct Words {
    contribution: Rc<ContributionTable>,
    ranking: Ranking,
}

/// A mechanism that is set up and not yet chosen.
pub(super) struct Ready {
    pub(super) prepared: Prepared,
    contribution: Option<Rc<Contribution>>,
}

/// Which rows train and which validate.
#[derive(Debug, Clone)]
pub(super) struct Sides {
    share: f64,
    pub(super) train: Vec<usize>,
    pub(super) validation: Vec<usize>,
}

/// What a mechanism was set to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrivacyReport {
    /// Its name in the table of mechanisms.
    pub mechanism: &'static str,
    /// Its parameter; none where it has none.
    pub eta: Option<f64>,
    /// The protection level that this means.
    pub protection: Option<f64>,
    /// For people: what will happen.
    pub sentence: String,
    /// For people: what is promised.
    pub guarantee: &'static str,
    /// For people: what the choice of words that matter costs.
    pub caveats: Vec<&'static str>,
    /// The words that matter most, where the mechanism looks at that.
    pub contributing: Vec<ContributingWord>,
}

/// A word that matters for the task. Stays on the device that made it.
#[derive(Clone, PartialEq, Serialize)]
pub struct ContributingWord {
    /// The word, or the part of one.
    pub text: String,
    /// The class that it speaks for.
    pub label: String,
    /// Utility importance, log-ratio of its shares in the classes.
    pub importance: f64,
    /// How often it occurs in the training rows.
    pub count: u32,
    /// What eta is multiplied by; none where the word leaves as it is.
    pub factor: Option<f64>,
}

impl std::fmt::Debug for ContributingWord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContributingWord")
    }
}

impl<T: Transport> Client<T> {
    /// Chooses the mechanism and its strength for everything that is released from now on.
    ///
    /// # Errors
    ///
    /// When a parameter is out of range, or the file has no text to calibrate with.
    pub async fn set_privacy(
        &mut self,
        options: &PrivacyOptions,
    ) -> Result<PrivacyReport, ClientError> {
        let entry = entry(&options.mechanism)?;
        let reads = options.contribution.reading().is_some();
        if reads && !entry.takes_contribution {
            return Err(ClientError::Option {
                name: "contribution",
                problem: format!("the mechanism {} does not use it", entry.name),
            });
        }
        strength(options)?; // what cannot be is refused before anything is measured
        self.calibrate().await?;
        if entry.ranks_tokens || reads {
            self.rank().await?;
        }
        self.choose(entry, options).await
    }

    /// Chooses the mechanism where there is no file to train on, and calibrates it with texts that
    /// it will be applied to.
    ///
    /// # Errors
    ///
    /// As [`Self::set_privacy`], and for a mechanism that looks at labelled rows.
    pub async fn set_privacy_for(
        &mut self,
        texts: &[(RawText, Option<RawText>)],
        options: &PrivacyOptions,
    ) -> Result<PrivacyReport, ClientError> {
        let entry = entry(&options.mechanism)?;
        if entry.ranks_tokens || options.contribution.reading().is_some() {
            return Err(ClientError::Option {
                name: "mechanism",
                problem: format!(
                    "{} chooses words by rows to train on, and there are none here; train and \
                     predict in one run",
                    entry.name
                ),
            });
        }
        strength(options)?; // what cannot be is refused before anything is measured
        let curve = self.curve(&spread(&owned_pairs(texts))).await?;
        self.protected.curve = Some(curve);
        self.choose(entry, options).await
    }

    async fn choose(
        &mut self,
        entry: &MechanismEntry,
        options: &PrivacyOptions,
    ) -> Result<PrivacyReport, ClientError> {
        let ready = self.prepare(options).await?;
        let report = PrivacyReport {
            mechanism: entry.name,
            eta: ready.prepared.eta.map(Eta::get),
            protection: ready.prepared.level,
            sentence: ready.prepared.sentence,
            guarantee: entry.guarantee,
            caveats: caveats(entry, options),
            contributing: self.contributing(entry, ready.contribution.as_deref())?,
        };
        self.pipeline.set_mechanism(ready.prepared.mechanism);
        self.protected.options = Some(options.clone());
        self.trained = None;
        Ok(report)
    }

    /// The sides of the file for a run. Words that matter are found in training rows only, so that
    /// another share of validation rows sets the mechanism up anew.
    pub(super) async fn sides(&mut self, options: &TrainOptions) -> Result<Sides, ClientError> {
        let share = options.validation_share;
        let before = self.protected.sides.as_ref().map(|sides| sides.share);
        let sides = self.divide(share)?;
        if before.is_some_and(|before| before != share)
            && let Some(options) = self.protected.options.clone()
        {
            self.protected.words = None;
            self.set_privacy(&options).await?;
        }
        Ok(sides)
    }

    /// The first `shown` texts beside what the server would see, and the shares over the data.
    ///
    /// # Errors
    ///
    /// When there is no file, or the device fails.
    pub async fn preview(&self, shown: usize) -> Result<Preview, ClientError> {
        let texts: Vec<_> = self.dataset()?.examples().iter().map(text_pair).collect();
        self.pipeline.preview(&texts, shown).await
    }

    /// One text or pair beside what the server would see.
    ///
    /// # Errors
    ///
    /// When it has no token, or the device fails.
    pub async fn preview_text(
        &self,
        text: &RawText,
        pair: Option<&RawText>,
    ) -> Result<Preview, ClientError> {
        let text = TextPair {
            text,
            pair,
            class: None,
        };
        self.pipeline.preview(&[text], 1).await
    }

    /// Draws the sides once for a file and a share.
    fn divide(&mut self, share: f64) -> Result<Sides, ClientError> {
        match &self.protected.sides {
            Some(sides) if sides.share == share => Ok(sides.clone()),
            _ => {
                let (train, validation) = self.dataset()?.split(share, &mut self.rng(Draw::Split)?);
                let sides = Sides {
                    share,
                    train,
                    validation,
                };
                Ok(self.protected.sides.insert(sides).clone())
            }
        }
    }

    /// Measures the curve of the file's own words, once.
    async fn calibrate(&mut self) -> Result<(), ClientError> {
        if self.protected.curve.is_none() {
            let texts: Vec<_> = self.dataset()?.examples().iter().map(text_pair).collect();
            let curve = self.curve(&spread(&texts)).await?;
            self.protected.curve = Some(curve);
        }
        Ok(())
    }

    async fn curve(&self, texts: &[TextPair<'_>]) -> Result<TokenCurve, ClientError> {
        let tokens = self.pipeline.tokens(texts)?;
        let ids: Vec<u32> = tokens.iter().flat_map(ordinary_ids).collect();
        let mut rng = self.rng(Draw::Calibration)?;
        Ok(TokenCurve::measure(&self.pipeline.table, &ids, &mut rng).await?)
    }

    /// Learns from the training rows which words matter, once.
    async fn rank(&mut self) -> Result<(), ClientError> {
        if self.protected.words.is_some() {
            return Ok(());
        }
        let share = match &self.protected.sides {
            Some(sides) => sides.share,
            None => TrainOptions::default().validation_share,
        };
        let sides = self.divide(share)?;
        let dataset = self.dataset()?;
        let mut rows = Vec::with_capacity(sides.train.len());
        for indices in sides.train.chunks(RANKED_ROWS) {
            let examples = indices.iter().map(|index| &dataset.examples()[*index]);
            let texts: Vec<_> = examples.clone().map(text_pair).collect();
            let tokens = self.pipeline.tokens(&texts)?;
            rows.extend(
                tokens
                    .into_iter()
                    .zip(examples.map(|example| example.label)),
            );
        }
        let n_classes = dataset.labels().len();
        let table = &self.pipeline.table;
        let counted = rows.iter().map(|(tokens, label)| (tokens, *label));
        let contribution = ContributionTable::from_rows(counted, n_classes, table.vocab_size());
        let ranking = Ranking::new(table, &contribution, &rows, n_classes).await?;
        self.protected.words = Some(Words {
            contribution: Rc::new(contribution),
            ranking,
        });
        Ok(())
    }

    /// The words that matter most to this mechanism, for their owner.
    fn contributing(
        &self,
        entry: &MechanismEntry,
        contribution: Option<&Contribution>,
    ) -> Result<Vec<ContributingWord>, ClientError> {
        let words = self.protected.words.as_ref();
        let Some(words) = words.filter(|_| entry.ranks_tokens || contribution.is_some()) else {
            return Ok(Vec::new());
        };
        let table = &words.contribution;
        let labels = self.dataset()?.labels();
        let word = |id: u32| {
            let factor = contribution.map(|contribution| contribution.multiplier(id, None));
            let label = table
                .class_of(id)
                .and_then(|class| labels.get(class as usize));
            ContributingWord {
                text: self.pipeline.tokenizer.piece(id).unwrap_or_default().text,
                label: label.cloned().unwrap_or_default(),
                importance: table.importance(id, None),
                count: table.count(id),
                factor: factor.filter(|factor| factor.is_finite()),
            }
        };
        let top = match contribution {
            Some(_) => table.top(CONTRIBUTING_SHOWN),
            None => words.ranking.top(CONTRIBUTING_SHOWN),
        };
        Ok(top.into_iter().map(word).collect())
    }
}

impl<T> Client<T> {
    /// Sets a mechanism up without choosing it, from what is known of the file: its curve, and the
    /// words that matter where the mechanism looks at them.
    ///
    /// # Errors
    ///
    /// When a parameter is out of range, or what it needs has not been measured.
    pub(super) async fn prepare(&self, options: &PrivacyOptions) -> Result<Ready, ClientError> {
        let entry = entry(&options.mechanism)?;
        let Protected { curve, words, .. } = &self.protected;
        let curve = curve.as_ref().ok_or(super::NO_FILE)?;
        let reading = options.contribution.reading();
        let contribution = match (reading, words) {
            (Some(reading), Some(words)) => {
                let policy = options.contribution.policy();
                let table = Rc::clone(&words.contribution);
                Some(Rc::new(Contribution::new(table, reading, policy)?))
            }
            _ => None,
        };
        let material = Material {
            bottom: &self.pipeline.bottom,
            table: &self.pipeline.table,
            curve,
            contribution: contribution.as_ref(),
            ranking: words.as_ref().map(|words| &words.ranking),
            mask_id: self.pipeline.tokenizer.mask_id(),
        };
        let prepared = (entry.prepare)(&material, strength(options)?).await?;
        Ok(Ready {
            prepared,
            contribution,
        })
    }
}

/// At most `CALIBRATION_TEXTS` of some texts, at equal distances.
fn spread<'t>(texts: &[TextPair<'t>]) -> Vec<TextPair<'t>> {
    let stride = texts.len().div_ceil(CALIBRATION_TEXTS).max(1);
    texts.iter().step_by(stride).copied().collect()
}

fn strength(options: &PrivacyOptions) -> Result<Strength, ClientError> {
    Ok(match options.eta {
        Some(eta) => Strength::Eta(Eta::new(eta)?),
        None => {
            let level = options.protection.unwrap_or(PROTECTION_DEFAULT);
            Strength::Level(Protection::new(level)?)
        }
    })
}

fn caveats(entry: &MechanismEntry, options: &PrivacyOptions) -> Vec<&'static str> {
    let reads = options.contribution.reading().is_some();
    let mut caveats = Vec::new();
    if entry.ranks_tokens || reads {
        caveats.push(CAVEAT);
    }
    if reads && options.contribution.label_dependent {
        caveats.push(LABEL_CAVEAT);
    }
    caveats
}

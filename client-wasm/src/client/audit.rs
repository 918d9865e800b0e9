//! The client under audit: what `shared::audit` attacks, and what an attacker can copy of it.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use sha2::{Digest, Sha256};
use shared::audit::{AuditError, Knowledge, NoiseLaw, Pending, Released, Simulator, Subject};
use shared::model::TopModel;
use shared::privacy::none::NoMechanism;
use shared::privacy::{BottomInput, Mechanism, PrivateExample};
use shared::protocol::tensor::ActivationDtype;
use shared::text::{RawText, TokenIds};

use super::attacked::{attackers_examples, law, named, training_text};
use super::{Client, system_rng};
use crate::error::ClientError;
use crate::options::UploadDtype;
use crate::pipeline::{Pipeline, TextPair};
use crate::release::ReleaseKey;

/// Texts that are released at a time.
const BATCH: usize = 16;

/// A text with what only its owner knows of it. Like its tokens it cannot be serialized.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnedExample {
    /// Its tokens.
    pub tokens: TokenIds,
    /// Its tokens after the mechanism, where that works on tokens.
    pub sanitized: Option<TokenIds>,
    /// Positions of names and numbers.
    pub named: Vec<usize>,
    /// Its class.
    pub label: u32,
}

/// The client as `shared::audit` attacks it: the pipeline as it protects, under secrets of the run.
#[derive(Debug)]
pub struct Audited<'a> {
    pipeline: &'a Pipeline,
    texts: Vec<TextPair<'a>>,
    recorded: Option<Released>,
    defended: PipelineSimulator<'a>,
    undefended: PipelineSimulator<'a>,
}

impl<T> Client<T> {
    /// The client under audit, with some rows of its file, or what was recorded of them, as the
    /// evaluated examples. `dtype` is how activations are sent.
    ///
    /// # Errors
    ///
    /// When there is no file.
    pub fn audited(
        &self,
        rows: &[usize],
        recorded: Option<Released>,
        dtype: UploadDtype,
    ) -> Result<Audited<'_>, ClientError> {
        let examples = self.dataset()?.examples();
        let simulator = |mechanism| PipelineSimulator {
            pipeline: &self.pipeline,
            dtype: dtype.into(),
            mechanism,
        };
        let texts = rows
            .iter()
            .filter_map(|row| examples.get(*row))
            .map(training_text);
        Ok(Audited {
            pipeline: &self.pipeline,
            texts: texts.collect(),
            recorded,
            defended: simulator(&*self.pipeline.mechanism),
            undefended: simulator(&NoMechanism),
        })
    }

    /// Rows of the file with what only their owner knows of them: their tokens before and after the
    /// mechanism. Stays on this device.
    ///
    /// # Errors
    ///
    /// When there is no file, a text has no token, or the device fails.
    pub async fn private_examples(&self, rows: &[usize]) -> Result<Vec<OwnedExample>, ClientError> {
        let examples = self.dataset()?.examples();
        let rows: Vec<_> = rows.iter().filter_map(|row| examples.get(*row)).collect();
        let mut private = Vec::with_capacity(rows.len());
        for rows in rows.chunks(BATCH) {
            let texts: Vec<_> = rows.iter().map(|row| training_text(row)).collect();
            let mut released = self.pipeline.examples(&texts)?;
            let inputs = self.pipeline.mechanism.privatize(&mut released).await?;
            for ((example, released), input) in rows.iter().zip(&released).zip(&inputs) {
                private.push(OwnedExample {
                    named: named(&self.pipeline, example, &released.tokens).0,
                    tokens: released.tokens.clone(),
                    sanitized: sanitized(input).cloned(),
                    label: example.label,
                });
            }
        }
        Ok(private)
    }

    /// The tokens of texts that are not in the file; one without a token is left out.
    pub fn encode(&self, texts: &[(RawText, Option<RawText>)]) -> Vec<TokenIds> {
        let encode = |(text, pair): &(RawText, Option<RawText>)| {
            self.pipeline.tokenizer.encode(text, pair.as_ref()).ok()
        };
        texts.iter().filter_map(encode).collect()
    }

    /// Tokens as a person reads them, special ones left out.
    pub fn readable(&self, tokens: &TokenIds) -> String {
        let pieces = self.pipeline.tokenizer.pieces(tokens);
        let mut text = String::new();
        for (piece, special) in pieces.iter().zip(tokens.special()) {
            if *special {
                continue;
            }
            if !piece.continues && !text.is_empty() {
                text.push(' ');
            }
            text += piece.text.trim();
        }
        text
    }

    /// What an attacker has of this client and of public text. The client has no top: whoever has
    /// the whole model adds it.
    pub fn knowledge<'a>(
        &'a self,
        special_ids: &'a [u32],
        public: &'a [TokenIds],
        public_classes: Option<&'a [u32]>,
    ) -> Knowledge<'a> {
        Knowledge {
            bottom: &self.pipeline.bottom,
            top: None,
            special_ids,
            public,
            public_classes,
        }
    }

    /// The blocks above the cut of the whole model that this client's bottom is of, for an attacker
    /// who owns them.
    ///
    /// # Errors
    ///
    /// When a tensor is missing or has another shape.
    pub fn top(&self, file: &[u8]) -> Result<TopModel, ClientError> {
        let bottom = &self.pipeline.bottom;
        Ok(TopModel::load(
            bottom.config(),
            file,
            bottom.cut(),
            bottom.device(),
        )?)
    }

    /// The law of the noise of what this client releases.
    pub fn noise(&self) -> NoiseLaw {
        law(&self.pipeline, &*self.pipeline.mechanism)
    }
}

/// A seed from the system, for an audit that nobody needs to repeat number by number.
///
/// # Errors
///
/// When the system has no generator.
pub fn system_seed() -> Result<u64, ClientError> {
    Ok(system_rng()?.next_u64())
}

impl Subject for Audited<'_> {
    fn observe(&self, secret: u64) -> Pending<'_, Released> {
        Box::pin(async move {
            if let Some(recorded) = &self.recorded {
                return Ok(recorded.clone());
            }
            let key = ReleaseKey::from_bytes(Sha256::digest(secret.to_le_bytes()).into());
            let mut all: Option<Released> = None;
            for texts in self.texts.chunks(BATCH) {
                let examples = self
                    .pipeline
                    .examples_under(&key, &*self.pipeline.mechanism, texts);
                let batch = self
                    .defended
                    .batch(&mut examples.map_err(released)?)
                    .await?;
                all = Some(joined(all, batch));
            }
            all.ok_or(NO_TEXT)
        })
    }

    fn simulator(&self) -> &dyn Simulator {
        &self.defended
    }

    fn undefended(&self) -> &dyn Simulator {
        &self.undefended
    }
}

const NO_TEXT: AuditError = AuditError::NotApplicable {
    reason: "there is no text to release",
};

/// A pipeline with generators of the attacker's own, as it protects or without its mechanism.
#[derive(Debug)]
struct PipelineSimulator<'a> {
    pipeline: &'a Pipeline,
    dtype: ActivationDtype,
    mechanism: &'a dyn Mechanism,
}

impl PipelineSimulator<'_> {
    async fn batch(&self, examples: &mut [PrivateExample]) -> Result<Released, AuditError> {
        let inputs = self.mechanism.privatize(examples).await?;
        let clean = self.pipeline.bottom(&inputs).await.map_err(released)?;
        let activations = self.mechanism.perturb(clean, examples);
        let sanitized = inputs
            .iter()
            .map(|input| sanitized(input).cloned())
            .collect();
        Released::new(activations)
            .with_sanitized(sanitized)
            .as_sent(self.dtype)
    }
}

impl Simulator for PipelineSimulator<'_> {
    fn release<'a>(&'a self, tokens: &'a [TokenIds], seed: u64) -> Pending<'a, Released> {
        Box::pin(async move {
            let mut seeds = ChaCha20Rng::seed_from_u64(seed);
            let mut all: Option<Released> = None;
            for texts in tokens.chunks(BATCH) {
                let mut texts = attackers_examples(texts, &mut seeds);
                let batch = self.batch(&mut texts).await?;
                all = Some(joined(all, batch));
            }
            all.ok_or(NO_TEXT)
        })
    }

    fn noise(&self) -> NoiseLaw {
        law(self.pipeline, self.mechanism)
    }

    fn keeps_positions(&self) -> bool {
        self.mechanism.keeps_positions()
    }
}

/// The tokens that the bottom was given, where the mechanism made them.
fn sanitized(input: &BottomInput) -> Option<&TokenIds> {
    match input {
        BottomInput::Clear(_) => None,
        BottomInput::Privatized(privatized) => Some(privatized.token_ids()),
    }
}

fn joined(all: Option<Released>, batch: Released) -> Released {
    match all {
        Some(all) => all.join(batch),
        None => batch,
    }
}

#[allow(clippy::needless_pass_by_value)] // the shape that map_err wants
fn released(error: ClientError) -> AuditError {
    AuditError::Release {
        reason: error.to_string(),
    }
}

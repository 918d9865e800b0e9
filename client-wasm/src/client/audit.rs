//! The client under audit: what `shared::audit` attacks, and what an attacker can copy of it.

use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use sha2::{Digest, Sha256};
use shared::audit::named::named_positions;
use shared::audit::{
    AuditError, Knowledge, NoiseLaw, Pending, Released, Simulator, Subject, TokenEta,
};
use shared::model::TopModel;
use shared::privacy::none::NoMechanism;
use shared::privacy::{BottomInput, Eta, Mechanism, PrivateExample, mechanism};
use shared::protocol::tensor::ActivationDtype;
use shared::text::{Example, RawText, TokenIds};

use super::{Client, system_rng, text_pair};
use crate::error::ClientError;
use crate::options::UploadDtype;
use crate::pipeline::{Pipeline, TextPair};
use crate::release::ReleaseKey;
use crate::seed::Draw;

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
        let simulator = |protects| PipelineSimulator {
            pipeline: &self.pipeline,
            dtype: dtype.into(),
            protects,
        };
        let texts = rows
            .iter()
            .filter_map(|row| examples.get(*row))
            .map(training_text);
        Ok(Audited {
            pipeline: &self.pipeline,
            texts: texts.collect(),
            recorded,
            defended: simulator(true),
            undefended: simulator(false),
        })
    }

    /// Some rows of the file, drawn at random, and the others.
    ///
    /// # Errors
    ///
    /// When there is no file.
    pub fn draw_rows(&self, count: usize) -> Result<(Vec<usize>, Vec<usize>), ClientError> {
        self.draw(self.dataset()?.examples().len(), count)
    }

    /// `count` of `total` numbers, drawn at random, and the others; both ascending.
    ///
    /// # Errors
    ///
    /// When the system has no generator.
    pub fn draw(
        &self,
        total: usize,
        count: usize,
    ) -> Result<(Vec<usize>, Vec<usize>), ClientError> {
        Ok(drawn(total, count, &mut self.rng(Draw::Attacked)?))
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
                let ids = &released.tokens;
                let texts = [Some(&example.text), example.pair.as_ref()];
                let texts: Vec<&str> = texts.into_iter().flatten().map(RawText::expose).collect();
                let pieces = self.pipeline.tokenizer.pieces(ids);
                private.push(OwnedExample {
                    named: named_positions(&texts, ids, &pieces),
                    tokens: ids.clone(),
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
        law(&self.pipeline)
    }

    /// Tokens that no text consists of.
    pub fn special_ids(&self) -> Vec<u32> {
        self.pipeline.tokenizer.special_ids()
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

fn drawn(total: usize, count: usize, rng: &mut impl Rng) -> (Vec<usize>, Vec<usize>) {
    let mut drawn = index::sample(rng, total, count.min(total)).into_vec();
    drawn.sort_unstable();
    let others = (0..total).filter(|row| drawn.binary_search(row).is_err());
    let others = others.collect();
    (drawn, others)
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
                let examples = self.pipeline.examples_under(&key, texts);
                let batch = self
                    .defended
                    .batch(&mut examples.map_err(released)?)
                    .await?;
                all = Some(joined(all, batch));
            }
            all.ok_or(AuditError::NotApplicable { reason: NO_TEXT })
        })
    }

    fn simulator(&self) -> &dyn Simulator {
        &self.defended
    }

    fn undefended(&self) -> &dyn Simulator {
        &self.undefended
    }
}

const NO_TEXT: &str = "there is no text to release";

/// A pipeline with generators of the attacker's own, as it protects or without its mechanism.
#[derive(Debug)]
struct PipelineSimulator<'a> {
    pipeline: &'a Pipeline,
    dtype: ActivationDtype,
    protects: bool,
}

impl PipelineSimulator<'_> {
    async fn batch(&self, examples: &mut [PrivateExample]) -> Result<Released, AuditError> {
        let mechanism: &dyn Mechanism = match self.protects {
            true => &*self.pipeline.mechanism,
            false => &NoMechanism,
        };
        let inputs = mechanism.privatize(examples).await?;
        let clean = self.pipeline.bottom(&inputs).await.map_err(released)?;
        let activations = mechanism.perturb(clean, examples);
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
                let own = |ids: &TokenIds| PrivateExample {
                    tokens: ids.clone(),
                    class: None,
                    rng: ChaCha20Rng::from_rng(&mut seeds),
                };
                let mut texts: Vec<_> = texts.iter().map(own).collect();
                let batch = self.batch(&mut texts).await?;
                all = Some(joined(all, batch));
            }
            all.ok_or(AuditError::NotApplicable { reason: NO_TEXT })
        })
    }

    fn noise(&self) -> NoiseLaw {
        match self.protects {
            true => law(self.pipeline),
            false => NoiseLaw::None,
        }
    }

    fn keeps_positions(&self) -> bool {
        !self.protects || self.pipeline.mechanism.keeps_positions()
    }
}

/// The law of a pipeline's mechanism, in numbers.
fn law(pipeline: &Pipeline) -> NoiseLaw {
    let of = |eta: &mechanism::TokenEta| match &eta.contribution {
        None => TokenEta::Same(eta.eta.get()),
        Some(_) => {
            let ids = (0..pipeline.table.vocab_size()).filter_map(|id| u32::try_from(id).ok());
            let eta = |id| eta.of(id, None).map_or(f64::INFINITY, Eta::get);
            TokenEta::PerToken(ids.map(eta).collect())
        }
    };
    match pipeline.mechanism.noise() {
        mechanism::NoiseLaw::None => NoiseLaw::None,
        mechanism::NoiseLaw::Embedding(eta) => NoiseLaw::Embedding { eta: of(&eta) },
        mechanism::NoiseLaw::Cut { eta, norm_max } => NoiseLaw::Cut {
            eta: of(&eta),
            norm_max,
        },
        mechanism::NoiseLaw::Other => NoiseLaw::Other,
    }
}

/// A row as an upload would release it for training.
fn training_text(example: &Example) -> TextPair<'_> {
    TextPair {
        class: Some(example.label),
        ..text_pair(example)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_drawn_once_and_the_others_are_left() {
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let (drawn, others) = super::drawn(10, 4, &mut rng);
        assert_eq!((drawn.len(), others.len()), (4, 6));
        let mut all = [drawn, others].concat();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        assert_eq!(super::drawn(3, 9, &mut rng).0, [0, 1, 2]);
    }
}

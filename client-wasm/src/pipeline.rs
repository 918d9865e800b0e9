//! From a text to what may be sent.

use rand_chacha::ChaCha20Rng;
use shared::model::{BottomModel, CutActivations, TokenBatch};
use shared::privacy::{Eta, PrivacyError, PrivatizedTokenIds, TokenPrivatizer, VectorPrivatizer};
use shared::text::{RawText, TokenIds, Tokenizer};

use crate::error::ClientError;
use crate::release::ReleaseKey;

/// What stands between a text and the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mechanism {
    /// Nothing: whoever has the bottom model can read the text. For measurements.
    None,
    /// Noise on token embeddings, then the nearest token.
    Token(Eta),
    /// Noise on the activations at the cut.
    Vector(VectorPrivatizer),
}

/// A text, or a pair of texts that is classified together.
#[derive(Debug, Clone, Copy)]
pub struct TextPair<'a> {
    /// The text.
    pub text: &'a RawText,
    /// The second text, where the task has one.
    pub pair: Option<&'a RawText>,
}

/// Tokenizer, mechanism and bottom model of a client.
#[derive(Debug)]
pub struct Pipeline {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) bottom: BottomModel,
    pub(crate) token_privatizer: TokenPrivatizer,
    pub(crate) mechanism: Mechanism,
    key: ReleaseKey,
}

impl Pipeline {
    /// Puts a pipeline together; its mechanism is `None` until one is chosen.
    ///
    /// # Errors
    ///
    /// When the device fails, or tokenizer and model do not belong together.
    pub async fn new(
        tokenizer: Tokenizer,
        bottom: BottomModel,
        key: ReleaseKey,
    ) -> Result<Self, ClientError> {
        let (known, rows) = (tokenizer.vocab_size(), bottom.config().vocab_size);
        if known > rows {
            return Err(ClientError::TokenizerMismatch { known, rows });
        }
        let token_privatizer = TokenPrivatizer::new(&bottom, &tokenizer.special_ids()).await?;
        Ok(Self {
            tokenizer,
            bottom,
            token_privatizer,
            mechanism: Mechanism::None,
            key,
        })
    }

    /// Chooses the mechanism of all later releases.
    pub fn set_mechanism(&mut self, mechanism: Mechanism) {
        self.mechanism = mechanism;
    }

    /// Releases some texts: the path that every text takes.
    ///
    /// # Errors
    ///
    /// When a text has no token, or the device fails.
    pub async fn release(&self, texts: &[TextPair<'_>]) -> Result<CutActivations, ClientError> {
        let mut tokens = self.tokens(texts)?; //                       RawText -> TokenIds
        let privatized = self.privatize(&mut tokens).await?; //        -> PrivatizedTokenIds
        let mut activations = self.bottom(&privatized).await?; //      -> CutActivations
        self.perturb(&mut activations, &mut tokens);
        Ok(activations)
    }

    /// Releases some texts up to the bottom. Where the bottom is trained this is the release: all
    /// that the adapter makes of it, in however many steps, is post-processing.
    ///
    /// # Errors
    ///
    /// When noise is added behind the bottom, so that this would be no release; when a text has no
    /// token, or the device fails.
    pub(crate) async fn inputs(
        &self,
        texts: &[TextPair<'_>],
    ) -> Result<Vec<BottomInput>, ClientError> {
        if self.perturbs_activations() {
            return Err(ClientError::RepeatedRelease);
        }
        let mut tokens = self.tokens(texts)?;
        Ok(self.privatize(&mut tokens).await?)
    }

    /// Whether noise is added behind the bottom, so that one release is one set of activations.
    pub(crate) fn perturbs_activations(&self) -> bool {
        matches!(self.mechanism, Mechanism::Vector(_))
    }

    /// Tokenizes, and gives every text the generator of its noise.
    pub(crate) fn tokens(
        &self,
        texts: &[TextPair<'_>],
    ) -> Result<Vec<(TokenIds, ChaCha20Rng)>, ClientError> {
        let cut = self.bottom.cut().index();
        texts
            .iter()
            .map(|TextPair { text, pair }| {
                let ids = self.tokenizer.encode(text, *pair)?;
                Ok((ids, self.key.rng(&self.mechanism, cut, text, *pair)))
            })
            .collect()
    }

    /// The mechanism `token`, where it is chosen.
    pub(crate) async fn privatize(
        &self,
        tokens: &mut [(TokenIds, ChaCha20Rng)],
    ) -> Result<Vec<BottomInput>, PrivacyError> {
        Ok(match self.mechanism {
            Mechanism::Token(eta) => {
                let privatized = self.token_privatizer.privatize(tokens, eta).await?;
                privatized
                    .into_iter()
                    .map(BottomInput::Privatized)
                    .collect()
            }
            Mechanism::None | Mechanism::Vector(_) => tokens
                .iter()
                .map(|(ids, _)| BottomInput::Clear(ids.clone()))
                .collect(),
        })
    }

    pub(crate) async fn bottom(
        &self,
        inputs: &[BottomInput],
    ) -> Result<CutActivations, ClientError> {
        let batch = self.token_batch(inputs)?;
        Ok(self.bottom.activations(&batch).await?)
    }

    /// A padded batch for the bottom.
    pub(crate) fn token_batch<'a>(
        &self,
        inputs: impl IntoIterator<Item = &'a BottomInput>,
    ) -> Result<TokenBatch, ClientError> {
        let examples: Vec<(&[u32], &[u8])> = inputs
            .into_iter()
            .map(|input| (input.ids().ids(), input.ids().type_ids()))
            .collect();
        Ok(TokenBatch::new(&examples, self.bottom.config())?)
    }

    /// The mechanism `vector`, where it is chosen.
    pub(crate) fn perturb(
        &self,
        activations: &mut CutActivations,
        tokens: &mut [(TokenIds, ChaCha20Rng)],
    ) {
        if let Mechanism::Vector(vector) = self.mechanism {
            let mut rngs: Vec<&mut ChaCha20Rng> = tokens.iter_mut().map(|(_, rng)| rng).collect();
            vector.privatize(activations, &mut rngs);
        }
    }
}

/// What the bottom model is given: under `vector` and `none` the ids as they are, for what is
/// perturbed comes later.
#[derive(Debug, Clone)]
pub(crate) enum BottomInput {
    Clear(TokenIds),
    Privatized(PrivatizedTokenIds),
}

impl BottomInput {
    pub(crate) fn ids(&self) -> &TokenIds {
        match self {
            Self::Clear(ids) => ids,
            Self::Privatized(privatized) => privatized.token_ids(),
        }
    }

    /// Rows that the bottom makes of it.
    pub(crate) fn seq_length(&self) -> u16 {
        u16::try_from(self.ids().ids().len()).unwrap_or(u16::MAX)
    }
}

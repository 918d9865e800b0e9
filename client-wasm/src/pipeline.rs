//! From a text to what may be sent.

use std::rc::Rc;

use shared::model::{BottomModel, CutActivations, TokenBatch};
use shared::privacy::nearest::TokenTable;
use shared::privacy::none::NoMechanism;
use shared::privacy::{BottomInput, Mechanism, PrivateExample};
use shared::text::{RawText, TokenIds, Tokenizer};

use crate::error::ClientError;
use crate::release::ReleaseKey;

/// A text, or a pair of texts that is classified together.
#[derive(Debug, Clone, Copy)]
pub struct TextPair<'a> {
    /// The text.
    pub text: &'a RawText,
    /// The second text, where the task has one.
    pub pair: Option<&'a RawText>,
    /// The class, for training rows under label-dependent contribution and for nothing else.
    pub class: Option<u32>,
}

/// Tokenizer, mechanism and bottom model of a client.
#[derive(Debug)]
pub struct Pipeline {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) bottom: BottomModel,
    pub(crate) table: Rc<TokenTable>,
    pub(crate) mechanism: Rc<dyn Mechanism>,
    key: ReleaseKey,
}

impl Pipeline {
    /// Puts a pipeline together; its mechanism is `none` until one is chosen.
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
        let table = TokenTable::new(&bottom, &tokenizer.special_ids()).await?;
        Ok(Self {
            tokenizer,
            bottom,
            table: Rc::new(table),
            mechanism: Rc::new(NoMechanism),
            key,
        })
    }

    /// Chooses the mechanism of all later releases.
    pub fn set_mechanism(&mut self, mechanism: Rc<dyn Mechanism>) {
        self.mechanism = mechanism;
    }

    /// Releases some texts: the path that every text takes.
    ///
    /// # Errors
    ///
    /// When a text has no token, or the device fails.
    pub async fn release(&self, texts: &[TextPair<'_>]) -> Result<CutActivations, ClientError> {
        let mut examples = self.examples(texts)?; //                         RawText -> TokenIds
        let inputs = self.mechanism.privatize(&mut examples).await?; //      -> PrivatizedTokenIds
        let activations = self.bottom(&inputs).await?; //                    -> CutActivations
        Ok(self.mechanism.perturb(activations, &mut examples))
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
        if self.mechanism.perturbs_activations() {
            return Err(ClientError::RepeatedRelease);
        }
        let mut examples = self.examples(texts)?;
        Ok(self.mechanism.privatize(&mut examples).await?)
    }

    /// Tokenizes, and gives every text the generator of its noise.
    pub(crate) fn examples(
        &self,
        texts: &[TextPair<'_>],
    ) -> Result<Vec<PrivateExample>, ClientError> {
        self.examples_under(&self.key, texts)
    }

    /// The same under another secret, for the audit.
    pub(crate) fn examples_under(
        &self,
        key: &ReleaseKey,
        texts: &[TextPair<'_>],
    ) -> Result<Vec<PrivateExample>, ClientError> {
        let parameters = self.mechanism.parameters();
        let cut = self.bottom.cut().index();
        texts
            .iter()
            .map(|TextPair { text, pair, class }| {
                Ok(PrivateExample {
                    tokens: self.tokenizer.encode(text, *pair)?,
                    class: *class,
                    rng: key.rng(&parameters, cut, text, *pair),
                })
            })
            .collect()
    }

    /// The tokens of some texts, before any mechanism.
    pub(crate) fn tokens(&self, texts: &[TextPair<'_>]) -> Result<Vec<TokenIds>, ClientError> {
        let encode = |text: &TextPair<'_>| self.tokenizer.encode(text.text, text.pair);
        Ok(texts.iter().map(encode).collect::<Result<_, _>>()?)
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
            .map(|input| (input.token_ids().ids(), input.token_ids().type_ids()))
            .collect();
        Ok(TokenBatch::new(&examples, self.bottom.config())?)
    }
}

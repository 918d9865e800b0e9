//! Public text, released by the attacker's own draws.

use super::vocabulary::PublicVocabulary;
use crate::audit::thresholds::LEAK_ONE_OF;
use crate::audit::{Attacker, AuditError, NoiseLaw, Released};
use crate::model::ModelConfig;
use crate::text::TokenIds;

/// Public texts and what the attacker's copy of the client made of them.
pub(crate) struct PublicRelease {
    texts: Vec<TokenIds>,
    released: Released,
}

impl PublicRelease {
    /// Releases the public texts with these indices; every tenth as if there were no mechanism.
    ///
    /// An attacker that hopes for a leak prepares for it: one that has only seen protected text
    /// does not recognise a clean one.
    ///
    /// # Errors
    ///
    /// When the simulator fails, or gives another number of examples.
    pub(crate) async fn draw(
        attacker: &Attacker<'_>,
        indices: &[usize],
        seed: u64,
    ) -> Result<Self, AuditError> {
        let texts = indices.iter().filter_map(|at| attacker.public.get(*at));
        let texts: Vec<TokenIds> = texts.cloned().collect();
        let released = attacker.simulator.release(&texts, seed).await?;
        let clean: Vec<TokenIds> = texts.iter().step_by(LEAK_ONE_OF).cloned().collect();
        let clean = attacker.undefended.release(&clean, seed).await?;
        for (released, expected) in [(&released, texts.len()), (&clean, clean_of(texts.len()))] {
            if released.len() != expected {
                return Err(AuditError::Answers {
                    of: "public texts",
                    expected,
                    actual: released.len(),
                });
            }
        }
        let order: Vec<usize> = (0..texts.len())
            .map(|at| match at.is_multiple_of(LEAK_ONE_OF) {
                true => texts.len() + at / LEAK_ONE_OF,
                false => at,
            })
            .collect();
        Ok(Self {
            released: released.join(clean).select(&order),
            texts,
        })
    }

    /// What came back.
    pub(crate) fn released(&self) -> &Released {
        &self.released
    }

    /// Each text with its rows.
    pub(crate) fn examples(&self) -> impl Iterator<Item = (&TokenIds, &[f32])> {
        self.texts.iter().zip(self.released.examples())
    }
}

/// How many of some texts are released clean.
fn clean_of(texts: usize) -> usize {
    texts.div_ceil(LEAK_ONE_OF)
}

/// Positions of a text that hold an ordinary token, with the token's number.
pub(crate) fn ordinary_positions<'a>(
    text: &'a TokenIds,
    vocabulary: &'a PublicVocabulary,
) -> impl Iterator<Item = (usize, u32)> + 'a {
    let tokens = text.ids().iter().zip(text.special()).enumerate();
    tokens
        .filter(|(_, (_, special))| !**special)
        .filter_map(|(position, (id, _))| Some((position, vocabulary.class(*id)?)))
}

/// The numbers of the tokens that a text holds, each once, rising.
pub(crate) fn held(text: &TokenIds, vocabulary: &PublicVocabulary) -> Vec<u32> {
    let mut classes: Vec<u32> = ordinary_positions(text, vocabulary)
        .map(|(_, class)| class)
        .collect();
    classes.sort_unstable();
    classes.dedup();
    classes
}

/// Estimates the number of ordinary tokens behind a number of released rows.
///
/// `rows - s` where rows are positions, s the mean number of special tokens of a public text;
/// else `rows * tokens / rows` of the public texts together. 1 where nothing was drawn.
pub(crate) fn tokens_behind(
    attacker: &Attacker<'_>,
    drawn: Option<&PublicRelease>,
    rows: usize,
) -> usize {
    let Some(drawn) = drawn else {
        return 1;
    };
    let ordinary = |text: &TokenIds| text.special().iter().filter(|special| !**special).count();
    let tokens: usize = drawn.texts.iter().map(ordinary).sum();
    let lengths = drawn.released.activations.seq_lengths();
    let public_rows: usize = lengths.iter().map(|length| usize::from(*length)).sum();
    let estimate = if attacker.simulator.keeps_positions() {
        let specials = public_rows.saturating_sub(tokens) as f64;
        rows as f64 - specials / drawn.texts.len().max(1) as f64
    } else {
        rows as f64 * tokens as f64 / public_rows.max(1) as f64
    };
    (estimate.round() as usize).max(1)
}

/// Operations that the simulator needs for one row: blocks of the bottom, and the search in the
/// embedding table where the mechanism has one.
pub(crate) fn release_flops_of_a_row(attacker: &Attacker<'_>) -> f64 {
    let config = attacker.bottom.config();
    let blocks = attacker.bottom.cut().index() * block_weights(config);
    let search = match attacker.simulator.noise() {
        NoiseLaw::Embedding { .. } => config.vocab_size * config.d_model,
        _ => 0,
    };
    2.0 * (blocks + search) as f64
}

/// Numbers in the matrices of one block; a row costs two operations each.
pub(crate) fn block_weights(config: &ModelConfig) -> usize {
    4 * config.d_model * config.d_model + 2 * config.d_model * config.d_ff
}

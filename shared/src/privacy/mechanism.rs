//! What a mechanism is, and the table of all of them.
//!
//! A mechanism is one file beside this one and one line of [`MECHANISMS`]. It may replace tokens
//! before the bottom, perturb activations after it, or both. The page and the command line read
//! their choices from the table; the server never learns which one it was.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;

use rand_chacha::ChaCha20Rng;

use super::calibration::TokenCurve;
use super::contribution::Contribution;
use super::eta::{Eta, PrivacyError, Protection};
use super::nearest::TokenTable;
use super::ranking::Ranking;
use super::{drop, exponential, none, pool, suppress, token, vector};
use crate::model::{BottomModel, CutActivations};
use crate::text::TokenIds;

/// What a step of a mechanism returns. Boxed, since mechanisms stand in one table; not `Send`,
/// since a browser's GPU is read on one thread.
pub type Step<'a, T> = Pin<Box<dyn Future<Output = Result<T, PrivacyError>> + 'a>>;

/// An example that is about to be released.
#[derive(Debug)]
pub struct PrivateExample {
    /// Its tokens.
    pub tokens: TokenIds,
    /// Its class, where a mechanism may know it: training rows only, and used by label-dependent
    /// contribution only.
    pub class: Option<u32>,
    /// The generator of its noise.
    pub rng: ChaCha20Rng,
}

/// What the bottom model is given.
#[derive(Debug, Clone)]
pub enum BottomInput {
    /// The tokens as they are: what is perturbed comes after the bottom.
    Clear(TokenIds),
    /// Tokens that a mechanism has been over.
    Privatized(PrivatizedTokenIds),
}

impl BottomInput {
    /// The tokens, for the bottom model and the preview on this device.
    pub fn token_ids(&self) -> &TokenIds {
        match self {
            Self::Clear(ids) => ids,
            Self::Privatized(privatized) => privatized.token_ids(),
        }
    }

    /// Rows that the bottom makes of it.
    pub fn seq_length(&self) -> u16 {
        u16::try_from(self.token_ids().len()).unwrap_or(u16::MAX)
    }

    /// The original position of each of them.
    pub fn origins(&self) -> Vec<usize> {
        match self {
            Self::Clear(ids) => (0..ids.len()).collect(),
            Self::Privatized(privatized) => privatized.origins.clone(),
        }
    }
}

/// Token ids after the mechanism. Like the ids before it they have no way to the wire; only what
/// the bottom makes of them does.
///
/// ```
/// fn stays_here(_: shared::privacy::PrivatizedTokenIds) {}
/// ```
///
/// ```compile_fail,E0277
/// fn stays_here(_: impl serde::Serialize) {}
/// fn leak(ids: shared::privacy::PrivatizedTokenIds) { stays_here(ids) }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PrivatizedTokenIds {
    tokens: TokenIds,
    origins: Vec<usize>,
}

impl PrivatizedTokenIds {
    /// The original with other ids, position by position.
    ///
    /// # Errors
    ///
    /// When `ids` has another length.
    pub(super) fn in_place(original: &TokenIds, ids: Vec<u32>) -> Result<Self, PrivacyError> {
        Ok(Self {
            tokens: original.with_ids(ids)?,
            origins: (0..original.len()).collect(),
        })
    }

    /// Those positions of the original that are named, in rising order.
    ///
    /// # Errors
    ///
    /// When a position is not one of the original's.
    pub(super) fn keeping(original: &TokenIds, origins: Vec<usize>) -> Result<Self, PrivacyError> {
        Ok(Self {
            tokens: original.keeping(&origins)?,
            origins,
        })
    }

    /// The ids, for the bottom model and the preview on this device.
    pub fn token_ids(&self) -> &TokenIds {
        &self.tokens
    }
}

impl fmt::Debug for PrivatizedTokenIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivatizedTokenIds({} tokens)", self.tokens.len())
    }
}

/// A mechanism that is set up.
pub trait Mechanism: fmt::Debug {
    /// A tag of its own and every parameter that its output depends on, as bytes: two settings
    /// whose bytes differ share no draw.
    fn parameters(&self) -> Vec<u8>;

    /// Replaces tokens before the bottom. Without an own version the bottom reads them as they are.
    fn privatize<'a>(&'a self, examples: &'a mut [PrivateExample]) -> Step<'a, Vec<BottomInput>> {
        let clear = |example: &PrivateExample| BottomInput::Clear(example.tokens.clone());
        let inputs = examples.iter().map(clear).collect();
        Box::pin(std::future::ready(Ok(inputs)))
    }

    /// Perturbs the activations of these examples. Without an own version they stay as they are:
    /// what the bottom makes of privatized tokens is post-processing.
    fn perturb(
        &self,
        activations: CutActivations,
        _examples: &mut [PrivateExample],
    ) -> CutActivations {
        activations
    }

    /// Whether each row that leaves belongs to the token at the same place of the text.
    fn keeps_positions(&self) -> bool {
        true
    }

    /// Whether the activations themselves are perturbed: such a mechanism cannot serve a bottom
    /// that changes at every step, since every step would be a release of its own.
    fn perturbs_activations(&self) -> bool {
        false
    }

    /// Where its noise is and how strong, for an attacker who knows everything but the draws.
    fn noise(&self) -> NoiseLaw {
        NoiseLaw::Other
    }
}

/// The law of a mechanism's noise, as an attacker may know it.
#[derive(Debug, Clone)]
pub enum NoiseLaw {
    /// There is none.
    None,
    /// On the token's embedding, then the nearest token.
    Embedding(Rc<TokenEta>),
    /// On the activation at the cut, shortened to `norm_max` before.
    Cut {
        /// Parameter of the noise of each token's position.
        eta: Rc<TokenEta>,
        /// Longest activation.
        norm_max: f64,
    },
    /// Another law.
    Other,
}

/// The eta of each token: one for all, or modulated by contribution.
#[derive(Debug, Clone)]
pub struct TokenEta {
    /// The eta of a token of multiplier 1.
    pub eta: Eta,
    /// Which tokens get less noise; all the same without it.
    pub contribution: Option<Rc<Contribution>>,
}

impl TokenEta {
    /// One eta for all tokens.
    pub fn uniform(eta: Eta) -> Self {
        Self {
            eta,
            contribution: None,
        }
    }

    /// The eta of a token; none when it is left as it is. `class` is that of its text, where it may
    /// be used.
    pub fn of(&self, token: u32, class: Option<u32>) -> Option<Eta> {
        let Some(contribution) = &self.contribution else {
            return Some(self.eta);
        };
        let multiplier = contribution.multiplier(token, class);
        multiplier.is_finite().then(|| self.eta.scaled(multiplier))
    }

    /// Its parameters as bytes.
    pub(super) fn parameters(&self, tag: u8, second: f64) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend(self.eta.get().to_le_bytes());
        bytes.extend(second.to_le_bytes());
        if let Some(contribution) = &self.contribution {
            bytes.extend(contribution.digest());
        }
        bytes
    }
}

/// How strong a mechanism is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Strength {
    /// A level that means the same for every model.
    Level(Protection),
    /// The mechanism's own parameter.
    Eta(Eta),
}

/// What a mechanism may look at while it is set up. All of it stays on this device.
#[derive(Debug)]
pub struct Material<'a> {
    /// The bottom that will run.
    pub bottom: &'a BottomModel,
    /// Its embedding table.
    pub table: &'a Rc<TokenTable>,
    /// At which noise the user's own tokens change.
    pub curve: &'a TokenCurve,
    /// Which tokens contribute, and what follows for the noise; none when CTI is off.
    pub contribution: Option<&'a Rc<Contribution>>,
    /// How tokens are ranked by the training rows; there when the entry says that it ranks.
    pub ranking: Option<&'a Ranking>,
    /// The model's `[MASK]`.
    pub mask_id: Option<u32>,
}

impl Material<'_> {
    /// The eta law of a person's choices.
    pub(super) fn token_eta(&self, eta: Eta) -> TokenEta {
        TokenEta {
            eta,
            contribution: self.contribution.cloned(),
        }
    }
}

/// A mechanism that is ready, and what to tell a person of it.
#[derive(Debug)]
pub struct Prepared {
    /// The mechanism.
    pub mechanism: Rc<dyn Mechanism>,
    /// Its parameter, where it has one.
    pub eta: Option<Eta>,
    /// The protection level that this means.
    pub level: Option<f64>,
    /// For people: what will happen.
    pub sentence: String,
}

/// A line of the table.
#[derive(Debug)]
pub struct MechanismEntry {
    /// As it is chosen.
    pub name: &'static str,
    /// For people, two or three words.
    pub title: &'static str,
    /// For people: what it does and what remains.
    pub about: &'static str,
    /// What the protection level means; empty where there is none.
    pub level: &'static str,
    /// What is promised, in words.
    pub guarantee: &'static str,
    /// Whether contribution (CTI) modulates its noise.
    pub takes_contribution: bool,
    /// Whether it ranks the tokens by the training rows.
    pub ranks_tokens: bool,
    /// Sets it up.
    pub prepare: for<'a> fn(&'a Material<'a>, Strength) -> Step<'a, Prepared>,
}

/// All mechanisms, in the order in which they are offered.
pub const MECHANISMS: &[MechanismEntry] = &[
    token::ENTRY,
    suppress::ENTRY,
    drop::ENTRY,
    exponential::ENTRY,
    vector::ENTRY,
    pool::ENTRY,
    none::ENTRY,
];

/// The line of a name.
///
/// # Errors
///
/// When there is no such mechanism.
pub fn entry(name: &str) -> Result<&'static MechanismEntry, PrivacyError> {
    MECHANISMS
        .iter()
        .find(|entry| entry.name == name)
        .ok_or(PrivacyError::UnknownMechanism)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_once_and_every_entry_says_what_it_promises() {
        for (at, entry) in MECHANISMS.iter().enumerate() {
            assert!(
                MECHANISMS[at + 1..]
                    .iter()
                    .all(|other| other.name != entry.name)
            );
            assert!(!entry.guarantee.is_empty() && !entry.about.is_empty());
        }
        assert_eq!(entry("token").unwrap().name, "token");
        assert!(entry("tokens").is_err());
    }

    #[test]
    fn a_debug_print_holds_no_ids() {
        let tokens = TokenIds::new(vec![7, 8], vec![0; 2], vec![false; 2]).unwrap();
        let released = PrivatizedTokenIds::in_place(&tokens, vec![9, 10]).unwrap();
        assert_eq!(format!("{released:?}"), "PrivatizedTokenIds(2 tokens)");
    }
}

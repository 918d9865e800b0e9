//! What an attacker has, sees and says.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use super::released::Released;
use crate::model::{BottomModel, DeviceFailed, ModelError, TopModel};
use crate::privacy::PrivacyError;
use crate::protocol::codec::CodecError;
use crate::protocol::tensor::TensorError;
use crate::text::{TextError, TokenIds};

/// Guesses of one row that count for the top-5 rate; a longer list is cut.
pub const TOP: usize = 5;

/// What an attack or a simulator will have computed.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, AuditError>> + 'a>>;

/// A place between two pieces of work where whoever drives an attack may do something else first, or
/// give it up: pending once. An executor that knows nothing of this goes on at once.
pub async fn pause() {
    let mut has_paused = false;
    poll_fn(|context| {
        if has_paused {
            return Poll::Ready(());
        }
        has_paused = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Eta of each token. Contributing tokens may have more.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenEta {
    /// One for all.
    Same(f64),
    /// `[vocab_size]`
    PerToken(Vec<f64>),
}

impl TokenEta {
    /// Eta of one token.
    pub fn at(&self, token: u32) -> f64 {
        match self {
            Self::Same(eta) => *eta,
            Self::PerToken(etas) => etas.get(token as usize).copied().unwrap_or(f64::INFINITY),
        }
    }
}

/// What the attacker knows of the noise: the law and its parameters, never a draw.
#[derive(Debug, Clone, PartialEq)]
pub enum NoiseLaw {
    /// There is no noise.
    None,
    /// `p(z) ~ exp(-eta ||z||)` on the row of the embedding table, then the nearest token that is
    /// not special.
    Embedding {
        /// Parameter of each token.
        eta: TokenEta,
    },
    /// `p(z) ~ exp(-eta ||z||)` on every row at the cut, clipped to `norm_max` before.
    Cut {
        /// Parameter of each token.
        eta: TokenEta,
        /// Longer rows are shortened to this.
        norm_max: f64,
    },
    /// Anything else: the attacker has only the simulator.
    Other,
}

/// The attacker's copy of the client: releases tokens as the audited client does, with draws of its
/// own.
pub trait Simulator {
    /// Releases some texts. The same texts under the same seed give the same draws; each text of
    /// one call has draws of its own, also where two texts are equal. As many as come are run, in
    /// batches that bound memory.
    ///
    /// # Errors
    ///
    /// When the bottom cannot take the tokens, or the device fails.
    fn release<'a>(&'a self, tokens: &'a [TokenIds], seed: u64) -> Pending<'a, Released>;

    /// The law of its noise.
    fn noise(&self) -> NoiseLaw;

    /// Whether row i of a released text belongs to position i of the text.
    fn keeps_positions(&self) -> bool;
}

/// Everything that the attacker has besides the observation.
#[derive(Clone, Copy)]
pub struct Attacker<'a> {
    /// The client's part of the model, with its weights.
    pub bottom: &'a BottomModel,
    /// The blocks behind the cut, on the device of the bottom; a server that attacks owns them.
    pub top: Option<&'a TopModel>,
    /// Tokens that no text consists of.
    pub special_ids: &'a [u32],
    /// Text that never overlaps the evaluated examples.
    pub public: &'a [TokenIds],
    /// A class of each public text, where the attacker knows one (labels, or an attribute of the
    /// author).
    pub public_classes: Option<&'a [u32]>,
    /// How the client releases.
    pub simulator: &'a dyn Simulator,
    /// How it would release without a mechanism.
    pub undefended: &'a dyn Simulator,
    /// Of the attacker's own randomness.
    pub seed: u64,
    /// Told the share of the work that is done, 0 to 1; may be called as often as wanted.
    pub progress: &'a dyn Fn(f64),
}

impl fmt::Debug for Attacker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attacker({} public texts)", self.public.len())
    }
}

impl Attacker<'_> {
    /// Whether no text can hold a token, for each of the vocabulary.
    pub fn special_mask(&self) -> Vec<bool> {
        let mut special = vec![false; self.bottom.config().vocab_size];
        for id in self.special_ids {
            if let Some(flag) = special.get_mut(*id as usize) {
                *flag = true;
            }
        }
        special
    }
}

/// What really was in the evaluated examples. The scorer's only; no attack is handed one.
#[derive(Clone, Copy)]
pub struct Truth<'a> {
    /// Each example before the mechanism.
    pub tokens: &'a [TokenIds],
    /// Positions of each example that belong to names, numbers and the like; empty if not known.
    pub named: &'a [Vec<usize>],
    /// The class of each example (its label, or the attribute under attack); empty if not known.
    pub classes: &'a [u32],
    /// Whether row i of a released example belongs to position i of the text.
    pub keeps_positions: bool,
}

impl fmt::Debug for Truth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Truth({} examples)", self.tokens.len())
    }
}

/// What an attack says of the evaluated examples, in their order.
///
/// The list may be shorter than the examples: a slow attack tries the first ones only, and is
/// scored on those.
#[derive(Clone, PartialEq)]
pub enum Guesses {
    /// Of each example and each of its released rows the tokens that it may have been, best first,
    /// at most [`TOP`]. Rows of special tokens are guessed too; the scorer leaves them out.
    Rows(Vec<Vec<Vec<u32>>>),
    /// Of each example the tokens that it may have held, as often as it may have held them.
    Bags(Vec<Vec<u32>>),
    /// Of each example a score of each class, larger for more likely.
    Classes(Vec<Vec<f32>>),
}

impl fmt::Debug for Guesses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Rows(_) => "Rows",
            Self::Bags(_) => "Bags",
            Self::Classes(_) => "Classes",
        };
        write!(f, "Guesses::{kind}({} examples)", self.len())
    }
}

impl Guesses {
    /// Number of examples that were tried.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.len(),
            Self::Bags(bags) => bags.len(),
            Self::Classes(classes) => classes.len(),
        }
    }

    /// Those of the first `examples` examples, and those of the others.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn split_off(self, examples: usize) -> (Self, Self) {
        fn cut<T>(mut all: Vec<T>, at: usize) -> (Vec<T>, Vec<T>) {
            let rest = all.split_off(at.min(all.len()));
            (all, rest)
        }
        match self {
            Self::Rows(rows) => {
                let (first, rest) = cut(rows, examples);
                (Self::Rows(first), Self::Rows(rest))
            }
            Self::Bags(bags) => {
                let (first, rest) = cut(bags, examples);
                (Self::Bags(first), Self::Bags(rest))
            }
            Self::Classes(classes) => {
                let (first, rest) = cut(classes, examples);
                (Self::Classes(first), Self::Classes(rest))
            }
        }
    }
}

/// An attack.
pub trait Attack {
    /// The name of its row in the report and on the command line: lower case, with dashes.
    fn id(&self) -> &'static str;

    /// One sentence for a reader who is no programmer.
    fn about(&self) -> &'static str;

    /// Attacks the examples that were released.
    ///
    /// # Errors
    ///
    /// [`AuditError::NotApplicable`] when it needs what this release or this attacker does not
    /// have; the report then says so.
    fn run<'a>(
        &'a self,
        attacker: &'a Attacker<'a>,
        observed: &'a Released,
    ) -> Pending<'a, Guesses>;
}

/// The audit cannot go on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AuditError {
    /// An attack needs what is not there.
    #[error("not run: {reason}")]
    NotApplicable {
        /// For the report.
        reason: &'static str,
    },
    /// The client under audit did not release.
    #[error("the client could not release: {reason}")]
    Release {
        /// The client's own sentence, which holds nothing of the data.
        reason: String,
    },
    /// An attack's answer does not fit what it was asked.
    #[error("{actual} answers came for {expected} {of}")]
    Answers {
        /// Examples or rows.
        of: &'static str,
        /// How many were asked for.
        expected: usize,
        /// How many came.
        actual: usize,
    },
    /// Recorded frames are not those of one run.
    #[error("the recorded frames do not belong together: {what}")]
    Recording {
        /// What does not fit.
        what: &'static str,
    },
    /// The compute device failed.
    #[error(transparent)]
    Device(#[from] DeviceFailed),
    /// The model cannot take the tokens.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The mechanism failed.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    /// A recorded frame is damaged.
    #[error(transparent)]
    Frame(#[from] CodecError),
    /// The activations cannot be written or read as they are sent.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The tokens do not fit together.
    #[error(transparent)]
    Text(#[from] TextError),
}

//! The mechanisms: what makes an activation safe to send.
//!
//! [`mechanism`] says what a mechanism is and holds the table of all of them; each is one file.
//!
//! | mechanism | what it does | file |
//! |---|---|---|
//! | `token` | noise on the token's embedding, then the nearest token | [`token`] |
//! | `exponential` | a token is drawn, near ones more often | [`exponential`] |
//! | `suppress`, `drop` | tokens that do not contribute become blanks, or are left out | [`suppress`], [`mod@drop`] |
//! | `vector` | noise on the activation at the cut | [`vector`] |
//! | `pool` | activations of neighbouring tokens are averaged | [`pool`] |
//! | `none` | nothing | [`none`] |
//!
//! What they share: the noise law ([`noise`]), its parameter ([`eta`]) and how a person's choice
//! becomes it ([`calibration`]), the search for the nearest token ([`nearest`]), and which tokens
//! matter for the task ([`contribution`], [`ranking`]). Source: method.md, sections 2 and 3. Nothing here sends
//! anything, and nothing here draws its own randomness.

pub mod calibration;
pub mod change;
pub mod contribution;
pub mod drop;
pub mod eta;
pub mod exponential;
pub mod mechanism;
pub mod nearest;
pub mod noise;
pub mod none;
pub mod pool;
pub mod ranking;
pub mod suppress;
pub mod token;
pub mod vector;

pub use change::Change;
pub use eta::{Eta, PrivacyError, Protection};
pub use mechanism::{BottomInput, Mechanism, PrivateExample, PrivatizedTokenIds};

use crate::text::TokenIds;

/// The ids that a mechanism perturbs: all but special tokens.
pub fn ordinary_ids(example: &TokenIds) -> impl Iterator<Item = u32> + '_ {
    example
        .ids()
        .iter()
        .zip(example.special())
        .filter(|(_, special)| !**special)
        .map(|(id, _)| *id)
}

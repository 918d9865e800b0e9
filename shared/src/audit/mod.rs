//! The audit: attacks on what a client releases, and the scores that say what they recovered.
//!
//! | file | what |
//! |---|---|
//! | [`attack`] | what an attacker has ([`Attacker`]) and says ([`Guesses`]); the trait [`Attack`] |
//! | [`released`] | what it sees ([`Released`]) |
//! | [`attacks`] | the attacks, one file each, and the table [`ATTACKS`] |
//! | `learned` | what the trained attacks share |
//! | [`search`], [`channel`], [`prior`] | what several attacks need: nearest candidates, replaced tokens, language |
//! | [`score`], [`classes`] | guesses against the truth |
//! | [`side`], [`claim`] | what lengths tell; whether the guarantee is kept |
//! | [`thresholds`], [`controls`] | when a number counts: fixed before any run |
//! | `parallel` | rayon's iterators, or one after the other where there are no threads |
//! | [`run`](mod@run), [`report`] | all of it, and what comes out |
//! | [`recorded`], [`transcript`] | traffic that was kept: uploads; steps that a client took part in |
//! | [`labels`], [`pattern`] | what the steps tell of labels; what they tell by zeros and sizes |
//! | [`named`] | names and numbers in a text |
//! | [`statistics`] | intervals and tails |
//!
//! A browser holds the part that a reading of a person's own data needs (`client-wasm`,
//! `client/reading.rs`): the attacks that learn nothing, and their scores. There are no threads there,
//! and every attack that is compiled in is downloaded by every visitor.
//!
//! An attack never sees the [`Truth`]: only the scorer does. Source: method.md, section 4. Nothing
//! here sends anything, and nothing here draws its own randomness: seeds come in.

pub mod attack;
pub mod attacks;
pub mod channel;
pub mod classes;
pub mod named;
mod parallel;
pub mod prior;
pub mod released;
pub mod score;
pub mod search;
pub mod statistics;

#[cfg(not(target_arch = "wasm32"))]
pub mod claim;
#[cfg(not(target_arch = "wasm32"))]
mod client_claim;
#[cfg(not(target_arch = "wasm32"))]
pub mod controls;
#[cfg(not(target_arch = "wasm32"))]
pub mod labels;
#[cfg(not(target_arch = "wasm32"))]
mod learned;
#[cfg(not(target_arch = "wasm32"))]
pub mod pattern;
#[cfg(not(target_arch = "wasm32"))]
pub mod recorded;
#[cfg(not(target_arch = "wasm32"))]
pub mod report;
#[cfg(not(target_arch = "wasm32"))]
pub mod run;
#[cfg(not(target_arch = "wasm32"))]
pub mod side;
#[cfg(not(target_arch = "wasm32"))]
pub mod thresholds;
#[cfg(not(target_arch = "wasm32"))]
pub mod transcript;

pub use attack::{
    Attack, Attacker, AuditError, Guesses, NoiseLaw, Pending, Simulator, TOP, TokenEta, Truth,
};
#[cfg(not(target_arch = "wasm32"))]
pub use attacks::ATTACKS;
pub use released::Released;
#[cfg(not(target_arch = "wasm32"))]
pub use report::AuditReport;
#[cfg(not(target_arch = "wasm32"))]
pub use run::{Knowledge, Plan, Subject, Watch};

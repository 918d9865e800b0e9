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
//! | [`run`](mod@run), [`report`] | all of it, and what comes out |
//! | [`recorded`], [`transcript`] | traffic that was kept: uploads; steps that a client took part in |
//! | [`labels`], [`pattern`] | what the steps tell of labels; what they tell by zeros and sizes |
//! | [`named`] | names and numbers in a text |
//! | [`statistics`] | intervals and tails |
//!
//! An attack never sees the [`Truth`]: only the scorer does. Source: method.md, section 4. Nothing
//! here sends anything, and nothing here draws its own randomness: seeds come in.

pub mod attack;
pub mod attacks;
pub mod channel;
pub mod claim;
pub mod classes;
mod client_claim;
pub mod controls;
pub mod labels;
mod learned;
pub mod named;
pub mod pattern;
pub mod prior;
pub mod recorded;
pub mod released;
pub mod report;
pub mod run;
pub mod score;
pub mod search;
pub mod side;
pub mod statistics;
pub mod thresholds;
pub mod transcript;

pub use attack::{
    Attack, Attacker, AuditError, Guesses, NoiseLaw, Pending, Simulator, TOP, TokenEta, Truth,
};
pub use attacks::ATTACKS;
pub use released::Released;
pub use report::AuditReport;
pub use run::{Knowledge, Plan, Subject, Watch};

//! The audit: attacks on what a client releases, and the scores that say what they recovered.
//!
//! | file | what |
//! |---|---|
//! | [`attack`] | what an attacker has ([`Attacker`]), sees ([`Released`]) and says ([`Guesses`]) |
//! | [`released`] | the observation itself, and parts of it |
//! | [`attacks`] | the attacks, one file each, and the table [`ATTACKS`] |
//! | `learned` | what the trained attacks share |
//!
//! An attack never sees the [`Truth`]: only the scorer does. Source: method.md, section 4. Nothing
//! here sends anything, and nothing here draws its own randomness: seeds come in.

pub mod attack;
pub mod attacks;
pub(crate) mod learned;
pub mod released;

pub use attack::{
    Attack, Attacker, AuditError, Guesses, NoiseLaw, Pending, Simulator, TOP, TokenEta, Truth,
};
pub use attacks::ATTACKS;
pub use released::Released;

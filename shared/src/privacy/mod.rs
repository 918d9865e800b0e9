//! The two mechanisms: what makes an activation safe to send.
//!
//! | mechanism | perturbs | file |
//! |---|---|---|
//! | `token` | the token's embedding, then takes the nearest token | [`token`] |
//! | `vector` | the activation at the cut | [`vector`] |
//!
//! Both add the same noise ([`noise`]) and promise metric differential privacy with parameter eta
//! ([`eta`]). Source: method.md, section 2. Nothing here sends anything, and nothing here draws its
//! own randomness.

pub mod calibration;
pub mod eta;
pub mod noise;
pub mod token;
pub mod vector;

pub use eta::{Eta, PrivacyError, Protection};
pub use token::{Change, PrivatizedTokenIds, TokenPrivatizer, ordinary_ids};
pub use vector::VectorPrivatizer;

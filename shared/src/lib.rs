//! What client and server have in common. Pure: no sockets, files, clock, DOM, threads or global randomness.
//!
//! | module | what | who uses it |
//! |---|---|---|
//! | [`text`] | `RawText` -> `TokenIds`; files to labelled examples | client only (feature `client`) |
//! | [`privacy`] | `TokenIds` -> `PrivatizedTokenIds`, the two mechanisms | client only (feature `client`) |
//! | [`model`] | the transformer, split at a cut | both |
//! | [`adapter`] | what is trained and how: LoRA, loss, optimizer; PEFT files | server; client where it trains |
//! | [`protocol`] | messages, frames, limits | both |
//! | [`audit`] | attacks on what was released, and their scores | client only (feature `client`); in a browser a part of it |
//! | `parallel` | loops over rows, on all cores and in wide registers | both |
//! | [`metrics`] | loss, accuracy, macro-F1, confusion matrix, which adapter is best | both |
//!
//! The promise is in the types: `RawText -> TokenIds -> PrivatizedTokenIds -> CutActivations`; only the last has a
//! way to the wire.

pub mod adapter;
#[cfg(feature = "client")]
pub mod audit;
pub mod metrics;
pub mod model;
mod parallel;
#[cfg(feature = "client")]
pub mod privacy;
pub mod protocol;
#[cfg(feature = "client")]
pub mod text;

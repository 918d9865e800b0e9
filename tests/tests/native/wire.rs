//! The wire: docs/protocol.md against the code, in both directions, and what hostile bytes can do.
//!
//! | module | what would break it |
//! |---|---|
//! | `documented` | any change of a byte, a number, a phase, a limit or a code that is not in the document |
//! | `hostile` | a panic, an overlooked byte, bytes with two meanings |
//! | `round_trip` | a message or a tensor that does not survive its own encoding |

#![allow(clippy::unwrap_used)]

mod document;
mod documented;
mod hostile;
mod round_trip;

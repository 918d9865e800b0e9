//! `cutlayer.v1`: what crosses the wire, documented byte by byte in docs/protocol.md.
//!
//! | file | what |
//! |---|---|
//! | [`message`], `names` | the words: twins of the domain types; what they are called |
//! | [`phase`] | which word is allowed when |
//! | [`tensor`], `numbers` | the raw numbers behind a header: where they lie, how they read |
//! | [`examples`], [`exchange`] | whether a header, its payload and the session agree |
//! | [`settings`], [`limits`] | what is too much |
//! | [`refusal`] | what the other side is told when something is not accepted |
//! | [`resume`] | what each side remembers for the case that the connection is lost |
//! | [`codec`] | all of it as frames, and back |
//!
//! Nothing here knows sockets, models or text.

pub mod codec;
mod codec_error;
pub mod examples;
pub mod exchange;
mod grow;
mod interval;
pub mod limits;
pub mod message;
mod names;
mod numbers;
pub mod phase;
pub mod refusal;
pub mod resume;
pub mod settings;
pub mod tensor;

//! `cutlayer.v1`: what crosses the wire, documented byte by byte in docs/protocol.md.
//!
//! `message` holds the words, `tensor` the raw numbers behind them, `limits` what is too much, and `codec` turns
//! all of it into frames and back. Nothing here knows sockets, models or text.

pub mod codec;
pub mod limits;
pub mod message;
pub mod tensor;

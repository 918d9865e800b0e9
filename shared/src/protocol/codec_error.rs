//! Why bytes are not a frame, told in lengths and versions.

use thiserror::Error;

use super::message::RefusalCode;

/// Why bytes are not a frame, or a message cannot become one. Holds lengths and versions, never
/// content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The frame is longer than the session allows.
    #[error("a frame has at most {expected} bytes; got {actual}")]
    FrameTooLong {
        /// `frame_bytes_max`.
        expected: usize,
        /// Bytes of the frame.
        actual: usize,
    },
    /// The frame ends inside its envelope.
    #[error("a frame begins with {expected} bytes of envelope; got {actual} bytes")]
    EnvelopeCut {
        /// Bytes that an envelope needs.
        expected: usize,
        /// Bytes of the frame.
        actual: usize,
    },
    /// The first two bytes are not the magic. They are not repeated here: they may be anything.
    #[error("a frame begins with the bytes {expected:02x?}")]
    WrongMagic {
        /// `MAGIC`.
        expected: [u8; 2],
    },
    /// The frame is of another version.
    #[error("expected protocol version {expected}; got {actual}")]
    WrongVersion {
        /// `PROTOCOL_VERSION`.
        expected: u16,
        /// The version that the frame states.
        actual: u16,
    },
    /// The header is, or claims to be, longer than any message of this direction.
    #[error("a header has at most {expected} bytes; got {actual}")]
    HeaderTooLong {
        /// The direction's bound.
        expected: usize,
        /// Stated or encoded bytes.
        actual: usize,
    },
    /// The frame ends inside its header.
    #[error("the header should have {expected} bytes; the frame has {actual} left")]
    HeaderCut {
        /// Stated bytes.
        expected: usize,
        /// Bytes after the envelope.
        actual: usize,
    },
    /// The header is not a message of this direction.
    #[error("the header of {actual} bytes is not a message")]
    HeaderUndecodable {
        /// Bytes of the header.
        actual: usize,
    },
    /// The header goes on after its message.
    #[error("the message ends after {expected} bytes; its header has {actual}")]
    HeaderTrailing {
        /// Bytes of the message.
        expected: usize,
        /// Stated bytes.
        actual: usize,
    },
    /// There is a payload behind a message that has none.
    #[error("this message has {expected} bytes of payload; got {actual}")]
    PayloadUnexpected {
        /// Always 0.
        expected: usize,
        /// Bytes after the header.
        actual: usize,
    },
    /// A message could not be written; no value of the message types leads here.
    #[error("the message cannot be encoded")]
    Unencodable,
}

impl CodecError {
    /// Tells what the other side is told.
    pub fn refusal_code(&self) -> RefusalCode {
        match self {
            Self::FrameTooLong { .. } | Self::HeaderTooLong { .. } => RefusalCode::LimitExceeded,
            Self::WrongVersion { .. } => RefusalCode::WrongVersion,
            Self::Unencodable => RefusalCode::Internal,
            Self::EnvelopeCut { .. }
            | Self::WrongMagic { .. }
            | Self::HeaderCut { .. }
            | Self::HeaderUndecodable { .. }
            | Self::HeaderTrailing { .. }
            | Self::PayloadUnexpected { .. } => RefusalCode::MalformedFrame,
        }
    }
}

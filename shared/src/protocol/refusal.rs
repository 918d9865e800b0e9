//! What the other side is told when something is not accepted, and how the connection then ends.

use std::fmt::Display;

use super::codec::{CodecError, sequence_of};
use super::message::{RefusalCode, Refused};

/// The session ended as both sides wished. Source: RFC 6455, section 7.4.1, as the next four.
pub const CLOSE_DONE: u16 = 1000;
/// The server lets go of a session that is not used.
pub const CLOSE_GOING_AWAY: u16 = 1001;
/// The other side broke the protocol, or is not allowed here.
pub const CLOSE_POLICY: u16 = 1008;
/// A message was larger than `frame_bytes_max`.
pub const CLOSE_TOO_LARGE: u16 = 1009;
/// The server failed.
pub const CLOSE_INTERNAL: u16 = 1011;
/// The server stops or restarts. Source: IANA WebSocket close code registry, as the next.
pub const CLOSE_RESTART: u16 = 1012;
/// The server has no room; come back later.
pub const CLOSE_TRY_LATER: u16 = 1013;
/// A client gives a connection up and not its session; for clients that cannot leave a connection
/// without a close frame. Source: RFC 6455, section 7.4.2, codes for private use.
pub const CLOSE_COMING_BACK: u16 = 4000;

impl RefusalCode {
    /// Every code, in the order of their numbers.
    pub const ALL: [Self; 19] = [
        Self::MalformedFrame,
        Self::WrongVersion,
        Self::UnknownModel,
        Self::WrongBottom,
        Self::UnknownCut,
        Self::BadSettings,
        Self::WrongPhase,
        Self::OutOfOrder,
        Self::WrongShape,
        Self::NotFinite,
        Self::DuplicateExample,
        Self::BadLabel,
        Self::LimitExceeded,
        Self::Busy,
        Self::Internal,
        Self::NotAwaited,
        Self::Forbidden,
        Self::UnknownSession,
        Self::UnknownAdapter,
    ];

    /// Gives the number that the wire and docs/protocol.md use.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// Tells whether a connection cannot go on after this, whatever the phase.
    pub fn always_closes(self) -> bool {
        match self {
            Self::MalformedFrame
            | Self::WrongVersion
            | Self::UnknownModel
            | Self::WrongBottom
            | Self::UnknownCut
            | Self::OutOfOrder
            | Self::Busy
            | Self::UnknownSession => true,
            Self::BadSettings
            | Self::WrongPhase
            | Self::WrongShape
            | Self::NotFinite
            | Self::DuplicateExample
            | Self::BadLabel
            | Self::LimitExceeded
            | Self::Internal
            | Self::NotAwaited
            | Self::Forbidden
            | Self::UnknownAdapter => false,
        }
    }

    /// Gives the WebSocket close code for a refusal that closes. A frame that is too large closes
    /// with `CLOSE_TOO_LARGE`, which only the reader of the socket can tell from other limits.
    pub fn close_code(self) -> u16 {
        match self {
            Self::Busy => CLOSE_TRY_LATER,
            Self::Internal => CLOSE_INTERNAL,
            _ => CLOSE_POLICY,
        }
    }
}

impl Refused {
    /// Refuses a message; the connection ends only if it cannot go on after this code.
    ///
    /// `why` is sent: it may hold numbers, names of settings and nothing else of the client's.
    pub fn new(sequence: Option<u64>, code: RefusalCode, why: &impl Display) -> Self {
        let sentence = why.to_string();
        Self {
            sequence,
            code,
            sentence,
            closes: code.always_closes(),
        }
    }

    /// Ends the connection with this refusal, as all do before `Welcome`.
    #[must_use]
    pub fn closing(self) -> Self {
        Self {
            closes: true,
            ..self
        }
    }

    /// Refuses bytes that are not a frame. It always closes: what was in them is unknown, so the
    /// two sides no longer agree on the session.
    pub fn from_codec(frame: &[u8], error: &CodecError) -> Self {
        Self::new(sequence_of(frame), error.refusal_code(), error).closing()
    }
}

#[allow(clippy::unwrap_used)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::codec::decode_client;
    use crate::protocol::limits::Limits;

    #[test]
    fn numbers_are_places_in_the_list() {
        for (place, code) in RefusalCode::ALL.into_iter().enumerate() {
            assert_eq!(code.number() as usize, place, "{code:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_frame_end_the_connection() {
        let mut frame = *b"CL\x01\0\x09\0\0\0\0\0\0\0\x04\0\0\0\xff\0\0\0";
        let error = decode_client(&frame, &Limits::default()).unwrap_err();
        let refused = Refused::from_codec(&frame, &error);
        assert_eq!(refused.sequence, Some(9));
        assert_eq!(refused.code, RefusalCode::MalformedFrame);
        assert!(refused.closes);
        frame[2] = 2;
        let error = decode_client(&frame, &Limits::default()).unwrap_err();
        let refused = Refused::from_codec(&frame, &error);
        assert_eq!(refused.sequence, None);
        assert_eq!(refused.code, RefusalCode::WrongVersion);
        assert_eq!(refused.sentence, "expected protocol version 1; got 2");
    }

    #[test]
    fn what_a_session_survives_closes_only_when_asked_to() {
        let refused = Refused::new(Some(2), RefusalCode::BadSettings, &"rank");
        assert!(!refused.closes);
        assert!(refused.closing().closes);
        assert!(Refused::new(None, RefusalCode::Busy, &"full").closes);
        assert_eq!(RefusalCode::Busy.close_code(), CLOSE_TRY_LATER);
    }
}

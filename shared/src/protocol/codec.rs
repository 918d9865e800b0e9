//! Messages to frames and back: the envelope, the header's encoding, and nothing else.
//!
//! This is the only file that names bincode. Its configuration is `standard` with fixed-width
//! little-endian integers: an integer takes its own width, which another language can read without
//! knowing bincode, and a header's size can be told from its fields. docs/protocol.md has the rules
//! in words and every message in hex.
//!
//! Order of an incoming frame: length, magic, version, envelope, header length, header. The version
//! comes before anything that a later version may change, so that the other side can be told which
//! version it met. Whether a message is legal now, and whether its payload is what its header says,
//! is not decided here.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use super::codec_error::CodecError;
use super::limits::{CLIENT_HEADER_BYTES_MAX, Limits, SERVER_HEADER_BYTES_MAX};
use super::message::{ClientMessage, PROTOCOL_VERSION, ServerMessage};

/// The first two bytes of every frame of every version.
pub const MAGIC: [u8; 2] = *b"CL";

/// Bytes before the header: magic 2, version 2, sequence 8, header length 4.
pub const ENVELOPE_BYTES: usize = 16;

/// How a header is encoded; `BYTES_MAX` bounds what bincode reads, and with it every text that it
/// reserves.
type HeaderConfig<const BYTES_MAX: usize> = Configuration<LittleEndian, Fixint, Limit<BYTES_MAX>>;

const fn header_config<const BYTES_MAX: usize>() -> HeaderConfig<BYTES_MAX> {
    bincode::config::standard()
        .with_little_endian()
        .with_fixed_int_encoding()
        .with_limit::<BYTES_MAX>()
}

/// A frame from a client: the message, and the bytes of its tensor where they lie.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientFrame<'a> {
    /// Counts the client's frames from 1.
    pub sequence: u64,
    /// The header.
    pub message: ClientMessage,
    /// Everything after the header; empty unless the message carries a tensor.
    pub payload: &'a [u8],
}

/// A frame from the server: the message, and the bytes of its tensor where they lie.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerFrame<'a> {
    /// Counts the server's frames from 1.
    pub sequence: u64,
    /// The header.
    pub message: ServerMessage,
    /// Everything after the header; empty unless the message carries a tensor.
    pub payload: &'a [u8],
}

/// Writes a client's frame.
///
/// # Errors
/// `HeaderTooLong`, and `PayloadUnexpected` for a payload behind a message that has none.
pub fn encode_client(
    sequence: u64,
    message: &ClientMessage,
    payload: &[u8],
) -> Result<Vec<u8>, CodecError> {
    check_payload_allowed(has_payload(message), payload)?;
    encode::<_, { CLIENT_HEADER_BYTES_MAX as usize }>(sequence, message, payload)
}

/// Reads a client's frame; nothing larger than the frame is reserved for it.
///
/// # Errors
/// Any but `Unencodable`; all of them end the connection, see `Refused::from_codec`.
pub fn decode_client<'a>(frame: &'a [u8], limits: &Limits) -> Result<ClientFrame<'a>, CodecError> {
    let (sequence, message, payload) =
        decode::<ClientMessage, { CLIENT_HEADER_BYTES_MAX as usize }>(frame, limits)?;
    check_payload_allowed(has_payload(&message), payload)?;
    Ok(ClientFrame {
        sequence,
        message,
        payload,
    })
}

/// Writes a server's frame.
///
/// # Errors
/// `HeaderTooLong`, and `PayloadUnexpected` for a payload behind a message that has none.
pub fn encode_server(
    sequence: u64,
    message: &ServerMessage,
    payload: &[u8],
) -> Result<Vec<u8>, CodecError> {
    check_payload_allowed(server_has_payload(message), payload)?;
    encode::<_, { SERVER_HEADER_BYTES_MAX as usize }>(sequence, message, payload)
}

/// Reads a server's frame. Before `Welcome` the client uses `Limits::default()`.
///
/// # Errors
/// Any but `Unencodable`.
pub fn decode_server<'a>(frame: &'a [u8], limits: &Limits) -> Result<ServerFrame<'a>, CodecError> {
    let (sequence, message, payload) =
        decode::<ServerMessage, { SERVER_HEADER_BYTES_MAX as usize }>(frame, limits)?;
    check_payload_allowed(server_has_payload(&message), payload)?;
    Ok(ServerFrame {
        sequence,
        message,
        payload,
    })
}

/// Reads only the sequence number of a frame of this version, so that a refusal can name a frame
/// that is otherwise unreadable.
pub fn sequence_of(frame: &[u8]) -> Option<u64> {
    Envelope::read(frame).ok().map(|envelope| envelope.sequence)
}

fn has_payload(message: &ClientMessage) -> bool {
    matches!(
        message,
        ClientMessage::Upload(_)
            | ClientMessage::Predict(_)
            | ClientMessage::BatchActivations(_)
            | ClientMessage::PooledGradient(_)
    )
}

fn server_has_payload(message: &ServerMessage) -> bool {
    matches!(
        message,
        ServerMessage::Pooled(_)
            | ServerMessage::CutGradient(_)
            | ServerMessage::PooledPrediction(_)
    )
}

fn check_payload_allowed(has_payload: bool, payload: &[u8]) -> Result<(), CodecError> {
    if has_payload || payload.is_empty() {
        return Ok(());
    }
    Err(CodecError::PayloadUnexpected {
        expected: 0,
        actual: payload.len(),
    })
}

struct Envelope {
    sequence: u64,
    header_bytes: u32,
}

impl Envelope {
    fn read(frame: &[u8]) -> Result<Self, CodecError> {
        let cut = CodecError::EnvelopeCut {
            expected: ENVELOPE_BYTES,
            actual: frame.len(),
        };
        let (magic, rest) = frame.split_first_chunk::<2>().ok_or(cut)?;
        if *magic != MAGIC {
            return Err(CodecError::WrongMagic { expected: MAGIC });
        }
        let (version, rest) = rest.split_first_chunk::<2>().ok_or(cut)?;
        let actual = u16::from_le_bytes(*version);
        if actual != PROTOCOL_VERSION {
            return Err(CodecError::WrongVersion {
                expected: PROTOCOL_VERSION,
                actual,
            });
        }
        let (sequence, rest) = rest.split_first_chunk::<8>().ok_or(cut)?;
        let header_bytes = rest.first_chunk::<4>().ok_or(cut)?;
        Ok(Self {
            sequence: u64::from_le_bytes(*sequence),
            header_bytes: u32::from_le_bytes(*header_bytes),
        })
    }
}

fn encode<M: Serialize, const HEADER_BYTES_MAX: usize>(
    sequence: u64,
    message: &M,
    payload: &[u8],
) -> Result<Vec<u8>, CodecError> {
    let header = bincode::serde::encode_to_vec(message, header_config::<HEADER_BYTES_MAX>())
        .map_err(|_| CodecError::Unencodable)?;
    let too_long = CodecError::HeaderTooLong {
        expected: HEADER_BYTES_MAX,
        actual: header.len(),
    };
    if header.len() > HEADER_BYTES_MAX {
        return Err(too_long);
    }
    let header_bytes = u32::try_from(header.len()).map_err(|_| too_long)?;
    let mut frame = Vec::with_capacity(ENVELOPE_BYTES + header.len() + payload.len());
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    frame.extend_from_slice(&sequence.to_le_bytes());
    frame.extend_from_slice(&header_bytes.to_le_bytes());
    frame.extend_from_slice(&header);
    frame.extend_from_slice(payload);
    Ok(frame)
}

fn decode<'a, M: DeserializeOwned, const HEADER_BYTES_MAX: usize>(
    frame: &'a [u8],
    limits: &Limits,
) -> Result<(u64, M, &'a [u8]), CodecError> {
    let frame_bytes_max = usize::try_from(limits.frame_bytes_max).unwrap_or(usize::MAX);
    if frame.len() > frame_bytes_max {
        return Err(CodecError::FrameTooLong {
            expected: frame_bytes_max,
            actual: frame.len(),
        });
    }
    let envelope = Envelope::read(frame)?;
    let header_bytes = usize::try_from(envelope.header_bytes).unwrap_or(usize::MAX);
    if header_bytes > HEADER_BYTES_MAX {
        let (expected, actual) = (HEADER_BYTES_MAX, header_bytes);
        return Err(CodecError::HeaderTooLong { expected, actual });
    }
    let rest = &frame[ENVELOPE_BYTES..];
    let (header, payload) = rest
        .split_at_checked(header_bytes)
        .ok_or(CodecError::HeaderCut {
            expected: header_bytes,
            actual: rest.len(),
        })?;
    // bincode's own words are dropped: they may quote what the header holds.
    let (message, read) =
        bincode::serde::decode_from_slice(header, header_config::<HEADER_BYTES_MAX>()).map_err(
            |_| CodecError::HeaderUndecodable {
                actual: header_bytes,
            },
        )?;
    if read != header_bytes {
        return Err(CodecError::HeaderTrailing {
            expected: read,
            actual: header_bytes,
        });
    }
    Ok((envelope.sequence, message, payload))
}

#[allow(clippy::unwrap_used)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::{Acknowledged, Prediction, RefusalCode};

    /// `Pause`, the second message of a session: 16 bytes of envelope, variant 3 as u32.
    const PAUSE: [u8; 20] = [
        b'C', b'L', 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0,
    ];

    fn with(at: usize, byte: u8) -> [u8; 20] {
        let mut frame = PAUSE;
        frame[at] = byte;
        frame
    }

    fn refusal(frame: &[u8]) -> CodecError {
        decode_client(frame, &Limits::default()).unwrap_err()
    }

    #[test]
    fn a_message_without_fields_is_twenty_bytes() {
        assert_eq!(encode_client(2, &ClientMessage::Pause, &[]).unwrap(), PAUSE);
        let frame = decode_client(&PAUSE, &Limits::default()).unwrap();
        assert_eq!(frame.sequence, 2);
        assert_eq!(frame.message, ClientMessage::Pause);
        assert!(frame.payload.is_empty());
    }

    #[test]
    fn another_version_is_told_before_anything_else_is_read() {
        let expected = CodecError::WrongVersion {
            expected: 1,
            actual: 2,
        };
        assert_eq!(refusal(&[b'C', b'L', 2, 0]), expected);
        assert_eq!(refusal(&[b'C', b'L', 2, 0, 0xff, 0xff, 0xff]), expected);
        assert_eq!(expected.refusal_code(), RefusalCode::WrongVersion);
    }

    #[test]
    fn each_defect_has_its_error() {
        assert_eq!(
            refusal(b"GET / HTTP/1.1\r\n"),
            CodecError::WrongMagic { expected: *b"CL" }
        );
        assert_eq!(
            refusal(&PAUSE[..9]),
            CodecError::EnvelopeCut {
                expected: 16,
                actual: 9
            }
        );
        assert_eq!(
            refusal(&PAUSE[..18]),
            CodecError::HeaderCut {
                expected: 4,
                actual: 2
            }
        );
        assert_eq!(
            refusal(&with(16, 99)),
            CodecError::HeaderUndecodable { actual: 4 }
        );
        assert_eq!(
            refusal(&with(12, 3)),
            CodecError::HeaderUndecodable { actual: 3 }
        );
        let mut longer = with(12, 5).to_vec();
        longer.push(0);
        assert_eq!(
            refusal(&longer),
            CodecError::HeaderTrailing {
                expected: 4,
                actual: 5
            }
        );
        longer[12] = 4;
        assert_eq!(
            refusal(&longer),
            CodecError::PayloadUnexpected {
                expected: 0,
                actual: 1
            }
        );
    }

    #[test]
    fn bounds_hold_before_the_bytes_are_looked_at() {
        let expected = CLIENT_HEADER_BYTES_MAX as usize;
        let claimed = CodecError::HeaderTooLong {
            expected,
            actual: expected + 1,
        };
        let mut frame = PAUSE;
        frame[12..16].copy_from_slice(&(CLIENT_HEADER_BYTES_MAX + 1).to_le_bytes());
        assert_eq!(refusal(&frame), claimed);
        let limits = Limits {
            frame_bytes_max: 19,
            ..Limits::default()
        };
        let error = decode_client(&PAUSE, &limits).unwrap_err();
        assert_eq!(
            error,
            CodecError::FrameTooLong {
                expected: 19,
                actual: 20
            }
        );
        assert_eq!(error.refusal_code(), RefusalCode::LimitExceeded);
    }

    #[test]
    fn what_would_not_be_read_is_not_written() {
        let error = encode_client(1, &ClientMessage::Goodbye, &[0; 3]).unwrap_err();
        assert_eq!(
            error,
            CodecError::PayloadUnexpected {
                expected: 0,
                actual: 3
            }
        );
        let probabilities = vec![0.0; SERVER_HEADER_BYTES_MAX as usize / 4];
        let message = ServerMessage::Prediction(Prediction {
            request_id: 0,
            probabilities,
        });
        let error = encode_server(1, &message, &[]).unwrap_err();
        assert!(matches!(error, CodecError::HeaderTooLong { .. }), "{error}");
    }

    #[test]
    fn a_server_frame_has_a_payload_only_behind_a_tensor() {
        let message = ServerMessage::Acknowledged(Acknowledged {
            sequence: 1,
            examples_stored: 1,
        });
        assert!(encode_server(1, &message, &[0]).is_err());
        let mut frame = encode_server(1, &message, &[]).unwrap();
        assert_eq!(
            decode_server(&frame, &Limits::default()).unwrap().message,
            message
        );
        frame.push(0);
        let error = decode_server(&frame, &Limits::default()).unwrap_err();
        assert_eq!(
            error,
            CodecError::PayloadUnexpected {
                expected: 0,
                actual: 1
            }
        );
    }

    #[test]
    fn the_sequence_of_an_unreadable_frame_is_known_when_its_envelope_is() {
        assert_eq!(sequence_of(&with(16, 99)), Some(2));
        assert_eq!(sequence_of(&PAUSE[..15]), None);
        assert_eq!(sequence_of(&with(2, 9)), None);
    }
}

//! A limit on everything that crosses the wire, each with its reason.
//!
//! The constants hold for every session; `Limits` is what one server accepts, told in `Welcome`.
//! The checks are for both sides: the client before it sends, the server before it reserves.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::codec::ENVELOPE_BYTES;
use super::message::RefusalCode;

/// What the server accepts in one session; sent in `Welcome`, so that the client never guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest WebSocket message: bounds the memory that one frame can claim.
    pub frame_bytes_max: u32,
    /// Most examples in one `Upload` or `Predict`: bounds the work behind one acknowledgement.
    pub batch_examples_max: u32,
    /// Most positions of one example: the model's position table, and memory that grows with its
    /// square.
    pub seq_length_max: u16,
    /// Most examples in one session: bounds the index held in memory.
    pub examples_max: u32,
    /// Most bytes of activations stored for one session: bounds the disk.
    pub store_bytes_max: u64,
    /// Most `Upload` messages without an acknowledgement: back-pressure.
    pub uploads_in_flight_max: u16,
    /// Most classes of a task.
    pub n_classes_max: u32,
    /// Most optimizer steps in one run.
    pub steps_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: 16 * 1024 * 1024,
            batch_examples_max: 256,
            seq_length_max: 512,
            examples_max: 1_000_000,
            store_bytes_max: 64 * 1024 * 1024 * 1024,
            uploads_in_flight_max: 4,
            n_classes_max: 1_000,
            steps_max: 1_000_000,
        }
    }
}

/// Largest header of a client's frame: an `Upload` of 256 examples takes under 4 KiB, and memory
/// for it is reserved before the session knows anything about the client.
pub const CLIENT_HEADER_BYTES_MAX: u32 = 64 * 1024;

/// Largest header of a server's frame: the confusion matrix of 1,000 classes takes 4,000,000 bytes.
pub const SERVER_HEADER_BYTES_MAX: u32 = 4 * 1024 * 1024;

/// Seconds within which a new connection must have sent its `Hello`: a silent one holds a slot.
pub const HANDSHAKE_SECS_MAX: u64 = 10;

/// Seconds within which a client must answer what a run asks of it: a batch through a large bottom on
/// a slow processor takes minutes, and a run that is asked for nothing more holds memory.
pub const ANSWER_SECS_MAX: u64 = 600;

/// Longest model name: it is a path segment of the artifacts' addresses.
pub const MODEL_ID_BYTES_MAX: usize = 128;

/// A named limit is exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{limit} is {expected}; got {actual}")]
pub struct LimitError {
    /// The field of `Limits`.
    pub limit: &'static str,
    /// Its value.
    pub expected: u64,
    /// What there was, or would have been.
    pub actual: u64,
}

impl LimitError {
    /// Tells what the other side is told.
    pub fn refusal_code(&self) -> RefusalCode {
        RefusalCode::LimitExceeded
    }
}

impl Limits {
    /// Counts the payload bytes that fit into a frame with any header.
    pub fn payload_bytes_max(&self) -> usize {
        let overhead = ENVELOPE_BYTES as u64 + u64::from(CLIENT_HEADER_BYTES_MAX);
        let payload_bytes = u64::from(self.frame_bytes_max).saturating_sub(overhead);
        usize::try_from(payload_bytes).unwrap_or(usize::MAX)
    }

    /// Adds a batch to the examples of a session and gives the new count.
    ///
    /// # Errors
    /// More than `examples_max`.
    pub fn check_examples(&self, stored: u32, added: usize) -> Result<u32, LimitError> {
        let total = u64::from(stored).saturating_add(added as u64);
        let max = u64::from(self.examples_max);
        let total = at_most("examples_max", max, total)?;
        Ok(u32::try_from(total).unwrap_or(u32::MAX))
    }

    /// Adds a payload to the stored bytes of a session and gives the new sum.
    ///
    /// # Errors
    /// More than `store_bytes_max`.
    pub fn check_store_bytes(&self, stored: u64, added: u64) -> Result<u64, LimitError> {
        at_most(
            "store_bytes_max",
            self.store_bytes_max,
            stored.saturating_add(added),
        )
    }

    /// Holds the uploads that wait for their acknowledgement against back-pressure.
    ///
    /// # Errors
    /// More than `uploads_in_flight_max`.
    pub fn check_uploads_in_flight(&self, uploads: usize) -> Result<(), LimitError> {
        let max = u64::from(self.uploads_in_flight_max);
        at_most("uploads_in_flight_max", max, uploads as u64).map(drop)
    }

    /// Holds the length of a run against `steps_max` and gives it back as the wire writes it.
    ///
    /// # Errors
    /// More than `steps_max`.
    pub fn check_steps(&self, steps: u64) -> Result<u32, LimitError> {
        let steps = at_most("steps_max", u64::from(self.steps_max), steps)?;
        Ok(u32::try_from(steps).unwrap_or(u32::MAX))
    }
}

/// Gives `actual` back if it is within the limit.
pub(super) fn at_most(limit: &'static str, expected: u64, actual: u64) -> Result<u64, LimitError> {
    if actual > expected {
        return Err(LimitError {
            limit,
            expected,
            actual,
        });
    }
    Ok(actual)
}

#[allow(clippy::unwrap_used)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_fit_the_largest_message_of_the_default_limits() {
        let limits = Limits::default();
        let (batch, classes) = (limits.batch_examples_max, limits.n_classes_max);
        // Upload: 15 bytes an example; Prediction: 4 a class; Validation: 4 a cell. 64 for the
        // rest.
        assert!(batch * 15 + 64 < CLIENT_HEADER_BYTES_MAX);
        assert!(batch * classes * 4 + 64 < SERVER_HEADER_BYTES_MAX);
        assert!(classes * classes * 4 + 64 < SERVER_HEADER_BYTES_MAX);
        assert!(SERVER_HEADER_BYTES_MAX + 16 < limits.frame_bytes_max);
    }

    #[test]
    fn the_payload_leaves_room_for_envelope_and_header() {
        assert_eq!(
            Limits::default().payload_bytes_max(),
            16 * 1024 * 1024 - 16 - 64 * 1024
        );
        let tiny = Limits {
            frame_bytes_max: 10,
            ..Limits::default()
        };
        assert_eq!(tiny.payload_bytes_max(), 0);
    }

    #[test]
    fn each_limit_holds_at_its_edge() {
        let limits = Limits {
            examples_max: 10,
            store_bytes_max: 100,
            ..Limits::default()
        };
        assert_eq!(limits.check_examples(7, 3), Ok(10));
        let error = limits.check_examples(7, 4).unwrap_err();
        assert_eq!(
            error,
            LimitError {
                limit: "examples_max",
                expected: 10,
                actual: 11
            }
        );
        assert_eq!(error.to_string(), "examples_max is 10; got 11");
        assert_eq!(limits.check_store_bytes(60, 40), Ok(100));
        assert!(limits.check_store_bytes(60, u64::MAX).is_err());
        assert!(limits.check_uploads_in_flight(4).is_ok());
        assert!(limits.check_uploads_in_flight(5).is_err());
        assert_eq!(limits.check_steps(1_000_000), Ok(1_000_000));
        assert!(limits.check_steps(1_000_001).is_err());
    }
}

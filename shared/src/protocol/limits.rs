//! A limit on everything that crosses the wire, each with its reason.

use serde::{Deserialize, Serialize};

/// What the server accepts in one session; sent in `Welcome`, so that the client never guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest WebSocket message: bounds the memory that one frame can claim.
    pub frame_bytes_max: u32,
    /// Most examples in one `Upload` or `Predict`: bounds the work behind one acknowledgement.
    pub batch_examples_max: u32,
    /// Most positions of one example: the model's position table, and memory that grows with its square.
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

/// Largest header of a frame. An `Upload` of `batch_examples_max` examples takes under 4 KiB.
pub const HEADER_BYTES_MAX: u32 = 64 * 1024;

/// Seconds within which a new connection must have sent its `Hello`.
pub const HANDSHAKE_SECS_MAX: u64 = 10;

//! What bounds the daemon itself; what bounds a session on the wire is `shared::protocol::limits`.

use std::time::Duration;

use shared::protocol::limits::{ANSWER_SECS_MAX, HANDSHAKE_SECS_MAX};

/// Messages that wait for the socket before step reports are dropped and no more is read from the
/// client: enough for a burst of reports.
pub const OUTGOING_MESSAGES_MAX: usize = 64;

/// Bytes that wait for the socket: a client that lets more pile up is not reading, and is dropped.
/// The largest message, a confusion matrix of 1,000 classes, takes 4 MB.
pub const OUTGOING_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Messages that a client has not confirmed and may ask for again. One that keeps the protocol
/// confirms every 16th, so these are what a slow line holds; step reports of 100 bytes for the most
/// part.
pub const KEPT_MESSAGES_MAX: usize = 4096;

/// Reports of a run that wait to be written down, and as many that wait for its session. Neither
/// waits for a client, so this is only ever a buffer for bursts: the trainer does not block on it.
pub const RUN_EVENTS_MAX: usize = 256;

/// Places among them that the reports of steps leave free for all others.
pub const RUN_EVENTS_RESERVED: usize = 16;

/// Predictions of one session at work: each holds a batch of activations in memory.
pub const PREDICTIONS_IN_FLIGHT_MAX: usize = 4;

/// Refusals that one session survives: a client that is wrong so often is broken or hostile.
pub const REFUSALS_MAX: u32 = 100;

/// Bytes of an adapter that somebody brings: rank 64 beside every projection of a large encoder.
pub const ADAPTER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Adapters that are brought at the same time: each is in memory while it is.
pub const IMPORTS_MAX: usize = 2;

/// Bytes of kept adapters that the trainer holds where nobody says otherwise.
pub const ADAPTER_MEMORY_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// How long the bytes of an adapter that is brought may take: whoever brings it holds one of few
/// places.
pub const IMPORT_MAX: Duration = Duration::from_secs(120);

/// How long each kind of waiting may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From the upgrade to an accepted `Hello`: a silent connection holds a slot.
    pub handshake: Duration,
    /// Between two pings: keeps proxies from closing a quiet connection.
    pub ping: Duration,
    /// Without any frame, pongs included, after which the client counts as gone.
    pub silence: Duration,
    /// Without a message while no run goes on: an open tab that is not used holds a slot and disk.
    pub idle: Duration,
    /// For a client to answer what its run asks of it: the run holds memory meanwhile.
    pub answer: Duration,
    /// For a client whose connection was lost to come back: it holds a slot, disk and the run
    /// meanwhile. With nothing a session ends with its connection.
    pub resume: Duration,
    /// For one message to be taken by the socket: a client that does not read is dropped.
    pub write: Duration,
    /// For the other side's close frame, after ours.
    pub close: Duration,
    /// For all sessions and requests to end when the daemon stops.
    pub shutdown: Duration,
}

/// What a client that is refused for want of room is told to wait, in the header `Retry-After`.
pub const RETRY_AFTER_SECS: u64 = 5;

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(HANDSHAKE_SECS_MAX),
            ping: Duration::from_secs(20),
            silence: Duration::from_secs(60),
            idle: Duration::from_secs(4 * 60 * 60),
            answer: Duration::from_secs(ANSWER_SECS_MAX),
            resume: Duration::ZERO,
            write: Duration::from_secs(30),
            close: Duration::from_secs(2),
            shutdown: Duration::from_secs(20),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_but_quiet_client_is_not_taken_for_gone() {
        let timeouts = Timeouts::default();
        assert!(timeouts.ping * 2 < timeouts.silence);
        assert!(timeouts.close * 3 < timeouts.shutdown);
    }
}

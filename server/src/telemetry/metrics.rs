//! Every metric of the daemon: name, unit, description, labels.
//!
//! Names follow <https://prometheus.io/docs/practices/naming/>. A label's values are a closed set
//! of this program's words: never a name, an id or anything that a client sent. Without
//! [`exporter::install`](super::exporter::install) every call here does nothing.

mod kinds;
mod labels;

use metrics::Unit;
use shared::protocol::message::RefusalCode;

use kinds::describe;
pub use kinds::{Counter, Counters, Description, Gauge, Held, Histogram, Kind};
pub use labels::{Closed, StatusClass, Turned};

/// From a tenth of a millisecond, a small model's step, to the minutes that a client may take.
const SECONDS: &[f64] = &[
    0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0,
];

/// Powers of two up to 64 examples of 512 tokens, and twice that.
const TOKENS: &[f64] = &[
    16.0, 64.0, 256.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0,
];

/// Connections that are open.
pub static CONNECTIONS_OPEN: Gauge = Gauge::new(
    "cutlayer_connections_open",
    Unit::Count,
    "Connections that are open, WebSocket sessions among them.",
);
/// Connections and upgrades that came to nothing.
pub static CONNECTIONS_REFUSED: Counters<Turned> = Counters::new(
    "cutlayer_connections_refused_total",
    "Connections and WebSocket upgrades that came to nothing, by reason.",
);
/// Requests that were answered.
pub static HTTP_RESPONSES: Counters<StatusClass> = Counters::new(
    "cutlayer_http_responses_total",
    "Requests that were answered, by class of status; an upgrade is 1xx.",
);
/// Sessions that are open.
pub static SESSIONS_OPEN: Gauge = Gauge::new(
    "cutlayer_sessions_open",
    Unit::Count,
    "Sessions that are open and count against --sessions-max.",
);
/// Sessions that began.
pub static SESSIONS_OPENED: Counter = Counter::new(
    "cutlayer_sessions_opened_total",
    Unit::Count,
    "Sessions that began.",
);
/// Sessions between two connections.
pub static SESSIONS_PARKED: Gauge = Gauge::new(
    "cutlayer_sessions_parked",
    Unit::Count,
    "Open sessions whose connection was lost and that wait for their client.",
);
/// Sessions that went on in another connection.
pub static SESSIONS_RESUMED: Counter = Counter::new(
    "cutlayer_sessions_resumed_total",
    Unit::Count,
    "Times that a session went on in another connection.",
);
/// Frames from clients.
pub static FRAMES_RECEIVED: Counter = Counter::new(
    "cutlayer_frames_received_total",
    Unit::Count,
    "Binary WebSocket messages from clients.",
);
/// Bytes from clients.
pub static RECEIVED_BYTES: Counter = Counter::new(
    "cutlayer_received_bytes_total",
    Unit::Bytes,
    "Bytes in binary WebSocket messages from clients.",
);
/// Frames to clients.
pub static FRAMES_SENT: Counter = Counter::new(
    "cutlayer_frames_sent_total",
    Unit::Count,
    "Binary WebSocket messages handed to the socket.",
);
/// Bytes to clients.
pub static SENT_BYTES: Counter = Counter::new(
    "cutlayer_sent_bytes_total",
    Unit::Bytes,
    "Bytes in binary WebSocket messages handed to the socket.",
);
/// Frames that wait for their sockets.
pub static FRAMES_WAITING: Gauge = Gauge::new(
    "cutlayer_frames_waiting",
    Unit::Count,
    "Messages of all sessions that wait for their sockets.",
);
/// Time that a frame needs to leave.
pub static WRITE: Histogram = Histogram::new(
    "cutlayer_frame_write_seconds",
    Unit::Seconds,
    SECONDS,
    "Time until the socket has taken a message: long where the network or the client is slow.",
);
/// Time that a client needs to answer its run.
pub static CLIENT_WAIT: Histogram = Histogram::new(
    "cutlayer_client_wait_seconds",
    Unit::Seconds,
    SECONDS,
    "Time from what a run asks its client to the answer: network both ways and the client's work.",
);
/// Messages that were refused.
pub static REFUSALS: Counters<RefusalCode> = Counters::new(
    "cutlayer_refusals_total",
    "Messages of sessions that were refused, by code of docs/protocol.md.",
);
/// Commands that wait for the trainer.
pub static COMMANDS_WAITING: Gauge = Gauge::new(
    "cutlayer_trainer_commands_waiting",
    Unit::Count,
    "Commands that the trainer's thread has not taken yet.",
);
/// Time until the trainer has answered.
pub static TRAINER_WAIT: Histogram = Histogram::new(
    "cutlayer_trainer_wait_seconds",
    Unit::Seconds,
    SECONDS,
    "Time from a command, predictions among them, to the trainer's answer: waiting and work.",
);
/// Tokens that go through the top at once.
pub static BATCH_TOKENS: Histogram = Histogram::new(
    "cutlayer_batch_tokens",
    Unit::Count,
    TOKENS,
    "Rows of activations that go through the top at once, in training, validation or prediction, \
     padding not counted; steps that are taken together count as one.",
);
/// Time of a forward pass.
pub static FORWARD: Histogram = Histogram::new(
    "cutlayer_forward_seconds",
    Unit::Seconds,
    SECONDS,
    "Host's time for a forward pass of a training step; a GPU may still be computing after it.",
);
/// Time of a backward pass.
pub static BACKWARD: Histogram = Histogram::new(
    "cutlayer_backward_seconds",
    Unit::Seconds,
    SECONDS,
    "Host's time for a backward pass; on a GPU what is left of the forward pass may be in it.",
);
/// Time of an optimizer step.
pub static OPTIMIZER: Histogram = Histogram::new(
    "cutlayer_optimizer_seconds",
    Unit::Seconds,
    SECONDS,
    "Host's time for an optimizer step.",
);
/// Time to write a checkpoint.
pub static CHECKPOINT: Histogram = Histogram::new(
    "cutlayer_checkpoint_seconds",
    Unit::Seconds,
    SECONDS,
    "Time to write a run's checkpoint, during which the trainer takes no step.",
);
/// Checkpoints that were not written.
pub static CHECKPOINT_FAILURES: Counter = Counter::new(
    "cutlayer_checkpoint_failures_total",
    Unit::Count,
    "Checkpoints that could not be written; the run went on with the one before.",
);
/// Adapters that the trainer holds.
pub static ADAPTERS: Gauge = Gauge::new(
    "cutlayer_adapters_in_memory",
    Unit::Count,
    "Adapters that the trainer holds: of runs, and kept ones that were asked lately.",
);
/// Bytes under the data directory.
pub static STORE_BYTES: Gauge = Gauge::new(
    "cutlayer_store_bytes",
    Unit::Bytes,
    "Bytes of all files in the data directory, counted when metrics are fetched.",
);
/// Whether the daemon is ready.
pub static READY: Gauge = Gauge::new(
    "cutlayer_ready",
    Unit::Count,
    "1 while /readyz answers 200, else 0.",
);
/// Start of the process.
pub static PROCESS_START: Gauge = Gauge::new(
    "process_start_time_seconds",
    Unit::Seconds,
    "When the process started, in seconds since 1970.",
);
/// Name of the metric that only says which program this is.
pub(super) const BUILD_INFO: Description = Description {
    label: Some("version"),
    ..describe(
        Kind::Gauge,
        "cutlayer_build_info",
        Unit::Count,
        "Always 1; the label says which version runs.",
    )
};

/// Every metric, in the order of docs/operations.md.
pub const ALL: [&Description; 27] = [
    &CONNECTIONS_OPEN.0,
    &CONNECTIONS_REFUSED.0,
    &HTTP_RESPONSES.0,
    &SESSIONS_OPEN.0,
    &SESSIONS_OPENED.0,
    &SESSIONS_PARKED.0,
    &SESSIONS_RESUMED.0,
    &FRAMES_RECEIVED.0,
    &RECEIVED_BYTES.0,
    &FRAMES_SENT.0,
    &SENT_BYTES.0,
    &FRAMES_WAITING.0,
    &WRITE.0,
    &CLIENT_WAIT.0,
    &REFUSALS.0,
    &COMMANDS_WAITING.0,
    &TRAINER_WAIT.0,
    &BATCH_TOKENS.0,
    &FORWARD.0,
    &BACKWARD.0,
    &OPTIMIZER.0,
    &CHECKPOINT.0,
    &CHECKPOINT_FAILURES.0,
    &ADAPTERS.0,
    &STORE_BYTES.0,
    &READY.0,
    &PROCESS_START.0,
];

/// Every metric, that of the build included.
pub fn all() -> impl Iterator<Item = &'static Description> {
    ALL.into_iter().chain([&BUILD_INFO])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let names: BTreeSet<_> = all().map(|metric| metric.name).collect();
        assert_eq!(names.len(), all().count(), "a name is used twice");
        for metric in all() {
            let name = metric.name;
            let plain = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(name.chars().all(plain), "{name}");
            assert!(name.starts_with("cutlayer_") || name.starts_with("process_"));
            let is_counter = metric.kind == Kind::Counter;
            assert_eq!(name.ends_with("_total"), is_counter, "{name}");
            let base = name.strip_suffix("_total").unwrap_or(name);
            let is_seconds = metric.unit == Unit::Seconds;
            assert_eq!(base.ends_with("_seconds"), is_seconds, "{name}");
            assert_eq!(
                base.ends_with("_bytes"),
                metric.unit == Unit::Bytes,
                "{name}"
            );
            let is_histogram = metric.kind == Kind::Histogram;
            assert_eq!(!metric.buckets.is_empty(), is_histogram, "{name}");
            assert!(metric.buckets.is_sorted(), "{name}");
        }
    }

    /// Breaks when a metric is added, renamed or described anew and its document is not.
    #[test]
    fn the_document_lists_exactly_these() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
        let text = fs::read_to_string(path).unwrap();
        let section = text.split("\n## Metrics\n").nth(1).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let documented: Vec<&str> = section
            .lines()
            .filter(|line| line.starts_with("| `"))
            .collect();
        let row = |metric: &Description| {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let label = metric.label.map_or(String::new(), |l| format!("`{l}`"));
            format!("| `{}` | {kind} | {label} | {} |", metric.name, metric.help)
        };
        let expected: Vec<String> = all().map(row).collect();
        assert_eq!(documented, expected);
    }
}

//! Messages and phases in words, for refusals.

use shared::protocol::message::ClientMessage;
use shared::protocol::phase::Phase;

/// A message as a refusal names it.
pub(super) fn message_name(message: &ClientMessage) -> &'static str {
    match message {
        ClientMessage::Hello(_) => "Hello",
        ClientMessage::Upload(_) => "Upload",
        ClientMessage::Train(_) => "Train",
        ClientMessage::Pause => "Pause",
        ClientMessage::Continue => "Continue",
        ClientMessage::Cancel => "Cancel",
        ClientMessage::Predict(_) => "Predict",
        ClientMessage::Goodbye => "Goodbye",
        ClientMessage::BatchActivations(_) => "BatchActivations",
        ClientMessage::PooledGradient(_) => "PooledGradient",
        ClientMessage::Verdict(_) => "Verdict",
        ClientMessage::Resume(_) => "Resume",
        ClientMessage::Received(_) => "Received",
        ClientMessage::UseAdapter(_) => "UseAdapter",
    }
}

/// A phase in the words of a refusal.
pub(super) fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Handshake => "waiting for Hello",
        Phase::Collecting => "collecting examples",
        Phase::Training => "training",
        Phase::Held => "held",
        Phase::Trained => "trained",
    }
}

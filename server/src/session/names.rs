//! Phases in words, for refusals.

use shared::protocol::phase::Phase;

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

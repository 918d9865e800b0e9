//! Messages in words.

use super::message::ClientMessage;

impl ClientMessage {
    /// Its name in docs/protocol.md. A new variant does not compile until it has one here, and then
    /// a block in the document.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "Hello",
            Self::Upload(_) => "Upload",
            Self::Train(_) => "Train",
            Self::Pause => "Pause",
            Self::Continue => "Continue",
            Self::Cancel => "Cancel",
            Self::Predict(_) => "Predict",
            Self::Goodbye => "Goodbye",
            Self::BatchActivations(_) => "BatchActivations",
            Self::PooledGradient(_) => "PooledGradient",
            Self::Verdict(_) => "Verdict",
            Self::Resume(_) => "Resume",
            Self::Received(_) => "Received",
            Self::UseAdapter(_) => "UseAdapter",
        }
    }
}

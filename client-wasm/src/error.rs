//! What can go wrong at the client, in one sentence each, with a stable name for programs.

use shared::audit::AuditError;
use shared::model::{DeviceFailed, ModelError};
use shared::privacy::PrivacyError;
use shared::protocol::exchange::ExchangeError;
use shared::protocol::message::Refused;
use shared::protocol::refusal::{CLOSE_RESTART, CLOSE_TRY_LATER};
use shared::protocol::resume::ResumeError;
use shared::text::TextError;

/// Something went wrong. No variant holds private data.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The texts, the file or the tokenizer.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The mechanism.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    /// An attack on what would be released.
    #[error(transparent)]
    Audit(AuditError),
    /// The bottom model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The compute device.
    #[error("{0}; reload the page or choose the CPU")]
    Device(#[from] DeviceFailed),
    /// The server did not accept something.
    #[error("the server refused: {}", .0.sentence)]
    Refused(Refused),
    /// The connection ended.
    #[error(
        "the connection to the server was lost ({reason}); a run that needs nothing of this side goes on there. Check that the server runs, then try again"
    )]
    Disconnected {
        /// What the transport says.
        reason: String,
        /// Of the server's close frame; none where the connection ended without one.
        code: Option<u16>,
    },
    /// The connection was lost, and the server has given the session up meanwhile.
    #[error(
        "the connection to the server was lost, and the server has ended the session since; it has          deleted what was sent. Train again"
    )]
    SessionGone,
    /// A file of the server could not be fetched.
    #[error("{what} could not be fetched from the server: {reason}")]
    Fetch {
        /// Which file.
        what: String,
        /// What the transport says.
        reason: String,
    },
    /// The server lets nobody in without a token, or not with this one.
    #[error("the server asks for a token that it accepts")]
    TokenNeeded,
    /// The server opens no session here, and asking again changes nothing.
    #[error("the server does not open a session: it answers with status {status}")]
    TurnedAway {
        /// HTTP's.
        status: u16,
    },
    /// A file is not the one that the catalogue names.
    #[error(
        "{what} is not what the server's catalogue announces (sha256 differs); nothing was run"
    )]
    WrongArtifact {
        /// Which file.
        what: String,
    },
    /// The server said something that the protocol does not allow here.
    #[error("the server sent something unexpected: {0}")]
    Protocol(String),
    /// The tokenizer knows more tokens than the model.
    #[error(
        "the tokenizer knows {known} tokens, the model has {rows} rows: they do not belong together"
    )]
    TokenizerMismatch {
        /// Tokens of the tokenizer.
        known: usize,
        /// Rows of the embedding table.
        rows: usize,
    },
    /// The system gives no cryptographic randomness.
    #[error(
        "this system has no cryptographic random generator; nothing can be privatized without one"
    )]
    NoRandomness,
    /// Something was asked for too early.
    #[error("{0}")]
    NotYet(&'static str),
    /// An option is not usable.
    #[error("{name}: {problem}")]
    Option {
        /// Which option.
        name: &'static str,
        /// What is wrong, without private data.
        problem: String,
    },
    /// Noise on activations, and activations that are computed anew in every step.
    #[error(
        "an adapter in the bottom sends new activations of every text in every step; the mechanism \
         vector would add fresh noise each time, which averages away. Choose token, or a frozen \
         bottom"
    )]
    RepeatedRelease,
    /// The run's numbers left what can be computed with.
    #[error(
        "the training diverged: a number is not finite any more. Choose a smaller learning rate"
    )]
    Diverged,
    /// The person stopped the work.
    #[error("stopped before it was complete; nothing was trained")]
    Stopped,
}

impl ClientError {
    /// A stable name, for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Text(TextError::OneClassOnly { .. }) => "OneClassOnly",
            Self::Text(_) => "Text",
            Self::Privacy(_) => "Privacy",
            Self::Audit(_) => "Audit",
            Self::Model(_) => "Model",
            Self::Device(_) => "Device",
            Self::Refused(_) => "Refused",
            Self::Disconnected { .. } => "Disconnected",
            Self::SessionGone => "SessionGone",
            Self::Fetch { .. } => "Fetch",
            Self::TokenNeeded => "TokenNeeded",
            Self::TurnedAway { .. } => "TurnedAway",
            Self::WrongArtifact { .. } => "WrongArtifact",
            Self::Protocol(_) => "Protocol",
            Self::TokenizerMismatch { .. } => "TokenizerMismatch",
            Self::NoRandomness => "NoRandomness",
            Self::NotYet(_) => "NotYet",
            Self::Option { .. } => "Option",
            Self::RepeatedRelease => "RepeatedRelease",
            Self::Diverged => "Diverged",
            Self::Stopped => "Stopped",
        }
    }
}

/// HTTP's status of who has to say first who they are.
pub(crate) const UNAUTHORIZED: u16 = 401;

impl ClientError {
    /// Why a connection was not opened that was answered with a status of HTTP: a refusal that
    /// stays one however often it is asked, or what may be over soon, such as too many connections.
    pub(crate) fn unopened(status: u16) -> Self {
        match status {
            UNAUTHORIZED => Self::TokenNeeded,
            400 | 403 | 404 => Self::TurnedAway { status },
            _ => Self::Disconnected {
                reason: format!("the server answers with status {status}"),
                code: None,
            },
        }
    }
}

/// Nobody sends these: the connection ended without a close frame, or with one that says nothing.
/// Source: RFC 6455, section 7.4.1.
const CLOSED_WITHOUT_CODE: u16 = 1005;
const CLOSED_ABNORMALLY: u16 = 1006;

impl ClientError {
    /// Whether only the connection is gone: the session may go on in another one. A close that says
    /// why, for a rule or because the session is over, is none.
    pub(crate) fn is_loss(&self) -> bool {
        let Self::Disconnected { code, .. } = self else {
            return false;
        };
        matches!(
            code,
            None | Some(CLOSED_WITHOUT_CODE | CLOSED_ABNORMALLY | CLOSE_RESTART | CLOSE_TRY_LATER)
        )
    }
}

impl From<ResumeError> for ClientError {
    fn from(error: ResumeError) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<AuditError> for ClientError {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Device(error) => Self::Device(error),
            AuditError::Model(error) => Self::Model(error),
            AuditError::Privacy(error) => Self::Privacy(error),
            AuditError::Text(error) => Self::Text(error),
            error => Self::Audit(error),
        }
    }
}

impl From<ExchangeError> for ClientError {
    fn from(error: ExchangeError) -> Self {
        Self::Protocol(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks when a client asks again for what it will not get, or gives up what it would.
    #[test]
    fn only_what_may_be_over_soon_is_a_loss() {
        for (status, name, is_loss) in [
            (401, "TokenNeeded", false),
            (400, "TurnedAway", false),
            (403, "TurnedAway", false),
            (404, "TurnedAway", false),
            (429, "Disconnected", true),
            (502, "Disconnected", true),
            (503, "Disconnected", true),
        ] {
            let error = ClientError::unopened(status);
            assert_eq!((error.name(), error.is_loss()), (name, is_loss), "{status}");
        }
    }
}

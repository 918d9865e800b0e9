//! Everything that a session does not accept or cannot do, and the one way from there to a wire
//! refusal.
//!
//! A fault's text is sent to the client, so it holds numbers and names of settings, and nothing
//! else of the client's. Internal reasons stay in `source` and go to the log.

use std::io;

use shared::protocol::examples::BatchError;
use shared::protocol::exchange::ExchangeError;
use shared::protocol::limits::LimitError;
use shared::protocol::message::{RefusalCode, Refused};
use shared::protocol::resume::ResumeError;
use shared::protocol::settings::SettingsError;

use crate::adapters::AdaptersError;
use crate::auth::AuthError;
use crate::quota::QuotaError;
use crate::state::StateError;
use crate::trainer::TrainerError;

/// Why a message was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The two sides speak different versions.
    #[error("expected protocol version {expected}; got {actual}")]
    WrongVersion {
        /// Ours.
        expected: u16,
        /// The client's.
        actual: u16,
    },
    /// The client's name is not repeated: it may be anything.
    #[error("the catalogue has no model of that name; it has {offered}")]
    UnknownModel {
        /// The model that is offered.
        offered: String,
    },
    /// The cut is not in the catalogue.
    #[error("cut {actual} is not offered; the catalogue names those that are")]
    UnknownCut {
        /// The cut asked for.
        actual: u32,
    },
    /// The client runs other weights than those the top continues.
    #[error("this is not the sha256 of a bottom that is offered for cut {cut}; fetch it again")]
    WrongBottom {
        /// The cut asked for.
        cut: u32,
    },
    /// A setting makes no sense.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Headers, descriptor and payload of a batch disagree.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// An answer is not the one that the run waits for.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// A named limit is exceeded.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The message is not allowed now.
    #[error("{message} is not allowed while the session is {phase}")]
    WrongPhase {
        /// The message's name.
        message: &'static str,
        /// The phase in words.
        phase: &'static str,
    },
    /// A message is missing, or its number is not one that it may have.
    #[error("expected message {expected}; got {actual}")]
    OutOfOrder {
        /// The next sequence number.
        expected: u64,
        /// The one that came.
        actual: u64,
    },
    /// No session of the tenant has the token, or the session has ended; which of them is not told.
    #[error("there is no session with this token, or it has ended; begin a new one")]
    UnknownSession,
    /// What the client says it has processed does not fit what was sent.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// The id was used before; it is not repeated.
    #[error("the id of example {position} of the batch was used before in this session")]
    DuplicateExample {
        /// Place in the batch, from 0.
        position: usize,
    },
    /// A run needs examples of both splits.
    #[error(
        "a run needs at least 1 example to train on and 1 to validate; got {train} and {validation}"
    )]
    NoExamples {
        /// Training examples stored.
        train: u32,
        /// Validation examples stored.
        validation: u32,
    },
    /// Too many predictions at work.
    #[error("at most {expected} predictions may be in flight; wait for one to be answered")]
    PredictionsInFlight {
        /// `PREDICTIONS_IN_FLIGHT_MAX`.
        expected: usize,
    },
    /// A run cannot replace the one whose adapter is still answering.
    #[error("a new run begins only when all predictions are answered; {actual} are not")]
    PredictionsOpen {
        /// Predictions at work.
        actual: usize,
    },
    /// A WebSocket text message.
    #[error("messages are binary; got text")]
    Text,
    /// A WebSocket message above the limit; its bytes were not read.
    #[error("frame_bytes_max is {expected}; got more")]
    FrameTooLarge {
        /// `frame_bytes_max`.
        expected: u32,
    },
    /// Every session slot is taken.
    #[error("all {sessions_max} sessions are taken; try again later")]
    SessionsTaken {
        /// The daemon's limit.
        sessions_max: usize,
    },
    /// The disk or the file system failed.
    #[error("the server could not store these examples; none of them was kept")]
    Store(#[source] io::Error),
    /// The trainer failed.
    #[error("the server could not do this")]
    Trainer(#[from] TrainerError),
    /// The token does not allow it.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The tenant has as much as it may.
    #[error(transparent)]
    Quota(#[from] QuotaError),
    /// The job's record could not be written.
    #[error(
        "the server could not write this job down, so it does not run; the examples are still there"
    )]
    State(#[from] StateError),
    /// The tenant has no such adapter, or it is there no more.
    #[error("there is no such adapter; the list of adapters names those that are")]
    UnknownAdapter,
    /// A kept adapter cannot stand for one that is in parts.
    #[error("an adapter that is kept predicts with labels at the server and a frozen bottom only")]
    AdapterInParts,
    /// The adapter was made for something else, or could not be found.
    #[error(transparent)]
    Adapters(AdaptersError),
    /// Somebody deleted the job of an earlier run, and the examples with it.
    #[error("the examples were deleted with the job of an earlier run; begin a new session")]
    ExamplesGone,
    /// The run ended by a failure.
    #[error("the run failed at the server; the examples are still there")]
    RunFailed,
}

impl From<AdaptersError> for Fault {
    fn from(error: AdaptersError) -> Self {
        match error {
            AdaptersError::Unknown => Self::UnknownAdapter,
            error => Self::Adapters(error),
        }
    }
}

impl Fault {
    /// The stable code of a fault.
    pub fn refusal_code(&self) -> RefusalCode {
        match self {
            Self::WrongVersion { .. } => RefusalCode::WrongVersion,
            Self::UnknownModel { .. } => RefusalCode::UnknownModel,
            Self::UnknownCut { .. } => RefusalCode::UnknownCut,
            Self::WrongBottom { .. } => RefusalCode::WrongBottom,
            Self::Settings(error) => error.refusal_code(),
            Self::Batch(error) => error.refusal_code(),
            Self::Exchange(error) => error.refusal_code(),
            Self::Limit(error) => error.refusal_code(),
            Self::WrongPhase { .. } => RefusalCode::WrongPhase,
            Self::OutOfOrder { .. } | Self::Resume(ResumeError::NotSent { .. }) => {
                RefusalCode::OutOfOrder
            }
            Self::UnknownSession | Self::Resume(ResumeError::NotKept { .. }) => {
                RefusalCode::UnknownSession
            }
            Self::DuplicateExample { .. } => RefusalCode::DuplicateExample,
            Self::NoExamples { .. } | Self::ExamplesGone => RefusalCode::BadSettings,
            Self::PredictionsInFlight { .. }
            | Self::PredictionsOpen { .. }
            | Self::FrameTooLarge { .. } => RefusalCode::LimitExceeded,
            Self::Text => RefusalCode::MalformedFrame,
            Self::SessionsTaken { .. } => RefusalCode::Busy,
            Self::Auth(AuthError::State(_)) => RefusalCode::Internal,
            Self::Auth(_) => RefusalCode::Forbidden,
            Self::Quota(_) => RefusalCode::LimitExceeded,
            Self::UnknownAdapter => RefusalCode::UnknownAdapter,
            Self::AdapterInParts
            | Self::Adapters(AdaptersError::OtherModel | AdaptersError::Misfit { .. }) => {
                RefusalCode::BadSettings
            }
            Self::Adapters(_) => RefusalCode::Internal,
            Self::Store(_) | Self::Trainer(_) | Self::State(_) | Self::RunFailed => {
                RefusalCode::Internal
            }
        }
    }

    /// What the client is told. Internal reasons go to the log, here and nowhere else.
    pub fn refuse(&self, sequence: Option<u64>) -> Refused {
        let code = self.refusal_code();
        match self {
            Self::Store(error) => tracing::error!(%error, "the activation store failed"),
            Self::Trainer(error) => tracing::error!(%error, "the trainer failed"),
            Self::State(error) | Self::Auth(AuthError::State(error)) => {
                tracing::error!(%error, "the state failed");
            }
            Self::Adapters(AdaptersError::State(error)) => {
                tracing::error!(%error, "the state failed");
            }
            _ => tracing::debug!(?code, "refused a message"),
        }
        Refused::new(sequence, code, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_reasons_stay_inside() {
        let fault = Fault::Store(io::Error::other("/var/lib/cutlayer is full"));
        let refused = fault.refuse(Some(3));
        assert_eq!(refused.code, RefusalCode::Internal);
        assert_eq!(refused.sequence, Some(3));
        assert!(!refused.sentence.contains("cutlayer"));
        assert!(!refused.closes);
    }

    #[test]
    fn what_cannot_go_on_closes() {
        assert!(Fault::SessionsTaken { sessions_max: 1 }.refuse(None).closes);
        assert!(
            Fault::OutOfOrder {
                expected: 2,
                actual: 4
            }
            .refuse(Some(4))
            .closes
        );
        assert!(
            !Fault::DuplicateExample { position: 0 }
                .refuse(Some(2))
                .closes
        );
    }
}

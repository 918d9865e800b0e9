//! Why an adapter is not kept, given or changed. No sentence repeats what stands in its files.

use std::io;

use shared::adapter::{AdapterError, archive};

use crate::quota::QuotaError;
use crate::state::StateError;
use crate::store::durable;
use crate::trainer::TrainerError;

/// An adapter was not kept, given or changed.
#[derive(Debug, thiserror::Error)]
pub enum AdaptersError {
    /// The tenant has no such adapter: there is none, or it is somebody else's.
    #[error("there is no such adapter")]
    Unknown,
    /// Another adapter of the tenant has this name.
    #[error("another adapter has this name")]
    NameTaken,
    /// The adapter was made for something else.
    #[error("{name} of the adapter is {expected}; this session has {actual}")]
    Misfit {
        /// What differs.
        name: &'static str,
        /// The adapter's.
        expected: u32,
        /// The session's.
        actual: u32,
    },
    /// The adapter was made for another model.
    #[error("the adapter belongs to another model than this server's")]
    OtherModel,
    /// The cut is not offered.
    #[error("cut {actual} is not offered; the catalogue names those that are")]
    UnknownCut {
        /// The cut asked for.
        actual: u32,
    },
    /// More classes than a session may have, or too few.
    #[error("the adapter has {actual} classes; 2 to {max} are possible")]
    Classes {
        /// The adapter's.
        actual: usize,
        /// `n_classes_max`.
        max: u32,
    },
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] archive::ArchiveError),
    /// The files are not an adapter of this model.
    #[error("{}", told(.0))]
    NotAnAdapter(AdapterError),
    /// The tenant has as much as it may.
    #[error(transparent)]
    Quota(#[from] QuotaError),
    /// The file system failed.
    #[error("an adapter's files cannot be read or written")]
    Io(#[from] io::Error),
    /// The state failed.
    #[error("the state could not be read or written")]
    State(#[source] StateError),
    /// The trainer failed.
    #[error("the trainer failed")]
    Trainer(#[source] TrainerError),
}

impl AdaptersError {
    /// Whether there was no room on the device: nothing was kept, and with room it can be.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Io(error) => durable::is_full(error),
            Self::State(error) => error.is_full(),
            _ => false,
        }
    }
}

/// What is wrong with an adapter, without what stands in its files: a parser repeats what it read.
fn told(error: &AdapterError) -> String {
    match error {
        AdapterError::Peft(_) => "the files are not those of a PEFT adapter".to_owned(),
        error => error.to_string(),
    }
}

impl From<StateError> for AdaptersError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::NameTaken => Self::NameTaken,
            error => Self::State(error),
        }
    }
}

impl From<TrainerError> for AdaptersError {
    fn from(error: TrainerError) -> Self {
        match error {
            TrainerError::Adapter(error) => Self::NotAnAdapter(error),
            TrainerError::UnknownAdapter => Self::Unknown,
            error => Self::Trainer(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::PermissionDenied];
        let full = kinds.map(|kind| AdaptersError::Io(kind.into()).is_full());
        assert_eq!(full, [true, false]);
        assert!(!AdaptersError::State(StateError::UnknownJob).is_full());
    }

    #[test]
    fn nothing_of_the_files_is_repeated() {
        let error = AdapterError::Peft("invalid type: string \"secret\"".to_owned());
        assert!(
            !AdaptersError::NotAnAdapter(error)
                .to_string()
                .contains("secret")
        );
        let error = AdapterError::BelowCut { layer: 0, cut: 1 };
        assert!(
            AdaptersError::NotAnAdapter(error)
                .to_string()
                .contains("cut 1")
        );
    }
}

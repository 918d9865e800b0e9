//! Why an activation store does not take or give what it was asked for.

use std::io;

use super::durable;
use super::sealing::SealError;

/// An activation store could not be written or read. Says where, never what.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Headers, descriptor and payload do not fit together, or not to this store.
    #[error(
        "examples of {example_rows} rows of {d_model} columns came as {rows} rows of {columns} \
         columns in {payload_bytes} bytes"
    )]
    Misfit {
        /// Rows by the headers.
        example_rows: u64,
        /// Columns of this store.
        d_model: usize,
        /// Rows by the descriptor.
        rows: u32,
        /// Columns by the descriptor.
        columns: u32,
        /// Bytes that came.
        payload_bytes: usize,
    },
    /// More examples than one record, or more uploads than one store can count.
    #[error("an upload of {examples} examples does not fit into a record of the index")]
    TooMany {
        /// Examples of the upload.
        examples: usize,
    },
    /// No room on the device, or none for this user.
    #[error("the disk is full: {source}")]
    Full {
        /// The file system's reason.
        source: io::Error,
    },
    /// The file system refused.
    #[error("the activation store cannot be read or written: {source}")]
    Io {
        /// The file system's reason.
        source: io::Error,
    },
    /// The file is no index, or its first bytes are damaged.
    #[error("the directory holds no activation store, or the first bytes of its index are damaged")]
    NotAStore,
    /// The index was written by another version.
    #[error("expected version {expected} of the index; got {actual}")]
    WrongVersion {
        /// Ours.
        expected: u32,
        /// The file's.
        actual: u32,
    },
    /// A record that was acknowledged cannot be read: this is no torn tail, others follow it.
    #[error("the index is damaged at byte {byte}, before its last record")]
    Damaged {
        /// Where the record begins.
        byte: u64,
    },
    /// Activations that were acknowledged are not there.
    #[error("the index knows {expected} bytes of activations; the file has {actual}")]
    PayloadLost {
        /// By the index.
        expected: u64,
        /// In the file.
        actual: u64,
    },
    /// It is sealed with another key than is set, or bytes of it are not those that were sealed.
    #[error("the activation store cannot be opened: {0}")]
    Sealed(#[from] SealError),
}

impl From<io::Error> for StoreError {
    fn from(source: io::Error) -> Self {
        if durable::is_full(&source) {
            Self::Full { source }
        } else {
            Self::Io { source }
        }
    }
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        let kind = match error {
            StoreError::Full { source } | StoreError::Io { source } => return source,
            StoreError::Misfit { .. } | StoreError::TooMany { .. } => io::ErrorKind::InvalidInput,
            StoreError::NotAStore
            | StoreError::WrongVersion { .. }
            | StoreError::Damaged { .. }
            | StoreError::PayloadLost { .. }
            | StoreError::Sealed(_) => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

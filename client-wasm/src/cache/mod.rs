//! The files of a server, kept from one visit to the next and verified before each use.
//!
//! | module | what |
//! |---|---|
//! | `assembly` | a file that comes together: which byte is missing, whether it is the right one; pure |
//! | `answer` | what an answer of the server means for a file that is half there; pure |
//! | `obtain` | carries both out over any [`Files`] |
//! | [`direct`] | a server without a place to keep anything: the command line, tests |
//! | `page` | the page's downloads and its OPFS directory (wasm only) |
//!
//! # Guarantee
//!
//! What [`obtain`] gives has the sha256 that the catalogue names. What is kept is a prefix of what a
//! server sent; nothing of it is used before all of it is there and its sum is right. A kept file
//! whose sum is wrong is dropped and fetched again.

mod answer;
mod assembly;
pub mod direct;
mod obtain;
#[cfg(target_arch = "wasm32")]
pub(crate) mod page;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;

pub use obtain::{Unobtained, obtain};

use crate::artifacts::FileEntry;

/// Where files come from, and where they stay.
///
/// Its futures need not be `Send`, as those of `Transport`.
#[allow(async_fn_in_trait)]
pub trait Files {
    /// What comes of an answer.
    type Body: Body;
    /// What is kept of a file.
    type Kept: Kept;

    /// The catalogue, as the server writes it.
    ///
    /// # Errors
    ///
    /// When it does not come.
    async fn catalogue(&self) -> Result<Vec<u8>, Unfetched>;

    /// Asks the server for a file from a byte on: with `Range` and `If-Range`, unless that is 0.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    async fn open(&self, file: &FileEntry, from: u64) -> Result<Answer<Self::Body>, Unfetched>;

    /// What is kept of a file, for this client alone as long as it holds it; none where nothing can
    /// be kept, or another client holds it. `label` tells a person what it is.
    async fn kept(&self, file: &FileEntry, label: &str) -> Option<Self::Kept>;

    /// Waits so many milliseconds.
    async fn wait(&self, millis: u32);
}

/// The beginning of an answer, and the way to the rest.
#[derive(Debug)]
pub struct Answer<B> {
    /// HTTP's status.
    pub status: u16,
    /// The header of that name.
    pub content_range: Option<String>,
    /// The bytes.
    pub body: B,
}

/// The bytes of an answer.
#[allow(async_fn_in_trait)]
pub trait Body {
    /// The next bytes; none after the last.
    ///
    /// # Errors
    ///
    /// When the connection is lost.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Unfetched>;
}

/// What is kept of one file: the first bytes of it, or all.
pub trait Kept {
    /// How many there are.
    fn bytes(&self) -> u64;

    /// Reads from a byte on, and says how many were read; 0 at the end.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<usize, NotKept>;

    /// Adds bytes at the end, all or none.
    ///
    /// # Errors
    ///
    /// When there is no room.
    fn append(&mut self, bytes: &[u8]) -> Result<(), NotKept>;

    /// Forgets all of it.
    ///
    /// # Errors
    ///
    /// When it cannot be changed.
    fn clear(&mut self) -> Result<(), NotKept>;
}

/// A file cannot be kept here. It is used all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this place keeps no more of the file")]
pub struct NotKept;

/// Bytes did not come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfetched {
    /// The server answers otherwise.
    #[error("the server answers with status {0}")]
    Status(u16),
    /// There is no answer, or only a part of it.
    #[error("{0}")]
    Lost(String),
    /// The answer has more bytes than may be read.
    #[error("the answer is longer than the {bytes_max} bytes that are read")]
    TooLong {
        /// The limit.
        bytes_max: u64,
    },
}

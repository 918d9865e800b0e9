//! A server without a place to keep anything: every file is fetched whole.

use super::{Answer, Body, Files, Kept, NotKept, Unfetched};
use crate::artifacts::{CATALOGUE_BYTES_MAX, CATALOGUE_PATH, FileEntry};
use crate::server::Server;

/// The files of a server.
#[derive(Debug, Clone)]
pub struct Direct {
    server: Server,
}

impl Direct {
    /// The files of this server.
    pub fn new(server: &Server) -> Self {
        Self {
            server: server.clone(),
        }
    }
}

impl Files for Direct {
    type Body = Whole;
    type Kept = Nothing;

    async fn catalogue(&self) -> Result<Vec<u8>, Unfetched> {
        fetch(&self.server, CATALOGUE_PATH, CATALOGUE_BYTES_MAX).await
    }

    async fn open(&self, file: &FileEntry, _from: u64) -> Result<Answer<Whole>, Unfetched> {
        let bytes = fetch(&self.server, &file.path, file.bytes).await?;
        Ok(Answer {
            status: 200,
            content_range: None,
            body: Whole(Some(bytes)),
        })
    }

    async fn kept(&self, _file: &FileEntry, _label: &str) -> Option<Nothing> {
        None
    }

    async fn wait(&self, millis: u32) {
        #[cfg(target_arch = "wasm32")]
        crate::browser::sleep(millis.cast_signed()).await;
        #[cfg(not(target_arch = "wasm32"))]
        tokio::time::sleep(std::time::Duration::from_millis(millis.into())).await;
    }
}

/// A file that came in one piece.
#[derive(Debug)]
pub struct Whole(Option<Vec<u8>>);

impl Body for Whole {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Unfetched> {
        Ok(self.0.take())
    }
}

/// Nothing is kept, so there is no such thing.
#[derive(Debug)]
pub enum Nothing {}

impl Kept for Nothing {
    fn bytes(&self) -> u64 {
        match *self {}
    }

    fn read(&mut self, _at: u64, _into: &mut [u8]) -> Result<usize, NotKept> {
        match *self {}
    }

    fn append(&mut self, _bytes: &[u8]) -> Result<(), NotKept> {
        match *self {}
    }

    fn clear(&mut self) -> Result<(), NotKept> {
        match *self {}
    }
}

/// Fetches at most `bytes_max` bytes.
#[cfg(not(target_arch = "wasm32"))]
async fn fetch(server: &Server, path: &str, bytes_max: u64) -> Result<Vec<u8>, Unfetched> {
    let mut request = ureq::get(server.url(path));
    if let Some(authorization) = server.authorization() {
        request = request.header("authorization", authorization);
    }
    let fetched = tokio::task::spawn_blocking(move || {
        let mut answer = request.call()?;
        answer
            .body_mut()
            .with_config()
            .limit(bytes_max.saturating_add(1))
            .read_to_vec()
    });
    let lost = |error: &dyn std::error::Error| Unfetched::Lost(error.to_string());
    match fetched.await.map_err(|error| lost(&error))? {
        Ok(bytes) => Ok(bytes),
        Err(ureq::Error::StatusCode(status)) => Err(Unfetched::Status(status)),
        Err(ureq::Error::BodyExceedsLimit(_)) => Err(Unfetched::TooLong { bytes_max }),
        Err(error) => Err(lost(&error)),
    }
}

#[cfg(target_arch = "wasm32")]
use crate::browser::fetch;

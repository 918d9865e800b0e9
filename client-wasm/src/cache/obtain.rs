//! A file of the catalogue: what is kept of it, the rest from the server, verified.

use super::answer::{Verdict, judge};
use super::assembly::{Assembly, Step};
use super::{Answer, Body, Files, Kept, Unfetched};
use crate::artifacts::FileEntry;

/// Why a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unobtained {
    /// It did not come.
    #[error(transparent)]
    Unfetched(#[from] Unfetched),
    /// What the server sends is not what its catalogue names.
    #[error("the server sends other bytes than its catalogue names")]
    Wrong,
}

/// Answers that bring a download no further than it has been, one after the other, after which it
/// is given up. What has come is kept, and the next visit goes on from there.
pub(super) const FRUITLESS_MAX: u32 = 5;

/// The wait before the second question; it doubles with every fruitless one.
const WAIT_MILLIS: u32 = 250;

/// Bytes that are read at once of what is kept.
const READ_BYTES: usize = 1024 * 1024;

/// Gives a file whose sum is that of the catalogue, and keeps it where it can be kept.
///
/// `on_bytes` is told how many bytes are here; it is told 0 when they are begun anew.
///
/// # Errors
///
/// When the file does not come, or is not what the catalogue names.
pub async fn obtain<F: Files>(
    files: &F,
    file: &FileEntry,
    sha256: [u8; 32],
    label: &str,
    mut on_bytes: impl FnMut(u64),
) -> Result<Vec<u8>, Unobtained> {
    let mut download = Download {
        files,
        file,
        assembly: Assembly::new(sha256, file.bytes),
        kept: files.kept(file, label).await,
        fruitless: 0,
        furthest: 0,
    };
    download.read_kept();
    loop {
        match download.assembly.step() {
            Step::Use => {
                on_bytes(file.bytes);
                return Ok(download.assembly.into_content());
            }
            Step::Fetch { from } => download.fetch(from, &mut on_bytes).await?,
            Step::Anew => {
                download.begin_anew();
                download.furthest = 0;
                on_bytes(0);
            }
            Step::Refuse => {
                download.begin_anew();
                return Err(Unobtained::Wrong);
            }
        }
    }
}

struct Download<'a, F: Files> {
    files: &'a F,
    file: &'a FileEntry,
    assembly: Assembly,
    /// Holds exactly the bytes of the assembly, or is gone.
    kept: Option<F::Kept>,
    fruitless: u32,
    /// Most bytes that have been here. A server without ranges begins anew each time: that is no way
    /// on.
    furthest: u64,
}

impl<F: Files> Download<'_, F> {
    /// Takes over what an earlier visit has left.
    fn read_kept(&mut self) {
        let Some(kept) = &mut self.kept else { return };
        let mut buffer = vec![0; READ_BYTES];
        let whole = loop {
            match kept.read(self.assembly.bytes(), &mut buffer) {
                Ok(0) => break self.assembly.bytes() == kept.bytes(),
                Ok(count) if self.assembly.keep(&buffer[..count]).is_ok() => {}
                _ => break false,
            }
        };
        if !whole {
            self.begin_anew();
        }
        self.furthest = self.assembly.bytes();
    }

    /// Asks for what is missing, and takes what comes.
    async fn fetch(&mut self, from: u64, on_bytes: &mut impl FnMut(u64)) -> Result<(), Unobtained> {
        let answer = match self.files.open(self.file, from).await {
            Ok(answer) => answer,
            Err(error) => return self.lost(error).await,
        };
        let Answer {
            status,
            content_range,
            body,
        } = answer;
        let refused = Unfetched::Status(status);
        match judge(status, content_range.as_deref(), from, self.file.bytes) {
            Verdict::Continues => self.take(body, on_bytes).await,
            Verdict::Whole => {
                self.begin_anew();
                on_bytes(0);
                self.take(body, on_bytes).await
            }
            Verdict::AskAnew => {
                self.begin_anew();
                on_bytes(0);
                Ok(())
            }
            Verdict::AskAgain => self.lost(refused).await,
            Verdict::Refused => Err(refused.into()),
        }
    }

    /// Takes an answer's bytes until it ends, however it ends.
    async fn take(
        &mut self,
        mut body: F::Body,
        on_bytes: &mut impl FnMut(u64),
    ) -> Result<(), Unobtained> {
        let end = loop {
            match body.next().await {
                Ok(Some(bytes)) => {
                    if self.assembly.extend(&bytes).is_err() {
                        self.begin_anew();
                        return Err(Unobtained::Wrong);
                    }
                    self.keep(&bytes);
                    on_bytes(self.assembly.bytes());
                }
                Ok(None) => break Unfetched::Lost("the answer ended early".to_owned()),
                Err(error) => break error,
            }
        };
        if self.assembly.bytes() == self.file.bytes {
            return Ok(());
        }
        if self.assembly.bytes() > self.furthest {
            self.furthest = self.assembly.bytes();
            self.fruitless = 0;
        }
        self.lost(end).await
    }

    /// Waits before the next question, or gives up.
    async fn lost(&mut self, error: Unfetched) -> Result<(), Unobtained> {
        let passes = match &error {
            Unfetched::Status(_) | Unfetched::Lost(_) => true,
            Unfetched::TooLong { .. } => false,
        };
        self.fruitless += 1;
        if !passes || self.fruitless >= FRUITLESS_MAX {
            return Err(error.into());
        }
        self.files.wait(WAIT_MILLIS << (self.fruitless - 1)).await;
        Ok(())
    }

    fn begin_anew(&mut self) {
        self.assembly.restart();
        if self.kept.as_mut().is_some_and(|kept| kept.clear().is_err()) {
            self.kept = None;
        }
    }

    /// Adds to what is kept; where that fails, nothing is kept of this file.
    fn keep(&mut self, bytes: &[u8]) {
        let Some(kept) = &mut self.kept else { return };
        if kept.append(bytes).is_err() {
            // A prefix that stays would do no harm either: it is verified as any other.
            let _ = kept.clear();
            self.kept = None;
        }
    }
}

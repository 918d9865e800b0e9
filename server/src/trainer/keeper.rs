//! When a run is written to disk, and that it goes on where that fails; and the copy of its adapter
//! for others.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use shared::adapter::peft::PeftFiles;

use super::run::Run;
use super::{JobId, TrainerError};
use crate::store::{self, JobFiles};
use crate::telemetry::metrics::{CHECKPOINT, CHECKPOINT_FAILURES};

/// Keeps the checkpoint of one run. On the trainer's thread: between two steps the run is whole, and
/// an adapter with its moments is small beside the model that the thread has just gone through.
#[derive(Debug)]
pub(super) struct Keeper {
    files: JobFiles,
    every: Duration,
    /// When the run was written, or could not be.
    tried: Instant,
}

impl Keeper {
    /// A keeper of a run that begins now.
    pub(super) fn new(files: JobFiles, every: Duration) -> Self {
        Self {
            files,
            every,
            tried: Instant::now(),
        }
    }

    /// Writes the run if that was long ago. The time that it takes does not count, so that a slow
    /// disk slows a run by its share only.
    pub(super) fn keep_if_due(&mut self, run: &Run) {
        if self.tried.elapsed() >= self.every {
            self.keep(run);
        }
    }

    /// Writes the run, in place of the checkpoint before. A failure is not the run's: it goes on,
    /// and what was written before is still there.
    pub(super) fn keep(&mut self, run: &Run) {
        let started = Instant::now();
        let (path, files) = (self.files.checkpoint(), &self.files);
        let kept = run
            .checkpoint()
            .and_then(|checkpoint| checkpoint.save_sealed(&path, files.sealing(), files.owner()));
        match kept {
            Ok(bytes) => {
                CHECKPOINT.record_time(started.elapsed());
                tracing::debug!(bytes, "a checkpoint was written");
            }
            Err(error) => {
                CHECKPOINT_FAILURES.add(1);
                tracing::warn!(%error, "a checkpoint could not be written; the run goes on");
            }
        }
        self.tried = Instant::now();
    }
}

/// Exports an adapter to a directory of its own.
pub(super) fn export(
    directory: &Path,
    JobId(job): JobId,
    adapter: &PeftFiles,
) -> Result<(), TrainerError> {
    // The time, so that a daemon that starts to count anew overwrites nothing.
    let started = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    let directory = store::export(directory, &format!("job-{started}-{job}"), adapter)?;
    tracing::info!(job, directory = %directory.display(), "adapter exported");
    Ok(())
}

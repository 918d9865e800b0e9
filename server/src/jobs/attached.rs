//! A session's end of a run: it hears the reports, and may leave.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::state::StateError;
use crate::trainer::{JobId, TrainerEvent, TrainerHandle};

/// What a session hears of its run: a report that was written down, or why there are no more.
pub type Report = Result<TrainerEvent, StateError>;

/// Keeps a run, and its adapter after it, in the trainer's memory until the last holder drops it.
#[derive(Debug)]
pub(super) struct Remembered {
    trainer: TrainerHandle,
    run: JobId,
}

impl Remembered {
    pub(super) fn new(trainer: TrainerHandle, run: JobId) -> Arc<Self> {
        Arc::new(Self { trainer, run })
    }

    pub(super) fn id(&self) -> JobId {
        self.run
    }
}

impl Drop for Remembered {
    fn drop(&mut self) {
        self.trainer.forget(self.run);
    }
}

/// A run as its session sees it. A session that drops this has left.
#[derive(Debug)]
pub struct Attached {
    pub(super) run: Arc<Remembered>,
    pub(super) reports: mpsc::Receiver<Report>,
    /// Whether the run goes on without its session.
    pub(super) is_alone: bool,
    /// Whether the last report has come.
    pub(super) is_over: bool,
    /// Cancelled when nothing of the run is at work any more.
    pub(super) settled: CancellationToken,
}

impl Attached {
    /// The trainer's number of the run, also for predictions after it.
    pub fn id(&self) -> JobId {
        self.run.id()
    }

    /// Waits for the next report; for ever after the last. None where this session did not keep up
    /// and is not told any more. Nothing is lost when this is dropped.
    pub async fn next(&mut self) -> Option<Report> {
        if self.is_over {
            return std::future::pending().await;
        }
        let report = self.reports.recv().await;
        self.is_over = matches!(
            report,
            Some(Err(_) | Ok(TrainerEvent::Done(_) | TrainerEvent::Failed))
        );
        report
    }

    /// Leaves the run. One that needs its client ends with this, and has ended when this returns;
    /// any other goes on.
    pub async fn leave(self) {
        let ends = self.is_over || !self.is_alone;
        let settled = self.settled.clone();
        drop(self);
        if ends {
            settled.cancelled().await;
        }
    }
}

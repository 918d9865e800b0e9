//! Follows one run from its beginning to its end, with a session or without.
//!
//! It takes every report at once, so that the trainer waits for nobody: it writes it down, counts
//! steps, and passes it on to the session that is attached. A session that does not keep up is not
//! told any more.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::sync::DropGuard;

use super::attached::{Remembered, Report};
use super::examples::Examples;
use super::recorder::RunRecorder;
use super::runs::{Runs, log_unwritten};
use crate::limits::RUN_EVENTS_RESERVED;
use crate::state::{FailureClass, JobKey, StateError, TenantId, UnixMillis};
use crate::store::JobFiles;
use crate::trainer::TrainerEvent;

/// One run and who hears of it.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) runs: Runs,
    pub(super) key: JobKey,
    pub(super) tenant: TenantId,
    pub(super) run: Arc<Remembered>,
    /// Whether the run goes on without its session.
    pub(super) is_alone: bool,
    pub(super) recorder: RunRecorder,
    pub(super) reports: mpsc::Receiver<TrainerEvent>,
    /// The session, as long as there is one.
    pub(super) subscriber: Option<mpsc::Sender<Report>>,
    pub(super) examples: Arc<Examples>,
    pub(super) files: JobFiles,
    /// The last step that was counted.
    pub(super) steps_counted: u32,
    /// Says that everything is done when this is dropped.
    pub(super) _settles: DropGuard,
}

/// How a run comes to its end here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By itself or its owner; it is written down.
    Written,
    /// It is given up.
    GivenUp(FailureClass),
    /// A later process goes on with it.
    LeftForLater,
}

impl Follower {
    pub(super) async fn follow(mut self) {
        let shutdown = self.runs.shutdown().clone();
        let end = loop {
            let end = tokio::select! {
                biased;
                () = shutdown.cancelled() => Some(self.stop().await),
                report = self.reports.recv() => self.take(report).await,
                () = left(self.subscriber.as_ref()) => self.go_on_alone(),
            };
            if let Some(end) = end {
                break end;
            }
        };
        self.settle(end).await;
    }

    /// Takes a report of the run.
    async fn take(&mut self, report: Option<TrainerEvent>) -> Option<End> {
        // A trainer that lets go of a run without a word has failed.
        let event = report.unwrap_or(TrainerEvent::Failed);
        self.count(&event);
        let ends = matches!(event, TrainerEvent::Done(_) | TrainerEvent::Failed);
        if ends {
            self.runs.forget(self.key);
        }
        match self.write_down(event).await {
            Ok(event) => {
                self.pass_on(Ok(event));
                if ends {
                    Some(End::Written)
                } else if self.subscriber.is_none() {
                    self.go_on_alone()
                } else {
                    None
                }
            }
            Err(error) => {
                // Its history would have a hole.
                self.pass_on(Err(error));
                Some(End::GivenUp(FailureClass::State))
            }
        }
    }

    /// Counts the steps of a report for its tenant. Some reports are dropped where many come at
    /// once; their steps count all the same.
    fn count(&mut self, event: &TrainerEvent) {
        match event {
            // An earlier process has counted these.
            TrainerEvent::Resumed { step, .. } => self.steps_counted = *step,
            TrainerEvent::Step(report) => {
                let steps = report.step.saturating_sub(self.steps_counted);
                let quotas = self.runs.quotas();
                quotas.count_steps(self.tenant, steps, UnixMillis::now());
                self.steps_counted = self.steps_counted.max(report.step);
            }
            _ => {}
        }
    }

    /// Writes a report into the log, and says what was written: a run whose adapter nobody has,
    /// neither a session nor the disk, has failed.
    async fn write_down(&mut self, mut event: TrainerEvent) -> Result<TrainerEvent, StateError> {
        // Kept first: a job that is done has its adapter. One without a step has trained none.
        if matches!(event, TrainerEvent::Done(done) if done.steps > 0) && self.is_alone {
            // The best validation in the log is what is said of the adapter.
            self.recorder.flush().await?;
            if !self.keep_adapter().await && self.subscriber.is_none() {
                tracing::error!(job = %self.key, "a run has ended, and its adapter is nowhere");
                event = TrainerEvent::Failed;
            }
        }
        self.recorder.record(&event).await?;
        Ok(event)
    }

    /// Keeps what the run has trained, and says whether it is kept.
    async fn keep_adapter(&self) -> bool {
        let job = self.key;
        let kept = self.runs.adapters().keep(job, self.tenant, self.run.id());
        match kept.await {
            Ok(Some(adapter)) => {
                tracing::info!(%job, %adapter, "an adapter is kept");
                true
            }
            Ok(None) => {
                tracing::error!(%job, "the trainer does not have the whole of an adapter");
                false
            }
            Err(error) => {
                tracing::error!(%job, ?error, "an adapter could not be kept");
                false
            }
        }
    }

    /// Tells the session. It waits for nobody but itself, so a queue that is full is one that is not
    /// emptied.
    fn pass_on(&mut self, report: Report) {
        let Some(subscriber) = &self.subscriber else {
            return;
        };
        let is_step = matches!(report, Ok(TrainerEvent::Step(_)));
        if is_step && subscriber.capacity() <= RUN_EVENTS_RESERVED {
            return;
        }
        if subscriber.try_send(report).is_err() {
            self.subscriber = None;
        }
    }

    /// The session has gone: the run goes on, if it can.
    fn go_on_alone(&mut self) -> Option<End> {
        if !self.is_alone {
            return Some(End::GivenUp(FailureClass::ClientLost));
        }
        if self.subscriber.take().is_some() {
            tracing::info!(job = %self.key, "a run goes on without its session");
        }
        None
    }

    /// The daemon stops: what the run has come to is written, and what it had to say before that.
    async fn stop(&mut self) -> End {
        if !self.is_alone {
            return End::GivenUp(FailureClass::Interrupted);
        }
        let (trainer, run) = (self.runs.trainer().clone(), self.run.id());
        let suspending = async move { trainer.suspend(run).await };
        tokio::pin!(suspending);
        let suspended = loop {
            tokio::select! {
                biased;
                // Taken while it is asked to let go: it must not wait for room in this queue.
                Some(event) = self.reports.recv() => {
                    if let Some(end) = self.take(Some(event)).await {
                        return end;
                    }
                }
                suspended = &mut suspending => break suspended,
            }
        };
        while let Some(event) = self.reports.recv().await {
            if let Some(end) = self.take(Some(event)).await {
                return end;
            }
        }
        match suspended {
            Ok(()) => End::LeftForLater,
            Err(error) => {
                tracing::error!(job = %self.key, %error, "a run could not be left for later");
                End::GivenUp(FailureClass::Trainer)
            }
        }
    }

    /// Leaves everything as it must be after such an end.
    async fn settle(self, end: End) {
        // First: a trainer that waits for room in this queue is freed.
        drop(self.reports);
        self.runs.forget(self.key);
        match end {
            End::Written => {}
            End::GivenUp(class) => {
                self.runs.trainer().forget(self.run.id());
                log_unwritten(self.recorder.fail(class).await);
            }
            End::LeftForLater => {
                // The session may be letting go of them right now.
                self.examples.stay();
                log_unwritten(self.recorder.requeue().await);
                tracing::info!(job = %self.key, "a run is left for the next start");
                return;
            }
        }
        let files = self.files;
        let removed = spawn_blocking(move || files.remove_checkpoint()).await;
        if let Err(error) = removed.map_err(io::Error::other).flatten() {
            tracing::error!(%error, "a checkpoint could not be removed; the next start tries again");
        }
        self.examples.let_go().await;
    }
}

/// Waits until a session has left; for ever, where there is none.
async fn left(subscriber: Option<&mpsc::Sender<Report>>) {
    match subscriber {
        Some(subscriber) => subscriber.closed().await,
        None => std::future::pending().await,
    }
}

//! Follows one run from its beginning to its end, with a session or without.
//!
//! It takes every report at once, so that the trainer waits for nobody: it writes it down, counts
//! steps, and passes it on to the session that is attached. A session that does not keep up is not
//! told any more. Where the disk is full, reports wait in memory until there is room, within a
//! bound.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::DropGuard;

use super::attached::{Remembered, Report};
use super::backlog::{Backlog, RETRY};
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
    /// What was reported and is not written yet.
    pub(super) backlog: Backlog,
    /// Whether the last report has come.
    pub(super) has_ended: bool,
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

/// What became of a run's adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Yes,
    No,
    NoRoom,
}

/// Why a report is not written.
#[derive(Debug)]
enum Unwritten {
    /// The disk is full. This is the report, to come again.
    NoRoom(TrainerEvent),
    /// It cannot be, and nothing behind it.
    Failed(StateError),
}

impl Unwritten {
    fn of(error: StateError, report: TrainerEvent) -> Self {
        if error.is_full() {
            Self::NoRoom(report)
        } else {
            Self::Failed(error)
        }
    }
}

impl Follower {
    pub(super) async fn follow(mut self) {
        let shutdown = self.runs.shutdown().clone();
        let end = loop {
            let end = tokio::select! {
                biased;
                () = shutdown.cancelled() => Some(self.stop().await),
                report = self.reports.recv(), if !self.has_ended => self.take(report).await,
                () = self.backlog.is_due() => self.write_backlog().await,
                () = left(self.subscriber.as_ref()) => self.go_on_alone(),
            };
            if let Some(end) = end {
                break end;
            }
            if self.backlog.is_too_long() {
                tracing::error!(job = %self.key, "too much of a run waits for room on the disk");
                break self.stop().await;
            }
        };
        self.settle(end).await;
    }

    /// Takes a report of the run.
    async fn take(&mut self, report: Option<TrainerEvent>) -> Option<End> {
        // A trainer that lets go of a run without a word has failed.
        let event = report.unwrap_or(TrainerEvent::Failed);
        self.count(&event);
        if is_end(&event) {
            self.has_ended = true;
            self.runs.forget(self.key);
        }
        if !self.backlog.waits() || self.recorder.keeps(&event) {
            self.backlog.push(event);
        }
        if self.backlog.is_held() {
            return None;
        }
        self.write_backlog().await
    }

    /// Writes down what was reported, in order, and passes it on. What finds the disk full waits
    /// with everything behind it.
    async fn write_backlog(&mut self) -> Option<End> {
        while let Some(event) = self.backlog.pop() {
            let ends = is_end(&event);
            match self.write_down(event).await {
                Ok(event) => {
                    self.pass_on(Ok(event));
                    if self.backlog.goes_on() {
                        tracing::info!(job = %self.key, "there is room for what a run reports");
                    }
                    if !self.backlog.is_empty() {
                        self.let_session_take().await;
                    }
                }
                Err(Unwritten::NoRoom(event)) => {
                    if self.backlog.put_back(event) {
                        let sentence = "the disk is full; what a run reports waits for room";
                        tracing::error!(job = %self.key, "{sentence}");
                    }
                    return None;
                }
                Err(Unwritten::Failed(error)) => {
                    // Its history would have a hole.
                    self.pass_on(Err(error));
                    return Some(End::GivenUp(FailureClass::State));
                }
            }
            if ends {
                return Some(End::Written);
            }
            if self.subscriber.is_none()
                && let Some(end) = self.go_on_alone()
            {
                return Some(end);
            }
        }
        None
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
    async fn write_down(&mut self, mut event: TrainerEvent) -> Result<TrainerEvent, Unwritten> {
        // Kept first: a job that is done has its adapter. One without a step has trained none.
        if matches!(event, TrainerEvent::Done(done) if done.steps > 0) && self.is_alone {
            // The best validation in the log is what is said of the adapter.
            if let Err(error) = self.recorder.flush().await {
                return Err(Unwritten::of(error, event));
            }
            match self.keep_adapter().await {
                Kept::NoRoom => return Err(Unwritten::NoRoom(event)),
                Kept::No if self.subscriber.is_none() => {
                    tracing::error!(job = %self.key, "a run has ended, and its adapter is nowhere");
                    event = TrainerEvent::Failed;
                }
                Kept::Yes | Kept::No => {}
            }
        }
        match self.recorder.record(&event).await {
            Ok(()) => Ok(event),
            Err(error) => Err(Unwritten::of(error, event)),
        }
    }

    /// Keeps what the run has trained, and says whether it is kept.
    async fn keep_adapter(&self) -> Kept {
        let job = self.key;
        let kept = self.runs.adapters().keep(job, self.tenant, self.run.id());
        match kept.await {
            Ok(Some(adapter)) => {
                tracing::info!(%job, %adapter, "an adapter is kept");
                Kept::Yes
            }
            Ok(None) => {
                tracing::error!(%job, "the trainer does not have the whole of an adapter");
                Kept::No
            }
            Err(error) if error.is_full() => {
                tracing::warn!(%job, "an adapter could not be kept: the disk is full");
                Kept::NoRoom
            }
            Err(error) => {
                tracing::error!(%job, ?error, "an adapter could not be kept");
                Kept::No
            }
        }
    }

    /// Lets the session take what it was told, where much comes at once. Not for long, and it waits
    /// for no client.
    async fn let_session_take(&self) {
        if let Some(subscriber) = &self.subscriber {
            // The places are given back at once.
            let _ = timeout(RETRY, subscriber.reserve_many(RUN_EVENTS_RESERVED)).await;
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
        if let Some(end) = self.write_backlog().await {
            return end;
        }
        match suspended {
            Ok(()) => End::LeftForLater,
            // It has ended, and there is no room for that: a later process brings it there again.
            Err(_) if self.backlog.waits() => End::LeftForLater,
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

/// Whether nothing follows a report.
fn is_end(report: &TrainerEvent) -> bool {
    matches!(report, TrainerEvent::Done(_) | TrainerEvent::Failed)
}

/// Waits until a session has left; for ever, where there is none.
async fn left(subscriber: Option<&mpsc::Sender<Report>>) {
    match subscriber {
        Some(subscriber) => subscriber.closed().await,
        None => std::future::pending().await,
    }
}

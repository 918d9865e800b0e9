//! A run's events on their way into the state.
//!
//! Changes of state are written before the client hears of them. Steps and validations are
//! collected, so that a run of short steps does not wait for the disk at each: they are written with
//! the next change of state, or with the first of them that comes `WRITE_EVERY` after the writing
//! before. Nothing is dropped: what cannot be written is an error, and ends the run. A full disk
//! does not: what waits still waits then, and is written when there is room.

use std::time::Duration;

use tokio::time::Instant;

use crate::state::events::StepThinning;
use crate::state::{
    FailureClass, JobEvent, JobKey, JobState, NewJob, StateError, StateHandle, UnixMillis,
};
use crate::trainer::TrainerEvent;

/// How often steps and validations are written at most.
const WRITE_EVERY: Duration = Duration::from_millis(250);

/// Writes the log of one job.
#[derive(Debug)]
pub struct RunRecorder {
    state: StateHandle,
    job: JobKey,
    thinning: StepThinning,
    waiting: Vec<JobEvent>,
    written: Instant,
    /// Where the job stands, by what was written.
    stands: JobState,
}

impl RunRecorder {
    /// Creates the job.
    ///
    /// # Errors
    ///
    /// When the state cannot be written.
    pub async fn create(state: StateHandle, job: NewJob) -> Result<Self, StateError> {
        let key = job.key;
        state
            .call(move |store| store.create_job(&job, UnixMillis::now()))
            .await?;
        Ok(Self::resume(state, key, JobState::Queued))
    }

    /// Goes on with the log of a job that an earlier process has left in a state.
    pub fn resume(state: StateHandle, job: JobKey, stands: JobState) -> Self {
        Self {
            state,
            job,
            thinning: StepThinning::of(0),
            waiting: Vec::new(),
            written: Instant::now(),
            stands,
        }
    }

    /// Whether the log has a place for a report; not every step has one.
    pub fn keeps(&self, report: &TrainerEvent) -> bool {
        !matches!(report, TrainerEvent::Step(report) if !self.thinning.keeps(report.step))
    }

    /// Takes a report of the run.
    ///
    /// # Errors
    ///
    /// When the state cannot be written. Where the disk is full this report is not taken, and may
    /// come again.
    pub async fn record(&mut self, report: &TrainerEvent) -> Result<(), StateError> {
        let event = match report {
            TrainerEvent::Started { steps_total } => {
                self.thinning = StepThinning::of(*steps_total);
                JobEvent::Started {
                    steps_total: *steps_total,
                }
            }
            TrainerEvent::Resumed { step, steps_total } => {
                self.thinning = StepThinning::of(*steps_total);
                JobEvent::Resumed {
                    step: *step,
                    steps_total: *steps_total,
                }
            }
            TrainerEvent::Step(report) if self.thinning.keeps(report.step) => {
                JobEvent::Step(*report)
            }
            TrainerEvent::Validation(report) => JobEvent::Validation(report.clone()),
            TrainerEvent::Paused => JobEvent::Paused,
            TrainerEvent::Continued => JobEvent::Continued,
            TrainerEvent::Done(done) => JobEvent::Done(*done),
            TrainerEvent::Failed => JobEvent::Failed(FailureClass::Trainer),
            TrainerEvent::Step(_) | TrainerEvent::Ask(_) | TrainerEvent::CutGradient(..) => {
                return Ok(());
            }
        };
        let may_wait = event.leads_to().is_none();
        self.waiting.push(event);
        if may_wait && self.written.elapsed() < WRITE_EVERY {
            return Ok(());
        }
        let written = self.write().await;
        if written.as_ref().is_err_and(StateError::is_full) {
            self.waiting.pop();
        }
        written
    }

    /// Writes what waits, so that the log has all that has happened.
    ///
    /// # Errors
    ///
    /// When the state cannot be written.
    pub async fn flush(&mut self) -> Result<(), StateError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.write().await
    }

    /// Ends the job as failed, if it has not ended.
    ///
    /// # Errors
    ///
    /// When the state cannot be written.
    pub async fn fail(mut self, class: FailureClass) -> Result<(), StateError> {
        if self.stands.has_ended() {
            return Ok(());
        }
        self.waiting.push(JobEvent::Failed(class));
        self.write().await
    }

    /// Leaves the job to a later process: back in the queue, or held as it is.
    ///
    /// # Errors
    ///
    /// When the state cannot be written.
    pub async fn requeue(mut self) -> Result<(), StateError> {
        if self.stands != JobState::Paused {
            self.waiting.push(JobEvent::Queued);
        }
        self.write().await
    }

    async fn write(&mut self) -> Result<(), StateError> {
        let (job, events) = (self.job, std::mem::take(&mut self.waiting));
        let appended = self.state.call(move |store| {
            let appended = store.append(job, &events, UnixMillis::now());
            Ok((appended, events))
        });
        match appended.await? {
            (Ok(state), _) => {
                self.stands = state;
                self.written = Instant::now();
                Ok(())
            }
            (Err(error), events) => {
                if error.is_full() {
                    self.waiting = events;
                }
                Err(error)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use shared::protocol::message::{DoneReason, StepReport, TrainDone};

    use super::*;
    use crate::state::sqlite::test_support::{Ballast, LOCAL, new_job, opened};
    use crate::state::{EventRecord, StateStore};

    fn step(step: u32) -> TrainerEvent {
        TrainerEvent::Step(StepReport {
            step,
            epoch: 1,
            loss: Some(0.5),
            learning_rate: 0.01,
            step_millis: 1,
        })
    }

    async fn log(state: &StateHandle, job: JobKey) -> (Vec<EventRecord>, JobState) {
        let events = state
            .call(move |store| store.events(LOCAL, job, 0, 100, usize::MAX))
            .await;
        events.unwrap().unwrap()
    }

    /// Breaks when a step is lost or written behind what came after it.
    #[tokio::test]
    async fn steps_are_written_with_what_follows_them() {
        let (_directory, state) = opened();
        let state = StateHandle::new(state);
        let job = new_job(1);
        let key = job.key;
        let mut recorder = RunRecorder::create(state.clone(), job).await.unwrap();
        let started = TrainerEvent::Started { steps_total: 2 };
        recorder.record(&started).await.unwrap();
        recorder.record(&step(1)).await.unwrap();
        assert_eq!(log(&state, key).await.0.len(), 2);
        recorder.record(&step(2)).await.unwrap();
        let done = TrainDone {
            steps: 2,
            best_step: 1,
            reason: DoneReason::Finished,
        };
        recorder.record(&TrainerEvent::Done(done)).await.unwrap();
        let (events, job_state) = log(&state, key).await;
        let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, ["queued", "started", "step", "step", "done"]);
        let cursors: Vec<_> = events.iter().map(|event| event.cursor).collect();
        assert_eq!(cursors, [1, 2, 3, 4, 5]);
        assert_eq!(job_state, JobState::Done);
        // An end is an end.
        recorder.fail(FailureClass::ClientLost).await.unwrap();
        assert_eq!(log(&state, key).await.0.len(), 5);
    }

    #[tokio::test]
    async fn a_run_that_is_let_go_of_has_failed() {
        let (_directory, state) = opened();
        let state = StateHandle::new(state);
        let job = new_job(1);
        let key = job.key;
        let mut recorder = RunRecorder::create(state.clone(), job).await.unwrap();
        let started = TrainerEvent::Started { steps_total: 9 };
        recorder.record(&started).await.unwrap();
        recorder.record(&step(1)).await.unwrap();
        recorder.fail(FailureClass::ClientLost).await.unwrap();
        let (events, job_state) = log(&state, key).await;
        assert_eq!(events.last().unwrap().data["failure"], "client_lost");
        assert_eq!(events[2].data["step"], 1);
        assert_eq!(job_state, JobState::Failed);
    }

    /// Breaks when a stop loses a step, lets a held job go on, or a later process' log does not
    /// follow.
    #[tokio::test]
    async fn a_run_that_is_left_to_a_later_process_is_in_the_queue_or_held() {
        let (_directory, state) = opened();
        let state = StateHandle::new(state);
        let job = new_job(1);
        let key = job.key;
        let mut recorder = RunRecorder::create(state.clone(), job).await.unwrap();
        let started = TrainerEvent::Started { steps_total: 9 };
        recorder.record(&started).await.unwrap();
        recorder.record(&step(1)).await.unwrap();
        recorder.requeue().await.unwrap();
        assert_eq!(log(&state, key).await.1, JobState::Queued);
        let mut recorder = RunRecorder::resume(state.clone(), key, JobState::Queued);
        let (step, steps_total) = (1, 9);
        let resumed = TrainerEvent::Resumed { step, steps_total };
        for report in [&resumed, &TrainerEvent::Paused] {
            recorder.record(report).await.unwrap();
        }
        recorder.requeue().await.unwrap();
        let (events, stands) = log(&state, key).await;
        let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
        let expected = ["queued", "started", "step", "queued", "resumed", "paused"];
        assert_eq!(kinds, expected);
        assert_eq!(stands, JobState::Paused);
    }

    /// Breaks when a full disk loses what was reported, or has it written twice.
    #[tokio::test]
    async fn what_finds_no_room_is_written_once_when_there_is_some() {
        let (directory, state) = opened();
        let job = new_job(1);
        let key = job.key;
        state.create_job(&job, UnixMillis(1)).unwrap();
        let ballast = Ballast::fill(&directory, &state);
        let state = StateHandle::new(state);
        let mut recorder = RunRecorder::resume(state.clone(), key, JobState::Queued);
        // A short one, so that each of its steps is kept.
        let mut reports = vec![TrainerEvent::Started { steps_total: 900 }];
        for number in 1..900 {
            let pair = [TrainerEvent::Paused, TrainerEvent::Continued];
            reports.extend(pair);
            reports.push(step(number));
        }
        let mut ballast = Some(ballast);
        let mut written = 0;
        for report in &reports {
            if let Err(error) = recorder.record(report).await {
                assert!(error.is_full(), "{error}");
                // As often as one likes.
                assert!(
                    recorder
                        .record(report)
                        .await
                        .is_err_and(|error| error.is_full())
                );
                let Some(ballast) = ballast.take() else { break };
                ballast.drop_overboard();
                recorder.record(report).await.unwrap();
            }
            written += 1;
            if ballast.is_none() && written % 60 == 0 {
                break;
            }
        }
        assert!(ballast.is_none(), "it was never full");
        recorder.flush().await.unwrap();
        let events = state.call(move |store| store.events(LOCAL, key, 0, 10_000, usize::MAX));
        let (events, _) = events.await.unwrap().unwrap();
        let kinds = events.iter().skip(1).map(|event| event.kind.as_str());
        let expected = reports[..written].iter().map(|report| match report {
            TrainerEvent::Started { .. } => "started",
            TrainerEvent::Paused => "paused",
            TrainerEvent::Continued => "continued",
            _ => "step",
        });
        assert!(kinds.eq(expected));
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_an_error() {
        let (_directory, state) = opened();
        let state = StateHandle::new(state);
        let job = new_job(1);
        let key = job.key;
        let mut recorder = RunRecorder::create(state.clone(), job).await.unwrap();
        state
            .call(move |store| {
                let cancelled = TrainDone {
                    steps: 0,
                    best_step: 0,
                    reason: DoneReason::Cancelled,
                };
                store.append(key, &[JobEvent::Done(cancelled)], UnixMillis(1))
            })
            .await
            .unwrap();
        let started = TrainerEvent::Started { steps_total: 9 };
        let refused = recorder.record(&started).await;
        assert!(matches!(refused, Err(StateError::HasEnded { .. })));
    }
}

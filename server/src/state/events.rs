//! What happened to a job: the append-only log of it.
//!
//! A log keeps at most [`STEP_EVENTS_MAX`] steps, evenly spread over the run, so that a run of a
//! million steps does not cost a million rows; validations and changes of state are all kept.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::protocol::message::{DoneReason, StepReport, TrainDone, ValidationReport};
use utoipa::ToSchema;

use super::StateError;
use super::records::UnixMillis;
use super::transition::JobState;

/// Steps that a job's log keeps.
pub const STEP_EVENTS_MAX: u32 = 1000;

/// Why a job failed: a class for programs. The reason itself is in the daemon's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The trainer failed.
    Trainer,
    /// The client went away and the job could not go on without it.
    ClientLost,
    /// The daemon stopped.
    Interrupted,
    /// The event log could not be written.
    State,
}

impl FailureClass {
    const ALL: [Self; 4] = [
        Self::Trainer,
        Self::ClientLost,
        Self::Interrupted,
        Self::State,
    ];

    /// The class's name in the store and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trainer => "trainer",
            Self::ClientLost => "client_lost",
            Self::Interrupted => "interrupted",
            Self::State => "state",
        }
    }

    /// The class of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

/// One thing that happened to a job.
#[derive(Debug, Clone, PartialEq)]
pub enum JobEvent {
    /// It was created, or its daemon stopped while it ran.
    Queued,
    /// It runs.
    Started {
        /// Optimizer steps of the whole run.
        steps_total: u32,
    },
    /// It runs again, in a later process. Steps behind this one are taken anew, so their numbers
    /// may come a second time.
    Resumed {
        /// The step that it goes on behind.
        step: u32,
        /// Optimizer steps of the whole run.
        steps_total: u32,
    },
    /// A step was taken; not every step is kept.
    Step(StepReport),
    /// A validation was done.
    Validation(ValidationReport),
    /// It is held.
    Paused,
    /// It goes on.
    Continued,
    /// It ended, by itself or by its owner.
    Done(TrainDone),
    /// It ended by a failure.
    Failed(FailureClass),
}

impl JobEvent {
    /// The event's name in the store and on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Started { .. } => "started",
            Self::Resumed { .. } => "resumed",
            Self::Step(_) => "step",
            Self::Validation(_) => "validation",
            Self::Paused => "paused",
            Self::Continued => "continued",
            Self::Done(_) => "done",
            Self::Failed(_) => "failed",
        }
    }

    /// What it says beside its name.
    ///
    /// # Errors
    ///
    /// When it cannot be written as JSON.
    pub fn data(&self) -> Result<Value, StateError> {
        let data = match self {
            Self::Queued | Self::Paused | Self::Continued => Ok(serde_json::json!({})),
            Self::Started { steps_total } => Ok(serde_json::json!({ "steps_total": steps_total })),
            Self::Resumed { step, steps_total } => {
                Ok(serde_json::json!({ "step": step, "steps_total": steps_total }))
            }
            Self::Step(report) => serde_json::to_value(report),
            Self::Validation(report) => serde_json::to_value(report),
            Self::Done(done) => serde_json::to_value(done),
            Self::Failed(class) => Ok(serde_json::json!({ "failure": class.name() })),
        };
        data.map_err(StateError::Json)
    }

    /// The state that it brings the job to; none for one that leaves it.
    pub fn leads_to(&self) -> Option<JobState> {
        match self {
            Self::Queued => Some(JobState::Queued),
            Self::Started { .. } | Self::Resumed { .. } | Self::Continued => {
                Some(JobState::Running)
            }
            Self::Step(_) | Self::Validation(_) => None,
            Self::Paused => Some(JobState::Paused),
            Self::Done(TrainDone {
                reason: DoneReason::Cancelled,
                ..
            }) => Some(JobState::Cancelled),
            Self::Done(_) => Some(JobState::Done),
            Self::Failed(_) => Some(JobState::Failed),
        }
    }
}

/// An event as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EventRecord {
    /// Its place in the job's log, from 1, without gaps.
    pub cursor: u64,
    /// When it was written, milliseconds since 1970.
    #[schema(value_type = i64)]
    pub time_millis: UnixMillis,
    /// Its name: `queued`, `started`, `resumed`, `step`, `validation`, `paused`, `continued`, `done`
    /// or `failed`.
    pub kind: String,
    /// What it says, in the names of docs/protocol.md.
    #[schema(value_type = Object)]
    pub data: Value,
}

/// Which steps of a run are kept: the first, the last, and evenly spread ones between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepThinning {
    stride: u32,
    steps_total: u32,
}

impl StepThinning {
    /// The thinning of a run of so many steps.
    pub fn of(steps_total: u32) -> Self {
        // Two places are the first's and the last's.
        let stride = steps_total.div_ceil(STEP_EVENTS_MAX - 2).max(1);
        Self {
            stride,
            steps_total,
        }
    }

    /// Whether a step, from 1, is kept.
    pub fn keeps(self, step: u32) -> bool {
        step == 1 || step == self.steps_total || step.is_multiple_of(self.stride)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_thinned_only_where_there_are_many() {
        for (total, kept) in [(1, 1), (12, 12), (998, 998), (2000, 668), (1_000_000, 999)] {
            let thinning = StepThinning::of(total);
            let count = (1..=total).filter(|&step| thinning.keeps(step)).count();
            assert_eq!(count, kept, "{total}");
            assert!(count <= STEP_EVENTS_MAX as usize);
            assert!(thinning.keeps(1) && thinning.keeps(total));
        }
    }

    #[test]
    fn an_end_by_the_owner_is_another_end() {
        let done = |reason| {
            JobEvent::Done(TrainDone {
                steps: 3,
                best_step: 2,
                reason,
            })
        };
        let leads_to = |event: JobEvent| event.leads_to();
        assert_eq!(
            leads_to(done(DoneReason::Cancelled)),
            Some(JobState::Cancelled)
        );
        assert_eq!(leads_to(done(DoneReason::Finished)), Some(JobState::Done));
        assert_eq!(
            leads_to(done(DoneReason::StoppedEarly)),
            Some(JobState::Done)
        );
    }

    #[test]
    fn every_class_has_a_name_of_its_own() {
        for class in FailureClass::ALL {
            assert_eq!(FailureClass::from_name(class.name()), Some(class));
            assert_eq!(serde_json::json!(class), class.name());
        }
    }
}

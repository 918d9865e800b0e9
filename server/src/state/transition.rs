//! Which state of a job follows which: the one place that says so.

use serde::Serialize;
use utoipa::ToSchema;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It waits for its turn.
    Queued,
    /// It trains.
    Running,
    /// It is held.
    Paused,
    /// It has ended by itself; there is an adapter.
    Done,
    /// It has ended by a failure.
    Failed,
    /// Its owner has ended it.
    Cancelled,
}

/// A job cannot go from one state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {} cannot become {}", from.name(), to.name())]
pub struct TransitionError {
    /// Where it is.
    pub from: JobState,
    /// Where it was to go.
    pub to: JobState,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Running,
        Self::Paused,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The state's name in the store and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether nothing follows.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// Gives the state that follows.
    ///
    /// A job that runs or is held may go back into the queue: that is where a restart finds it. A
    /// held job ends only by its owner or a failure: it takes no step.
    ///
    /// # Errors
    ///
    /// For every other pair, and for a state that follows itself.
    pub fn become_state(self, to: Self) -> Result<Self, TransitionError> {
        let legal = match self {
            Self::Queued => matches!(to, Self::Running | Self::Failed | Self::Cancelled),
            Self::Running => !matches!(to, Self::Running),
            Self::Paused => !matches!(to, Self::Paused | Self::Done),
            Self::Done | Self::Failed | Self::Cancelled => false,
        };
        if legal {
            Ok(to)
        } else {
            Err(TransitionError { from: self, to })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row a state, one column the state that would follow, both in the order of `ALL`. Breaks
    /// when a transition is added or lost.
    #[test]
    fn the_table_of_transitions() {
        let table = [
            ("queued", ".r..fc"),
            ("running", "q.pdfc"),
            ("paused", "qr..fc"),
            ("done", "......"),
            ("failed", "......"),
            ("cancelled", "......"),
        ];
        for (from, (name, row)) in JobState::ALL.into_iter().zip(table) {
            assert_eq!(from.name(), name);
            for (to, mark) in JobState::ALL.into_iter().zip(row.chars()) {
                let expected = if mark == '.' {
                    Err(TransitionError { from, to })
                } else {
                    assert!(to.name().starts_with(mark));
                    Ok(to)
                };
                assert_eq!(from.become_state(to), expected, "{name} -> {}", to.name());
            }
        }
    }

    #[test]
    fn what_has_ended_stays() {
        for state in JobState::ALL {
            let follows = JobState::ALL
                .into_iter()
                .any(|to| state.become_state(to).is_ok());
            assert_eq!(state.has_ended(), !follows);
            assert_eq!(JobState::from_name(state.name()), Some(state));
        }
        assert_eq!(JobState::from_name("Running"), None);
    }
}

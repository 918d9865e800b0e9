//! Jobs between the state and the trainer: who may steer one, and how a run writes its log.
//!
//! | file | what |
//! |---|---|
//! | [`control`] | holding, continuing, ending and deleting a job from outside its session |
//! | [`recorder`] | a run's events on their way into the state |

pub mod control;
pub mod recorder;

use crate::state::{FailureClass, JobEvent, StateError, StateStore, UnixMillis};

/// Ends the jobs that an earlier process left open: their runs ended with it. Blocks.
///
/// # Errors
///
/// When the state cannot be written.
pub fn end_interrupted(store: &dyn StateStore, now: UnixMillis) -> Result<usize, StateError> {
    let open = store.open_jobs()?;
    for &job in &open {
        store.append(job, &[JobEvent::Failed(FailureClass::Interrupted)], now)?;
    }
    Ok(open.len())
}

//! Steering a job from outside its session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::state::{JobKey, Removed, StateError, StateHandle, TenantId};
use crate::trainer::{JobId, TrainerError, TrainerHandle};

/// A job could not be steered.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The tenant has no such job.
    #[error("there is no such job")]
    UnknownJob,
    /// The job's state does not allow it.
    #[error("the job's state does not allow this")]
    Conflict,
    /// The state failed.
    #[error("the state could not be read or written")]
    State(#[source] StateError),
    /// The trainer failed.
    #[error("the trainer failed")]
    Trainer(#[source] TrainerError),
}

impl From<StateError> for ControlError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::UnknownJob => Self::UnknownJob,
            StateError::NotEnded { .. }
            | StateError::HasEnded { .. }
            | StateError::Transition(_) => Self::Conflict,
            error => Self::State(error),
        }
    }
}

impl From<TrainerError> for ControlError {
    fn from(error: TrainerError) -> Self {
        match error {
            // It ended between the question and the answer.
            TrainerError::UnknownJob => Self::Conflict,
            error => Self::Trainer(error),
        }
    }
}

/// What is asked of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steer {
    /// To hold after its current step.
    Pause,
    /// To go on.
    Resume,
    /// To end and keep its best adapter.
    Cancel,
}

/// Runs whose sessions are open: the only ones that there are while a run ends with its client.
#[derive(Debug, Clone)]
pub struct LiveRuns {
    state: StateHandle,
    trainer: TrainerHandle,
    runs: Arc<Mutex<HashMap<JobKey, (TenantId, JobId)>>>,
}

impl LiveRuns {
    /// No runs yet.
    pub fn new(state: StateHandle, trainer: TrainerHandle) -> Self {
        Self {
            state,
            trainer,
            runs: Arc::default(),
        }
    }

    /// Makes a run known; it is forgotten when the guard is dropped.
    pub fn enter(&self, tenant: TenantId, job: JobKey, run: JobId) -> LiveRun {
        self.runs().insert(job, (tenant, run));
        LiveRun {
            runs: self.clone(),
            job,
        }
    }

    /// Asks something of a tenant's run. It is under way when this returns; that it has happened is
    /// in the job's log.
    ///
    /// # Errors
    ///
    /// `UnknownJob`, `Conflict`; otherwise when state or trainer fail.
    pub async fn steer(
        &self,
        tenant: TenantId,
        job: JobKey,
        steer: Steer,
    ) -> Result<(), ControlError> {
        let run = self.find(tenant, job).await?;
        match steer {
            Steer::Pause => self.trainer.pause(run).await?,
            Steer::Resume => self.trainer.resume(run).await?,
            Steer::Cancel => self.trainer.cancel(run).await?,
        }
        Ok(())
    }

    /// Deletes a tenant's job that has ended and says what went with it.
    ///
    /// # Errors
    ///
    /// `UnknownJob`; `Conflict` for a job that goes on; otherwise when the state fails.
    pub async fn delete(&self, tenant: TenantId, job: JobKey) -> Result<Removed, ControlError> {
        let removed = self
            .state
            .call(move |store| store.delete_job(tenant, job))
            .await?;
        removed.ok_or(ControlError::UnknownJob)
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<JobKey, (TenantId, JobId)>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The trainer's number of a tenant's run.
    async fn find(&self, tenant: TenantId, job: JobKey) -> Result<JobId, ControlError> {
        // The state is asked always: whether somebody else's job runs is nobody's business.
        let known = self.state.call(move |store| store.job(tenant, job)).await?;
        known.ok_or(ControlError::UnknownJob)?;
        match self.runs().get(&job) {
            Some(&(owner, run)) if owner == tenant => Ok(run),
            _ => Err(ControlError::Conflict),
        }
    }
}

/// A run that can be steered while this lives.
#[derive(Debug)]
pub struct LiveRun {
    runs: LiveRuns,
    job: JobKey,
}

impl Drop for LiveRun {
    fn drop(&mut self) {
        self.runs.runs().remove(&self.job);
    }
}

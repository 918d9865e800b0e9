//! Steering a job from outside its session.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
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

/// What steering comes to, in time.
pub type Steering<'a, T = ()> = Pin<Box<dyn Future<Output = Result<T, ControlError>> + Send + 'a>>;

/// Holds, continues, ends and deletes jobs. A tenant's job only: another's is `UnknownJob`.
///
/// What was asked is under way when the answer comes; that it has happened is in the job's log.
pub trait JobControl: fmt::Debug + Send + Sync {
    /// Holds a job after its current step.
    fn pause(&self, tenant: TenantId, job: JobKey) -> Steering<'_>;
    /// Goes on with a held job.
    fn resume(&self, tenant: TenantId, job: JobKey) -> Steering<'_>;
    /// Ends a job and keeps its best adapter.
    fn cancel(&self, tenant: TenantId, job: JobKey) -> Steering<'_>;
    /// Deletes a job that has ended and says what went with it.
    fn delete(&self, tenant: TenantId, job: JobKey) -> Steering<'_, Removed>;
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

impl JobControl for LiveRuns {
    fn pause(&self, tenant: TenantId, job: JobKey) -> Steering<'_> {
        Box::pin(async move {
            let run = self.find(tenant, job).await?;
            Ok(self.trainer.pause(run).await?)
        })
    }

    fn resume(&self, tenant: TenantId, job: JobKey) -> Steering<'_> {
        Box::pin(async move {
            let run = self.find(tenant, job).await?;
            Ok(self.trainer.resume(run).await?)
        })
    }

    fn cancel(&self, tenant: TenantId, job: JobKey) -> Steering<'_> {
        Box::pin(async move {
            let run = self.find(tenant, job).await?;
            Ok(self.trainer.cancel(run).await?)
        })
    }

    fn delete(&self, tenant: TenantId, job: JobKey) -> Steering<'_, Removed> {
        Box::pin(async move {
            let removed = self
                .state
                .call(move |store| store.delete_job(tenant, job))
                .await?;
            removed.ok_or(ControlError::UnknownJob)
        })
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

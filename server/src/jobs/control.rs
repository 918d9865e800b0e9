//! Steering a job from outside its session.

use std::io;

use tokio::task::spawn_blocking;

use super::runs::Runs;
use crate::adapters::AdaptersError;
use crate::state::{JobKey, JobRecord, Removed, StateError, TenantId};
use crate::store::{RemovedAdapterFiles, RemovedFiles};
use crate::trainer::TrainerError;

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
    /// The job's files could not be removed.
    #[error("the job's files could not be removed")]
    Files(#[source] io::Error),
    /// Its adapter's files could not be removed.
    #[error("the adapter's files could not be removed")]
    Adapters(#[source] AdaptersError),
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

/// What went with a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// Of its record.
    pub records: Removed,
    /// Of its files.
    pub files: RemovedFiles,
    /// Of its adapters' files.
    pub adapters: RemovedAdapterFiles,
}

impl Runs {
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
        // The state is asked always: whether somebody else's job runs is nobody's business.
        self.job(tenant, job).await?;
        let run = self.find(tenant, job).ok_or(ControlError::Conflict)?;
        match steer {
            Steer::Pause => self.trainer().pause(run).await?,
            Steer::Resume => self.trainer().resume(run).await?,
            Steer::Cancel => self.trainer().cancel(run).await?,
        }
        Ok(())
    }

    /// Deletes a tenant's job that has ended, with its examples and its adapter, and says what went.
    /// A session that is still open cannot train on these examples again.
    ///
    /// # Errors
    ///
    /// `UnknownJob`; `Conflict` for a job that goes on; otherwise when file system or state fail.
    pub async fn delete(&self, tenant: TenantId, job: JobKey) -> Result<Deleted, ControlError> {
        if !self.job(tenant, job).await?.state.has_ended() {
            return Err(ControlError::Conflict);
        }
        let files = self.files(job);
        // Before the record: what is in the state no more is not asked for a second time.
        let files = spawn_blocking(move || files.remove()).await;
        let files = files.map_err(io::Error::other).flatten();
        let files = files.map_err(ControlError::Files)?;
        let records = self.state();
        let records = records.call(move |store| store.delete_job(tenant, job));
        let records = records.await?.ok_or(ControlError::UnknownJob)?;
        // After it: what is in the state has its files, and what is left of others goes at a start.
        let adapters = self.adapters().discard(records.adapters.clone()).await;
        Ok(Deleted {
            records,
            files,
            adapters: adapters.map_err(ControlError::Adapters)?,
        })
    }

    async fn job(&self, tenant: TenantId, job: JobKey) -> Result<JobRecord, ControlError> {
        let known = self.state().call(move |store| store.job(tenant, job));
        known.await?.ok_or(ControlError::UnknownJob)
    }
}

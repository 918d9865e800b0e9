//! What the daemon knows from one start to the next: tenants, tokens, jobs, their events, adapters.
//!
//! [`StateStore`] is the seam: sessions, routes and the command line see it and nothing behind it.
//! Its methods block, so async code goes through [`StateHandle`]. Activations, checkpoints and the
//! adapters' files are not here.
//!
//! | file | what |
//! |---|---|
//! | [`records`] | what is kept, as types |
//! | [`events`] | what happened to a job, and which steps are kept of it |
//! | [`transition`] | which state of a job follows which |
//! | [`sqlite`] | the store in one file |

pub mod events;
pub mod records;
pub mod sqlite;
pub mod transition;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use events::{EventRecord, FailureClass, JobEvent};
pub use records::{
    AdapterChange, AdapterFit, AdapterKey, AdapterName, AdapterRecord, Agreed, ExampleCounts,
    JobKey, JobPlace, JobRecord, NameError, NewJob, OpenJob, Removed, RunSeed, TenantId,
    TenantName, TokenKey, TokenRecord, UnixMillis,
};
pub use sqlite::SqliteState;
pub use transition::{JobState, TransitionError};

/// Where the state is in a data directory.
pub fn path_in(data: &Path) -> PathBuf {
    data.join("state.sqlite")
}

/// The state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file was written by a later version of the daemon.
    #[error(
        "the state has schema {actual}; this version knows up to {expected}: start the version \
         that wrote it, or restore a backup"
    )]
    NewerSchema {
        /// The newest that is known.
        expected: u32,
        /// The file's.
        actual: u32,
    },
    /// The file is not one that this daemon wrote.
    #[error("the state has schema {actual}, which no version wrote")]
    ForeignSchema {
        /// The file's.
        actual: i64,
    },
    /// The file is no database, or a part of it is missing or is not what was written.
    #[error(
        "the state {} is damaged, or is no state: {found}; it was left as it is: restore a backup",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first thing that the database found.
        found: String,
    },
    /// The job cannot go from its state to that one.
    #[error(transparent)]
    Transition(#[from] TransitionError),
    /// The job goes on.
    #[error("the job is {}; it must end first", state.name())]
    NotEnded {
        /// Where it stands.
        state: JobState,
    },
    /// The job has ended, and its log with it.
    #[error("the job is {}; nothing follows", state.name())]
    HasEnded {
        /// Where it stands.
        state: JobState,
    },
    /// There is no such job.
    #[error("the job is not in the state")]
    UnknownJob,
    /// Another adapter of the tenant has this name.
    #[error("an adapter of this tenant has this name already")]
    NameTaken,
    /// There is no such token.
    #[error("the token is not in the state")]
    UnknownToken,
    /// A stored value is not one that is written.
    #[error("the state holds a {what} that cannot be read")]
    Unreadable {
        /// Which value.
        what: &'static str,
    },
    /// A value cannot be written as JSON.
    #[error("a record cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    /// A directory or file could not be prepared.
    #[error("the state {} cannot be prepared: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The file system's reason.
        source: std::io::Error,
    },
    /// The database failed: a full disk, a lock that was not given back, a broken file.
    #[error("the state's database failed: {0}")]
    Database(#[from] rusqlite::Error),
    /// The thread that worked on it panicked.
    #[error("the state's thread failed")]
    Gone,
}

impl StateError {
    /// Whether there was no room on the device: nothing was written, and with room it can be.
    pub fn is_full(&self) -> bool {
        let Self::Database(rusqlite::Error::SqliteFailure(error, _)) = self else {
            return false;
        };
        // The second is the index of the write-ahead log, which finds no room to grow.
        error.code == rusqlite::ErrorCode::DiskFull
            || error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
    }
}

/// Keeps the daemon's state. Every method is one transaction and blocks while it lasts.
///
/// Whoever asks on behalf of a tenant names the tenant in the same query as the record: another
/// tenant's record and none at all are answered alike, by the same look-up.
pub trait StateStore: fmt::Debug + Send + Sync {
    /// Gives the tenant of that name, created where needed.
    ///
    /// # Errors
    ///
    /// When the state cannot be written, as for all methods; it is not said again.
    fn tenant(&self, name: &TenantName) -> Result<TenantId, StateError>;

    /// Adds a token.
    fn add_token(&self, token: &TokenRecord) -> Result<(), StateError>;

    /// The token of that name, and whether there is any token at all.
    fn token(&self, key: TokenKey) -> Result<(Option<TokenRecord>, bool), StateError>;

    /// Every token, oldest first; the command line's list.
    fn tokens(&self) -> Result<Vec<TokenRecord>, StateError>;

    /// Revokes a token; once revoked it stays so from the first time on.
    ///
    /// # Errors
    ///
    /// `UnknownToken`.
    fn revoke_token(&self, key: TokenKey, now: UnixMillis) -> Result<(), StateError>;

    /// Gives a token another secret; the present one is accepted until `overlap_until`.
    ///
    /// # Errors
    ///
    /// `UnknownToken`, also for a token that is revoked.
    fn rotate_token(
        &self,
        key: TokenKey,
        secret_sha256: [u8; 32],
        overlap_until: UnixMillis,
    ) -> Result<(), StateError>;

    /// Adds a job in the state `queued`, with the event that says so.
    fn create_job(&self, job: &NewJob, now: UnixMillis) -> Result<(), StateError>;

    /// A tenant's job.
    fn job(&self, tenant: TenantId, key: JobKey) -> Result<Option<JobRecord>, StateError>;

    /// A tenant's jobs, newest first, at most `limit`, those after `after`.
    fn jobs(
        &self,
        tenant: TenantId,
        after: Option<JobPlace>,
        limit: u32,
    ) -> Result<Vec<JobRecord>, StateError>;

    /// A tenant's jobs that have not ended.
    fn count_open_jobs(&self, tenant: TenantId) -> Result<u32, StateError>;

    /// Jobs of all tenants that have not ended, oldest first.
    fn open_jobs(&self) -> Result<Vec<OpenJob>, StateError>;

    /// Where any tenant's job stands; for the daemon itself.
    fn job_state(&self, key: JobKey) -> Result<Option<JobState>, StateError>;

    /// Appends events to a job in order and moves its state as they say, all or nothing.
    ///
    /// # Errors
    ///
    /// `UnknownJob`; `HasEnded`; `Transition` for an event that the job's state does not allow.
    fn append(
        &self,
        key: JobKey,
        events: &[JobEvent],
        now: UnixMillis,
    ) -> Result<JobState, StateError>;

    /// Events of a tenant's job with cursors above `after`, at most `limit` and not many more bytes
    /// than `bytes_max`, with the job's state after them; none where the tenant has no such job.
    fn events(
        &self,
        tenant: TenantId,
        key: JobKey,
        after: u64,
        limit: u32,
        bytes_max: usize,
    ) -> Result<Option<(Vec<EventRecord>, JobState)>, StateError>;

    /// Removes a tenant's job that has ended, with its events and adapters, and says what went.
    ///
    /// # Errors
    ///
    /// `NotEnded` for a job that goes on.
    fn delete_job(&self, tenant: TenantId, key: JobKey) -> Result<Option<Removed>, StateError>;

    /// The last validation of a job that was the best until then, as its event says it.
    fn best_validation(&self, key: JobKey) -> Result<Option<serde_json::Value>, StateError>;

    /// Adds an adapter.
    ///
    /// # Errors
    ///
    /// `UnknownJob` where it names a job that the tenant does not have; `NameTaken`.
    fn add_adapter(&self, adapter: &AdapterRecord) -> Result<(), StateError>;

    /// A tenant's adapters, newest first, at most `limit`, those after `after`.
    fn adapters(
        &self,
        tenant: TenantId,
        after: Option<(UnixMillis, AdapterKey)>,
        limit: u32,
    ) -> Result<Vec<AdapterRecord>, StateError>;

    /// A tenant's adapter.
    fn adapter(
        &self,
        tenant: TenantId,
        key: AdapterKey,
    ) -> Result<Option<AdapterRecord>, StateError>;

    /// The adapter of a tenant's job.
    fn adapter_of_job(
        &self,
        tenant: TenantId,
        job: JobKey,
    ) -> Result<Option<AdapterRecord>, StateError>;

    /// A tenant's default for a model and a cut.
    fn default_adapter(
        &self,
        tenant: TenantId,
        model_id: &str,
        cut: u32,
    ) -> Result<Option<AdapterRecord>, StateError>;

    /// Changes a tenant's adapter and gives it as it is then.
    ///
    /// # Errors
    ///
    /// `NameTaken`.
    fn change_adapter(
        &self,
        tenant: TenantId,
        key: AdapterKey,
        change: &AdapterChange,
    ) -> Result<Option<AdapterRecord>, StateError>;

    /// Removes a tenant's adapter and gives what it was.
    fn delete_adapter(
        &self,
        tenant: TenantId,
        key: AdapterKey,
    ) -> Result<Option<AdapterRecord>, StateError>;

    /// Bytes of all files of a tenant's adapters.
    fn adapter_bytes(&self, tenant: TenantId) -> Result<u64, StateError>;

    /// Adapters of all tenants.
    fn adapter_keys(&self) -> Result<Vec<AdapterKey>, StateError>;
}

/// Runs what blocks on threads where it may. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StateHandle(Arc<dyn StateStore>);

impl StateHandle {
    /// A handle to a store.
    pub fn new(store: impl StateStore + 'static) -> Self {
        Self(Arc::new(store))
    }

    /// Does something with the store, away from the async executor's threads.
    ///
    /// # Errors
    ///
    /// Those of `work`, and `Gone` when it panicked.
    pub async fn call<T, F>(&self, work: F) -> Result<T, StateError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn StateStore) -> Result<T, StateError> + Send + 'static,
    {
        let store = self.0.clone();
        tokio::task::spawn_blocking(move || work(&*store))
            .await
            .map_err(|_| StateError::Gone)?
    }

    /// The store, for code that may block.
    pub fn blocking(&self) -> &dyn StateStore {
        &*self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_every_other_failure() {
        let is_full = |code| {
            let error = rusqlite::ffi::Error::new(code);
            StateError::Database(rusqlite::Error::SqliteFailure(error, None)).is_full()
        };
        assert!(is_full(rusqlite::ffi::SQLITE_FULL));
        assert!(is_full(rusqlite::ffi::SQLITE_IOERR_SHMSIZE));
        assert!(!is_full(rusqlite::ffi::SQLITE_IOERR));
        assert!(!is_full(rusqlite::ffi::SQLITE_BUSY));
        assert!(!StateError::UnknownJob.is_full());
    }
}

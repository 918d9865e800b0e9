//! The state in one SQLite file.
//!
//! Write-ahead log with `synchronous = FULL`: what a method has written is on the disk when it
//! returns, and the command line may read and write while the daemon runs. One connection behind a
//! lock suffices: a transaction here takes about as long as the disk needs for one write.

mod adapters;
mod inspection;
mod jobs;
mod migrations;
mod tokens;

use std::fs::{DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::events::{EventRecord, JobEvent};
use super::records::{
    AdapterChange, AdapterKey, AdapterRecord, JobKey, JobPlace, JobRecord, NewJob, OpenJob,
    Removed, TenantId, TenantName, TokenKey, TokenRecord, UnixMillis,
};
use super::transition::JobState;
use super::{StateError, StateStore};

/// How long a transaction waits for another process: the command line holds the file for moments.
const BUSY_MAX: Duration = Duration::from_secs(10);

/// The state in a file.
#[derive(Debug)]
pub struct SqliteState {
    connection: Mutex<Connection>,
}

impl SqliteState {
    /// Opens the file, created where needed in a directory that only its owner may look into, and
    /// brings its schema up to date. Blocks.
    ///
    /// # Errors
    ///
    /// `NewerSchema` for a file of a later version and `Damaged` for one that is not whole, before
    /// anything of it is changed; else when it cannot be opened or written.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        if let Some(directory) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .map_err(|source| StateError::Io {
                    path: path.to_owned(),
                    source,
                })?;
        }
        inspection::inspect(path)?;
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_MAX)?;
        // The first statement that needs the file; the mode is kept in it.
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", "on")?;
        // What is deleted is overwritten: it was asked to be gone.
        connection.pragma_update_and_check(None, "secure_delete", "on", |_| Ok(()))?;
        migrations::migrate(&mut connection)?;
        Ok(Self {
            connection: Mutex::new(connection),
        })
    }

    /// Copies a state to a new file as it is at one moment, while others read and write it. Blocks.
    ///
    /// # Errors
    ///
    /// When there is no state, or it is not one of this version; when it cannot be read or the copy
    /// not be written.
    pub fn back_up(path: &Path, to: &Path) -> Result<(), StateError> {
        inspection::inspect(path)?;
        let connection = inspection::read_only(path)?;
        let copy = to.to_str().ok_or(StateError::Unreadable { what: "path" })?;
        connection.execute("VACUUM INTO ?1", [copy])?;
        let private = File::open(to).and_then(|file| {
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.sync_all()
        });
        private.map_err(|source| StateError::Io {
            path: to.to_owned(),
            source,
        })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A transaction that panicked was rolled back when it was dropped.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let connection = self.connection();
        // One view of the data, also for what asks twice.
        let transaction = connection.unchecked_transaction()?;
        work(&transaction)
    }

    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let mut connection = self.connection();
        // Immediate: what is read first is still true when it is written.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }
}

impl StateStore for SqliteState {
    fn tenant(&self, name: &TenantName) -> Result<TenantId, StateError> {
        self.write(|transaction| tokens::tenant(transaction, name))
    }

    fn add_token(&self, token: &TokenRecord) -> Result<(), StateError> {
        self.write(|transaction| tokens::add(transaction, token))
    }

    fn token(&self, key: TokenKey) -> Result<(Option<TokenRecord>, bool), StateError> {
        self.read(|connection| Ok((tokens::one(connection, key)?, tokens::any(connection)?)))
    }

    fn tokens(&self) -> Result<Vec<TokenRecord>, StateError> {
        self.read(tokens::all)
    }

    fn revoke_token(&self, key: TokenKey, now: UnixMillis) -> Result<(), StateError> {
        self.write(|transaction| tokens::revoke(transaction, key, now))
    }

    fn rotate_token(
        &self,
        key: TokenKey,
        secret_sha256: [u8; 32],
        overlap_until: UnixMillis,
    ) -> Result<(), StateError> {
        self.write(|transaction| tokens::rotate(transaction, key, secret_sha256, overlap_until))
    }

    fn create_job(&self, job: &NewJob, now: UnixMillis) -> Result<(), StateError> {
        self.write(|transaction| jobs::create(transaction, job, now))
    }

    fn job(&self, tenant: TenantId, key: JobKey) -> Result<Option<JobRecord>, StateError> {
        self.read(|connection| jobs::one(connection, tenant, key))
    }

    fn jobs(
        &self,
        tenant: TenantId,
        after: Option<JobPlace>,
        limit: u32,
    ) -> Result<Vec<JobRecord>, StateError> {
        self.read(|connection| jobs::list(connection, tenant, after, limit))
    }

    fn count_open_jobs(&self, tenant: TenantId) -> Result<u32, StateError> {
        self.read(|connection| jobs::count_open(connection, tenant))
    }

    fn open_jobs(&self) -> Result<Vec<OpenJob>, StateError> {
        self.read(jobs::open)
    }

    fn job_state(&self, key: JobKey) -> Result<Option<JobState>, StateError> {
        self.read(|connection| jobs::state(connection, key))
    }

    fn append(
        &self,
        key: JobKey,
        events: &[JobEvent],
        now: UnixMillis,
    ) -> Result<JobState, StateError> {
        self.write(|transaction| jobs::append(transaction, key, events, now))
    }

    fn events(
        &self,
        tenant: TenantId,
        key: JobKey,
        after: u64,
        limit: u32,
        bytes_max: usize,
    ) -> Result<Option<(Vec<EventRecord>, JobState)>, StateError> {
        self.read(|connection| jobs::events(connection, tenant, key, after, limit, bytes_max))
    }

    fn delete_job(&self, tenant: TenantId, key: JobKey) -> Result<Option<Removed>, StateError> {
        self.write(|transaction| jobs::delete(transaction, tenant, key))
    }

    fn add_adapter(&self, adapter: &AdapterRecord) -> Result<(), StateError> {
        self.write(|transaction| adapters::add(transaction, adapter))
    }

    fn adapters(
        &self,
        tenant: TenantId,
        after: Option<(UnixMillis, AdapterKey)>,
        limit: u32,
    ) -> Result<Vec<AdapterRecord>, StateError> {
        self.read(|connection| adapters::list(connection, tenant, after, limit))
    }

    fn best_validation(&self, key: JobKey) -> Result<Option<serde_json::Value>, StateError> {
        self.read(|connection| jobs::best_validation(connection, key))
    }

    fn adapter(
        &self,
        tenant: TenantId,
        key: AdapterKey,
    ) -> Result<Option<AdapterRecord>, StateError> {
        self.read(|connection| adapters::one(connection, tenant, key))
    }

    fn adapter_of_job(
        &self,
        tenant: TenantId,
        job: JobKey,
    ) -> Result<Option<AdapterRecord>, StateError> {
        self.read(|connection| adapters::of_job(connection, tenant, job))
    }

    fn default_adapter(
        &self,
        tenant: TenantId,
        model_id: &str,
        cut: u32,
    ) -> Result<Option<AdapterRecord>, StateError> {
        self.read(|connection| adapters::by_default(connection, tenant, model_id, cut))
    }

    fn change_adapter(
        &self,
        tenant: TenantId,
        key: AdapterKey,
        change: &AdapterChange,
    ) -> Result<Option<AdapterRecord>, StateError> {
        self.write(|transaction| adapters::change(transaction, tenant, key, change))
    }

    fn delete_adapter(
        &self,
        tenant: TenantId,
        key: AdapterKey,
    ) -> Result<Option<AdapterRecord>, StateError> {
        self.write(|transaction| adapters::delete(transaction, tenant, key))
    }

    fn adapter_bytes(&self, tenant: TenantId) -> Result<u64, StateError> {
        self.read(|connection| adapters::bytes(connection, tenant))
    }

    fn adapter_keys(&self) -> Result<Vec<AdapterKey>, StateError> {
        self.read(adapters::keys)
    }
}

#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;

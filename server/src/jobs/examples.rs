//! The examples of a session and its runs, and when they go.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::spawn_blocking;

use crate::quota::StoreShare;
use crate::store::{ActivationStore, JobFiles};

/// Examples on disk, held by a session, by its run, or by both. Whoever lets go last removes them:
/// a session may train on them again after its run, and a run goes on after its session.
#[derive(Debug)]
pub struct Examples {
    store: Arc<ActivationStore>,
    place: Mutex<Place>,
    /// Whether a later process needs them.
    stay: AtomicBool,
}

#[derive(Debug)]
struct Place {
    /// The job whose directory they are in; none before the first run.
    job: Option<JobFiles>,
    /// What they take of the tenant's share.
    share: StoreShare,
}

impl Examples {
    /// Examples of a session that has not trained yet.
    pub fn of_session(store: ActivationStore, share: StoreShare) -> Arc<Self> {
        Self::new(store, None, share)
    }

    /// Examples that an earlier process left in a job's directory.
    pub fn of_job(store: ActivationStore, job: JobFiles, share: StoreShare) -> Arc<Self> {
        Self::new(store, Some(job), share)
    }

    fn new(store: ActivationStore, job: Option<JobFiles>, share: StoreShare) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::new(store),
            place: Mutex::new(Place { job, share }),
            stay: AtomicBool::new(false),
        })
    }

    /// The examples themselves.
    pub fn store(&self) -> &Arc<ActivationStore> {
        &self.store
    }

    /// Counts more bytes of them.
    pub fn add_share(&self, share: StoreShare) {
        self.place().share.add(share);
    }

    /// Moves them into a job's directory. Blocks.
    ///
    /// # Errors
    ///
    /// `NotFound` when they were deleted with the job of an earlier run; otherwise when the file
    /// system refuses.
    pub fn move_to(&self, job: &JobFiles) -> io::Result<()> {
        let mut place = self.place();
        job.create()?;
        if let Err(error) = self.store.keep(&job.examples()) {
            job.remove_if_empty();
            return Err(error);
        }
        if let Some(earlier) = place.job.replace(job.clone()) {
            earlier.remove_if_empty();
        }
        Ok(())
    }

    /// Leaves them to a later process, whoever lets go of them.
    pub fn stay(&self) {
        self.stay.store(true, Ordering::SeqCst);
    }

    /// Lets go of them. The last one to do so removes them, unless they stay. What the trainer still
    /// reads for its last step is gone from the directory all the same.
    pub async fn let_go(self: Arc<Self>) {
        let Some(last) = Arc::into_inner(self) else {
            return;
        };
        if last.stay.load(Ordering::SeqCst) {
            return;
        }
        let removed = spawn_blocking(move || last.remove()).await;
        if let Err(error) = removed.map_err(io::Error::other).flatten() {
            tracing::error!(%error, "examples could not be removed; the next start tries again");
        }
    }

    fn remove(self) -> io::Result<()> {
        let place = self.place();
        match self.store.remove() {
            // The job was deleted, and they went with it.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if let Some(job) = &place.job {
            job.remove_if_empty();
        }
        Ok(())
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;
    use crate::quota::{QuotaLimits, Quotas};
    use crate::state::{JobKey, TenantId};
    use crate::store::DataDirectory;

    const TENANT: TenantId = TenantId(1);

    fn begun() -> (TempDir, DataDirectory, Arc<Quotas>, Arc<Examples>) {
        let root = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(root.path()).unwrap();
        let quotas = Arc::new(Quotas::new(QuotaLimits {
            store_bytes_max: 10,
            ..QuotaLimits::default()
        }));
        let share = quotas.take_bytes(TENANT, 10).unwrap();
        let examples = Examples::of_session(data.new_session(2).unwrap(), share);
        (root, data, quotas, examples)
    }

    fn count(directory: &Path) -> usize {
        std::fs::read_dir(directory).unwrap().count()
    }

    /// Breaks when a session that ends takes its run's examples away, or a run its session's.
    #[tokio::test]
    async fn the_last_to_let_go_removes_them() {
        let (root, data, quotas, session) = begun();
        let first = data.jobs().of(JobKey([1; 16]));
        session.move_to(&first).unwrap();
        assert_eq!(count(&data.sessions()), 0);
        let run = session.clone();
        run.let_go().await;
        assert!(first.examples().exists());
        // Another run on the same examples.
        let second = data.jobs().of(JobKey([2; 16]));
        session.move_to(&second).unwrap();
        assert_eq!(count(&root.path().join("jobs")), 1);
        let run = session.clone();
        session.let_go().await;
        assert!(second.examples().exists());
        assert!(quotas.take_bytes(TENANT, 1).is_err());
        run.let_go().await;
        assert_eq!(count(&root.path().join("jobs")), 0);
        quotas.take_bytes(TENANT, 10).unwrap();
    }

    #[tokio::test]
    async fn what_a_later_process_needs_stays() {
        let (_root, data, _quotas, session) = begun();
        let job = data.jobs().of(JobKey([1; 16]));
        session.move_to(&job).unwrap();
        let run = session.clone();
        run.stay();
        drop(run);
        session.let_go().await;
        ActivationStore::open(&job.examples()).unwrap();
    }

    #[tokio::test]
    async fn what_was_deleted_cannot_be_trained_on_again() {
        let (_root, data, _quotas, session) = begun();
        let job = data.jobs().of(JobKey([1; 16]));
        session.move_to(&job).unwrap();
        job.remove().unwrap();
        let next = data.jobs().of(JobKey([2; 16]));
        let refused = session.move_to(&next).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
        session.let_go().await;
    }
}

//! All runs that go on, with a session or without, and how one begins.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::SysRng;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

use super::attached::{Attached, Remembered, Report};
use super::backlog::Backlog;
use super::examples::Examples;
use super::follower::Follower;
use super::recorder::RunRecorder;
use crate::adapters::AdapterStore;
use crate::error::Fault;
use crate::limits::RUN_EVENTS_MAX;
use crate::quota::Quotas;
use crate::state::{
    Agreed, ExampleCounts, FailureClass, JobKey, NewJob, RunSeed, StateError, StateHandle,
    TenantId, UnixMillis,
};
use crate::store::{ActivationStore, JobFiles, JobsDirectory};
use crate::trainer::{Again, JobId, JobSpec, RunOrder, TrainerError, TrainerHandle};

/// What runs need of the daemon.
#[derive(Debug)]
pub struct Surroundings {
    /// Where jobs are written down.
    pub state: StateHandle,
    /// Where they are computed.
    pub trainer: TrainerHandle,
    /// What their tenants may have.
    pub quotas: Arc<Quotas>,
    /// Where they have their files.
    pub files: JobsDirectory,
    /// Where what they have trained is kept.
    pub adapters: AdapterStore,
    /// Cancelled when the daemon stops: runs are then left to a later process.
    pub shutdown: CancellationToken,
    /// Counts what must end before the daemon does.
    pub tracker: TaskTracker,
}

/// All runs that go on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    surroundings: Surroundings,
    /// The trainer's number of the next run.
    next: AtomicU64,
    /// Runs that can be steered.
    live: Mutex<HashMap<JobKey, (TenantId, JobId)>>,
}

/// A run that a session wants.
#[derive(Debug)]
pub struct NewRun {
    /// Whose it is.
    pub tenant: TenantId,
    /// What was agreed.
    pub agreed: Agreed,
    /// What there is to train on.
    pub counts: ExampleCounts,
    /// The examples.
    pub examples: Arc<Examples>,
}

/// A run that the trainer has taken.
#[derive(Debug)]
pub(super) struct Launched {
    run: Arc<Remembered>,
    is_alone: bool,
    settled: CancellationToken,
}

/// A run that the trainer has not taken.
#[derive(Debug)]
pub(super) struct NotLaunched {
    pub(super) recorder: RunRecorder,
    pub(super) examples: Arc<Examples>,
    pub(super) error: TrainerError,
}

/// A job whose run is handed to the trainer.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) tenant: TenantId,
    pub(super) key: JobKey,
    pub(super) agreed: Agreed,
    pub(super) seed: RunSeed,
    pub(super) number: JobId,
    pub(super) examples: Arc<Examples>,
    pub(super) recorder: RunRecorder,
}

impl Runs {
    /// No runs yet.
    pub fn new(surroundings: Surroundings) -> Self {
        Self(Arc::new(Shared {
            surroundings,
            next: AtomicU64::new(1),
            live: Mutex::default(),
        }))
    }

    /// Begins a run with its session attached. Its job owns the examples from here on.
    ///
    /// # Errors
    ///
    /// `Quota` when the tenant has as much as it may; `ExamplesGone` when they were deleted with an
    /// earlier job; otherwise when state, file system or trainer fail. Then no run has begun.
    pub async fn begin(&self, new: NewRun) -> Result<Attached, Fault> {
        let NewRun {
            tenant,
            agreed,
            counts,
            examples,
        } = new;
        self.check(tenant).await?;
        // Without randomness there is no name, and the system is as good as gone.
        let key = JobKey::draw(&mut SysRng).map_err(|_| Fault::RunFailed)?;
        let number = self.number();
        let seed = self.trainer().seed_of(number)?;
        let job = NewJob {
            key,
            tenant,
            agreed: agreed.clone(),
            examples: counts,
            seed,
        };
        // Before the record: a job is there once it has everything that it needs.
        self.move_examples(key, &examples).await?;
        let recorder = RunRecorder::create(self.state().clone(), job).await?;
        let (subscriber, reports) = mpsc::channel(RUN_EVENTS_MAX);
        let launch = Launch {
            tenant,
            key,
            agreed,
            seed,
            number,
            examples,
            recorder,
        };
        match self.launch(launch, None, Some(subscriber)).await {
            Ok(launched) => Ok(Attached {
                run: launched.run,
                reports,
                is_alone: launched.is_alone,
                is_over: false,
                settled: launched.settled,
            }),
            Err(failed) => {
                let NotLaunched {
                    recorder, error, ..
                } = *failed;
                recorder.fail(FailureClass::Trainer).await?;
                Err(error.into())
            }
        }
    }

    /// Holds a run against the tenant's quotas.
    async fn check(&self, tenant: TenantId) -> Result<(), Fault> {
        let open = self
            .state()
            .call(move |store| store.count_open_jobs(tenant));
        let open = open.await?;
        let quotas = self.quotas();
        Ok(quotas.check_run(tenant, open, UnixMillis::now())?)
    }

    /// Moves examples into the directory of a job.
    async fn move_examples(&self, key: JobKey, examples: &Arc<Examples>) -> Result<(), Fault> {
        let (files, examples) = (self.files(key), examples.clone());
        let moved = spawn_blocking(move || examples.move_to(&files)).await;
        match moved.map_err(io::Error::other).flatten() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Fault::ExamplesGone),
            moved => moved.map_err(Fault::Store),
        }
    }

    /// Hands a run to the trainer and follows it; gives log and examples back where that fails.
    pub(super) async fn launch(
        &self,
        launch: Launch,
        again: Option<Again>,
        subscriber: Option<mpsc::Sender<Report>>,
    ) -> Result<Launched, Box<NotLaunched>> {
        let Launch {
            tenant,
            key,
            agreed,
            seed,
            number,
            examples,
            recorder,
        } = launch;
        let spec = spec(agreed, examples.store().clone());
        let is_alone = spec.is_alone();
        let files = self.files(key);
        let order = RunOrder {
            spec,
            files: files.clone(),
            seed,
            again,
        };
        let (sender, reports) = mpsc::channel(RUN_EVENTS_MAX);
        if let Err(error) = self.trainer().start(number, order, sender).await {
            return Err(Box::new(NotLaunched {
                recorder,
                examples,
                error,
            }));
        }
        self.live().insert(key, (tenant, number));
        let run = Remembered::new(self.trainer().clone(), number);
        let settled = CancellationToken::new();
        let follower = Follower {
            runs: self.clone(),
            key,
            tenant,
            run: run.clone(),
            is_alone,
            recorder,
            reports,
            backlog: Backlog::default(),
            has_ended: false,
            subscriber,
            examples,
            files,
            steps_counted: 0,
            _settles: settled.clone().drop_guard(),
        };
        let following = follower.follow().instrument(Span::current());
        self.tracker().spawn(following);
        Ok(Launched {
            run,
            is_alone,
            settled,
        })
    }

    /// The trainer's number of a new run.
    pub(super) fn number(&self) -> JobId {
        JobId(self.0.next.fetch_add(1, Ordering::Relaxed))
    }

    /// The trainer's number of a tenant's run; none where it cannot be steered.
    pub(super) fn find(&self, tenant: TenantId, job: JobKey) -> Option<JobId> {
        let live = self.live();
        let (owner, run) = live.get(&job)?;
        (*owner == tenant).then_some(*run)
    }

    /// A run can no longer be steered.
    pub(super) fn forget(&self, job: JobKey) {
        self.live().remove(&job);
    }

    fn live(&self) -> MutexGuard<'_, HashMap<JobKey, (TenantId, JobId)>> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> &StateHandle {
        &self.0.surroundings.state
    }

    pub(super) fn trainer(&self) -> &TrainerHandle {
        &self.0.surroundings.trainer
    }

    pub(super) fn quotas(&self) -> &Arc<Quotas> {
        &self.0.surroundings.quotas
    }

    pub(super) fn all_files(&self) -> &JobsDirectory {
        &self.0.surroundings.files
    }

    pub(super) fn files(&self, job: JobKey) -> JobFiles {
        self.all_files().of(job)
    }

    pub(super) fn adapters(&self) -> &AdapterStore {
        &self.0.surroundings.adapters
    }

    pub(super) fn shutdown(&self) -> &CancellationToken {
        &self.0.surroundings.shutdown
    }

    pub(super) fn tracker(&self) -> &TaskTracker {
        &self.0.surroundings.tracker
    }
}

/// What a trainer needs to know of a job.
fn spec(agreed: Agreed, examples: Arc<ActivationStore>) -> JobSpec {
    JobSpec {
        cut: agreed.cut as usize,
        n_classes: agreed.n_classes as usize,
        adapter: agreed.adapter,
        settings: agreed.settings,
        labels: agreed.labels,
        bottom: agreed.bottom,
        examples,
    }
}

/// Writes the end of a job that did not come to it. What stays open for a failure here is ended when
/// the daemon starts again.
pub(super) fn log_unwritten(result: Result<(), StateError>) {
    if let Err(error) = result {
        tracing::error!(%error, "the end of a job could not be written");
    }
}

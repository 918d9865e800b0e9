//! What an earlier process has left: jobs that go on, jobs that cannot, files of jobs that have
//! ended.

use std::io;
use std::sync::Arc;

use tokio::task::spawn_blocking;
use tracing::Instrument;

use super::examples::Examples;
use super::recorder::RunRecorder;
use super::runs::{Launch, NotLaunched, Runs, log_unwritten};
use crate::hex::hex;
use crate::session::Offer;
use crate::state::{
    Agreed, FailureClass, JobEvent, JobState, OpenJob, RunSeed, StateError, StateStore, UnixMillis,
};
use crate::store::{ActivationStore, JobFiles, JobsDirectory, StoreError};
use crate::trainer::checkpoint::{Checkpoint, CheckpointError};
use crate::trainer::{Again, is_alone};

/// A job that an earlier process left open does not go on.
#[derive(Debug, thiserror::Error)]
enum NotTakenUp {
    /// Its labels or its bottom are at its client, who is not here.
    #[error("it needs its client in every step")]
    NeedsClient,
    /// An earlier version of the daemon created it.
    #[error("an earlier version of the daemon created it, and did not keep its seed")]
    NoSeed,
    /// The daemon serves another model now.
    #[error("its examples are for another model, or for a cut that is not offered any more")]
    OtherModel,
    /// Its examples.
    #[error("its examples are not there: {0}")]
    Examples(#[from] StoreError),
    /// There are not as many as there were.
    #[error("it had {expected} examples; {actual} are there")]
    OtherExamples {
        /// By its record.
        expected: u64,
        /// In the store.
        actual: u64,
    },
    /// Its checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// A job that goes on.
#[derive(Debug)]
struct Found {
    open: OpenJob,
    seed: RunSeed,
    store: ActivationStore,
    checkpoint: Option<Box<Checkpoint>>,
}

impl Runs {
    /// Takes up the jobs that an earlier process left open. When this returns, those that cannot go
    /// on have failed; the others begin when the trainer is ready for them.
    ///
    /// # Errors
    ///
    /// When the state cannot be read or written.
    pub async fn take_up(&self, offer: &Arc<Offer>) -> Result<(), StateError> {
        let (offer, files) = (offer.clone(), self.all_files().clone());
        let found = self
            .state()
            .call(move |store| {
                let mut found = Vec::new();
                for open in store.open_jobs()? {
                    let (key, files) = (open.record.key, files.of(open.record.key));
                    match find(open, &files, &offer) {
                        Ok(job) => found.push(job),
                        Err(reason) => {
                            tracing::warn!(job = %key, %reason, "a job does not go on");
                            let failed = [JobEvent::Failed(FailureClass::Interrupted)];
                            store.append(key, &failed, UnixMillis::now())?;
                        }
                    }
                }
                sweep(store, &files)?;
                Ok(found)
            })
            .await?;
        for job in found {
            let key = job.open.record.key;
            let span = tracing::info_span!(parent: None, "job", %key);
            let runs = self.clone();
            let going_on = async move { runs.go_on(job).await };
            self.tracker().spawn(going_on.instrument(span));
        }
        Ok(())
    }

    async fn go_on(&self, found: Found) {
        let Found {
            open,
            seed,
            store,
            checkpoint,
        } = found;
        let (tenant, key) = (open.tenant, open.record.key);
        let share = self.quotas().find_bytes(tenant, open.record.examples.bytes);
        let examples = Examples::of_job(store, self.files(key), share);
        let stands = open.record.state;
        let launch = Launch {
            tenant,
            key,
            agreed: open.record.agreed,
            seed,
            number: self.number(),
            examples,
            recorder: RunRecorder::resume(self.state().clone(), key, stands),
        };
        let step = checkpoint.as_ref().map_or(0, |one| one.state().step);
        let again = Again {
            checkpoint,
            is_held: stands == JobState::Paused,
        };
        match self.launch(launch, Some(again), None).await {
            Ok(_) => tracing::info!(step, "a job goes on"),
            Err(failed) => {
                let NotLaunched {
                    recorder,
                    examples,
                    error: reason,
                } = *failed;
                tracing::warn!(%reason, "a job does not go on");
                log_unwritten(recorder.fail(FailureClass::Interrupted).await);
                let files = self.files(key);
                let removed = spawn_blocking(move || files.remove_checkpoint()).await;
                log_left(removed.map_err(io::Error::other).flatten());
                examples.let_go().await;
            }
        }
    }
}

/// Looks for everything that a job needs to go on. Blocks.
fn find(open: OpenJob, files: &JobFiles, offer: &Offer) -> Result<Found, NotTakenUp> {
    let record = &open.record;
    if !is_alone(record.agreed.labels, record.agreed.bottom) {
        return Err(NotTakenUp::NeedsClient);
    }
    let seed = open.seed.ok_or(NotTakenUp::NoSeed)?;
    let store = files.open_examples()?;
    if !is_offered(&record.agreed, offer) || store.d_model() != offer.d_model as usize {
        return Err(NotTakenUp::OtherModel);
    }
    let counts = record.examples;
    let expected = u64::from(counts.train) + u64::from(counts.validation);
    let actual = store.len() as u64;
    if actual != expected {
        return Err(NotTakenUp::OtherExamples { expected, actual });
    }
    let checkpoint =
        match Checkpoint::load_sealed(&files.checkpoint(), files.sealing(), files.owner()) {
            Ok(checkpoint) => Some(Box::new(checkpoint)),
            // None was written yet: it begins anew, as the same run.
            Err(CheckpointError::Io { source }) if source.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
    Ok(Found {
        open,
        seed,
        store,
        checkpoint,
    })
}

/// Whether the daemon continues what the client's bottom has computed.
fn is_offered(agreed: &Agreed, offer: &Offer) -> bool {
    let mut cuts = offer.cuts.iter().filter(|cut| cut.cut == agreed.cut);
    cuts.any(|cut| {
        let mut bottoms = cut.bottom_sha256.iter();
        bottoms.any(|sha256| hex(sha256) == agreed.bottom_sha256)
    })
}

/// Removes what nobody needs: files of jobs that are not in the state, and of those that have ended.
/// Blocks.
fn sweep(store: &dyn StateStore, files: &JobsDirectory) -> Result<(), StateError> {
    let found = match files.found() {
        Ok(found) => found,
        Err(error) => {
            log_left::<()>(Err(error));
            return Ok(());
        }
    };
    for (key, files) in found {
        let state = key.map(|key| store.job_state(key)).transpose()?.flatten();
        if state.is_none_or(JobState::has_ended) {
            log_left(files.remove());
        }
    }
    Ok(())
}

/// Files that cannot be removed take room and do no harm: the next start tries again.
fn log_left<T>(removed: io::Result<T>) {
    if let Err(error) = removed {
        tracing::error!(%error, "files of a job that has ended could not be removed");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use shared::protocol::limits::Limits;
    use shared::protocol::message::{ExampleHeader, LabelPlace, Split};
    use shared::protocol::tensor::{ActivationDtype, TensorDescriptor};
    use tempfile::TempDir;

    use super::*;
    use crate::session::CutOffer;
    use crate::state::sqlite::test_support::{LOCAL, new_job};
    use crate::state::{ExampleCounts, JobRecord};
    use crate::store::DataDirectory;

    /// Of a bottom for cut 1 whose sha256 is 32 zeros.
    fn offer(d_model: u32, bottom: [u8; 32]) -> Offer {
        Offer {
            model_id: "tiny".to_owned(),
            d_model,
            cuts: vec![CutOffer {
                cut: 1,
                bottom_sha256: vec![bottom],
            }],
            limits: Limits::default(),
            device: "cpu".to_owned(),
            trains_dense: false,
        }
    }

    /// A job of so many training examples that was killed before its first checkpoint.
    fn open(examples: u32) -> OpenJob {
        let new = new_job(1);
        let agreed = Agreed {
            labels: LabelPlace::Server,
            ..new.agreed
        };
        OpenJob {
            tenant: LOCAL,
            record: JobRecord {
                key: new.key,
                state: JobState::Running,
                created: UnixMillis(1),
                started: Some(UnixMillis(2)),
                ended: None,
                agreed,
                examples: ExampleCounts {
                    train: examples,
                    ..ExampleCounts::default()
                },
                failure: None,
            },
            seed: Some(new.seed),
        }
    }

    /// The files of that job, with one example of one row of width 2.
    fn files() -> (TempDir, JobFiles) {
        let root = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(root.path()).unwrap();
        let store = data.new_session(2).unwrap();
        let one = ExampleHeader {
            example_id: 1,
            split: Split::Train,
            label: Some(0),
            seq_length: 1,
        };
        let tensor = TensorDescriptor {
            dtype: ActivationDtype::F32,
            rows: 1,
            columns: 2,
        };
        store.append(&[one], tensor, &[0; 8]).unwrap();
        let files = data.jobs().of(new_job(1).key);
        files.create().unwrap();
        store.keep(&files.examples()).unwrap();
        (root, files)
    }

    #[test]
    fn a_job_without_a_checkpoint_begins_anew_as_the_same_run() {
        let (_root, files) = files();
        let found = find(open(1), &files, &offer(2, [0; 32])).unwrap();
        assert!(found.checkpoint.is_none());
        assert_eq!((found.seed, found.store.len()), (new_job(1).seed, 1));
    }

    /// Breaks when a job goes on as another, or without what it needs.
    #[test]
    fn what_is_missing_or_another_is_told_apart() {
        let (_root, files) = files();
        let here = offer(2, [0; 32]);
        let why = |open: OpenJob, offer: &Offer| find(open, &files, offer).unwrap_err();
        let mut elsewhere = open(1);
        elsewhere.record.agreed.labels = LabelPlace::Client;
        assert!(matches!(why(elsewhere, &here), NotTakenUp::NeedsClient));
        let seedless = OpenJob {
            seed: None,
            ..open(1)
        };
        assert!(matches!(why(seedless, &here), NotTakenUp::NoSeed));
        for other in [offer(2, [1; 32]), offer(3, [0; 32])] {
            assert!(matches!(why(open(1), &other), NotTakenUp::OtherModel));
        }
        let mut other_cut = open(1);
        other_cut.record.agreed.cut = 2;
        assert!(matches!(why(other_cut, &here), NotTakenUp::OtherModel));
        let fewer = why(open(2), &here);
        let (expected, actual) = (2, 1);
        assert!(
            matches!(fewer, NotTakenUp::OtherExamples { expected: e, actual: a }
                if (e, a) == (expected, actual))
        );
        std::fs::write(files.checkpoint(), b"no checkpoint").unwrap();
        assert!(matches!(why(open(1), &here), NotTakenUp::Checkpoint(_)));
        files.remove().unwrap();
        assert!(matches!(why(open(1), &here), NotTakenUp::Examples(_)));
    }
}

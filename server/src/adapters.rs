//! Adapters that are kept: their files below the data directory, what is said of them in the state.
//!
//! An adapter's directory is named by its key, never by what a person calls it, and is entered into
//! the state when its files are on disk: what is in the state has its files. A directory that the
//! state does not know is what an interruption has left, and is removed at start.
//!
//! Only whole adapters are kept: where labels or a trained bottom are at the client, a part is too.

mod error;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use rand::rngs::SysRng;
use serde_json::{Value, json};
use shared::adapter::archive;
use shared::adapter::peft::{CONFIG_FILE, PeftFiles, TENSORS_FILE};
use shared::protocol::limits::Limits;
use tokio::task::spawn_blocking;

use crate::quota::QuotaError;
use crate::session::Offer;
use crate::state::{
    AdapterChange, AdapterFit, AdapterKey, AdapterName, AdapterRecord, JobKey, StateError,
    StateHandle, StateStore, TenantId, UnixMillis,
};
use crate::store::{AdaptersDirectory, RemovedAdapterFiles};
use crate::trainer::{JobId, KeptAdapter, TrainerHandle};

pub use error::AdaptersError;

/// The files of an adapter, as they may be asked for.
pub const FILES: [&str; 2] = [CONFIG_FILE, TENSORS_FILE];

/// What went with an adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct RemovedAdapter {
    /// What it was.
    pub record: AdapterRecord,
    /// What it had on disk.
    pub files: RemovedAdapterFiles,
}

/// Keeps adapters. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AdapterStore {
    state: StateHandle,
    trainer: TrainerHandle,
    offer: Arc<Offer>,
    files: AdaptersDirectory,
    bytes_max: u64,
}

/// An adapter on its way into the store.
#[derive(Debug)]
struct NewAdapter {
    tenant: TenantId,
    job: Option<JobKey>,
    /// The first that is free.
    names: Vec<AdapterName>,
    fit: AdapterFit,
    metrics: Value,
    files: PeftFiles,
}

impl AdapterStore {
    /// Opens the store and removes what an interruption has left. Blocks.
    ///
    /// A tenant may keep `bytes_max` bytes.
    ///
    /// # Errors
    ///
    /// When the state or the directory cannot be read.
    pub fn open(
        files: AdaptersDirectory,
        state: StateHandle,
        trainer: TrainerHandle,
        offer: Arc<Offer>,
        bytes_max: u64,
    ) -> Result<Self, AdaptersError> {
        let known: HashSet<AdapterKey> = state.blocking().adapter_keys()?.into_iter().collect();
        for (key, found) in files.found()? {
            if !key.is_some_and(|key| known.contains(&key)) {
                let path = found.path().display();
                tracing::warn!(%path, "removing what belongs to no adapter");
                found.remove()?;
            }
        }
        Ok(Self {
            state,
            trainer,
            offer,
            files,
            bytes_max,
        })
    }

    /// Keeps the best adapter of a run that has ended, under its job: `trained` is the run's number
    /// at the trainer. Kept once, however often it is asked; none where a part of it is at the
    /// client.
    ///
    /// The job's validations must be written: the best of them is what is said of the adapter.
    ///
    /// # Errors
    ///
    /// `Quota`; when the trainer, the state or the file system fails.
    pub async fn keep(
        &self,
        job: JobKey,
        tenant: TenantId,
        trained: JobId,
    ) -> Result<Option<AdapterKey>, AdaptersError> {
        let Some(files) = self.trainer.files(trained).await? else {
            return Ok(None);
        };
        let store = self.clone();
        let model_id = self.offer.model_id.clone();
        blocking(move || {
            let state = store.state.blocking();
            if let Some(kept) = state.adapter_of_job(tenant, job)? {
                return Ok(Some(kept.key));
            }
            let record = state.job(tenant, job)?.ok_or(StateError::UnknownJob)?;
            let adapter = NewAdapter {
                tenant,
                job: Some(job),
                names: vec![AdapterName::of_job(job)],
                fit: AdapterFit {
                    model_id,
                    cut: record.agreed.cut,
                    n_classes: record.agreed.n_classes,
                },
                metrics: metrics(state.best_validation(job)?.as_ref()),
                files,
            };
            store.enter(adapter).map(|kept| Some(kept.key))
        })
        .await
    }

    /// Keeps an adapter that a tenant brings as an archive, for a cut; without a name it gets one.
    ///
    /// # Errors
    ///
    /// `Archive`, `NotAnAdapter`, `UnknownCut`, `Classes` for what does not fit; `NameTaken`;
    /// `Quota`; when the trainer, the state or the file system fails.
    pub async fn import(
        &self,
        tenant: TenantId,
        name: Option<AdapterName>,
        cut: u32,
        bytes: &[u8],
    ) -> Result<AdapterRecord, AdaptersError> {
        if !self.offer.cuts.iter().any(|offered| offered.cut == cut) {
            return Err(AdaptersError::UnknownCut { actual: cut });
        }
        let files = archive::read(bytes)?;
        let inspected = self.trainer.inspect(files, cut as usize).await?;
        let fit = AdapterFit {
            model_id: self.offer.model_id.clone(),
            cut,
            n_classes: n_classes(inspected.n_classes, &self.offer.limits)?,
        };
        let store = self.clone();
        blocking(move || {
            store.enter(NewAdapter {
                tenant,
                job: None,
                names: name.into_iter().collect(),
                fit,
                metrics: json!({}),
                files: inspected.files,
            })
        })
        .await
    }

    /// Puts an adapter's files on disk, then enters it into the state. Blocks.
    fn enter(&self, adapter: NewAdapter) -> Result<AdapterRecord, AdaptersError> {
        let bytes = adapter.files.bytes();
        let state = self.state.blocking();
        if state.adapter_bytes(adapter.tenant)?.saturating_add(bytes) > self.bytes_max {
            let max = self.bytes_max;
            return Err(QuotaError::AdapterBytes { max }.into());
        }
        let key = AdapterKey::draw(&mut SysRng).map_err(io::Error::other)?;
        let entered = self
            .files
            .of(key)
            .write(&adapter.files)
            .map_err(AdaptersError::from)
            .and_then(|()| named(state, key, adapter, bytes));
        if entered.is_err() {
            self.remove_files(&[key]);
        }
        entered
    }

    /// A tenant's adapter for a session of that fit; its default where none is named.
    ///
    /// # Errors
    ///
    /// `Unknown`, `OtherModel`, `Misfit`; when the state fails.
    pub async fn find(
        &self,
        tenant: TenantId,
        key: Option<AdapterKey>,
        fit: AdapterFit,
    ) -> Result<KeptAdapter, AdaptersError> {
        let asked = fit.clone();
        let found = self.state.call(move |store| match key {
            Some(key) => store.adapter(tenant, key),
            None => store.default_adapter(tenant, &asked.model_id, asked.cut),
        });
        let found = found.await?.ok_or(AdaptersError::Unknown)?;
        check_fit(&found.fit, &fit)?;
        Ok(KeptAdapter {
            key: found.key,
            files: self.files.of(found.key),
            cut: fit.cut as usize,
            n_classes: fit.n_classes as usize,
        })
    }

    /// A tenant's adapter as the state has it.
    ///
    /// # Errors
    ///
    /// `Unknown`; when the state fails.
    pub async fn record(
        &self,
        tenant: TenantId,
        key: AdapterKey,
    ) -> Result<AdapterRecord, AdaptersError> {
        let found = self.state.call(move |store| store.adapter(tenant, key));
        found.await?.ok_or(AdaptersError::Unknown)
    }

    /// Reads a file of a tenant's adapter; `name` is held against [`FILES`].
    ///
    /// # Errors
    ///
    /// `Unknown`, for a file of another name too, and where it is gone; when the state fails, or the
    /// file cannot be read or opened.
    pub async fn file(
        &self,
        tenant: TenantId,
        key: AdapterKey,
        name: &str,
    ) -> Result<Vec<u8>, AdaptersError> {
        self.record(tenant, key).await?;
        let name = FILES.into_iter().find(|known| *known == name);
        let name = name.ok_or(AdaptersError::Unknown)?;
        let files = self.files.of(key);
        blocking(move || match files.read_file(name) {
            // Deleted since it was found.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(AdaptersError::Unknown),
            read => Ok(read?),
        })
        .await
    }

    /// Renames a tenant's adapter, or makes it the default or an ordinary one.
    ///
    /// # Errors
    ///
    /// `Unknown`, `NameTaken`; when the state fails.
    pub async fn change(
        &self,
        tenant: TenantId,
        key: AdapterKey,
        change: AdapterChange,
    ) -> Result<AdapterRecord, AdaptersError> {
        let changed = self
            .state
            .call(move |store| store.change_adapter(tenant, key, &change));
        changed.await?.ok_or(AdaptersError::Unknown)
    }

    /// Removes a tenant's adapter: from the state, from memory, from the disk.
    ///
    /// # Errors
    ///
    /// `Unknown`; when the state fails.
    pub async fn delete(
        &self,
        tenant: TenantId,
        key: AdapterKey,
    ) -> Result<RemovedAdapter, AdaptersError> {
        let removed = self
            .state
            .call(move |store| store.delete_adapter(tenant, key));
        let record = removed.await?.ok_or(AdaptersError::Unknown)?;
        let files = self.discard(vec![key]).await?;
        Ok(RemovedAdapter { record, files })
    }

    /// Removes the files of adapters that are no longer in the state, and says what went.
    ///
    /// # Errors
    ///
    /// When the thread failed that was to do it; what is left goes at the next start.
    pub async fn discard(
        &self,
        keys: Vec<AdapterKey>,
    ) -> Result<RemovedAdapterFiles, AdaptersError> {
        for key in &keys {
            self.trainer.forget_adapter(*key);
        }
        let store = self.clone();
        blocking(move || Ok(store.remove_files(&keys))).await
    }

    /// Removes directories, and says what was in them. What cannot be removed is logged and goes at
    /// the next start.
    fn remove_files(&self, keys: &[AdapterKey]) -> RemovedAdapterFiles {
        let mut all = RemovedAdapterFiles::default();
        for key in keys {
            match self.files.of(*key).remove() {
                Ok(removed) => {
                    all.files += removed.files;
                    all.bytes += removed.bytes;
                }
                Err(error) => tracing::error!(%error, "an adapter's files could not be removed"),
            }
        }
        all
    }
}

/// Enters an adapter under the first of its names that is free, in the end under its key's.
fn named(
    state: &dyn StateStore,
    key: AdapterKey,
    adapter: NewAdapter,
    bytes: u64,
) -> Result<AdapterRecord, AdaptersError> {
    // Who chose a name gets it or hears that it is taken.
    let is_chosen = adapter.job.is_none() && !adapter.names.is_empty();
    let own = (!is_chosen).then(|| AdapterName::of_key(key));
    for name in adapter.names.into_iter().chain(own) {
        let record = AdapterRecord {
            key,
            job: adapter.job,
            tenant: adapter.tenant,
            name,
            fit: adapter.fit.clone(),
            is_default: false,
            created: UnixMillis::now(),
            metrics: adapter.metrics.clone(),
            bytes,
        };
        match state.add_adapter(&record).map_err(AdaptersError::from) {
            Ok(()) => return Ok(record),
            Err(AdaptersError::NameTaken) => {}
            Err(error) => return Err(error),
        }
    }
    Err(AdaptersError::NameTaken)
}

/// What is said of an adapter: a validation without its matrix, which grows with the square of the
/// classes.
fn metrics(best: Option<&Value>) -> Value {
    match best {
        Some(best) => json!({
            "step": best["step"],
            "loss": best["loss"],
            "accuracy": best["accuracy"],
            "macro_f1": best["macro_f1"],
        }),
        None => json!({}),
    }
}

fn n_classes(actual: usize, limits: &Limits) -> Result<u32, AdaptersError> {
    let max = limits.n_classes_max;
    let fits = u32::try_from(actual).ok().filter(|n| (2..=max).contains(n));
    fits.ok_or(AdaptersError::Classes { actual, max })
}

fn check_fit(adapter: &AdapterFit, session: &AdapterFit) -> Result<(), AdaptersError> {
    if adapter.model_id != session.model_id {
        return Err(AdaptersError::OtherModel);
    }
    for (name, expected, actual) in [
        ("cut", adapter.cut, session.cut),
        ("n_classes", adapter.n_classes, session.n_classes),
    ] {
        if expected != actual {
            return Err(AdaptersError::Misfit {
                name,
                expected,
                actual,
            });
        }
    }
    Ok(())
}

/// Does what blocks where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AdaptersError> + Send + 'static,
) -> Result<T, AdaptersError> {
    spawn_blocking(work)
        .await
        .map_err(|_| AdaptersError::State(StateError::Gone))?
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn fit(model_id: &str, cut: u32, n_classes: u32) -> AdapterFit {
        AdapterFit {
            model_id: model_id.to_owned(),
            cut,
            n_classes,
        }
    }

    #[test]
    fn an_adapter_fits_what_it_was_made_for() {
        let adapter = fit("m", 1, 2);
        check_fit(&adapter, &fit("m", 1, 2)).unwrap();
        let refused = |session| check_fit(&adapter, &session).unwrap_err().to_string();
        assert!(refused(fit("other", 1, 2)).contains("another model"));
        let said = refused(fit("m", 0, 2));
        assert_eq!(said, "cut of the adapter is 1; this session has 0");
        let said = refused(fit("m", 1, 3));
        assert_eq!(said, "n_classes of the adapter is 2; this session has 3");
    }

    #[test]
    fn of_a_validation_the_matrix_is_left_out() {
        let best = json!({ "step": 3, "loss": 0.5, "accuracy": 0.75, "macro_f1": 0.7,
            "confusion": [1, 2], "best": true });
        let expected = json!({ "step": 3, "loss": 0.5, "accuracy": 0.75, "macro_f1": 0.7 });
        assert_eq!(metrics(Some(&best)), expected);
        assert_eq!(metrics(None), json!({}));
    }

    #[test]
    fn classes_are_those_that_a_session_may_have() {
        let limits = Limits::default();
        assert_eq!(n_classes(2, &limits).unwrap(), 2);
        for wrong in [0, 1, 1001, usize::MAX] {
            assert!(n_classes(wrong, &limits).is_err());
        }
    }
}

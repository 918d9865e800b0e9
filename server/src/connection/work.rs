//! What one session has at work outside its state machine: its store, its run, its predictions.
//!
//! A run is a job of its own, to which the session is attached: `jobs::runs`. File work is done on
//! blocking threads. Nothing here decides what is legal.

use std::io;
use std::sync::Arc;

use axum::body::Bytes;
use shared::protocol::message::{ClientMessage, Predict, Upload};
use shared::protocol::tensor::TensorError;
use tokio::runtime::Handle;
use tokio::task::{JoinSet, spawn_blocking};

use crate::auth::{Principal, Scope};
use crate::error::Fault;
use crate::hex::hex;
use crate::jobs::attached::Report;
use crate::jobs::{Attached, Examples, NewRun};
use crate::quota::{SessionShare, StoreShare};
use crate::routes::State;
use crate::session::Run;
use crate::state::{AdapterFit, AdapterKey, Agreed};
use crate::store::ActivationStore;
use crate::trainer::{ActivationBatch, Answer, JobId, KeptAdapter, Predicted, TrainerError};

/// Something that was at work has come to a result.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The run reports.
    Report(Report),
    /// A prediction is there, or failed.
    Predicted {
        sequence: u64,
        request_id: u32,
        answer: Result<Predicted, Fault>,
    },
    /// A prediction panicked, and nobody can say which; or the session did not keep up with its run.
    Lost,
}

/// What one session has at work.
#[derive(Debug)]
pub(super) struct Work {
    state: Arc<State>,
    principal: Principal,
    _share: SessionShare,
    examples: Option<Arc<Examples>>,
    /// The latest, which goes on or has ended.
    run: Option<Attached>,
    /// The kept adapter that predicts, in place of a run's.
    kept: Option<KeptAdapter>,
    predictions: JoinSet<Outcome>,
}

impl Work {
    pub(super) fn new(state: Arc<State>, principal: Principal, share: SessionShare) -> Self {
        Self {
            state,
            principal,
            _share: share,
            examples: None,
            run: None,
            kept: None,
            predictions: JoinSet::new(),
        }
    }

    /// Waits for the next result; for ever, if nothing is at work. Nothing is lost when this is
    /// dropped.
    pub(super) async fn next(&mut self) -> Outcome {
        let Self {
            run, predictions, ..
        } = self;
        let report = async {
            match run {
                Some(run) => run.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            report = report => report.map_or(Outcome::Lost, Outcome::Report),
            Some(outcome) = predictions.join_next() => outcome.unwrap_or(Outcome::Lost),
        }
    }

    /// Puts an upload on disk and gives it back. The first one creates the store.
    pub(super) async fn store(&mut self, upload: Upload, payload: Bytes) -> Result<Upload, Fault> {
        let quotas = &self.state.quotas;
        let share = quotas.take_bytes(self.principal.tenant, payload.len() as u64)?;
        let state = self.state.clone();
        let examples = self.examples.clone();
        let done = spawn_blocking(move || {
            let examples = write(&state, examples, share, &upload, &payload)?;
            Ok((examples, upload))
        });
        let (examples, upload) = done
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(Fault::Store)?;
        self.examples = Some(examples);
        Ok(upload)
    }

    /// The trainer's number of the session's run.
    fn run(&self) -> Result<JobId, Fault> {
        self.run.as_ref().map(Attached::id).ok_or(Fault::RunFailed)
    }

    /// Begins a run, in place of an earlier one.
    pub(super) async fn start(&mut self, run: Run) -> Result<(), Fault> {
        let examples = self.examples.clone().ok_or(Fault::RunFailed)?;
        // The adapter of the earlier one answers no more; its room may be needed.
        self.run = None;
        let agreed = Agreed {
            cut: run.hello.cut,
            n_classes: run.hello.n_classes,
            adapter: run.hello.adapter,
            settings: run.settings,
            labels: run.hello.labels,
            bottom: run.hello.bottom,
            bottom_sha256: hex(&run.hello.bottom_sha256),
        };
        let new = NewRun {
            tenant: self.principal.tenant,
            agreed,
            counts: run.examples,
            examples,
        };
        self.run = Some(self.state.runs.begin(new).await?);
        self.kept = None;
        Ok(())
    }

    /// Gives the run what it waits for.
    pub(super) async fn answer(&self, message: ClientMessage, payload: Bytes) -> Result<(), Fault> {
        let job = self.run()?;
        let answer = spawn_blocking(move || answer(message, &payload)).await;
        // The session has held this payload against its descriptor.
        let answer = answer
            .map_err(|_| Fault::RunFailed)?
            .map_err(|_| Fault::RunFailed)?
            .ok_or(Fault::RunFailed)?;
        steered(self.state.app.trainer.answer(job, answer).await)
    }

    pub(super) async fn pause(&self) -> Result<(), Fault> {
        let job = self.run()?;
        steered(self.state.app.trainer.pause(job).await)
    }

    pub(super) async fn resume(&self) -> Result<(), Fault> {
        let job = self.run()?;
        steered(self.state.app.trainer.resume(job).await)
    }

    pub(super) async fn cancel(&self) -> Result<(), Fault> {
        let job = self.run()?;
        steered(self.state.app.trainer.cancel(job).await)
    }

    /// Finds the tenant's adapter, which predicts from now on.
    pub(super) async fn use_adapter(
        &mut self,
        adapter: Option<AdapterKey>,
        fit: AdapterFit,
    ) -> Result<AdapterKey, Fault> {
        self.principal.require(Scope::Predict)?;
        let tenant = self.principal.tenant;
        let kept = self.state.adapters.find(tenant, adapter, fit).await?;
        Ok(self.kept.insert(kept).key)
    }

    /// Begins a prediction; `next` gives its answer.
    pub(super) fn predict(&mut self, sequence: u64, predict: Predict, payload: Bytes) {
        let allowed = self.principal.require(Scope::Predict);
        let trainer = self.state.app.trainer.clone();
        let (job, kept) = (self.run(), self.kept.clone());
        let request_id = predict.request_id;
        let answer = async move {
            allowed?;
            let decoded = spawn_blocking(move || predict.activations.decode(&payload)).await;
            // The session has held this payload against its descriptor.
            let values = decoded
                .map_err(|_| Fault::RunFailed)?
                .map_err(|_| Fault::RunFailed)?;
            let batch = ActivationBatch {
                values,
                seq_lengths: predict.seq_lengths,
            };
            match kept {
                Some(kept) => match trainer.predict_kept(kept, batch).await {
                    Err(TrainerError::UnknownAdapter) => Err(Fault::UnknownAdapter),
                    answer => Ok(answer?),
                },
                None => Ok(trainer.predict(job?, batch).await?),
            }
        };
        self.predictions.spawn(async move {
            Outcome::Predicted {
                sequence,
                request_id,
                answer: answer.await,
            }
        });
    }

    /// Leaves the run and the data. A run that needs its client ends with this; then, and where no
    /// run goes on, the data is gone when this returns.
    pub(super) async fn release(&mut self) {
        self.predictions.abort_all();
        if let Some(run) = self.run.take() {
            run.leave().await;
        }
        if let Some(examples) = self.examples.take() {
            examples.let_go().await;
        }
    }
}

/// Appends an upload to a session's examples, which the first one creates. The share counts where
/// they were written. Blocks.
fn write(
    state: &State,
    examples: Option<Arc<Examples>>,
    share: StoreShare,
    upload: &Upload,
    payload: &[u8],
) -> io::Result<Arc<Examples>> {
    let append = |store: &ActivationStore| {
        if upload.activations.rows == 0 {
            store.append_headers(&upload.examples)
        } else {
            store.append(&upload.examples, upload.activations, payload)
        }
    };
    match examples {
        Some(examples) => {
            append(examples.store())?;
            examples.add_share(share);
            Ok(examples)
        }
        None => {
            // Dropped with its directory where nothing is written.
            let store = state.app.data.new_session(state.offer.d_model as usize)?;
            append(&store)?;
            Ok(Examples::of_session(store, share))
        }
    }
}

/// A message and its payload as the trainer takes them; none for a message that answers nothing.
fn answer(message: ClientMessage, payload: &[u8]) -> Result<Option<Answer>, TensorError> {
    Ok(match message {
        ClientMessage::BatchActivations(answer) => Some(Answer::Activations {
            batch: ActivationBatch {
                values: answer.activations.decode(payload)?,
                seq_lengths: answer.seq_lengths,
            },
            dtype: answer.activations.dtype,
            gradient_square: answer.gradient_square,
        }),
        ClientMessage::PooledGradient(answer) => Some(Answer::Gradient {
            values: answer.gradient.decode(payload)?,
            gradient_square: answer.gradient_square,
        }),
        ClientMessage::Verdict(verdict) => Some(Answer::Verdict(verdict.judgement)),
        _ => None,
    })
}

/// A run that the trainer does not know any more has just ended, and its last report is on the way.
fn steered(result: Result<(), TrainerError>) -> Result<(), Fault> {
    match result {
        Ok(()) | Err(TrainerError::UnknownJob) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Drop for Work {
    /// For a session that panicked; `release` leaves nothing to do.
    fn drop(&mut self) {
        if let (Some(examples), Ok(runtime)) = (self.examples.take(), Handle::try_current()) {
            runtime.spawn(examples.let_go());
        }
    }
}

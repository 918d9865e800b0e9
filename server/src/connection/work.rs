//! What one session has at work outside its state machine: its store, its run, its predictions.
//!
//! File work is done on blocking threads. Nothing here decides what is legal.

use std::sync::Arc;

use axum::body::Bytes;
use shared::protocol::message::{ClientMessage, Predict, Upload};
use shared::protocol::tensor::TensorError;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};

use crate::error::Fault;
use crate::limits::RUN_EVENTS_MAX;
use crate::routes::State;
use crate::session::Run;
use crate::store::ActivationStore;
use crate::trainer::{
    ActivationBatch, Answer, JobId, JobSpec, Predicted, TrainerError, TrainerEvent,
};

/// Something that was at work has come to a result.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The run reports.
    Report(TrainerEvent),
    /// A prediction is there, or failed.
    Predicted {
        sequence: u64,
        request_id: u32,
        answer: Result<Predicted, Fault>,
    },
    /// A prediction panicked: nobody can say which.
    Lost,
}

/// What one session has at work.
#[derive(Debug)]
pub(super) struct Work {
    state: Arc<State>,
    store: Option<Arc<ActivationStore>>,
    job: Option<JobId>,
    reports: Option<mpsc::Receiver<TrainerEvent>>,
    predictions: JoinSet<Outcome>,
}

impl Work {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self {
            state,
            store: None,
            job: None,
            reports: None,
            predictions: JoinSet::new(),
        }
    }

    /// Waits for the next result; for ever, if nothing is at work. Nothing is lost when this is
    /// dropped.
    pub(super) async fn next(&mut self) -> Outcome {
        let Self {
            reports,
            predictions,
            ..
        } = self;
        let report = async {
            match reports {
                Some(reports) => reports.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = report => {
                // A trainer that lets go of a run without a word has failed.
                let event = event.unwrap_or(TrainerEvent::Failed);
                if matches!(event, TrainerEvent::Done(_) | TrainerEvent::Failed) {
                    self.reports = None;
                }
                Outcome::Report(event)
            }
            Some(outcome) = predictions.join_next() => outcome.unwrap_or(Outcome::Lost),
        }
    }

    /// Puts an upload on disk and gives it back. The first one creates the store.
    pub(super) async fn store(&mut self, upload: Upload, payload: Bytes) -> Result<Upload, Fault> {
        let state = self.state.clone();
        let store = self.store.clone();
        let done = spawn_blocking(move || {
            let store = match store {
                Some(store) => store,
                None => Arc::new(state.app.data.new_session(state.offer.d_model as usize)?),
            };
            if upload.activations.rows == 0 {
                store.append_headers(&upload.examples)?;
            } else {
                store.append(&upload.examples, upload.activations, &payload)?;
            }
            Ok((store, upload))
        });
        let (store, upload) = done
            .await
            .map_err(std::io::Error::other)
            .flatten()
            .map_err(Fault::Store)?;
        self.store = Some(store);
        Ok(upload)
    }

    /// Begins a run, in place of an earlier one.
    pub(super) async fn start(&mut self, run: Run) -> Result<(), Fault> {
        let examples = self.store.clone().ok_or(Fault::RunFailed)?;
        if let Some(earlier) = self.job.take() {
            self.state.app.trainer.forget(earlier);
        }
        let spec = JobSpec {
            cut: run.hello.cut as usize,
            n_classes: run.hello.n_classes as usize,
            adapter: run.hello.adapter,
            settings: run.settings,
            labels: run.hello.labels,
            bottom: run.hello.bottom,
            examples,
        };
        let job = self.state.new_job();
        let (sender, reports) = mpsc::channel(RUN_EVENTS_MAX);
        self.state.app.trainer.start(job, spec, sender).await?;
        self.job = Some(job);
        self.reports = Some(reports);
        Ok(())
    }

    /// Gives the run what it waits for.
    pub(super) async fn answer(&self, message: ClientMessage, payload: Bytes) -> Result<(), Fault> {
        let job = self.job.ok_or(Fault::RunFailed)?;
        let answer = spawn_blocking(move || answer(message, &payload)).await;
        // The session has held this payload against its descriptor.
        let answer = answer
            .map_err(|_| Fault::RunFailed)?
            .map_err(|_| Fault::RunFailed)?
            .ok_or(Fault::RunFailed)?;
        steered(self.state.app.trainer.answer(job, answer).await)
    }

    pub(super) async fn pause(&self) -> Result<(), Fault> {
        let job = self.job.ok_or(Fault::RunFailed)?;
        steered(self.state.app.trainer.pause(job).await)
    }

    pub(super) async fn resume(&self) -> Result<(), Fault> {
        let job = self.job.ok_or(Fault::RunFailed)?;
        steered(self.state.app.trainer.resume(job).await)
    }

    pub(super) async fn cancel(&self) -> Result<(), Fault> {
        let job = self.job.ok_or(Fault::RunFailed)?;
        steered(self.state.app.trainer.cancel(job).await)
    }

    /// Begins a prediction; `next` gives its answer.
    pub(super) fn predict(&mut self, sequence: u64, predict: Predict, payload: Bytes) {
        let trainer = self.state.app.trainer.clone();
        let job = self.job;
        let request_id = predict.request_id;
        let answer = async move {
            let job = job.ok_or(Fault::RunFailed)?;
            let decoded = spawn_blocking(move || predict.activations.decode(&payload)).await;
            // The session has held this payload against its descriptor.
            let values = decoded
                .map_err(|_| Fault::RunFailed)?
                .map_err(|_| Fault::RunFailed)?;
            let batch = ActivationBatch {
                values,
                seq_lengths: predict.seq_lengths,
            };
            Ok(trainer.predict(job, batch).await?)
        };
        self.predictions.spawn(async move {
            Outcome::Predicted {
                sequence,
                request_id,
                answer: answer.await,
            }
        });
    }

    /// Ends the run and deletes the data. What the trainer still reads for its last step is gone from
    /// the directory all the same.
    pub(super) async fn release(&mut self) {
        self.predictions.abort_all();
        // First: a trainer that waits for room in this queue is freed.
        self.reports = None;
        if let Some(job) = self.job.take() {
            self.state.app.trainer.forget(job);
        }
        if let Some(store) = self.store.take() {
            let removed = spawn_blocking(move || store.remove()).await;
            if let Err(error) = removed.map_err(std::io::Error::other).flatten() {
                tracing::error!(%error, "a session's data could not be removed");
            }
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
        if let Some(job) = self.job.take() {
            self.state.app.trainer.forget(job);
        }
    }
}

//! What one session has at work outside its state machine: its store, its run, its predictions.
//!
//! A run is a job in the state, and its reports go into the job's log.
//! File work is done on blocking threads. Nothing here decides what is legal.

use std::sync::Arc;

use axum::body::Bytes;
use rand::rngs::SysRng;
use shared::protocol::message::{ClientMessage, Predict, Upload};
use shared::protocol::tensor::TensorError;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};

use crate::auth::{Principal, Scope};
use crate::error::Fault;
use crate::jobs::control::LiveRun;
use crate::jobs::recorder::RunRecorder;
use crate::limits::RUN_EVENTS_MAX;
use crate::quota::SessionShare;
use crate::routes::State;
use crate::session::Run;
use crate::state::{
    AdapterFit, AdapterKey, Agreed, FailureClass, JobKey, JobState, NewJob, TenantId, UnixMillis,
};
use crate::store::ActivationStore;
use crate::trainer::{
    ActivationBatch, Answer, JobId, JobSpec, KeptAdapter, Predicted, TrainerError, TrainerEvent,
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
    principal: Principal,
    share: SessionShare,
    store: Option<Arc<ActivationStore>>,
    job: Option<JobId>,
    /// The kept adapter that predicts, in place of a run's.
    kept: Option<KeptAdapter>,
    /// The log of the run that goes on.
    recorder: Option<RunRecorder>,
    /// Lets others steer the run that goes on.
    live: Option<LiveRun>,
    /// The last step that was counted.
    steps_counted: u32,
    reports: Option<mpsc::Receiver<TrainerEvent>>,
    predictions: JoinSet<Outcome>,
}

impl Work {
    pub(super) fn new(state: Arc<State>, principal: Principal, share: SessionShare) -> Self {
        Self {
            state,
            principal,
            share,
            store: None,
            job: None,
            kept: None,
            recorder: None,
            live: None,
            steps_counted: 0,
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
        let bytes = payload.len() as u64;
        self.share.take_bytes(bytes)?;
        let written = self.write(upload, payload).await;
        if written.is_err() {
            self.share.give_back_bytes(bytes);
        }
        written
    }

    async fn write(&mut self, upload: Upload, payload: Bytes) -> Result<Upload, Fault> {
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
        let (key, recorder) = self.enter(&run).await?;
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
        if let Err(error) = self.state.app.trainer.start(job, spec, sender).await {
            recorder.fail(FailureClass::Trainer).await?;
            return Err(error.into());
        }
        self.job = Some(job);
        self.kept = None;
        self.reports = Some(reports);
        self.recorder = Some(recorder);
        self.live = Some(self.state.runs.enter(self.principal.tenant, key, job));
        self.steps_counted = 0;
        Ok(())
    }

    /// Holds a run against the tenant's quotas and enters it into the state.
    async fn enter(&self, run: &Run) -> Result<(JobKey, RunRecorder), Fault> {
        let tenant = self.principal.tenant;
        let state = self.state.app.state.clone();
        let queued = state
            .call(move |store| store.count_jobs(tenant, JobState::Queued))
            .await?;
        self.share.check_run(queued, UnixMillis::now())?;
        // Without randomness there is no name, and the system is as good as gone.
        let key = JobKey::draw(&mut SysRng).map_err(|_| Fault::RunFailed)?;
        let job = NewJob {
            key,
            tenant,
            agreed: Agreed {
                cut: run.hello.cut,
                n_classes: run.hello.n_classes,
                adapter: run.hello.adapter.clone(),
                settings: run.settings.clone(),
                labels: run.hello.labels,
                bottom: run.hello.bottom,
            },
            examples: run.examples,
        };
        Ok((key, RunRecorder::create(state, job).await?))
    }

    /// Writes a report of the run into its log and counts its steps.
    ///
    /// # Errors
    ///
    /// When the state cannot be written. Then the run is over: its history would have a hole.
    pub(super) async fn record(&mut self, event: &TrainerEvent) -> Result<(), Fault> {
        if let TrainerEvent::Step(report) = event {
            // Some reports are dropped where the session is slow; their steps count all the same.
            let steps = report.step.saturating_sub(self.steps_counted);
            self.share.count_steps(steps, UnixMillis::now());
            self.steps_counted = self.steps_counted.max(report.step);
        }
        let ends = matches!(event, TrainerEvent::Done(_) | TrainerEvent::Failed);
        if ends {
            self.live = None;
        }
        let Some(recorder) = &mut self.recorder else {
            return Ok(());
        };
        let recorded = match event {
            // Kept first: a job that is done has its adapter.
            TrainerEvent::Done(done) if done.steps > 0 => {
                let (tenant, job) = (self.principal.tenant, recorder.job());
                match recorder.flush().await {
                    Ok(()) => {
                        keep(&self.state, tenant, job, self.job).await;
                        recorder.record(event).await
                    }
                    failed => failed,
                }
            }
            _ => recorder.record(event).await,
        };
        if recorded.is_err() {
            self.abandon(FailureClass::State).await;
        } else if ends {
            self.recorder = None;
        }
        Ok(recorded?)
    }

    /// Gives the run up, whose client does not get an adapter.
    async fn abandon(&mut self, class: FailureClass) {
        // First: a trainer that waits for room in this queue is freed.
        self.reports = None;
        self.live = None;
        if let Some(job) = self.job.take() {
            self.state.app.trainer.forget(job);
        }
        if let Some(recorder) = self.recorder.take() {
            end(recorder, class).await;
        }
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
        let (job, kept) = (self.job, self.kept.clone());
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
                None => {
                    let job = job.ok_or(Fault::RunFailed)?;
                    Ok(trainer.predict(job, batch).await?)
                }
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

    /// Ends the run and deletes the data. What the trainer still reads for its last step is gone from
    /// the directory all the same.
    pub(super) async fn release(&mut self) {
        self.predictions.abort_all();
        let class = if self.state.shutdown.is_cancelled() {
            FailureClass::Interrupted
        } else {
            FailureClass::ClientLost
        };
        self.abandon(class).await;
        if let Some(store) = self.store.take() {
            let removed = spawn_blocking(move || store.remove()).await;
            if let Err(error) = removed.map_err(std::io::Error::other).flatten() {
                tracing::error!(%error, "a session's data could not be removed");
            }
        }
    }
}

/// Keeps what a run has trained. One that cannot be kept still predicts while its session lasts.
async fn keep(state: &State, tenant: TenantId, job: JobKey, trained: Option<JobId>) {
    let Some(trained) = trained else {
        return;
    };
    match state.adapters.keep(job, tenant, trained).await {
        Ok(Some(adapter)) => tracing::info!(%job, %adapter, "an adapter is kept"),
        Ok(None) => tracing::info!(%job, "a part of this adapter is at the client: not kept"),
        Err(error) => tracing::error!(%job, ?error, "an adapter could not be kept"),
    }
}

/// Ends a job that did not come to its end.
async fn end(recorder: RunRecorder, class: FailureClass) {
    // What stays open for a failure here is ended when the daemon starts again.
    if let Err(error) = recorder.fail(class).await {
        tracing::error!(%error, "the end of a job could not be written");
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
        if let (Some(recorder), Ok(runtime)) = (self.recorder.take(), Handle::try_current()) {
            // Without this it would be taken for running until the daemon starts again.
            runtime.spawn(end(recorder, FailureClass::Interrupted));
        }
    }
}

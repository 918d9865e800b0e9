//! What a client reports while it works, as the page and `--json` see it.

use serde::Serialize;
use shared::protocol::message::{DoneReason, StepReport, TrainDone, ValidationReport};

/// Which file or stage is being prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadingStage {
    /// What the server offers.
    Catalogue,
    /// WebGPU, or the CPU.
    Device,
    /// The bottom's weights.
    Bottom,
    /// The tokenizer.
    Tokenizer,
    /// The first pass over the model.
    Warmup,
}

/// What is being done with the examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgressStage {
    /// Privatized, run through the bottom and sent.
    Upload,
}

/// A report.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// Something is fetched or prepared.
    Loading {
        /// What.
        stage: LoadingStage,
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all; 0 when nothing is fetched.
        bytes_total: u64,
    },
    /// What computes.
    Device {
        /// `webgpu` or `cpu`.
        kind: &'static str,
        /// For people.
        name: String,
        /// Why it is not a GPU, where one was hoped for.
        notice: Option<String>,
    },
    /// Examples were released and stored.
    Progress {
        /// What is done with them.
        stage: ProgressStage,
        /// Examples so far.
        done: u32,
        /// Examples in all.
        total: u32,
        /// Bytes sent in this connection.
        bytes_sent: u64,
    },
    /// A reading of the file goes on.
    Reading {
        /// Parts so far.
        done: u32,
        /// Parts in all.
        total: u32,
    },
    /// The run has begun.
    TrainStarted {
        /// Optimizer steps in all.
        steps_total: u32,
    },
    /// One optimizer step is done.
    Step {
        /// From 1.
        step: u32,
        /// From 1.
        epoch: u32,
        /// Nats.
        loss: f32,
        /// Of this step.
        learning_rate: f32,
        /// Wall time at the server.
        step_millis: u32,
    },
    /// One validation is done.
    Validation {
        /// After this step.
        step: u32,
        /// Nats.
        loss: f32,
        /// 0 to 1.
        accuracy: f32,
        /// 0 to 1.
        macro_f1: f32,
        /// `confusion[truth * n_classes + answer]`
        confusion: Vec<u32>,
        /// Whether it is the best so far.
        best: bool,
    },
    /// The connection was lost; another one is tried.
    Reconnecting {
        /// From 1.
        attempt: u32,
        /// The last one.
        attempts_max: u32,
    },
    /// The session goes on in another connection.
    Reconnected,
    /// The run is held.
    Paused,
    /// The run goes on.
    Continued,
    /// The run is over.
    TrainDone {
        /// Steps that were taken.
        steps: u32,
        /// The step whose adapter was kept.
        best_step: u32,
        /// `Finished`, `StoppedEarly` or `Cancelled`.
        reason: &'static str,
    },
}

impl Event {
    /// A step that the server reports; the loss is its own or the client's, wherever labels are.
    pub fn step(report: StepReport, loss: f32) -> Self {
        let StepReport {
            step,
            epoch,
            learning_rate,
            step_millis,
            ..
        } = report;
        Self::Step {
            step,
            epoch,
            loss,
            learning_rate,
            step_millis,
        }
    }
}

impl From<ValidationReport> for Event {
    fn from(report: ValidationReport) -> Self {
        let ValidationReport {
            step,
            loss,
            accuracy,
            macro_f1,
            confusion,
            best,
        } = report;
        Self::Validation {
            step,
            loss,
            accuracy,
            macro_f1,
            confusion,
            best,
        }
    }
}

impl From<TrainDone> for Event {
    fn from(done: TrainDone) -> Self {
        let reason = match done.reason {
            DoneReason::Finished => "Finished",
            DoneReason::StoppedEarly => "StoppedEarly",
            DoneReason::Cancelled => "Cancelled",
        };
        Self::TrainDone {
            steps: done.steps,
            best_step: done.best_step,
            reason,
        }
    }
}

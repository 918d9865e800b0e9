//! Small steps of several runs in one pass: the frozen matrices are read once for all of them, which
//! is most of what a small step costs.

use std::time::Instant;

use super::{Job, Running, Worker};
use crate::trainer::JobId;
use crate::trainer::step::{TrainBatch, gradients_together};

/// Fewer rows than this are few. Each run's step costs an optimizer and small products of its own
/// that nothing saves; from here on they outweigh what reading the matrices once does.
const STEP_ROWS_FEW: usize = 512;
/// Rows that are taken together: a usual step of one run has as many (32 examples of 64), so that
/// memory and the time that a prediction waits stay as they are.
const ROWS_TOGETHER_MAX: usize = 2_048;

/// A run whose step was begun.
struct Begun {
    id: JobId,
    running: Box<Running>,
}

impl Worker {
    /// The runs whose next steps are taken in one pass: the first of these, and, where its step is
    /// small, others with the same cut and small steps.
    pub(super) fn taken_together(&self, order: &[JobId]) -> Vec<JobId> {
        let mut taken: Vec<JobId> = order.iter().take(1).copied().collect();
        let Some((cut, mut rows)) = taken.first().and_then(|first| self.small_step(*first)) else {
            return taken;
        };
        for id in order.iter().skip(1) {
            match self.small_step(*id) {
                Some((own_cut, own)) if own_cut == cut && rows + own <= ROWS_TOGETHER_MAX => {
                    rows += own;
                    taken.push(*id);
                }
                _ => {}
            }
        }
        taken
    }

    /// The cut of a run, and about how many rows its next step has, if they are few and the step
    /// needs nothing but its gradients.
    fn small_step(&self, id: JobId) -> Option<(usize, usize)> {
        match self.jobs.get(&id)? {
            Job::Running(running) => {
                let rows = running.run.rows_expected()?;
                (rows < STEP_ROWS_FEW).then_some((running.run.cut(), rows))
            }
            Job::Ended(_) => None,
        }
    }

    /// Takes one step of each of some runs with the same cut. One that fails is reported and leaves
    /// the others alone.
    pub(super) fn advance_together(&mut self, ids: &[JobId]) {
        let started = Instant::now();
        let (begun, batches) = self.begin_steps(ids);
        let Some(first) = begun.first() else {
            return;
        };
        let (top, d_model) = (first.running.run.top(), self.config.d_model);
        let gradients = gradients_together(top, d_model, &self.device, &batches);
        for (begun, gradients) in begun.into_iter().zip(gradients) {
            let Begun { id, mut running } = begun;
            let _entered = running.span.entered();
            let end = |(loss, gradients)| running.run.end_step(started, loss, gradients);
            let turn = gradients.and_then(end);
            self.close_turn(id, running, turn);
        }
    }

    fn begin_steps(&mut self, ids: &[JobId]) -> (Vec<Begun>, Vec<TrainBatch>) {
        let (mut begun, mut batches) = (Vec::new(), Vec::new());
        for id in ids {
            let Some(mut running) = self.take_running(*id) else {
                continue;
            };
            let _entered = running.span.entered();
            running.span.turn_begins();
            match running.run.begin_step() {
                Ok(batch) => {
                    batches.push(batch);
                    begun.push(Begun { id: *id, running });
                }
                Err(error) => self.close_turn(*id, running, Err(error)),
            }
        }
        (begun, batches)
    }
}

//! Whether the daemon can do its work: `/readyz` and what the trainer tells it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::telemetry::metrics::READY;

/// Where the daemon is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// The weights are loaded; the trainer's self-test goes on.
    Testing,
    /// A step of the trainer came out finite.
    Ready,
    /// The trainer's self-test failed, or its thread ended: device or weights are not what they
    /// should be.
    Failed,
    /// The daemon stops.
    Stopping,
}

impl Stage {
    /// What `/readyz` answers.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Testing => "the trainer's self-test goes on\n",
            Self::Ready => "ready\n",
            Self::Failed => "the trainer failed; the log says why\n",
            Self::Stopping => "stopping\n",
        }
    }
}

/// Shared by the trainer, which reaches `Ready` or `Failed`, and the daemon, which stops.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<AtomicU8>);

impl Default for Readiness {
    fn default() -> Self {
        READY.set(0.0);
        Self(Arc::new(AtomicU8::new(Stage::Testing as u8)))
    }
}

impl Readiness {
    /// Where the daemon is.
    pub fn stage(&self) -> Stage {
        let now = self.0.load(Ordering::Acquire);
        let stages = [Stage::Testing, Stage::Ready, Stage::Failed];
        let found = stages.into_iter().find(|stage| *stage as u8 == now);
        found.unwrap_or(Stage::Stopping)
    }

    /// Enters `Failed` when the returned value is dropped: held by the trainer's thread, so that a
    /// thread that ends in a panic is noticed from outside.
    #[must_use]
    pub fn fails_with_its_holder(&self) -> Holder {
        Holder(self.clone())
    }

    /// Enters the next stage; nothing comes after `Stopping`.
    pub fn enter(&self, stage: Stage) {
        let next = |now| (now != Stage::Stopping as u8).then_some(stage as u8);
        // Fails only for a daemon that stops already.
        if self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next)
            .is_ok()
        {
            READY.set(if stage == Stage::Ready { 1.0 } else { 0.0 });
        }
    }
}

/// Whoever must live for the daemon to be ready.
#[derive(Debug)]
pub struct Holder(Readiness);

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.enter(Stage::Failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks when a self-test that ends late makes a stopping daemon ready.
    #[test]
    fn nothing_comes_after_stopping() {
        let readiness = Readiness::default();
        assert_eq!(readiness.stage(), Stage::Testing);
        let trainer = readiness.clone();
        trainer.enter(Stage::Ready);
        assert_eq!(readiness.stage(), Stage::Ready);
        readiness.enter(Stage::Stopping);
        trainer.enter(Stage::Ready);
        assert_eq!(readiness.stage(), Stage::Stopping);
    }

    /// Breaks when a trainer that is gone still counts as ready.
    #[test]
    fn a_thread_that_panics_is_noticed() {
        let readiness = Readiness::default();
        let trainer = readiness.clone();
        let thread = std::thread::spawn(move || {
            let _holder = trainer.fails_with_its_holder();
            trainer.enter(Stage::Ready);
            panic!("as a lost device does");
        });
        assert!(thread.join().is_err());
        assert_eq!(readiness.stage(), Stage::Failed);
    }
}

//! A session between two connections: it waits for its client, and its run goes on.

use shared::protocol::phase::Phase;
use tokio::time::{Instant, sleep_until};

use super::Connection;
use super::registry::TakeOver;
use crate::telemetry::metrics::SESSIONS_PARKED;

impl Connection {
    /// Waits for a connection that goes on with the session. What the run reports meanwhile is
    /// recorded and kept for the client within the bounds of a slow one: step reports are dropped,
    /// and too much of the rest ends the session.
    ///
    /// # Errors
    ///
    /// Why the wait is over, when nobody has come or the session cannot go on.
    pub(super) async fn wait(&mut self) -> Result<TakeOver, &'static str> {
        let shutdown = self.state.shutdown.clone();
        let over = Instant::now() + self.state.app.timeouts.resume;
        let _counted = SESSIONS_PARKED.hold();
        tracing::info!("a session was lost and waits for its client");
        loop {
            let (deadline, reason) = self.patience(over);
            let Some(entered) = &mut self.entered else {
                return Err("it cannot be resumed");
            };
            let outcome = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Err("the server stops"),
                takeover = entered.taken_over() => return Ok(takeover),
                () = sleep_until(deadline) => return Err(reason),
                outcome = self.work.next() => outcome,
            };
            if self.take_outcome(outcome).await.is_some() {
                return Err("it cannot go on");
            }
        }
    }

    /// Until when the session waits, and what is over then. A run that has asked its client waits no
    /// longer for the answer than it would with a connection: it holds memory meanwhile.
    fn patience(&self, over: Instant) -> (Instant, &'static str) {
        let answer = self.asked + self.state.app.timeouts.answer;
        let is_asked = self.session.phase() == Phase::Training && self.session.awaits_answer();
        if is_asked && answer < over {
            (answer, "the run was not answered in time")
        } else {
            (over, "nobody came back")
        }
    }
}

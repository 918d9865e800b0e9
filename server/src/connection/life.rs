//! A session from its first message to its end: it is served in a connection, waits between two
//! while its run goes on, and goes on in the next one. One task does all of it.

use shared::protocol::message::ServerMessage;
use shared::protocol::phase::Phase;
use shared::protocol::refusal::{CLOSE_DONE, CLOSE_GOING_AWAY};
use shared::protocol::resume::UNCOUNTED;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument;

use super::line::{Came, Line};
use super::registry::TakeOver;
use super::writer::{Keep, Outgoing};
use super::{Connection, Ending};
use crate::error::Fault;
use crate::telemetry::metrics::{SESSIONS_PARKED, SESSIONS_RESUMED};

/// What the older of two connections is told.
const TAKEN_OVER: &str = "the session goes on in another connection";

impl Connection {
    /// Serves the session, from what comes first to its end, through one connection after the
    /// other.
    pub(super) async fn run(mut self, mut line: Line, first: Came) {
        let mut ended = self.take_message(first).await;
        self.enter();
        loop {
            let ending = match ended.take() {
                Some(ending) => ending,
                None => self.serve(&mut line).await,
            };
            let next = match ending {
                Ending::TakenOver(next) => {
                    let patience = self.state.app.timeouts.close;
                    let closed = line.close(CLOSE_GOING_AWAY, TAKEN_OVER, patience);
                    self.state.tracker.spawn(closed.in_current_span());
                    *next
                }
                ending @ (Ending::Lost | Ending::Left)
                    if self.entered.is_some() && self.session.can_be_resumed() =>
                {
                    self.leave(line, &ending);
                    match self.wait().await {
                        Ok(next) => next,
                        Err(reason) => {
                            self.entered = None;
                            self.work.release().await;
                            return tracing::info!(reason, "a session was lost for good");
                        }
                    }
                }
                ending => return self.end(line, ending).await,
            };
            line = next.line;
            ended = self.go_on(next.received);
        }
    }

    /// Leaves a connection whose session waits for another; one that was closed is answered beside
    /// that.
    fn leave(&self, mut line: Line, ending: &Ending) {
        if matches!(ending, Ending::Left) {
            let patience = self.state.app.timeouts.close;
            let answered = async move { line.writer.close(CLOSE_DONE, "", patience).await };
            self.state.tracker.spawn(answered.in_current_span());
        }
    }

    /// Lets the session be resumed from now on, if it has begun and the daemon allows it.
    fn enter(&mut self) {
        if self.session.can_be_resumed() && !self.state.app.timeouts.resume.is_zero() {
            self.entered = Some(self.state.resumable.enter(self.tenant, self.token));
        }
    }

    /// Goes on in another connection, whose client has processed this much.
    fn go_on(&mut self, received: u64) -> Option<Ending> {
        self.heard = Instant::now();
        self.used = self.heard;
        let answer = match self.outgoing.go_back(received) {
            Ok(()) => {
                SESSIONS_RESUMED.add(1);
                tracing::info!("a session goes on in another connection");
                ServerMessage::Resumed(self.session.resumed())
            }
            Err(error) => {
                // What waits is of no use to a client that cannot put it in its place.
                self.outgoing = Outgoing::new(Keep::Nothing);
                let refused = Fault::from(error).refuse(Some(UNCOUNTED)).closing();
                let code = refused.code.close_code();
                self.send(&ServerMessage::Refused(refused), &[]);
                return Some(Ending::Close(code, "it cannot go on there"));
            }
        };
        self.notify(&answer)
    }

    /// Waits for a connection that goes on with the session. The run's reports are taken meanwhile,
    /// so that the run does not go on without the session, and kept for the client within the bounds
    /// of a slow one: step reports are dropped, and too much of the rest ends the session.
    ///
    /// # Errors
    ///
    /// Why the wait is over, when nobody has come or the session cannot go on.
    async fn wait(&mut self) -> Result<TakeOver, &'static str> {
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
            if self.take_outcome(outcome).is_some() {
                return Err("it cannot go on");
            }
        }
    }

    /// Until when the session waits, and what is over then. A run that has asked its client waits
    /// no longer for the answer than it would with a connection: it holds memory meanwhile.
    fn patience(&self, over: Instant) -> (Instant, &'static str) {
        let answer = self.asked + self.state.app.timeouts.answer;
        let is_asked = self.session.phase() == Phase::Training && self.session.awaits_answer();
        if is_asked && answer < over {
            (answer, "the run was not answered in time")
        } else {
            (over, "nobody came back")
        }
    }

    /// Leaves run and data, then closes: who sees the close frame knows that the data is gone, if no
    /// run goes on with it.
    async fn end(mut self, mut line: Line, ending: Ending) {
        // First: nobody goes on with what is being left.
        self.entered = None;
        self.work.release().await;
        let patience = self.state.app.timeouts.close;
        match ending {
            Ending::Close(code, reason) => {
                let waiting = async {
                    while let Some(message) = self.outgoing.pop() {
                        line.writer.send(message, patience).await;
                    }
                };
                // In all, not for each: a client that does not read must not hold the daemon up.
                let _ = timeout(patience, waiting).await;
                line.close(code, reason, patience).await;
                tracing::info!(code, reason, "a session closed");
            }
            Ending::Closed | Ending::Left => {
                line.writer.close(CLOSE_DONE, "", patience).await;
                tracing::info!("a session was closed by its client");
            }
            Ending::Lost | Ending::TakenOver(_) => tracing::info!("a session was lost"),
            Ending::Unread => tracing::info!("a session was not read by its client"),
        }
    }
}

//! One WebSocket: bytes in, bytes out, timers, back-pressure. The only place that handles frames.
//!
//! The loop brings one message at a time to the session and carries its effects out before it reads
//! the next, so a client that sends faster than the disk writes is held back by TCP. It never waits
//! for a client that does not read: what it has to say goes into a bounded list, a writer with a
//! deadline empties that list, and while the client is behind, step reports are dropped and nothing
//! more is read from it. So the trainer's reports are always taken at once.
//!
//! When the connection is lost the session is over: its run is cancelled and its data removed. Jobs
//! that outlive their client are not supported yet.

mod work;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use rand::TryRng;
use rand::rngs::SysRng;
use shared::protocol::codec::{decode_client, encode_server};
use shared::protocol::limits::Limits;
use shared::protocol::message::{Refused, SUBPROTOCOL, ServerMessage};
use shared::protocol::phase::Phase;
use shared::protocol::refusal::{
    CLOSE_DONE, CLOSE_GOING_AWAY, CLOSE_INTERNAL, CLOSE_POLICY, CLOSE_RESTART, CLOSE_TOO_LARGE,
    CLOSE_TRY_LATER,
};
use tokio::sync::mpsc::Permit;
use tokio::time::{Instant, interval_at, sleep_until, timeout, timeout_at};

use crate::auth::Principal;
use crate::error::Fault;
use crate::quota::SessionShare;
use crate::routes::State;
use crate::session::{Effect, Session};
use crate::telemetry::metrics::{
    CLIENT_WAIT, FRAMES_RECEIVED, RECEIVED_BYTES, REFUSALS, SESSIONS_OPEN, SESSIONS_OPENED,
};
use crate::trainer::TrainerEvent;
use work::{Outcome, Work};
use writer::{Outgoing, Writer};

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// We close, with this code and this reason.
    Close(u16, &'static str),
    /// The other side closes; its close frame is to be answered.
    Closed,
    /// The other side is gone.
    Lost,
}

/// Sets what every WebSocket of the daemon has: its subprotocol, and no message above the limit.
pub fn bounded(upgrade: WebSocketUpgrade, limits: &Limits) -> WebSocketUpgrade {
    let frame_bytes_max = limits.frame_bytes_max as usize;
    upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(frame_bytes_max)
        .max_frame_size(frame_bytes_max)
}

/// Runs one session from the upgrade to the end.
pub async fn run(socket: WebSocket, state: Arc<State>, principal: Principal, share: SessionShare) {
    let mut token = [0; 16];
    if let Err(error) = SysRng.try_fill_bytes(&mut token) {
        tracing::error!(%error, "the system has no randomness; a session was not opened");
        return;
    }
    let (sink, mut incoming) = socket.split();
    let now = Instant::now();
    let mut connection = Connection {
        session: Session::new(state.offer.clone(), token),
        work: Work::new(state.clone(), principal, share),
        writer: Writer::spawn(sink, state.app.timeouts.write),
        outgoing: Outgoing::default(),
        sequence: 1,
        opened: now,
        heard: now,
        used: now,
        asked: now,
        state,
    };
    SESSIONS_OPENED.add(1);
    let _counted = SESSIONS_OPEN.hold();
    tracing::info!("a session opened");
    // Boxed: the loop's state is large, and every upgrade would carry it.
    let ending = Box::pin(connection.serve(&mut incoming)).await;
    connection.end(incoming, ending).await;
}

/// Tells a client that there is no room, and closes.
pub async fn turn_away(socket: WebSocket, state: &State) {
    let (sink, incoming) = socket.split();
    let timeouts = &state.app.timeouts;
    let writer = Writer::spawn(sink, timeouts.write);
    let sessions_max = state.app.sessions_max;
    let refused = Fault::SessionsTaken { sessions_max }.refuse(None);
    REFUSALS.count(refused.code);
    if let Ok(frame) = encode_server(1, &ServerMessage::Refused(refused), &[]) {
        writer
            .send(Message::Binary(frame.into()), timeouts.close)
            .await;
    }
    let reason = "no session is free";
    close(writer, incoming, CLOSE_TRY_LATER, reason, timeouts.close).await;
    tracing::info!("turned a session away: none is free");
}

struct Connection {
    state: Arc<State>,
    session: Session,
    work: Work,
    writer: Writer,
    outgoing: Outgoing,
    /// Of our next message.
    sequence: u64,
    opened: Instant,
    /// When any frame came last.
    heard: Instant,
    /// When a message of the session came last.
    used: Instant,
    /// When the run asked the client for something last, or went on with what it had asked.
    asked: Instant,
}

impl Connection {
    async fn serve(&mut self, incoming: &mut SplitStream<WebSocket>) -> Ending {
        let shutdown = self.state.shutdown.clone();
        let queue = self.writer.queue().clone();
        let period = self.state.app.timeouts.ping;
        let mut pings = interval_at(self.opened + period, period);
        loop {
            let (deadline, overdue) = self.deadline();
            let ending = tokio::select! {
                biased;
                () = shutdown.cancelled() => Some(self.stopped()),
                permit = queue.reserve(), if !self.outgoing.is_empty() => match permit {
                    Ok(permit) => self.unload(permit),
                    Err(_) => Some(Ending::Lost),
                },
                () = queue.closed() => Some(Ending::Lost),
                outcome = self.work.next() => self.take_outcome(outcome).await,
                () = sleep_until(deadline) => Some(overdue),
                _ = pings.tick() => {
                    // A full queue needs no ping: the client has enough to answer.
                    let _ = queue.try_send(Message::Ping(Bytes::new()));
                    None
                }
                message = incoming.next(), if !self.outgoing.is_behind() => {
                    self.heard = Instant::now();
                    self.take_message(message).await
                }
            };
            if let Some(ending) = ending {
                return ending;
            }
        }
    }

    /// How the connection ends when the daemon stops: a session that had not begun is told to try
    /// again, a running one that it was cut.
    fn stopped(&self) -> Ending {
        let code = match self.session.phase() {
            Phase::Handshake => CLOSE_TRY_LATER,
            _ => CLOSE_RESTART,
        };
        Ending::Close(code, "the server stops")
    }

    /// When the client has been too slow, and how the connection ends then.
    fn deadline(&self) -> (Instant, Ending) {
        let timeouts = &self.state.app.timeouts;
        let silent = (self.heard + timeouts.silence, Ending::Lost);
        let other = match self.session.phase() {
            Phase::Handshake => {
                let ending = Ending::Close(CLOSE_POLICY, "no Hello in time");
                (self.opened + timeouts.handshake, ending)
            }
            Phase::Training if self.session.awaits_answer() => {
                let ending = Ending::Close(CLOSE_GOING_AWAY, "the run was not answered in time");
                (self.asked + timeouts.answer, ending)
            }
            Phase::Training => return silent,
            Phase::Collecting | Phase::Held | Phase::Trained => {
                let ending = Ending::Close(CLOSE_GOING_AWAY, "the session was not used");
                (self.used + timeouts.idle, ending)
            }
        };
        if other.0 < silent.0 { other } else { silent }
    }

    async fn take_message(
        &mut self,
        message: Option<Result<Message, axum::Error>>,
    ) -> Option<Ending> {
        let frame = match message {
            Some(Ok(Message::Binary(frame))) => frame,
            Some(Ok(Message::Text(_))) => return self.unreadable(Fault::Text.refuse(None)),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return None,
            Some(Ok(Message::Close(_))) => return Some(Ending::Closed),
            None => return Some(Ending::Lost),
            Some(Err(error)) if is_too_large(&error) => {
                let expected = self.state.offer.limits.frame_bytes_max;
                self.unreadable(Fault::FrameTooLarge { expected }.refuse(None));
                return Some(Ending::Close(CLOSE_TOO_LARGE, "the frame is too large"));
            }
            Some(Err(_)) => return Some(Ending::Lost),
        };
        self.used = self.heard;
        FRAMES_RECEIVED.add(1);
        RECEIVED_BYTES.add(frame.len() as u64);
        match decode_client(&frame, &self.state.offer.limits) {
            Ok(message) => {
                let effects = self.session.handle(message);
                self.perform(effects, &frame).await
            }
            Err(error) => self.unreadable(Refused::from_codec(&frame, &error)),
        }
    }

    fn unreadable(&mut self, refused: Refused) -> Option<Ending> {
        let effects = self.session.unreadable(refused);
        self.reply(effects)
    }

    async fn take_outcome(&mut self, outcome: Outcome) -> Option<Ending> {
        let effects = match outcome {
            Outcome::Report(event) => {
                if matches!(event, TrainerEvent::Ask(_) | TrainerEvent::Continued) {
                    self.asked = Instant::now();
                }
                match self.work.record(&event).await {
                    Ok(()) => self.session.report(event),
                    Err(fault) => self.session.run_failed(&fault),
                }
            }
            Outcome::Predicted {
                sequence,
                request_id,
                answer,
            } => self.session.predicted(sequence, request_id, answer),
            Outcome::Lost => return Some(Ending::Close(CLOSE_INTERNAL, "the server failed")),
        };
        self.reply(effects)
    }

    /// Carries out what a message of the client led to. `frame` holds the payloads.
    async fn perform(&mut self, effects: Vec<Effect<'_>>, frame: &Bytes) -> Option<Ending> {
        for effect in effects {
            let follow_up = match effect {
                Effect::Store {
                    sequence,
                    upload,
                    payload,
                } => match self.work.store(upload, frame.slice_ref(payload)).await {
                    Ok(upload) => self.session.stored(sequence, &upload),
                    Err(fault) => self.session.not_done(Some(sequence), &fault),
                },
                Effect::Start(run) => match self.work.start(run).await {
                    Ok(()) => Vec::new(),
                    Err(fault) => self.session.run_failed(&fault),
                },
                Effect::Predict {
                    sequence,
                    predict,
                    payload,
                } => {
                    self.work
                        .predict(sequence, predict, frame.slice_ref(payload));
                    Vec::new()
                }
                Effect::Answer { message, payload } => {
                    CLIENT_WAIT.record_time(self.asked.elapsed());
                    let answered = self.work.answer(message, frame.slice_ref(payload)).await;
                    self.steered(answered)
                }
                Effect::Pause => self.steered(self.work.pause().await),
                Effect::Continue => {
                    self.asked = Instant::now();
                    self.steered(self.work.resume().await)
                }
                Effect::Cancel => self.steered(self.work.cancel().await),
                Effect::Send(message) => {
                    if let Some(ending) = self.send(&message, &[]) {
                        return Some(ending);
                    }
                    continue;
                }
                Effect::SendTensor(message, payload) => {
                    if let Some(ending) = self.send(&message, &payload.0) {
                        return Some(ending);
                    }
                    continue;
                }
                Effect::Close(code) => return Some(Ending::Close(code, "")),
            };
            if let Some(ending) = self.reply(follow_up) {
                return Some(ending);
            }
        }
        None
    }

    fn steered(&mut self, result: Result<(), Fault>) -> Vec<Effect<'static>> {
        match result {
            Ok(()) => Vec::new(),
            Err(fault) => self.session.not_done(None, &fault),
        }
    }

    /// Carries out effects that need nothing but the socket; no others follow a report or a result.
    fn reply(&mut self, effects: Vec<Effect<'static>>) -> Option<Ending> {
        for effect in effects {
            match effect {
                Effect::Send(message) => {
                    if let Some(ending) = self.send(&message, &[]) {
                        return Some(ending);
                    }
                }
                Effect::SendTensor(message, payload) => {
                    if let Some(ending) = self.send(&message, &payload.0) {
                        return Some(ending);
                    }
                }
                Effect::Close(code) => return Some(Ending::Close(code, "")),
                _ => tracing::error!("an effect came where none can be carried out"),
            }
        }
        None
    }

    /// Queues a message. Step reports are news of the moment and are dropped when the client is
    /// slow.
    fn send(&mut self, message: &ServerMessage, payload: &[u8]) -> Option<Ending> {
        if self.outgoing.is_behind() && matches!(message, ServerMessage::Step(_)) {
            return None;
        }
        if let ServerMessage::Refused(refused) = message {
            REFUSALS.count(refused.code);
        }
        match encode_server(self.sequence, message, payload) {
            Ok(frame) => {
                self.sequence += 1;
                (!self.outgoing.push(frame)).then_some(Ending::Lost)
            }
            Err(error) => {
                tracing::error!(%error, "a message cannot be encoded");
                Some(Ending::Close(CLOSE_INTERNAL, "the server failed"))
            }
        }
    }

    fn unload(&mut self, permit: Permit<'_, Message>) -> Option<Ending> {
        if let Some(message) = self.outgoing.pop() {
            permit.send(message);
        }
        None
    }

    /// Deletes what the session has, then closes: who sees the close frame knows that the data is
    /// gone.
    async fn end(mut self, incoming: SplitStream<WebSocket>, ending: Ending) {
        self.work.release().await;
        let patience = self.state.app.timeouts.close;
        match ending {
            Ending::Close(code, reason) => {
                let waiting = async {
                    while let Some(message) = self.outgoing.pop() {
                        self.writer.send(message, patience).await;
                    }
                };
                // In all, not for each: a client that does not read must not hold the daemon up.
                let _ = timeout(patience, waiting).await;
                close(self.writer, incoming, code, reason, patience).await;
                tracing::info!(code, reason, "a session closed");
            }
            Ending::Closed => {
                self.writer.close(CLOSE_DONE, "", patience).await;
                tracing::info!("a session was closed by its client");
            }
            Ending::Lost => tracing::info!("a session was lost"),
        }
    }
}

/// Sends a close frame and waits, not for long, until the other side has seen it.
async fn close(
    mut writer: Writer,
    mut incoming: SplitStream<WebSocket>,
    code: u16,
    reason: &'static str,
    patience: Duration,
) {
    writer.close(code, reason, patience).await;
    drain(&mut incoming, patience).await;
}

/// Reads until the other side ends, not for long.
///
/// Dropping the socket earlier would reset the connection while the other side still sends, and lose
/// our close frame.
async fn drain(incoming: &mut SplitStream<WebSocket>, patience: Duration) {
    let deadline = Instant::now() + patience;
    loop {
        match timeout_at(deadline, incoming.next()).await {
            Ok(Some(Ok(_))) => {}
            // The reader stops at a frame that it does not take; what is left is waiting.
            Ok(Some(Err(error))) if is_too_large(&error) => return sleep_until(deadline).await,
            Ok(Some(Err(_)) | None) | Err(_) => return,
        }
    }
}

/// Whether the WebSocket library stopped at a message above the limit, before it took its bytes.
///
/// axum hides that library's error type, so its first words are what there is to go by; a test over
/// a real socket holds them.
fn is_too_large(error: &axum::Error) -> bool {
    error.to_string().starts_with("Space limit exceeded")
}

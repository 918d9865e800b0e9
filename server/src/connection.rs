//! A session's bytes in and out, its timers, its back-pressure. The only place that handles frames.
//!
//! The loop brings one message at a time to the session and carries its effects out before it reads
//! the next, so a client that sends faster than the disk writes is held back by TCP. It never waits
//! for a client that does not read: what it has to say goes into a bounded list, a writer with a
//! deadline empties that list, and while the client is behind, step reports are dropped and nothing
//! more is read from it. So the trainer's reports are always taken at once.
//!
//! A session outlives its connection: when that is lost, the same task waits for another one that
//! goes on, while the run does. When nobody comes the session is over. A run that has all it needs
//! goes on without it (`jobs::runs`); any other ends, and what was stored for it is removed.
//!
//! | file | what |
//! |---|---|
//! | `door` | the first message: a new session, or one that goes on |
//! | `life` | a session from beginning to end: in a connection, between two, in the next |
//! | `line` | one WebSocket and its end |
//! | `registry` | the way from a token to its session |
//! | `work` | what a session has at work |
//! | `writer` | what waits for the socket, and what the client may ask for again |

mod door;
mod life;
mod line;
mod registry;
mod work;
mod writer;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocketUpgrade};
use futures_util::StreamExt;
use rand::TryRng;
use rand::rngs::{SysError, SysRng};
use shared::protocol::codec::{decode_client, encode_server};
use shared::protocol::limits::Limits;
use shared::protocol::message::{Refused, SUBPROTOCOL, ServerMessage};
use shared::protocol::phase::Phase;
use shared::protocol::refusal::{
    CLOSE_COMING_BACK, CLOSE_GOING_AWAY, CLOSE_INTERNAL, CLOSE_RESTART, CLOSE_TOO_LARGE,
};
use shared::protocol::resume::UNCOUNTED;
use tokio::sync::mpsc::Permit;
use tokio::time::{Instant, interval_at, sleep_until};

use crate::auth::Principal;
use crate::error::Fault;
use crate::routes::{Seat, Slot, State};
use crate::session::{Effect, Session};
use crate::state::TenantId;
use crate::telemetry::metrics::{
    CLIENT_WAIT, FRAMES_RECEIVED, RECEIVED_BYTES, REFUSALS, SESSIONS_OPENED,
};
use crate::trainer::TrainerEvent;
pub use door::{Opening, run, turn_away};
use line::{Came, Line, is_too_large};
pub use registry::Registry;
use registry::{Entered, TakeOver};
use work::{Outcome, Work};
use writer::{Keep, Outgoing};

/// How a connection ends.
#[derive(Debug)]
enum Ending {
    /// We close, with this code and this reason.
    Close(u16, &'static str),
    /// The other side closes; its close frame is to be answered.
    Closed,
    /// The other side is gone, and may come back.
    Lost,
    /// The other side closes and says that it comes back; its close frame is to be answered.
    Left,
    /// The other side is there and takes nothing.
    Unread,
    /// The session goes on in another connection.
    TakenOver(Box<TakeOver>),
}

/// Sets what every WebSocket of the daemon has: its subprotocol, and no message above the limit.
pub fn bounded(upgrade: WebSocketUpgrade, limits: &Limits) -> WebSocketUpgrade {
    let frame_bytes_max = limits.frame_bytes_max as usize;
    upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(frame_bytes_max)
        .max_frame_size(frame_bytes_max)
}

/// One session, through one connection after the other.
struct Connection {
    state: Arc<State>,
    tenant: TenantId,
    token: [u8; 16],
    session: Session,
    work: Work,
    outgoing: Outgoing,
    /// Where it is found by whoever resumes it; none if nobody can.
    entered: Option<Entered>,
    /// When any frame came last.
    heard: Instant,
    /// When a message of the session came last.
    used: Instant,
    /// When the run asked the client for something last, or went on with what it had asked.
    asked: Instant,
    /// Given back when the session ends.
    _slot: Slot,
}

impl Connection {
    /// A session that awaits its `Hello`.
    ///
    /// # Errors
    ///
    /// When the system has no randomness for its token.
    fn new(state: Arc<State>, principal: Principal, seat: Seat) -> Result<Self, SysError> {
        let mut token = [0; 16];
        SysRng.try_fill_bytes(&mut token)?;
        let now = Instant::now();
        let keep = if state.app.timeouts.resume.is_zero() {
            Keep::Nothing
        } else {
            Keep::Unconfirmed
        };
        SESSIONS_OPENED.add(1);
        Ok(Self {
            tenant: principal.tenant,
            token,
            session: Session::new(state.offer.clone(), token),
            work: Work::new(state.clone(), principal, seat.share),
            outgoing: Outgoing::new(keep),
            entered: None,
            heard: now,
            used: now,
            asked: now,
            _slot: seat.slot,
            state,
        })
    }

    async fn serve(&mut self, line: &mut Line) -> Ending {
        let shutdown = self.state.shutdown.clone();
        let queue = line.writer.queue().clone();
        let period = self.state.app.timeouts.ping;
        let mut pings = interval_at(Instant::now() + period, period);
        loop {
            let (deadline, overdue) = self.deadline();
            let ending = tokio::select! {
                biased;
                () = shutdown.cancelled() => {
                    Some(Ending::Close(CLOSE_RESTART, "the server stops"))
                }
                takeover = taken_over(&mut self.entered) => {
                    Some(Ending::TakenOver(Box::new(takeover)))
                }
                permit = queue.reserve(), if !self.outgoing.is_empty() => match permit {
                    Ok(permit) => self.unload(permit),
                    Err(_) => Some(Ending::Lost),
                },
                () = queue.closed() => Some(Ending::Lost),
                outcome = self.work.next() => self.take_outcome(outcome),
                () = sleep_until(deadline) => Some(overdue),
                _ = pings.tick() => {
                    // A full queue needs no ping: the client has enough to answer.
                    let _ = queue.try_send(Message::Ping(Bytes::new()));
                    None
                }
                message = line.incoming.next(), if !self.outgoing.is_behind() => {
                    self.heard = Instant::now();
                    self.take_message(message).await
                }
            };
            if let Some(ending) = ending {
                return ending;
            }
        }
    }

    /// When the client has been too slow, and how the connection ends then.
    fn deadline(&self) -> (Instant, Ending) {
        let timeouts = &self.state.app.timeouts;
        let silent = (self.heard + timeouts.silence, Ending::Lost);
        let other = match self.session.phase() {
            Phase::Training if self.session.awaits_answer() => {
                let ending = Ending::Close(CLOSE_GOING_AWAY, "the run was not answered in time");
                (self.asked + timeouts.answer, ending)
            }
            // A handshake is over with the first message, whatever it was.
            Phase::Handshake | Phase::Training => return silent,
            Phase::Collecting | Phase::Held | Phase::Trained => {
                let ending = Ending::Close(CLOSE_GOING_AWAY, "the session was not used");
                (self.used + timeouts.idle, ending)
            }
        };
        if other.0 < silent.0 { other } else { silent }
    }

    async fn take_message(&mut self, message: Came) -> Option<Ending> {
        let frame = match message {
            Some(Ok(Message::Binary(frame))) => frame,
            Some(Ok(Message::Text(_))) => return self.unreadable(Fault::Text.refuse(None)),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return None,
            Some(Ok(Message::Close(Some(frame)))) if frame.code == CLOSE_COMING_BACK => {
                return Some(Ending::Left);
            }
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
                let ending = self.perform(effects, &frame).await;
                ending.or_else(|| self.confirm())
            }
            Err(error) => self.unreadable(Refused::from_codec(&frame, &error)),
        }
    }

    fn unreadable(&mut self, refused: Refused) -> Option<Ending> {
        let effects = self.session.unreadable(refused);
        self.reply(effects)
    }

    fn take_outcome(&mut self, outcome: Outcome) -> Option<Ending> {
        let effects = match outcome {
            Outcome::Report(Ok(event)) => {
                if matches!(event, TrainerEvent::Ask(_) | TrainerEvent::Continued) {
                    self.asked = Instant::now();
                }
                self.session.report(event)
            }
            Outcome::Report(Err(error)) => self.session.run_failed(&error.into()),
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
                Effect::UseAdapter {
                    sequence,
                    adapter,
                    fit,
                } => {
                    let found = self.work.use_adapter(adapter, fit).await;
                    self.session.adapter_found(sequence, found)
                }
                Effect::Answer { message, payload } => {
                    CLIENT_WAIT.record_time(self.asked.elapsed());
                    let answered = self.work.answer(message, frame.slice_ref(payload)).await;
                    self.steered(answered)
                }
                Effect::Confirmed(received) => {
                    let confirmed = self.outgoing.confirm(received);
                    self.steered(confirmed.map_err(Fault::from))
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
        match encode_server(self.outgoing.next_sequence(), message, payload) {
            Ok(frame) => (!self.outgoing.push(frame)).then_some(Ending::Unread),
            Err(error) => {
                tracing::error!(%error, "a message cannot be encoded");
                Some(Ending::Close(CLOSE_INTERNAL, "the server failed"))
            }
        }
    }

    /// Tells the client what was processed, if it is time.
    fn confirm(&mut self) -> Option<Ending> {
        let received = self.session.owed()?;
        self.notify(&ServerMessage::Received(received))
    }

    /// Queues a message about the connection.
    fn notify(&mut self, message: &ServerMessage) -> Option<Ending> {
        match encode_server(UNCOUNTED, message, &[]) {
            Ok(frame) => {
                self.outgoing.notify(frame);
                None
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
}

/// Waits for a connection that goes on with the session; for ever where none can.
async fn taken_over(entered: &mut Option<Entered>) -> TakeOver {
    match entered {
        Some(entered) => entered.taken_over().await,
        None => std::future::pending().await,
    }
}

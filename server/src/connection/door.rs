//! The beginning of a connection: its first message says whether a session begins or goes on.

use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket};
use futures_util::StreamExt;
use shared::protocol::codec::decode_client;
use shared::protocol::message::{ClientMessage, Resume};
use shared::protocol::refusal::{CLOSE_POLICY, CLOSE_TRY_LATER};
use shared::protocol::resume::UNCOUNTED;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::time::{Instant, sleep_until};

use super::Connection;
use super::line::{Came, Line};
use super::registry::TakeOver;
use crate::auth::Principal;
use crate::error::Fault;
use crate::routes::{Seat, State};

/// What a connection has when it opens.
#[derive(Debug)]
pub enum Opening {
    /// A place for a new session.
    Seated(Seat),
    /// None: it says that it resumes a session, which has its own.
    Resuming,
}

/// Runs one connection from the upgrade to the end.
pub async fn run(socket: WebSocket, state: Arc<State>, principal: Principal, opening: Opening) {
    let timeouts = state.app.timeouts;
    let mut line = Line::new(socket, &timeouts);
    if matches!(opening, Opening::Seated(_)) {
        tracing::info!("a session opened");
    }
    let first = match first(&mut line, &state).await {
        Ok(first) => first,
        Err((code, reason)) => {
            drop(opening);
            line.close(code, reason, timeouts.close).await;
            return tracing::info!(code, reason, "a session closed");
        }
    };
    if let Some(resume) = resume_in(&first, &state) {
        drop(opening);
        return pass_on(line, &state, principal, resume).await;
    }
    let seat = match opening {
        Opening::Seated(seat) => Ok(seat),
        // Its session is gone, or was lost before it had one.
        Opening::Resuming => {
            tracing::info!("a session opened");
            state.seat(principal.tenant)
        }
    };
    match seat {
        // Boxed: the loop's state is large, and every upgrade would carry it.
        Ok(seat) => match Connection::new(state, principal, seat) {
            Ok(connection) => Box::pin(connection.run(line, first)).await,
            Err(error) => {
                tracing::error!(%error, "the system has no randomness; a session was not opened");
            }
        },
        Err(fault) => {
            let refused = fault.refuse(None);
            line.refuse(refused, "no session is free", &timeouts).await;
        }
    }
}

/// Tells a client that there is no room, and closes.
pub async fn turn_away(socket: WebSocket, state: &State) {
    let timeouts = &state.app.timeouts;
    let line = Line::new(socket, timeouts);
    let sessions_max = state.app.sessions_max;
    let refused = Fault::SessionsTaken { sessions_max }.refuse(None);
    line.refuse(refused, "no session is free", timeouts).await;
    tracing::info!("turned a session away: none is free");
}

/// Waits for the first thing that comes.
///
/// # Errors
///
/// The close code and its reason, when nothing comes in time or the daemon stops.
async fn first(line: &mut Line, state: &State) -> Result<Came, (u16, &'static str)> {
    let deadline = Instant::now() + state.app.timeouts.handshake;
    loop {
        let came = tokio::select! {
            biased;
            // It had not begun: another try is all that it takes.
            () = state.shutdown.cancelled() => return Err((CLOSE_TRY_LATER, "the server stops")),
            () = sleep_until(deadline) => return Err((CLOSE_POLICY, "no Hello in time")),
            came = line.incoming.next() => came,
        };
        if !matches!(came, Some(Ok(Message::Ping(_) | Message::Pong(_)))) {
            return Ok(came);
        }
    }
}

/// The wish to resume a session, if that is what came.
fn resume_in(came: &Came, state: &State) -> Option<Resume> {
    let Some(Ok(Message::Binary(frame))) = came else {
        return None;
    };
    let frame = decode_client(frame, &state.offer.limits).ok()?;
    match frame.message {
        ClientMessage::Resume(resume) if frame.sequence == UNCOUNTED => Some(resume),
        _ => None,
    }
}

/// Hands a connection over to the session that it names.
async fn pass_on(line: Line, state: &State, principal: Principal, resume: Resume) {
    let received = resume.received;
    let takeover = TakeOver { line, received };
    let timeouts = &state.app.timeouts;
    let way = state
        .resumable
        .find(principal.tenant, &resume.session_token);
    let missed = match way {
        // Not for long: a session brings one message at a time to its end.
        Some(way) => match way.send_timeout(takeover, timeouts.handshake).await {
            Ok(()) => return tracing::info!("a connection goes on with a session"),
            Err(SendTimeoutError::Timeout(missed) | SendTimeoutError::Closed(missed)) => missed,
        },
        None => takeover,
    };
    let refused = Fault::UnknownSession.refuse(Some(UNCOUNTED));
    let reason = "there is no such session";
    missed.line.refuse(refused, reason, timeouts).await;
}

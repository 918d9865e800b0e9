//! A session's way to the server, through one connection after the other.
//!
//! It keeps what the server has not confirmed, drops what comes twice, and connects again when the
//! connection is lost: a bounded number of times, after growing and random pauses. What stands
//! above it sees every message of the server once and in order. docs/protocol.md, section 8, has
//! the rules; the server's half is `server/src/connection`.
//!
//! Only who listens notices a loss: a frame that is sent meanwhile is kept, and sent in the next
//! connection.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;

use futures_util::future::{Either, select};
use rand::TryRng;
use rand::rngs::SysRng;
use shared::protocol::codec::{decode_server, encode_client, sequence_of};
use shared::protocol::limits::Limits;
use shared::protocol::message::{ClientMessage, RefusalCode, ServerMessage};
use shared::protocol::resume::{Arrival, Inbox, Outbox, Received, Resume, UNCOUNTED};

use crate::error::ClientError;
use crate::events::Event;
use crate::job::Traffic;
use crate::transport::{Transport, disconnected};

/// Connections that are tried in a row. With the pauses between them that is about a minute: less
/// than the two that a server waits by default.
pub(crate) const ATTEMPTS_MAX: u32 = 10;

/// The longest first pause: a connection that only blinked is not waited for.
const FIRST_PAUSE_MILLIS: u32 = 100;

/// The longest pause.
const PAUSE_MILLIS_MAX: u32 = 16_000;

/// For a connection and for the server's answer in it.
const CONNECT_MILLIS: u32 = 10_000;

/// What comes out of a link.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The next frame of the session.
    Frame(Vec<u8>),
    /// What a person may want to know meanwhile.
    News(Event),
}

/// Where the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    /// Lost, and nobody was told.
    Lost,
    /// Lost, and another one is tried.
    Retrying,
}

/// A session's way to the server.
#[derive(Debug)]
pub(crate) struct Link<T> {
    transport: T,
    traffic: Rc<Cell<Traffic>>,
    outbox: Outbox<Vec<u8>>,
    inbox: Inbox,
    /// Names the session, once the server has welcomed it.
    token: Option<[u8; 16]>,
    state: State,
    /// Connections that were tried since the server said something.
    attempts: u32,
    /// What the connection was lost by.
    cause: Option<ClientError>,
}

impl<T: Transport> Link<T> {
    /// A link whose first connection is open. `traffic` counts the session's frames, those that are
    /// sent again too.
    pub(crate) fn new(transport: T, traffic: Rc<Cell<Traffic>>) -> Self {
        Self {
            transport,
            traffic,
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            token: None,
            state: State::Up,
            attempts: 0,
            cause: None,
        }
    }

    /// Sends the session's next frame, now or in the next connection.
    ///
    /// # Errors
    ///
    /// When the server has closed for good.
    pub(crate) async fn send(&mut self, frame: Vec<u8>) -> Result<(), ClientError> {
        self.outbox.push(frame);
        if self.state == State::Up {
            self.hand_over().await?;
        }
        Ok(())
    }

    /// Waits for the session's next frame, and connects again where that is needed. Dropping the
    /// future loses nothing.
    ///
    /// # Errors
    ///
    /// When the server has closed for good, has given the session up, or cannot be reached.
    pub(crate) async fn receive(&mut self) -> Result<Incoming, ClientError> {
        loop {
            match self.state {
                State::Up => match self.listen().await {
                    Ok(None) => {}
                    Ok(Some(frame)) => return Ok(Incoming::Frame(frame)),
                    Err(error) if error.is_loss() => {
                        self.state = State::Lost;
                        self.cause = Some(error);
                    }
                    Err(error) => return Err(self.end(error).await),
                },
                State::Lost if self.attempts == ATTEMPTS_MAX => {
                    return Err(self.cause.take().unwrap_or_else(|| disconnected("closed")));
                }
                State::Lost => {
                    self.attempts += 1;
                    self.state = State::Retrying;
                    return Ok(Incoming::News(Event::Reconnecting {
                        attempt: self.attempts,
                        attempts_max: ATTEMPTS_MAX,
                    }));
                }
                State::Retrying => {
                    T::wait(pause_millis(self.attempts, random()?)).await;
                    // Boxed: opening a socket takes a large state, and every receive would carry
                    // it.
                    match Box::pin(self.reconnect()).await {
                        Ok(()) => return Ok(Incoming::News(Event::Reconnected)),
                        Err(error) if error.is_loss() => self.state = State::Lost,
                        Err(error) => return Err(self.end(error).await),
                    }
                }
            }
        }
    }

    /// Ends the connection.
    pub(crate) async fn close(&mut self) {
        self.transport.close().await;
    }

    /// Ends the connection for good, with a close frame: the server need not wait for this client.
    async fn end(&mut self, error: ClientError) -> ClientError {
        self.transport.close().await;
        error
    }

    /// As of the transport.
    pub(crate) async fn breathe(&mut self) {
        self.transport.breathe().await;
    }

    /// Hands what waits to the connection. Whoever listens notices that it is lost.
    async fn hand_over(&mut self) -> Result<(), ClientError> {
        while let Some(frame) = self.outbox.hand_over() {
            let mut traffic = self.traffic.get();
            traffic.bytes_sent += frame.len() as u64;
            traffic.frames_sent += 1;
            self.traffic.set(traffic);
            match self.transport.send(frame).await {
                Ok(()) => {}
                Err(error) if error.is_loss() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The session's next frame; none for one that is not its business.
    async fn listen(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        // Before anything else comes: what is dropped while it waits has taken nothing yet.
        if let Some(received) = self.inbox.owed() {
            let frame = uncounted(&ClientMessage::Received(received))?;
            match self.transport.send(frame).await {
                Err(error) if !error.is_loss() => return Err(error),
                // What came before the loss, and its reason, is still to be read.
                _ => {}
            }
        }
        let frame = self.transport.receive().await?;
        let mut traffic = self.traffic.get();
        traffic.bytes_received += frame.len() as u64;
        self.traffic.set(traffic);
        self.take(frame)
    }

    fn take(&mut self, frame: Vec<u8>) -> Result<Option<Vec<u8>>, ClientError> {
        // What is no frame goes on to the session, which says what is wrong with it.
        let Some(sequence) = sequence_of(&frame) else {
            return Ok(Some(frame));
        };
        self.attempts = 0;
        if sequence == UNCOUNTED {
            return match read(&frame)? {
                ServerMessage::Received(Received { received }) => {
                    self.outbox.confirm(received)?;
                    Ok(None)
                }
                _ => Err(unexpected("a message without its number")),
            };
        }
        match self.inbox.arrival(sequence) {
            Arrival::Next => self.inbox.take(frame.len()),
            Arrival::Again => return Ok(None),
            Arrival::OutOfOrder => return Err(unexpected("a frame is missing")),
        }
        if self.token.is_none()
            && let ServerMessage::Welcome(welcome) = read(&frame)?
        {
            self.token = Some(welcome.session_token);
        }
        Ok(Some(frame))
    }

    /// Opens another connection and goes on in it.
    async fn reconnect(&mut self) -> Result<(), ClientError> {
        in_time::<T, _>(self.transport.reopen()).await?;
        let received = match self.token {
            Some(session_token) => {
                let Received { received } = self.inbox.confirm();
                let resume = ClientMessage::Resume(Resume {
                    session_token,
                    received,
                });
                self.transport.send(uncounted(&resume)?).await?;
                in_time::<T, _>(resumed(&mut self.transport)).await?
            }
            // The server never said that there is a session: there is a new one.
            None => 0,
        };
        self.outbox.go_back(received)?;
        self.state = State::Up;
        self.hand_over().await
    }
}

/// Waits for the answer to `Resume`: what the server has processed.
async fn resumed(transport: &mut impl Transport) -> Result<u64, ClientError> {
    match read(&transport.receive().await?)? {
        ServerMessage::Resumed(Received { received }) => Ok(received),
        ServerMessage::Refused(refused) => Err(match refused.code {
            RefusalCode::UnknownSession => ClientError::SessionGone,
            RefusalCode::Busy => disconnected(refused.sentence),
            _ => ClientError::Refused(refused),
        }),
        _ => Err(unexpected("another answer to a resumption")),
    }
}

/// Gives up what takes too long.
async fn in_time<T: Transport, R>(
    work: impl Future<Output = Result<R, ClientError>>,
) -> Result<R, ClientError> {
    match select(pin!(work), pin!(T::wait(CONNECT_MILLIS))).await {
        Either::Left((done, _)) => done,
        Either::Right(((), _)) => Err(disconnected("the server does not answer")),
    }
}

fn read(frame: &[u8]) -> Result<ServerMessage, ClientError> {
    let frame = decode_server(frame, &Limits::default())
        .map_err(|error| ClientError::Protocol(error.to_string()))?;
    Ok(frame.message)
}

fn uncounted(message: &ClientMessage) -> Result<Vec<u8>, ClientError> {
    encode_client(UNCOUNTED, message, &[]).map_err(|error| ClientError::Protocol(error.to_string()))
}

fn unexpected(what: &str) -> ClientError {
    ClientError::Protocol(what.to_owned())
}

fn random() -> Result<u32, ClientError> {
    SysRng.try_next_u32().map_err(|_| ClientError::NoRandomness)
}

/// The pause before an attempt, from 1: up to twice the longest one before, and at least half of
/// that, so that clients that were lost together do not come back together.
fn pause_millis(attempt: u32, random: u32) -> u32 {
    let doublings = attempt.saturating_sub(1).min(16);
    let longest = (FIRST_PAUSE_MILLIS << doublings).min(PAUSE_MILLIS_MAX);
    let shortest = longest / 2;
    shortest + random % (longest - shortest + 1)
}

#[cfg(all(test, not(target_arch = "wasm32")))] // the runtime of these tests is native
#[allow(clippy::unwrap_used)]
mod tests;

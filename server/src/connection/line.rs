//! One WebSocket: what is read from it, what writes to it, and its end.

use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use shared::protocol::codec::encode_server;
use shared::protocol::message::{Refused, ServerMessage};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::writer::Writer;
use crate::limits::Timeouts;
use crate::telemetry::metrics::REFUSALS;

/// What comes from a socket.
pub(super) type Came = Option<Result<Message, axum::Error>>;

/// One WebSocket.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) incoming: SplitStream<WebSocket>,
    pub(super) writer: Writer,
}

impl Line {
    pub(super) fn new(socket: WebSocket, timeouts: &Timeouts) -> Self {
        let (sink, incoming) = socket.split();
        let writer = Writer::spawn(sink, timeouts.write);
        Self { incoming, writer }
    }

    /// Says why nothing comes of this connection, and closes it.
    pub(super) async fn refuse(self, refused: Refused, reason: &'static str, timeouts: &Timeouts) {
        REFUSALS.count(refused.code);
        let code = refused.code.close_code();
        let refused = ServerMessage::Refused(refused.closing());
        if let Ok(frame) = encode_server(1, &refused, &[]) {
            let message = Message::Binary(frame.into());
            self.writer.send(message, timeouts.close).await;
        }
        self.close(code, reason, timeouts.close).await;
    }

    /// Sends a close frame and waits, not for long, until the other side has seen it.
    pub(super) async fn close(mut self, code: u16, reason: &'static str, patience: Duration) {
        self.writer.close(code, reason, patience).await;
        self.drain(patience).await;
    }

    /// Reads until the other side ends, not for long.
    ///
    /// Dropping the socket earlier would reset the connection while the other side still sends, and
    /// lose our close frame.
    async fn drain(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        loop {
            match timeout_at(deadline, self.incoming.next()).await {
                Ok(Some(Ok(_))) => {}
                // The reader stops at a frame that it does not take; what is left is waiting.
                Ok(Some(Err(error))) if is_too_large(&error) => return sleep_until(deadline).await,
                Ok(Some(Err(_)) | None) | Err(_) => return,
            }
        }
    }
}

/// Whether the WebSocket library stopped at a message above the limit, before it took its bytes.
///
/// axum hides that library's error type, so its first words are what there is to go by; a test over
/// a real socket holds them.
pub(super) fn is_too_large(error: &axum::Error) -> bool {
    error.to_string().starts_with("Space limit exceeded")
}

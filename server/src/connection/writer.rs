//! The sending half of a connection: what waits, and a task that hands it to the socket with a
//! deadline.

use std::collections::VecDeque;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::limits::{OUTGOING_BYTES_MAX, OUTGOING_MESSAGES_MAX};
use crate::telemetry::metrics::{FRAMES_SENT, FRAMES_WAITING, SENT_BYTES, WRITE};

/// Frames that wait for the socket, in order, bounded in number and bytes.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Outgoing {
    /// Adds a frame; `false` when the client has let too much pile up.
    #[must_use]
    pub(super) fn push(&mut self, frame: Vec<u8>) -> bool {
        FRAMES_WAITING.up();
        self.bytes += frame.len();
        self.frames.push_back(frame);
        self.bytes <= OUTGOING_BYTES_MAX
    }

    /// Takes the next frame.
    pub(super) fn pop(&mut self) -> Option<Message> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        FRAMES_WAITING.down(1);
        FRAMES_SENT.add(1);
        SENT_BYTES.add(frame.len() as u64);
        Some(Message::Binary(frame.into()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether the client is behind: nothing more is read from it, and news of the moment are
    /// dropped.
    pub(super) fn is_behind(&self) -> bool {
        self.frames.len() >= OUTGOING_MESSAGES_MAX || self.bytes > OUTGOING_BYTES_MAX / 2
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        FRAMES_WAITING.down(self.frames.len());
    }
}

/// Hands messages to one socket, one at a time.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    task: JoinHandle<()>,
}

impl Writer {
    /// Starts the task. It ends, and closes the queue, when the socket fails or takes longer than
    /// `deadline` for one message.
    pub(super) fn spawn(mut sink: SplitSink<WebSocket, Message>, deadline: Duration) -> Self {
        let (queue, mut messages) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                let last = matches!(message, Message::Close(_));
                let started = Instant::now();
                let sent = timeout(deadline, sink.send(message)).await;
                WRITE.record_time(started.elapsed());
                if last {
                    // When the other side closed first, ours was not sent: this sends the answer.
                    let _ = timeout(deadline, sink.close()).await;
                    return;
                }
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
        });
        Self { queue, task }
    }

    /// Where the task takes messages from.
    pub(super) fn queue(&self) -> &mpsc::Sender<Message> {
        &self.queue
    }

    /// Hands over a message, waiting for room but not for long.
    pub(super) async fn send(&self, message: Message, patience: Duration) {
        // A client that takes nothing gets nothing more.
        let _ = timeout(patience, self.queue.send(message)).await;
    }

    /// Sends a close frame after everything else, and waits until the socket has taken it.
    pub(super) async fn close(&mut self, code: u16, reason: &'static str, patience: Duration) {
        let reason = Utf8Bytes::from_static(reason);
        self.send(Message::Close(Some(CloseFrame { code, reason })), patience)
            .await;
        if timeout(patience, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded() {
        let mut outgoing = Outgoing::default();
        assert!(outgoing.push(vec![0; OUTGOING_BYTES_MAX / 2]));
        assert!(!outgoing.is_behind());
        assert!(outgoing.push(vec![0; OUTGOING_BYTES_MAX / 2]));
        assert!(outgoing.is_behind());
        assert!(!outgoing.push(vec![0; 1]));
        while outgoing.pop().is_some() {}
        assert_eq!(outgoing.bytes, 0);
        for _ in 0..OUTGOING_MESSAGES_MAX {
            assert!(!outgoing.is_behind());
            assert!(outgoing.push(vec![0; 1]));
        }
        assert!(outgoing.is_behind());
    }
}

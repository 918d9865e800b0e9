//! The sending half of a connection: a bounded queue, and a task that empties it into the socket with a deadline.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::limits::OUTGOING_MESSAGES_MAX;

/// Queues messages for one socket.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    task: JoinHandle<()>,
}

impl Writer {
    /// Starts the task. It ends, and closes the queue, when the socket fails or takes longer than `deadline`.
    pub(super) fn spawn(mut sink: SplitSink<WebSocket, Message>, deadline: Duration) -> Self {
        let (queue, mut messages) = mpsc::channel(OUTGOING_MESSAGES_MAX);
        let task = tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                let last = matches!(message, Message::Close(_));
                match timeout(deadline, sink.send(message)).await {
                    Ok(Ok(())) if !last => {}
                    _ => return,
                }
            }
        });
        Self { queue, task }
    }

    /// The queue, for `try_send`, `reserve` and `closed`.
    pub(super) fn queue(&self) -> mpsc::Sender<Message> {
        self.queue.clone()
    }

    /// Queues a message, waiting for room but not for long.
    pub(super) async fn send(&mut self, message: Message, patience: Duration) {
        // A client that takes nothing gets nothing more.
        let _ = timeout(patience, self.queue.send(message)).await;
    }

    /// Sends a close frame after everything that is queued, and waits until the socket has taken it.
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

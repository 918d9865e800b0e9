//! The sending half of a connection: what waits or is kept, and a task that hands it to the socket
//! with a deadline.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use shared::protocol::message::Received;
use shared::protocol::resume::{Outbox, ResumeError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::limits::{KEPT_MESSAGES_MAX, OUTGOING_BYTES_MAX, OUTGOING_MESSAGES_MAX};
use crate::telemetry::metrics::{FRAMES_SENT, FRAMES_WAITING, SENT_BYTES, WRITE};

/// Whether frames outlive the connection that took them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Until the client has confirmed them: it may have to be sent them again.
    Unconfirmed,
    /// Nobody asks for them again.
    Nothing,
}

/// Frames of one session, in order, bounded in number and bytes: those that wait for the socket,
/// and those that the client has not confirmed.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// About the connection; before everything else, and of this connection only.
    notices: VecDeque<Bytes>,
    frames: Outbox<Bytes>,
    keep: Keep,
}

impl Outgoing {
    pub(super) fn new(keep: Keep) -> Self {
        Self {
            notices: VecDeque::new(),
            frames: Outbox::default(),
            keep,
        }
    }

    /// The number of the frame that is added next.
    pub(super) fn next_sequence(&self) -> u64 {
        self.frames.next_sequence()
    }

    /// Adds a frame; `false` when the client has let too much pile up.
    #[must_use]
    pub(super) fn push(&mut self, frame: Vec<u8>) -> bool {
        FRAMES_WAITING.up();
        self.frames.push(frame.into());
        self.frames.bytes_waiting() <= OUTGOING_BYTES_MAX
    }

    /// Adds a frame about the connection.
    pub(super) fn notify(&mut self, frame: Vec<u8>) {
        FRAMES_WAITING.up();
        self.notices.push_back(frame.into());
    }

    /// Takes the next frame.
    pub(super) fn pop(&mut self) -> Option<Message> {
        let notice = self.notices.pop_front();
        let frame = notice.or_else(|| self.frames.hand_over())?;
        match self.keep {
            // What is beyond this the client cannot ask for: a session that it cannot resume.
            Keep::Unconfirmed => {
                self.frames
                    .keep_at_most(KEPT_MESSAGES_MAX, OUTGOING_BYTES_MAX);
            }
            Keep::Nothing => self.frames.keep_at_most(0, 0),
        }
        FRAMES_WAITING.down(1);
        FRAMES_SENT.add(1);
        SENT_BYTES.add(frame.len() as u64);
        Some(Message::Binary(frame))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting() == 0
    }

    /// Whether the client is behind: nothing more is read from it, and news of the moment are
    /// dropped.
    pub(super) fn is_behind(&self) -> bool {
        let bytes = self.frames.bytes_waiting();
        self.waiting() >= OUTGOING_MESSAGES_MAX || bytes > OUTGOING_BYTES_MAX / 2
    }

    /// Lets go of what the client has processed.
    ///
    /// # Errors
    ///
    /// When it cannot have processed that.
    pub(super) fn confirm(&mut self, confirmed: Received) -> Result<(), ResumeError> {
        self.frames.confirm(confirmed.received)
    }

    /// Begins anew for another connection, behind the last frame that the client has processed.
    ///
    /// # Errors
    ///
    /// When it cannot have processed that, or needs what is not kept.
    pub(super) fn go_back(&mut self, received: u64) -> Result<(), ResumeError> {
        let before = self.waiting();
        self.notices.clear();
        let gone_back = self.frames.go_back(received);
        FRAMES_WAITING.down(before);
        for _ in 0..self.waiting() {
            FRAMES_WAITING.up();
        }
        gone_back
    }

    fn waiting(&self) -> usize {
        self.notices.len() + self.frames.waiting()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        FRAMES_WAITING.down(self.waiting());
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded() {
        let mut outgoing = Outgoing::new(Keep::Nothing);
        assert!(outgoing.push(vec![0; OUTGOING_BYTES_MAX / 2]));
        assert!(!outgoing.is_behind());
        assert!(outgoing.push(vec![0; OUTGOING_BYTES_MAX / 2]));
        assert!(outgoing.is_behind());
        assert!(!outgoing.push(vec![0; 1]));
        while outgoing.pop().is_some() {}
        assert!(outgoing.is_empty());
        for _ in 0..OUTGOING_MESSAGES_MAX {
            assert!(!outgoing.is_behind());
            assert!(outgoing.push(vec![0; 1]));
        }
        assert!(outgoing.is_behind());
    }

    fn popped(outgoing: &mut Outgoing) -> Vec<u8> {
        let frames = std::iter::from_fn(|| outgoing.pop());
        frames.map(|frame| frame.into_data()[0]).collect()
    }

    #[test]
    fn another_connection_gets_what_was_not_confirmed() {
        let mut outgoing = Outgoing::new(Keep::Unconfirmed);
        for number in 1..=4 {
            assert!(outgoing.push(vec![number]));
        }
        outgoing.notify(vec![90]);
        assert_eq!(popped(&mut outgoing), [90, 1, 2, 3, 4]);
        outgoing.confirm(Received { received: 1 }).unwrap();
        outgoing.notify(vec![91]); // for the connection that is lost
        outgoing.go_back(2).unwrap();
        outgoing.notify(vec![92]);
        assert_eq!(popped(&mut outgoing), [92, 3, 4]);
        assert!(outgoing.confirm(Received { received: 5 }).is_err());
    }

    #[test]
    fn where_nothing_is_kept_nothing_can_be_asked_for_again() {
        let mut outgoing = Outgoing::new(Keep::Nothing);
        assert!(outgoing.push(vec![1]));
        assert_eq!(popped(&mut outgoing), [1]);
        outgoing.confirm(Received { received: 1 }).unwrap();
        assert!(outgoing.go_back(0).is_err());
    }
}

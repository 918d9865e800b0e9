//! Two transports joined in memory, for tests of what stands above them. They can be cut behind any
//! frame, and opened again. Their time is counted in polls, so no test waits.

use std::future::poll_fn;
use std::task::Poll;

use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures_util::StreamExt;

use super::{Transport, disconnected};
use crate::error::ClientError;

/// One end.
#[derive(Debug)]
pub struct MemoryTransport {
    out: UnboundedSender<Vec<u8>>,
    inbox: UnboundedReceiver<Vec<u8>>,
    /// Frames that it still carries, in both directions together; any number without it.
    left: Option<usize>,
    /// Where the other ends of further connections go.
    dial: Option<UnboundedSender<MemoryTransport>>,
}

/// Two ends of one connection.
pub fn pair() -> (MemoryTransport, MemoryTransport) {
    let (left_out, right_inbox) = unbounded();
    let (right_out, left_inbox) = unbounded();
    let end = |out, inbox| MemoryTransport {
        out,
        inbox,
        left: None,
        dial: None,
    };
    (end(left_out, left_inbox), end(right_out, right_inbox))
}

/// An end that can be opened again, and the other ends of all its connections.
pub fn dialled() -> (MemoryTransport, UnboundedReceiver<MemoryTransport>) {
    let (dial, lines) = unbounded();
    let (mine, theirs) = pair();
    // Fails only when nobody is there any more.
    let _ = dial.unbounded_send(theirs);
    let dial = Some(dial);
    (MemoryTransport { dial, ..mine }, lines)
}

impl MemoryTransport {
    /// This end, which is lost after so many further frames in both directions together. Frames
    /// that it has not taken out are lost, those that it has put in arrive.
    #[must_use]
    pub fn cut_after(self, frames: usize) -> Self {
        Self {
            left: Some(frames),
            ..self
        }
    }

    /// Counts a frame.
    ///
    /// # Errors
    ///
    /// When the connection was to be cut before it.
    fn carry(&mut self) -> Result<(), ClientError> {
        match &mut self.left {
            None => Ok(()),
            Some(0) => {
                self.out.close_channel();
                self.inbox.close();
                Err(disconnected("cut"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

impl Transport for MemoryTransport {
    async fn send(&mut self, frame: Vec<u8>) -> Result<(), ClientError> {
        self.carry()?;
        self.out
            .unbounded_send(frame)
            .map_err(|_| disconnected("the other end is gone"))
    }

    async fn receive(&mut self) -> Result<Vec<u8>, ClientError> {
        if self.left == Some(0) {
            self.carry()?;
        }
        let frame = self
            .inbox
            .next()
            .await
            .ok_or_else(|| disconnected("the other end is gone"))?;
        self.carry()?;
        Ok(frame)
    }

    async fn close(&mut self) {
        self.out.close_channel();
    }

    async fn breathe(&mut self) {}

    async fn reopen(&mut self) -> Result<(), ClientError> {
        let dial = self.dial.take();
        let (mine, theirs) = pair();
        *self = Self { dial, ..mine };
        match &self.dial {
            Some(dial) => dial
                .unbounded_send(theirs)
                .map_err(|_| disconnected("nobody answers")),
            None => Err(disconnected("nobody answers")),
        }
    }

    async fn wait(millis: u32) {
        let mut left = millis;
        poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

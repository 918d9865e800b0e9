//! Two transports joined in memory, for tests of what stands above them.

use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures_util::StreamExt;

use super::{Transport, disconnected};
use crate::error::ClientError;

/// One end.
#[derive(Debug)]
pub struct MemoryTransport {
    out: UnboundedSender<Vec<u8>>,
    inbox: UnboundedReceiver<Vec<u8>>,
}

/// Two ends of one connection.
pub fn pair() -> (MemoryTransport, MemoryTransport) {
    let (left_out, right_inbox) = unbounded();
    let (right_out, left_inbox) = unbounded();
    (
        MemoryTransport {
            out: left_out,
            inbox: left_inbox,
        },
        MemoryTransport {
            out: right_out,
            inbox: right_inbox,
        },
    )
}

impl Transport for MemoryTransport {
    async fn send(&mut self, frame: Vec<u8>) -> Result<(), ClientError> {
        self.out
            .unbounded_send(frame)
            .map_err(|_| disconnected("the other end is gone"))
    }

    async fn receive(&mut self) -> Result<Vec<u8>, ClientError> {
        self.inbox
            .next()
            .await
            .ok_or_else(|| disconnected("the other end is gone"))
    }

    async fn close(&mut self) {
        self.out.close_channel();
    }

    async fn breathe(&mut self) {}
}

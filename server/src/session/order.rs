//! A session's place in the order of its client's messages: what comes next, what came before, and
//! whether it may go on in another connection.

use shared::protocol::message::ClientMessage;
use shared::protocol::phase::Phase;
use shared::protocol::resume::{Arrival, Received, UNCOUNTED};

use super::Session;
use crate::error::Fault;

/// What a message is in the order of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The one that comes next.
    Next,
    /// One that was processed before.
    Again,
    /// One about the connection.
    Uncounted,
}

impl Session {
    /// Finds the place of a message.
    ///
    /// # Errors
    ///
    /// `OutOfOrder` for a gap, a counted message without number and an uncounted one with one.
    pub(super) fn place(&self, sequence: u64, message: &ClientMessage) -> Result<Place, Fault> {
        let arrival = self.inbox.arrival(sequence);
        match (message.is_counted(), arrival) {
            (true, Arrival::Next) => Ok(Place::Next),
            (true, Arrival::Again) => Ok(Place::Again),
            (true, Arrival::OutOfOrder) => Err(Fault::OutOfOrder {
                expected: self.inbox.processed() + 1,
                actual: sequence,
            }),
            (false, _) if sequence == UNCOUNTED => Ok(Place::Uncounted),
            (false, _) => Err(Fault::OutOfOrder {
                expected: UNCOUNTED,
                actual: sequence,
            }),
        }
    }

    /// Whether it may go on in another connection: it has begun, and neither side has ended it.
    pub fn can_be_resumed(&self) -> bool {
        self.phase != Phase::Handshake && !self.closed
    }

    /// Which messages were processed, for the answer to `Resume`.
    pub fn resumed(&mut self) -> Received {
        self.inbox.confirm()
    }

    /// What the client has to be told of the messages that were processed, if it is time.
    pub fn owed(&mut self) -> Option<Received> {
        self.inbox.owed()
    }
}

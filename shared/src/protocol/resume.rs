//! What each side of a session remembers so that it can go on in another connection: the frames
//! that it has sent and the other side has not confirmed, and the last one that it has processed.
//!
//! Both sides do the same. A frame is counted from 1 and keeps its number for ever; a frame about
//! the connection itself (`Resume`, `Resumed`, `Received`) is not counted and has the number 0. A
//! side confirms what it has processed every [`CONFIRM_MESSAGES`] messages or [`CONFIRM_BYTES`]
//! bytes, so the other one keeps that much and what is on its way. After `Resume` and `Resumed`
//! each side sends again what the other has not processed; what comes a second time is dropped.
//!
//! docs/protocol.md, section 8, has the same in words.

use std::collections::VecDeque;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::message::{ClientMessage, ServerMessage};

/// The number of a frame that is about the connection and not counted.
pub const UNCOUNTED: u64 = 0;

/// What the query of `/v1/session` says where a connection resumes a session: it needs no place for
/// a new one, and gets through where all are taken.
pub const RESUMING_QUERY: &str = "resume=1";

/// Messages that are processed before they have to be confirmed: small ones are kept in such a
/// number at most.
pub const CONFIRM_MESSAGES: u64 = 16;

/// Payload bytes that are processed before they have to be confirmed: a large one is confirmed at
/// once.
pub const CONFIRM_BYTES: u64 = 1024 * 1024;

/// Names a session whose connection was lost.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// As in `Welcome`.
    pub session_token: [u8; 16],
    /// Sequence number of the last message of the server that the client has processed; 0 for none.
    pub received: u64,
}

impl fmt::Debug for Resume {
    /// Whoever has the token has the session.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resume(received {})", self.received)
    }
}

/// Sequence number of the last message that a side has processed: the other side need not keep it,
/// nor any before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// The number; 0 for none.
    pub received: u64,
}

impl ClientMessage {
    /// Whether it has a place in the order of the session's messages.
    pub fn is_counted(&self) -> bool {
        !matches!(self, Self::Resume(_) | Self::Received(_))
    }
}

impl ServerMessage {
    /// As of `ClientMessage`.
    pub fn is_counted(&self) -> bool {
        !matches!(self, Self::Resumed(_) | Self::Received(_))
    }
}

/// A number that the other side names does not fit what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ResumeError {
    /// It cannot have processed that.
    #[error(
        "message {actual} cannot have been processed; the last one that was sent is {expected}"
    )]
    NotSent {
        /// The last one that was sent.
        expected: u64,
        /// What the other side says.
        actual: u64,
    },
    /// It would need messages that are not kept any more.
    #[error("the oldest message that is kept is {expected}; {actual} would be the next one")]
    NotKept {
        /// The oldest one that is kept.
        expected: u64,
        /// What the other side needs.
        actual: u64,
    },
}

/// The frames of one side, in order: those that wait for the connection, and those that were handed
/// to it and are not confirmed.
#[derive(Debug)]
pub struct Outbox<F> {
    frames: VecDeque<F>,
    /// Number of the first of them.
    first: u64,
    /// How many of them were handed to the connection.
    handed: usize,
    bytes: usize,
    bytes_handed: usize,
}

impl<F> Default for Outbox<F> {
    fn default() -> Self {
        Self {
            frames: VecDeque::new(),
            first: 1,
            handed: 0,
            bytes: 0,
            bytes_handed: 0,
        }
    }
}

impl<F: AsRef<[u8]> + Clone> Outbox<F> {
    /// The number that the next frame must have.
    pub fn next_sequence(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    /// Frames that wait for the connection.
    pub fn waiting(&self) -> usize {
        self.frames.len() - self.handed
    }

    /// Bytes that wait for the connection.
    pub fn bytes_waiting(&self) -> usize {
        self.bytes - self.bytes_handed
    }

    /// Adds the frame with the number `next_sequence`.
    pub fn push(&mut self, frame: F) {
        self.bytes += frame.as_ref().len();
        self.frames.push_back(frame);
    }

    /// The next frame for the connection; it is kept until it is confirmed.
    pub fn hand_over(&mut self) -> Option<F> {
        let frame = self.frames.get(self.handed)?.clone();
        self.handed += 1;
        self.bytes_handed += frame.as_ref().len();
        Some(frame)
    }

    /// Lets go of what the other side has processed. What it has confirmed before changes nothing.
    ///
    /// # Errors
    ///
    /// `NotSent`; then nothing is changed.
    pub fn confirm(&mut self, processed: u64) -> Result<(), ResumeError> {
        self.confirm_of(processed, self.handed)
    }

    /// Begins anew behind what the other side has processed, for another connection: everything
    /// else waits again.
    ///
    /// # Errors
    ///
    /// `NotSent`, and `NotKept` after `keep_at_most` has let go of what it needs; then nothing is
    /// changed.
    pub fn go_back(&mut self, processed: u64) -> Result<(), ResumeError> {
        let actual = processed.saturating_add(1);
        if actual < self.first {
            let expected = self.first;
            return Err(ResumeError::NotKept { expected, actual });
        }
        // What an earlier connection has taken over was handed out before it began anew.
        self.confirm_of(processed, self.frames.len())?;
        (self.handed, self.bytes_handed) = (0, 0);
        Ok(())
    }

    /// Lets go of the oldest frames that were handed over until they are within both bounds.
    pub fn keep_at_most(&mut self, messages: usize, bytes: usize) {
        while self.handed > messages || self.bytes_handed > bytes {
            self.forget_first();
        }
    }

    /// `sent`: how many of the frames here the other side can have.
    fn confirm_of(&mut self, processed: u64, sent: usize) -> Result<(), ResumeError> {
        let expected = self.first + sent as u64 - 1;
        if processed > expected {
            let actual = processed;
            return Err(ResumeError::NotSent { expected, actual });
        }
        while self.first <= processed {
            self.forget_first();
        }
        Ok(())
    }

    fn forget_first(&mut self) {
        let Some(frame) = self.frames.pop_front() else {
            return;
        };
        let bytes = frame.as_ref().len();
        self.first += 1;
        self.bytes -= bytes;
        if self.handed > 0 {
            self.handed -= 1;
            self.bytes_handed -= bytes;
        }
    }
}

/// Whether a frame is the one that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It is.
    Next,
    /// It was processed before: it is to be dropped.
    Again,
    /// Another one is missing before it, or it has no number: the two sides do not agree.
    OutOfOrder,
}

/// What one side has processed, and what of that it has confirmed.
#[derive(Debug, Default)]
pub struct Inbox {
    processed: u64,
    confirmed: u64,
    bytes_unconfirmed: u64,
}

impl Inbox {
    /// The number of the last message that was processed; 0 for none.
    pub fn processed(&self) -> u64 {
        self.processed
    }

    /// What a counted frame with this number is.
    pub fn arrival(&self, sequence: u64) -> Arrival {
        match sequence {
            UNCOUNTED => Arrival::OutOfOrder,
            again if again <= self.processed => Arrival::Again,
            next if next == self.processed + 1 => Arrival::Next,
            _ => Arrival::OutOfOrder,
        }
    }

    /// Counts the next message, of so many bytes.
    pub fn take(&mut self, bytes: usize) {
        self.processed += 1;
        self.bytes_unconfirmed = self.bytes_unconfirmed.saturating_add(bytes as u64);
    }

    /// What has to be confirmed now, if anything; it then counts as confirmed. Should that get
    /// lost, so does the connection, and `Resume` says it anew.
    pub fn owed(&mut self) -> Option<Received> {
        let messages = self.processed - self.confirmed;
        let is_due = messages >= CONFIRM_MESSAGES
            || (messages > 0 && self.bytes_unconfirmed >= CONFIRM_BYTES);
        is_due.then(|| self.confirm())
    }

    /// What was processed; it then counts as confirmed.
    pub fn confirm(&mut self) -> Received {
        self.confirmed = self.processed;
        self.bytes_unconfirmed = 0;
        Received {
            received: self.processed,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Frames of one byte, their own number.
    fn outbox(frames: u8) -> Outbox<Vec<u8>> {
        let mut outbox = Outbox::default();
        for number in 1..=frames {
            assert_eq!(outbox.next_sequence(), u64::from(number));
            outbox.push(vec![number]);
        }
        outbox
    }

    fn handed(outbox: &mut Outbox<Vec<u8>>) -> Vec<u8> {
        std::iter::from_fn(|| outbox.hand_over())
            .flatten()
            .collect()
    }

    #[test]
    fn what_is_not_confirmed_is_handed_over_again_under_its_number() {
        let mut outbox = outbox(5);
        assert_eq!(outbox.hand_over(), Some(vec![1]));
        assert_eq!(outbox.hand_over(), Some(vec![2]));
        assert_eq!(outbox.hand_over(), Some(vec![3]));
        assert_eq!((outbox.waiting(), outbox.bytes_waiting()), (2, 2));
        outbox.confirm(1).unwrap();
        // The other side has seen 2, and the connection is another one.
        outbox.go_back(2).unwrap();
        assert_eq!(handed(&mut outbox), [3, 4, 5]);
        assert_eq!(outbox.next_sequence(), 6);
        // And once more, before anything else is confirmed.
        outbox.go_back(2).unwrap();
        assert_eq!(handed(&mut outbox), [3, 4, 5]);
        outbox.go_back(5).unwrap();
        assert!(handed(&mut outbox).is_empty());
        outbox.push(vec![6]);
        assert_eq!(handed(&mut outbox), [6]);
    }

    #[test]
    fn a_number_that_was_never_sent_is_refused() {
        let mut outbox = outbox(3);
        outbox.hand_over();
        let not_sent = |expected, actual| Err(ResumeError::NotSent { expected, actual });
        assert_eq!(outbox.confirm(2), not_sent(1, 2)); // it waits
        assert_eq!(outbox.go_back(4), not_sent(3, 4));
        assert_eq!(outbox.go_back(u64::MAX), not_sent(3, u64::MAX));
        assert_eq!(outbox.confirm(1), Ok(()));
        assert_eq!(outbox.confirm(0), Ok(())); // known for long
        let (expected, actual) = (2, 1);
        assert_eq!(
            outbox.go_back(0),
            Err(ResumeError::NotKept { expected, actual })
        );
        assert_eq!(handed(&mut outbox), [2, 3]);
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_waits_is_not_forgotten() {
        let mut outbox = outbox(6);
        for _ in 0..4 {
            outbox.hand_over();
        }
        outbox.keep_at_most(3, 2);
        let (expected, actual) = (3, 2);
        assert_eq!(
            outbox.go_back(1),
            Err(ResumeError::NotKept { expected, actual })
        );
        outbox.go_back(2).unwrap();
        outbox.keep_at_most(0, 0);
        assert_eq!(handed(&mut outbox), [3, 4, 5, 6]);
        outbox.keep_at_most(0, 0);
        assert_eq!((outbox.bytes, outbox.bytes_handed), (0, 0));
        assert_eq!(outbox.next_sequence(), 7);
    }

    #[test]
    fn a_frame_that_comes_again_is_told_from_one_that_is_missing() {
        let mut inbox = Inbox::default();
        assert_eq!(inbox.arrival(1), Arrival::Next);
        inbox.take(0);
        inbox.take(0);
        let arrivals = [0, 1, 2, 3, 4, u64::MAX].map(|sequence| inbox.arrival(sequence));
        let (again, out) = (Arrival::Again, Arrival::OutOfOrder);
        assert_eq!(arrivals, [out, again, again, Arrival::Next, out, out]);
    }

    #[test]
    fn many_messages_or_many_bytes_are_confirmed() {
        let mut inbox = Inbox::default();
        for _ in 1..CONFIRM_MESSAGES {
            inbox.take(1);
            assert_eq!(inbox.owed(), None);
        }
        inbox.take(1);
        let received = CONFIRM_MESSAGES;
        assert_eq!(inbox.owed(), Some(Received { received }));
        assert_eq!(inbox.owed(), None);
        inbox.take(CONFIRM_BYTES as usize);
        let received = received + 1;
        assert_eq!(inbox.owed(), Some(Received { received }));
        inbox.take(1);
        let received = received + 1;
        assert_eq!(inbox.confirm(), Received { received });
    }

    #[test]
    fn a_token_is_not_shown() {
        let resume = Resume {
            session_token: [171; 16],
            received: 3,
        };
        assert_eq!(format!("{resume:?}"), "Resume(received 3)");
    }
}

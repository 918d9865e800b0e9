//! Which message of a client is allowed when: the one table that both halves of a session obey.
//!
//! The server moves on when it accepts a message, the client when it reads the answer, so both pass
//! through the same phases in the same order. What ends a phase is in docs/protocol.md, section 6.

use super::message::ClientMessage;

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Until `Hello` is accepted.
    Handshake,
    /// Until `Train` is accepted: examples come in.
    Collecting,
    /// Until `Pause` is accepted or the run is done: a run goes on.
    Training,
    /// Until `Continue` is accepted or the run is done: a run is held.
    Held,
    /// After a run, or after `UseAdapter`: there is an adapter that predicts.
    Trained,
}

impl Phase {
    /// Every phase, in the order of the documentation's table.
    pub const ALL: [Self; 5] = [
        Self::Handshake,
        Self::Collecting,
        Self::Training,
        Self::Held,
        Self::Trained,
    ];

    /// Tells whether the client may send this message now.
    pub fn allows(self, message: &ClientMessage) -> bool {
        match message {
            ClientMessage::Hello(_) | ClientMessage::Resume(_) => self == Self::Handshake,
            ClientMessage::Upload(_) | ClientMessage::UseAdapter(_) => self == Self::Collecting,
            ClientMessage::Train(_) => matches!(self, Self::Collecting | Self::Trained),
            ClientMessage::Pause => self == Self::Training,
            ClientMessage::Continue => self == Self::Held,
            ClientMessage::Cancel => matches!(self, Self::Training | Self::Held),
            ClientMessage::Predict(_) => self == Self::Trained,
            ClientMessage::Goodbye | ClientMessage::Received(_) => self != Self::Handshake,
            // A run that is held has still asked, and its answer may be on the way.
            ClientMessage::BatchActivations(_)
            | ClientMessage::PooledGradient(_)
            | ClientMessage::Verdict(_) => matches!(self, Self::Training | Self::Held),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::{Judgement, Verdict};

    #[test]
    fn a_run_is_steered_only_while_there_is_one() {
        let allowed = |message: &ClientMessage| -> Vec<Phase> {
            Phase::ALL
                .into_iter()
                .filter(|phase| phase.allows(message))
                .collect()
        };
        assert_eq!(allowed(&ClientMessage::Pause), [Phase::Training]);
        assert_eq!(allowed(&ClientMessage::Continue), [Phase::Held]);
        assert_eq!(
            allowed(&ClientMessage::Cancel),
            [Phase::Training, Phase::Held]
        );
        assert_eq!(allowed(&ClientMessage::Goodbye), Phase::ALL[1..]);
        let verdict = ClientMessage::Verdict(Verdict {
            step: 1,
            judgement: Judgement::Best,
        });
        assert_eq!(allowed(&verdict), [Phase::Training, Phase::Held]);
    }
}

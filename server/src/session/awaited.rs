//! What a run has asked its client for, and whether an answer is to that.

use shared::protocol::exchange::{ExchangeError, Square, check_step};
use shared::protocol::message::{ClientMessage, Judgement};

use crate::trainer::Ask;

/// What a run waits for.
#[derive(Debug)]
pub(super) enum Awaited {
    /// `BatchActivations`.
    Activations {
        step: u32,
        seq_lengths: Vec<u16>,
        square: Square,
    },
    /// `PooledGradient`.
    Gradient {
        step: u32,
        examples: usize,
        square: Square,
    },
    /// `Verdict`; after the last examples of a pass it says more than that there are others.
    Verdict { step: u32, last: bool },
}

impl Awaited {
    /// What answers this.
    pub(super) fn by(ask: &Ask) -> Self {
        match ask {
            Ask::Activations {
                batch,
                seq_lengths,
                square,
            } => Self::Activations {
                step: batch.step,
                seq_lengths: seq_lengths.clone(),
                square: *square,
            },
            Ask::Gradient { pooled, square, .. } => Self::Gradient {
                step: pooled.step,
                examples: pooled.example_ids.len(),
                square: *square,
            },
            Ask::Verdict { pooled, last, .. } => Self::Verdict {
                step: pooled.step,
                last: *last,
            },
        }
    }
}

/// Holds an answer and its payload against what is awaited.
///
/// # Errors
///
/// An answer to nothing, to something else, or with other numbers than were asked for.
pub(super) fn check(
    awaited: Option<&Awaited>,
    message: &ClientMessage,
    payload: &[u8],
    d_model: u32,
) -> Result<(), ExchangeError> {
    let not_awaited = || ExchangeError::NotAwaited {
        message: message.name(),
    };
    match (awaited, message) {
        (
            Some(Awaited::Activations {
                step,
                seq_lengths,
                square,
            }),
            ClientMessage::BatchActivations(answer),
        ) => answer.check(payload, *step, seq_lengths, *square, d_model),
        (
            Some(Awaited::Gradient {
                step,
                examples,
                square,
            }),
            ClientMessage::PooledGradient(answer),
        ) => answer.check(payload, *step, *examples, *square, d_model),
        (Some(Awaited::Verdict { step, last }), ClientMessage::Verdict(answer)) => {
            check_step(*step, answer.step)?;
            let says_more = answer.judgement != Judgement::Unfinished;
            if says_more == *last {
                Ok(())
            } else {
                Err(not_awaited())
            }
        }
        _ => Err(not_awaited()),
    }
}

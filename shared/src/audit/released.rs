//! What the server holds after an upload.

use std::fmt;

use super::attack::AuditError;
use crate::model::CutActivations;
use crate::protocol::tensor::ActivationDtype;
use crate::text::TokenIds;

/// What the server holds after an upload, and all that an attack sees of the evaluated examples.
#[derive(Clone, PartialEq)]
pub struct Released {
    /// As they arrived. Rows correspond to positions of the text only if
    /// [`Simulator::keeps_positions`](super::attack::Simulator::keeps_positions).
    pub activations: CutActivations,
    /// The tokens that the bottom was given, where the mechanism works on tokens: a server with
    /// the same frozen bottom can compute them from the activations, so the attacker is granted
    /// them, whatever the cut. One row of the activations each.
    pub sanitized: Option<Vec<TokenIds>>,
    /// Gradients of each example that the server saw, `[examples, any width]`, where the protocol
    /// has such.
    pub gradients: Option<Vec<Vec<f32>>>,
    /// The same examples, observed again; empty where each was observed once.
    pub repeats: Vec<Released>,
}

impl fmt::Debug for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Released({:?})", self.activations)
    }
}

impl Released {
    /// One observation of some examples.
    pub fn new(activations: CutActivations) -> Self {
        Self {
            activations,
            sanitized: None,
            gradients: None,
            repeats: Vec::new(),
        }
    }

    /// An observation of which only the tokens are looked at: of a frozen bottom that is given
    /// sanitized tokens the activations are a function of them, and tell nothing more. It has no
    /// rows, so that an attack on activations finds no example.
    pub fn of_tokens(sanitized: Vec<TokenIds>, d_model: usize) -> Self {
        let none = CutActivations {
            values: Vec::new(),
            seq_lengths: Vec::new(),
            d_model,
        };
        Self::new(none).with_sanitized(Some(sanitized))
    }

    /// Adds the tokens that the bottom was given.
    #[must_use]
    pub fn with_sanitized(self, sanitized: Option<Vec<TokenIds>>) -> Self {
        Self { sanitized, ..self }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.activations.seq_lengths().len()
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The activations of each example, `[rows of the example, d_model]`, row-major.
    pub fn examples(&self) -> impl Iterator<Item = &[f32]> {
        let d_model = self.activations.d_model();
        let mut rest = self.activations.values();
        self.activations.seq_lengths().iter().map(move |length| {
            let (example, behind) = rest.split_at(usize::from(*length) * d_model);
            rest = behind;
            example
        })
    }

    /// What arrives when the activations are written as `dtype` on their way.
    ///
    /// # Errors
    ///
    /// When a number does not fit the dtype: it could not have been sent.
    pub fn as_sent(mut self, dtype: ActivationDtype) -> Result<Self, AuditError> {
        let (tensor, payload) = self.activations.to_payload(dtype)?;
        self.activations.values = tensor.decode(&payload)?;
        Ok(self)
    }

    /// Puts the examples of another release behind these; repeats are not carried over.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        self.activations
            .values
            .extend_from_slice(&other.activations.values);
        self.activations
            .seq_lengths
            .extend_from_slice(&other.activations.seq_lengths);
        Self {
            sanitized: both(self.sanitized, other.sanitized),
            gradients: both(self.gradients, other.gradients),
            activations: self.activations,
            repeats: Vec::new(),
        }
    }

    /// Some of the examples, in the order asked for; indices that are not there are left out.
    #[must_use]
    pub fn select(&self, examples: &[usize]) -> Self {
        let rows: Vec<&[f32]> = self.examples().collect();
        let lengths = self.activations.seq_lengths();
        let known = || examples.iter().copied().filter(|index| *index < rows.len());
        let tokens = |all: &Vec<TokenIds>| known().filter_map(|at| all.get(at).cloned()).collect();
        let vectors = |all: &Vec<Vec<f32>>| known().filter_map(|at| all.get(at).cloned()).collect();
        Self {
            activations: CutActivations {
                values: known().flat_map(|at| rows[at]).copied().collect(),
                seq_lengths: known().map(|at| lengths[at]).collect(),
                d_model: self.activations.d_model(),
            },
            sanitized: self.sanitized.as_ref().map(tokens),
            gradients: self.gradients.as_ref().map(vectors),
            repeats: self.repeats.iter().map(|r| r.select(examples)).collect(),
        }
    }
}

/// Both lists as one, where both are there.
fn both<T: Clone>(first: Option<Vec<T>>, second: Option<Vec<T>>) -> Option<Vec<T>> {
    Some([first?, second?].concat())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;

    /// A release of rows of two numbers.
    pub(in crate::audit) fn released(lengths: &[u16], values: &[f32]) -> Released {
        Released::new(CutActivations {
            values: values.to_vec(),
            seq_lengths: lengths.to_vec(),
            d_model: 2,
        })
    }

    #[test]
    fn examples_are_taken_apart_and_put_together_again() {
        let all = released(&[1, 2], &[1., 2., 3., 4., 5., 6.]);
        let examples: Vec<&[f32]> = all.examples().collect();
        assert_eq!(examples, [&[1., 2.][..], &[3., 4., 5., 6.]]);
        let turned = all.select(&[1, 0]);
        assert_eq!(turned, released(&[2, 1], &[3., 4., 5., 6., 1., 2.]));
        assert_eq!(all.select(&[0]).join(all.select(&[1])), all);
        assert_eq!(all.select(&[7]).len(), 0);
    }

    #[test]
    fn tokens_alone_are_joined_and_have_no_rows() {
        let text = |id| TokenIds::new(vec![id], vec![0], vec![false]).unwrap();
        let both =
            Released::of_tokens(vec![text(5)], 2).join(Released::of_tokens(vec![text(6)], 2));
        assert_eq!(both, Released::of_tokens(vec![text(5), text(6)], 2));
        assert_eq!(both.examples().count(), 0);
    }

    #[test]
    fn what_is_sent_as_f16_arrives_rounded() {
        // f16 has 11 significant bits: between 1 and 2 it steps by 2^-10.
        let sent = released(&[1], &[1.0 + 2f32.powi(-10), 1.0 + 2f32.powi(-13)]);
        let arrived = sent.as_sent(ActivationDtype::F16).unwrap();
        assert_eq!(arrived.activations.values(), [1.0 + 2f32.powi(-10), 1.0]);
    }
}

//! Whether a batch of examples, its tensor and its payload agree with each other and with the
//! session.
//!
//! The codec knows one frame, the session knows its phase; this is what lies between. Example ids
//! are not checked here: only the server knows which it has seen.

use thiserror::Error;

use super::limits::{LimitError, Limits, at_most};
use super::message::{Predict, RefusalCode, Upload};
use super::tensor::{TensorDescriptor, TensorError};

/// Why a batch cannot be used. Says where, never what: a label is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BatchError {
    /// A batch without examples.
    #[error("a batch has at least 1 example; got 0")]
    Empty,
    /// Too many examples, or an example with too many positions.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// An example without positions.
    #[error("example {position} of the batch has 0 rows; expected at least 1")]
    NoRows {
        /// Place in the batch, from 0.
        position: usize,
    },
    /// The examples' rows are not the tensor's.
    #[error("the examples have {expected} rows together; the tensor has {actual}")]
    WrongRows {
        /// Sum of `seq_length`.
        expected: u64,
        /// Rows of the descriptor.
        actual: u32,
    },
    /// The tensor is not as wide as the model.
    #[error("an activation has {expected} columns; the tensor has {actual}")]
    WrongColumns {
        /// `d_model` of `Welcome`.
        expected: u32,
        /// Columns of the descriptor.
        actual: u32,
    },
    /// A label that is no class of the task.
    #[error("example {position} of the batch has a label outside the {n_classes} classes")]
    BadLabel {
        /// Place in the batch, from 0.
        position: usize,
        /// Classes of the task.
        n_classes: u32,
    },
    /// The payload is not the tensor.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl BatchError {
    /// Tells what the other side is told.
    pub fn refusal_code(&self) -> RefusalCode {
        match self {
            Self::Limit(error) => error.refusal_code(),
            Self::Tensor(error) => error.refusal_code(),
            Self::BadLabel { .. } => RefusalCode::BadLabel,
            Self::Empty
            | Self::NoRows { .. }
            | Self::WrongRows { .. }
            | Self::WrongColumns { .. } => RefusalCode::WrongShape,
        }
    }
}

impl Upload {
    /// Holds the message and its payload against the session; every number of the payload is looked
    /// at.
    ///
    /// # Errors
    /// The first disagreement, cheapest first.
    pub fn check(
        &self,
        payload: &[u8],
        d_model: u32,
        n_classes: u32,
        limits: &Limits,
    ) -> Result<(), BatchError> {
        if let Some(position) = self.examples.iter().position(|one| one.label >= n_classes) {
            return Err(BatchError::BadLabel {
                position,
                n_classes,
            });
        }
        let seq_lengths = self.examples.iter().map(|example| example.seq_length);
        check_batch(seq_lengths, &self.activations, payload, d_model, limits)
    }
}

impl Predict {
    /// Holds the message and its payload against the session; every number of the payload is looked
    /// at.
    ///
    /// # Errors
    /// The first disagreement, cheapest first.
    pub fn check(&self, payload: &[u8], d_model: u32, limits: &Limits) -> Result<(), BatchError> {
        let seq_lengths = self.seq_lengths.iter().copied();
        check_batch(seq_lengths, &self.activations, payload, d_model, limits)
    }
}

fn check_batch(
    seq_lengths: impl ExactSizeIterator<Item = u16>,
    activations: &TensorDescriptor,
    payload: &[u8],
    d_model: u32,
    limits: &Limits,
) -> Result<(), BatchError> {
    if seq_lengths.len() == 0 {
        return Err(BatchError::Empty);
    }
    let examples_max = u64::from(limits.batch_examples_max);
    at_most("batch_examples_max", examples_max, seq_lengths.len() as u64)?;
    let mut expected = 0;
    for (position, seq_length) in seq_lengths.enumerate() {
        if seq_length == 0 {
            return Err(BatchError::NoRows { position });
        }
        let seq_length_max = u64::from(limits.seq_length_max);
        expected += at_most("seq_length_max", seq_length_max, u64::from(seq_length))?;
    }
    let TensorDescriptor { rows, columns, .. } = *activations;
    if expected != u64::from(rows) {
        return Err(BatchError::WrongRows {
            expected,
            actual: rows,
        });
    }
    if columns != d_model {
        return Err(BatchError::WrongColumns {
            expected: d_model,
            actual: columns,
        });
    }
    Ok(activations.check(payload)?)
}

#[allow(clippy::unwrap_used)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::{ExampleHeader, Split};
    use crate::protocol::tensor::ActivationDtype;

    /// Two examples of one and two rows, two columns, int8: 3 scales and 6 numbers.
    fn upload() -> Upload {
        let example = |example_id, label, seq_length| {
            let split = Split::Train;
            ExampleHeader {
                example_id,
                split,
                label,
                seq_length,
            }
        };
        Upload {
            examples: vec![example(7, 0, 1), example(8, 1, 2)],
            activations: TensorDescriptor {
                dtype: ActivationDtype::Int8,
                rows: 3,
                columns: 2,
            },
        }
    }

    fn refusal(upload: &Upload) -> BatchError {
        upload
            .check(&[0; 18], 2, 2, &Limits::default())
            .unwrap_err()
    }

    #[test]
    fn a_batch_that_agrees_is_accepted() {
        upload().check(&[0; 18], 2, 2, &Limits::default()).unwrap();
        let Upload { activations, .. } = upload();
        let predict = Predict {
            request_id: 0,
            seq_lengths: vec![1, 2],
            activations,
        };
        predict.check(&[0; 18], 2, &Limits::default()).unwrap();
    }

    #[test]
    fn examples_and_tensor_must_agree() {
        let mut longer = upload();
        longer.examples[1].seq_length = 3;
        assert_eq!(
            refusal(&longer),
            BatchError::WrongRows {
                expected: 4,
                actual: 3
            }
        );
        let mut wider = upload();
        wider.activations.columns = 3;
        assert_eq!(
            refusal(&wider),
            BatchError::WrongColumns {
                expected: 2,
                actual: 3
            }
        );
        let error = upload()
            .check(&[0; 17], 2, 2, &Limits::default())
            .unwrap_err();
        let size = TensorError::WrongSize {
            expected: 18,
            actual: 17,
        };
        assert_eq!(error, BatchError::Tensor(size));
        assert_eq!(error.refusal_code(), RefusalCode::WrongShape);
    }

    #[test]
    fn a_label_outside_the_classes_is_named_by_its_place_only() {
        let mut upload = upload();
        upload.examples[1].label = 4_242;
        let error = refusal(&upload);
        assert_eq!(
            error,
            BatchError::BadLabel {
                position: 1,
                n_classes: 2
            }
        );
        assert!(!error.to_string().contains("4242"));
    }

    #[test]
    fn examples_are_bounded() {
        let mut none = upload();
        none.examples.clear();
        assert_eq!(refusal(&none), BatchError::Empty);
        let mut hollow = upload();
        hollow.examples[0].seq_length = 0;
        assert_eq!(refusal(&hollow), BatchError::NoRows { position: 0 });
        let mut long = upload();
        long.examples[0].seq_length = 513;
        assert_eq!(refusal(&long).to_string(), "seq_length_max is 512; got 513");
        let mut many = upload();
        many.examples = vec![many.examples[0]; 257];
        assert_eq!(
            refusal(&many).to_string(),
            "batch_examples_max is 256; got 257"
        );
        assert_eq!(refusal(&many).refusal_code(), RefusalCode::LimitExceeded);
    }

    #[test]
    fn a_payload_that_is_not_finite_is_refused() {
        let mut payload = [0; 18];
        payload[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
        let error = upload()
            .check(&payload, 2, 2, &Limits::default())
            .unwrap_err();
        assert_eq!(error.refusal_code(), RefusalCode::NotFinite);
        assert_eq!(error.to_string(), "row 1, column 0 is not finite");
    }
}

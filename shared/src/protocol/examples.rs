//! Whether a batch of examples, its tensor and its payload agree with each other and with the
//! session.
//!
//! The codec knows one frame, the session knows its phase; this is what lies between. Example ids
//! are not checked here: only the server knows which it has seen.

use thiserror::Error;

use super::limits::{LimitError, Limits, at_most};
use super::message::{BottomTraining, Hello, LabelPlace, Predict, RefusalCode, Upload};
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
    /// A label that must be there.
    #[error("example {position} of the batch has no label; labels of this session are here")]
    LabelMissing {
        /// Place in the batch, from 0.
        position: usize,
    },
    /// A label that must not be there.
    #[error(
        "example {position} of the batch has a label; those of this session stay at the client"
    )]
    LabelPresent {
        /// Place in the batch, from 0.
        position: usize,
    },
    /// Activations that must not be there.
    #[error(
        "a trained bottom sends no activations before it is asked; the tensor has {actual} rows"
    )]
    RowsTooEarly {
        /// Rows of the descriptor.
        actual: u32,
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
            Self::BadLabel { .. } | Self::LabelMissing { .. } | Self::LabelPresent { .. } => {
                RefusalCode::BadLabel
            }
            Self::Empty
            | Self::RowsTooEarly { .. }
            | Self::NoRows { .. }
            | Self::WrongRows { .. }
            | Self::WrongColumns { .. } => RefusalCode::WrongShape,
        }
    }
}

/// What `Hello` says of the examples that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExampleForm {
    /// Classes of the task.
    pub n_classes: u32,
    /// Where the labels are.
    pub labels: LabelPlace,
    /// Whether activations come later.
    pub bottom: BottomTraining,
}

impl From<&Hello> for ExampleForm {
    fn from(hello: &Hello) -> Self {
        Self {
            n_classes: hello.n_classes,
            labels: hello.labels,
            bottom: hello.bottom,
        }
    }
}

impl ExampleForm {
    /// Holds one label against the form.
    fn check_label(&self, position: usize, label: Option<u32>) -> Result<(), BatchError> {
        let n_classes = self.n_classes;
        match (self.labels, label) {
            (LabelPlace::Server, None) => Err(BatchError::LabelMissing { position }),
            (LabelPlace::Client, Some(_)) => Err(BatchError::LabelPresent { position }),
            (LabelPlace::Server, Some(label)) if label >= n_classes => Err(BatchError::BadLabel {
                position,
                n_classes,
            }),
            _ => Ok(()),
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
        form: &ExampleForm,
        limits: &Limits,
    ) -> Result<(), BatchError> {
        for (position, example) in self.examples.iter().enumerate() {
            form.check_label(position, example.label)?;
        }
        let seq_lengths = self.examples.iter().map(|example| example.seq_length);
        match form.bottom {
            BottomTraining::Frozen => {
                check_batch(seq_lengths, &self.activations, payload, d_model, limits)
            }
            BottomTraining::Lora => {
                check_lengths(seq_lengths, limits)?;
                let rows = self.activations.rows;
                if rows > 0 {
                    return Err(BatchError::RowsTooEarly { actual: rows });
                }
                check_columns(&self.activations, d_model)?;
                Ok(self.activations.check(payload)?)
            }
        }
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
    let expected = check_lengths(seq_lengths, limits)?;
    let actual = activations.rows;
    if expected != u64::from(actual) {
        return Err(BatchError::WrongRows { expected, actual });
    }
    check_columns(activations, d_model)?;
    Ok(activations.check(payload)?)
}

/// Sum of the lengths of a batch whose every length is possible.
fn check_lengths(
    seq_lengths: impl ExactSizeIterator<Item = u16>,
    limits: &Limits,
) -> Result<u64, BatchError> {
    if seq_lengths.len() == 0 {
        return Err(BatchError::Empty);
    }
    let examples_max = u64::from(limits.batch_examples_max);
    at_most("batch_examples_max", examples_max, seq_lengths.len() as u64)?;
    let mut rows = 0;
    for (position, seq_length) in seq_lengths.enumerate() {
        if seq_length == 0 {
            return Err(BatchError::NoRows { position });
        }
        let seq_length_max = u64::from(limits.seq_length_max);
        rows += at_most("seq_length_max", seq_length_max, u64::from(seq_length))?;
    }
    Ok(rows)
}

fn check_columns(tensor: &TensorDescriptor, d_model: u32) -> Result<(), BatchError> {
    if tensor.columns != d_model {
        return Err(BatchError::WrongColumns {
            expected: d_model,
            actual: tensor.columns,
        });
    }
    Ok(())
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
                label: Some(label),
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

    /// Two classes, labels here, activations at once.
    const FORM: ExampleForm = ExampleForm {
        n_classes: 2,
        labels: LabelPlace::Server,
        bottom: BottomTraining::Frozen,
    };

    fn check(upload: &Upload, payload: &[u8], form: &ExampleForm) -> Result<(), BatchError> {
        upload.check(payload, 2, form, &Limits::default())
    }

    fn refusal(upload: &Upload) -> BatchError {
        check(upload, &[0; 18], &FORM).unwrap_err()
    }

    #[test]
    fn a_batch_that_agrees_is_accepted() {
        check(&upload(), &[0; 18], &FORM).unwrap();
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
        let error = check(&upload(), &[0; 17], &FORM).unwrap_err();
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
        upload.examples[1].label = Some(4_242);
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
    fn a_label_is_where_hello_said() {
        let at_client = ExampleForm {
            labels: LabelPlace::Client,
            ..FORM
        };
        let error = check(&upload(), &[0; 18], &at_client).unwrap_err();
        assert_eq!(error, BatchError::LabelPresent { position: 0 });
        assert_eq!(error.refusal_code(), RefusalCode::BadLabel);
        let mut without = upload();
        without.examples[1].label = None;
        let error = refusal(&without);
        assert_eq!(error, BatchError::LabelMissing { position: 1 });
        assert_eq!(error.refusal_code(), RefusalCode::BadLabel);
        without.examples[0].label = None;
        check(&without, &[0; 18], &at_client).unwrap();
    }

    #[test]
    fn a_trained_bottom_sends_headers_alone() {
        let trained = ExampleForm {
            bottom: BottomTraining::Lora,
            ..FORM
        };
        let error = check(&upload(), &[0; 18], &trained).unwrap_err();
        assert_eq!(error, BatchError::RowsTooEarly { actual: 3 });
        assert_eq!(error.refusal_code(), RefusalCode::WrongShape);
        let mut headers = upload();
        headers.activations.rows = 0;
        check(&headers, &[], &trained).unwrap();
        assert!(check(&headers, &[0], &trained).is_err());
        headers.examples[0].seq_length = 0;
        let error = check(&headers, &[], &trained).unwrap_err();
        assert_eq!(error, BatchError::NoRows { position: 0 });
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
        let error = check(&upload(), &payload, &FORM).unwrap_err();
        assert_eq!(error.refusal_code(), RefusalCode::NotFinite);
        assert_eq!(error.to_string(), "row 1, column 0 is not finite");
    }
}

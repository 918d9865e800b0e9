//! Whether the messages of a step-wise exchange agree with what was asked for, and how a gradient at
//! the cut is written.
//!
//! Both sides run these checks: each knows what it has asked for, or what it has sent.

use thiserror::Error;

use super::message::{BatchActivations, CutGradient, PooledGradient, RefusalCode};
use super::tensor::{ActivationDtype, TensorDescriptor, TensorError};

/// Why a message of the exchange cannot be used. Says where, never what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ExchangeError {
    /// Nothing of this kind was asked for.
    #[error("{message} answers nothing that the run has asked for")]
    NotAwaited {
        /// The message's name.
        message: &'static str,
    },
    /// Another step.
    #[error("expected step {expected}; got {actual}")]
    WrongStep {
        /// Asked for.
        expected: u32,
        /// What came.
        actual: u32,
    },
    /// Other examples, or the same ones in other lengths.
    #[error("the lengths are not those of the {expected} examples that were asked for")]
    WrongLengths {
        /// Examples asked for.
        expected: usize,
    },
    /// Another shape.
    #[error("expected {expected_rows} rows of {expected_columns}; got {rows} of {columns}")]
    WrongShape {
        /// Rows by the request.
        expected_rows: u64,
        /// Columns by the model.
        expected_columns: u32,
        /// Rows of the descriptor.
        rows: u32,
        /// Columns of the descriptor.
        columns: u32,
    },
    /// The payload is not the tensor.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The sum of squares is not there though gradients are clipped.
    #[error("gradient_square is missing; gradients of this run are clipped")]
    SquareMissing,
    /// The sum of squares is there though it has no place.
    #[error("gradient_square has no place here")]
    SquareUnexpected,
    /// A sum of squares or a scale that cannot be one.
    #[error("{field} is not a finite number of the sign that it must have")]
    NotFinite {
        /// The field's name on the wire.
        field: &'static str,
    },
}

impl ExchangeError {
    /// Tells what the other side is told.
    pub fn refusal_code(&self) -> RefusalCode {
        match self {
            Self::NotAwaited { .. }
            | Self::WrongStep { .. }
            | Self::SquareMissing
            | Self::SquareUnexpected => RefusalCode::NotAwaited,
            Self::WrongLengths { .. } | Self::WrongShape { .. } => RefusalCode::WrongShape,
            Self::Tensor(error) => error.refusal_code(),
            Self::NotFinite { .. } => RefusalCode::NotFinite,
        }
    }
}

/// Whether a sum of squares belongs into a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Square {
    /// A step awaits it: gradients are clipped.
    Owed,
    /// Nothing awaits it.
    NotOwed,
}

impl Square {
    /// `Owed` where gradients are clipped and a step awaits the other side's share.
    pub fn of(clips: bool, awaited: bool) -> Self {
        if clips && awaited {
            Self::Owed
        } else {
            Self::NotOwed
        }
    }

    /// Holds what a message says against what it should say.
    ///
    /// # Errors
    /// One that is missing or has no place, or is negative or not finite.
    pub fn check(self, told: Option<f32>) -> Result<(), ExchangeError> {
        match (self, told) {
            (Self::Owed, None) => Err(ExchangeError::SquareMissing),
            (Self::NotOwed, Some(_)) => Err(ExchangeError::SquareUnexpected),
            (Self::Owed, Some(square)) if !(square.is_finite() && square >= 0.0) => {
                let field = "gradient_square";
                Err(ExchangeError::NotFinite { field })
            }
            _ => Ok(()),
        }
    }
}

/// Holds a step number against the one awaited.
///
/// # Errors
/// Another step.
pub fn check_step(expected: u32, actual: u32) -> Result<(), ExchangeError> {
    if expected == actual {
        return Ok(());
    }
    Err(ExchangeError::WrongStep { expected, actual })
}

/// Holds a tensor of some rows against its payload; every number is looked at.
///
/// # Errors
/// The first disagreement, cheapest first.
pub fn check_tensor(
    tensor: &TensorDescriptor,
    payload: &[u8],
    rows: u64,
    d_model: u32,
) -> Result<(), ExchangeError> {
    if u64::from(tensor.rows) != rows || tensor.columns != d_model {
        return Err(ExchangeError::WrongShape {
            expected_rows: rows,
            expected_columns: d_model,
            rows: tensor.rows,
            columns: tensor.columns,
        });
    }
    Ok(tensor.check(payload)?)
}

impl BatchActivations {
    /// Holds the answer and its payload against the `Batch` of this step, whose examples have these
    /// lengths.
    ///
    /// # Errors
    /// The first disagreement, cheapest first.
    pub fn check(
        &self,
        payload: &[u8],
        step: u32,
        seq_lengths: &[u16],
        square: Square,
        d_model: u32,
    ) -> Result<(), ExchangeError> {
        check_step(step, self.step)?;
        square.check(self.gradient_square)?;
        if self.seq_lengths != seq_lengths {
            let expected = seq_lengths.len();
            return Err(ExchangeError::WrongLengths { expected });
        }
        let rows = seq_lengths.iter().map(|length| u64::from(*length)).sum();
        check_tensor(&self.activations, payload, rows, d_model)
    }
}

impl PooledGradient {
    /// Holds the answer and its payload against the `Pooled` of this step, of so many examples.
    ///
    /// # Errors
    /// The first disagreement, cheapest first.
    pub fn check(
        &self,
        payload: &[u8],
        step: u32,
        examples: usize,
        square: Square,
        d_model: u32,
    ) -> Result<(), ExchangeError> {
        check_step(step, self.step)?;
        square.check(self.gradient_square)?;
        check_tensor(&self.gradient, payload, examples as u64, d_model)
    }
}

/// Largest magnitude of a scaled gradient in F16, whose largest number is 65,504.
const F16_PEAK: f32 = 32_768.0;

impl CutGradient {
    /// Writes a gradient for activations that came as `dtype`: F32 as it is, everything else as F16,
    /// scaled so that its largest magnitude is 32,768. What is then lost to zero is smaller than the
    /// largest number by a factor of 10^12.
    ///
    /// # Errors
    /// Numbers that are not finite or do not fill whole rows.
    pub fn write(
        step: u32,
        dtype: ActivationDtype,
        d_model: usize,
        values: &[f32],
        gradient_square: Option<f32>,
    ) -> Result<(Self, Vec<u8>), TensorError> {
        let dtype = match dtype {
            ActivationDtype::F32 => ActivationDtype::F32,
            ActivationDtype::F16 | ActivationDtype::Int8 => ActivationDtype::F16,
        };
        let largest = values
            .iter()
            .fold(0.0_f32, |max, value| max.max(value.abs()));
        let scale = match dtype {
            // A gradient of zeros, or so small that its scale would be 0, is written as it is.
            ActivationDtype::F16 if largest / F16_PEAK > 0.0 => largest / F16_PEAK,
            _ => 1.0,
        };
        let scaled: Vec<f32> = values.iter().map(|value| value / scale).collect();
        let (gradient, payload) = TensorDescriptor::encode_rows(dtype, d_model, &scaled)?;
        let message = Self {
            step,
            gradient,
            scale,
            gradient_square,
        };
        Ok((message, payload))
    }

    /// Holds the message and its payload against the step and its activations, and gives the
    /// gradient, `[rows, d_model]`.
    ///
    /// # Errors
    /// The first disagreement, cheapest first.
    pub fn read(
        &self,
        payload: &[u8],
        step: u32,
        rows: u64,
        square: Square,
        d_model: u32,
    ) -> Result<Vec<f32>, ExchangeError> {
        check_step(step, self.step)?;
        square.check(self.gradient_square)?;
        if !(self.scale.is_finite() && self.scale > 0.0) {
            return Err(ExchangeError::NotFinite { field: "scale" });
        }
        check_tensor(&self.gradient, payload, rows, d_model)?;
        let mut values = self.gradient.decode(payload)?;
        for value in &mut values {
            *value *= self.scale;
        }
        if values.iter().all(|value| value.is_finite()) {
            Ok(values)
        } else {
            Err(ExchangeError::NotFinite { field: "scale" })
        }
    }
}

#[allow(clippy::unwrap_used)]
#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(rows: u32, columns: u32) -> TensorDescriptor {
        TensorDescriptor {
            dtype: ActivationDtype::F32,
            rows,
            columns,
        }
    }

    /// Two examples of one and two rows of two columns, and a sum of squares.
    fn activations() -> BatchActivations {
        BatchActivations {
            step: 5,
            seq_lengths: vec![1, 2],
            activations: tensor(3, 2),
            gradient_square: Some(0.5),
        }
    }

    fn code(activations: &BatchActivations, payload: &[u8]) -> RefusalCode {
        activations
            .check(payload, 5, &[1, 2], Square::Owed, 2)
            .unwrap_err()
            .refusal_code()
    }

    #[test]
    fn an_answer_that_agrees_is_accepted() {
        let payload = [0; 24];
        activations()
            .check(&payload, 5, &[1, 2], Square::Owed, 2)
            .unwrap();
        let gradient = PooledGradient {
            step: 5,
            gradient: tensor(3, 2),
            gradient_square: None,
        };
        gradient.check(&payload, 5, 3, Square::NotOwed, 2).unwrap();
        assert!(gradient.check(&payload, 5, 2, Square::NotOwed, 2).is_err());
    }

    #[test]
    fn each_disagreement_has_its_code() {
        let changed = |change: fn(&mut BatchActivations)| {
            let mut answer = activations();
            change(&mut answer);
            code(&answer, &[0; 24])
        };
        assert_eq!(changed(|it| it.step = 4), RefusalCode::NotAwaited);
        assert_eq!(
            changed(|it| it.gradient_square = None),
            RefusalCode::NotAwaited
        );
        assert_eq!(
            changed(|it| it.gradient_square = Some(-1.0)),
            RefusalCode::NotFinite
        );
        assert_eq!(
            changed(|it| it.gradient_square = Some(f32::NAN)),
            RefusalCode::NotFinite
        );
        assert_eq!(
            changed(|it| it.seq_lengths = vec![2, 1]),
            RefusalCode::WrongShape
        );
        assert_eq!(
            changed(|it| it.activations.rows = 2),
            RefusalCode::WrongShape
        );
        assert_eq!(code(&activations(), &[0; 23]), RefusalCode::WrongShape);
        let nan = f32::NAN.to_le_bytes().repeat(6);
        assert_eq!(code(&activations(), &nan), RefusalCode::NotFinite);
    }

    #[test]
    fn a_square_is_told_exactly_when_it_is_awaited() {
        assert_eq!(Square::of(true, true), Square::Owed);
        for square in [Square::of(true, false), Square::of(false, true)] {
            assert_eq!(square, Square::NotOwed);
            assert_eq!(
                square.check(Some(0.0)),
                Err(ExchangeError::SquareUnexpected)
            );
        }
        assert_eq!(Square::Owed.check(None), Err(ExchangeError::SquareMissing));
        Square::Owed.check(Some(0.0)).unwrap();
    }

    #[test]
    fn a_gradient_in_f32_is_what_was_written() {
        let values = [1e-9, -2.0, 3e4, 0.25];
        let (message, payload) =
            CutGradient::write(5, ActivationDtype::F32, 2, &values, None).unwrap();
        assert_eq!((message.scale, message.gradient.rows), (1.0, 2));
        let read = message.read(&payload, 5, 2, Square::NotOwed, 2).unwrap();
        assert_eq!(read, values);
        assert!(message.read(&payload, 6, 2, Square::NotOwed, 2).is_err());
        assert!(message.read(&payload, 5, 3, Square::NotOwed, 2).is_err());
        assert!(message.read(&payload, 5, 2, Square::Owed, 2).is_err());
    }

    /// Without the scale these would all be below the smallest f16, which is 6e-8.
    #[test]
    fn a_small_gradient_survives_f16() {
        let values = [2e-9, -1e-9, 5e-13, 1e-12];
        for dtype in [ActivationDtype::F16, ActivationDtype::Int8] {
            let (message, payload) = CutGradient::write(5, dtype, 2, &values, None).unwrap();
            assert_eq!(payload.len(), 8); // binary16
            let read = message.read(&payload, 5, 2, Square::NotOwed, 2).unwrap();
            for (value, read) in values.iter().zip(read) {
                assert!((read / value - 1.0).abs() < 1e-3, "{read} for {value}");
            }
        }
    }

    #[test]
    fn zeros_and_large_numbers_are_written_too() {
        for values in [[0.0, 0.0], [1e30, -1e30]] {
            let (message, payload) =
                CutGradient::write(5, ActivationDtype::F16, 2, &values, None).unwrap();
            let read = message.read(&payload, 5, 1, Square::NotOwed, 2).unwrap();
            assert!((read[0] - values[0]).abs() <= values[0] * 1e-3);
        }
        assert!(CutGradient::write(5, ActivationDtype::F32, 1, &[f32::NAN], None).is_err());
    }

    #[test]
    fn a_scale_that_is_none_is_refused() {
        let (message, payload) =
            CutGradient::write(5, ActivationDtype::F16, 1, &[1.0], None).unwrap();
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, f32::MAX] {
            let other = CutGradient {
                scale,
                ..message.clone()
            };
            let error = other.read(&payload, 5, 1, Square::NotOwed, 1).unwrap_err();
            assert_eq!(error, ExchangeError::NotFinite { field: "scale" });
        }
    }
}

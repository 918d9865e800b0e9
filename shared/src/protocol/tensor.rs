//! Raw little-endian tensors behind a header: shape and dtype here, bytes in the frame.
//!
//! Rows are token positions. A payload is stored as it came; `row_bytes` says where the rows of one
//! example lie in it, so that a store reads only those. `numbers` turns
//! numbers into these bytes and back. Nothing here knows what a row means.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::message::RefusalCode;

/// Bytes of the scale that each row has under `Int8`.
pub(super) const SCALE_BYTES: usize = 4;

/// How the numbers of a payload are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ActivationDtype {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// One f32 scale a row (all scales first), then one signed byte a number: `x = scale * q`,
    /// `scale = max|x| / 127`.
    Int8,
}

impl ActivationDtype {
    /// Bytes of one number, scales apart.
    pub const fn value_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::Int8 => 1,
        }
    }

    /// Bytes that a row has before all values.
    const fn scale_bytes(self) -> usize {
        match self {
            Self::F32 | Self::F16 => 0,
            Self::Int8 => SCALE_BYTES,
        }
    }
}

/// Shape and dtype of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorDescriptor {
    /// How the numbers are written.
    pub dtype: ActivationDtype,
    /// Token positions, all examples together.
    pub rows: u32,
    /// Width, `d_model`.
    pub columns: u32,
}

/// Where some rows lie in a payload. A store reads both ranges and hands them to `decode_rows`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowBytes {
    /// The rows' scales; empty unless the dtype has scales.
    pub scales: Range<usize>,
    /// The rows' numbers.
    pub values: Range<usize>,
}

/// Why numbers and bytes do not go together. Says where, never what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TensorError {
    /// A tensor without columns.
    #[error("a tensor has at least 1 column; got 0")]
    NoColumns,
    /// More bytes than this machine can address, or more rows or columns than the wire can say.
    #[error("a tensor of {rows} rows and {columns} columns is too large")]
    TooLarge {
        /// Stated rows.
        rows: usize,
        /// Stated columns.
        columns: usize,
    },
    /// Numbers that do not fill whole rows.
    #[error("rows have {expected} columns; {actual} numbers do not fill whole rows")]
    Ragged {
        /// Columns.
        expected: usize,
        /// Numbers.
        actual: usize,
    },
    /// The bytes are not as many as shape and dtype say.
    #[error("shape and dtype need {expected} bytes; got {actual}")]
    WrongSize {
        /// Bytes by the descriptor.
        expected: usize,
        /// Bytes that came.
        actual: usize,
    },
    /// Rows that the tensor does not have.
    #[error("the tensor has {expected} rows; asked for rows {start} to {end}")]
    NoSuchRows {
        /// Rows by the descriptor.
        expected: u32,
        /// First row asked for.
        start: u32,
        /// Row after the last.
        end: u32,
    },
    /// A number, or its row's scale, is NaN or infinite.
    #[error("row {row}, column {column} is not finite")]
    NotFinite {
        /// Row from 0.
        row: usize,
        /// Column from 0.
        column: usize,
    },
    /// A finite number that the dtype cannot hold.
    #[error("row {row}, column {column} is too large for {dtype:?}")]
    Overflow {
        /// The dtype asked for.
        dtype: ActivationDtype,
        /// Row from 0.
        row: usize,
        /// Column from 0.
        column: usize,
    },
}

impl TensorError {
    /// Tells what the other side is told.
    pub fn refusal_code(&self) -> RefusalCode {
        match self {
            Self::NotFinite { .. } | Self::Overflow { .. } => RefusalCode::NotFinite,
            Self::NoColumns
            | Self::TooLarge { .. }
            | Self::Ragged { .. }
            | Self::WrongSize { .. }
            | Self::NoSuchRows { .. } => RefusalCode::WrongShape,
        }
    }
}

impl TensorDescriptor {
    /// Counts the bytes of a payload; `None` if they cannot be counted on this machine.
    pub fn payload_bytes(&self) -> Option<usize> {
        let rows = usize::try_from(self.rows).ok()?;
        let columns = usize::try_from(self.columns).ok()?;
        let row_bytes = columns
            .checked_mul(self.dtype.value_bytes())?
            .checked_add(self.dtype.scale_bytes())?;
        rows.checked_mul(row_bytes)
    }

    /// Says where some rows lie in a payload.
    ///
    /// # Errors
    /// Rows that the tensor does not have.
    pub fn row_bytes(&self, rows: Range<u32>) -> Result<RowBytes, TensorError> {
        self.expected_bytes()?;
        if rows.start > rows.end || rows.end > self.rows {
            let Range { start, end } = rows;
            return Err(TensorError::NoSuchRows {
                expected: self.rows,
                start,
                end,
            });
        }
        // No product below exceeds expected_bytes, which fits.
        let (start, end, all) = (rows.start as usize, rows.end as usize, self.rows as usize);
        let scale_bytes = self.dtype.scale_bytes();
        let value_bytes = self.columns as usize * self.dtype.value_bytes();
        let values_start = all * scale_bytes;
        Ok(RowBytes {
            scales: start * scale_bytes..end * scale_bytes,
            values: values_start + start * value_bytes..values_start + end * value_bytes,
        })
    }

    /// `payload_bytes` for code that goes on with a tensor of at least one column.
    pub(super) fn expected_bytes(&self) -> Result<usize, TensorError> {
        if self.columns == 0 {
            return Err(TensorError::NoColumns);
        }
        let (rows, columns) = (self.rows as usize, self.columns as usize);
        self.payload_bytes()
            .ok_or(TensorError::TooLarge { rows, columns })
    }

    /// Scales and values of a payload of exactly the right size.
    pub(super) fn split<'a>(&self, payload: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), TensorError> {
        let (expected, actual) = (self.expected_bytes()?, payload.len());
        if expected != actual {
            return Err(TensorError::WrongSize { expected, actual });
        }
        Ok(payload.split_at(self.rows as usize * self.dtype.scale_bytes()))
    }
}

#[allow(clippy::unwrap_used)]
#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(dtype: ActivationDtype, rows: u32, columns: u32) -> TensorDescriptor {
        TensorDescriptor {
            dtype,
            rows,
            columns,
        }
    }

    #[test]
    fn a_payload_has_the_bytes_of_its_numbers_and_scales() {
        assert_eq!(tensor(ActivationDtype::F32, 3, 5).payload_bytes(), Some(60));
        assert_eq!(tensor(ActivationDtype::F16, 3, 5).payload_bytes(), Some(30));
        assert_eq!(
            tensor(ActivationDtype::Int8, 3, 5).payload_bytes(),
            Some(3 * 4 + 15)
        );
        assert_eq!(tensor(ActivationDtype::F32, 0, 5).payload_bytes(), Some(0));
    }

    #[test]
    fn a_shape_beyond_the_address_space_is_refused() {
        let huge = tensor(ActivationDtype::F32, u32::MAX, u32::MAX);
        assert_eq!(huge.payload_bytes(), None);
        let max = u32::MAX as usize;
        let error = TensorError::TooLarge {
            rows: max,
            columns: max,
        };
        assert_eq!(huge.row_bytes(0..1), Err(error));
        assert_eq!(huge.split(&[]), Err(error));
        assert_eq!(error.refusal_code(), RefusalCode::WrongShape);
    }

    #[test]
    fn rows_lie_where_the_layout_says() {
        let rows = tensor(ActivationDtype::F16, 3, 5).row_bytes(1..3).unwrap();
        assert_eq!(
            rows,
            RowBytes {
                scales: 0..0,
                values: 10..30
            }
        );
        let rows = tensor(ActivationDtype::Int8, 3, 5).row_bytes(1..2).unwrap();
        assert_eq!(
            rows,
            RowBytes {
                scales: 4..8,
                values: 17..22
            }
        );
    }

    #[test]
    fn rows_that_are_not_there_are_refused() {
        let tensor = tensor(ActivationDtype::F32, 3, 5);
        let error = TensorError::NoSuchRows {
            expected: 3,
            start: 2,
            end: 4,
        };
        assert_eq!(tensor.row_bytes(2..4), Err(error));
        #[allow(clippy::reversed_empty_ranges)]
        let reversed = tensor.row_bytes(2..1);
        assert!(reversed.is_err());
        assert!(tensor.row_bytes(3..3).unwrap().values.is_empty());
    }

    #[test]
    fn a_payload_of_another_size_is_refused() {
        let tensor = tensor(ActivationDtype::Int8, 2, 3);
        for actual in [0, 13, 15] {
            let error = TensorError::WrongSize {
                expected: 14,
                actual,
            };
            assert_eq!(tensor.split(&vec![0; actual]), Err(error));
        }
        assert_eq!(tensor.split(&[0; 14]), Ok((&[0; 8][..], &[0; 6][..])));
    }
}

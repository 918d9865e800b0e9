//! Matrices of a bottom artifact in 8 bits: `w = scale * q`, one f32 scale a row, `q` from -127 to
//! 127.
//!
//! Beside the tensor `NAME` of dtype I8 stands `NAME.scale` of dtype F32, one number a row. The
//! arithmetic is that of the wire's `Int8` (docs/protocol.md, section "Tensors"). What is read is
//! f32 again: the download and what is kept of it are small, the computation is the same.
//!
//! # Guarantee
//!
//! A number differs from the original by at most half of its row's scale, `max|row| / 254`, up to
//! the rounding of one division and one product in f32.

use safetensors::tensor::{Dtype, TensorView};

use super::error::ModelError;
use super::weights::Stored;
use crate::protocol::tensor::{ActivationDtype, TensorDescriptor, TensorError};

/// Bytes of a scale.
const SCALE_BYTES: usize = 4;

/// The name of a tensor's scales.
pub(super) fn scale_name(tensor: &str) -> String {
    format!("{tensor}.scale")
}

/// Writes a matrix as its scales and its numbers.
///
/// # Shapes
///
/// - values: `[rows, columns]`, row-major
/// - scales: `[rows]`; numbers: `[rows, columns]`
///
/// # Errors
///
/// When a number is not finite or too large.
pub(super) fn write(
    name: &str,
    shape: &[usize],
    values: &[f32],
) -> Result<[Stored; 2], ModelError> {
    let columns = shape.last().copied().unwrap_or(0);
    let (_, mut scales) = TensorDescriptor::encode_rows(ActivationDtype::Int8, columns, values)
        .map_err(refused(name))?;
    let rows = values.len() / columns; // not 0: the line above would have refused
    let numbers = scales.split_off(rows * SCALE_BYTES);
    let scales = Stored {
        dtype: Dtype::F32,
        shape: vec![rows],
        data: scales,
    };
    let numbers = Stored {
        dtype: Dtype::I8,
        shape: shape.to_vec(),
        data: numbers,
    };
    Ok([scales, numbers])
}

/// Reads a matrix.
///
/// # Shapes
///
/// - returns `[rows, columns]`, row-major
///
/// # Errors
///
/// When it is no matrix, its scales are not one f32 a row, or a number is not finite.
pub(super) fn read(
    name: &str,
    shape: &[usize],
    scales: &TensorView<'_>,
    numbers: &[u8],
) -> Result<Vec<f32>, ModelError> {
    let (rows, columns) = match *shape {
        [rows, columns] if scales.dtype() == Dtype::F32 => (rows, columns),
        _ => {
            return Err(ModelError::TensorDtype {
                name: name.to_owned(),
                dtype: format!("{:?} with scales in {:?}", Dtype::I8, scales.dtype()),
            });
        }
    };
    let too_large = |_| TensorError::TooLarge { rows, columns };
    let descriptor = || {
        Ok(TensorDescriptor {
            dtype: ActivationDtype::Int8,
            rows: rows.try_into().map_err(too_large)?,
            columns: columns.try_into().map_err(too_large)?,
        })
    };
    descriptor()
        .and_then(|matrix| matrix.decode_rows(matrix.rows, scales.data(), numbers))
        .map_err(refused(name))
}

fn refused(name: &str) -> impl FnOnce(TensorError) -> ModelError {
    let name = name.to_owned();
    |reason| ModelError::TensorInt8 { name, reason }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn back([scales, numbers]: &[Stored; 2]) -> Result<Vec<f32>, ModelError> {
        let view = TensorView::new(scales.dtype, scales.shape.clone(), &scales.data).unwrap();
        read("m", &numbers.shape, &view, &numbers.data)
    }

    #[test]
    fn each_row_has_its_own_scale() {
        // 127 / 127 = 1, so that -3 is itself; 254 / 127 = 2, so that 5 is 2.5 and becomes 3.
        let stored = write("m", &[2, 2], &[127.0, -3.0, 254.0, 5.0]).unwrap();
        assert_eq!(stored[0].shape, [2]);
        assert_eq!(stored[1].data, [127, 253, 127, 3]); // 253 is -3
        assert_eq!(back(&stored).unwrap(), [127.0, -3.0, 254.0, 6.0]);
    }

    #[test]
    fn a_number_is_at_most_half_a_scale_away() {
        let values: Vec<f32> = (0..64)
            .map(|n| ((n * 37 % 64) as f32 - 31.5) * 0.013)
            .collect();
        let read = back(&write("m", &[4, 16], &values).unwrap()).unwrap();
        for (row, numbers) in values.chunks(16).enumerate() {
            let largest = numbers.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
            let bound = largest / 254.0 * (1.0 + 1e-5);
            let pairs = numbers.iter().zip(&read[16 * row..]);
            assert!(
                pairs.clone().all(|(a, b)| (a - b).abs() <= bound),
                "row {row}"
            );
            assert!(
                pairs.clone().any(|(a, b)| a != b),
                "row {row} is not rounded"
            );
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        assert!(write("m", &[1, 2], &[f32::NAN, 1.0]).is_err());
        assert!(write("m", &[1, 0], &[]).is_err());
        let [scales, numbers] = write("m", &[2, 1], &[1.0, 2.0]).unwrap();
        let of_one_row = TensorView::new(Dtype::F32, vec![1], &scales.data[..4]).unwrap();
        let error = read("m", &[2, 1], &of_one_row, &numbers.data).unwrap_err();
        assert!(matches!(error, ModelError::TensorInt8 { .. }), "{error}");
        let halves = TensorView::new(Dtype::F16, vec![4], &scales.data).unwrap();
        assert!(read("m", &[2, 1], &halves, &numbers.data).is_err());
        let endless = f32::INFINITY.to_le_bytes().repeat(2);
        let endless = TensorView::new(Dtype::F32, vec![2], &endless).unwrap();
        assert!(read("m", &[2, 1], &endless, &numbers.data).is_err());
    }
}

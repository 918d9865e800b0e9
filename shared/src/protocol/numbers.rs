//! Numbers to the bytes of a payload and back, for each dtype.
//!
//! No number that is not finite leaves or enters: a NaN in one example would spoil every adapter
//! weight at its first step. Formulas are in docs/protocol.md, section "Tensors".

use half::f16;

use super::tensor::{ActivationDtype, SCALE_BYTES, TensorDescriptor, TensorError};

/// Largest magnitude of a number under `Int8`.
const Q_MAX: f32 = 127.0;

impl TensorDescriptor {
    /// Writes rows as a payload.
    ///
    /// # Shapes
    /// `values`: `[rows, columns]`, row-major.
    ///
    /// # Errors
    /// Numbers that are not finite, do not fit the dtype or do not fill whole rows.
    pub fn encode_rows(
        dtype: ActivationDtype,
        columns: usize,
        values: &[f32],
    ) -> Result<(Self, Vec<u8>), TensorError> {
        let descriptor = Self::for_values(dtype, columns, values)?;
        let mut payload = Vec::with_capacity(descriptor.expected_bytes()?);
        match dtype {
            ActivationDtype::F32 => {
                payload.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
            ActivationDtype::F16 => encode_f16(columns, values, &mut payload)?,
            ActivationDtype::Int8 => encode_int8(columns, values, &mut payload)?,
        }
        Ok((descriptor, payload))
    }

    /// Reads a whole payload.
    ///
    /// # Shapes
    /// Returns `[rows, columns]`, row-major.
    ///
    /// # Errors
    /// A size other than `payload_bytes`, and every number that is not finite.
    pub fn decode(&self, payload: &[u8]) -> Result<Vec<f32>, TensorError> {
        let (scales, values) = self.split(payload)?;
        self.decode_rows(self.rows, scales, values)
    }

    /// Holds a payload against this descriptor without keeping a number: what `decode` would
    /// refuse, this refuses.
    ///
    /// # Errors
    /// As `decode`.
    pub fn check(&self, payload: &[u8]) -> Result<(), TensorError> {
        let (scales, values) = self.split(payload)?;
        self.for_each_number(self.rows, scales, values, |_| ())
    }

    /// Reads some rows from the two pieces of a payload that `row_bytes` names.
    ///
    /// # Shapes
    /// Returns `[rows, columns]`, row-major.
    ///
    /// # Errors
    /// Pieces of another size, and every number that is not finite.
    pub fn decode_rows(
        &self,
        rows: u32,
        scales: &[u8],
        values: &[u8],
    ) -> Result<Vec<f32>, TensorError> {
        let some = Self { rows, ..*self };
        let expected = some.row_bytes(0..rows)?;
        for (expected, piece) in [(expected.scales, scales), (expected.values, values)] {
            if expected.len() != piece.len() {
                let (expected, actual) = (expected.len(), piece.len());
                return Err(TensorError::WrongSize { expected, actual });
            }
        }
        let mut numbers = Vec::with_capacity(values.len() / self.dtype.value_bytes());
        self.for_each_number(rows, scales, values, |number| numbers.push(number))?;
        Ok(numbers)
    }

    fn for_values(
        dtype: ActivationDtype,
        columns: usize,
        values: &[f32],
    ) -> Result<Self, TensorError> {
        if columns == 0 {
            return Err(TensorError::NoColumns);
        }
        if !values.len().is_multiple_of(columns) {
            return Err(TensorError::Ragged {
                expected: columns,
                actual: values.len(),
            });
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(TensorError::NotFinite {
                row: at / columns,
                column: at % columns,
            });
        }
        let rows = values.len() / columns;
        match (u32::try_from(rows), u32::try_from(columns)) {
            (Ok(rows), Ok(columns)) => Ok(Self {
                dtype,
                rows,
                columns,
            }),
            _ => Err(TensorError::TooLarge { rows, columns }),
        }
    }

    /// Reads pieces whose sizes were checked; stops at the first number that is not finite.
    fn for_each_number(
        &self,
        rows: u32,
        scales: &[u8],
        values: &[u8],
        mut take: impl FnMut(f32),
    ) -> Result<(), TensorError> {
        let row_bytes = self.columns as usize * self.dtype.value_bytes();
        for (row, bytes) in (0..rows as usize).zip(values.chunks_exact(row_bytes)) {
            let mut take = |(column, number): (usize, f32)| {
                if !number.is_finite() {
                    return Err(TensorError::NotFinite { row, column });
                }
                take(number);
                Ok(())
            };
            match self.dtype {
                ActivationDtype::F32 => f32s(bytes).enumerate().try_for_each(&mut take)?,
                ActivationDtype::F16 => f16s(bytes).enumerate().try_for_each(&mut take)?,
                ActivationDtype::Int8 => {
                    let scale_bytes = &scales[row * SCALE_BYTES..][..SCALE_BYTES];
                    let scale = f32s(scale_bytes).next().unwrap_or(f32::NAN);
                    // A NaN or infinite scale gives no finite product, not even with 0.
                    let numbers = bytes.iter().map(|&q| scale * f32::from(q as i8));
                    numbers.enumerate().try_for_each(&mut take)?;
                }
            }
        }
        Ok(())
    }
}

fn f32s(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|&four| f32::from_le_bytes(four))
}

fn f16s(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|&two| f16::from_le_bytes(two).to_f32())
}

fn encode_f16(columns: usize, values: &[f32], payload: &mut Vec<u8>) -> Result<(), TensorError> {
    for (at, &value) in values.iter().enumerate() {
        let narrow = f16::from_f32(value);
        if !narrow.is_finite() {
            let dtype = ActivationDtype::F16;
            let (row, column) = (at / columns, at % columns);
            return Err(TensorError::Overflow { dtype, row, column });
        }
        payload.extend_from_slice(&narrow.to_le_bytes());
    }
    Ok(())
}

/// `scale = max|x| / 127`, `q = round(x / scale)`, half away from zero, within -127 to 127.
fn encode_int8(columns: usize, values: &[f32], payload: &mut Vec<u8>) -> Result<(), TensorError> {
    let mut quantized = Vec::with_capacity(values.len());
    for (row, numbers) in values.chunks_exact(columns).enumerate() {
        let magnitude_max = numbers
            .iter()
            .fold(0.0_f32, |max, value| max.max(value.abs()));
        let scale = magnitude_max / Q_MAX;
        if !(scale * Q_MAX).is_finite() {
            let column = numbers
                .iter()
                .position(|value| value.abs() == magnitude_max);
            let (dtype, column) = (ActivationDtype::Int8, column.unwrap_or(0));
            return Err(TensorError::Overflow { dtype, row, column });
        }
        payload.extend_from_slice(&scale.to_le_bytes());
        quantized.extend(numbers.iter().map(|value| quantize(*value, scale)));
    }
    payload.extend(quantized);
    Ok(())
}

fn quantize(value: f32, scale: f32) -> u8 {
    // A row so small that its scale is 0 becomes a row of zeros.
    let q = if scale == 0.0 {
        0.0
    } else {
        (value / scale).round().clamp(-Q_MAX, Q_MAX)
    };
    (q as i8) as u8
}

#[allow(clippy::unwrap_used)]
#[cfg(test)]
mod tests {
    use super::*;
    use ActivationDtype::{F16, F32, Int8};

    const DTYPES: [ActivationDtype; 3] = [F32, F16, Int8];

    fn encode(
        dtype: ActivationDtype,
        columns: usize,
        values: &[f32],
    ) -> (TensorDescriptor, Vec<u8>) {
        TensorDescriptor::encode_rows(dtype, columns, values).unwrap()
    }

    #[test]
    fn f32_is_written_as_it_is() {
        let (tensor, payload) = encode(F32, 2, &[1.0, -2.0]);
        assert_eq!(
            tensor,
            TensorDescriptor {
                dtype: F32,
                rows: 1,
                columns: 2
            }
        );
        assert_eq!(payload, [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]);
        assert_eq!(tensor.decode(&payload).unwrap(), [1.0, -2.0]);
    }

    #[test]
    fn f16_is_half_as_long() {
        let (tensor, payload) = encode(F16, 2, &[1.0, -2.0]);
        assert_eq!(payload, [0, 0x3c, 0, 0xc0]);
        assert_eq!(tensor.decode(&payload).unwrap(), [1.0, -2.0]);
    }

    #[test]
    fn int8_has_all_scales_first() {
        // Row maxima 127 and 254: scales 1 and 2.
        let (tensor, payload) = encode(Int8, 2, &[127.0, -3.0, 254.0, 5.0]);
        let expected = [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40, 127, 0xfd, 127, 3];
        assert_eq!(payload, expected);
        // 5 / 2 = 2.5 is rounded away from zero.
        assert_eq!(tensor.decode(&payload).unwrap(), [127.0, -3.0, 254.0, 6.0]);
    }

    #[test]
    fn int8_rows_of_zeros_and_of_specks_become_zeros() {
        let speck = f32::from_bits(1);
        let (tensor, payload) = encode(Int8, 2, &[0.0, 0.0, speck, -speck]);
        assert_eq!(tensor.decode(&payload).unwrap(), [0.0; 4]);
    }

    #[test]
    fn a_number_that_is_not_finite_is_not_written() {
        for dtype in DTYPES {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let error = TensorDescriptor::encode_rows(dtype, 2, &[1.0, 1.0, 1.0, bad]);
                assert_eq!(
                    error.unwrap_err(),
                    TensorError::NotFinite { row: 1, column: 1 }
                );
            }
        }
    }

    #[test]
    fn a_number_that_the_dtype_cannot_hold_is_an_error_and_not_infinity() {
        // 65504 is the largest f16; from 65520 on the nearest is infinity.
        let (tensor, payload) = encode(F16, 1, &[65_504.0]);
        assert_eq!(tensor.decode(&payload).unwrap(), [65_504.0]);
        let error = TensorDescriptor::encode_rows(F16, 1, &[0.0, -65_520.0]).unwrap_err();
        assert_eq!(
            error,
            TensorError::Overflow {
                dtype: F16,
                row: 1,
                column: 0
            }
        );
        // Whatever int8 accepts, it also reads.
        for value in [f32::MAX, f32::MAX * 0.999, 1e38] {
            if let Ok((tensor, payload)) = TensorDescriptor::encode_rows(Int8, 1, &[value]) {
                assert!(tensor.decode(&payload).is_ok());
            }
        }
    }

    #[test]
    fn a_payload_with_a_number_that_is_not_finite_is_refused() {
        let cases: [(ActivationDtype, Vec<u8>); 6] = [
            (F32, f32::NAN.to_le_bytes().to_vec()),
            (F32, f32::NEG_INFINITY.to_le_bytes().to_vec()),
            (F16, f16::INFINITY.to_le_bytes().to_vec()),
            (F16, f16::NAN.to_le_bytes().to_vec()),
            (Int8, [&f32::NAN.to_le_bytes()[..], &[0]].concat()),
            (Int8, [&f32::MAX.to_le_bytes()[..], &[2]].concat()),
        ];
        for (dtype, payload) in cases {
            let tensor = TensorDescriptor {
                dtype,
                rows: 1,
                columns: 1,
            };
            let error = TensorError::NotFinite { row: 0, column: 0 };
            assert_eq!(tensor.decode(&payload), Err(error), "{dtype:?}");
            assert_eq!(tensor.check(&payload), Err(error), "{dtype:?}");
        }
    }

    #[test]
    fn some_rows_are_read_from_their_pieces_alone() {
        let values: Vec<f32> = (0..12).map(|number| number as f32).collect();
        for dtype in DTYPES {
            let (tensor, payload) = encode(dtype, 3, &values);
            let whole = tensor.decode(&payload).unwrap();
            let pieces = tensor.row_bytes(1..3).unwrap();
            let (scales, numbers) = (&payload[pieces.scales], &payload[pieces.values]);
            let rows = tensor.decode_rows(2, scales, numbers).unwrap();
            assert_eq!(rows, whole[3..9], "{dtype:?}");
            assert!(tensor.decode_rows(3, scales, numbers).is_err());
        }
    }

    #[test]
    fn numbers_that_are_no_tensor_are_refused() {
        let encode = |columns, values| TensorDescriptor::encode_rows(F32, columns, values);
        assert_eq!(encode(0, &[][..]), Err(TensorError::NoColumns));
        let ragged = TensorError::Ragged {
            expected: 2,
            actual: 3,
        };
        assert_eq!(encode(2, &[0.0; 3][..]), Err(ragged));
        let flat = TensorDescriptor {
            dtype: F32,
            rows: 1,
            columns: 0,
        };
        assert_eq!(flat.decode(&[]), Err(TensorError::NoColumns));
    }
}

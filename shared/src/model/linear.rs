//! An affine map, with optional low-rank adapters beside it.

use burn::tensor::module::linear;
use burn::tensor::{Device, Tensor, TensorData};

use super::error::ModelError;
use super::groups::Beside;
use super::weights::Weights;

/// `y = x W + b`, frozen.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor<2>, // [d_in, d_out]
    bias: Tensor<1>,   // [d_out]
}

impl Linear {
    /// Reads `{name}.weight` (stored `[d_out, d_in]`) and `{name}.bias`.
    ///
    /// # Errors
    ///
    /// When a tensor is missing or has another shape.
    pub fn load(
        weights: &Weights<'_>,
        name: &str,
        [d_in, d_out]: [usize; 2],
        device: &Device,
    ) -> Result<Self, ModelError> {
        let stored = weights.tensor(&format!("{name}.weight"), &[d_out, d_in])?;
        let bias = weights.tensor(&format!("{name}.bias"), &[d_out])?;
        Ok(Self {
            weight: Tensor::from_data(
                TensorData::new(transposed(&stored, d_out, d_in), [d_in, d_out]),
                device,
            ),
            bias: Tensor::from_data(TensorData::new(bias, [d_out]), device),
        })
    }

    /// Applies the map, and adds what the adapter or the adapters beside it say.
    ///
    /// `y = x W + b + (alpha / rank) (x A) B`; the sum `W + (alpha / rank) A B` is never
    /// materialised. Source: LoRA, arXiv 2106.09685, equation 3.
    ///
    /// # Shapes
    ///
    /// - x: `[batch, seq, d_in]`
    /// - output: `[batch, seq, d_out]`
    pub(super) fn forward(&self, x: Tensor<3>, beside: &Beside<'_>) -> Tensor<3> {
        match beside {
            Beside::Nothing => self.affine(x),
            Beside::One(lora) => self.affine(x.clone()) + lora.forward(x),
            Beside::Groups(groups) => self.affine(x.clone()) + groups.forward(x),
        }
    }

    fn affine(&self, x: Tensor<3>) -> Tensor<3> {
        rows_times(x, self.weight.clone(), Some(self.bias.clone()))
    }
}

/// `x W + b` as one product of all positions of the batch.
///
/// The library would multiply each example by itself where their length is a multiple of its tile,
/// and the CPU backend then prepares W once for every example.
pub(crate) fn rows_times(x: Tensor<3>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<3> {
    let [batch, seq, d_in] = x.dims();
    let [_, d_out] = weight.dims();
    let rows = x.reshape([batch * seq, d_in]);
    linear(rows, weight, bias).reshape([batch, seq, d_out])
}

/// The transpose of a row-major `[rows, columns]` matrix.
pub(crate) fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    for (row, line) in values.chunks_exact(columns).enumerate() {
        for (column, value) in line.iter().enumerate() {
            out[column * rows + row] = *value;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::transposed;

    #[test]
    fn a_transpose_swaps_rows_and_columns() {
        assert_eq!(
            transposed(&[1., 2., 3., 4., 5., 6.], 2, 3),
            [1., 4., 2., 5., 3., 6.]
        );
    }
}

//! From a row to one number a token, through the public embedding table.

use burn::tensor::module::layer_norm;
use burn::tensor::{Device, Tensor};

use super::{matrix, normal};
use rand_chacha::ChaCha8Rng;

/// Added to the variance in layer normalisation, as BERT does.
const EPSILON: f64 = 1e-12;

/// Matrices of a [`Readout`].
pub(crate) const MATRICES: usize = 6;

/// `logits = LN(x S + e M + b) E^T + c`: E the rows of the public tokens in the embedding table,
/// fixed; x the released row, e what the attack computed of it.
///
/// A masked-LM head tied to the embedding table (as BERT's), with x beside e. At the start S is
/// the identity, M zero and c the log prior, so an untrained attack already compares the released
/// row with the table; training improves on that. A free output matrix of `d_hidden x vocabulary`
/// numbers instead of `M E^T` would see most tokens too seldom in the passes that the budget
/// allows; through the table, a token that is rare in public text is still in reach.
#[derive(Debug, Clone)]
pub(crate) struct Readout {
    table: Tensor<2>, // [vocabulary, d_model]
}

impl Readout {
    /// A readout over the given rows.
    ///
    /// # Shapes
    ///
    /// - table: `[vocabulary, d_model]`
    pub(crate) fn new(table: Tensor<2>) -> Self {
        Self { table }
    }

    /// The matrices at the start: S, M, b, LN's gain and shift, c.
    ///
    /// # Shapes
    ///
    /// - prior: `[1, vocabulary]`
    pub(crate) fn init(&self, d_inner: usize, prior: Tensor<2>) -> Vec<Tensor<2>> {
        let [_, d_model] = self.table.dims();
        let device = self.device();
        vec![
            Tensor::eye(d_model, &device),
            Tensor::zeros([d_inner, d_model], &device),
            Tensor::zeros([1, d_model], &device),
            Tensor::ones([1, d_model], &device),
            Tensor::zeros([1, d_model], &device),
            prior,
        ]
    }

    /// # Shapes
    ///
    /// - x: `[rows, d_model]`
    /// - inner: `[rows, d_inner]`
    /// - output: `[rows, vocabulary]`
    pub(crate) fn logits(
        &self,
        matrices: &[Tensor<2>; MATRICES],
        x: Tensor<2>,
        inner: Tensor<2>,
    ) -> Tensor<2> {
        let [skip, mix, bias, gain, shift, prior] = matrices.clone();
        let [_, d_model] = self.table.dims();
        let sum = x.matmul(skip) + inner.matmul(mix) + bias;
        let gain = gain.reshape([d_model]);
        let shift = shift.reshape([d_model]);
        let row = layer_norm(sum, gain, Some(shift), EPSILON); // [rows, d_model]
        row.matmul(self.table.clone().transpose()) + prior
    }

    /// Operations of one row, forwards and backwards: the table is fixed and costs a product each
    /// way, S and M train and cost one more.
    pub(crate) fn flops_of_a_row(&self, d_inner: usize) -> f64 {
        let [vocabulary, d_model] = self.table.dims();
        let trained = 3 * (d_model + d_inner) * d_model;
        2.0 * (2 * vocabulary * d_model + trained) as f64
    }

    fn device(&self) -> Device {
        self.table.device()
    }
}

/// A hidden layer before a readout: `relu(x W + b)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hidden;

impl Hidden {
    /// Matrices of the layer.
    pub(crate) const MATRICES: usize = 2;

    /// W normal with variance `2 / d_in`, which keeps the scale through a ReLU (He et al., arXiv
    /// 1502.01852); b zero.
    pub(crate) fn init(
        d_in: usize,
        d_out: usize,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Vec<Tensor<2>> {
        let deviation = (2.0 / d_in as f64).sqrt();
        vec![
            normal([d_in, d_out], deviation, rng, device),
            matrix(vec![0.0; d_out], [1, d_out], device),
        ]
    }

    /// # Shapes
    ///
    /// - x: `[rows, d_in]`
    /// - output: `[rows, d_out]`
    pub(crate) fn forward(matrices: &[Tensor<2>; Self::MATRICES], x: Tensor<2>) -> Tensor<2> {
        let [weight, bias] = matrices.clone();
        burn::tensor::activation::relu(x.matmul(weight) + bias)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::audit::learned::read;

    /// Fails when the skip, the prior or the table's order is wrong.
    #[test]
    fn an_untrained_readout_compares_with_the_table() {
        let device = Device::flex();
        let table = matrix(vec![1.0, -1.0, 1.0, 1.0, -1.0, 1.0], [3, 2], &device);
        let readout = Readout::new(table);
        let prior = matrix(vec![0.0, 0.5, 0.25], [1, 3], &device);
        let matrices: [Tensor<2>; MATRICES] = readout.init(4, prior).try_into().unwrap();
        let x = matrix(vec![5.0, 1.0], [1, 2], &device); // LN: (1, -1)
        let inner = Tensor::ones([1, 4], &device); // M is zero
        let logits = read(readout.logits(&matrices, x, inner)).unwrap();
        for (logit, expected) in logits.iter().zip([2.0, 0.5, -1.75]) {
            assert!((logit - expected).abs() < 1e-5, "{logits:?}");
        }
    }
}

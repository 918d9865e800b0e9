//! Attention weights: softmax over the positions that are real.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;

use super::Kernel;
use super::arithmetic::{dot, exp, max, sum};
use crate::parallel::for_rows;

/// `softmax(scale * scores)` over the first `n` positions of each row, 0 at the others, where `n` is
/// the number of real positions of the row's example.
///
/// # Shapes
///
/// - scores, weights: `[batch, heads, seq_queries, seq]`
#[derive(Debug, Clone)]
pub(in crate::model) struct AttentionWeights {
    pub(in crate::model) scale: f32,
    /// Real positions of each example; none where nothing is padded.
    pub(in crate::model) seq_lengths: Option<Arc<[usize]>>,
}

impl AttentionWeights {
    /// Length of a row, rows of an example.
    fn extent(x: &FlexTensor) -> [usize; 2] {
        let shape = x.layout().shape();
        [shape[3], shape[1] * shape[2]]
    }

    fn n_real(&self, row: usize, rows_of_example: usize, seq: usize) -> usize {
        match &self.seq_lengths {
            Some(lengths) => lengths[row / rows_of_example],
            None => seq,
        }
    }
}

impl Kernel for AttentionWeights {
    /// The weights.
    type Kept = FlexTensor;

    fn value(&self, mut scores: FlexTensor) -> FlexTensor {
        let [seq, rows_of_example] = Self::extent(&scores);
        for_rows(scores.storage_mut(), seq, |first, rows| {
            for (at, row) in rows.chunks_exact_mut(seq).enumerate() {
                let n_real = self.n_real(first + at, rows_of_example, seq);
                let (real, padding) = row.split_at_mut(n_real);
                softmax(real, self.scale);
                padding.fill(0.0);
            }
        });
        scores
    }

    fn forward(&self, scores: FlexTensor) -> (FlexTensor, FlexTensor) {
        let weights = self.value(scores);
        (weights.clone(), weights)
    }

    /// `scale * w * (g - sum(g * w))`; padding has weight 0 and so gradient 0.
    fn backward(&self, weights: &FlexTensor, mut gradient: FlexTensor) -> FlexTensor {
        let [seq, _] = Self::extent(weights);
        let weights = weights.storage::<f32>();
        for_rows(gradient.storage_mut(), seq, |first, rows| {
            let weights = &weights[first * seq..];
            for (gradient, weights) in rows.chunks_exact_mut(seq).zip(weights.chunks_exact(seq)) {
                let mean = dot(gradient, weights);
                for (g, w) in gradient.iter_mut().zip(weights) {
                    *g = self.scale * w * (*g - mean);
                }
            }
        });
        gradient
    }
}

#[inline(always)]
fn softmax(row: &mut [f32], scale: f32) {
    let max = max(row);
    row.iter_mut().for_each(|x| *x = exp(scale * (*x - max)));
    let inverse = 1.0 / sum(row);
    row.iter_mut().for_each(|x| *x *= inverse);
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::softmax;
    use burn::tensor::{Device, Tensor};

    use super::super::apply;
    use super::super::tests::{assert_close, value_and_gradient};
    use super::*;

    #[test]
    fn value_and_gradient_are_those_of_the_library() {
        for seq in [1, 7, 37] {
            let shape = [2, 3, 4, seq];
            let kernel = AttentionWeights {
                scale: 0.4,
                seq_lengths: None,
            };
            let ours = value_and_gradient(shape, |x| apply(kernel.clone(), x));
            let theirs = value_and_gradient(shape, |x| softmax(x.mul_scalar(0.4), 3));
            assert_close(&ours[0], &theirs[0], 1e-6);
            assert_close(&ours[1], &theirs[1], 2e-6);
        }
    }

    #[test]
    fn padding_has_neither_weight_nor_gradient() {
        let shape = [2, 1, 2, 5];
        let kernel = AttentionWeights {
            scale: 1.0,
            seq_lengths: Some(Arc::from([2, 5])),
        };
        let bias = [[[[0.0, 0.0, -1e9, -1e9, -1e9]]], [[[0.0; 5]]]];
        let bias = Tensor::<4>::from_floats(bias, &Device::flex());
        let ours = value_and_gradient(shape, |x| apply(kernel.clone(), x));
        let theirs = value_and_gradient(shape, |x| softmax(x + bias.clone(), 3));
        assert_close(&ours[0], &theirs[0], 1e-6);
        assert_close(&ours[1], &theirs[1], 2e-6);
        assert!(ours.iter().all(|values| values[2..5] == [0.0; 3]));
    }
}

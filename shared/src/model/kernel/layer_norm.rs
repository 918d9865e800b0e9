//! Layer normalisation over the last axis.

use burn::backend::flex::FlexTensor;

use super::Kernel;
use super::arithmetic::{dot, sum};
use crate::parallel::{for_row_pairs, for_rows};

/// `gamma * (x - mean) / sqrt(variance + epsilon) + beta`, gamma and beta constant.
///
/// Source: arXiv 1607.06450.
#[derive(Debug, Clone)]
pub(in crate::model) struct LayerNormKernel {
    pub(in crate::model) gamma: FlexTensor, // [d_model]
    pub(in crate::model) beta: FlexTensor,  // [d_model]
    pub(in crate::model) epsilon: f32,
}

impl LayerNormKernel {
    fn width(&self) -> usize {
        self.gamma.layout().shape()[0]
    }

    #[inline(always)]
    fn scale_and_shift(&self, row: &mut [f32]) {
        let (gamma, beta) = (self.gamma.storage::<f32>(), self.beta.storage::<f32>());
        for ((x, gamma), beta) in row.iter_mut().zip(gamma).zip(beta) {
            *x = *x * gamma + beta;
        }
    }
}

impl Kernel<1> for LayerNormKernel {
    /// Each row normalised, and behind it the inverse of its deviation.
    type Kept = Vec<f32>; // [rows, d_model + 1]

    fn value(&self, [mut x]: [FlexTensor; 1]) -> FlexTensor {
        let width = self.width();
        for_rows(x.storage_mut(), width, |_, rows| {
            for row in rows.chunks_exact_mut(width) {
                normalise(row, self.epsilon);
                self.scale_and_shift(row);
            }
        });
        x
    }

    fn forward(&self, [mut x]: [FlexTensor; 1]) -> (FlexTensor, Vec<f32>) {
        let width = self.width();
        let values = x.storage_mut::<f32>();
        let mut kept = vec![0.0; values.len() / width * (width + 1)];
        for_row_pairs((values, width), (&mut kept, width + 1), |_, rows, kept| {
            let kept = kept.chunks_exact_mut(width + 1);
            for (row, kept) in rows.chunks_exact_mut(width).zip(kept) {
                kept[width] = normalise(row, self.epsilon);
                kept[..width].copy_from_slice(row);
                self.scale_and_shift(row);
            }
        });
        (x, kept)
    }

    /// With `h = g * gamma` and `n` the normalised row: `(h - mean(h) - n mean(h n)) / deviation`.
    fn backward(&self, kept: &Vec<f32>, mut gradient: FlexTensor) -> [FlexTensor; 1] {
        let width = self.width();
        let gamma = self.gamma.storage::<f32>();
        for_rows(gradient.storage_mut(), width, |first, rows| {
            let kept = kept[first * (width + 1)..].chunks_exact(width + 1);
            for (row, kept) in rows.chunks_exact_mut(width).zip(kept) {
                let (normalised, inverse_deviation) = (&kept[..width], kept[width]);
                for (g, gamma) in row.iter_mut().zip(gamma) {
                    *g *= gamma;
                }
                let mean = sum(row) / width as f32;
                let projection = dot(row, normalised) / width as f32;
                for (g, n) in row.iter_mut().zip(normalised) {
                    *g = inverse_deviation * (*g - mean - n * projection);
                }
            }
        });
        [gradient]
    }
}

/// Gives a row mean 0 and variance 1, and returns the inverse of the deviation it had.
#[inline(always)]
fn normalise(row: &mut [f32], epsilon: f32) -> f32 {
    let width = row.len() as f32;
    let mean = sum(row) / width;
    row.iter_mut().for_each(|x| *x -= mean);
    let variance = dot(row, row) / width;
    let inverse = 1.0 / (variance + epsilon).sqrt();
    row.iter_mut().for_each(|x| *x *= inverse);
    inverse
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::module::layer_norm;
    use burn::tensor::{Device, Tensor};

    use super::super::apply;
    use super::super::tests::{assert_close, numbers, value_and_gradient};
    use super::*;

    #[test]
    fn value_and_gradient_are_those_of_the_library() {
        for width in [2, 19, 384] {
            let vector = |from: usize| {
                let values = numbers(from + width).split_off(from);
                Tensor::<1>::from_floats(values.as_slice(), &Device::flex())
            };
            let (gamma, beta) = (vector(3), vector(11));
            let primitive = |vector: &Tensor<1>| vector.clone().try_into_primitive::<Flex>();
            let (Ok(own_gamma), Ok(own_beta)) = (primitive(&gamma), primitive(&beta)) else {
                unreachable!("the vectors are on the CPU backend");
            };
            let kernel = LayerNormKernel {
                gamma: own_gamma,
                beta: own_beta,
                epsilon: 1e-5,
            };
            let shape = [4, 25, width];
            let ours = value_and_gradient(shape, |x| apply(kernel.clone(), [x]));
            let theirs = value_and_gradient(shape, |x| {
                layer_norm(x, gamma.clone(), Some(beta.clone()), 1e-5)
            });
            assert_close(&ours[0], &theirs[0], 1e-5);
            assert_close(&ours[1], &theirs[1], 1e-4);
        }
    }
}

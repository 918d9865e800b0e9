//! Dropout on what an adapter reads.

use burn::tensor::{Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Dropout of one projection in one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dropout {
    /// How much is left out.
    pub(crate) probability: f32,
    /// Fixes what.
    pub(crate) seed: u64,
}

impl Dropout {
    /// What every number is multiplied with, in row-major order and without end: `0` with the given
    /// probability, else `1 / (1 - probability)`.
    pub(crate) fn factors(self) -> impl Iterator<Item = f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let threshold = (f64::from(self.probability) * f64::from(u32::MAX)) as u32;
        let kept = 1.0 / (1.0 - self.probability);
        std::iter::repeat_with(move || {
            if rng.next_u32() < threshold {
                0.0
            } else {
                kept
            }
        })
    }

    /// Leaves numbers out.
    pub(super) fn forward(self, x: Tensor<3>) -> Tensor<3> {
        let shape = x.dims();
        let values: Vec<f32> = self.factors().take(shape.iter().product()).collect();
        let mask = Tensor::from_data(TensorData::new(values, shape), &x.device());
        x * mask
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::tensor::Device;

    use super::*;

    #[test]
    fn dropout_keeps_the_mean() {
        let dropout = Dropout {
            probability: 0.25,
            seed: 7,
        };
        let x = Tensor::<3>::ones([1, 100, 100], &Device::flex());
        let kept = dropout.forward(x).into_data().try_to_vec::<f32>().unwrap();
        let zeros = kept.iter().filter(|v| **v == 0.0).count();
        assert!((2_300..2_700).contains(&zeros), "{zeros}");
        assert!(
            kept.iter()
                .all(|v| *v == 0.0 || (*v - 4.0 / 3.0).abs() < 1e-6)
        );
    }
}

//! What the trained attacks share.
//!
//! | file | what |
//! |---|---|
//! | [`training`] | optimizer, schedule, and how much arithmetic an attack may spend |
//! | [`loss`] | cross-entropy and its multi-label form over a large vocabulary |
//! | [`vocabulary`] | the tokens that public text holds, which are all that can be guessed |
//! | [`readout`] | from a row to one number a token, through the public embedding table |
//! | [`public`] | public text, released by the attacker's own draws |
//! | [`batch`] | padded released texts of a step |
//! | [`classifier`] | from a feature vector to a class: linear, or with one hidden layer |
//! | [`features`] | pooled rows, standardised columns |
//! | [`label_scores`] | ways in which a label shows |
//! | [`cluster`] | k-means and the directions of largest spread |
//!
//! Everything is drawn from a seed that comes in, so that an audit repeats to the bit on one
//! machine.

pub(crate) mod batch;
pub(crate) mod classifier;
pub(crate) mod cluster;
pub(crate) mod features;
pub(crate) mod label_scores;
pub(crate) mod loss;
pub(crate) mod public;
pub(crate) mod readout;
#[cfg(test)]
pub(crate) mod test_world;
pub(crate) mod training;
pub(crate) mod vocabulary;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use burn::tensor::{Device, Tensor, TensorData};

use crate::model::DeviceFailed;

/// A generator for one purpose of an attack; two purposes share no draw.
pub(crate) fn generator(seed: u64, purpose: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose);
    rng
}

/// A matrix of the given numbers, row-major.
pub(crate) fn matrix(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// A matrix of normal draws.
pub(crate) fn normal(
    shape: [usize; 2],
    deviation: f64,
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> Tensor<2> {
    let count = shape[0] * shape[1];
    let draws = (0..count).map(|_| {
        let draw: f64 = StandardNormal.sample(rng);
        (draw * deviation) as f32
    });
    matrix(draws.collect(), shape, device)
}

/// Reads a tensor back. The audit is native, so it may wait.
pub(crate) fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, DeviceFailed> {
    let data = tensor.try_into_data().map_err(|_| DeviceFailed)?;
    data.try_into_vec::<f32>().map_err(|_| DeviceFailed)
}

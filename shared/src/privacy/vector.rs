//! The mechanism `vector`: noise on the activations at the cut.

use rand::CryptoRng;

use super::eta::{Eta, PrivacyError};
use super::noise;
use crate::model::{BottomModel, CutActivations, TokenBatch};

/// `M(h) = clip(h) + z` for every real position, `[CLS]` and `[SEP]` included.
///
/// # Guarantee
///
/// Metric differential privacy with parameter eta for one position, over the Euclidean distance of
/// clipped activations. Above cut 0 one token influences all positions of its text, so the
/// guarantee for a token is weaker than for a position. The number of positions is not protected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VectorPrivatizer {
    /// Parameter of the noise.
    pub eta: Eta,
    /// Activations longer than this are shortened to it first.
    pub norm_max: f64,
}

/// Activations are clipped to this many times their mean norm over the vocabulary.
pub const CLIP: f64 = 1.5;

/// Vocabulary entries that are run through the bottom to learn the length of its activations.
const PROBE: usize = 512;

/// Tokens of one probed sequence.
const PROBE_LENGTH: usize = 16;

impl VectorPrivatizer {
    /// Releases the activations of some examples: one independent draw a position, from the
    /// example's own generator. `rngs` has one generator an example.
    pub fn privatize<R: CryptoRng>(&self, activations: &mut CutActivations, rngs: &mut [R]) {
        let d_model = activations.d_model;
        let mut rows = activations.values.chunks_exact_mut(d_model);
        for (length, rng) in activations.seq_lengths.iter().zip(rngs) {
            for row in rows.by_ref().take(usize::from(*length)) {
                let scale = self.norm_max / norm(row);
                if scale < 1.0 {
                    row.iter_mut().for_each(|value| *value *= scale as f32);
                }
                noise::add(row, self.eta, rng);
            }
        }
    }
}

/// Mean length of the bottom's activations, learnt from the model alone so that it tells nothing of
/// the user's data.
///
/// # Errors
///
/// When the device fails.
pub async fn mean_norm(bottom: &BottomModel) -> Result<f64, PrivacyError> {
    let config = bottom.config();
    let count = PROBE.min(config.vocab_size) / PROBE_LENGTH * PROBE_LENGTH;
    let stride = config.vocab_size / count.max(1);
    let length = PROBE_LENGTH.min(config.seq_length_max);
    let ids: Vec<u32> = (0..count)
        .filter_map(|at| u32::try_from(at * stride).ok())
        .collect();
    let examples: Vec<(&[u32], &[u8])> =
        ids.chunks_exact(length).map(|ids| (ids, &[][..])).collect();
    let activations = bottom
        .activations(&TokenBatch::new(&examples, config)?)
        .await?;
    let rows = activations.values().chunks_exact(config.d_model);
    let count = rows.len().max(1);
    Ok(rows.map(norm).sum::<f64>() / count as f64)
}

fn norm(row: &[f32]) -> f64 {
    row.iter()
        .map(|value| f64::from(*value).powi(2))
        .sum::<f64>()
        .sqrt()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;

    #[test]
    fn long_activations_are_clipped_and_all_get_their_own_noise() {
        let mut activations = CutActivations {
            values: vec![30.0, 40.0, 0.3, 0.4],
            seq_lengths: vec![2],
            d_model: 2,
        };
        let quiet = VectorPrivatizer {
            eta: Eta::new(1e9).unwrap(),
            norm_max: 5.0,
        };
        quiet.privatize(&mut activations, &mut [ChaCha20Rng::seed_from_u64(3)]);
        for (value, expected) in activations.values().iter().zip([3.0, 4.0, 0.3, 0.4]) {
            assert!((value - expected).abs() < 1e-5, "{value}");
        }
        let mut same = CutActivations {
            values: vec![0.0; 4],
            seq_lengths: vec![2],
            d_model: 2,
        };
        let loud = VectorPrivatizer {
            eta: Eta::new(1.0).unwrap(),
            norm_max: 5.0,
        };
        loud.privatize(&mut same, &mut [ChaCha20Rng::seed_from_u64(3)]);
        assert_ne!(same.values()[..2], same.values()[2..]);
    }
}

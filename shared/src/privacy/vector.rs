//! The mechanism `vector`: noise on the activations at the cut.

use std::rc::Rc;

use super::calibration::vector_eta;
use super::eta::PrivacyError;
use super::mechanism::{
    Material, Mechanism, MechanismEntry, NoiseLaw, Prepared, PrivateExample, Step, Strength,
    TokenEta,
};
use super::noise;
use crate::model::{BottomModel, CutActivations, TokenBatch};

/// `M(h) = clip(h) + z` for every real position, `[CLS]` and `[SEP]` included.
///
/// # Guarantee
///
/// Metric differential privacy with parameter eta for one position, over the Euclidean distance of
/// clipped activations. Above cut 0 one token influences all positions of its text, so the
/// guarantee for a token is weaker than for a position. The number of positions is not protected.
/// With contribution eta differs by token, and a token that is left as it is gets no noise at all.
#[derive(Debug, Clone)]
pub struct VectorMechanism {
    /// Parameter of the noise.
    pub eta: Rc<TokenEta>,
    /// Activations longer than this are shortened to it first.
    pub norm_max: f64,
}

/// Activations are clipped to this many times their mean norm over the vocabulary.
pub const CLIP: f64 = 1.5;

/// Vocabulary entries that are run through the bottom to learn the length of its activations.
const PROBE: usize = 512;

/// Tokens of one probed sequence.
const PROBE_LENGTH: usize = 16;

impl Mechanism for VectorMechanism {
    fn parameters(&self) -> Vec<u8> {
        self.eta.parameters(2, self.norm_max)
    }

    fn perturb(
        &self,
        mut activations: CutActivations,
        examples: &mut [PrivateExample],
    ) -> CutActivations {
        let mut rows = activations.values.chunks_exact_mut(activations.d_model);
        for PrivateExample { tokens, class, rng } in examples {
            let positions = tokens.ids().iter().zip(tokens.special());
            for ((id, special), row) in positions.zip(rows.by_ref()) {
                let scale = self.norm_max / norm(row);
                if scale < 1.0 {
                    row.iter_mut().for_each(|value| *value *= scale as f32);
                }
                let own = self.eta.of(*id, *class);
                let eta = if *special { Some(self.eta.eta) } else { own };
                if let Some(eta) = eta {
                    noise::add(row, eta, rng);
                }
            }
        }
        activations
    }

    fn perturbs_activations(&self) -> bool {
        true
    }

    fn noise(&self) -> NoiseLaw {
        NoiseLaw::Cut {
            eta: Rc::clone(&self.eta),
            norm_max: self.norm_max,
        }
    }
}

/// The line of the table.
pub(super) const ENTRY: MechanismEntry = MechanismEntry {
    name: "vector",
    title: "Blur the numbers",
    about: "Your words stay, and noise is added to the numbers that leave. A trained attacker can \
        undo more of this than the preview shows.",
    level: "Strength of the noise. More protection costs accuracy.",
    guarantee: "Metric differential privacy for each position, with parameter eta over the \
        distance of activations at the cut. Above cut 0 one word moves all positions of its text, \
        so the promise for a word is weaker.",
    takes_contribution: true,
    ranks_tokens: false,
    why: "",
    prepare: |material, strength| -> Step<'_, Prepared> { Box::pin(prepare(material, strength)) },
};

async fn prepare(material: &Material<'_>, strength: Strength) -> Result<Prepared, PrivacyError> {
    let dim = material.bottom.config().d_model;
    let norm = mean_norm(material.bottom).await?;
    let eta = match strength {
        Strength::Eta(eta) => eta,
        Strength::Level(level) => vector_eta(level, dim, norm)?,
    };
    let relative = dim as f64 / eta.get() / norm;
    let sentence = format!(
        "Every activation gets noise {:.0} % as long as itself (eta {:.1}).",
        100.0 * relative,
        eta.get()
    );
    let mechanism = VectorMechanism {
        eta: Rc::new(material.token_eta(eta)),
        norm_max: CLIP * norm,
    };
    Ok(Prepared {
        mechanism: Rc::new(mechanism),
        eta: Some(eta),
        level: Some(relative),
        sentence,
    })
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
    use super::super::eta::Eta;
    use super::super::token::tests::example;
    use super::*;

    fn perturbed(eta: f64, values: Vec<f32>) -> Vec<f32> {
        let mechanism = VectorMechanism {
            eta: Rc::new(TokenEta::uniform(Eta::new(eta).unwrap())),
            norm_max: 5.0,
        };
        let length = u16::try_from(values.len() / 2).unwrap();
        let activations = CutActivations {
            values,
            seq_lengths: vec![length],
            d_model: 2,
        };
        let ids = vec![4; usize::from(length)];
        let mut examples = [example(&ids, 3)];
        mechanism.perturb(activations, &mut examples).values
    }

    #[test]
    fn long_activations_are_clipped_and_all_get_their_own_noise() {
        let clipped = perturbed(1e9, vec![30.0, 40.0, 0.3, 0.4]);
        for (value, expected) in clipped.iter().zip([3.0, 4.0, 0.3, 0.4]) {
            assert!((value - expected).abs() < 1e-5, "{value}");
        }
        let noisy = perturbed(1.0, vec![0.0; 4]);
        assert_ne!(noisy[..2], noisy[2..]);
    }
}

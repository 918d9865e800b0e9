//! One forward and backward pass through the real top before the first client: a device that
//! computes nonsense, or weights that are not finite, are noticed at the start and not in a run.

use burn::tensor::Device;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shared::adapter::{Adapter, LoraConfig};
use shared::model::{ModelConfig, TopModel};
use shared::protocol::message::{AdapterSettings, AdapterTarget};

use super::step::{DeviceBatch, gradients, number};
use super::{ActivationBatch, TrainerError};

/// Two examples of different lengths, so that where one ends is part of it.
const SEQ_LENGTHS: [u16; 2] = [4, 2];

/// Classes of the head that is tried.
const N_CLASSES: usize = 2;

/// Fixes activations and adapter: the same start gives the same test.
const SEED: u64 = 1;

/// Takes the gradients of one batch of random activations through all blocks.
///
/// # Errors
///
/// `Diverged` when the loss or a gradient is not finite; `Device` when the device fails.
pub(super) fn run(
    model: &ModelConfig,
    top: &TopModel,
    device: &Device,
) -> Result<(), TrainerError> {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let rows: usize = SEQ_LENGTHS.iter().map(|length| usize::from(*length)).sum();
    let batch = ActivationBatch {
        // As a layer norm leaves them, roughly: of the order of one.
        values: (0..rows * model.d_model).map(|_| unit(&mut rng)).collect(),
        seq_lengths: SEQ_LENGTHS.to_vec(),
    };
    let batch = DeviceBatch::new(&batch, model.d_model, device).leaf();
    let settings = AdapterSettings {
        rank: 2,
        alpha: 4.0,
        dropout: 0.0,
        targets: vec![AdapterTarget::Query, AdapterTarget::Value],
    };
    let lora = LoraConfig::try_from(&settings)?;
    let adapter = Adapter::init(&lora, model, top, 0, N_CLASSES, &mut rng, device);
    let (loss, gradients) = gradients(top, &adapter, &batch, &[0, 1], &[])?;
    let mut is_finite = loss.is_finite();
    is_finite &= gradients
        .cut
        .is_some_and(|cut| cut.iter().all(|value| value.is_finite()));
    for gradient in gradients.adapter {
        is_finite &= number(gradient.abs().sum())?.is_finite();
    }
    if is_finite {
        Ok(())
    } else {
        Err(TrainerError::Diverged)
    }
}

/// Uniform on -1 to 1.
fn unit(rng: &mut ChaCha8Rng) -> f32 {
    let fraction = rng.next_u32() as f32 / u32::MAX as f32;
    2.0 * fraction - 1.0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::path::Path;

    use shared::model::CutLayer;

    use super::*;

    fn fixture() -> (ModelConfig, Vec<u8>) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../tests/fixtures/reference/bert-shaped/model");
        let config = fs::read(directory.join("config.json")).unwrap();
        let weights = fs::read(directory.join("model.safetensors")).unwrap();
        (ModelConfig::from_json(&config).unwrap(), weights)
    }

    fn test(config: &ModelConfig, weights: &[u8]) -> Result<(), TrainerError> {
        let device = Device::flex();
        let cut = CutLayer::new(0, config).unwrap();
        let top = TopModel::load(config, weights, cut, &device).unwrap();
        run(config, &top, &device)
    }

    #[test]
    fn a_sound_model_passes() {
        let (config, weights) = fixture();
        test(&config, &weights).unwrap();
    }

    /// Breaks when a model with a broken weight is called ready.
    #[test]
    fn weights_that_are_no_numbers_do_not() {
        let (config, mut weights) = fixture();
        let header = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
        for number in weights[8 + header..].chunks_exact_mut(4) {
            number.copy_from_slice(&f32::NAN.to_le_bytes());
        }
        assert!(matches!(
            test(&config, &weights),
            Err(TrainerError::Diverged)
        ));
    }
}

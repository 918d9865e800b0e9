//! What all measurements here have in common.

use shared::protocol::message::TrainSettings;

/// One epoch of batches, with the settings that the peers have.
pub(crate) fn settings(batch_size: u32) -> TrainSettings {
    TrainSettings {
        epochs: 1,
        batch_size,
        learning_rate: 1e-3,
        warmup_share: 0.0,
        weight_decay: 0.01,
        gradient_norm_max: 1.0,
        class_weights: Vec::new(),
        patience: 0,
        validations_per_epoch: 1,
    }
}

/// The middle one; not a number where there is none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

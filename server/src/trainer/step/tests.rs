#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use shared::adapter::{LoraConfig, Target};
use shared::model::{CutLayer, ModelConfig};

use super::*;

#[test]
fn the_cut_gradient_has_the_rows_that_came_and_no_padding() {
    let batch = ActivationBatch {
        values: vec![1., 2., 3., 4., 5., 6.],
        seq_lengths: vec![1, 2],
    };
    let leaf = DeviceBatch::new(&batch, 2, &Device::flex()).leaf();
    let squares = leaf.activations.clone() * leaf.activations.clone();
    let mut gradients = squares.sum().backward(); // d(x^2) = 2 x
    let rows = leaf.cut_gradient(&mut gradients).unwrap().unwrap();
    assert_eq!(rows, [2., 4., 6., 8., 10., 12.]);
}

fn fixture() -> (ModelConfig, TopModel) {
    let directory =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/reference/bert-shaped/model");
    let config = fs::read(directory.join("config.json")).unwrap();
    let config = ModelConfig::from_json(&config).unwrap();
    let weights = fs::read(directory.join("model.safetensors")).unwrap();
    let cut = CutLayer::new(0, &config).unwrap();
    let top = TopModel::load(&config, &weights, cut, &Device::flex()).unwrap();
    (config, top)
}

/// A batch of a run whose adapter has already changed something.
fn batch(
    (config, top): &(ModelConfig, TopModel),
    (rank, dropout, targets): (usize, f32, &[Target]),
    seq_lengths: &[u16],
) -> TrainBatch {
    let (seed, device) = (rank as u64, Device::flex());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let lora = LoraConfig::new(rank, 4.0, dropout, targets.iter().copied()).unwrap();
    let adapter = Adapter::init(&lora, config, top, 0, 2, &mut rng, &device);
    let rows: usize = seq_lengths.iter().map(|length| usize::from(*length)).sum();
    let number = |at: usize| ((at * 37 + rank) % 23) as f32 / 11.0 - 1.0;
    TrainBatch {
        adapter: adapter
            .map(|matrix| matrix.clone() + 0.05)
            .with_dropout_seed(seed),
        activations: ActivationBatch {
            values: (0..rows * config.d_model).map(number).collect(),
            seq_lengths: seq_lengths.to_vec(),
        },
        labels: (0..2).cycle().take(seq_lengths.len()).collect(),
        class_weights: vec![1.0, rank as f32],
    }
}

fn batches(fixture: &(ModelConfig, TopModel)) -> Vec<TrainBatch> {
    let all = [Target::Query, Target::Value, Target::FeedForwardDown];
    vec![
        batch(fixture, (2, 0.0, &all[..2]), &[3, 1, 5]),
        batch(fixture, (4, 0.3, &all), &[7, 2]),
        batch(fixture, (1, 0.1, &all[2..]), &[4]),
    ]
}

fn numbers((loss, gradients): (f32, BatchGradients)) -> Vec<f32> {
    let matrices = gradients
        .adapter
        .into_iter()
        .map(|matrix| read(matrix).unwrap());
    std::iter::once(loss).chain(matrices.flatten()).collect()
}

fn together(fixture: &(ModelConfig, TopModel), batches: &[TrainBatch]) -> Vec<Vec<f32>> {
    let (config, top) = fixture;
    let all = gradients_together(top, config.d_model, &Device::flex(), batches);
    all.into_iter().map(|own| numbers(own.unwrap())).collect()
}

/// Ranks, targets, dropout, class weights and lengths differ.
#[test]
fn together_each_run_gets_the_gradients_that_it_gets_alone() {
    let fixture = fixture();
    let batches = batches(&fixture);
    let (config, top) = &fixture;
    for (together, own) in together(&fixture, &batches).iter().zip(&batches) {
        let alone = own.gradients(top, config.d_model, &Device::flex());
        let alone = numbers(alone.unwrap());
        assert_eq!(together.len(), alone.len());
        assert!(alone.iter().filter(|number| **number != 0.0).count() > 100);
        for (together, alone) in together.iter().zip(&alone) {
            let difference = (together - alone).abs();
            assert!(
                difference <= 1e-5 * alone.abs().max(1.0),
                "{together} {alone}"
            );
        }
    }
}

/// Breaks when a run that has diverged takes others with it.
#[test]
fn what_is_not_finite_in_one_run_changes_no_bit_of_another() {
    let fixture = fixture();
    let mut batches = batches(&fixture);
    let sound = together(&fixture, &batches);
    batches[1].adapter = batches[1].adapter.map(|matrix| matrix.clone() * f32::NAN);
    let spoilt = together(&fixture, &batches);
    assert!(!spoilt[1][0].is_finite());
    assert!(spoilt[0] == sound[0] && spoilt[2] == sound[2]);
    assert!(sound.iter().flatten().all(|number| number.is_finite()));
}

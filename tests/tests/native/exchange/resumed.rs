//! A run that goes on from a checkpoint is the run that was never interrupted, bit for bit.
//!
//! What would break this: anything that decides a later step and is not in the checkpoint, or is
//! rounded on its way. And a checkpoint is of one run: another does not go on from it.

use std::fs;
use std::sync::Arc;

use burn::tensor::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use server::store::ActivationStore;
use server::trainer::checkpoint::{Checkpoint, CheckpointError};
use server::trainer::run::Run;
use server::trainer::{JobSpec, TrainerEvent};
use shared::model::{CutLayer, ModelConfig, TopModel};
use shared::protocol::message::{
    BottomTraining, DoneReason, ExampleHeader, LabelPlace, Split, TrainDone, TrainSettings,
};
use tests::reference::Reference;

use super::runs::{self, CUT, ELSEWHERE, ROWS, SEED};
use crate::samples::upload;

/// What can be told of a turn, as bits: `[step, epoch, loss, learning rate]` of a step, `[step, 1 for
/// the best so far, loss, accuracy]` of a validation.
type Told = Vec<[u32; 4]>;

#[derive(Debug, PartialEq)]
struct Finished {
    turns: Vec<Told>,
    done: TrainDone,
    adapter: Vec<Vec<u32>>,
}

fn told(events: &[TrainerEvent]) -> Told {
    let bits = |event: &TrainerEvent| match event {
        TrainerEvent::Step(report) => [
            report.step,
            report.epoch,
            report.loss.unwrap().to_bits(),
            report.learning_rate.to_bits(),
        ],
        TrainerEvent::Validation(report) => [
            report.step,
            u32::from(report.best),
            report.loss.to_bits(),
            report.accuracy.to_bits(),
        ],
        other => panic!("{other:?}"),
    };
    events.iter().map(bits).collect()
}

fn adapter_bits(run: Run) -> Vec<Vec<u32>> {
    let trained = run.into_trained();
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
    let parameters = trained.adapter.parameters().iter().cloned();
    parameters
        .map(|parameter| bits(parameter.into_data().try_to_vec().unwrap()))
        .collect()
}

fn alone(settings: &TrainSettings) -> JobSpec {
    runs::spec(LabelPlace::Server, BottomTraining::Frozen, settings)
}

fn begin(spec: &JobSpec) -> Run {
    let reference = Reference::open("bert-shaped", None, Device::flex());
    let (model, top) = (&reference.config, reference.top(CUT));
    let rng = ChaCha8Rng::seed_from_u64(SEED);
    Run::new(spec.clone(), model, top, &Device::flex(), rng).unwrap()
}

/// What another process would do: it has the bytes, and the job's specification and examples.
fn restore(spec: &JobSpec, bytes: &[u8]) -> Result<Run, CheckpointError> {
    let reference = Reference::open("bert-shaped", None, Device::flex());
    let (model, top) = (&reference.config, reference.top(CUT));
    let checkpoint = Checkpoint::from_bytes(bytes)?;
    Run::restore(spec.clone(), model, top, &Device::flex(), &checkpoint)
}

fn finish(mut run: Run) -> Finished {
    let mut turns = Vec::new();
    loop {
        let turn = run.turn().unwrap();
        turns.push(told(&turn.events));
        if let Some(done) = turn.done {
            let adapter = adapter_bits(run);
            return Finished {
                turns,
                done,
                adapter,
            };
        }
    }
}

/// Interrupts a run before every step: each checkpoint is gone on from to the end, and one run is
/// killed before every one of its steps.
fn assert_resumes_everywhere(spec: &JobSpec) -> Finished {
    let whole = finish(begin(spec)); // no checkpoint was taken of this one
    let mut killed = begin(spec);
    for (step, expected) in whole.turns.iter().enumerate() {
        let checkpoint = killed.checkpoint().unwrap();
        let bytes = checkpoint.to_bytes().unwrap();
        let resumed = finish(restore(spec, &bytes).unwrap());
        assert_eq!(resumed.turns, whole.turns[step..], "from step {step}");
        assert_eq!(resumed.done, whole.done, "from step {step}");
        assert_eq!(resumed.adapter, whole.adapter, "from step {step}");

        killed = restore(spec, &bytes).unwrap();
        // Nothing was lost on the way, and nothing was made up.
        assert_eq!(killed.checkpoint().unwrap(), checkpoint, "step {step}");
        let turn = killed.turn().unwrap();
        assert_eq!(told(&turn.events), *expected, "killed before step {step}");
    }
    // Killed after the last step and before anyone has heard of it.
    let bytes = killed.checkpoint().unwrap().to_bytes().unwrap();
    let ended = restore(spec, &bytes).unwrap();
    assert_eq!(ended.end(), Some(whole.done));
    assert_eq!(adapter_bits(ended), whole.adapter);
    whole
}

#[test]
fn a_run_goes_on_from_every_step_as_if_nothing_had_been() {
    let settings = runs::settings(1.0);
    let whole = assert_resumes_everywhere(&alone(&settings));
    // 3 epochs of 4 steps with 2 validations each, and dropout.
    assert_eq!(whole.turns.len(), 12);
    assert_eq!(whole.turns.iter().map(Vec::len).sum::<usize>(), 12 + 6);
    assert_eq!(whole.done.reason, DoneReason::Finished);
}

/// The labels of validation contradict those of training: the more is learned, the worse it gets.
#[test]
fn patience_runs_out_at_the_same_step() {
    let settings = TrainSettings {
        epochs: 10,
        patience: 2,
        ..runs::settings(1.0)
    };
    let (batch, payload) = upload(0, 20, ROWS);
    let contradicted = |header: &ExampleHeader| ExampleHeader {
        label: match header.split {
            Split::Train => header.label,
            Split::Validation => header.label.map(|label| 1 - label),
        },
        ..*header
    };
    let headers: Vec<_> = batch.examples.iter().map(contradicted).collect();
    let d_model = batch.activations.columns as usize;
    let store = ActivationStore::create(tempfile::tempdir().unwrap(), d_model).unwrap();
    store.append(&headers, batch.activations, &payload).unwrap();
    let spec = JobSpec {
        examples: Arc::new(store),
        ..alone(&settings)
    };
    let whole = assert_resumes_everywhere(&spec);
    assert_eq!(whole.done.reason, DoneReason::StoppedEarly);
    assert!(whole.done.steps < 40, "{:?}", whole.done);
    // Two validations, two steps each, were no improvement.
    assert_eq!(whole.done.best_step + 4, whole.done.steps);
}

/// The client lives on; the server's side of the run is killed wherever it is whole.
#[test]
fn a_run_with_its_client_goes_on_from_every_whole_step() {
    for gradient_norm_max in [0.01, 0.0] {
        let settings = runs::settings(gradient_norm_max);
        for (labels, bottom) in ELSEWHERE {
            let what = format!("{labels:?}, {bottom:?}, bound {gradient_norm_max}");
            let spec = runs::spec(labels, bottom, &settings);
            let (run, client) = runs::begin(spec.clone(), &settings);
            let whole = runs::finish(run, client, |run| run);
            let (run, client) = runs::begin(spec.clone(), &settings);
            let (mut restarts, mut mid_steps) = (0, 0);
            let killed = runs::finish(run, client, |run| match run.checkpoint() {
                // An answer that the run has not looked at yet is not kept either.
                Err(CheckpointError::MidStep) => {
                    mid_steps += 1;
                    run
                }
                checkpoint => {
                    restarts += 1;
                    restore(&spec, &checkpoint.unwrap().to_bytes().unwrap()).unwrap()
                }
            });
            assert_eq!(killed, whole, "{what}");
            // Before each of 12 steps; where the optimizer waits for the client, before the first
            // and after all validations but the last.
            let waits = bottom == BottomTraining::Lora && gradient_norm_max > 0.0;
            assert_eq!(restarts, if waits { 6 } else { 12 }, "{what}");
            assert!(mid_steps > 0, "{what}");
        }
    }
}

/// A checkpoint after two steps.
fn taken(spec: &JobSpec) -> Vec<u8> {
    let mut run = begin(spec);
    for _ in 0..2 {
        run.turn().unwrap();
    }
    run.checkpoint().unwrap().to_bytes().unwrap()
}

#[test]
fn a_run_does_not_go_on_as_another() {
    let spec = alone(&runs::settings(1.0));
    let bytes = taken(&spec);
    assert!(restore(&spec, &bytes).is_ok());
    let refused = |change: &dyn Fn(&mut JobSpec)| {
        let mut other = spec.clone();
        change(&mut other);
        match restore(&other, &bytes).unwrap_err() {
            CheckpointError::OtherRun {
                name,
                expected,
                actual,
            } => (name, expected, actual),
            other => panic!("{other}"),
        }
    };
    let (name, expected, actual) = refused(&|spec| spec.n_classes = 3);
    assert_eq!(
        (&name[..], &expected[..], &actual[..]),
        ("n_classes", "3", "2")
    );
    let (name, expected, actual) = refused(&|spec| spec.cut = 0);
    assert_eq!((&name[..], &expected[..], &actual[..]), ("cut", "0", "1"));
    let (name, expected, actual) = refused(&|spec| spec.adapter.rank = 3);
    assert_eq!(name, "adapter settings");
    assert!(expected.contains("\"rank\":3") && actual.contains("\"rank\":2"));
    let (name, expected, actual) = refused(&|spec| spec.settings.batch_size = 4);
    assert_eq!(name, "training settings");
    assert!(expected.contains("\"batch_size\":4") && actual.contains("\"batch_size\":3"));
}

#[test]
fn a_run_does_not_go_on_with_other_examples() {
    let spec = alone(&runs::settings(1.0));
    let bytes = taken(&spec);
    let refused = |first_id, examples| {
        let (batch, payload) = upload(first_id, examples, ROWS);
        let d_model = batch.activations.columns as usize;
        let store = ActivationStore::create(tempfile::tempdir().unwrap(), d_model).unwrap();
        let appended = store.append(&batch.examples, batch.activations, &payload);
        appended.unwrap();
        let other = JobSpec {
            examples: Arc::new(store),
            ..spec.clone()
        };
        restore(&other, &bytes).unwrap_err()
    };
    let others = refused(100, 20);
    assert!(matches!(others, CheckpointError::OtherExamples), "{others}");
    let fewer = refused(0, 16).to_string();
    assert!(
        fewer.ends_with("expected training examples 8; got 10"),
        "{fewer}"
    );
}

#[test]
fn a_run_does_not_go_on_in_another_model() {
    let spec = alone(&runs::settings(1.0));
    let checkpoint = Checkpoint::from_bytes(&taken(&spec)).unwrap();
    let directory = tests::assets::reference("bert-shaped").join("model");
    let config = fs::read(directory.join("config.json")).unwrap();
    let config = ModelConfig::from_json(&config).unwrap();
    let mut file = fs::read(directory.join("model.safetensors")).unwrap();
    let restore = |config: &ModelConfig, file: &[u8]| {
        let cut = CutLayer::new(CUT, config).unwrap();
        let top = TopModel::load(config, file, cut, &Device::flex()).unwrap();
        Run::restore(spec.clone(), config, top, &Device::flex(), &checkpoint)
    };
    assert!(restore(&config, &file).is_ok());
    let other = ModelConfig {
        n_heads: 1,
        ..config
    };
    let refused = restore(&other, &file).unwrap_err();
    assert!(
        matches!(&refused, CheckpointError::OtherRun { name, .. } if name == "model"),
        "{refused}"
    );
    // The same shapes with other numbers: all behind the header are half as large again.
    let header = 8 + usize::try_from(u64::from_le_bytes(*file.first_chunk().unwrap())).unwrap();
    for number in file[header..].as_chunks_mut::<4>().0 {
        *number = (1.5 * f32::from_le_bytes(*number)).to_le_bytes();
    }
    let refused = restore(&config, &file).unwrap_err();
    assert!(
        matches!(refused, CheckpointError::OtherWeights { .. }),
        "{refused}"
    );
}

/// Every byte of the header, and every 97th of the matrices.
#[test]
fn a_checkpoint_with_another_byte_is_refused() {
    let bytes = taken(&alone(&runs::settings(1.0)));
    let header = 8 + usize::try_from(u64::from_le_bytes(*bytes.first_chunk().unwrap())).unwrap();
    for at in (0..header).chain((header..bytes.len()).step_by(97)) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        let refused = Checkpoint::from_bytes(&flipped);
        assert!(matches!(refused, Err(CheckpointError::Damaged)), "{at}");
    }
    let saved = tempfile::tempdir().unwrap();
    let path = saved.path().join("checkpoint");
    let checkpoint = Checkpoint::from_bytes(&bytes).unwrap();
    checkpoint.save(&path).unwrap();
    assert_eq!(Checkpoint::load(&path).unwrap(), checkpoint);
}

//! Runs that share the device, turn by turn: no clock and no thread.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use burn::tensor::Tensor;
use shared::protocol::message::{
    AdapterSettings, AdapterTarget, BottomTraining, ExampleHeader, Split, TrainSettings,
};
use shared::protocol::tensor::{ActivationDtype, TensorDescriptor};
use tempfile::TempDir;

use super::*;
use crate::state::{JobKey, RunSeed};
use crate::store::{ActivationStore, DataDirectory};
use crate::trainer::JobSpec;

/// Of the model `bert-shaped`.
const D_MODEL: u16 = 32;
/// More than any run here reports.
const EVENTS: usize = 4_096;

/// What tells one run from another.
#[derive(Clone, Copy)]
struct Kind {
    cut: usize,
    examples: u32,
    length: u16,
    batch_size: u32,
    epochs: u32,
    rank: u32,
    dropout: f32,
}

/// Examples, lengths, batches, epochs, ranks and dropout all differ; the first four have one cut.
const KINDS: [Kind; 5] = [
    kind(1, [12, 5, 4, 3, 2], 0.0),
    kind(1, [9, 11, 2, 5, 4], 0.3),
    kind(1, [30, 3, 5, 6, 1], 0.1),
    kind(1, [7, 20, 3, 2, 3], 0.0),
    kind(2, [10, 6, 4, 4, 2], 0.2),
];

const fn kind(
    cut: usize,
    [examples, length, batch_size, epochs, rank]: [u32; 5],
    dropout: f32,
) -> Kind {
    let length = length as u16;
    Kind {
        cut,
        examples,
        length,
        batch_size,
        epochs,
        rank,
        dropout,
    }
}

/// A trainer without its thread, and where its runs lie.
struct Bench {
    worker: Worker,
    data: DataDirectory,
    reports: Vec<mpsc::Receiver<TrainerEvent>>,
    _root: TempDir,
}

impl Bench {
    fn new() -> Self {
        let model = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../tests/fixtures/reference/bert-shaped/model");
        let settings = TrainerSettings {
            export_dir: None,
            seed: None,
            checkpoint_every: Duration::from_secs(3_600),
            adapter_bytes_max: 0,
        };
        let root = tempfile::tempdir().unwrap();
        Self {
            worker: Worker::load(&model, Device::flex(), settings).unwrap(),
            data: DataDirectory::open(root.path()).unwrap(),
            reports: Vec::new(),
            _root: root,
        }
    }

    fn start(&mut self, id: u8, kind: Kind) {
        let key: JobKey = format!("{id:032x}").parse().unwrap();
        let files = self.data.jobs().of(key);
        files.create().unwrap();
        let order = RunOrder {
            spec: spec(kind, self.data.new_session(usize::from(D_MODEL)).unwrap()),
            files,
            seed: RunSeed([id; 32]),
            again: None,
        };
        let (events, reports) = mpsc::channel(EVENTS);
        self.reports.push(reports);
        let (id, span) = (JobId(u64::from(id)), RunTrace::here());
        self.worker.start(id, order, events, span).unwrap();
    }

    /// Takes turns until all runs have ended, or so many turns.
    fn turns(&mut self, most: usize) {
        for _ in 0..most {
            let order = self.worker.order();
            if order.is_empty() {
                return;
            }
            self.worker.advance(&order);
        }
    }

    /// All numbers of an adapter that was trained.
    fn adapter(&self, id: u8) -> Vec<f32> {
        let Some(Job::Ended(trained)) = self.worker.jobs.get(&JobId(u64::from(id))) else {
            panic!("the run has not ended")
        };
        let matrices = trained.adapter.parameters().iter().cloned();
        let numbers = |matrix: Tensor<2>| matrix.into_data().try_into_vec::<f32>().unwrap();
        matrices.flat_map(numbers).collect()
    }
}

fn spec(kind: Kind, examples: ActivationStore) -> JobSpec {
    let headers: Vec<ExampleHeader> = (0..kind.examples)
        .map(|at| ExampleHeader {
            example_id: at,
            split: match at % 4 {
                3 => Split::Validation,
                _ => Split::Train,
            },
            label: Some(at % 2),
            // Two lengths, so that rows are not the same in every step.
            seq_length: kind.length - u16::from(at % 3 == 0),
        })
        .collect();
    let rows: u32 = headers
        .iter()
        .map(|header| u32::from(header.seq_length))
        .sum();
    let columns = u32::from(D_MODEL);
    let number = |at: u32| (at * 37 % 23) as f32 / 11.0 - 1.0;
    let payload: Vec<u8> = (0..rows * columns)
        .flat_map(|at| number(at + kind.rank).to_le_bytes())
        .collect();
    let tensor = TensorDescriptor {
        dtype: ActivationDtype::F32,
        rows,
        columns,
    };
    examples.append(&headers, tensor, &payload).unwrap();
    JobSpec {
        cut: kind.cut,
        n_classes: 2,
        adapter: AdapterSettings {
            rank: kind.rank,
            alpha: 4.0,
            dropout: kind.dropout,
            targets: vec![AdapterTarget::Query, AdapterTarget::Value],
        },
        settings: TrainSettings {
            epochs: kind.epochs,
            batch_size: kind.batch_size,
            learning_rate: 1e-3,
            warmup_share: 0.0,
            weight_decay: 0.01,
            gradient_norm_max: 1.0,
            class_weights: Vec::new(),
            patience: 0,
            validations_per_epoch: 1,
        },
        labels: LabelPlace::Server,
        bottom: BottomTraining::Frozen,
        examples: Arc::new(examples),
    }
}

fn assert_close(left: &[f32], right: &[f32], id: u8) {
    assert_eq!(left.len(), right.len());
    for (a, b) in left.iter().zip(right) {
        // Not `> 1e-5`, which would pass over a NaN.
        assert!((a - b).abs() <= 1e-5, "run {id}: {a} against {b}");
    }
}

/// Breaks when what a run becomes depends on who else was running. One is cancelled in the middle.
#[test]
fn runs_together_leave_the_adapters_of_the_runs_alone() {
    let ids = || (1u8..).zip(KINDS);
    let mut together = Bench::new();
    for (id, kind) in ids() {
        together.start(id, kind);
    }
    let order = together.worker.order();
    let first = [1, 2, 3, 4].map(JobId);
    assert_eq!(together.worker.taken_together(&order), first);
    together.turns(4);
    let cancelled = 3;
    together.worker.cancel(JobId(u64::from(cancelled))).unwrap();
    together.turns(usize::MAX);
    for (id, kind) in ids().filter(|(id, _)| *id != cancelled) {
        let mut alone = Bench::new();
        alone.start(id, kind);
        alone.turns(usize::MAX);
        assert_close(&together.adapter(id), &alone.adapter(id), id);
    }
}

/// Breaks when the steps of a run whose client is gone, or that cannot be read, are lost for others.
#[test]
fn a_run_that_fails_leaves_those_alone_that_were_taken_with_it() {
    let mut bench = Bench::new();
    for (id, kind) in (1u8..).zip(&KINDS[..3]) {
        bench.start(id, *kind);
    }
    let gone = bench.reports.remove(1);
    drop(gone);
    bench.turns(1);
    let steps = |id| match bench.worker.jobs.get(&JobId(id)) {
        Some(Job::Running(running)) => Some(running.run.step()),
        _ => None,
    };
    assert_eq!([1, 2, 3].map(steps), [Some(1), None, Some(1)]);
}

/// A step of many rows is taken alone, and never with small ones of others.
#[test]
fn large_steps_are_taken_alone() {
    let mut bench = Bench::new();
    let large = kind(1, [64, 20, 48, 1, 1], 0.0); // 48 * about 19.7 rows
    bench.start(1, large);
    bench.start(2, KINDS[0]);
    bench.start(3, KINDS[1]);
    let together = |order: [u64; 3]| bench.worker.taken_together(&order.map(JobId));
    assert_eq!(together([1, 2, 3]), [JobId(1)]);
    assert_eq!(together([2, 1, 3]), [JobId(2), JobId(3)]);
}

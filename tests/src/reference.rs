//! The tensors that PyTorch computed, and our models on the same weights.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use safetensors::SafeTensors;
use server::trainer::ActivationBatch;
use server::trainer::step::DeviceBatch;
use shared::adapter::{Adapter, peft};
use shared::model::weights::{Precision, bottom_artifact};
use shared::model::{BottomModel, CutActivations, CutLayer, ModelConfig, TokenBatch, TopModel};

/// One directory below tests/fixtures/reference.
#[derive(Debug)]
pub struct Reference {
    directory: PathBuf,
    model: Vec<u8>,
    /// Sizes of the model.
    pub config: ModelConfig,
    /// `meta.json`
    pub meta: serde_json::Value,
    device: Device,
}

/// Token ids and labels of one batch.
#[derive(Debug)]
pub struct ReferenceBatch {
    ids: Vec<Vec<u32>>,
    type_ids: Vec<Vec<u8>>,
    /// One a row.
    pub labels: Vec<u32>,
}

impl Reference {
    /// Opens a fixture; `model` is the directory of its weights.
    ///
    /// # Panics
    ///
    /// When a file is missing.
    pub fn open(name: &str, model: Option<&Path>, device: Device) -> Self {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/reference");
        let directory = fixtures.join(name);
        let own = directory.join("model");
        let model = model.unwrap_or(&own);
        let meta = serde_json::from_slice(&read(&directory.join("meta.json")));
        Self {
            config: ModelConfig::from_json(&read(&model.join("config.json"))).expect("a config"),
            model: read(&model.join("model.safetensors")),
            meta: meta.expect("meta.json is JSON"),
            directory,
            device,
        }
    }

    /// The bottom of a cut.
    pub fn bottom(&self, cut: usize) -> BottomModel {
        let cut = CutLayer::new(cut, &self.config).expect("a cut of this model");
        BottomModel::load(&self.config, &self.model, cut, &self.device).expect("the weights fit")
    }

    /// The bottom of a cut as a client has it that fetched it in a precision.
    ///
    /// # Panics
    ///
    /// When it cannot be cut out or read.
    pub fn fetched_bottom(&self, cut: usize, precision: Precision) -> BottomModel {
        let artifact = bottom_artifact(&self.config, &self.model, cut, precision)
            .expect("the weights can be written");
        let cut = CutLayer::new(cut, &self.config).expect("a cut of this model");
        BottomModel::load(&self.config, &artifact, cut, &self.device).expect("the artifact fits")
    }

    /// The top of a cut.
    pub fn top(&self, cut: usize) -> TopModel {
        let cut = CutLayer::new(cut, &self.config).expect("a cut of this model");
        TopModel::load(&self.config, &self.model, cut, &self.device).expect("the weights fit")
    }

    /// The adapter that the reference starts from.
    pub fn adapter(&self) -> Adapter {
        self.peft("adapter_init/adapter_model.safetensors")
    }

    /// The reference's gradients, in the shape and order of an adapter.
    pub fn gradients(&self) -> Adapter {
        self.peft("gradients.safetensors")
    }

    /// Class weights of the reference's loss.
    pub fn class_weights(&self) -> Vec<f32> {
        serde_json::from_value(self.meta["class_weights"].clone()).expect("a list of numbers")
    }

    /// Number of classes.
    pub fn n_classes(&self) -> usize {
        usize::try_from(self.meta["num_labels"].as_u64().expect("a number")).expect("a small one")
    }

    /// Losses of the first training steps.
    pub fn losses(&self) -> Vec<f32> {
        let losses: serde_json::Value =
            serde_json::from_slice(&read(&self.directory.join("losses.json"))).expect("JSON");
        serde_json::from_value(losses["losses"].clone()).expect("a list of numbers")
    }

    /// A tensor of `outputs.safetensors`.
    pub fn output(&self, name: &str) -> Vec<f32> {
        let bytes = read(&self.directory.join("outputs.safetensors"));
        let file = SafeTensors::deserialize(&bytes).expect("safetensors");
        let view = file.tensor(name).expect("the tensor is there");
        view.data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect()
    }

    /// The batch of logits, loss and gradients.
    pub fn batch(&self) -> ReferenceBatch {
        self.batches("batch.safetensors").remove(0)
    }

    /// The batches of the training steps.
    pub fn training_batches(&self) -> Vec<ReferenceBatch> {
        self.batches("training_batches.safetensors")
    }

    /// Runs a bottom on a batch, as a client would.
    pub fn activations(&self, bottom: &BottomModel, batch: &ReferenceBatch) -> DeviceBatch {
        let activations = self.released(bottom, batch);
        let batch = ActivationBatch {
            values: activations.values().to_vec(),
            seq_lengths: activations.seq_lengths().to_vec(),
        };
        DeviceBatch::new(&batch, self.config.d_model, &self.device)
    }

    /// The activations of a batch without padding, `[sum of lengths, d_model]`.
    pub fn embeddings(&self, bottom: &BottomModel, batch: &ReferenceBatch) -> Vec<f32> {
        self.released(bottom, batch).values().to_vec()
    }

    /// The tokens of a batch, as a bottom takes them.
    ///
    /// # Panics
    ///
    /// When an id is out of range.
    pub fn tokens(&self, batch: &ReferenceBatch) -> TokenBatch {
        let examples: Vec<(&[u32], &[u8])> = batch
            .ids
            .iter()
            .zip(&batch.type_ids)
            .map(|(ids, kinds)| (&ids[..], &kinds[..]))
            .collect();
        TokenBatch::new(&examples, &self.config).expect("the ids are in range")
    }

    fn released(&self, bottom: &BottomModel, batch: &ReferenceBatch) -> CutActivations {
        let tokens = self.tokens(batch);
        futures_util::FutureExt::now_or_never(bottom.activations(&tokens))
            .expect("the CPU does not wait")
            .expect("the device works")
    }

    fn peft(&self, tensors: &str) -> Adapter {
        let files = peft::PeftFiles {
            config: read(&self.directory.join("adapter_init/adapter_config.json")),
            tensors: read(&self.directory.join(tensors)),
        };
        let top = self.top(0);
        peft::read(&files, &self.config, &top, self.n_classes(), &self.device).expect("PEFT files")
    }

    fn batches(&self, file: &str) -> Vec<ReferenceBatch> {
        let bytes = read(&self.directory.join(file));
        let file = SafeTensors::deserialize(&bytes).expect("safetensors");
        let tensor = |name| {
            let view = file.tensor(name).expect("the tensor is there");
            let numbers = view.data().as_chunks::<8>().0.iter();
            let numbers: Vec<i64> = numbers.map(|bytes| i64::from_le_bytes(*bytes)).collect();
            (view.shape().to_vec(), numbers)
        };
        let (shape, ids) = tensor("input_ids");
        let [rows, seq] = [shape[shape.len() - 2], shape[shape.len() - 1]];
        let (_, type_ids) = tensor("token_type_ids");
        let (_, lengths) = tensor("lengths");
        let (_, labels) = tensor("labels");
        let row = |at: usize, length: i64, values: &[i64]| -> Vec<u32> {
            let length = usize::try_from(length).expect("a length");
            values[at * seq..at * seq + length]
                .iter()
                .map(|value| u32::try_from(*value).expect("an id"))
                .collect()
        };
        let all: Vec<(Vec<u32>, Vec<u8>, u32)> = (0..lengths.len())
            .map(|at| {
                let kinds = row(at, lengths[at], &type_ids);
                (
                    row(at, lengths[at], &ids),
                    kinds
                        .iter()
                        .map(|kind| u8::try_from(*kind).expect("0 or 1"))
                        .collect(),
                    u32::try_from(labels[at]).expect("a class"),
                )
            })
            .collect();
        all.chunks(rows)
            .map(|rows| ReferenceBatch {
                ids: rows.iter().map(|row| row.0.clone()).collect(),
                type_ids: rows.iter().map(|row| row.1.clone()).collect(),
                labels: rows.iter().map(|row| row.2).collect(),
            })
            .collect()
    }
}

/// The numbers of a tensor. Fails on NaN, which no comparison would notice.
///
/// # Panics
///
/// When the device fails or a number is not finite.
pub fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let numbers = tensor
        .into_data()
        .try_into_vec::<f32>()
        .expect("the device works");
    assert!(
        numbers.iter().all(|number| number.is_finite()),
        "a number is not finite"
    );
    numbers
}

/// Largest difference, relative to the largest magnitude of the reference.
///
/// # Panics
///
/// When the lengths differ or the reference is zero.
pub fn relative_difference(actual: &[f32], reference: &[f32]) -> f32 {
    assert_eq!(
        actual.len(),
        reference.len(),
        "as many numbers as the reference"
    );
    let scale = reference
        .iter()
        .fold(0.0f32, |max, value| max.max(value.abs()));
    assert!(scale > 0.0, "the reference is zero");
    let largest = actual
        .iter()
        .zip(reference)
        .fold(0.0f32, |max, (a, b)| max.max((a - b).abs()));
    largest / scale
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

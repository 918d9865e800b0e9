//! The client's part of the model: embeddings and the first `cut` blocks.
//!
//! The weights are frozen; an adapter may stand beside them.

use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};

use super::block::Block;
use super::config::ModelConfig;
use super::cut::{CutActivations, CutLayer};
use super::embedding::Embeddings;
use super::error::ModelError;
use super::groups::Adapters;
use super::sequences::Sequences;
use super::weights::Weights;
use crate::adapter::Adapter;

/// Token ids of some examples, padded to the longest. Stays on the device that made it.
pub struct TokenBatch {
    ids: Vec<u32>,
    type_ids: Vec<u32>,
    seq_lengths: Vec<u16>,
    seq: usize,
}

impl std::fmt::Debug for TokenBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenBatch({} examples)", self.seq_lengths.len())
    }
}

impl TokenBatch {
    /// Pads `(ids, type_ids)` of each example with zeros.
    ///
    /// # Errors
    ///
    /// When an example is empty, longer than the model's positions, or has an id outside the
    /// vocabulary.
    pub fn new(examples: &[(&[u32], &[u8])], config: &ModelConfig) -> Result<Self, ModelError> {
        let seq = examples.iter().map(|(ids, _)| ids.len()).max().unwrap_or(0);
        let mut batch = Self {
            ids: Vec::with_capacity(examples.len() * seq),
            type_ids: Vec::with_capacity(examples.len() * seq),
            seq_lengths: Vec::with_capacity(examples.len()),
            seq,
        };
        let types_max = config.n_token_types.saturating_sub(1);
        for (ids, type_ids) in examples {
            let length = u16::try_from(ids.len()).unwrap_or(u16::MAX);
            if ids.is_empty() || ids.len() > config.seq_length_max || length == u16::MAX {
                let (actual, max) = (ids.len(), config.seq_length_max);
                return Err(ModelError::SequenceLength { actual, max });
            }
            if ids.iter().any(|id| *id as usize >= config.vocab_size) {
                return Err(ModelError::TokenOutOfVocabulary {
                    vocab_size: config.vocab_size,
                });
            }
            batch.seq_lengths.push(length);
            batch.ids.extend_from_slice(ids);
            batch.type_ids.extend((0..ids.len()).map(|at| {
                let kind = type_ids.get(at).copied().unwrap_or(0);
                u32::from(kind).min(u32::try_from(types_max).unwrap_or(0))
            }));
            batch.ids.resize(batch.seq_lengths.len() * seq, 0);
            batch.type_ids.resize(batch.seq_lengths.len() * seq, 0);
        }
        Ok(batch)
    }

    /// Examples in the batch.
    pub fn len(&self) -> usize {
        self.seq_lengths.len()
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.seq_lengths.is_empty()
    }

    fn tensor(&self, values: &[u32], device: &Device) -> Tensor<2, Int> {
        let values: Vec<i32> = values.iter().map(|v| v.cast_signed()).collect();
        Tensor::from_data(TensorData::new(values, [self.len(), self.seq]), device)
    }
}

/// Embeddings and the first `cut` blocks.
#[derive(Debug, Clone)]
pub struct BottomModel {
    config: ModelConfig,
    cut: CutLayer,
    embeddings: Embeddings,
    blocks: Vec<Block>,
    device: Device,
}

impl BottomModel {
    /// Reads a bottom artifact, or the bottom of a whole model file.
    ///
    /// # Errors
    ///
    /// When a tensor is missing or has another shape.
    pub fn load(
        config: &ModelConfig,
        file: &[u8],
        cut: CutLayer,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let weights = Weights::new(file, config)?;
        Ok(Self {
            config: config.clone(),
            cut,
            embeddings: Embeddings::load(config, &weights, device)?,
            blocks: (0..cut.index())
                .map(|layer| Block::load(config, &weights, layer, device))
                .collect::<Result<_, _>>()?,
            device: device.clone(),
        })
    }

    /// Sizes of the whole model.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Blocks that this bottom runs.
    pub fn cut(&self) -> CutLayer {
        self.cut
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The token-embedding table, `[vocab_size, d_model]`.
    pub fn word_table(&self) -> &Tensor<2> {
        self.embeddings.word_table()
    }

    /// Runs the bottom on some examples, with an adapter beside its blocks where there is one.
    pub fn pass(&self, batch: &TokenBatch, adapter: Option<&Adapter>) -> BottomPass {
        let lengths: Vec<usize> = batch.seq_lengths.iter().map(|l| usize::from(*l)).collect();
        let sequences = Sequences::new(&lengths, &self.device);
        let ids = batch.tensor(&batch.ids, &self.device);
        let type_ids = batch.tensor(&batch.type_ids, &self.device);
        let mut output = sequences.of_padded(self.embeddings.forward(ids, type_ids));
        let adapters = adapter.map_or(Adapters::Nothing, Adapters::One);
        for block in &self.blocks {
            output = block.forward(output, &sequences, adapters);
        }
        BottomPass {
            output,
            sequences,
            seq_lengths: batch.seq_lengths.clone(),
        }
    }

    /// Runs the bottom on vectors in place of rows of the embedding table, first segment, no
    /// padding. The audit differentiates through it.
    ///
    /// # Shapes
    ///
    /// - words, output: `[batch, seq, d_model]`
    pub fn forward_words(&self, words: Tensor<3>) -> Tensor<3> {
        let [batch, seq, _] = words.dims();
        let sequences = Sequences::new(&vec![seq; batch], &self.device);
        let type_ids = Tensor::<2, Int>::zeros([batch, seq], &self.device);
        let mut x = sequences.of_padded(self.embeddings.forward_words(words, type_ids));
        for block in &self.blocks {
            x = block.forward(x, &sequences, Adapters::Nothing);
        }
        x.reshape([batch, seq, self.config.d_model])
    }

    /// Runs the bottom without an adapter and reads the activations back.
    ///
    /// # Errors
    ///
    /// When the device fails (for example a lost GPU).
    pub async fn activations(&self, batch: &TokenBatch) -> Result<CutActivations, DeviceFailed> {
        self.pass(batch, None).activations().await
    }
}

/// A batch that went through the bottom; it still knows how, if the adapter's matrices are leaves.
#[derive(Clone)]
pub struct BottomPass {
    output: Tensor<3>,
    sequences: Sequences,
    seq_lengths: Vec<u16>,
}

impl std::fmt::Debug for BottomPass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BottomPass({} examples)", self.seq_lengths.len())
    }
}

impl BottomPass {
    /// The activations on their device, of examples of one length: `[batch, seq, d_model]`. None
    /// where lengths differ.
    pub fn of_one_length(&self) -> Option<Tensor<3>> {
        let [outer, inner, d_model] = self.output.dims();
        let batch = self.sequences.len();
        let seq = *self.sequences.seq_lengths().first()?;
        let is_one = self.sequences.seq_lengths().iter().all(|own| *own == seq);
        let fits = is_one && outer * inner == batch * seq;
        fits.then(|| self.output.clone().reshape([batch, seq, d_model]))
    }

    /// Reads the activations back, without padding.
    ///
    /// Asynchronous because a browser can only read a GPU's memory asynchronously.
    ///
    /// # Errors
    ///
    /// When the device fails (for example a lost GPU).
    pub async fn activations(&self) -> Result<CutActivations, DeviceFailed> {
        let [_, _, d_model] = self.output.dims();
        let output = self.output.clone().without_autodiff();
        let data = output.into_data_async().await.map_err(|_| DeviceFailed)?;
        let values = data.try_into_vec::<f32>().map_err(|_| DeviceFailed)?;
        Ok(CutActivations {
            values: self.sequences.rows(values, d_model),
            seq_lengths: self.seq_lengths.clone(),
            d_model,
        })
    }

    /// Gradients of the adapter's leaves, from the gradient of the loss at the cut: those of
    /// `sum of output * gradient`, by the chain rule. None where no adapter has a part in the
    /// output.
    ///
    /// # Shapes
    ///
    /// - gradient: `[sum of seq_lengths, d_model]`, rows as in the activations
    pub fn backward(self, gradient: &[f32]) -> Option<Gradients> {
        let [_, _, d_model] = self.output.dims();
        let rows: usize = self.sequences.seq_lengths().iter().sum();
        if gradient.len() != rows * d_model {
            return None;
        }
        let device = self.output.device().without_autodiff();
        let gradient = self.sequences.tensor(gradient.to_vec(), d_model, &device);
        self.output
            .is_tracked()
            .then(|| (self.output * gradient).sum().backward())
    }
}

/// The compute device did not give its result back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the compute device failed or was lost")]
pub struct DeviceFailed;

//! Token, position and segment embeddings: what stands before the first block.

use burn::backend::Flex;
use burn::tensor::module::{embedding, layer_norm};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::config::ModelConfig;
use super::error::ModelError;
use super::kernel::{self, LayerNormKernel};
use super::weights::Weights;

/// `LayerNorm(E_token + E_position + E_type)`.
#[derive(Debug, Clone)]
pub(super) struct Embeddings {
    word: Tensor<2>,               // [vocab_size, d_model]
    position: Tensor<2>,           // [seq_length_max, d_model], the offset already cut off
    token_type: Option<Tensor<2>>, // [n_token_types, d_model]
    norm: LayerNorm,
}

impl Embeddings {
    /// Reads the tables.
    ///
    /// # Errors
    ///
    /// When a tensor is missing or has another shape.
    pub(super) fn load(
        config: &ModelConfig,
        weights: &Weights<'_>,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let d_model = config.d_model;
        let table = |name: &str, rows: usize, skip: usize| {
            let mut values = weights.tensor(name, &[rows + skip, d_model])?;
            values.drain(..skip * d_model);
            Ok(Tensor::from_data(
                TensorData::new(values, [rows, d_model]),
                device,
            ))
        };
        Ok(Self {
            word: table("embeddings.word.weight", config.vocab_size, 0)?,
            position: table(
                "embeddings.position.weight",
                config.seq_length_max,
                config.position_offset,
            )?,
            token_type: if config.n_token_types > 0 {
                Some(table(
                    "embeddings.token_type.weight",
                    config.n_token_types,
                    0,
                )?)
            } else {
                None
            },
            norm: LayerNorm::load(config, weights, "embeddings.norm", device)?,
        })
    }

    /// Embeds a padded batch.
    ///
    /// # Shapes
    ///
    /// - ids, type_ids: `[batch, seq]`
    /// - output: `[batch, seq, d_model]`
    pub(super) fn forward(&self, ids: Tensor<2, Int>, type_ids: Tensor<2, Int>) -> Tensor<3> {
        self.forward_words(embedding(self.word.clone(), ids), type_ids)
    }

    /// Embeds what stands in place of token vectors.
    ///
    /// # Shapes
    ///
    /// - words, output: `[batch, seq, d_model]`
    /// - type_ids: `[batch, seq]`
    pub(super) fn forward_words(&self, words: Tensor<3>, type_ids: Tensor<2, Int>) -> Tensor<3> {
        let [_, seq, _] = words.dims();
        let positions = self.position.clone().slice(0..seq).unsqueeze::<3>(); // [1, seq, d_model]
        let mut sum = words + positions;
        if let Some(table) = &self.token_type {
            sum = sum + embedding(table.clone(), type_ids);
        }
        self.norm.forward(sum)
    }

    /// The token-embedding table, `[vocab_size, d_model]`.
    pub(super) fn word_table(&self) -> &Tensor<2> {
        &self.word
    }
}

/// Layer normalisation over the last axis.
#[derive(Debug, Clone)]
pub(super) struct LayerNorm {
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
}

impl LayerNorm {
    /// Reads `{name}.weight` and `{name}.bias`.
    ///
    /// # Errors
    ///
    /// When a tensor is missing or has another shape.
    pub(super) fn load(
        config: &ModelConfig,
        weights: &Weights<'_>,
        name: &str,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let vector = |kind: &str| {
            let values = weights.tensor(&format!("{name}.{kind}"), &[config.d_model])?;
            Ok(Tensor::from_data(
                TensorData::new(values, [config.d_model]),
                device,
            ))
        };
        Ok(Self {
            gamma: vector("weight")?,
            beta: vector("bias")?,
            epsilon: config.layer_norm_epsilon,
        })
    }

    /// `gamma * (x - mean) / sqrt(variance + epsilon) + beta`.
    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        match self.kernel(&x) {
            Some(kernel) => kernel::apply(kernel, [x]),
            None => layer_norm(x, self.gamma.clone(), Some(self.beta.clone()), self.epsilon),
        }
    }

    fn kernel(&self, x: &Tensor<3>) -> Option<LayerNormKernel> {
        let primitive = |vector: &Tensor<1>| vector.clone().try_into_primitive::<Flex>().ok();
        kernel::supports(x).then_some(())?;
        Some(LayerNormKernel {
            gamma: primitive(&self.gamma)?,
            beta: primitive(&self.beta)?,
            epsilon: self.epsilon as f32,
        })
    }
}

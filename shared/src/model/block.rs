//! One transformer block of an encoder, layer norm after each half.

use burn::tensor::{Device, Tensor};

use super::attention::SelfAttention;
use super::config::ModelConfig;
use super::embedding::LayerNorm;
use super::error::ModelError;
use super::feed_forward::FeedForward;
use super::groups::Adapters;
use super::sequences::Sequences;
use super::weights::Weights;

/// `x <- LN(x + Attention(x)); x <- LN(x + FeedForward(x))`.
#[derive(Debug, Clone)]
pub(super) struct Block {
    attention: SelfAttention,
    attention_norm: LayerNorm,
    feed_forward: FeedForward,
    feed_forward_norm: LayerNorm,
}

impl Block {
    /// Reads block `layer`, counted from the embeddings.
    ///
    /// # Errors
    ///
    /// When a tensor is missing or has another shape.
    pub(super) fn load(
        config: &ModelConfig,
        weights: &Weights<'_>,
        layer: usize,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let norm = |part: &str| {
            LayerNorm::load(config, weights, &format!("layers.{layer}.{part}"), device)
        };
        Ok(Self {
            attention: SelfAttention::load(config, weights, layer, device)?,
            attention_norm: norm("attention_norm")?,
            feed_forward: FeedForward::load(config, weights, layer, device)?,
            feed_forward_norm: norm("feed_forward_norm")?,
        })
    }

    /// # Shapes
    ///
    /// - x, output: as `sequences` lays examples out
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        sequences: &Sequences,
        adapters: Adapters<'_>,
    ) -> Tensor<3> {
        self.forward_at(x.clone(), x, sequences, adapters)
    }

    /// The block's output at the first position only, which is all that a task head reads.
    ///
    /// Equal to `forward` followed by a slice; every other position of the last block would be
    /// computed for nothing.
    ///
    /// # Shapes
    ///
    /// - x: as `sequences` lays examples out
    /// - output: a row for each example
    pub(super) fn forward_first(
        &self,
        x: Tensor<3>,
        sequences: &Sequences,
        adapters: Adapters<'_>,
    ) -> Tensor<3> {
        let first = sequences.first(x.clone());
        self.forward_at(first, x, sequences, adapters)
    }

    fn forward_at(
        &self,
        queries: Tensor<3>,
        x: Tensor<3>,
        sequences: &Sequences,
        adapters: Adapters<'_>,
    ) -> Tensor<3> {
        let attended = self
            .attention
            .forward(queries.clone(), x, sequences, adapters);
        let x = self.attention_norm.forward(queries + attended);
        let fed = self.feed_forward.forward(x.clone(), adapters);
        self.feed_forward_norm.forward(x + fed)
    }
}

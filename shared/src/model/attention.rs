//! Multi-head self-attention of an encoder.

use burn::tensor::{Device, Tensor};

use super::config::ModelConfig;
use super::error::ModelError;
use super::groups::Adapters;
use super::linear::Linear;
use super::sequences::Sequences;
use super::weights::Weights;
use crate::adapter::Target;

/// `softmax(Q K^T / sqrt(d_head)) V`, all heads together, and the projection after it.
///
/// Source: Attention Is All You Need, arXiv 1706.03762, section 3.2.
#[derive(Debug, Clone)]
pub(super) struct SelfAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    n_heads: usize,
    layer: usize,
}

impl SelfAttention {
    /// Reads the four projections of a block.
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
        let square = [config.d_model, config.d_model];
        let load =
            |part: &str| Linear::load(weights, &format!("layers.{layer}.{part}"), square, device);
        Ok(Self {
            query: load("query")?,
            key: load("key")?,
            value: load("value")?,
            output: load("attention_output")?,
            n_heads: config.n_heads,
            layer,
        })
    }

    /// Attends from the positions of `queries` to all positions of `x`.
    ///
    /// # Shapes
    ///
    /// - queries: all of x, or the first position of each example
    /// - x: as `sequences` lays examples out
    /// - output: as queries
    pub(super) fn forward(
        &self,
        queries: Tensor<3>,
        x: Tensor<3>,
        sequences: &Sequences,
        adapters: Adapters<'_>,
    ) -> Tensor<3> {
        let beside = |target| adapters.beside(self.layer, target);
        let q = self.query.forward(queries, &beside(Target::Query));
        let k = self.key.forward(x.clone(), &beside(Target::Key));
        let v = self.value.forward(x, &beside(Target::Value));
        let context = sequences.attend([q, k, v], self.n_heads);
        self.output
            .forward(context, &beside(Target::AttentionOutput))
    }
}

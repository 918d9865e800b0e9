//! Multi-head self-attention of an encoder.

use std::sync::Arc;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};

use super::config::ModelConfig;
use super::error::ModelError;
use super::kernel::{self, AttentionWeights};
use super::linear::Linear;
use super::weights::Weights;
use crate::adapter::{Adapter, Target};

/// Which positions of a padded batch are real.
#[derive(Debug, Clone)]
pub struct AttentionMask {
    padded: Option<Padded>,
}

/// The same thing twice: each device takes the form that it works with.
#[derive(Debug, Clone)]
struct Padded {
    seq_lengths: Arc<[usize]>,
    // 0 at real positions, a large negative number at padding.
    bias: Tensor<4>, // [batch, 1, 1, seq]
}

impl AttentionMask {
    /// A mask from the number of real positions of each example.
    pub fn from_lengths(seq_lengths: &[usize], seq: usize, device: &Device) -> Self {
        if seq_lengths.iter().all(|length| *length == seq) {
            return Self { padded: None };
        }
        let mut bias = Vec::with_capacity(seq_lengths.len() * seq);
        for length in seq_lengths {
            bias.extend((0..seq).map(|position| if position < *length { 0.0 } else { PADDING }));
        }
        let shape = [seq_lengths.len(), 1, 1, seq];
        Self {
            padded: Some(Padded {
                seq_lengths: Arc::from(seq_lengths),
                bias: Tensor::from_data(TensorData::new(bias, shape), device),
            }),
        }
    }

    /// `softmax(scale * scores)` over the real positions.
    ///
    /// # Shapes
    ///
    /// - scores, output: `[batch, heads, seq_queries, seq]`
    fn weights(&self, scores: Tensor<4>, scale: f32) -> Tensor<4> {
        if kernel::supports(&scores) {
            let seq_lengths = self
                .padded
                .as_ref()
                .map(|padded| padded.seq_lengths.clone());
            return kernel::apply(AttentionWeights { scale, seq_lengths }, scores);
        }
        let scores = scores.mul_scalar(scale);
        match &self.padded {
            Some(padded) => softmax(scores + padded.bias.clone(), 3),
            None => softmax(scores, 3),
        }
    }
}

/// Far below every score, far above the smallest f32: its exponential is exactly 0.
const PADDING: f32 = -1e9;

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
    /// - queries: `[batch, seq_queries, d_model]`, a part of x or all of it
    /// - x: `[batch, seq, d_model]`
    /// - output: `[batch, seq_queries, d_model]`
    pub(super) fn forward(
        &self,
        queries: Tensor<3>,
        x: Tensor<3>,
        mask: &AttentionMask,
        adapter: Option<&Adapter>,
    ) -> Tensor<3> {
        let lora = |target| adapter.and_then(|adapter| adapter.lora(self.layer, target));
        let [batch, seq_queries, d_model] = queries.dims();
        let scale = 1.0 / ((d_model / self.n_heads) as f32).sqrt();
        let q = self.query.forward(queries, lora(Target::Query).as_ref());
        let k = self.key.forward(x.clone(), lora(Target::Key).as_ref());
        let v = self.value.forward(x, lora(Target::Value).as_ref());
        let scores = self.heads(q).matmul(self.heads(k).swap_dims(2, 3)); // [batch, heads, q, seq]
        let context = mask.weights(scores, scale).matmul(self.heads(v)); // [batch, heads, q, d_head]
        let context = context
            .swap_dims(1, 2)
            .reshape([batch, seq_queries, d_model]);
        self.output
            .forward(context, lora(Target::AttentionOutput).as_ref())
    }

    fn heads(&self, x: Tensor<3>) -> Tensor<4> {
        let [batch, seq, d_model] = x.dims();
        x.reshape([batch, seq, self.n_heads, d_model / self.n_heads])
            .swap_dims(1, 2) // [batch, heads, seq, d_head]
    }
}

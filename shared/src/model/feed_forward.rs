//! The position-wise feed-forward layer.

use burn::tensor::{Device, Tensor};

use super::activation::FeedForwardActivation;
use super::config::ModelConfig;
use super::error::ModelError;
use super::groups::Adapters;
use super::linear::Linear;
use super::weights::Weights;
use crate::adapter::Target;

/// `activation(x W_up + b_up) W_down + b_down`.
#[derive(Debug, Clone)]
pub(super) struct FeedForward {
    up: Linear,
    down: Linear,
    activation: FeedForwardActivation,
    layer: usize,
}

impl FeedForward {
    /// Reads the two projections of a block.
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
        let (d_model, d_ff) = (config.d_model, config.d_ff);
        let load = |part: &str, shape| {
            Linear::load(
                weights,
                &format!("layers.{layer}.feed_forward_{part}"),
                shape,
                device,
            )
        };
        Ok(Self {
            up: load("up", [d_model, d_ff])?,
            down: load("down", [d_ff, d_model])?,
            activation: config.activation,
            layer,
        })
    }

    /// # Shapes
    ///
    /// - x, output: `[batch, seq, d_model]`
    pub(super) fn forward(&self, x: Tensor<3>, adapters: Adapters<'_>) -> Tensor<3> {
        let beside = |target| adapters.beside(self.layer, target);
        let inner = self.up.forward(x, &beside(Target::FeedForwardUp)); // [batch, seq, d_ff]
        let inner = self.activation.forward(inner);
        self.down.forward(inner, &beside(Target::FeedForwardDown))
    }
}

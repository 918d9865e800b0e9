//! An adapter in the bottom (`bottom = lora`): forward with a graph, backward from the gradient at
//! the cut.
//!
//! What goes in are tokens after the mechanism, drawn once and kept: whatever the adapter makes of
//! them, in however many steps, is post-processing. The gradient at the cut comes from the server.

use burn::tensor::Gradients;
use shared::adapter::Adapter;
use shared::model::{BottomModel, BottomPass, CutActivations, DeviceFailed, TokenBatch};
use shared::protocol::message::TrainSettings;

use crate::part::Part;

/// The adapter beside the blocks of the bottom, in one run.
#[derive(Debug)]
pub struct BottomAdapter {
    part: Part,
    /// The batch whose gradient is awaited, and the leaves that it went through.
    open: Option<(BottomPass, Adapter)>,
}

impl BottomAdapter {
    /// An adapter of these matrices, on the device of the bottom.
    pub fn new(adapter: Adapter, settings: &TrainSettings) -> Self {
        Self {
            part: Part::new(adapter, settings),
            open: None,
        }
    }

    /// Activations of a training batch; its graph is kept until [`Self::backward`].
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn forward(
        &mut self,
        bottom: &BottomModel,
        batch: &TokenBatch,
        dropout_seed: u64,
    ) -> Result<CutActivations, DeviceFailed> {
        let leaves = self.part.adapter().with_dropout_seed(dropout_seed).leaves();
        let pass = bottom.pass(batch, Some(&leaves));
        let activations = pass.activations().await?;
        self.open = Some((pass, leaves));
        Ok(activations)
    }

    /// Activations of a batch that is measured, by the adapter as it is now.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn activations(
        &self,
        bottom: &BottomModel,
        batch: &TokenBatch,
    ) -> Result<CutActivations, DeviceFailed> {
        let pass = bottom.pass(batch, Some(self.part.adapter()));
        pass.activations().await
    }

    /// Takes the gradient at the cut of the batch that went forward last, `[rows, d_model]`. The
    /// adapter's own gradients are held until [`Self::step`]; their sum of squares is returned
    /// where they are clipped.
    ///
    /// # Errors
    ///
    /// When no batch went forward, the gradient is not of its shape, or the device fails.
    pub async fn backward(&mut self, gradient: &[f32]) -> Result<Option<f32>, DeviceFailed> {
        let (pass, leaves) = self.open.take().ok_or(DeviceFailed)?;
        let mut gradients: Gradients = pass.backward(gradient).ok_or(DeviceFailed)?;
        let own = leaves.take_gradients(&mut gradients).ok_or(DeviceFailed)?;
        self.part.hold(own).await
    }

    /// Takes the step whose gradients are held. `square_elsewhere` is the sum of squares of all
    /// other gradients of this step.
    pub fn step(&mut self, square_elsewhere: f32, learning_rate: f64) {
        self.part.step(square_elsewhere, learning_rate);
    }

    /// Keeps the adapter as it is now as the best.
    pub fn keep(&mut self) {
        self.part.keep();
    }

    /// The best adapter that was kept, else the last.
    pub fn into_best(self) -> Adapter {
        self.part.into_best()
    }
}

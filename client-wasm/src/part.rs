//! Matrices that are trained at the client: as they are, at their best, and the step that they wait
//! for.

use burn::tensor::Tensor;
use shared::adapter::{Adapter, AdapterOptimizer, gradient_square};
use shared::model::DeviceFailed;
use shared::protocol::message::TrainSettings;

/// The client's share of what a run trains: its task head, or the adapter in its bottom.
///
/// A step has two halves. Gradients are held until the server has told its share of their norm; then
/// the optimizer takes the step, clipped as if all matrices were on one side.
#[derive(Debug)]
pub(crate) struct Part {
    adapter: Adapter,
    optimizer: AdapterOptimizer,
    clips: bool,
    held: Option<Vec<Tensor<2>>>,
    best: Option<Adapter>,
}

impl Part {
    /// Matrices that nothing has been done to.
    pub(crate) fn new(adapter: Adapter, settings: &TrainSettings) -> Self {
        Self {
            adapter,
            optimizer: AdapterOptimizer::new(settings),
            clips: settings.gradient_norm_max > 0.0,
            held: None,
            best: None,
        }
    }

    /// The matrices as they are now.
    pub(crate) fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// Holds the gradients of a step, and gives the sum of their squares where they are clipped.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub(crate) async fn hold(
        &mut self,
        gradients: Vec<Tensor<2>>,
    ) -> Result<Option<f32>, DeviceFailed> {
        let square = match gradient_square(&gradients) {
            Some(square) if self.clips => Some(number(square).await?),
            _ => None,
        };
        self.held = Some(gradients);
        Ok(square)
    }

    /// Takes the step whose gradients are held, if any. `square_elsewhere` is the sum of squares of
    /// all gradients of this step that are not here.
    pub(crate) fn step(&mut self, square_elsewhere: f32, learning_rate: f64) {
        if let Some(gradients) = self.held.take() {
            let optimizer = &mut self.optimizer;
            self.adapter =
                optimizer.step(&self.adapter, gradients, square_elsewhere, learning_rate);
        }
    }

    /// Keeps the matrices as they are now as the best.
    pub(crate) fn keep(&mut self) {
        self.best = Some(self.adapter.clone());
    }

    /// The best that were kept, else the last.
    pub(crate) fn into_best(self) -> Adapter {
        self.best.unwrap_or(self.adapter)
    }
}

/// Reads a tensor of one number.
///
/// # Errors
///
/// When the device fails.
pub(crate) async fn number(tensor: Tensor<1>) -> Result<f32, DeviceFailed> {
    let first = numbers(tensor).await?.first().copied();
    first.ok_or(DeviceFailed)
}

/// Reads a tensor, row-major.
///
/// # Errors
///
/// When the device fails.
pub(crate) async fn numbers<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, DeviceFailed> {
    let data = tensor.without_autodiff().into_data_async().await;
    let data = data.map_err(|_| DeviceFailed)?;
    data.try_into_vec::<f32>().map_err(|_| DeviceFailed)
}

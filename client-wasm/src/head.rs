//! The trained part of the task head, where labels stay at the client: forward, loss, gradient.
//!
//! The server sends what the head reads of a batch (`Pooled`) and gets the gradient of the batch's
//! loss with respect to it; it learns labels from that only as far as a gradient tells (see
//! docs/threat-model.md). The head is small and runs on the processor: to read a GPU back would cost
//! more than it saves.

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use shared::adapter::{Adapter, cross_entropy};
use shared::model::{DeviceFailed, Family, ModelConfig, trained_head};
use shared::protocol::message::TrainSettings;

use crate::part::{Part, number, numbers};

/// The task head of one run.
#[derive(Debug)]
pub struct TaskHead {
    family: Family,
    d_model: usize,
    class_weights: Vec<f32>,
    part: Part,
}

/// What one batch gave.
#[derive(Clone, PartialEq)]
pub struct HeadGradient {
    /// The batch's loss, nats.
    pub loss: f32,
    /// Of the loss with respect to what the head read, `[batch, d_model]`.
    pub pooled: Vec<f32>,
    /// Sum of squares of the gradients of the head's own matrices, where they are clipped.
    pub square: Option<f32>,
}

impl std::fmt::Debug for HeadGradient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HeadGradient")
    }
}

impl TaskHead {
    /// A head of these matrices; `settings` with the client's own class weights.
    pub fn new(adapter: &Adapter, model: &ModelConfig, settings: &TrainSettings) -> Self {
        let device = Device::flex();
        let adapter = adapter.map(|matrix| matrix.clone().to_device(&device));
        Self {
            family: model.family,
            d_model: model.d_model,
            class_weights: settings.class_weights.clone(),
            part: Part::new(adapter, settings),
        }
    }

    /// Loss and gradients of a batch; the head's own are held until [`Self::step`].
    ///
    /// # Shapes
    ///
    /// - pooled: `[labels, d_model]`, row-major
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn gradient(
        &mut self,
        pooled: Vec<f32>,
        labels: &[u32],
    ) -> Result<HeadGradient, DeviceFailed> {
        let leaves = self.part.adapter().leaves();
        let pooled = tensor(pooled, self.d_model).autodiff().require_grad();
        let logits = trained_head(self.family, pooled.clone(), &leaves);
        let loss = cross_entropy(logits, labels, &self.class_weights);
        let mut gradients = loss.backward();
        let own = leaves.take_gradients(&mut gradients).ok_or(DeviceFailed)?;
        let pooled = pooled.grad_remove(&mut gradients).ok_or(DeviceFailed)?;
        Ok(HeadGradient {
            loss: number(loss).await?,
            pooled: numbers(pooled).await?,
            square: self.part.hold(own).await?,
        })
    }

    /// Takes the step whose gradients are held. `square_elsewhere` is the sum of squares of all
    /// other gradients of this step.
    pub fn step(&mut self, square_elsewhere: f32, learning_rate: f64) {
        self.part.step(square_elsewhere, learning_rate);
    }

    /// Class scores of a batch, `[batch, n_classes]`, row-major.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn scores(&self, pooled: Vec<f32>) -> Result<Vec<f32>, DeviceFailed> {
        let pooled = tensor(pooled, self.d_model);
        numbers(trained_head(self.family, pooled, self.part.adapter())).await
    }

    /// Keeps the head as it is now as the best.
    pub fn keep(&mut self) {
        self.part.keep();
    }

    /// The best head that was kept, else the last.
    pub fn into_best(self) -> Adapter {
        self.part.into_best()
    }
}

/// Class probabilities by a trained head, `[batch, n_classes]`, row-major.
///
/// # Errors
///
/// When the device fails.
pub async fn probabilities(
    head: &Adapter,
    model: &ModelConfig,
    pooled: Vec<f32>,
) -> Result<Vec<f32>, DeviceFailed> {
    let logits = trained_head(model.family, tensor(pooled, model.d_model), head);
    numbers(softmax(logits, 1)).await
}

fn tensor(rows: Vec<f32>, d_model: usize) -> Tensor<2> {
    let shape = [rows.len() / d_model.max(1), d_model];
    Tensor::from_data(TensorData::new(rows, shape), &Device::flex())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;
    use shared::adapter::{LoraConfig, ParameterName, Target};

    use super::*;

    fn model() -> ModelConfig {
        let json = br#"{"model_type":"bert","hidden_size":2,"num_hidden_layers":1,
            "num_attention_heads":1,"intermediate_size":2,"vocab_size":9}"#;
        ModelConfig::from_json(json).unwrap()
    }

    fn settings(gradient_norm_max: f32) -> TrainSettings {
        TrainSettings {
            epochs: 1,
            batch_size: 1,
            learning_rate: 0.1,
            warmup_share: 0.0,
            weight_decay: 0.0,
            gradient_norm_max,
            class_weights: Vec::new(),
            patience: 0,
            validations_per_epoch: 1,
        }
    }

    /// Two classes from two numbers: the identity, no bias.
    fn head(gradient_norm_max: f32) -> TaskHead {
        let lora = LoraConfig::new(1, 1.0, 0.0, [Target::Query]).unwrap();
        let device = Device::flex();
        let weight = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0]], &device);
        let bias = Tensor::<2>::zeros([1, 2], &device);
        let parameters = [
            (ParameterName::ClassifierWeight, weight),
            (ParameterName::ClassifierBias, bias),
        ];
        let adapter = Adapter::from_parameters(&lora, parameters);
        TaskHead::new(&adapter, &model(), &settings(gradient_norm_max))
    }

    #[test]
    fn the_gradient_of_a_linear_head_is_known() {
        // Equal scores: p = (1/2, 1/2), so d loss / d logits = (-1/2, 1/2) for class 0, and the
        // identity hands it on. Of the bias it is the same, of the weight x^T times it: 0 for x = 0.
        let mut head = head(1.0);
        let pooled = vec![0.0, 0.0];
        let gradient = head.gradient(pooled, &[0]).now_or_never().unwrap().unwrap();
        let close = |actual: f32, expected: f32| (actual - expected).abs() < 1e-6;
        assert!(close(gradient.loss, 2.0f32.ln()));
        assert!(close(gradient.pooled[0], -0.5) && close(gradient.pooled[1], 0.5));
        assert!(close(gradient.square.unwrap(), 0.5));
    }

    #[test]
    fn a_step_moves_the_head_towards_the_label_and_the_best_is_kept() {
        let mut head = head(0.0);
        let scores = |head: &TaskHead| {
            let scores = head.scores(vec![0.0, 0.0]).now_or_never();
            scores.unwrap().unwrap()
        };
        head.keep();
        let gradient = head.gradient(vec![0.0, 0.0], &[0]).now_or_never();
        assert_eq!(gradient.unwrap().unwrap().square, None); // nothing is clipped
        assert_eq!(scores(&head), [0.0, 0.0]); // the step is held
        head.step(0.0, 0.1);
        let stepped = scores(&head);
        assert!(stepped[0] > 0.05 && stepped[1] < -0.05, "{stepped:?}");
        head.step(0.0, 0.1); // there is none
        assert_eq!(scores(&head), stepped);
        let best = head.into_best();
        let even = probabilities(&best, &model(), vec![0.0, 0.0]).now_or_never();
        let even = even.unwrap().unwrap();
        assert!((even[0] - 0.5).abs() < 1e-6 && (even[1] - 0.5).abs() < 1e-6);
    }
}

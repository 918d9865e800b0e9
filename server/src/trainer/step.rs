//! The mathematics of one optimizer step and of one answer: pure functions of a top model, an
//! adapter and a batch.

use std::fmt;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use shared::adapter::{Adapter, cross_entropy};
use shared::model::{AdapterGroups, Sequences, TopModel};

use super::{ActivationBatch, TrainerError};
use crate::telemetry::metrics::{BACKWARD, BATCH_TOKENS, FORWARD};

/// A batch on the trainer's device, padded where the device likes it so.
#[derive(Debug, Clone)]
pub struct DeviceBatch {
    activations: Tensor<3>,
    sequences: Sequences,
}

impl DeviceBatch {
    /// Brings a batch to the device.
    pub fn new(batch: &ActivationBatch, d_model: usize, device: &Device) -> Self {
        let lengths: Vec<usize> = batch.seq_lengths.iter().map(|l| usize::from(*l)).collect();
        BATCH_TOKENS.record(lengths.iter().sum::<usize>() as f64);
        let sequences = Sequences::new(&lengths, device);
        Self {
            activations: sequences.tensor(batch.values.clone(), d_model, device),
            sequences,
        }
    }

    /// The same batch as a leaf of a new graph: a backward pass also gives the gradient at the cut.
    pub fn leaf(self) -> Self {
        Self {
            activations: self.activations.autodiff().require_grad(),
            ..self
        }
    }

    /// The gradient at the cut without padding, `[sum of lengths, d_model]`; none where the batch is
    /// no leaf.
    fn cut_gradient(&self, gradients: &mut Gradients) -> Result<Option<Vec<f32>>, TrainerError> {
        let Some(gradient) = self.activations.grad_remove(gradients) else {
            return Ok(None);
        };
        let [_, _, d_model] = gradient.dims();
        Ok(Some(self.sequences.rows(read(gradient)?, d_model)))
    }
}

/// Class scores, `[batch, n_classes]`.
pub fn logits(top: &TopModel, adapter: &Adapter, batch: &DeviceBatch) -> Tensor<2> {
    top.forward(batch.activations.clone(), &batch.sequences, adapter)
}

/// Class scores of a batch, row-major.
///
/// # Errors
///
/// When the device fails.
pub fn scores(
    top: &TopModel,
    adapter: &Adapter,
    batch: &DeviceBatch,
) -> Result<Vec<f32>, TrainerError> {
    read(logits(top, adapter, batch))
}

/// Class probabilities, `[batch, n_classes]`, row-major.
///
/// # Errors
///
/// When the device fails.
pub fn probabilities(
    top: &TopModel,
    adapter: &Adapter,
    batch: &DeviceBatch,
) -> Result<Vec<f32>, TrainerError> {
    read(softmax(logits(top, adapter, batch), 1))
}

/// What the trained part of the head reads, `[batch, d_model]`, row-major.
///
/// # Errors
///
/// When the device fails.
pub fn pooled(
    top: &TopModel,
    adapter: &Adapter,
    batch: &DeviceBatch,
) -> Result<Vec<f32>, TrainerError> {
    read(top.pooled(batch.activations.clone(), &batch.sequences, adapter))
}

/// Gradients of one batch.
#[derive(Debug)]
pub struct BatchGradients {
    /// Of every matrix of the adapter, in its order.
    pub adapter: Vec<Tensor<2>>,
    /// At the cut, `[sum of lengths, d_model]`, where the batch is a leaf.
    pub cut: Option<Vec<f32>>,
}

/// The loss of a batch, and its gradients.
///
/// # Errors
///
/// When the device fails, or a matrix has no gradient.
pub fn gradients(
    top: &TopModel,
    adapter: &Adapter,
    batch: &DeviceBatch,
    labels: &[u32],
    weights: &[f32],
) -> Result<(f32, BatchGradients), TrainerError> {
    let leaves = adapter.leaves();
    let loss = FORWARD.time(|| cross_entropy(logits(top, &leaves, batch), labels, weights));
    let gradients = collect(&leaves, batch, BACKWARD.time(|| loss.backward()))?;
    Ok((number(loss.without_autodiff())?, gradients))
}

/// What a run brings to a step that needs nothing else.
pub struct TrainBatch {
    /// In training: with the dropout of this step.
    pub adapter: Adapter,
    /// The examples.
    pub activations: ActivationBatch,
    /// Their labels.
    pub labels: Vec<u32>,
    /// One a class; empty for equal weights.
    pub class_weights: Vec<f32>,
}

impl fmt::Debug for TrainBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrainBatch({} examples)", self.labels.len())
    }
}

impl TrainBatch {
    /// The loss of this batch alone, and its gradients.
    ///
    /// # Errors
    ///
    /// When the device fails, or a matrix has no gradient.
    pub fn gradients(
        &self,
        top: &TopModel,
        d_model: usize,
        device: &Device,
    ) -> Result<(f32, BatchGradients), TrainerError> {
        let batch = DeviceBatch::new(&self.activations, d_model, device);
        gradients(
            top,
            &self.adapter,
            &batch,
            &self.labels,
            &self.class_weights,
        )
    }
}

/// The loss of each of some batches, and its gradients, of one pass over all of them.
///
/// The sum of the losses goes backwards once: no two share a trained matrix, so that each adapter
/// gets the gradients of its own loss.
///
/// # Guarantee
///
/// What a batch gets does not depend on the numbers of the others, finite or not; it is what
/// [`TrainBatch::gradients`] gives, up to the rounding of sums.
pub fn gradients_together(
    top: &TopModel,
    d_model: usize,
    device: &Device,
    batches: &[TrainBatch],
) -> Vec<Result<(f32, BatchGradients), TrainerError>> {
    let all = joined(batches);
    let batch = DeviceBatch::new(&all, d_model, device);
    let leaves: Vec<Adapter> = batches.iter().map(|own| own.adapter.leaves()).collect();
    let mut seq_lengths = batch.sequences.seq_lengths();
    let groups = AdapterGroups::new(batches.iter().zip(&leaves).map(|(own, leaves)| {
        let (lengths, rest) = seq_lengths.split_at(own.activations.seq_lengths.len());
        seq_lengths = rest;
        (leaves.clone(), lengths)
    }));
    let losses: Vec<Tensor<1>> = FORWARD.time(|| {
        let logits = top.forward_groups(batch.activations.clone(), &batch.sequences, &groups);
        let of_own = |(logits, own): (Tensor<2>, &TrainBatch)| {
            cross_entropy(logits, &own.labels, &own.class_weights)
        };
        logits.into_iter().zip(batches).map(of_own).collect()
    });
    let Some(sum) = losses.iter().cloned().reduce(|a, b| a + b) else {
        return Vec::new();
    };
    let mut gradients = BACKWARD.time(|| sum.backward());
    let own = leaves.iter().zip(losses);
    own.map(|(leaves, loss)| {
        let adapter = leaves.take_gradients(&mut gradients);
        let gradients = BatchGradients {
            adapter: adapter.ok_or(TrainerError::Device)?,
            cut: None,
        };
        Ok((number(loss.without_autodiff())?, gradients))
    })
    .collect()
}

/// The examples of all batches, one batch behind the other.
fn joined(batches: &[TrainBatch]) -> ActivationBatch {
    let activations = || batches.iter().map(|own| &own.activations);
    ActivationBatch {
        values: activations()
            .flat_map(|own| own.values.iter().copied())
            .collect(),
        seq_lengths: activations()
            .flat_map(|own| own.seq_lengths.iter().copied())
            .collect(),
    }
}

/// A batch that went through the top; its backward pass waits for the gradient of what came out.
#[derive(Debug)]
pub struct OpenPass {
    leaves: Adapter,
    batch: DeviceBatch,
    pooled: Tensor<2>, // [batch, d_model]
}

impl OpenPass {
    /// Runs the top up to the trained part of the head, and remembers the graph.
    pub fn new(top: &TopModel, adapter: &Adapter, batch: DeviceBatch) -> Self {
        let leaves = adapter.leaves();
        let pooled =
            FORWARD.time(|| top.pooled(batch.activations.clone(), &batch.sequences, &leaves));
        Self {
            leaves,
            batch,
            pooled,
        }
    }

    /// What the trained part of the head reads, `[batch, d_model]`, row-major.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn pooled(&self) -> Result<Vec<f32>, TrainerError> {
        read(self.pooled.clone().without_autodiff())
    }

    /// The gradients of the loss whose gradient with respect to the pooled output is given: those of
    /// `sum of pooled * gradient`, by the chain rule.
    ///
    /// # Shapes
    ///
    /// - gradient: `[batch, d_model]`
    ///
    /// # Errors
    ///
    /// When the device fails, or a matrix has no gradient.
    pub fn backward(self, gradient: Vec<f32>) -> Result<BatchGradients, TrainerError> {
        let shape = self.pooled.dims();
        if gradient.len() != shape[0] * shape[1] {
            return Err(TrainerError::NotAwaited);
        }
        let device = self.pooled.device().without_autodiff();
        let gradient = Tensor::<2>::from_data(TensorData::new(gradient, shape), &device);
        let gradients = BACKWARD.time(|| (self.pooled * gradient).sum().backward());
        collect(&self.leaves, &self.batch, gradients)
    }
}

fn collect(
    leaves: &Adapter,
    batch: &DeviceBatch,
    mut gradients: Gradients,
) -> Result<BatchGradients, TrainerError> {
    let adapter = leaves.take_gradients(&mut gradients);
    Ok(BatchGradients {
        adapter: adapter.ok_or(TrainerError::Device)?,
        cut: batch.cut_gradient(&mut gradients)?,
    })
}

/// Reads a tensor of one number.
///
/// # Errors
///
/// When the device fails.
pub(super) fn number(tensor: Tensor<1>) -> Result<f32, TrainerError> {
    let first = read(tensor)?.first().copied();
    first.ok_or(TrainerError::Device)
}

fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, TrainerError> {
    tensor
        .into_data()
        .try_into_vec::<f32>()
        .map_err(|_| TrainerError::Device)
}

#[cfg(test)]
mod tests;

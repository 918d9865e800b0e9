//! The mathematics of one optimizer step and of one answer: pure functions of a top model, an
//! adapter and a batch.

use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};
use shared::adapter::Adapter;
use shared::model::{AttentionMask, TopModel};

use super::{ActivationBatch, TrainerError};

/// A padded batch on the trainer's device.
#[derive(Debug, Clone)]
pub struct PaddedBatch {
    activations: Tensor<3>, // [batch, seq, d_model]
    mask: AttentionMask,
}

impl PaddedBatch {
    /// Pads a batch to its longest example with zeros.
    pub fn new(batch: &ActivationBatch, d_model: usize, device: &Device) -> Self {
        let lengths: Vec<usize> = batch.seq_lengths.iter().map(|l| usize::from(*l)).collect();
        let seq = lengths.iter().copied().max().unwrap_or(0);
        let mut values = Vec::with_capacity(lengths.len() * seq * d_model);
        let mut rest = batch.values.as_slice();
        for (example, length) in lengths.iter().enumerate() {
            let (own, others) = rest.split_at(length * d_model);
            values.extend_from_slice(own);
            values.resize((example + 1) * seq * d_model, 0.0);
            rest = others;
        }
        let shape = [lengths.len(), seq, d_model];
        Self {
            activations: Tensor::from_data(TensorData::new(values, shape), device),
            mask: AttentionMask::from_lengths(&lengths, seq, device),
        }
    }
}

/// Class scores, `[batch, n_classes]`.
pub fn logits(top: &TopModel, adapter: &Adapter, batch: &PaddedBatch) -> Tensor<2> {
    top.forward(batch.activations.clone(), &batch.mask, adapter)
}

/// Class probabilities, `[batch, n_classes]`, row-major.
///
/// # Errors
///
/// When the device fails.
pub fn probabilities(
    top: &TopModel,
    adapter: &Adapter,
    batch: &PaddedBatch,
) -> Result<Vec<f32>, TrainerError> {
    read(softmax(logits(top, adapter, batch), 1))
}

/// `sum of w[y] * -log p[y] / sum of w[y]`, as `CrossEntropyLoss(weight)` of PyTorch.
///
/// # Shapes
///
/// - logits: `[batch, n_classes]`
/// - weights: one a class; empty for equal weights
/// - output: `[1]`
pub fn cross_entropy(logits: Tensor<2>, labels: &[u32], weights: &[f32]) -> Tensor<1> {
    let device = logits.device().without_autodiff();
    let weight_of = |label: &u32| weights.get(*label as usize).copied().unwrap_or(1.0);
    let total: f32 = labels.iter().map(weight_of).sum();
    let shares: Vec<f32> = labels
        .iter()
        .map(|label| weight_of(label) / total)
        .collect();
    let indices: Vec<i32> = labels.iter().map(|label| label.cast_signed()).collect();
    let shape = [labels.len(), 1];
    let indices = Tensor::<2, Int>::from_data(TensorData::new(indices, shape), &device);
    let shares = Tensor::<2>::from_data(TensorData::new(shares, shape), &device);
    let own = log_softmax(logits, 1).gather(1, indices); // [batch, 1]
    (own * shares).sum().neg()
}

/// The loss of a batch and the gradient of every matrix of the adapter, in its order.
///
/// # Errors
///
/// When the device fails, or a matrix has no gradient.
pub fn gradients(
    top: &TopModel,
    adapter: &Adapter,
    batch: &PaddedBatch,
    labels: &[u32],
    weights: &[f32],
) -> Result<(f32, Vec<Tensor<2>>), TrainerError> {
    let leaves = adapter.map(|parameter| parameter.clone().autodiff().require_grad());
    let loss = cross_entropy(logits(top, &leaves, batch), labels, weights);
    let mut gradients = loss.backward();
    let collected: Option<Vec<_>> = leaves
        .parameters()
        .iter()
        .map(|leaf| leaf.grad_remove(&mut gradients))
        .collect();
    let value = read(loss.without_autodiff())?
        .first()
        .copied()
        .ok_or(TrainerError::Device)?;
    Ok((value, collected.ok_or(TrainerError::Device)?))
}

fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, TrainerError> {
    tensor
        .into_data()
        .try_into_vec::<f32>()
        .map_err(|_| TrainerError::Device)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_cost_the_logarithm_of_the_number_of_classes() {
        let logits = Tensor::<2>::zeros([3, 4], &Device::flex());
        let loss = read(cross_entropy(logits, &[0, 3, 1], &[])).unwrap();
        assert!((loss[0] - 4.0f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn a_class_weight_counts_in_numerator_and_denominator() {
        // Example 0: logit difference ln 3 for the right class, so -log p = ln(4/3); example 1:
        // ln 2.
        let logits = Tensor::<2>::from_floats([[3.0f32.ln(), 0.0], [0.0, 0.0]], &Device::flex());
        let loss = read(cross_entropy(logits, &[0, 1], &[3.0, 1.0])).unwrap();
        let expected = (3.0 * (4.0f32 / 3.0).ln() + 2.0f32.ln()) / 4.0;
        assert!((loss[0] - expected).abs() < 1e-6);
    }

    #[test]
    fn examples_are_padded_with_zeros_behind_their_own_rows() {
        let batch = ActivationBatch {
            values: vec![1., 2., 3., 4., 5., 6.],
            seq_lengths: vec![1, 2],
        };
        let padded = PaddedBatch::new(&batch, 2, &Device::flex());
        let values = padded.activations.into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(values, [1., 2., 0., 0., 3., 4., 5., 6.]);
    }
}

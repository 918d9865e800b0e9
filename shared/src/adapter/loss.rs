//! The loss of a batch, and how large its gradients are.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};

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

/// `sum of g^2` over all numbers of all gradients: the square of their L2 norm together, `[1]`.
/// None where there is no gradient.
pub fn gradient_square(gradients: &[Tensor<2>]) -> Option<Tensor<1>> {
    let squares = gradients
        .iter()
        .map(|gradient| gradient.clone().square().sum());
    squares.reduce(|a, b| a + b)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn number(tensor: Tensor<1>) -> f32 {
        tensor.into_data().try_to_vec::<f32>().unwrap()[0]
    }

    #[test]
    fn equal_logits_cost_the_logarithm_of_the_number_of_classes() {
        let logits = Tensor::<2>::zeros([3, 4], &Device::flex());
        let loss = number(cross_entropy(logits, &[0, 3, 1], &[]));
        assert!((loss - 4.0f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn a_class_weight_counts_in_numerator_and_denominator() {
        // Example 0: logit difference ln 3 for the right class, so -log p = ln(4/3); example 1:
        // ln 2.
        let logits = Tensor::<2>::from_floats([[3.0f32.ln(), 0.0], [0.0, 0.0]], &Device::flex());
        let loss = number(cross_entropy(logits, &[0, 1], &[3.0, 1.0]));
        let expected = (3.0 * (4.0f32 / 3.0).ln() + 2.0f32.ln()) / 4.0;
        assert!((loss - expected).abs() < 1e-6);
    }

    #[test]
    fn the_square_is_over_all_matrices_together() {
        let device = Device::flex();
        let gradients = [
            Tensor::<2>::from_floats([[1.0, 2.0]], &device),
            Tensor::<2>::from_floats([[3.0], [-4.0]], &device),
        ];
        assert_eq!(number(gradient_square(&gradients).unwrap()), 30.0);
        assert!(gradient_square(&[]).is_none());
    }
}

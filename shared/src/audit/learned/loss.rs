//! Losses over a large vocabulary, whose gradient is computed in one pass.
//!
//! A graph over `[rows, vocabulary]` would keep and walk about ten matrices of 50 MB a step. Value
//! and slope of both losses are known in closed form, so the graph gets one product instead:
//! `sum(logits * slopes)` with constant slopes has the loss's gradient.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use crate::audit::AuditError;
use crate::audit::learned::read;
use crate::model::exp;

/// A loss, and something with the same gradient to go backwards from.
pub(crate) struct Loss {
    /// Mean over the rows.
    pub(crate) value: f32,
    /// Its gradient is the loss's; its value means nothing.
    pub(crate) surrogate: Tensor<1>,
}

/// Mean over the rows of `-ln softmax(logits)[class]`.
///
/// # Shapes
///
/// - logits: `[rows, classes]`
/// - classes: one a row
///
/// # Errors
///
/// When the device fails.
pub(crate) fn cross_entropy(logits: Tensor<2>, classes: &[u32]) -> Result<Loss, AuditError> {
    let rows = classes.len().max(1) as f32;
    with_slopes(logits, classes, |scores, class| {
        let best = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let own = scores.get(*class as usize).copied().unwrap_or(best);
        for score in &mut *scores {
            *score = exp(*score - best);
        }
        let total: f32 = scores.iter().sum();
        let scale = 1.0 / (total * rows);
        scores.iter_mut().for_each(|score| *score *= scale);
        if let Some(slope) = scores.get_mut(*class as usize) {
            *slope -= 1.0 / rows;
        }
        (total.ln() + best - own) / rows
    })
}

/// Mean over the rows of `sum over classes of -y ln s(logit) - (1 - y) ln(1 - s(logit))`, s the
/// logistic function and y 1 for the classes of a row's set.
///
/// # Shapes
///
/// - logits: `[rows, classes]`
/// - sets: one a row
///
/// # Errors
///
/// When the device fails.
pub(crate) fn binary_cross_entropy(
    logits: Tensor<2>,
    sets: &[Vec<u32>],
) -> Result<Loss, AuditError> {
    let rows = sets.len().max(1) as f32;
    with_slopes(logits, sets, |scores, set| {
        let held: f32 = set
            .iter()
            .filter_map(|class| scores.get(*class as usize))
            .sum();
        let mut value = -held;
        for score in &mut *scores {
            // ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|)
            let small = exp(-score.abs());
            value += score.max(0.0) + small.ln_1p();
            let logistic = if *score >= 0.0 { 1.0 } else { small } / (1.0 + small);
            *score = logistic / rows;
        }
        for class in set {
            if let Some(slope) = scores.get_mut(*class as usize) {
                *slope -= 1.0 / rows;
            }
        }
        value / rows
    })
}

/// Turns every row of scores into slopes, adds up the rows' values.
fn with_slopes<T: Sync>(
    logits: Tensor<2>,
    targets: &[T],
    row: impl Fn(&mut [f32], &T) -> f32 + Sync,
) -> Result<Loss, AuditError> {
    let [rows, classes] = logits.dims();
    let expected = rows;
    let actual = targets.len();
    if actual != expected {
        let of = "rows";
        return Err(AuditError::Answers {
            of,
            expected,
            actual,
        });
    }
    let mut values = read(logits.clone().without_autodiff())?;
    let losses: Vec<f32> = values
        .par_chunks_mut(classes.max(1))
        .zip(targets)
        .map(|(scores, target)| row(scores, target))
        .collect();
    let device = logits.device().without_autodiff();
    let slopes = Tensor::<2>::from_data(TensorData::new(values, [rows, classes]), &device);
    Ok(Loss {
        // In the order of the rows: a sum by threads would depend on their number.
        value: losses.iter().sum(),
        surrogate: (logits * slopes).sum(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::tensor::Device;
    use burn::tensor::activation::{log_sigmoid, log_softmax};

    use super::*;
    use crate::audit::learned::matrix;

    fn logits() -> Tensor<2> {
        let values = vec![0.5, -1.0, 2.0, 0.0, 3.0, -0.25];
        matrix(values, [2, 3], &Device::flex())
            .autodiff()
            .require_grad()
    }

    fn gradient(leaf: &Tensor<2>, loss: &Tensor<1>) -> Vec<f32> {
        let gradients = loss.backward();
        read(leaf.grad(&gradients).unwrap()).unwrap()
    }

    fn assert_close(ours: &[f32], theirs: &[f32]) {
        assert_eq!(ours.len(), theirs.len());
        for (a, b) in ours.iter().zip(theirs) {
            assert!((a - b).abs() < 1e-5, "{ours:?} against {theirs:?}");
        }
    }

    #[test]
    fn equal_scores_cost_the_logarithm_of_the_number_of_classes() {
        let loss = cross_entropy(Tensor::zeros([3, 4], &Device::flex()), &[0, 3, 1]).unwrap();
        assert!((loss.value - 4.0f32.ln()).abs() < 1e-5);
    }

    #[test]
    fn cross_entropy_has_the_value_of_the_library_and_gradient() {
        let (ours, theirs) = (logits(), logits());
        let loss = cross_entropy(ours.clone(), &[2, 0]).unwrap();
        let picked = matrix(vec![0.0, 0.0, 0.5, 0.5, 0.0, 0.0], [2, 3], &Device::flex());
        let expected = (log_softmax(theirs.clone(), 1) * picked).sum().neg();
        let value = read(expected.clone().without_autodiff()).unwrap();
        assert_close(&[loss.value], &value);
        assert_close(
            &gradient(&ours, &loss.surrogate),
            &gradient(&theirs, &expected),
        );
    }

    #[test]
    fn the_multi_label_loss_has_the_value_of_the_library_and_gradient() {
        let (ours, theirs) = (logits(), logits());
        let loss = binary_cross_entropy(ours.clone(), &[vec![0, 2], vec![]]).unwrap();
        let held = matrix(vec![0.5, 0.0, 0.5, 0.0, 0.0, 0.0], [2, 3], &Device::flex());
        let not = matrix(vec![0.0, 0.5, 0.0, 0.5, 0.5, 0.5], [2, 3], &Device::flex());
        let expected = (log_sigmoid(theirs.clone()) * held
            + log_sigmoid(theirs.clone().neg()) * not)
            .sum()
            .neg();
        let value = read(expected.clone().without_autodiff()).unwrap();
        assert_close(&[loss.value], &value);
        assert_close(
            &gradient(&ours, &loss.surrogate),
            &gradient(&theirs, &expected),
        );
    }

    #[test]
    fn a_target_a_row_is_asked_for() {
        let loss = cross_entropy(Tensor::zeros([3, 4], &Device::flex()), &[0]);
        assert!(matches!(
            loss,
            Err(AuditError::Answers {
                expected: 3,
                actual: 1,
                ..
            })
        ));
    }
}

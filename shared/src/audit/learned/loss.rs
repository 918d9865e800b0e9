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
    with_slopes(
        logits,
        &vec![1; classes.len()],
        classes,
        |scores, _, class| {
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
        },
    )
}

/// Mean over the texts of `sum over classes of -y ln s(z) - (1 - y) ln(1 - s(z))`, s the logistic
/// function, y 1 for the classes of a text's set and z the text's score, of its rows' logits:
/// `z = ln mean over rows of exp(logit)`.
///
/// That a text holds a token is known, and not in which row: as in multi-instance learning one
/// row's evidence is enough, and the slope goes to the rows in proportion to it.
///
/// # Shapes
///
/// - logits: `[rows, classes]`, text by text
/// - lengths: rows of each text
/// - sets: one a text
///
/// # Errors
///
/// When the device fails.
pub(crate) fn binary_cross_entropy(
    logits: Tensor<2>,
    lengths: &[usize],
    sets: &[Vec<u32>],
) -> Result<Loss, AuditError> {
    let texts = sets.len().max(1) as f32;
    with_slopes(logits, lengths, sets, |rows, classes, set| {
        let scores = shares_of_rows(rows, classes);
        let held = set.iter().filter_map(|class| scores.get(*class as usize));
        let mut value = -held.sum::<f32>();
        let mut slopes: Vec<f32> = scores
            .iter()
            .map(|score| {
                // ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|)
                let small = exp(-score.abs());
                value += score.max(0.0) + small.ln_1p();
                let logistic = if *score >= 0.0 { 1.0 } else { small } / (1.0 + small);
                logistic / texts
            })
            .collect();
        for class in set {
            if let Some(slope) = slopes.get_mut(*class as usize) {
                *slope -= 1.0 / texts;
            }
        }
        for row in rows.chunks_exact_mut(classes.max(1)) {
            let shares = row.iter_mut().zip(&slopes);
            shares.for_each(|(share, slope)| *share *= slope);
        }
        value / texts
    })
}

/// A score of each class for one text, `ln mean over rows of exp(logit)`.
///
/// # Shapes
///
/// - rows: `[rows of the text, classes]`, row-major
/// - output: `[classes]`
pub(crate) fn text_scores(rows: &[f32], classes: usize) -> Vec<f32> {
    shares_of_rows(&mut rows.to_vec(), classes)
}

/// Turns the logits of a text's rows into each row's share of `sum over rows of exp(logit)`; gives
/// the logarithm of the mean, a number a class.
fn shares_of_rows(rows: &mut [f32], classes: usize) -> Vec<f32> {
    let width = classes.max(1);
    let mut best = vec![f32::NEG_INFINITY; classes];
    for row in rows.chunks_exact(width) {
        let pairs = best.iter_mut().zip(row);
        pairs.for_each(|(best, logit)| *best = best.max(*logit));
    }
    let mut sums = vec![0.0f32; classes];
    for row in rows.chunks_exact_mut(width) {
        for ((logit, best), sum) in row.iter_mut().zip(&best).zip(&mut sums) {
            *logit = exp(*logit - best);
            *sum += *logit;
        }
    }
    for row in rows.chunks_exact_mut(width) {
        let pairs = row.iter_mut().zip(&sums);
        pairs.for_each(|(share, sum)| *share /= sum);
    }
    let count = (rows.len() / width) as f32;
    let scores = best.iter().zip(&sums);
    scores
        .map(|(best, sum)| best + (sum / count).ln())
        .collect()
}

/// Turns the logits of every group of rows into slopes, adds up the groups' values.
fn with_slopes<T: Sync>(
    logits: Tensor<2>,
    lengths: &[usize],
    targets: &[T],
    group: impl Fn(&mut [f32], usize, &T) -> f32 + Sync,
) -> Result<Loss, AuditError> {
    let [rows, classes] = logits.dims();
    for (of, expected, actual) in [
        ("rows", rows, lengths.iter().sum()),
        ("groups of rows", lengths.len(), targets.len()),
    ] {
        if actual != expected {
            return Err(AuditError::Answers {
                of,
                expected,
                actual,
            });
        }
    }
    let mut values = read(logits.clone().without_autodiff())?;
    let mut groups = Vec::with_capacity(lengths.len());
    let mut rest = values.as_mut_slice();
    for (length, target) in lengths.iter().zip(targets) {
        let (own, others) = rest.split_at_mut(length * classes);
        groups.push((own, target));
        rest = others;
    }
    let losses: Vec<f32> = groups
        .into_par_iter()
        .map(|(rows, target)| group(rows, classes, target))
        .collect();
    let device = logits.device().without_autodiff();
    let slopes = Tensor::<2>::from_data(TensorData::new(values, [rows, classes]), &device);
    Ok(Loss {
        // In the order of the groups: a sum by threads would depend on their number.
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
        let loss = binary_cross_entropy(ours.clone(), &[1, 1], &[vec![0, 2], vec![]]).unwrap();
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

    /// Two rows of one text: `z = ln((e^a + e^b) / 2)`, of which the library takes the gradient too.
    #[test]
    fn the_rows_of_a_text_share_its_score() {
        let (ours, theirs) = (logits(), logits());
        let loss = binary_cross_entropy(ours.clone(), &[2], &[vec![1]]).unwrap();
        let score = theirs.clone().exp().mean_dim(0).log();
        let held = matrix(vec![0.0, 1.0, 0.0], [1, 3], &Device::flex());
        let not = matrix(vec![1.0, 0.0, 1.0], [1, 3], &Device::flex());
        let expected = (log_sigmoid(score.clone()) * held + log_sigmoid(score.clone().neg()) * not)
            .sum()
            .neg();
        let value = read(expected.clone().without_autodiff()).unwrap();
        assert_close(&[loss.value], &value);
        assert_close(
            &gradient(&ours, &loss.surrogate),
            &gradient(&theirs, &expected),
        );
        let values = read(logits().without_autodiff()).unwrap();
        assert_close(
            &text_scores(&values, 3),
            &read(score.without_autodiff()).unwrap(),
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

//! Accuracy, macro-F1 and the confusion matrix, from counts; AUC, from ranks.

/// How often each class was answered for each true class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    n_classes: usize,
    counts: Vec<u32>,
}

impl Confusion {
    /// An empty matrix.
    pub fn new(n_classes: usize) -> Self {
        Self {
            n_classes,
            counts: vec![0; n_classes * n_classes],
        }
    }

    /// Counts one answer. Both classes must be below `n_classes`.
    pub fn add(&mut self, truth: usize, answer: usize) {
        self.counts[truth * self.n_classes + answer] += 1;
    }

    /// `counts[truth * n_classes + answer]`
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// Share of right answers; 0 when nothing was counted.
    pub fn accuracy(&self) -> f32 {
        let right: u32 = (0..self.n_classes).map(|class| self.at(class, class)).sum();
        ratio(right, self.counts.iter().sum())
    }

    /// Unweighted mean over the classes of `F1 = 2 TP / (2 TP + FP + FN)`; 0 for a class that never
    /// occurs.
    pub fn macro_f1(&self) -> f32 {
        let total: f32 = (0..self.n_classes)
            .map(|class| {
                let truths: u32 = (0..self.n_classes).map(|other| self.at(class, other)).sum();
                let answers: u32 = (0..self.n_classes).map(|other| self.at(other, class)).sum();
                ratio(2 * self.at(class, class), truths + answers)
            })
            .sum();
        total / self.n_classes.max(1) as f32
    }

    fn at(&self, truth: usize, answer: usize) -> u32 {
        self.counts[truth * self.n_classes + answer]
    }
}

fn ratio(part: u32, whole: u32) -> f32 {
    if whole == 0 {
        0.0
    } else {
        part as f32 / whole as f32
    }
}

/// The probability that a positive scores higher than a negative, ties counted half: the area under
/// the ROC curve. `None` unless there are both.
///
/// `(sum of the ranks of the positives - P (P + 1) / 2) / (P N)`, equal scores sharing the mean of
/// their ranks. Source: Mann and Whitney, Annals of Mathematical Statistics 18 (1947), page 50.
pub fn roc_auc(scores: &[f32], positive: &[bool]) -> Option<f64> {
    let mut order: Vec<(f32, bool)> = scores
        .iter()
        .copied()
        .zip(positive.iter().copied())
        .collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = order.iter().filter(|(_, positive)| *positive).count() as f64;
    let negatives = order.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    let mut below = 0;
    let mut ranks = 0.0;
    for equal in order.chunk_by(|a, b| a.0 == b.0) {
        let mean_rank = below as f64 + (equal.len() + 1) as f64 / 2.0;
        ranks += mean_rank * equal.iter().filter(|(_, positive)| *positive).count() as f64;
        below += equal.len();
    }
    Some((ranks - positives * (positives + 1.0) / 2.0) / (positives * negatives))
}

/// Mean over the classes of the AUC of a class against all others; `scores` has one score of each
/// class an example. Classes that do not occur, or that are all there is, are left out; `None` when
/// none is left.
pub fn macro_roc_auc(scores: &[Vec<f32>], classes: &[u32]) -> Option<f64> {
    let n_classes = scores.first().map_or(0, Vec::len);
    let of_class = |class: usize| {
        let own: Vec<f32> = scores.iter().map(|scores| scores[class]).collect();
        let positive: Vec<bool> = classes.iter().map(|c| *c as usize == class).collect();
        roc_auc(&own, &positive)
    };
    let aucs: Vec<f64> = (0..n_classes).filter_map(of_class).collect();
    (!aucs.is_empty()).then(|| aucs.iter().sum::<f64>() / aucs.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auc_counts_pairs_in_order_and_halves_of_ties() {
        // Pairs: (0.9, 0.1), (0.9, 0.4), (0.4, 0.1) in order, (0.4, 0.4) tied: 3.5 of 4.
        let scores = [0.1, 0.4, 0.4, 0.9];
        let positive = [false, false, true, true];
        assert_eq!(roc_auc(&scores, &positive), Some(0.875));
        let negated = scores.map(|score| -score);
        assert_eq!(roc_auc(&negated, &positive), Some(0.125));
        assert_eq!(roc_auc(&[1.0, 1.0], &[true, false]), Some(0.5));
        assert_eq!(roc_auc(&[1.0, 2.0], &[true, true]), None);
    }

    #[test]
    fn macro_auc_is_the_mean_over_the_classes_that_occur() {
        let scores = [
            vec![3.0, 0.0, 0.0],
            vec![2.0, 1.0, 0.0],
            vec![1.0, 0.0, 0.0],
        ];
        // Class 0 (first and last example): (3 > 2), (1 < 2): 0.5. Class 1: above both: 1.
        assert_eq!(macro_roc_auc(&scores, &[0, 1, 0]), Some(0.75));
        assert_eq!(macro_roc_auc(&scores, &[0, 0, 0]), None);
    }

    #[test]
    fn a_small_matrix_by_hand() {
        let mut confusion = Confusion::new(2);
        for (truth, answer) in [(0, 0), (0, 0), (0, 1), (1, 1)] {
            confusion.add(truth, answer);
        }
        assert_eq!(confusion.counts(), [2, 1, 0, 1]);
        assert_eq!(confusion.accuracy(), 0.75);
        // F1: class 0: 4 / (3 + 2) = 0.8; class 1: 2 / (1 + 2) = 0.667
        assert!((confusion.macro_f1() - (0.8 + 2.0 / 3.0) / 2.0).abs() < 1e-6);
    }

    #[test]
    fn nothing_counted_is_zero_and_not_nan() {
        assert_eq!(Confusion::new(3).accuracy(), 0.0);
        assert_eq!(Confusion::new(3).macro_f1(), 0.0);
    }
}

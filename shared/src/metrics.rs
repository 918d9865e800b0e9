//! Accuracy, macro-F1 and the confusion matrix, from counts.

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

#[cfg(test)]
mod tests {
    use super::*;

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

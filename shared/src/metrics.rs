//! What a validation measures, and which adapter is the best so far.
//!
//! It is computed where the labels are, at either side with the same code.

use crate::protocol::message::ValidationReport;

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

/// One pass over the validation examples, batch by batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    confusion: Confusion,
    loss: f64,
    examples: u32,
}

impl Measurement {
    /// Nothing measured yet.
    pub fn new(n_classes: usize) -> Self {
        Self {
            confusion: Confusion::new(n_classes),
            loss: 0.0,
            examples: 0,
        }
    }

    /// Counts some examples.
    ///
    /// # Shapes
    ///
    /// - scores: `[labels, n_classes]`, logits, row-major; every label below `n_classes`
    pub fn add(&mut self, scores: &[f32], labels: &[u32]) {
        let rows = scores.chunks_exact(self.confusion.n_classes);
        for (scores, label) in rows.zip(labels) {
            let label = *label as usize;
            self.confusion.add(label, argmax(scores));
            self.loss += cross_entropy(scores, label);
            self.examples += 1;
        }
    }

    /// Examples counted so far.
    pub fn examples(&self) -> u32 {
        self.examples
    }

    /// Mean cross-entropy, nats, without class weights; 0 when nothing was counted.
    pub fn loss(&self) -> f32 {
        (self.loss / f64::from(self.examples.max(1))) as f32
    }

    /// The report of a pass after `step`.
    pub fn report(&self, step: u32, best: bool) -> ValidationReport {
        ValidationReport {
            step,
            loss: self.loss(),
            accuracy: self.confusion.accuracy(),
            macro_f1: self.confusion.macro_f1(),
            confusion: self.confusion.counts().to_vec(),
            best,
        }
    }
}

/// Which validation was the best so far: highest accuracy, then lowest loss.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ranking {
    best: Option<(f32, f32)>,
    without_gain: u32,
}

impl Ranking {
    /// A ranking that goes on: accuracy and loss of the best validation, if there was one, and the
    /// validations since. What [`Self::best`] and [`Self::without_gain`] gave.
    pub fn resume(best: Option<(f32, f32)>, without_gain: u32) -> Self {
        Self { best, without_gain }
    }

    /// Accuracy and loss of the best validation so far.
    pub fn best(&self) -> Option<(f32, f32)> {
        self.best
    }

    /// Validations since the best.
    pub fn without_gain(&self) -> u32 {
        self.without_gain
    }

    /// Takes the next validation; whether it is the best so far.
    pub fn enter(&mut self, measurement: &Measurement) -> bool {
        let (accuracy, loss) = (measurement.confusion.accuracy(), measurement.loss());
        let best = self
            .best
            .is_none_or(|best| accuracy > best.0 || (accuracy == best.0 && loss < best.1));
        if best {
            self.best = Some((accuracy, loss));
            self.without_gain = 0;
        } else {
            self.without_gain += 1;
        }
        best
    }

    /// Whether `patience` validations in a row were no improvement; never for a patience of 0.
    pub fn is_exhausted(&self, patience: u32) -> bool {
        patience > 0 && self.without_gain >= patience
    }
}

/// `-log softmax(scores)[label]`, in f64: `log(sum of exp(s - max)) - (s[label] - max)`.
fn cross_entropy(scores: &[f32], label: usize) -> f64 {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted = |score: f32| f64::from(score) - f64::from(largest);
    let sum: f64 = scores.iter().map(|score| shifted(*score).exp()).sum();
    sum.ln() - scores.get(label).map_or(0.0, |score| shifted(*score))
}

/// The class with the largest score; 0 where there is none.
pub fn argmax(scores: &[f32]) -> usize {
    let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(class, _)| class)
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

    #[test]
    fn the_largest_score_wins() {
        assert_eq!(argmax(&[0.1, 0.7, 0.2]), 1);
    }

    #[test]
    fn a_measurement_by_hand() {
        let mut measurement = Measurement::new(2);
        // p = 3/4 for the right class, then p = 1/2: losses ln(4/3) and ln 2.
        let scores = [3.0f32.ln(), 0.0, 0.0, 0.0];
        measurement.add(&scores[..2], &[0]);
        measurement.add(&scores[2..], &[1]);
        let expected = ((4.0f32 / 3.0).ln() + 2.0f32.ln()) / 2.0;
        assert!((measurement.loss() - expected).abs() < 1e-6);
        // Equal scores: the last class wins, so both are right.
        let report = measurement.report(7, true);
        assert_eq!((report.step, report.best), (7, true));
        assert_eq!((measurement.examples(), report.accuracy), (2, 1.0));
        assert_eq!(report.confusion, [1, 0, 0, 1]);
    }

    #[test]
    fn large_scores_do_not_overflow() {
        assert!((cross_entropy(&[1000.0, 0.0], 1) - 1000.0).abs() < 1e-9);
        assert_eq!(cross_entropy(&[1000.0, 0.0], 0), 0.0);
    }

    #[test]
    fn accuracy_ranks_first_and_loss_decides() {
        let measured = |right: f32| {
            let mut measurement = Measurement::new(2);
            measurement.add(&[right, 0.0], &[0]);
            measurement
        };
        let mut ranking = Ranking::default();
        assert!(ranking.enter(&measured(-1.0))); // wrong, but the first
        assert!(ranking.enter(&measured(1.0))); // right
        assert!(!ranking.enter(&measured(-0.1))); // wrong again, at less loss than the first
        assert!(!ranking.is_exhausted(2) && ranking.is_exhausted(1) && !ranking.is_exhausted(0));
        assert!(ranking.enter(&measured(2.0))); // right with less loss
        assert!(!ranking.enter(&measured(2.0))); // the same again is no gain
        assert!(!ranking.is_exhausted(2));
    }
}

//! Scores of attacks that guess a class: a label, or an attribute of the author.

use serde::Serialize;

use crate::metrics::Confusion;

/// How well classes were guessed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScores {
    /// Share of right classes.
    pub accuracy: f64,
    /// Unweighted mean of F1 over the classes.
    pub macro_f1: f64,
    /// Area under the ROC curve, unweighted mean of each class against the rest; none with one
    /// class only.
    pub auc: Option<f64>,
    /// Share of the most frequent class: what a guess without any observation gets.
    pub majority: f64,
}

/// Scores `[examples][classes]` against the true classes; examples without a score are wrong.
pub fn class_scores(scores: &[Vec<f32>], truth: &[u32]) -> ClassScores {
    let truth: Vec<usize> = truth
        .iter()
        .take(scores.len())
        .map(|c| *c as usize)
        .collect();
    let widest = scores.iter().map(Vec::len).max().unwrap_or(0);
    let n_classes = truth
        .iter()
        .map(|class| class + 1)
        .max()
        .unwrap_or(0)
        .max(widest);
    let mut confusion = Confusion::new(n_classes + 1); // the last answer is none
    let mut counts = vec![0usize; n_classes];
    for (scores, class) in scores.iter().zip(&truth) {
        let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        confusion.add(*class, best.map_or(n_classes, |(class, _)| class));
        counts[*class] += 1;
    }
    let occurring = counts.iter().filter(|count| **count > 0).count().max(1);
    let aucs: Vec<f64> = (0..n_classes)
        .filter_map(|c| auc(scores, &truth, c))
        .collect();
    let majority = counts.iter().max().copied().unwrap_or(0);
    ClassScores {
        accuracy: f64::from(confusion.accuracy()),
        macro_f1: f64::from(confusion.macro_f1()) * (n_classes + 1) as f64 / occurring as f64,
        auc: (!aucs.is_empty()).then(|| aucs.iter().sum::<f64>() / aucs.len() as f64),
        majority: majority as f64 / truth.len().max(1) as f64,
    }
}

/// Probability that an example of the class scores higher than one of another; ties count half.
fn auc(scores: &[Vec<f32>], truth: &[usize], class: usize) -> Option<f64> {
    let of = |own: bool| -> Vec<f32> {
        let pairs = scores.iter().zip(truth);
        let pairs = pairs.filter(|(_, truth)| (**truth == class) == own);
        pairs
            .map(|(scores, _)| scores.get(class).copied().unwrap_or(f32::NEG_INFINITY))
            .collect()
    };
    let (own, mut others) = (of(true), of(false));
    if own.is_empty() || others.is_empty() {
        return None;
    }
    others.sort_by(f32::total_cmp);
    let wins: f64 = own
        .iter()
        .map(|score| {
            let below = others.partition_point(|other| other < score);
            let not_above = others.partition_point(|other| other <= score);
            below as f64 + 0.5 * (not_above - below) as f64
        })
        .sum();
    Some(wins / (own.len() * others.len()) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_scored_by_their_best_and_by_their_order() {
        let scores = [
            vec![0.9, 0.1],
            vec![0.4, 0.6],
            vec![0.2, 0.8],
            vec![0.3, 0.7],
        ];
        let found = class_scores(&scores, &[0, 0, 1, 1]);
        assert_eq!(found.accuracy, 0.75);
        assert_eq!((found.auc, found.majority), (Some(1.0), 0.5));
        // F1 of class 0: 2 / 3; of class 1: 4 / 5.
        assert!((found.macro_f1 - (2.0 / 3.0 + 0.8) / 2.0).abs() < 1e-6);
        let upside_down: Vec<Vec<f32>> = scores.iter().map(|s| vec![s[1], s[0]]).collect();
        assert_eq!(class_scores(&upside_down, &[0, 0, 1, 1]).auc, Some(0.0));
        assert_eq!(class_scores(&scores, &[1, 1, 1, 1]).auc, None);
    }
}

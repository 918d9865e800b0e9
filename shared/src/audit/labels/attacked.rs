//! LABEL on the vectors of one kind and epoch, with its controls.

use burn::tensor::Device;
use rand::seq::SliceRandom;
use rand_distr::{Distribution, StandardNormal};

use super::LabelEvidence;
use crate::audit::attack::AuditError;
use crate::audit::attacks::label::{KNOWN_SHARE, LabelLeak, Method, label_leakage};
use crate::audit::learned::features::norm;
use crate::audit::learned::generator;
use crate::audit::report::Control;
use crate::audit::thresholds::{
    LABEL_LEAK_AUC_MIN, LABEL_LEAK_LENGTH, SHUFFLED_LABELS_DEVIATIONS_MAX,
};

/// Vectors of one kind and epoch, with the labels that only the owner knows.
pub(super) struct Attacked<'a> {
    pub(super) evidence: LabelEvidence,
    pub(super) vectors: &'a [Vec<f32>],
    pub(super) labels: &'a [u32],
    pub(super) seed: u64,
    pub(super) device: &'a Device,
}

impl Attacked<'_> {
    /// What every method reads, and the controls if they are asked for.
    ///
    /// # Errors
    ///
    /// As [`label_leakage`].
    pub(super) fn run(
        &self,
        with_controls: bool,
    ) -> Result<(Vec<LabelLeak>, Vec<Control>), AuditError> {
        let leaks = self.leaks(self.vectors, self.labels)?;
        let controls = match with_controls {
            true => vec![self.shuffled()?, self.injected()?],
            false => Vec::new(),
        };
        Ok((leaks, controls))
    }

    fn leaks(&self, vectors: &[Vec<f32>], labels: &[u32]) -> Result<Vec<LabelLeak>, AuditError> {
        let evidence = self.evidence.compared();
        label_leakage(evidence, vectors, labels, self.seed, self.device)
    }

    /// With the labels of others nothing can be read: the AUC farthest from 0.5.
    fn shuffled(&self) -> Result<Control, AuditError> {
        let mut shuffled = self.labels.to_vec();
        shuffled.shuffle(&mut generator(self.seed, 13));
        let leaks = self.leaks(self.vectors, &shuffled)?;
        let distances = leaks.iter().map(|leak| (leak.auc - 0.5).abs());
        let bound = SHUFFLED_LABELS_DEVIATIONS_MAX * deviation_by_chance(self.labels);
        let name = "shuffled labels, farthest from 0.5";
        Ok(Control::at_most(name, distances.fold(0.0, f64::max), bound))
    }

    /// With the label added to every vector it has to be read: the lowest AUC of the methods that
    /// look at directions.
    fn injected(&self) -> Result<Control, AuditError> {
        let leaking = leaking(self.vectors, self.labels, self.seed);
        let leaks = self.leaks(&leaking, self.labels)?;
        let directed = leaks.iter().filter(|leak| leak.method != Method::Norm);
        let least = directed.map(|leak| leak.auc).fold(1.0, f64::min);
        Ok(Control::at_least(
            "injected leak",
            least,
            LABEL_LEAK_AUC_MIN,
        ))
    }
}

/// Deviation of an AUC by chance, `sqrt((n + m + 1) / (12 n m))` with n examples of a class and m of
/// the others among those that are evaluated; of the class where it is largest. Source: Mann and
/// Whitney, Annals of Mathematical Statistics 18 (1947).
fn deviation_by_chance(labels: &[u32]) -> f64 {
    let evaluated = 1.0 - 1.0 / KNOWN_SHARE as f64;
    let classes = labels.iter().max().map_or(0, |class| *class + 1);
    let deviations = (0..classes).filter_map(|class| {
        let own = labels.iter().filter(|label| **label == class).count();
        let n = evaluated * own as f64;
        let m = evaluated * (labels.len() - own) as f64;
        (n > 0.0 && m > 0.0).then(|| ((n + m + 1.0) / (12.0 * n * m)).sqrt())
    });
    deviations.fold(0.0, f64::max)
}

/// The vectors with a leak of known size: for two classes one direction with the label's sign, for
/// more a direction of its own for each class.
fn leaking(vectors: &[Vec<f32>], labels: &[u32], seed: u64) -> Vec<Vec<f32>> {
    let width = vectors.first().map_or(0, Vec::len);
    let classes = labels.iter().max().map_or(0, |class| *class as usize + 1);
    let squares: f64 = vectors.iter().map(|vector| norm(vector).powi(2)).sum();
    let length = (squares / vectors.len().max(1) as f64).sqrt();
    // Vectors of zeros tell nothing; the leak then is all there is.
    let length = LABEL_LEAK_LENGTH * if length > 0.0 { length } else { 1.0 };
    let directions = directions(classes, width, seed);
    let both = vectors.iter().zip(labels);
    both.map(|(vector, label)| {
        let (direction, sign) = match classes {
            2 => (&directions[0], if *label == 0 { -1.0 } else { 1.0 }),
            _ => (&directions[*label as usize], 1.0),
        };
        let leak = direction.iter().map(|value| sign * length * value);
        let both = vector.iter().zip(leak);
        both.map(|(value, leak)| (f64::from(*value) + leak) as f32)
            .collect()
    })
    .collect()
}

/// Unit vectors in random directions.
fn directions(count: usize, width: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut rng = generator(seed, 14);
    let unit = |_| {
        let draws: Vec<f64> = (0..width)
            .map(|_| StandardNormal.sample(&mut rng))
            .collect();
        let norm = draws.iter().map(|draw| draw * draw).sum::<f64>().sqrt();
        draws.into_iter().map(|draw| draw / norm).collect()
    };
    (0..count).map(unit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: 400 of 800 in each class, 320 of them evaluated: `sqrt(641 / (12 * 320^2))` = 0.022840.
    #[test]
    fn the_bound_of_the_shuffled_labels_is_that_of_their_number() {
        let alternating: Vec<u32> = (0..800).map(|id| id % 2).collect();
        let deviation = deviation_by_chance(&alternating);
        assert!((deviation - 0.022_840).abs() < 1e-6, "{deviation}");
        // A rare class makes it wider: 10 of 800, 8 and 632 evaluated.
        let rare: Vec<u32> = (0..800).map(|id| u32::from(id % 80 == 0)).collect();
        let expected = (641.0f64 / (12.0 * 8.0 * 632.0)).sqrt();
        assert!((deviation_by_chance(&rare) - expected).abs() < 1e-9);
    }

    /// Two vectors of length 5: root mean square 5, leak 15 along one direction, signs by label.
    #[test]
    fn the_injected_leak_has_its_size_and_the_sign_of_the_label() {
        let vectors = [vec![3.0, 4.0], vec![4.0, -3.0]];
        let leaking = leaking(&vectors, &[0, 1], 1);
        let moved = |at: usize| {
            let both = leaking[at].iter().zip(&vectors[at]);
            both.map(|(leaking, clean)| leaking - clean)
                .collect::<Vec<f32>>()
        };
        let (first, second) = (moved(0), moved(1));
        assert!((norm(&first) - 15.0).abs() < 1e-4);
        for (a, b) in first.iter().zip(&second) {
            assert!((a + b).abs() < 1e-4);
        }
    }
}

//! Noise on the gradient that leaves the client where labels do not (`labels = client`).
//!
//! An example's gradient says how the server should move its output, and with that on which side its
//! label is: for two classes all gradients lie on one line, and the sign is the label. The noise here
//! is drawn along the differences of the classes' mean gradients, where they can be told apart, and
//! nowhere else, where it would cost accuracy and hide nothing.
//!
//! Two classes: Marvell (arXiv 2102.08504), its optimum of sumKL, the sum of both Kullback-Leibler
//! divergences between the classes' perturbed gradients under a bound on the noise's power, with the
//! noise restricted to the direction of the difference. The paper states it for four eigenvalues;
//! with one direction the problem has the solution written at `two_variances` (derived here).
//! More classes: one law for all of them, along all differences at once (derived here).
//!
//! # Guarantee
//!
//! None in the sense of differential privacy. The noise makes single gradients hard to tell apart;
//! it has mean zero, so whoever averages over many steps gains. See docs/threat-model.md.

use rand_chacha::ChaCha20Rng;
use shared::privacy::noise::standard_normal;

/// What is known of the gradients of one class.
#[derive(Clone)]
struct ClassMean {
    mean: Vec<f64>,
    /// In the batch at hand.
    count: usize,
}

/// Noise of one strength for the gradients of one run.
pub struct LabelDefence {
    strength: f64,
    d_model: usize,
    /// One a class, from the last batch that had it; none before it was met.
    classes: Vec<Option<ClassMean>>,
    rng: ChaCha20Rng,
}

impl std::fmt::Debug for LabelDefence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LabelDefence(strength {})", self.strength)
    }
}

impl LabelDefence {
    /// A defence whose noise has `strength` times the squared distance of the class means as its
    /// power: `P = strength * D`. `rng` is seeded by the system, as all that protects.
    pub fn new(strength: f64, n_classes: usize, d_model: usize, rng: ChaCha20Rng) -> Self {
        Self {
            strength,
            d_model,
            classes: vec![None; n_classes],
            rng,
        }
    }

    /// Adds one independent draw to the gradient of each example.
    ///
    /// | classes met so far | noise of an example of class c | power |
    /// |---|---|---|
    /// | one, or means that are equal | isotropic | `strength * max \|\|g\|\|^2` |
    /// | two | `z sqrt(variance_c) (m_1 - m_0) / \|\|m_1 - m_0\|\|` | `strength * \|\|m_1 - m_0\|\|^2` |
    /// | more | `k * sum over c of z_c sqrt(p_c) (m_c - m)`, the same law for all | `strength *` mean of `\|\|m_a - m_b\|\|^2` over pairs, weighted by `p_a p_b` |
    ///
    /// z are standard normal, `m_c` the mean gradient of class c in the last batch that had it, m
    /// their mean, `p_c` the share of class c in this batch with one example more of each. Power is
    /// the mean of the noise's squared norm over the classes, weighted by `p_c`.
    ///
    /// # Shapes
    ///
    /// - gradient: `[labels, d_model]`, row-major; every label below `n_classes`
    pub fn defend(&mut self, gradient: &mut [f32], labels: &[u32]) {
        self.meet(gradient, labels);
        let met: Vec<usize> = (0..self.classes.len())
            .filter(|class| self.classes[*class].is_some())
            .collect();
        match met[..] {
            [first, second] => self.defend_two(gradient, labels, first, second),
            [] | [_] => self.add_isotropic(gradient),
            _ => self.defend_many(gradient, &met),
        }
    }

    /// Brings the class means up to date.
    fn meet(&mut self, gradient: &[f32], labels: &[u32]) {
        for (class, known) in self.classes.iter_mut().enumerate() {
            let rows = gradient.chunks_exact(self.d_model).zip(labels);
            let own: Vec<&[f32]> = rows
                .filter(|(_, label)| **label as usize == class)
                .map(|(row, _)| row)
                .collect();
            if own.is_empty() {
                if let Some(known) = known {
                    known.count = 0;
                }
                continue;
            }
            let mut mean = vec![0.0; self.d_model];
            for row in &own {
                for (sum, value) in mean.iter_mut().zip(*row) {
                    *sum += f64::from(*value) / own.len() as f64;
                }
            }
            let count = own.len();
            *known = Some(ClassMean { mean, count });
        }
    }

    /// The mean of a class, and how often it is in the batch at hand.
    fn class(&self, class: usize) -> (&[f64], usize) {
        match &self.classes[class] {
            Some(known) => (&known.mean, known.count),
            None => (&[], 0),
        }
    }

    fn defend_two(&mut self, gradient: &mut [f32], labels: &[u32], first: usize, second: usize) {
        let (mean_0, count_0) = self.class(first);
        let (mean_1, count_1) = self.class(second);
        let difference: Vec<f64> = mean_1.iter().zip(mean_0).map(|(a, b)| a - b).collect();
        let distance: f64 = difference.iter().map(|v| v * v).sum();
        if distance <= 0.0 {
            return self.add_isotropic(gradient);
        }
        let direction: Vec<f64> = difference.iter().map(|v| v / distance.sqrt()).collect();
        let spread = |class: usize, mean: &[f64], count: usize| {
            let rows = gradient.chunks_exact(self.d_model).zip(labels);
            let own = rows.filter(|(_, label)| **label as usize == class);
            let centre = dot(&direction, mean.iter().copied());
            let along = |row: &[f32]| dot(&direction, row.iter().map(|v| f64::from(*v))) - centre;
            own.map(|(row, _)| along(row).powi(2)).sum::<f64>() / count.max(1) as f64
        };
        let spreads = [
            spread(first, mean_0, count_0),
            spread(second, mean_1, count_1),
        ];
        let share = (count_1 + 1) as f64 / (count_0 + count_1 + 2) as f64;
        let power = self.strength * distance;
        let variances = two_variances(distance, spreads, share, power);
        for (row, label) in gradient.chunks_exact_mut(self.d_model).zip(labels) {
            let variance = variances[usize::from(*label as usize == second)];
            let draw = standard_normal(&mut self.rng) * variance.sqrt();
            add(row, &direction, draw);
        }
    }

    fn defend_many(&mut self, gradient: &mut [f32], met: &[usize]) {
        let counts = met.iter().map(|class| self.class(*class).1 + 1);
        let total: usize = counts.clone().sum();
        let shares: Vec<f64> = counts.map(|count| count as f64 / total as f64).collect();
        let mut centre = vec![0.0; self.d_model];
        for (class, share) in met.iter().zip(&shares) {
            for (sum, value) in centre.iter_mut().zip(self.class(*class).0) {
                *sum += share * value;
            }
        }
        let offset = |class: &usize| -> Vec<f64> {
            let mean = self.class(*class).0.iter();
            mean.zip(&centre).map(|(a, b)| a - b).collect()
        };
        let offsets: Vec<Vec<f64>> = met.iter().map(offset).collect();
        let weighted = offsets.iter().zip(&shares);
        let between: f64 = weighted
            .map(|(offset, share)| share * offset.iter().map(|v| v * v).sum::<f64>())
            .sum();
        if between <= 0.0 {
            return self.add_isotropic(gradient);
        }
        // sum over pairs of p_a p_b = (1 - sum of p^2) / 2, and of p_a p_b |m_a - m_b|^2 = between
        let pairs = (1.0 - shares.iter().map(|share| share * share).sum::<f64>()) / 2.0;
        let scale = (self.strength / pairs).sqrt(); // power / between = strength / pairs
        for row in gradient.chunks_exact_mut(self.d_model) {
            for (offset, share) in offsets.iter().zip(&shares) {
                let draw = standard_normal(&mut self.rng) * scale * share.sqrt();
                add(row, offset, draw);
            }
        }
    }

    /// Where no difference is known yet: the same noise in every direction.
    fn add_isotropic(&mut self, gradient: &mut [f32]) {
        let square = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
        let largest = gradient
            .chunks_exact(self.d_model)
            .map(square)
            .fold(0.0, f64::max);
        let deviation = (self.strength * largest / self.d_model.max(1) as f64).sqrt();
        for value in gradient {
            *value += (standard_normal(&mut self.rng) * deviation) as f32;
        }
    }
}

/// The variances of the noise of two classes along the difference of their means that make the
/// classes hardest to tell apart.
///
/// With D the squared distance of the means, u and v the classes' own variances along it, p the share
/// of the second class and P the power, `a = u + x` and `b = v + y` are the variances after the
/// noise, and sumKL is, up to constants, `a/b + b/a + D/a + D/b`. It is to be smallest for x, y >= 0
/// with `(1 - p) x + p y = P`. On that line each term is convex in x, so the smallest is where the
/// derivative vanishes, `b/a = r = sqrt((C + (1 - p) D) / (C + p D))` with `C = P + (1 - p) u + p v`,
/// or at the end of the line that is nearest to it.
fn two_variances(distance: f64, [u, v]: [f64; 2], p: f64, power: f64) -> [f64; 2] {
    let sum = power + (1.0 - p) * u + p * v;
    let ratio = ((sum + (1.0 - p) * distance) / (sum + p * distance)).sqrt();
    let after = sum / (1.0 - p + p * ratio);
    let x = (after - u).clamp(0.0, power / (1.0 - p));
    let y = ((power - (1.0 - p) * x) / p).max(0.0);
    [x, y]
}

fn dot(direction: &[f64], row: impl Iterator<Item = f64>) -> f64 {
    direction.iter().zip(row).map(|(a, b)| a * b).sum()
}

fn add(row: &mut [f32], direction: &[f64], draw: f64) {
    for (value, along) in row.iter_mut().zip(direction) {
        *value += (draw * along) as f32;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn defence(strength: f64, n_classes: usize, d_model: usize) -> LabelDefence {
        LabelDefence::new(strength, n_classes, d_model, ChaCha20Rng::seed_from_u64(5))
    }

    /// What sumKL is for these variances, up to constants.
    fn sum_kl(distance: f64, [u, v]: [f64; 2], [x, y]: [f64; 2]) -> f64 {
        let (a, b) = (u + x, v + y);
        a / b + b / a + distance / a + distance / b
    }

    #[test]
    fn equal_classes_get_equal_noise() {
        // p = 1/2 and u = v: r = 1, so x = y = P.
        let [x, y] = two_variances(4.0, [0.5, 0.5], 0.5, 3.0);
        assert!(
            (x - 3.0).abs() < 1e-12 && (y - 3.0).abs() < 1e-12,
            "{x} {y}"
        );
    }

    #[test]
    fn no_other_split_of_the_power_hides_more() {
        let cases = [
            (4.0, [0.0, 0.0], 0.1, 2.0),
            (1.0, [0.3, 2.0], 0.7, 0.5),
            (9.0, [5.0, 0.1], 0.5, 1.0), // the first class needs none
            (2.0, [0.1, 8.0], 0.2, 0.4), // the second class needs none
        ];
        for (distance, spreads, p, power) in cases {
            let [x, y] = two_variances(distance, spreads, p, power);
            assert!(x >= 0.0 && y >= 0.0);
            assert!(((1.0 - p) * x + p * y - power).abs() < 1e-9);
            let found = sum_kl(distance, spreads, [x, y]);
            for part in 1..200 {
                let other = power / (1.0 - p) * f64::from(part) / 200.0;
                let rest = (power - (1.0 - p) * other) / p;
                let value = sum_kl(distance, spreads, [other, rest]);
                assert!(value >= found - 1e-9, "{value} below {found}");
            }
        }
    }

    /// Mean and covariance of the noise of one example over many draws.
    fn noise(labels: &[u32], rows: &[f32], n_classes: usize, d_model: usize) -> Vec<Vec<f64>> {
        let mut defence = defence(2.0, n_classes, d_model);
        let draws = 20_000;
        let mut squares = vec![vec![0.0; d_model * d_model]; labels.len()];
        let mut sums = vec![vec![0.0; d_model]; labels.len()];
        for _ in 0..draws {
            let mut defended = rows.to_vec();
            defence.defend(&mut defended, labels);
            for example in 0..labels.len() {
                let at = |i: usize| example * d_model + i;
                let z = |i| f64::from(defended[at(i)]) - f64::from(rows[at(i)]);
                for i in 0..d_model {
                    sums[example][i] += z(i) / f64::from(draws);
                    for j in 0..d_model {
                        squares[example][i * d_model + j] += z(i) * z(j) / f64::from(draws);
                    }
                }
            }
        }
        for mean in sums.iter().flatten() {
            assert!(mean.abs() < 0.1, "the mean of the noise is {mean}");
        }
        squares
    }

    /// Two classes on one line: variance `P = 2 * 4` along it for each, nothing across.
    #[test]
    fn two_classes_are_blurred_along_their_difference_only() {
        let rows = [1.0, 0.0, -1.0, 0.0];
        for covariance in noise(&[1, 0], &rows, 2, 2) {
            assert!((covariance[0] / 8.0 - 1.0).abs() < 0.05, "{covariance:?}");
            assert!(covariance[3] == 0.0, "{covariance:?}");
        }
    }

    /// Means (1,0,0), (0,1,0), (0,0,1): all pairs have distance 2, so the power is 2 * 2 = 4, spread
    /// over the plane of the differences alone.
    #[test]
    fn three_classes_are_blurred_by_one_law_in_their_plane() {
        let rows = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        for covariance in noise(&[0, 1, 2], &rows, 3, 3) {
            let power = covariance[0] + covariance[4] + covariance[8];
            assert!((power / 4.0 - 1.0).abs() < 0.05, "{power}");
            // Across the plane is (1,1,1): the sum of all entries is its variance times 3.
            assert!(
                covariance.iter().sum::<f64>().abs() < 1e-9,
                "{covariance:?}"
            );
        }
    }

    /// One class only: power `2 * max |g|^2 = 8`, half of it in each direction.
    #[test]
    fn before_two_classes_are_met_the_noise_has_no_direction() {
        let rows = [2.0, 0.0, 1.0, 0.0];
        for covariance in noise(&[1, 1], &rows, 2, 2) {
            assert!((covariance[0] / 4.0 - 1.0).abs() < 0.05, "{covariance:?}");
            assert!((covariance[3] / 4.0 - 1.0).abs() < 0.05, "{covariance:?}");
        }
    }

    #[test]
    fn a_class_that_this_batch_lacks_is_remembered() {
        let mut defence = defence(1.0, 2, 2);
        defence.defend(&mut [1.0, 0.0, -1.0, 0.0], &[1, 0]);
        let mut later = [1.0, 0.0];
        defence.defend(&mut later, &[1]);
        assert!(later[0] != 1.0 && later[1] == 0.0, "{later:?}");
    }
}

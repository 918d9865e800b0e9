//! The noise of both mechanisms: `p(z) ~ exp(-eta * ||z||)`; and the normal law that it is made of.

use rand::CryptoRng;
use rand_distr::{Distribution, Gamma, StandardNormal};

use super::eta::Eta;

/// Adds one independent draw to `vector`.
///
/// `z = l * v`, `l ~ Gamma(shape = dim, scale = 1/eta)`, v uniform on the unit sphere (a normalised
/// standard normal vector). `E||z|| = dim / eta`, `sd||z|| = sqrt(dim) / eta`.
///
/// Source: method.md, section 2; the gamma sampler is Marsaglia and Tsang, ACM TOMS 26 (2000), page
/// 363.
pub fn add(vector: &mut [f32], eta: Eta, rng: &mut impl CryptoRng) {
    let noise = unit(vector.len(), rng);
    for (value, noise) in vector.iter_mut().zip(noise) {
        *value += (noise / eta.get()) as f32;
    }
}

/// One draw of the standard normal law.
pub fn standard_normal(rng: &mut impl CryptoRng) -> f64 {
    StandardNormal.sample(rng)
}

/// One draw for `eta = 1`. A draw for another eta is this one divided by it.
pub(super) fn unit(dim: usize, rng: &mut impl CryptoRng) -> Vec<f64> {
    let radius = Gamma::new(dim as f64, 1.0)
        .expect("the shape is a positive dimension")
        .sample(rng);
    let mut direction: Vec<f64> = (0..dim).map(|_| standard_normal(rng)).collect();
    let norm = direction.iter().map(|v| v * v).sum::<f64>().sqrt();
    for value in &mut direction {
        *value *= radius / norm;
    }
    direction
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;

    const DIM: usize = 24;
    const DRAWS: usize = 4_000;

    fn draws(seed: u64) -> Vec<Vec<f64>> {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        (0..DRAWS).map(|_| unit(DIM, &mut rng)).collect()
    }

    /// `Pr[Gamma(k, 1) <= x]` for an integer shape: `1 - exp(-x) * sum over i < k of x^i / i!`.
    fn erlang_cdf(shape: usize, x: f64) -> f64 {
        let mut term = (-x).exp();
        let mut sum = 0.0;
        for i in 0..shape {
            sum += term;
            term *= x / (i + 1) as f64;
        }
        1.0 - sum
    }

    /// Fails with a Gamma draw a coordinate, with a normal law of the norm, or with another shape
    /// or scale.
    #[test]
    fn the_radius_follows_the_gamma_law() {
        let mut radii: Vec<f64> = draws(11)
            .iter()
            .map(|z| z.iter().map(|v| v * v).sum::<f64>().sqrt())
            .collect();
        radii.sort_by(f64::total_cmp);
        let distance = radii
            .iter()
            .enumerate()
            .map(|(rank, radius)| {
                let law = erlang_cdf(DIM, *radius);
                let below = rank as f64 / DRAWS as f64;
                (law - below)
                    .abs()
                    .max((law - below - 1.0 / DRAWS as f64).abs())
            })
            .fold(0.0, f64::max);
        let critical = 1.949 / (DRAWS as f64).sqrt(); // Kolmogorov-Smirnov, level 0.001
        assert!(distance < critical, "{distance} against {critical}");
    }

    /// Fails when the direction prefers an axis, a sign or a corner.
    #[test]
    fn the_direction_is_uniform() {
        let draws = draws(12);
        for axis in 0..DIM {
            let cosines: Vec<f64> = draws
                .iter()
                .map(|z| z[axis] / z.iter().map(|v| v * v).sum::<f64>().sqrt())
                .collect();
            let mean = cosines.iter().sum::<f64>() / DRAWS as f64;
            let square = cosines.iter().map(|c| c * c).sum::<f64>() / DRAWS as f64;
            // A coordinate of a uniform direction has mean 0 and mean square 1/DIM; four standard
            // errors.
            assert!(
                mean.abs() < 4.0 / (DIM as f64 * DRAWS as f64).sqrt(),
                "axis {axis}: {mean}"
            );
            let error = 4.0 * (2.0f64).sqrt() / DIM as f64 / (DRAWS as f64).sqrt();
            assert!(
                (square - 1.0 / DIM as f64).abs() < error,
                "axis {axis}: {square}"
            );
        }
    }

    #[test]
    fn eta_divides_the_noise() {
        let mut vector = vec![0.0; 384];
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        add(&mut vector, Eta::new(96.0).unwrap(), &mut rng);
        let norm = vector
            .iter()
            .map(|v| f64::from(*v).powi(2))
            .sum::<f64>()
            .sqrt();
        assert!(
            (norm - 4.0).abs() < 4.0 * (384.0f64).sqrt() / 96.0,
            "{norm}"
        ); // 384 / 96, four deviations
    }
}

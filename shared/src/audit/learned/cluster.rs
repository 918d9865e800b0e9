//! Structure without labels: k-means, and the directions of largest spread.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::features::Features;
use super::generator;

/// Starts of k-means; the tightest result counts.
const STARTS: usize = 8;

/// Rounds of Lloyd's algorithm; it has settled long before on a thousand examples.
const ROUNDS: usize = 50;

/// Rounds of the power iteration. A direction that stands out by a tenth is found to `1.1^-200`.
const POWER_ROUNDS: usize = 100;

/// How much each example belongs to each of `count` clusters: the squared distance to the nearest
/// other centre less that to its own.
///
/// Lloyd's algorithm from k-means++ starts. Source: Arthur and Vassilvitskii, SODA 2007, page
/// 1027.
///
/// # Shapes
///
/// - output: `[examples][count]`
pub(crate) fn k_means(features: &Features, count: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut rng = generator(seed, 11);
    let mut best: Option<(f64, Vec<Vec<f64>>)> = None;
    for _ in 0..STARTS {
        let mut centres = spread_centres(features, count, &mut rng);
        for _ in 0..ROUNDS {
            let moved = means(features, &centres);
            if moved == centres {
                break;
            }
            centres = moved;
        }
        let inertia: f64 = features.rows().map(|row| nearest(row, &centres).1).sum();
        if best.as_ref().is_none_or(|(least, _)| inertia < *least) {
            best = Some((inertia, centres));
        }
    }
    let centres = best.map(|(_, centres)| centres).unwrap_or_default();
    features
        .rows()
        .map(|row| {
            let distances: Vec<f64> = centres.iter().map(|c| squared_distance(row, c)).collect();
            let belongs = |own: usize| {
                let others = distances.iter().enumerate().filter(|(at, _)| *at != own);
                let other = others.map(|(_, d)| *d).fold(f64::INFINITY, f64::min);
                let other = if other.is_finite() { other } else { 0.0 };
                (other - distances[own]) as f32
            };
            (0..distances.len()).map(belongs).collect()
        })
        .collect()
}

/// The first centre at random, every other with probability in proportion to its squared distance
/// from those before.
fn spread_centres(features: &Features, count: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<f64>> {
    let rows: Vec<&[f32]> = features.rows().collect();
    let wide = |row: &[f32]| row.iter().map(|value| f64::from(*value)).collect();
    let mut centres: Vec<Vec<f64>> = Vec::with_capacity(count);
    while centres.len() < count && !rows.is_empty() {
        let weights: Vec<f64> = rows.iter().map(|row| nearest(row, &centres).1).collect();
        let total: f64 = weights.iter().sum();
        let mut left = rng.random::<f64>() * total;
        let chosen = weights.iter().position(|weight| {
            left -= weight;
            left <= 0.0
        });
        centres.push(wide(rows[chosen.unwrap_or(rows.len() - 1)]));
    }
    centres
}

/// The mean of the examples that are nearest to each centre; a centre without examples stays.
fn means(features: &Features, centres: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut sums: Vec<(f64, Vec<f64>)> = centres
        .iter()
        .map(|centre| (0.0, vec![0.0; centre.len()]))
        .collect();
    for row in features.rows() {
        let (count, sum) = &mut sums[nearest(row, centres).0];
        *count += 1.0;
        for (sum, value) in sum.iter_mut().zip(row) {
            *sum += f64::from(*value);
        }
    }
    let both = sums.into_iter().zip(centres);
    both.map(|((count, sum), centre)| {
        if count == 0.0 {
            centre.clone()
        } else {
            sum.into_iter().map(|value| value / count).collect()
        }
    })
    .collect()
}

/// The nearest centre and its squared distance; distance 1 where there is no centre yet.
fn nearest(row: &[f32], centres: &[Vec<f64>]) -> (usize, f64) {
    let distances = centres.iter().map(|centre| squared_distance(row, centre));
    distances
        .enumerate()
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or((0, 1.0))
}

fn squared_distance(row: &[f32], centre: &[f64]) -> f64 {
    let differences = row.iter().zip(centre);
    differences.map(|(a, b)| (f64::from(*a) - b).powi(2)).sum()
}

/// Coordinates of the examples along the `count` directions in which they differ most: the top
/// right singular vectors of the centred matrix, by power iteration.
pub(crate) fn spectral(features: &Features, count: usize, seed: u64) -> Features {
    let mut rng = generator(seed, 12);
    let mut rows = centred(features);
    let mut columns = Vec::with_capacity(count);
    for _ in 0..count.min(features.width()) {
        let mut direction: Vec<f64> = (0..features.width())
            .map(|_| StandardNormal.sample(&mut rng))
            .collect();
        for _ in 0..POWER_ROUNDS {
            let mut image = vec![0.0; direction.len()];
            for row in &rows {
                let along = dot(row, &direction);
                let both = image.iter_mut().zip(row);
                both.for_each(|(image, value)| *image += along * value);
            }
            let norm = dot(&image, &image).sqrt();
            if norm == 0.0 {
                break; // nothing is left to differ in
            }
            direction = image.into_iter().map(|value| value / norm).collect();
        }
        let column: Vec<f64> = rows.iter().map(|row| dot(row, &direction)).collect();
        for (row, along) in rows.iter_mut().zip(&column) {
            let both = row.iter_mut().zip(&direction);
            both.for_each(|(value, direction)| *value -= along * direction);
        }
        columns.push(column);
    }
    let examples = (0..features.len()).map(|at| {
        let coordinates = columns.iter().map(|column| column[at] as f32);
        coordinates.collect::<Vec<f32>>()
    });
    Features::of_rows(&examples.collect::<Vec<_>>())
}

fn centred(features: &Features) -> Vec<Vec<f64>> {
    let mut mean = vec![0.0; features.width()];
    let share = 1.0 / features.len().max(1) as f64;
    for row in features.rows() {
        let both = mean.iter_mut().zip(row);
        both.for_each(|(mean, value)| *mean += share * f64::from(*value));
    }
    let rows = features.rows().map(|row| {
        let both = row.iter().zip(&mean);
        both.map(|(value, mean)| f64::from(*value) - mean).collect()
    });
    rows.collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two clouds around (4, 0, ..) and (-4, 0, ..), one point in turn.
    fn clouds() -> Features {
        let mut rng = generator(3, 0);
        let rows: Vec<Vec<f32>> = (0..60)
            .map(|at| {
                let mut row: Vec<f32> = (0..5)
                    .map(|_| StandardNormal.sample(&mut rng))
                    .map(|draw: f64| draw as f32)
                    .collect();
                row[0] += if at % 2 == 0 { 4.0 } else { -4.0 };
                row
            })
            .collect();
        Features::of_rows(&rows)
    }

    #[test]
    fn two_clouds_are_two_clusters() {
        let belongs = k_means(&clouds(), 2, 1);
        let first = belongs[0][0] > 0.0;
        for (at, belongs) in belongs.iter().enumerate() {
            assert_eq!(belongs[0] > 0.0, (at % 2 == 0) == first, "point {at}");
            assert!((belongs[0] + belongs[1]).abs() < 1e-3);
        }
    }

    #[test]
    fn the_first_direction_is_that_between_the_clouds() {
        let coordinates = spectral(&clouds(), 2, 1);
        assert_eq!(coordinates.width(), 2);
        let rows: Vec<&[f32]> = coordinates.rows().collect();
        let side = rows[0][0].signum();
        for (at, row) in rows.iter().enumerate() {
            let sign = if at % 2 == 0 { side } else { -side };
            assert_eq!(row[0].signum(), sign, "point {at}");
        }
        // Variance 1 is left in every other direction, 17 in the first.
        let second: f32 = rows.iter().map(|row| row[1].powi(2)).sum();
        assert!(second / 60.0 < 3.0, "{second}");
    }

    #[test]
    fn equal_points_do_not_divide_by_zero() {
        let features = Features::of_rows(&[vec![1.0, 2.0], vec![1.0, 2.0]]);
        let spread: Vec<Vec<f32>> = spectral(&features, 1, 1)
            .rows()
            .map(<[f32]>::to_vec)
            .collect();
        assert_eq!(spread, [[0.0], [0.0]]);
        assert_eq!(k_means(&features, 2, 1), [[0.0, 0.0], [0.0, 0.0]]);
    }
}

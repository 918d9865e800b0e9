//! One vector an example, and columns of one scale.

use burn::tensor::{Device, Tensor};

use super::matrix;
use crate::audit::Released;

/// A feature vector an example.
#[derive(Clone, PartialEq)]
pub(crate) struct Features {
    values: Vec<f32>, // [examples, width]
    width: usize,
}

impl std::fmt::Debug for Features {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Features({} examples of {})", self.len(), self.width)
    }
}

impl Features {
    /// Of a list of vectors; the first says how wide they are, and others are cut or filled with
    /// zeros to that.
    pub(crate) fn of_rows(rows: &[Vec<f32>]) -> Self {
        let width = rows.first().map_or(0, Vec::len);
        let mut values = Vec::with_capacity(rows.len() * width);
        for (at, row) in rows.iter().enumerate() {
            values.extend_from_slice(&row[..row.len().min(width)]);
            values.resize((at + 1) * width, 0.0);
        }
        Self { values, width }
    }

    /// The mean row and the first row of each released example, side by side.
    ///
    /// The first row ([CLS]) is what a task head reads; the mean is what most attacks on sentence
    /// embeddings use.
    ///
    /// # Shapes
    ///
    /// - output: `[examples, 2 d_model]`
    pub(crate) fn pooled(released: &Released) -> Self {
        let d_model = released.activations.d_model();
        let mut values = Vec::with_capacity(released.len() * 2 * d_model);
        for example in released.examples() {
            let start = values.len();
            values.extend(mean_row(example, d_model));
            values.extend(example.iter().take(d_model));
            values.resize(start + 2 * d_model, 0.0);
        }
        Self {
            values,
            width: 2 * d_model,
        }
    }

    /// These examples, then those of `other`.
    pub(crate) fn joined(&self, other: &Self) -> Self {
        let rows = self.rows().chain(other.rows()).map(<[f32]>::to_vec);
        Self::of_rows(&rows.collect::<Vec<_>>())
    }

    /// Number of examples.
    pub(crate) fn len(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// Numbers of one example.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The vectors.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.width.max(1))
    }

    /// The vectors with these indices.
    pub(crate) fn select(&self, indices: &[usize]) -> Self {
        let rows = indices.iter().filter_map(|at| {
            let start = at * self.width;
            self.values.get(start..start + self.width)
        });
        Self {
            values: rows.flatten().copied().collect(),
            width: self.width,
        }
    }

    /// `[examples, width]`
    pub(crate) fn tensor(&self, device: &Device) -> Tensor<2> {
        matrix(self.values.clone(), [self.len(), self.width], device)
    }

    /// Each vector divided by its length; a zero vector stays.
    pub(crate) fn directions(mut self) -> Self {
        for row in self.values.chunks_exact_mut(self.width.max(1)) {
            let norm = norm(row);
            if norm > 0.0 {
                let scale = (1.0 / norm) as f32;
                row.iter_mut().for_each(|value| *value *= scale);
            }
        }
        self
    }
}

/// The mean of some rows, `[d_model]`; zeros where there is none.
pub(crate) fn mean_row(rows: &[f32], d_model: usize) -> Vec<f32> {
    let rows = rows.chunks_exact(d_model.max(1));
    let share = 1.0 / rows.len().max(1) as f32;
    let mut mean = vec![0.0; d_model];
    for row in rows {
        let sums = mean.iter_mut().zip(row);
        sums.for_each(|(mean, value)| *mean += share * value);
    }
    mean
}

/// `||row||`
pub(crate) fn norm(row: &[f32]) -> f64 {
    let squares = row.iter().map(|value| f64::from(*value).powi(2));
    squares.sum::<f64>().sqrt()
}

/// Mean and deviation of each column, learnt from the attacker's own examples.
#[derive(Clone)]
pub(crate) struct Scaler {
    mean: Vec<f32>,
    scale: Vec<f32>,
}

impl Scaler {
    /// Learns both. A column that does not vary is left at its scale.
    pub(crate) fn of(features: &Features) -> Self {
        let count = features.len().max(1) as f64;
        let mut sums = vec![(0.0, 0.0); features.width];
        for row in features.rows() {
            for ((sum, squares), value) in sums.iter_mut().zip(row) {
                *sum += f64::from(*value);
                *squares += f64::from(*value).powi(2);
            }
        }
        let mean = sums.iter().map(|(sum, _)| sum / count);
        let scale = sums.iter().map(|(sum, squares)| {
            let variance = squares / count - (sum / count).powi(2);
            if variance > 1e-12 {
                1.0 / variance.sqrt()
            } else {
                1.0
            }
        });
        Self {
            mean: mean.map(|value| value as f32).collect(),
            scale: scale.map(|value| value as f32).collect(),
        }
    }

    /// `(x - mean) / deviation`, column by column.
    pub(crate) fn apply(&self, mut features: Features) -> Features {
        for row in features.values.chunks_exact_mut(features.width.max(1)) {
            for ((value, mean), scale) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                *value = (*value - mean) * scale;
            }
        }
        features
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CutActivations;

    #[test]
    fn pooling_gives_the_mean_and_the_first_row() {
        let released = Released::new(CutActivations {
            values: vec![1.0, 2.0, 3.0, 6.0, 9.0, 8.0],
            seq_lengths: vec![2, 1],
            d_model: 2,
        });
        let pooled = Features::pooled(&released);
        let rows: Vec<&[f32]> = pooled.rows().collect();
        assert_eq!(rows, [[2.0, 4.0, 1.0, 2.0], [9.0, 8.0, 9.0, 8.0]]);
    }

    #[test]
    fn columns_get_mean_zero_and_deviation_one_and_constants_stay_finite() {
        let features = Features::of_rows(&[vec![1.0, 7.0], vec![3.0, 7.0]]);
        let scaled = Scaler::of(&features).apply(features);
        let rows: Vec<&[f32]> = scaled.rows().collect();
        assert_eq!(rows, [[-1.0, 0.0], [1.0, 0.0]]);
    }

    #[test]
    fn directions_have_length_one() {
        let features = Features::of_rows(&[vec![3.0, 4.0], vec![0.0, 0.0]]).directions();
        let rows: Vec<&[f32]> = features.rows().collect();
        assert!((norm(rows[0]) - 1.0).abs() < 1e-6);
        assert_eq!(rows[1], [0.0, 0.0]);
    }
}

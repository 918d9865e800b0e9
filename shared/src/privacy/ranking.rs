//! Which words matter for the task: what `suppress` and `drop` keep.
//!
//! Frequencies alone do not know a word that the training rows hold once or never; the embedding
//! table knows what it is like. So two scores are added, each in units of its own spread.

use burn::tensor::activation::softmax;
use burn::tensor::{Tensor, TensorData};

use super::contribution::ContributionTable;
use super::eta::PrivacyError;
use super::nearest::{TokenTable, read};
use super::ordinary_ids;
use crate::text::TokenIds;

/// Rows that the class directions are learned from; more would cost memory and change little.
pub const ROWS_MAX: usize = 20_000;

/// Rows whose embeddings are read at a time: bounds memory, and the number of times that a GPU is
/// waited for.
const MEANS_ROWS: usize = 64;

/// Steps of the regression.
const STEPS: usize = 300;

/// Length of a step of the regression, momentum and decay: it is convex, so that they decide how
/// fast and not where it ends.
const RATE: f64 = 0.5;
const MOMENTUM: f64 = 0.9;
const DECAY: f64 = 1e-5;

/// Tokens in the order in which they matter.
#[derive(Clone, PartialEq)]
pub struct Ranking {
    order: Vec<u32>,  // the most important first
    counts: Vec<u32>, // of each token in the training rows
}

impl std::fmt::Debug for Ranking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ranking({} tokens)", self.order.len())
    }
}

impl Ranking {
    /// Ranks every token that is not special by
    /// `z(UI(t) ln(1 + count(t))) + z(max over c of <w_c - mean w, E_t - mean>)`, z in units of the
    /// standard deviation over the tokens of the training rows. The `w_c` are the weights of a
    /// softmax regression from a row's mean embedding to its class. Derived for this project.
    ///
    /// # Errors
    ///
    /// When there is no row, or the device fails.
    pub async fn new(
        table: &TokenTable,
        contribution: &ContributionTable,
        rows: &[(TokenIds, u32)],
        n_classes: usize,
    ) -> Result<Self, PrivacyError> {
        let stride = rows.len().div_ceil(ROWS_MAX).max(1);
        let sample: Vec<&(TokenIds, u32)> = rows.iter().step_by(stride).collect();
        let directions = directions(table, &sample, n_classes).await?;
        let ids = (0..table.vocab_size()).filter_map(|id| u32::try_from(id).ok());
        let candidates: Vec<u32> = ids.filter(|id| !table.is_special(*id)).collect();
        let seen = |id: &u32| contribution.count(*id) > 0;
        let frequency = |id: u32| contribution.rank(id).max(0.0);
        let direction = |id: u32| f64::from(directions[id as usize]);
        let units = |score: &dyn Fn(u32) -> f64| {
            let scores = candidates.iter().filter(|id| seen(id)).map(|id| score(*id));
            spread(&scores.collect::<Vec<_>>())
        };
        let (by_frequency, by_direction) = (units(&frequency), units(&direction));
        let score = |id: u32| frequency(id) / by_frequency + direction(id) / by_direction;
        let mut order: Vec<(f64, u32)> = candidates.iter().map(|id| (score(*id), *id)).collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let ids = (0..table.vocab_size()).filter_map(|id| u32::try_from(id).ok());
        Ok(Self {
            order: order.into_iter().map(|(_, id)| id).collect(),
            counts: ids.map(|id| contribution.count(id)).collect(),
        })
    }

    /// The first tokens of the order that together make up at most `share` of all tokens of the
    /// training rows.
    pub fn top_by_occurrence(&self, share: f64) -> &[u32] {
        let mut left = share * self.total();
        let beyond = self.order.iter().position(|token| {
            left -= f64::from(self.counts[*token as usize]);
            left < 0.0
        });
        &self.order[..beyond.unwrap_or(self.order.len())]
    }

    /// The share of all tokens of the training rows that are one of these.
    pub fn share<'a>(&self, tokens: impl IntoIterator<Item = &'a u32>) -> f64 {
        let counts = tokens
            .into_iter()
            .filter_map(|token| self.counts.get(*token as usize));
        counts.copied().map(f64::from).sum::<f64>() / self.total()
    }

    /// The tokens that matter most and occur in the training rows.
    pub fn top(&self, count: usize) -> Vec<u32> {
        let seen = |token: &&u32| self.counts[**token as usize] > 0;
        self.order
            .iter()
            .filter(seen)
            .take(count)
            .copied()
            .collect()
    }

    fn total(&self) -> f64 {
        let all: f64 = self.counts.iter().copied().map(f64::from).sum();
        all.max(1.0)
    }

    /// A ranking by hand.
    #[cfg(test)]
    pub(super) fn of(order: Vec<u32>, counts: Vec<u32>) -> Self {
        Self { order, counts }
    }
}

/// Standard deviation; 1 where there is none.
fn spread(values: &[f64]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
    if square > 0.0 { square.sqrt() } else { 1.0 }
}

/// `max over c of <w_c - mean w, E_t - mean>` of every token t, `[vocab_size]`.
async fn directions(
    table: &TokenTable,
    rows: &[&(TokenIds, u32)],
    n_classes: usize,
) -> Result<Vec<f32>, PrivacyError> {
    if rows.is_empty() {
        return Err(PrivacyError::NothingToRank);
    }
    let d_model = table.d_model();
    let mut means = Vec::with_capacity(rows.len() * d_model);
    for rows in rows.chunks(MEANS_ROWS) {
        means.extend(mean_embeddings(table, rows).await?);
    }
    let mut targets = vec![0.0f32; rows.len() * n_classes];
    for (target, (_, class)) in targets.chunks_exact_mut(n_classes).zip(rows) {
        if let Some(target) = target.get_mut(*class as usize) {
            *target = 1.0;
        }
    }
    let center = columns_mean(&means, d_model);
    for row in means.chunks_exact_mut(d_model) {
        row.iter_mut().zip(&center).for_each(|(v, c)| *v -= c);
    }
    let device = table.device();
    let x = Tensor::from_data(TensorData::new(means, [rows.len(), d_model]), &device);
    let y = Tensor::from_data(TensorData::new(targets, [rows.len(), n_classes]), &device);
    let weights = softmax_regression(&x, &y);
    let weights = weights.clone() - weights.mean_dim(1); // one direction a class, their sum 0
    let center = Tensor::<2>::from_data(TensorData::new(center, [1, d_model]), &device);
    let offsets = center.matmul(weights.clone()); // [1, n_classes]
    let scores = (table.products(weights) - offsets).max_dim(1);
    Ok(read(scores).await?)
}

/// The mean embedding of each row's tokens, row-major.
async fn mean_embeddings(
    table: &TokenTable,
    rows: &[&(TokenIds, u32)],
) -> Result<Vec<f32>, PrivacyError> {
    let d_model = table.d_model();
    let ids: Vec<u32> = rows.iter().flat_map(|(ids, _)| ordinary_ids(ids)).collect();
    let embeddings = table.rows(&ids).await?;
    let mut embeddings = embeddings.chunks_exact(d_model);
    let mut means = vec![0.0; rows.len() * d_model];
    for (mean, (tokens, _)) in means.chunks_exact_mut(d_model).zip(rows) {
        let length = ordinary_ids(tokens).count();
        for embedding in embeddings.by_ref().take(length) {
            for (mean, value) in mean.iter_mut().zip(embedding) {
                *mean += value / length as f32;
            }
        }
    }
    Ok(means)
}

fn columns_mean(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = (values.len() / columns).max(1) as f32;
    let mut mean = vec![0.0; columns];
    for row in values.chunks_exact(columns) {
        mean.iter_mut().zip(row).for_each(|(m, v)| *m += v / rows);
    }
    mean
}

/// The weights of `softmax(x W)` nearest to `y`, with a light decay: gradient descent with momentum
/// on rows scaled to a mean square norm of 1. No intercept: x is centred.
///
/// # Shapes
///
/// - x: `[rows, d_model]`, y: `[rows, n_classes]`
/// - output: `[d_model, n_classes]`
fn softmax_regression(x: &Tensor<2>, y: &Tensor<2>) -> Tensor<2> {
    let [rows, d_model] = x.dims();
    let n_classes = y.dims()[1];
    let square = x.clone().square().mean().mul_scalar(d_model as f64);
    let x = x.clone() / square.sqrt().clamp_min(1e-12).unsqueeze::<2>();
    let transposed = x.clone().transpose().div_scalar(rows as f64);
    let mut weights = Tensor::<2>::zeros([d_model, n_classes], &x.device());
    let mut velocity = weights.clone();
    for _ in 0..STEPS {
        let error = softmax(x.clone().matmul(weights.clone()), 1) - y.clone();
        let gradient = transposed.clone().matmul(error) + weights.clone().mul_scalar(DECAY);
        velocity = velocity.mul_scalar(MOMENTUM) + gradient;
        weights = weights - velocity.clone().mul_scalar(RATE);
    }
    weights
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;

    use super::super::token::tests::{example, token_table};
    use super::*;

    /// Token 5 speaks for class 0 and token 9 for class 1; the others occur in both alike.
    #[test]
    fn words_that_tell_the_classes_apart_come_first() {
        let rows: Vec<(TokenIds, u32)> = (0..40)
            .map(|row| {
                let class = row % 2;
                let telling = [5, 9][class as usize];
                let filler = 20 + row / 2;
                (example(&[0, telling, filler, 30, 1], 1).tokens, class)
            })
            .collect();
        let table = token_table();
        let counted = rows.iter().map(|(tokens, class)| (tokens, *class));
        let contribution = ContributionTable::from_rows(counted, 2, table.vocab_size());
        let ranking = Ranking::new(&table, &contribution, &rows, 2);
        let ranking = ranking.now_or_never().unwrap().unwrap();
        let mut first = ranking.top(2);
        first.sort_unstable();
        assert_eq!(first, [5, 9]);
        assert!(ranking.order.iter().all(|id| *id > 1)); // special tokens are not ranked
        assert_eq!(ranking.order.len(), table.vocab_size() - 2);
    }

    #[test]
    fn a_share_of_the_occurrences_is_filled_from_the_top() {
        let ranking = Ranking::of(vec![2, 1, 0], vec![4, 0, 6]);
        assert_eq!(ranking.top_by_occurrence(0.6), [2, 1]); // 6 of 10, and what never occurs
        assert_eq!(ranking.top_by_occurrence(0.5), [0u32; 0]);
        assert_eq!(ranking.top_by_occurrence(1.0), [2, 1, 0]);
        assert_eq!(ranking.share(&[2, 1]), 0.6);
        assert_eq!(ranking.top(2), [2, 0]);
    }
}

//! The token-embedding table as a metric space: which token is nearest to a vector.
//!
//! Mechanisms search here, calibration measures here; nothing here is private or random.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::eta::PrivacyError;
use crate::model::{BottomModel, DeviceFailed, is_on_cpu};
use crate::parallel::for_row_pairs;

/// A changed token counts as near when it is among this many nearest neighbours of the original.
pub const NEIGHBOURS: usize = 10;

/// Rows searched at a time: bounds the `[rows, vocab_size]` matrix of scores to about 30 MB.
pub const ROWS: usize = 256;

/// Never the nearest: added to the score of tokens that cannot come out.
const EXCLUDED: f32 = 1e30;

/// The embedding table of a bottom, ready to be searched.
#[derive(Debug)]
pub struct TokenTable {
    table: Tensor<2>,      // [vocab_size, d_model]
    half_norms: Tensor<2>, // [1, vocab_size]: ||E_w||^2 / 2, or EXCLUDED
    d_model: usize,
    special_ids: Vec<u32>,
}

impl TokenTable {
    /// Prepares the search over the embedding table of `bottom`; `special_ids` are never found.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn new(bottom: &BottomModel, special_ids: &[u32]) -> Result<Self, PrivacyError> {
        Self::over(bottom.word_table().clone(), special_ids).await
    }

    /// The same over a table that is given.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn over(table: Tensor<2>, special_ids: &[u32]) -> Result<Self, PrivacyError> {
        let [vocab_size, d_model] = table.dims();
        let norms = read(table.clone().powi_scalar(2).sum_dim(1).mul_scalar(0.5)).await?;
        let mut half_norms = norms;
        for id in special_ids {
            if let Some(norm) = half_norms.get_mut(*id as usize) {
                *norm = EXCLUDED;
            }
        }
        let shape = TensorData::new(half_norms, [1, vocab_size]);
        Ok(Self {
            half_norms: Tensor::from_data(shape, &table.device()),
            table,
            d_model,
            special_ids: special_ids.to_vec(),
        })
    }

    /// Tokens of the table.
    pub fn vocab_size(&self) -> usize {
        self.table.dims()[0]
    }

    /// Width of the table.
    pub fn d_model(&self) -> usize {
        self.d_model
    }

    /// The embedding rows of some tokens, row-major.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn rows(&self, ids: &[u32]) -> Result<Vec<f32>, DeviceFailed> {
        let ids: Vec<i32> = ids.iter().map(|id| id.cast_signed()).collect();
        let count = ids.len();
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [count]), &self.device());
        read(self.table.clone().select(0, ids)).await
    }

    /// The nearest token of each row, `argmin over w of ||E_w - row||`.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn nearest(&self, rows: Vec<f32>) -> Result<Vec<u32>, DeviceFailed> {
        let products = self.inner_products(rows);
        if is_on_cpu(&products) {
            return self.nearest_on_cpu(products).await;
        }
        let ids = (self.half_norms.clone() - products).argmin(1);
        let data = ids.into_data_async().await.map_err(|_| DeviceFailed)?;
        Ok(data
            .iter::<i64>()
            .map(|id| u32::try_from(id).unwrap_or(0))
            .collect())
    }

    /// Difference and smallest number in one pass over the products, on all cores.
    async fn nearest_on_cpu(&self, products: Tensor<2>) -> Result<Vec<u32>, DeviceFailed> {
        let [count, vocab_size] = products.dims();
        let (half_norms, mut products) = (self.half_norms().await?, read(products).await?);
        let mut nearest = vec![0; count];
        for_row_pairs(
            (&mut products, vocab_size),
            (&mut nearest, 1),
            |_, rows, ids| {
                for (row, id) in rows.chunks_exact(vocab_size).zip(ids) {
                    *id = smallest_difference(&half_norms, row);
                }
            },
        );
        Ok(nearest)
    }

    /// The `NEIGHBOURS` nearest tokens of each row, and with them the row's own token where it is
    /// one; in no order.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn neighbours(&self, rows: Vec<f32>) -> Result<Vec<Vec<u32>>, DeviceFailed> {
        let scores = read(self.scores(rows)).await?;
        Ok(scores
            .chunks_exact(self.vocab_size())
            .map(|scores| {
                let mut order: Vec<u32> = (0..scores.len())
                    .filter_map(|i| u32::try_from(i).ok())
                    .collect();
                let by_score =
                    |a: &u32, b: &u32| scores[*a as usize].total_cmp(&scores[*b as usize]);
                let count = (NEIGHBOURS + 1).min(order.len());
                if count < order.len() {
                    order.select_nth_unstable_by(count, by_score);
                }
                order.truncate(count);
                order
            })
            .collect())
    }

    /// `||E_w||^2 / 2 - <row, E_w>`: the squared distance, halved and without the row's own norm;
    /// `[rows, vocab_size]`.
    fn scores(&self, rows: Vec<f32>) -> Tensor<2> {
        self.half_norms.clone() - self.inner_products(rows)
    }

    /// Squared distances `||E_w - row||^2` without the row's own norm, read back, row-major
    /// `[rows, vocab_size]`; very large for tokens that are never found.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn distances(&self, rows: Vec<f32>) -> Result<Vec<f32>, DeviceFailed> {
        read(self.scores(rows).mul_scalar(2.0)).await
    }

    /// `<row, E_w>`, `[rows, vocab_size]`.
    pub(super) fn inner_products(&self, rows: Vec<f32>) -> Tensor<2> {
        let count = rows.len() / self.d_model;
        let rows =
            Tensor::<2>::from_data(TensorData::new(rows, [count, self.d_model]), &self.device());
        rows.matmul(self.table.clone().transpose())
    }

    /// `||E_w||^2 / 2` of every token that can be found, and a very large number for the others.
    pub(super) async fn half_norms(&self) -> Result<Vec<f32>, DeviceFailed> {
        read(self.half_norms.clone()).await
    }

    /// Whether a norm is that of a token that is never found.
    pub(super) fn is_excluded(half_norm: f32) -> bool {
        half_norm >= EXCLUDED
    }

    /// `E W`, `[vocab_size, columns]`, for W `[d_model, columns]`.
    pub(super) fn products(&self, columns: Tensor<2>) -> Tensor<2> {
        self.table.clone().matmul(columns)
    }

    /// Whether a token is special: neither goes in nor comes out.
    pub fn is_special(&self, token: u32) -> bool {
        self.special_ids.contains(&token)
    }

    /// Where it is.
    pub(super) fn device(&self) -> Device {
        self.table.device()
    }
}

/// The index of the smallest `left - right`, the first of equal ones.
#[inline(always)]
fn smallest_difference(left: &[f32], right: &[f32]) -> u32 {
    const LANES: usize = 16;
    let (mut least, mut parts) = ([f32::INFINITY; LANES], [0u32; LANES]);
    let both = left.chunks(LANES).zip(right.chunks(LANES));
    for ((left, right), part) in both.zip(0..) {
        let lanes = least.iter_mut().zip(&mut parts);
        for (((least, of_part), left), right) in lanes.zip(left).zip(right) {
            let difference = left - right;
            let smaller = difference < *least;
            *least = if smaller { difference } else { *least };
            *of_part = if smaller { part } else { *of_part };
        }
    }
    let ids = parts
        .iter()
        .zip(0..)
        .map(|(part, lane)| part * LANES as u32 + lane);
    let least = least.iter().zip(ids);
    let least = least.min_by(|a, b| a.0.total_cmp(b.0).then(a.1.cmp(&b.1)));
    least.map_or(0, |(_, id)| id)
}

/// Reads a tensor back.
pub(super) async fn read(tensor: Tensor<2>) -> Result<Vec<f32>, DeviceFailed> {
    let data = tensor.into_data_async().await.map_err(|_| DeviceFailed)?;
    data.try_into_vec::<f32>().map_err(|_| DeviceFailed)
}

#[cfg(test)]
mod tests {
    use super::smallest_difference;

    #[test]
    fn the_smallest_difference_is_found_wherever_it_is() {
        let left = vec![1.0; 53];
        for at in [0, 1, 15, 16, 47, 48, 52] {
            let mut right = vec![0.0; 53];
            right[at] = 0.5;
            assert_eq!(smallest_difference(&left, &right), at as u32);
        }
        let mut right = vec![0.0; 53];
        (right[20], right[35]) = (0.5, 0.5);
        assert_eq!(smallest_difference(&left, &right), 20);
    }
}

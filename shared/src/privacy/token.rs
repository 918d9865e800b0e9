//! The mechanism `token`: noise on the token's embedding, then the nearest token.

use std::collections::BTreeMap;
use std::fmt;

use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::CryptoRng;

use super::eta::{Eta, PrivacyError};
use super::noise;
use crate::model::{BottomModel, DeviceFailed};
use crate::text::TokenIds;

/// Token ids after the mechanism. Like the ids before it they have no way to the wire; only what
/// the bottom makes of them does.
///
/// ```
/// fn stays_here(_: shared::privacy::PrivatizedTokenIds) {}
/// ```
///
/// ```compile_fail,E0277
/// fn stays_here(_: impl serde::Serialize) {}
/// fn leak(ids: shared::privacy::PrivatizedTokenIds) { stays_here(ids) }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PrivatizedTokenIds(TokenIds);

impl PrivatizedTokenIds {
    /// The ids, for the bottom model and the preview on this device.
    pub fn token_ids(&self) -> &TokenIds {
        &self.0
    }
}

impl fmt::Debug for PrivatizedTokenIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivatizedTokenIds({} tokens)", self.0.ids().len())
    }
}

/// What became of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// A special token; never perturbed.
    Special,
    /// The same token came out.
    Unchanged,
    /// One of its `NEIGHBOURS` nearest tokens came out.
    Near,
    /// Any other token came out.
    Far,
}

/// A changed token counts as near when it is among this many nearest neighbours of the original.
pub const NEIGHBOURS: usize = 10;

/// Rows searched at a time: bounds the `[rows, vocab_size]` matrix of scores to about 30 MB.
const ROWS: usize = 256;

/// Never the nearest: added to the score of tokens that cannot come out.
const EXCLUDED: f32 = 1e30;

/// `argmin over w of ||E_w - (E_x + z)||` over the vocabulary without special tokens. Source:
/// method.md, section 2.
///
/// # Guarantee
///
/// Metric differential privacy with parameter eta for one token, over the Euclidean distance of the
/// rows of the embedding table; all that follows is post-processing. Special tokens and the number
/// of tokens are not protected.
#[derive(Debug)]
pub struct TokenPrivatizer {
    table: Tensor<2>,      // [vocab_size, d_model]
    half_norms: Tensor<2>, // [1, vocab_size]: ||E_w||^2 / 2, or EXCLUDED
    d_model: usize,
}

impl TokenPrivatizer {
    /// Prepares the search over the embedding table of `bottom`; `special_ids` can neither go in
    /// nor come out.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn new(bottom: &BottomModel, special_ids: &[u32]) -> Result<Self, PrivacyError> {
        Self::over(bottom.word_table().clone(), special_ids).await
    }

    async fn over(table: Tensor<2>, special_ids: &[u32]) -> Result<Self, PrivacyError> {
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
        })
    }

    /// Releases some examples: one independent draw a token, from the example's own generator.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn privatize<R: CryptoRng>(
        &self,
        examples: &mut [(TokenIds, R)],
        eta: Eta,
    ) -> Result<Vec<PrivatizedTokenIds>, PrivacyError> {
        let mut owners = Vec::new();
        let mut ordinary = Vec::new();
        for (owner, (example, _)) in examples.iter().enumerate() {
            ordinary.extend(ordinary_ids(example));
            owners.resize(ordinary.len(), owner);
        }
        let mut nearest = Vec::with_capacity(ordinary.len());
        for (ids, owners) in ordinary.chunks(ROWS).zip(owners.chunks(ROWS)) {
            let mut rows = self.rows(ids).await?;
            for (row, owner) in rows.chunks_exact_mut(self.d_model).zip(owners) {
                noise::add(row, eta, &mut examples[*owner].1);
            }
            nearest.extend(self.nearest(rows).await?);
        }
        let mut nearest = nearest.into_iter();
        examples
            .iter()
            .map(|(example, _)| {
                let ids = example.ids().iter().zip(example.special());
                let ids = ids.map(|(id, special)| {
                    if *special {
                        *id
                    } else {
                        nearest.next().unwrap_or(*id)
                    }
                });
                Ok(PrivatizedTokenIds(example.with_ids(ids.collect())?))
            })
            .collect()
    }

    /// Says of each token what became of it.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn changes(
        &self,
        before: &TokenIds,
        after: &PrivatizedTokenIds,
    ) -> Result<Vec<Change>, PrivacyError> {
        let pairs = || before.ids().iter().zip(after.0.ids()).zip(before.special());
        let mut changed: Vec<u32> = pairs()
            .filter(|((old, new), special)| !**special && old != new)
            .map(|((old, _), _)| *old)
            .collect();
        changed.sort_unstable();
        changed.dedup();
        let mut neighbours = BTreeMap::new();
        for ids in changed.chunks(ROWS) {
            let rows = self.rows(ids).await?;
            neighbours.extend(ids.iter().copied().zip(self.neighbours(rows).await?));
        }
        Ok(pairs()
            .map(|((old, new), special)| match neighbours.get(old) {
                _ if *special => Change::Special,
                _ if old == new => Change::Unchanged,
                Some(near) if near.contains(new) => Change::Near,
                _ => Change::Far,
            })
            .collect())
    }

    /// The embedding rows of some tokens, row-major.
    pub(super) async fn rows(&self, ids: &[u32]) -> Result<Vec<f32>, DeviceFailed> {
        let ids: Vec<i32> = ids.iter().map(|id| id.cast_signed()).collect();
        let count = ids.len();
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [count]), &self.device());
        read(self.table.clone().select(0, ids)).await
    }

    async fn nearest(&self, rows: Vec<f32>) -> Result<Vec<u32>, DeviceFailed> {
        let ids = self.scores(rows).argmin(1);
        let data = ids.into_data_async().await.map_err(|_| DeviceFailed)?;
        Ok(data
            .iter::<i64>()
            .map(|id| u32::try_from(id).unwrap_or(0))
            .collect())
    }

    /// The nearest tokens of each row, the row's own token first.
    async fn neighbours(&self, rows: Vec<f32>) -> Result<Vec<Vec<u32>>, DeviceFailed> {
        let scores = read(self.scores(rows)).await?;
        let [_, vocab_size] = self.half_norms.dims();
        Ok(scores
            .chunks_exact(vocab_size)
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

    /// `||E_w||^2 / 2 - <row, E_w>`: the squared distance, halved and without the row's own norm.
    fn scores(&self, rows: Vec<f32>) -> Tensor<2> {
        self.half_norms.clone() - self.inner_products(rows) // [rows, vocab_size]
    }

    /// `<row, E_w>`, `[rows, vocab_size]`.
    pub(super) fn inner_products(&self, rows: Vec<f32>) -> Tensor<2> {
        let count = rows.len() / self.d_model;
        let rows =
            Tensor::<2>::from_data(TensorData::new(rows, [count, self.d_model]), &self.device());
        rows.matmul(self.table.clone().transpose())
    }

    /// `||E_w||^2 / 2` of every token that can come out, and a very large number for the others.
    pub(super) async fn half_norms(&self) -> Result<Vec<f32>, DeviceFailed> {
        read(self.half_norms.clone()).await
    }

    /// Whether a norm is that of a token that cannot come out.
    pub(super) fn is_excluded(half_norm: f32) -> bool {
        half_norm >= EXCLUDED
    }

    /// Width of the table.
    pub(super) fn d_model(&self) -> usize {
        self.d_model
    }

    fn device(&self) -> Device {
        self.table.device()
    }
}

/// The ids that the mechanism perturbs: all but special tokens.
pub fn ordinary_ids(example: &TokenIds) -> impl Iterator<Item = u32> + '_ {
    example
        .ids()
        .iter()
        .zip(example.special())
        .filter(|(_, special)| !**special)
        .map(|(id, _)| *id)
}

/// Reads a tensor back.
pub(super) async fn read(tensor: Tensor<2>) -> Result<Vec<f32>, DeviceFailed> {
    let data = tensor.into_data_async().await.map_err(|_| DeviceFailed)?;
    data.try_into_vec::<f32>().map_err(|_| DeviceFailed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use futures_util::FutureExt;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    pub(in crate::privacy) const VOCAB: usize = 60;
    pub(in crate::privacy) const DIM: usize = 16;
    const SPECIAL: [u32; 2] = [0, 1];

    pub(in crate::privacy) fn table() -> Vec<f32> {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let normal = |_| -> f32 { StandardNormal.sample(&mut rng) };
        (0..VOCAB * DIM).map(normal).collect()
    }

    pub(in crate::privacy) fn privatizer() -> TokenPrivatizer {
        let data = TensorData::new(table(), [VOCAB, DIM]);
        let table = Tensor::<2>::from_data(data, &Device::flex());
        TokenPrivatizer::over(table, &SPECIAL)
            .now_or_never()
            .unwrap()
            .unwrap()
    }

    pub(in crate::privacy) fn privatized(ids: &[u32], eta: f64, seed: u64) -> PrivatizedTokenIds {
        let special = ids.iter().map(|id| SPECIAL.contains(id)).collect();
        let tokens = TokenIds::new(ids.to_vec(), vec![0; ids.len()], special).unwrap();
        let mut examples = [(tokens, ChaCha20Rng::seed_from_u64(seed))];
        let privatizer = privatizer();
        let released = privatizer.privatize(&mut examples, Eta::new(eta).unwrap());
        released.now_or_never().unwrap().unwrap().remove(0)
    }

    /// Fails with another distance, another order of draws, or noise shared between tokens.
    #[test]
    fn the_nearest_token_to_the_noisy_embedding_comes_out() {
        let ids: Vec<u32> = (2..VOCAB as u32).collect();
        let eta = Eta::new(6.0).unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(9);
        let table = table();
        let row = |id: u32| &table[id as usize * DIM..(id as usize + 1) * DIM];
        let expected: Vec<u32> = ids
            .iter()
            .map(|id| {
                let mut noisy = row(*id).to_vec();
                noise::add(&mut noisy, eta, &mut rng);
                let distance = |other: u32| -> f32 {
                    row(other)
                        .iter()
                        .zip(&noisy)
                        .map(|(a, b)| (a - b) * (a - b))
                        .sum()
                };
                let others = (0..VOCAB as u32).filter(|other| !SPECIAL.contains(other));
                others
                    .min_by(|a, b| distance(*a).total_cmp(&distance(*b)))
                    .unwrap()
            })
            .collect();
        assert_eq!(privatized(&ids, 6.0, 9).token_ids().ids(), expected);
        assert_ne!(ids, expected);
    }

    #[test]
    fn special_tokens_stay_and_never_come_out() {
        let ids: Vec<u32> = [0].into_iter().chain(2..VOCAB as u32).chain([1]).collect();
        let released = privatized(&ids, 0.1, 3);
        let (first, rest) = released.token_ids().ids().split_first().unwrap();
        let (last, inner) = rest.split_last().unwrap();
        assert_eq!((*first, *last), (0, 1));
        assert!(inner.iter().all(|id| !SPECIAL.contains(id)));
    }

    #[test]
    fn with_almost_no_noise_nothing_changes() {
        let ids = [2, 3, 4];
        let before = TokenIds::new(ids.to_vec(), vec![0; 3], vec![false; 3]).unwrap();
        let after = privatized(&ids, 1e6, 1);
        let changes = privatizer()
            .changes(&before, &after)
            .now_or_never()
            .unwrap()
            .unwrap();
        assert_eq!(changes, [Change::Unchanged; 3]);
    }

    #[test]
    fn a_debug_print_holds_no_ids() {
        assert_eq!(
            format!("{:?}", privatized(&[7, 8], 1.0, 1)),
            "PrivatizedTokenIds(2 tokens)"
        );
    }
}

//! The best candidates of every released row, without a matrix of all pairs in memory.

use burn::tensor::{Tensor, TensorData};

use super::attack::{Attacker, AuditError, pause};
use super::parallel::*;
use super::released::Released;
use crate::model::{BottomModel, CutActivations, DeviceFailed, TokenBatch};
use crate::text::TokenIds;

/// Numbers of one matrix of products: 32 MB.
const PRODUCTS_MAX: usize = 8 << 20;

/// Texts that the bottom runs at a time.
const TEXTS: usize = 16;

/// What released rows are compared with.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // one a search; a box would only hide its size
pub enum Candidates {
    /// One vector a token, wherever it stands: `vectors` is `[tokens, d_model]`.
    Anywhere {
        /// The vectors.
        vectors: Tensor<2>,
        /// Whose they are.
        tokens: Vec<u32>,
    },
    /// The bottom's own output for each token at each position, which is exact at cut 0: no other
    /// position has a say there.
    ByPosition,
}

/// A released row beside a candidate, as far as their inner product tells.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// The candidate's token.
    pub token: u32,
    /// `<h, c>`
    pub inner: f32,
    /// `||h||^2`
    pub row_square: f32,
    /// `||c||^2`
    pub candidate_square: f32,
}

impl Pair {
    /// `||h - c||^2`
    pub fn squared_distance(&self) -> f32 {
        (self.row_square - 2.0 * self.inner + self.candidate_square).max(0.0)
    }

    /// The pair with the candidate shortened to a norm, as a clipping client does.
    #[must_use]
    pub fn clipped(self, norm_max: f32) -> Self {
        let scale = (norm_max / self.candidate_square.sqrt().max(f32::MIN_POSITIVE)).min(1.0);
        Self {
            inner: self.inner * scale,
            candidate_square: self.candidate_square * scale * scale,
            ..self
        }
    }
}

/// A token and how well it fits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// The token.
    pub token: u32,
    /// Larger is better.
    pub score: f32,
}

/// The best few, best first; a token stands in it once, with its best score.
#[derive(Debug, Clone, Default)]
pub struct Best(Vec<Scored>);

impl Best {
    /// Takes a candidate if it is among the best `top`; minus infinity never is.
    pub fn offer(&mut self, top: usize, token: u32, score: f32) {
        let full = self.0.len() == top;
        if score == f32::NEG_INFINITY || score.is_nan() {
            return;
        }
        if full && self.0.last().is_some_and(|last| score <= last.score) {
            return;
        }
        if let Some(at) = self.0.iter().position(|scored| scored.token == token) {
            if self.0[at].score >= score {
                return;
            }
            self.0.remove(at);
        } else if full {
            self.0.pop();
        }
        let at = self.0.partition_point(|scored| scored.score >= score);
        self.0.insert(at, Scored { token, score });
    }

    /// Gives them away, best first.
    pub fn into_vec(self) -> Vec<Scored> {
        self.0
    }
}

/// The tokens alone, at most `top`.
pub fn tokens_of(best: &[Scored], top: usize) -> Vec<u32> {
    best.iter().take(top).map(|scored| scored.token).collect()
}

/// The best `top` candidates of each row of each example. A score of minus infinity excludes.
///
/// # Errors
///
/// When the bottom cannot take its own vocabulary, or the device fails.
pub async fn best(
    candidates: &Candidates,
    attacker: &Attacker<'_>,
    released: &Released,
    top: usize,
    score: &(impl Fn(Pair) -> f32 + Sync),
) -> Result<Vec<Vec<Vec<Scored>>>, AuditError> {
    let lists = match candidates {
        Candidates::Anywhere { vectors, tokens } => {
            anywhere((vectors, tokens), attacker, released, top, score).await?
        }
        Candidates::ByPosition => by_position(attacker, released, top, score).await?,
    };
    let ranked = |rows: Vec<Best>| rows.into_iter().map(Best::into_vec).collect();
    Ok(lists.into_iter().map(ranked).collect())
}

/// Empty lists for each row of each example.
fn empty(released: &Released) -> Vec<Vec<Best>> {
    let lengths = released.activations.seq_lengths().iter();
    lengths
        .map(|length| vec![Best::default(); usize::from(*length)])
        .collect()
}

async fn anywhere(
    (vectors, tokens): (&Tensor<2>, &[u32]),
    attacker: &Attacker<'_>,
    released: &Released,
    top: usize,
    score: &(impl Fn(Pair) -> f32 + Sync),
) -> Result<Vec<Vec<Best>>, AuditError> {
    let d_model = released.activations.d_model();
    let device = vectors.device();
    let squares = read(vectors.clone().square().sum_dim(1)).await?;
    let transposed = vectors.clone().transpose();
    let mut lists = empty(released);
    let mut flat: Vec<&mut Best> = lists.iter_mut().flatten().collect();
    let block = (PRODUCTS_MAX / tokens.len().max(1)).max(1);
    let (values, total) = (released.activations.values(), flat.len().max(1));
    for (done, (best, rows)) in flat
        .chunks_mut(block)
        .zip(values.chunks(block * d_model))
        .enumerate()
    {
        let data = TensorData::new(rows.to_vec(), [best.len(), d_model]);
        let products = Tensor::<2>::from_data(data, &device).matmul(transposed.clone());
        let products = read(products).await?;
        best.par_iter_mut()
            .zip(rows.par_chunks_exact(d_model))
            .zip(products.par_chunks_exact(tokens.len()))
            .for_each(|((best, row), products)| {
                let row_square = square(row);
                for ((token, inner), candidate) in tokens.iter().zip(products).zip(&squares) {
                    let pair = Pair {
                        token: *token,
                        inner: *inner,
                        row_square,
                        candidate_square: *candidate,
                    };
                    best.offer(top, *token, score(pair));
                }
            });
        (attacker.progress)(((done + 1) * block) as f64 / total as f64);
        pause().await;
    }
    Ok(lists)
}

async fn by_position(
    attacker: &Attacker<'_>,
    released: &Released,
    top: usize,
    score: &(impl Fn(Pair) -> f32 + Sync),
) -> Result<Vec<Vec<Best>>, AuditError> {
    let config = attacker.bottom.config();
    let device = attacker.bottom.device();
    let mut lists = empty(released);
    let examples: Vec<&[f32]> = released.examples().collect();
    let (rows, seq) = padded(released, &examples);
    if seq == 0 {
        return Ok(lists);
    }
    let shape = [seq, examples.len(), config.d_model];
    let rows = Tensor::<3>::from_data(TensorData::new(rows, shape), device);
    let width = examples.len().max(config.d_model) * seq;
    let chunk = (PRODUCTS_MAX / width).clamp(1, config.vocab_size);
    let vocabulary: Vec<u32> = (0..).take(config.vocab_size).collect();
    let kinds = kinds(attacker);
    let total = kinds.len() * vocabulary.len();
    let mut done = 0;
    for kind in kinds {
        for tokens in vocabulary.chunks(chunk) {
            let vectors = at_every_position(attacker.bottom, tokens, seq, kind)?;
            let squares = vectors.clone().square().sum_dim(2); // [seq, tokens, 1]
            let squares = read(squares.reshape([seq, tokens.len()])).await?;
            let products = rows.clone().matmul(vectors.swap_dims(1, 2)); // [seq, examples, tokens]
            let products = read(products.reshape([seq * examples.len(), tokens.len()])).await?;
            let n = examples.len();
            lists
                .par_iter_mut()
                .zip(&examples)
                .enumerate()
                .for_each(|(example, (list, rows))| {
                    let rows = rows.chunks_exact(config.d_model);
                    for ((position, best), row) in list.iter_mut().enumerate().zip(rows) {
                        let row_square = square(row);
                        let line = (position * n + example) * tokens.len();
                        let products = &products[line..line + tokens.len()];
                        let squares = &squares[position * tokens.len()..][..tokens.len()];
                        for ((token, inner), candidate) in tokens.iter().zip(products).zip(squares)
                        {
                            let pair = Pair {
                                token: *token,
                                inner: *inner,
                                row_square,
                                candidate_square: *candidate,
                            };
                            best.offer(top, *token, score(pair));
                        }
                    }
                });
            done += tokens.len();
            (attacker.progress)(done as f64 / total as f64);
            pause().await;
        }
    }
    Ok(lists)
}

/// The rows by position, then by example, `[seq, examples, d_model]`, zeros behind an example's
/// end.
fn padded(released: &Released, examples: &[&[f32]]) -> (Vec<f32>, usize) {
    let d_model = released.activations.d_model();
    let lengths = released.activations.seq_lengths().iter();
    let seq = lengths.map(|l| usize::from(*l)).max().unwrap_or(0);
    let mut rows = vec![0.0; seq * examples.len() * d_model];
    for (example, values) in examples.iter().enumerate() {
        for (position, row) in values.chunks_exact(d_model).enumerate() {
            let at = (position * examples.len() + example) * d_model;
            rows[at..at + d_model].copy_from_slice(row);
        }
    }
    (rows, seq)
}

/// Segments that a row may belong to: the second only where texts come in pairs.
fn kinds(attacker: &Attacker<'_>) -> Vec<u8> {
    let pairs = |tokens: &TokenIds| tokens.type_ids().contains(&1);
    match attacker.public.iter().any(pairs) {
        true => vec![0, 1],
        false => vec![0],
    }
}

/// The bottom's output for each token at each of `seq` positions, `[seq, tokens, d_model]`.
fn at_every_position(
    bottom: &BottomModel,
    tokens: &[u32],
    seq: usize,
    kind: u8,
) -> Result<Tensor<3>, AuditError> {
    let repeated: Vec<Vec<u32>> = tokens.iter().map(|token| vec![*token; seq]).collect();
    let kinds = vec![kind; seq];
    let examples: Vec<_> = repeated.iter().map(|ids| (&ids[..], &kinds[..])).collect();
    let batch = TokenBatch::new(&examples, bottom.config())?;
    let pass = bottom.pass(&batch, None);
    let rows = pass.of_one_length().ok_or(DeviceFailed)?; // all are `seq` long
    Ok(rows.swap_dims(0, 1))
}

/// Runs the bottom on clear tokens, as the attacker can with text of its own.
///
/// # Errors
///
/// When the bottom cannot take the tokens, or the device fails.
pub async fn clean(
    bottom: &BottomModel,
    tokens: &[TokenIds],
) -> Result<CutActivations, AuditError> {
    let mut all = CutActivations {
        values: Vec::new(),
        seq_lengths: Vec::new(),
        d_model: bottom.config().d_model,
    };
    for texts in tokens.chunks(TEXTS) {
        let examples: Vec<_> = texts.iter().map(|t| (t.ids(), t.type_ids())).collect();
        let batch = TokenBatch::new(&examples, bottom.config())?;
        let activations = bottom.activations(&batch).await?;
        all.values.extend(activations.values);
        all.seq_lengths.extend(activations.seq_lengths);
    }
    Ok(all)
}

/// The mean clean activation of each token that occurs in public text.
///
/// # Errors
///
/// Without public text, or when the device fails.
pub async fn centroids(attacker: &Attacker<'_>) -> Result<Candidates, AuditError> {
    let config = attacker.bottom.config();
    let mut sums = vec![0.0f32; config.vocab_size * config.d_model];
    let mut counts = vec![0u32; config.vocab_size];
    for texts in attacker.public.chunks(TEXTS) {
        let activations = clean(attacker.bottom, texts).await?;
        pause().await;
        let ids = texts.iter().flat_map(|text| text.ids());
        for (id, row) in ids.zip(activations.values().chunks_exact(config.d_model)) {
            let at = *id as usize;
            counts[at] += 1;
            let sum = &mut sums[at * config.d_model..][..config.d_model];
            sum.iter_mut()
                .zip(row)
                .for_each(|(sum, value)| *sum += value);
        }
    }
    let mut vectors = Vec::new();
    let mut tokens = Vec::new();
    for ((token, count), sum) in (0..).zip(&counts).zip(sums.chunks_exact(config.d_model)) {
        if *count > 0 {
            tokens.push(token);
            vectors.extend(sum.iter().map(|value| value / *count as f32));
        }
    }
    if tokens.is_empty() {
        let reason = "there is no public text to learn from";
        return Err(AuditError::NotApplicable { reason });
    }
    let data = TensorData::new(vectors, [tokens.len(), config.d_model]);
    let vectors = Tensor::from_data(data, attacker.bottom.device());
    Ok(Candidates::Anywhere { vectors, tokens })
}

/// Reads a matrix back.
pub(super) async fn read(tensor: Tensor<2>) -> Result<Vec<f32>, DeviceFailed> {
    let data = tensor.into_data_async().await.map_err(|_| DeviceFailed)?;
    data.try_into_vec::<f32>().map_err(|_| DeviceFailed)
}

fn square(row: &[f32]) -> f32 {
    row.iter().map(|value| value * value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_stand_first_and_no_token_twice() {
        let mut best = Best::default();
        let offers = [(1, 0.5), (2, 0.9), (1, 0.7), (3, 0.1), (4, 0.8), (2, 0.3)];
        for (token, score) in offers {
            best.offer(3, token, score);
        }
        best.offer(3, 5, f32::NEG_INFINITY);
        let best = best.into_vec();
        assert_eq!(tokens_of(&best, 5), [2, 4, 1]);
        assert_eq!(tokens_of(&best, 1), [2]);
    }

    #[test]
    fn a_pair_knows_its_distance_with_and_without_clipping() {
        // h = (3, 4), c = (6, 8): they lie 5 apart, and 0 when c is clipped to norm 5.
        let pair = Pair {
            token: 0,
            inner: 50.0,
            row_square: 25.0,
            candidate_square: 100.0,
        };
        assert_eq!(pair.squared_distance(), 25.0);
        assert_eq!(pair.clipped(5.0).squared_distance(), 0.0);
        assert_eq!(pair.clipped(20.0).squared_distance(), 25.0);
    }
}

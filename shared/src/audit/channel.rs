//! How likely each original token is behind a sanitized one: `Pr[M(x) = w]`.

use std::collections::{BTreeSet, HashMap};

use burn::tensor::{Int, Tensor, TensorData};

use super::attack::{Attacker, AuditError, TokenEta, pause};
use super::parallel::*;
use super::prior::Unigrams;
use super::search::{Best, Scored, read};
use super::statistics::normal_tail;
use crate::text::TokenIds;

/// Distances computed at a time.
const DISTANCES_MAX: usize = 8 << 20;

/// Public texts that the attacker releases itself, to learn what a mechanism does.
const SIMULATED_TEXTS_MAX: usize = 400;

/// Eta beyond which no distance between two tokens leaves a chance.
const ETA_MAX: f64 = 1e9;

/// Weight of what is expected of a token beside what was counted of it.
const EXPECTED_WEIGHT: f64 = 1.0;

/// The most likely originals of each sanitized token, with `ln p(x) + ln Pr[M(x) = w]`.
pub type Originals = HashMap<u32, Vec<Scored>>;

/// By the law of the mechanism `token`: noise `p(z) ~ exp(-eta ||z||)`, then the nearest token.
///
/// Along one direction such noise is nearly normal with deviation `sqrt(dim) / eta`, so token c
/// beats x with probability `q_c = Q(eta ||E_c - E_x|| / (2 sqrt(dim)))`. The attack takes
/// `Pr[M(x) = x] = exp(-k sum q)` and shares the rest out in proportion to `q_w`; k is set so that
/// the expected share of unchanged tokens is that of releases which the attacker simulates on
/// public text. Source: derived here. An approximation makes an attack weaker, never wrong.
///
/// # Errors
///
/// When the device fails, or public text cannot be released.
pub async fn by_law(
    attacker: &Attacker<'_>,
    eta: &TokenEta,
    prior: &Unigrams,
    sanitized: &[TokenIds],
    top: usize,
) -> Result<Originals, AuditError> {
    let special = attacker.special_mask();
    let is_ordinary = |token: &u32| special.get(*token as usize).is_some_and(|flag| !flag);
    let seen: BTreeSet<u32> = sanitized.iter().flat_map(TokenIds::ids).copied().collect();
    let outputs: Vec<u32> = seen.iter().copied().filter(is_ordinary).collect();
    let possible: BTreeSet<u32> = prior.seen().iter().copied().filter(is_ordinary).collect();
    let possible: Vec<u32> = possible
        .union(&outputs.iter().copied().collect())
        .copied()
        .collect();
    let table = Table::of(attacker, &special).await?;
    let scale = |token: u32| {
        let eta = eta.at(token).min(ETA_MAX); // a token that is left as it is has an infinite one
        eta / (2.0 * (table.d_model as f64).sqrt())
    };
    let beaten = table.sums(attacker, &possible, &scale).await?;
    let k = decay(attacker, &possible, &beaten).await?;
    let stays: Vec<f64> = beaten.iter().map(|sum| (-k * sum).exp()).collect();

    let mut originals = Originals::new();
    for special in seen.iter().filter(|token| !is_ordinary(token)) {
        let token = *special;
        originals.insert(token, vec![Scored { token, score: 0.0 }]);
    }
    let block = (DISTANCES_MAX / possible.len().max(1)).max(1);
    for outputs in outputs.chunks(block) {
        let distances = table.distances(outputs, &possible).await?;
        let lines = distances.par_chunks_exact(possible.len().max(1));
        let ranked: Vec<Vec<Scored>> = lines
            .zip(outputs)
            .map(|(line, output)| {
                let mut best = Best::default();
                for (at, original) in possible.iter().enumerate() {
                    let (stay, sum) = (stays[at], beaten[at]);
                    let chance = if original == output {
                        stay
                    } else {
                        let q = normal_tail(scale(*original) * f64::from(line[at]));
                        (1.0 - stay) * q / sum.max(f64::MIN_POSITIVE)
                    };
                    let score = f64::from(prior.ln(*original)) + chance.ln();
                    best.offer(top, *original, score as f32);
                }
                best.into_vec()
            })
            .collect();
        originals.extend(outputs.iter().copied().zip(ranked));
        pause().await;
    }
    Ok(originals)
}

/// By counting: the attacker releases public text itself and sees what becomes of each token.
///
/// `Pr[M(x) = w] = (n(x, w) + e(x, w)) / (n(x) + 1)`, where e expects of a token what all tokens
/// together do.
///
/// # Errors
///
/// When the mechanism is not one that works on tokens in place, or there is no public text.
pub async fn by_counting(
    attacker: &Attacker<'_>,
    prior: &Unigrams,
    sanitized: &[TokenIds],
    top: usize,
) -> Result<Originals, AuditError> {
    let (before, after) = simulated(attacker).await?;
    let mut pairs: HashMap<(u32, u32), f64> = HashMap::new();
    let mut firsts: HashMap<u32, f64> = HashMap::new();
    let mut changed: HashMap<u32, f64> = HashMap::new();
    let (mut all, mut unchanged) = (0.0, 0.0);
    for (x, w) in before.iter().zip(&after) {
        *pairs.entry((*x, *w)).or_insert(0.0) += 1.0;
        *firsts.entry(*x).or_insert(0.0) += 1.0;
        all += 1.0;
        if x == w {
            unchanged += 1.0;
        } else {
            *changed.entry(*w).or_insert(0.0) += 1.0;
        }
    }
    let moved = f64::max(all - unchanged, 1.0);
    let stay = unchanged / f64::max(all, 1.0);
    let seen: BTreeSet<u32> = sanitized.iter().flat_map(TokenIds::ids).copied().collect();
    Ok(seen
        .into_iter()
        .map(|output| {
            let mut best = Best::default();
            let spread = (1.0 - stay) * changed.get(&output).copied().unwrap_or(0.0) / moved;
            let candidates = prior.seen().iter().copied().chain([output]);
            for original in candidates {
                let expected = if original == output { stay } else { spread };
                let counted = pairs.get(&(original, output)).copied().unwrap_or(0.0);
                let of = firsts.get(&original).copied().unwrap_or(0.0);
                let chance = (counted + EXPECTED_WEIGHT * expected) / (of + EXPECTED_WEIGHT);
                let score = f64::from(prior.ln(original)) + chance.ln();
                best.offer(top, original, score as f32);
            }
            (output, best.into_vec())
        })
        .collect())
}

/// Public tokens before and after a simulated release, special ones left out.
async fn simulated(attacker: &Attacker<'_>) -> Result<(Vec<u32>, Vec<u32>), AuditError> {
    let texts = &attacker.public[..attacker.public.len().min(SIMULATED_TEXTS_MAX)];
    let none = AuditError::NotApplicable {
        reason: "the attacker cannot simulate what becomes of a word: it has no public text, or \
                 the mechanism does not replace words in place",
    };
    if texts.is_empty() || !attacker.simulator.keeps_positions() {
        return Err(none);
    }
    let released = attacker.simulator.release(texts, attacker.seed).await?;
    let Some(sanitized) = released.sanitized else {
        return Err(none);
    };
    let pairs = texts.iter().zip(&sanitized).flat_map(|(before, after)| {
        let pairs = before.ids().iter().zip(after.ids()).zip(before.special());
        pairs
            .filter(|(_, special)| !**special)
            .map(|((x, w), _)| (*x, *w))
    });
    Ok(pairs.unzip())
}

/// The k of [`by_law`]: 1 where nothing can be simulated.
async fn decay(
    attacker: &Attacker<'_>,
    possible: &[u32],
    beaten: &[f64],
) -> Result<f64, AuditError> {
    let (before, after) = match simulated(attacker).await {
        Ok(pairs) => pairs,
        Err(AuditError::NotApplicable { .. }) => return Ok(1.0),
        Err(error) => return Err(error),
    };
    let sums: HashMap<u32, f64> = possible
        .iter()
        .copied()
        .zip(beaten.iter().copied())
        .collect();
    let known: Vec<f64> = before.iter().filter_map(|x| sums.get(x).copied()).collect();
    let unchanged = before.iter().zip(&after).filter(|(x, w)| x == w).count();
    let share = unchanged as f64 / before.len().max(1) as f64;
    let expected =
        |k: f64| known.iter().map(|sum| (-k * sum).exp()).sum::<f64>() / known.len().max(1) as f64;
    let (mut low, mut high) = (-6.0f64, 6.0f64); // of log10 k
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if expected(10f64.powf(middle)) > share {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(10f64.powf(0.5 * (low + high)))
}

/// The embedding table with what its distances need.
struct Table {
    vectors: Tensor<2>, // [vocab_size, d_model]
    squares: Vec<f32>,
    ordinary: Vec<u32>,
    d_model: usize,
}

impl Table {
    async fn of(attacker: &Attacker<'_>, special: &[bool]) -> Result<Self, AuditError> {
        let vectors = attacker.bottom.word_table().clone();
        let [_, d_model] = vectors.dims();
        let tokens = (0..).zip(special).filter(|(_, special)| !**special);
        Ok(Self {
            squares: read(vectors.clone().square().sum_dim(1)).await?,
            ordinary: tokens.map(|(token, _)| token).collect(),
            vectors,
            d_model,
        })
    }

    fn rows(&self, tokens: &[u32]) -> Tensor<2> {
        let ids: Vec<i32> = tokens.iter().map(|token| token.cast_signed()).collect();
        let ids = TensorData::new(ids, [tokens.len()]);
        let ids = Tensor::<1, Int>::from_data(ids, &self.vectors.device());
        self.vectors.clone().select(0, ids)
    }

    /// `||E_a - E_b||`, `[firsts, seconds]`.
    async fn distances(&self, firsts: &[u32], seconds: &[u32]) -> Result<Vec<f32>, AuditError> {
        let products = self.rows(firsts).matmul(self.rows(seconds).transpose());
        let mut distances = read(products).await?;
        distances
            .par_chunks_exact_mut(seconds.len().max(1))
            .zip(firsts)
            .for_each(|(line, first)| {
                let own = self.squares[*first as usize];
                for (value, second) in line.iter_mut().zip(seconds) {
                    let square = own + self.squares[*second as usize] - 2.0 * *value;
                    *value = square.max(0.0).sqrt();
                }
            });
        Ok(distances)
    }

    /// `sum over c of Q(scale ||E_c - E_x||)` for each x, c over all other tokens.
    async fn sums(
        &self,
        attacker: &Attacker<'_>,
        tokens: &[u32],
        scale: &(impl Fn(u32) -> f64 + Sync),
    ) -> Result<Vec<f64>, AuditError> {
        let block = (DISTANCES_MAX / self.ordinary.len().max(1)).max(1);
        let mut sums = Vec::with_capacity(tokens.len());
        for tokens_of_block in tokens.chunks(block) {
            let distances = self.distances(tokens_of_block, &self.ordinary).await?;
            let lines = distances.par_chunks_exact(self.ordinary.len().max(1));
            sums.par_extend(lines.zip(tokens_of_block).map(|(line, token)| {
                let scale = scale(*token);
                let others = line.iter().zip(&self.ordinary);
                let others = others.filter(|(_, other)| *other != token);
                others
                    .map(|(distance, _)| normal_tail(scale * f64::from(*distance)))
                    .sum::<f64>()
            }));
            (attacker.progress)(sums.len() as f64 / tokens.len() as f64);
            pause().await;
        }
        Ok(sums)
    }
}

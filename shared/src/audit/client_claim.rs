//! CLAIM on the client itself: its releases of single words, through the simulator.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::attack::{Attacker, AuditError, NoiseLaw, TokenEta};
use super::claim::{self, ClaimCheck};
use super::prior::Unigrams;
use super::released::Released;
use super::search::{Candidates, Pair, best, clean};
use crate::model::CutActivations;
use crate::privacy::{Eta, noise};
use crate::text::TokenIds;

/// Words that are looked at.
const WORDS: usize = 4;

/// Releases of each.
const RELEASES: usize = 600;

/// Draws of the sampler in few dimensions.
const LAW_DRAWS: usize = 20_000;

/// Checks what the client claims; nothing for a law without a claim.
///
/// # Errors
///
/// When a word cannot be released, or the device fails.
pub(super) async fn checks(attacker: &Attacker<'_>) -> Result<Vec<ClaimCheck>, AuditError> {
    let words = words(attacker);
    let mut checks = Vec::new();
    match attacker.simulator.noise() {
        NoiseLaw::None | NoiseLaw::Other => {}
        NoiseLaw::Embedding { eta } => {
            let Some(first) = words.first() else {
                return Ok(checks);
            };
            checks.extend(laws(eta.at(*first), attacker.seed)?);
            checks.extend(replaced(attacker, &eta, &words).await?);
        }
        NoiseLaw::Cut { eta, norm_max } => {
            let Some(first) = words.first() else {
                return Ok(checks);
            };
            checks.extend(laws(eta.at(*first), attacker.seed)?);
            checks.extend(perturbed(attacker, &eta, norm_max, &words).await?);
        }
    }
    Ok(checks)
}

/// Frequent words of public text.
fn words(attacker: &Attacker<'_>) -> Vec<u32> {
    let prior = Unigrams::of(attacker.public, attacker.bottom.config().vocab_size);
    prior.most_frequent(WORDS, &attacker.special_mask())
}

fn laws(eta: f64, seed: u64) -> Result<Vec<ClaimCheck>, AuditError> {
    let law = Eta::new(eta)?;
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut check = |dim| {
        claim::law(eta, dim, LAW_DRAWS, |point| {
            noise::add(point, law, &mut rng)
        })
    };
    Ok((1..=3).map(&mut check).collect())
}

/// A text of one word, as the tokenizer would write it, and where the word stands in it.
fn alone(attacker: &Attacker<'_>, word: u32) -> Result<(TokenIds, usize), AuditError> {
    let frame = attacker.public.first().map_or(&[][..], TokenIds::ids);
    let is_special = |id: &&u32| attacker.special_ids.contains(id);
    let before: Vec<u32> = frame.iter().take_while(is_special).copied().collect();
    let behind = frame.iter().rev().take_while(is_special).take(1).copied();
    let at = before.len();
    let ids: Vec<u32> = before.into_iter().chain([word]).chain(behind).collect();
    let special = ids
        .iter()
        .map(|id| attacker.special_ids.contains(id))
        .collect();
    let types = vec![0; ids.len()];
    Ok((TokenIds::new(ids, types, special)?, at))
}

/// Many releases of one word.
async fn releases(
    attacker: &Attacker<'_>,
    word: u32,
) -> Result<(Released, TokenIds, usize), AuditError> {
    let (text, at) = alone(attacker, word)?;
    let texts = vec![text.clone(); RELEASES];
    let seed = attacker.seed.wrapping_add(u64::from(word));
    let released = attacker.simulator.release(&texts, seed).await?;
    Ok((released, text, at))
}

/// `vector` and its like: the length of the noise, and tails between two words.
async fn perturbed(
    attacker: &Attacker<'_>,
    eta: &TokenEta,
    norm_max: f64,
    words: &[u32],
) -> Result<Vec<ClaimCheck>, AuditError> {
    let d_model = attacker.bottom.config().d_model;
    let mut rows = Vec::new();
    for word in words {
        let (released, text, at) = releases(attacker, *word).await?;
        let own = clean(attacker.bottom, std::slice::from_ref(&text)).await?;
        let own = clipped(row(own.values(), at, d_model), norm_max);
        let noisy: Vec<Vec<f64>> = released
            .examples()
            .map(|example| {
                row(example, at, d_model)
                    .iter()
                    .map(|v| f64::from(*v))
                    .collect()
            })
            .collect();
        rows.push((*word, own, noisy));
    }
    let mut checks = Vec::new();
    let lengths = rows
        .iter()
        .flat_map(|(_, own, noisy)| noisy.iter().map(|noisy| distance(noisy, own)));
    let lengths: Vec<f64> = lengths.collect();
    let loudest = words.iter().map(|word| eta.at(*word)).fold(0.0, f64::max);
    checks.push(claim::radius(loudest, d_model, &lengths));
    for pair in rows.windows(2) {
        let [(_, far, far_noisy), (word, near, near_noisy)] = pair else {
            continue;
        };
        let apart = distance(near, far);
        let along = |draws: &[Vec<f64>]| -> Vec<f64> {
            let direction = near.iter().zip(far).map(|(a, b)| (a - b) / apart);
            let direction: Vec<f64> = direction.collect();
            let product = |draw: &Vec<f64>| draw.iter().zip(&direction).map(|(a, b)| a * b).sum();
            draws.iter().map(product).collect()
        };
        let found = claim::tail_bound(&along(near_noisy), &along(far_noisy), apart);
        let what = "released activations of two words: eta from tail events".to_owned();
        let allowed = eta.at(*word).max(loudest);
        checks.push(ClaimCheck::new(what, allowed, found, 2 * RELEASES));
    }
    Ok(checks)
}

/// `token` and its like: what comes out of two words, and how often a word stays.
async fn replaced(
    attacker: &Attacker<'_>,
    eta: &TokenEta,
    words: &[u32],
) -> Result<Vec<ClaimCheck>, AuditError> {
    let mut outputs: Vec<(u32, Vec<u32>)> = Vec::new();
    for word in words {
        let (released, _, at) = releases(attacker, *word).await?;
        let Some(sanitized) = released.sanitized else {
            return Ok(Vec::new());
        };
        let own = sanitized
            .iter()
            .filter_map(|text| text.ids().get(at).copied());
        outputs.push((*word, own.collect()));
    }
    let stayed = |(word, outputs): &(u32, Vec<u32>)| outputs.iter().filter(|o| *o == word).count();
    let client: usize = outputs.iter().map(stayed).sum();
    let mut expected = 0;
    for word in words {
        expected += independent(attacker, *word, eta.at(*word)).await?;
    }
    let draws = words.len() * RELEASES;
    let mut checks = vec![claim::unchanged((client, draws), (expected, draws))];
    let table = attacker.bottom.word_table().clone();
    let table = super::search::read(table).await?;
    let d_model = attacker.bottom.config().d_model;
    for pair in outputs.windows(2) {
        let [(other, of_other), (own, of_own)] = pair else {
            continue;
        };
        let vector = |word: u32| -> Vec<f64> {
            row(&table, word as usize, d_model)
                .iter()
                .map(|v| f64::from(*v))
                .collect()
        };
        let apart = distance(&vector(*own), &vector(*other));
        let found = claim::frequency_bound(of_own, of_other, apart);
        let what = "replacements of two words: eta from frequencies".to_owned();
        let allowed = eta.at(*own).max(eta.at(*other));
        checks.push(ClaimCheck::new(what, allowed, found, 2 * RELEASES));
    }
    Ok(checks)
}

/// How often a word stays under the claimed law, by a sampler that shares no code with the
/// client's.
async fn independent(attacker: &Attacker<'_>, word: u32, eta: f64) -> Result<usize, AuditError> {
    let table = attacker.bottom.word_table().clone();
    let config = attacker.bottom.config();
    let values = super::search::read(table.clone()).await?;
    let own = row(&values, word as usize, config.d_model);
    let mut rng = ChaCha20Rng::seed_from_u64(attacker.seed ^ 0x5eed);
    let noisy = (0..RELEASES).flat_map(|_| {
        let noise = other_noise(config.d_model, eta, &mut rng);
        own.iter()
            .zip(noise)
            .map(|(value, noise)| value + noise as f32)
            .collect::<Vec<f32>>()
    });
    let noisy = Released::new(CutActivations {
        values: noisy.collect(),
        seq_lengths: vec![1; RELEASES],
        d_model: config.d_model,
    });
    let tokens = (0..).take(config.vocab_size).collect();
    let candidates = Candidates::Anywhere {
        vectors: table,
        tokens,
    };
    let special = attacker.special_mask();
    let nearest = |pair: Pair| match special[pair.token as usize] {
        true => f32::NEG_INFINITY,
        false => -pair.squared_distance(),
    };
    let found = best(&candidates, attacker, &noisy, 1, &nearest).await?;
    let stayed = found.iter().flatten().flatten();
    Ok(stayed.filter(|scored| scored.token == word).count())
}

/// One draw of `p(z) ~ exp(-eta ||z||)`: the radius as a sum of exponentials, the direction by Box
/// and Muller.
fn other_noise(dim: usize, eta: f64, rng: &mut ChaCha20Rng) -> Vec<f64> {
    let mut uniform = || ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let radius: f64 = (0..dim).map(|_| -uniform().ln()).sum::<f64>() / eta;
    let normal: Vec<f64> = (0..dim)
        .map(|_| (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos())
        .collect();
    let norm = normal.iter().map(|v| v * v).sum::<f64>().sqrt();
    normal.into_iter().map(|v| v / norm * radius).collect()
}

fn row(values: &[f32], at: usize, d_model: usize) -> &[f32] {
    &values[at * d_model..(at + 1) * d_model]
}

fn clipped(row: &[f32], norm_max: f64) -> Vec<f64> {
    let norm = row
        .iter()
        .map(|v| f64::from(*v).powi(2))
        .sum::<f64>()
        .sqrt();
    let scale = (norm_max / norm.max(f64::MIN_POSITIVE)).min(1.0);
    row.iter().map(|v| f64::from(*v) * scale).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).powi(2))
        .sum::<f64>()
        .sqrt()
}

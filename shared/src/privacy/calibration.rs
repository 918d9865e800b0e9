//! From the protection level that a person chooses to the eta of a model.
//!
//! Copying eta from a paper is meaningless across models: what it does depends on the distances
//! between the rows of the embedding table.

use rand::CryptoRng;

use super::eta::{Eta, PrivacyError, Protection};
use super::nearest::{TokenTable, read};
use super::noise;

/// Tokens that the calibration of `token` draws: the share is then exact to about 2 points.
pub const SAMPLE: usize = 512;

/// Rows searched at a time.
const ROWS: usize = 128;

/// At which noise each sampled token would change: the whole curve "share changed by eta" from one
/// search.
///
/// With the noise of a token held as `z = w / eta` (w a draw for eta 1), token x changes to c when
/// `||E_c - E_x||^2 < 2 <w, E_c - E_x> / eta`. So x changes at all when
///
/// `eta < max over c of 2 <w, E_c - E_x> / ||E_c - E_x||^2`,
///
/// and the share of tokens that change at eta is the share of these thresholds above eta. Source:
/// derived here.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenCurve {
    thresholds: Vec<(f64, u32)>, // with the token that it is of; ascending
}

impl TokenCurve {
    /// Measures the curve on tokens as they occur in the user's data (`ids`, special tokens
    /// excluded).
    ///
    /// # Errors
    ///
    /// When there is no token, or the device fails.
    pub async fn measure(
        table: &TokenTable,
        ids: &[u32],
        rng: &mut impl CryptoRng,
    ) -> Result<Self, PrivacyError> {
        if ids.is_empty() {
            return Err(PrivacyError::NothingToCalibrate);
        }
        let sample: Vec<u32> = (0..SAMPLE)
            .map(|_| ids[(rng.next_u64() % ids.len() as u64) as usize])
            .collect();
        let half_norms = table.half_norms().await?;
        let mut thresholds = Vec::with_capacity(SAMPLE);
        for ids in sample.chunks(ROWS) {
            let measured = thresholds_of(table, ids, &half_norms, rng).await?;
            thresholds.extend(measured.into_iter().zip(ids.iter().copied()));
        }
        Ok(Self::sorted(thresholds))
    }

    fn sorted(mut thresholds: Vec<(f64, u32)>) -> Self {
        thresholds.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { thresholds }
    }

    /// The curve over `eta_0` when a token's eta is `eta_0` times its factor: it then changes when
    /// `eta_0` is below its threshold divided by the factor, and never when that is infinite.
    pub fn weighted(&self, factor: impl Fn(u32) -> f64) -> Self {
        let thresholds = self.thresholds.iter();
        Self::sorted(thresholds.map(|(at, id)| (at / factor(*id), *id)).collect())
    }

    /// The tokens that were measured, in no order that means anything.
    pub fn sample(&self) -> impl Iterator<Item = u32> + '_ {
        self.thresholds.iter().map(|(_, id)| *id)
    }

    /// The eta at which the given share of tokens changes.
    ///
    /// # Errors
    ///
    /// [`PrivacyError::OutOfReach`] when fewer tokens than that can change at all: the others are
    /// left as they are, or the model's table is degenerate (all rows equal).
    pub fn eta(&self, protection: Protection) -> Result<Eta, PrivacyError> {
        let above = (protection.get() * self.thresholds.len() as f64).round() as usize;
        let at = self.thresholds.len().saturating_sub(above.max(1));
        Eta::new(self.thresholds[at].0).map_err(|_| {
            let can_change = self.thresholds.iter().filter(|(at, _)| *at > 0.0).count();
            PrivacyError::OutOfReach {
                asked: protection.get(),
                reachable: can_change as f64 / self.thresholds.len() as f64,
            }
        })
    }

    /// The share of tokens expected to change at eta.
    pub fn share_changed(&self, eta: Eta) -> f64 {
        let above = self
            .thresholds
            .iter()
            .filter(|(threshold, _)| *threshold > eta.get())
            .count();
        above as f64 / self.thresholds.len() as f64
    }
}

async fn thresholds_of(
    table: &TokenTable,
    ids: &[u32],
    half_norms: &[f32],
    rng: &mut impl CryptoRng,
) -> Result<Vec<f64>, PrivacyError> {
    let dim = table.d_model();
    let rows = table.rows(ids).await?;
    let noise: Vec<f32> = ids
        .iter()
        .flat_map(|_| noise::unit(dim, rng))
        .map(|value| value as f32)
        .collect();
    let with_rows = read(table.inner_products(rows)).await?; // <E_x, E_c>
    let with_noise = read(table.inner_products(noise)).await?; // <w, E_c>
    let vocab_size = half_norms.len();
    let lines = with_rows
        .chunks_exact(vocab_size)
        .zip(with_noise.chunks_exact(vocab_size));
    Ok(ids
        .iter()
        .zip(lines)
        .map(|(id, (with_row, with_noise))| {
            let own = *id as usize;
            // <E_x, E_x> from the same product, so that an excluded token's own norm is not needed.
            let own_norm = f64::from(with_row[own]);
            (0..vocab_size)
                .filter(|c| *c != own && !TokenTable::is_excluded(half_norms[*c]))
                .map(|c| {
                    let distance =
                        2.0 * f64::from(half_norms[c]) + own_norm - 2.0 * f64::from(with_row[c]);
                    2.0 * f64::from(with_noise[c] - with_noise[own]) / distance.max(1e-9)
                })
                .fold(0.0, f64::max)
        })
        .collect())
}

/// The eta at which the noise of `vector` has the given length relative to the activations:
/// `dim / (r * mean norm)`.
///
/// # Errors
///
/// When the mean norm is not a positive number.
pub fn vector_eta(protection: Protection, dim: usize, mean_norm: f64) -> Result<Eta, PrivacyError> {
    Eta::new(dim as f64 / (protection.get() * mean_norm))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use futures_util::FutureExt;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::super::token::tests::{VOCAB, privatized, token_table};
    use super::*;

    fn curve() -> TokenCurve {
        let ids: Vec<u32> = (2..VOCAB as u32).collect();
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let table = token_table();
        TokenCurve::measure(&table, &ids, &mut rng)
            .now_or_never()
            .unwrap()
            .unwrap()
    }

    /// The curve is derived; this holds it against the mechanism itself.
    #[test]
    fn the_curve_says_what_the_mechanism_does() {
        let curve = curve();
        let ids: Vec<u32> = (2..VOCAB as u32).collect();
        for level in [0.2, 0.5, 0.8] {
            let eta = curve.eta(Protection::new(level).unwrap()).unwrap();
            let runs = 40;
            let changed: usize = (0..runs)
                .map(|seed| {
                    let released = privatized(&ids, eta.get(), seed);
                    let pairs = ids.iter().zip(released.ids());
                    pairs.filter(|(before, after)| before != after).count()
                })
                .sum();
            let share = changed as f64 / (runs as usize * ids.len()) as f64;
            // Four standard errors of 512 calibration draws: 4 * sqrt(0.25 / 512) = 0.09.
            assert!(
                (share - level).abs() < 0.09,
                "level {level}: {share} changed"
            );
            assert!((curve.share_changed(eta) - level).abs() < 0.01);
        }
    }

    #[test]
    fn a_factor_moves_the_curve_and_an_infinite_one_leaves_its_token() {
        let curve = curve();
        let eta = Eta::new(6.0).unwrap();
        let doubled = curve.weighted(|_| 2.0);
        let half = Eta::new(3.0).unwrap();
        assert_eq!(doubled.share_changed(half), curve.share_changed(eta));
        let left = curve.weighted(|_| f64::INFINITY);
        assert_eq!(left.share_changed(Eta::new(1e-9).unwrap()), 0.0);
    }

    /// Half of the tokens stay whatever eta is: 0.4 of all can change, 0.6 cannot.
    #[test]
    fn a_level_above_what_can_change_is_refused_with_what_can() {
        let curve = curve();
        let tokens: BTreeSet<u32> = curve.sample().collect();
        let stay: BTreeSet<u32> = tokens.into_iter().step_by(2).collect();
        let half = curve.weighted(|id| match stay.contains(&id) {
            true => f64::INFINITY,
            false => 1.0,
        });
        assert!(half.eta(Protection::new(0.4).unwrap()).is_ok());
        let refused = half.eta(Protection::new(0.6).unwrap());
        let Err(PrivacyError::OutOfReach { asked, reachable }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(asked, 0.6);
        assert!((reachable - 0.5).abs() < 0.1, "{reachable}");
    }

    #[test]
    fn more_protection_is_a_smaller_eta() {
        let curve = curve();
        let eta = |level| curve.eta(Protection::new(level).unwrap()).unwrap().get();
        assert!(eta(0.2) > eta(0.5) && eta(0.5) > eta(0.9));
    }

    #[test]
    fn vector_noise_is_relative_to_the_mean_norm() {
        // dim / eta = 0.5 * 10: eta = 384 / 5
        let eta = vector_eta(Protection::new(0.5).unwrap(), 384, 10.0).unwrap();
        assert!((eta.get() - 76.8).abs() < 1e-9);
    }
}

//! Elementary functions and sums in arithmetic that a compiler vectorises: no branch, no table, no
//! call, and an order of additions that fills a register.

/// The error function, to about 3e-7: an odd rational function, constant beyond 4.
///
/// The coefficients are those of the minimax approximation that Eigen uses
/// (`generic_fast_erf_float`).
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let numerator = [
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    let denominator = [
        -1.456_607_2e-5,
        -2.133_740_6e-4,
        -1.682_827e-3,
        -7.373_329_2e-3,
        -1.426_473_9e-2,
    ];
    let p = numerator
        .iter()
        .fold(0.0, |sum: f32, coefficient| sum * square + coefficient);
    let q = denominator
        .iter()
        .fold(0.0, |sum: f32, coefficient| sum * square + coefficient);
    x * p / q
}

/// The exponential of a number that is not positive, to about 2e-7.
///
/// `exp(x) = 2^k exp(r)`, `k` the integer nearest to `x / ln 2`, and a Taylor polynomial for
/// `|r| <= ln 2 / 2`.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // 1.5 * 2^23: adding it leaves the nearest integer in the mantissa.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.max(-87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = x - k * LN_2_HIGH - k * LN_2_LOW;
    let coefficients = [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    let power = coefficients
        .iter()
        .fold(0.0, |sum: f32, coefficient| sum * r + coefficient);
    let exponent = shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .wrapping_add(127)
        << 23;
    power * f32::from_bits(exponent)
}

/// Numbers that are folded side by side.
const LANES: usize = 16;

/// The sum of all numbers.
#[inline(always)]
pub(super) fn sum(values: &[f32]) -> f32 {
    fold(values, 0.0, |a, b| a + b)
}

/// The largest number; minus infinity where there is none.
#[inline(always)]
pub(super) fn max(values: &[f32]) -> f32 {
    fold(values, f32::NEG_INFINITY, f32::max)
}

/// The sum of the products of two rows of one length.
#[inline(always)]
pub(super) fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (left, right) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest = left.remainder().iter().zip(right.remainder());
    let rest: f32 = rest.map(|(a, b)| a * b).sum();
    for (left, right) in left.zip(right) {
        for ((lane, a), b) in lanes.iter_mut().zip(left).zip(right) {
            *lane += a * b;
        }
    }
    rest + lanes.iter().sum::<f32>()
}

/// `out += factor * row`
#[inline(always)]
pub(super) fn add_scaled(out: &mut [f32], factor: f32, row: &[f32]) {
    for (out, value) in out.iter_mut().zip(row) {
        *out += factor * value;
    }
}

#[inline(always)]
fn fold(values: &[f32], start: f32, fold: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let parts = values.chunks_exact(LANES);
    let rest = parts.remainder();
    for part in parts {
        for (lane, x) in lanes.iter_mut().zip(part) {
            *lane = fold(*lane, *x);
        }
    }
    let all = lanes.iter().chain(rest);
    all.fold(start, |a, b| fold(a, *b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_over_all_numbers() {
        let values: Vec<f32> = (1..=37).map(|at| at as f32).collect();
        assert_eq!(sum(&values), 703.0);
        assert_eq!(max(&values), 37.0);
        assert_eq!(dot(&values, &values), 17_575.0);
        assert_eq!((sum(&[]), dot(&[], &[])), (0.0, 0.0));
    }

    #[test]
    fn the_exponential_is_that_of_the_library() {
        for x in (0..=1_200).map(|at| -at as f32 / 100.0) {
            let (ours, theirs) = (exp(x), x.exp());
            assert!(
                (ours / theirs - 1.0).abs() < 3e-7,
                "{x}: {ours} against {theirs}"
            );
        }
        assert!(exp(-1000.0) < 1e-37);
    }
}

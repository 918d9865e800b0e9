//! The little statistics that an audit needs: intervals, tails, error function.

use serde::Serialize;

/// A mean over seeds with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Mean.
    pub mean: f64,
    /// Half the width of the interval, `t(0.975, n - 1) s / sqrt(n)`; none from one value.
    pub half_width: Option<f64>,
}

impl Interval {
    /// The interval of some values; none of none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n;
        let square = |value: &f64| (value - mean).powi(2);
        let half_width = (values.len() > 1).then(|| {
            let variance = values.iter().map(square).sum::<f64>() / (n - 1.0);
            t_quantile(values.len() - 1) * (variance / n).sqrt()
        });
        Some(Self { mean, half_width })
    }

    /// The interval of `1 - x`.
    #[must_use]
    pub fn complement(self) -> Self {
        Self {
            mean: 1.0 - self.mean,
            ..self
        }
    }
}

/// The 97.5 % quantile of Student's t, from the usual table; the normal one beyond it.
fn t_quantile(degrees: usize) -> f64 {
    const TABLE: [f64; 20] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    ];
    let at = degrees.saturating_sub(1);
    TABLE
        .get(at)
        .copied()
        .unwrap_or(if degrees < 60 { 2.080 } else { 2.000 })
}

/// Exact limits of a share, each wrong with probability `alpha / 2` at most.
///
/// The lower solves `I_p(k, n - k + 1) = alpha / 2`, the upper `I_p(k + 1, n - k) = 1 - alpha / 2`.
/// Source: Clopper and Pearson, Biometrika 26 (1934).
pub fn clopper_pearson(hits: usize, trials: usize, alpha: f64) -> (f64, f64) {
    let (k, n) = (hits.min(trials) as f64, trials as f64);
    let lower = match hits {
        0 => 0.0,
        _ => solve(|p| incomplete_beta(p, k, n - k + 1.0), alpha / 2.0),
    };
    let upper = match hits {
        _ if hits >= trials => 1.0,
        _ => solve(|p| incomplete_beta(p, k + 1.0, n - k), 1.0 - alpha / 2.0),
    };
    (lower, upper)
}

/// Where an increasing function on (0, 1) takes a value.
fn solve(function: impl Fn(f64) -> f64, value: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if function(middle) < value {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// `I_x(a, b)` by its continued fraction. Source: Abramowitz and Stegun, 26.5.8, evaluated by
/// Lentz's method.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let front =
        (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp() / a;
    const TINY: f64 = 1e-300;
    let guard = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..500 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / guard(1.0 + even * d);
        c = guard(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / guard(1.0 + odd * d);
        c = guard(1.0 + odd / c);
        let change = d * c;
        fraction *= change;
        if (change - 1.0).abs() < 1e-14 {
            break;
        }
    }
    front * fraction
}

/// `ln Gamma(x)` for positive x. Source: Lanczos' approximation with g = 7 and nine terms.
fn ln_gamma(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let t = x + 7.5;
    let terms = COEFFICIENTS.iter().zip(1..);
    let sum = terms.fold(0.999_999_999_999_809_9, |sum, (coefficient, at)| {
        sum + coefficient / (x + f64::from(at))
    });
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// `Pr[N(0, 1) > x]`, to a relative error of about 1e-7 for x >= 0.
///
/// Source: the rational Chebyshev fit `erfcc` of Numerical Recipes, section 6.2.
pub fn normal_tail(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 10] = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_87,
        -1.135_203_98,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_68,
        -1.265_512_23,
    ];
    let z = (x / std::f64::consts::SQRT_2).abs();
    let t = 1.0 / (1.0 + 0.5 * z);
    let polynomial = COEFFICIENTS.iter().fold(0.0, |sum, c| sum * t + c);
    let tail = 0.5 * t * (-z * z + polynomial).exp();
    if x >= 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_that_of_student() {
        // mean 2, s = 1, n = 3: 4.303 / sqrt(3)
        let interval = Interval::of(&[1.0, 2.0, 3.0]).unwrap();
        assert!((interval.half_width.unwrap() - 4.303 / 3f64.sqrt()).abs() < 1e-9);
        assert_eq!(interval.complement().mean, -1.0);
        assert_eq!(Interval::of(&[5.0]).unwrap().half_width, None);
        assert_eq!(Interval::of(&[]), None);
    }

    #[test]
    fn limits_of_a_share_are_exact() {
        // None of 10: the upper limit solves (1 - p)^10 = 0.025.
        let (lower, upper) = clopper_pearson(0, 10, 0.05);
        assert_eq!(lower, 0.0);
        assert!((upper - (1.0 - 0.025f64.powf(0.1))).abs() < 1e-9, "{upper}");
        let (lower, upper) = clopper_pearson(10, 10, 0.05);
        assert!((lower - 0.025f64.powf(0.1)).abs() < 1e-9 && upper == 1.0);
        // 1 of 2: I_p(1, 2) = 1 - (1 - p)^2, I_p(2, 1) = p^2.
        let (lower, upper) = clopper_pearson(1, 2, 0.05);
        assert!((lower - (1.0 - 0.975f64.sqrt())).abs() < 1e-9);
        assert!((upper - 0.975f64.sqrt()).abs() < 1e-9);
        // A large sample: p +- 1.96 sqrt(p q / n), to a few percent of the width.
        let (lower, upper) = clopper_pearson(5_000, 10_000, 0.05);
        assert!((lower - 0.4902).abs() < 2e-4 && (upper - 0.5098).abs() < 2e-4);
    }

    #[test]
    fn the_tail_of_the_normal_law() {
        for (x, expected) in [(0.0, 0.5), (1.0, 0.158_655_25), (-1.0, 0.841_344_75)] {
            assert!((normal_tail(x) - expected).abs() < 1e-7, "{x}");
        }
        assert!((normal_tail(5.0) / 2.866_515_7e-7 - 1.0).abs() < 1e-6);
    }
}

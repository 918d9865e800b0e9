//! Means over seeds and how sure they are.

use std::fmt;

/// The 0.975 quantile of Student's t for 1 to 30 degrees of freedom.
///
/// Source: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
const T_975: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// A mean over seeds with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) mean: f64,
    /// Half the width of the interval; none for one value, which tells nothing of its spread.
    pub(crate) half_width: Option<f64>,
}

impl Estimate {
    /// `mean +- t(0.975, n - 1) * s / sqrt(n)`, with `s` the standard deviation of the sample; none
    /// without a value.
    ///
    /// Beyond 31 values the quantile stays that of 31, so that the interval is a little too wide.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let half_width = (n > 1).then(|| {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            let deviation = (squares / (n - 1) as f64).sqrt();
            T_975[(n - 2).min(T_975.len() - 1)] * deviation / (n as f64).sqrt()
        });
        Some(Self { mean, half_width })
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.mean)?;
        match self.half_width {
            Some(half_width) => write!(f, " ± {half_width:.3}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Values 1, 2, 3: mean 2, s = 1, t(2) = 4.303, so 4.303 / sqrt(3) = 2.4843.
    #[test]
    fn the_interval_is_students() {
        let estimate = Estimate::of(&[1.0, 2.0, 3.0]).unwrap();
        assert!((estimate.mean - 2.0).abs() < 1e-12);
        assert!((estimate.half_width.unwrap() - 2.484_338).abs() < 1e-5);
        assert_eq!(estimate.to_string(), "2.000 ± 2.484");
        // 0.70, 0.74: s = 0.04 / sqrt(2), divided by sqrt(2) is 0.02, times 12.706.
        let two = Estimate::of(&[0.70, 0.74]).unwrap();
        assert!((two.half_width.unwrap() - 0.254_12).abs() < 1e-9);
    }

    #[test]
    fn one_value_has_no_interval_and_none_no_mean() {
        let one = Estimate::of(&[0.5]).unwrap();
        assert_eq!(one.half_width, None);
        assert_eq!(one.to_string(), "0.500");
        assert_eq!(Estimate::of(&[]), None);
    }

    /// 40 values, half 0 and half 1: s = sqrt(10 / 39), and t of 30 degrees of freedom, not 39.
    #[test]
    fn many_values_take_the_last_quantile() {
        let values: Vec<f64> = (0..40).map(|n| f64::from(n % 2)).collect();
        let expected = 2.042 * (10.0f64 / 39.0).sqrt() / 40.0f64.sqrt();
        let half_width = Estimate::of(&values).unwrap().half_width.unwrap();
        assert!((half_width - expected).abs() < 1e-12);
    }
}

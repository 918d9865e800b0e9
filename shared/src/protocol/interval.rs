//! Intervals of real numbers, for settings and for the sentences about them.

use std::fmt;

/// An interval of real numbers; NaN lies in none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    low: f64,
    low_included: bool,
    high: f64,
    high_included: bool,
}

impl Interval {
    /// From `low` to `high`, both included.
    pub const fn closed(low: f64, high: f64) -> Self {
        Self {
            low,
            low_included: true,
            high,
            high_included: true,
        }
    }

    /// From `low`, excluded, to `high`, included.
    pub const fn above(low: f64, high: f64) -> Self {
        Self {
            low,
            low_included: false,
            high,
            high_included: true,
        }
    }

    /// From `low`, included, to `high`, excluded.
    pub const fn below(low: f64, high: f64) -> Self {
        Self {
            low,
            low_included: true,
            high,
            high_included: false,
        }
    }

    /// Tells whether a number lies in the interval.
    pub fn contains(&self, number: f64) -> bool {
        let above = if self.low_included {
            number >= self.low
        } else {
            number > self.low
        };
        let below = if self.high_included {
            number <= self.high
        } else {
            number < self.high
        };
        above && below
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.low_included {
            "at least"
        } else {
            "above"
        };
        let close = if self.high_included {
            "at most"
        } else {
            "below"
        };
        write!(formatter, "{open} {} and {close} {}", self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_belong_as_they_say() {
        let contains = |interval: Interval| [0.0, 0.5, 1.0].map(|number| interval.contains(number));
        assert_eq!(contains(Interval::closed(0.0, 1.0)), [true, true, true]);
        assert_eq!(contains(Interval::above(0.0, 1.0)), [false, true, true]);
        assert_eq!(contains(Interval::below(0.0, 1.0)), [true, true, false]);
    }

    #[test]
    fn what_is_no_number_lies_nowhere() {
        let wide = Interval::closed(f64::MIN, f64::MAX);
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!wide.contains(number));
        }
    }
}

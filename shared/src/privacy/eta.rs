//! The parameter of the mechanisms, and the level that a person chooses instead.

use crate::model::{DeviceFailed, ModelError};
use crate::text::TextError;

/// Parameter of metric differential privacy, in 1/distance between embeddings. Larger means less
/// noise.
///
/// # Guarantee
///
/// `Pr[M(x) in S] <= exp(eta * d(x, x')) * Pr[M(x') in S]` for one token, d the Euclidean distance.
/// A text of n tokens is protected by n times as much. Samplers of continuous noise in floating
/// point are not exact; the guarantee is that of the ideal law.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Eta(f64);

impl Eta {
    /// Checks the value.
    ///
    /// # Errors
    ///
    /// When it is not a positive finite number.
    pub fn new(value: f64) -> Result<Self, PrivacyError> {
        if value.is_finite() && value > 0.0 {
            Ok(Self(value))
        } else {
            Err(PrivacyError::Eta { actual: value })
        }
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// This eta times a positive finite factor, kept within what a number can hold.
    pub(super) fn scaled(self, factor: f64) -> Self {
        Self((self.0 * factor).clamp(f64::MIN_POSITIVE, f64::MAX))
    }
}

/// What a person chooses: from 0 (nothing changes) to 1 (everything does), both excluded.
///
/// What it means is said in the table of mechanisms: for `token` the share of tokens that are
/// expected to change, for `vector` the relative noise `E||z|| / E||h||`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Protection(f64);

impl Protection {
    /// Checks the value.
    ///
    /// # Errors
    ///
    /// When it is not above 0 and below 1.
    pub fn new(value: f64) -> Result<Self, PrivacyError> {
        if value > 0.0 && value < 1.0 {
            Ok(Self(value))
        } else {
            Err(PrivacyError::Protection { actual: value })
        }
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// A mechanism cannot be set up or did not finish.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PrivacyError {
    /// Eta is out of range.
    #[error("eta is {actual}; a positive number is expected")]
    Eta {
        /// What came.
        actual: f64,
    },
    /// The protection level is out of range.
    #[error("the protection level is {actual}; a number above 0 and below 1 is expected")]
    Protection {
        /// What came.
        actual: f64,
    },
    /// No noise changes as many tokens as the protection level asks for.
    #[error(
        "a protection of {asked:.2} cannot be reached: at most {reachable:.2} of the words can \
         change, since the others are left as they are"
    )]
    OutOfReach {
        /// The level.
        asked: f64,
        /// The share of tokens that can change at all.
        reachable: f64,
    },
    /// The parameter of a reading of contribution is out of range.
    #[error("the parameter of the contribution reading is {actual}, which is out of its range")]
    Contribution {
        /// What came.
        actual: f64,
    },
    /// The table has no such mechanism.
    #[error("there is no mechanism of that name")]
    UnknownMechanism,
    /// The mechanism has no eta.
    #[error("this mechanism has no eta; choose a protection level")]
    NoEta,
    /// The mechanism ranks words by labels, and there are no labelled rows.
    #[error("this mechanism needs labelled rows to find the words that matter")]
    NothingToRank,
    /// The mechanism needs a token that stands for a blank.
    #[error("this model's tokenizer has no mask token, which this mechanism needs")]
    NoMask,
    /// Calibration needs tokens that can change.
    #[error("there is no token to calibrate with: the texts hold only special tokens")]
    NothingToCalibrate,
    /// The compute device failed.
    #[error(transparent)]
    Device(#[from] DeviceFailed),
    /// The model cannot take the tokens.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The ids do not fit together.
    #[error(transparent)]
    Text(#[from] TextError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_out_of_range_cannot_be_built() {
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Eta::new(value).is_err());
            assert!(Protection::new(value).is_err());
        }
        assert!(Protection::new(1.0).is_err());
        assert!(Protection::new(0.5).is_ok() && Eta::new(70.0).is_ok());
    }
}

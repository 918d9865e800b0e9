//! The first two stations of the path: text that stays here, and its tokens, that stay here too.
//!
//! `RawText -> TokenIds -> PrivatizedTokenIds -> CutActivations`. Neither type of this file can be serialized, printed
//! or turned into a wire type; the doc tests below hold that. Privatizing is `shared::privacy`'s, not done here.

use std::fmt;

use super::TextError;

/// Text of the owner, which stays on this device.
///
/// It is not serializable: this compiles,
///
/// ```
/// use serde::Serialize;
/// use shared::{protocol::tensor::TensorDescriptor, text::RawText};
///
/// fn goes_on_the_wire<T: Serialize>() {}
/// fn stays_here<T>() {}
/// goes_on_the_wire::<TensorDescriptor>();
/// stays_here::<RawText>();
/// ```
///
/// and this does not:
///
/// ```compile_fail,E0277
/// use serde::Serialize;
/// use shared::{protocol::tensor::TensorDescriptor, text::RawText};
///
/// fn goes_on_the_wire<T: Serialize>() {}
/// fn stays_here<T>() {}
/// goes_on_the_wire::<TensorDescriptor>();
/// goes_on_the_wire::<RawText>();
/// ```
///
/// It has no conversion to a wire type: this compiles,
///
/// ```
/// use shared::{protocol::tensor::TensorDescriptor, text::RawText};
///
/// fn becomes_wire<T: TryInto<TensorDescriptor>>() {}
/// fn stays_here<T>() {}
/// becomes_wire::<TensorDescriptor>();
/// stays_here::<RawText>();
/// ```
///
/// and this does not:
///
/// ```compile_fail,E0277
/// use shared::{protocol::tensor::TensorDescriptor, text::RawText};
///
/// fn becomes_wire<T: TryInto<TensorDescriptor>>() {}
/// fn stays_here<T>() {}
/// becomes_wire::<TensorDescriptor>();
/// becomes_wire::<RawText>();
/// ```
///
/// Nor can it be formatted by accident: this compiles,
///
/// ```
/// use shared::text::RawText;
///
/// assert_eq!(format!("{:?}", RawText::new("abc".to_owned())), "RawText(3 bytes)");
/// ```
///
/// and this does not:
///
/// ```compile_fail,E0277
/// use shared::text::RawText;
///
/// assert_eq!(format!("{}", RawText::new("abc".to_owned())), "RawText(3 bytes)");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RawText(String);

impl RawText {
    /// Takes a text into the keeping of this type.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Lends the text to code that stays on this device: the tokenizer, and the owner's own screen.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RawText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawText({} bytes)", self.0.len())
    }
}

/// The tokens of one text or pair, without padding; they stay on this device.
///
/// They are not serializable: this compiles,
///
/// ```
/// use serde::Serialize;
/// use shared::{protocol::tensor::TensorDescriptor, text::TokenIds};
///
/// fn goes_on_the_wire<T: Serialize>() {}
/// fn stays_here<T>() {}
/// goes_on_the_wire::<TensorDescriptor>();
/// stays_here::<TokenIds>();
/// ```
///
/// and this does not:
///
/// ```compile_fail,E0277
/// use serde::Serialize;
/// use shared::{protocol::tensor::TensorDescriptor, text::TokenIds};
///
/// fn goes_on_the_wire<T: Serialize>() {}
/// fn stays_here<T>() {}
/// goes_on_the_wire::<TensorDescriptor>();
/// goes_on_the_wire::<TokenIds>();
/// ```
///
/// They have no conversion to a wire type: this compiles,
///
/// ```
/// use shared::{protocol::tensor::TensorDescriptor, text::TokenIds};
///
/// fn becomes_wire<T: TryInto<TensorDescriptor>>() {}
/// fn stays_here<T>() {}
/// becomes_wire::<TensorDescriptor>();
/// stays_here::<TokenIds>();
/// ```
///
/// and this does not:
///
/// ```compile_fail,E0277
/// use shared::{protocol::tensor::TensorDescriptor, text::TokenIds};
///
/// fn becomes_wire<T: TryInto<TensorDescriptor>>() {}
/// fn stays_here<T>() {}
/// becomes_wire::<TensorDescriptor>();
/// becomes_wire::<TokenIds>();
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct TokenIds {
    ids: Vec<u32>,
    type_ids: Vec<u8>,
    special: Vec<bool>,
    truncated: bool,
}

impl TokenIds {
    /// Builds the tokens of one example from three lists of one length, `[seq]` each.
    ///
    /// # Errors
    /// [`TextError::LengthMismatch`] when the lists differ in length.
    pub fn new(ids: Vec<u32>, type_ids: Vec<u8>, special: Vec<bool>) -> Result<Self, TextError> {
        let expected = ids.len();
        for actual in [type_ids.len(), special.len()] {
            if actual != expected {
                return Err(TextError::LengthMismatch { expected, actual });
            }
        }
        Ok(Self {
            ids,
            type_ids,
            special,
            truncated: false,
        })
    }

    /// Keeps everything but the ids, which are replaced position by position.
    ///
    /// # Errors
    /// [`TextError::LengthMismatch`] when `ids` has another length.
    pub fn with_ids(&self, ids: Vec<u32>) -> Result<Self, TextError> {
        if ids.len() != self.len() {
            return Err(TextError::LengthMismatch {
                expected: self.len(),
                actual: ids.len(),
            });
        }
        Ok(Self {
            ids,
            ..self.clone()
        })
    }

    /// The named positions alone, in the order in which they are named.
    ///
    /// # Errors
    /// [`TextError::LengthMismatch`] when a position lies behind the last.
    pub fn keeping(&self, positions: &[usize]) -> Result<Self, TextError> {
        if let Some(beyond) = positions.iter().find(|at| **at >= self.len()) {
            return Err(TextError::LengthMismatch {
                expected: self.len(),
                actual: *beyond,
            });
        }
        Ok(Self {
            ids: positions.iter().map(|at| self.ids[*at]).collect(),
            type_ids: positions.iter().map(|at| self.type_ids[*at]).collect(),
            special: positions.iter().map(|at| self.special[*at]).collect(),
            truncated: self.truncated,
        })
    }

    /// Marks whether something was cut off to fit the longest sequence.
    pub(super) fn with_truncated(self, truncated: bool) -> Self {
        Self { truncated, ..self }
    }

    /// Indices into the vocabulary, `[seq]`.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Segment of each position, `[seq]`: 0 for the text, 1 for its pair.
    pub fn type_ids(&self) -> &[u8] {
        &self.type_ids
    }

    /// Positions that the tokenizer adds around every text (`[CLS]`, `[SEP]`), `[seq]`; they say nothing of the text.
    pub fn special(&self) -> &[bool] {
        &self.special
    }

    /// Whether the end of the text did not fit and is not in here.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// Number of positions.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no position at all.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

impl fmt::Debug for TokenIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenIds({} positions)", self.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn debug_shows_sizes_only() {
        let ids = TokenIds::new(vec![7777, 8888], vec![0, 1], vec![true, false]).unwrap();
        assert_eq!(format!("{ids:?}"), "TokenIds(2 positions)");
        assert_eq!(
            format!("{:?}", Some(RawText::new("é".into()))),
            "Some(RawText(2 bytes))"
        );
    }

    #[test]
    fn lists_of_different_length_are_refused() {
        let error = TokenIds::new(vec![1, 2], vec![0, 0], vec![false]).unwrap_err();
        assert_eq!(
            error,
            TextError::LengthMismatch {
                expected: 2,
                actual: 1
            }
        );
        let ids = TokenIds::new(vec![1, 2], vec![0, 1], vec![true, false]).unwrap();
        let error = ids.with_ids(vec![5, 6, 7]).unwrap_err();
        assert_eq!(
            error,
            TextError::LengthMismatch {
                expected: 2,
                actual: 3
            }
        );
    }

    #[test]
    fn with_ids_keeps_everything_but_the_ids() {
        let ids = TokenIds::new(vec![1, 2], vec![0, 1], vec![true, false]).unwrap();
        let replaced = ids.with_truncated(true).with_ids(vec![5, 6]).unwrap();
        assert_eq!(replaced.ids(), [5, 6]);
        assert_eq!(replaced.type_ids(), [0, 1]);
        assert_eq!(replaced.special(), [true, false]);
        assert!(replaced.truncated());
        let kept = replaced.keeping(&[1]).unwrap();
        assert_eq!((kept.ids(), kept.type_ids()), (&[6][..], &[1][..]));
        assert!(kept.truncated() && replaced.keeping(&[2]).is_err());
    }
}

//! Predictable randomness, so that an experiment can be repeated number by number.
//!
//! It protects nothing: whoever knows the seed can draw the same noise and take it away. Without a
//! seed all of a client's randomness is the system's.

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use sha2::{Digest, Sha256};

use crate::release::ReleaseKey;

/// Stands for all randomness of a client. For experiments on text that is public anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(u64);

/// What a client draws besides the noise of its releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Draw {
    /// The sample that a protection level becomes eta with.
    Calibration,
    /// Which rows train and which validate.
    Split,
    /// In which order the rows are sent.
    Order,
    /// Which rows an audit attacks.
    Attacked,
    /// The first values of what is trained here.
    Start,
    /// Dropout of the adapter in the bottom.
    Dropout,
    /// The noise on gradients that tell of labels.
    LabelNoise,
}

impl Seed {
    /// A seed from the command line.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The secret of the releases, which is none.
    pub fn release_key(self) -> ReleaseKey {
        ReleaseKey::from_bytes(self.bytes("noise"))
    }

    /// The generator of a draw; another draw has an independent one.
    pub(crate) fn rng(self, draw: Draw) -> ChaCha20Rng {
        ChaCha20Rng::from_seed(self.bytes(match draw {
            Draw::Calibration => "calibration",
            Draw::Split => "split",
            Draw::Order => "order",
            Draw::Attacked => "attacked",
            Draw::Start => "start",
            Draw::Dropout => "dropout",
            Draw::LabelNoise => "label noise",
        }))
    }

    /// `sha256(seed, purpose)`
    fn bytes(self, purpose: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.0.to_le_bytes());
        hash.update(purpose);
        hash.finalize().into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::Rng;
    use shared::text::RawText;

    use super::*;

    /// Breaks when a repeated experiment draws anew, or when two draws of one are the same.
    #[test]
    fn a_seed_fixes_every_draw_and_no_two_are_equal() {
        let text = RawText::new("a text".to_owned());
        let noise = |seed| {
            Seed::new(seed)
                .release_key()
                .rng(&[1], 0, &text, None)
                .next_u64()
        };
        let draw = |seed, draw| Seed::new(seed).rng(draw).next_u64();
        assert_eq!(noise(1), noise(1));
        assert_ne!(noise(1), noise(2));
        assert_eq!(draw(1, Draw::Split), draw(1, Draw::Split));
        assert_ne!(draw(1, Draw::Split), draw(2, Draw::Split));
        assert_ne!(draw(1, Draw::Split), draw(1, Draw::Order));
        assert_ne!(draw(1, Draw::Order), draw(1, Draw::Calibration));
        assert_ne!(draw(1, Draw::Order), draw(1, Draw::Attacked));
        assert_ne!(draw(1, Draw::Start), draw(1, Draw::Dropout));
        assert_ne!(draw(1, Draw::Start), draw(1, Draw::LabelNoise));
    }
}

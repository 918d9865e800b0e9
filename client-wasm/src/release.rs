//! One release per example: the noise of a text is a function of a secret, the text and the
//! settings.
//!
//! Whoever observes the same text twice under fresh noise can average it away. So a text gets the
//! same noise whenever it is released under the same settings: in the next epoch, in another run,
//! after a lost connection, when it is predicted twice. Under other settings it gets independent
//! noise, and the guarantees add up; nothing else would be sound, since two scaled copies of the
//! same noise cancel.

use rand::rngs::SysRng;
use rand::{SeedableRng, TryRng};
use rand_chacha::ChaCha20Rng;
use sha2::{Digest, Sha256};
use shared::text::RawText;

use crate::error::ClientError;

/// The secret behind all noise of a client. It never leaves the device and is not stored.
#[derive(Clone)]
pub struct ReleaseKey([u8; 32]);

impl std::fmt::Debug for ReleaseKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReleaseKey")
    }
}

impl ReleaseKey {
    /// A secret from the system's cryptographic generator (`crypto.getRandomValues` in the
    /// browser).
    ///
    /// # Errors
    ///
    /// When the system has no generator.
    pub fn from_system() -> Result<Self, ClientError> {
        let mut bytes = [0; 32];
        SysRng
            .try_fill_bytes(&mut bytes)
            .map_err(|_| ClientError::NoRandomness)?;
        Ok(Self(bytes))
    }

    /// A fixed secret, for tests and experiments only.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The generator for the release of one text: ChaCha20 seeded with
    /// `sha256(secret, the mechanism's parameters with its tag, cut, text, pair)`.
    pub fn rng(
        &self,
        parameters: &[u8],
        cut: usize,
        text: &RawText,
        pair: Option<&RawText>,
    ) -> ChaCha20Rng {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(parameters);
        hash.update((cut as u64).to_le_bytes());
        for text in [Some(text), pair] {
            let bytes = text.map(|text| text.expose().as_bytes());
            // The length first, so that two fields never read as one; a missing pair is not an
            // empty one.
            hash.update(
                bytes
                    .map_or(u64::MAX, |bytes| bytes.len() as u64)
                    .to_le_bytes(),
            );
            hash.update(bytes.unwrap_or_default());
        }
        ChaCha20Rng::from_seed(hash.finalize().into())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::Rng;

    use super::*;

    fn first(parameters: &[u8], cut: usize, text: &str, pair: Option<&str>) -> u64 {
        let pair = pair.map(|pair| RawText::new(pair.to_owned()));
        let text = RawText::new(text.to_owned());
        ReleaseKey::from_bytes([7; 32])
            .rng(parameters, cut, &text, pair.as_ref())
            .next_u64()
    }

    #[test]
    fn the_same_text_gets_the_same_noise_and_nothing_else_does() {
        let reference = first(&[1, 80], 0, "ab", None);
        assert_eq!(reference, first(&[1, 80], 0, "ab", None));
        assert_ne!(reference, first(&[1, 81], 0, "ab", None));
        assert_ne!(reference, first(&[1, 80], 1, "ab", None));
        assert_ne!(reference, first(&[1, 80], 0, "a", Some("b")));
        assert_ne!(reference, first(&[1, 80], 0, "ab", Some("")));
    }

    #[test]
    fn two_keys_from_the_system_differ() {
        let keys = [
            ReleaseKey::from_system().unwrap(),
            ReleaseKey::from_system().unwrap(),
        ];
        assert_ne!(keys[0].0, keys[1].0);
    }
}

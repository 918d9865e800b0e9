//! The bearer token: `ctl_`, 32 hexadecimal digits that name it and 64 of its secret.

use std::fmt;
use std::str::FromStr;

use rand::TryRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::hex::{hex, unhex};
use crate::state::TokenKey;

/// What a token begins with, so that people and scanners of secrets know it.
const PREFIX: &str = "ctl_";

/// A name that no token has but by a chance of 2^-128.
pub(super) const NOBODY: TokenKey = TokenKey([0; 16]);

/// A token with its secret, as its owner has it. It has no `Display`: whoever wants its text asks
/// for it by [`Token::reveal`].
#[derive(Clone)]
pub struct Token {
    key: TokenKey,
    secret: [u8; 32],
}

/// The text is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a token")]
pub struct TokenError;

impl Token {
    /// Draws a new token.
    ///
    /// # Errors
    ///
    /// When the generator has no randomness.
    pub fn draw<R: TryRng>(rng: &mut R) -> Result<Self, R::Error> {
        let key = TokenKey::draw(rng)?;
        Self::of(key, rng)
    }

    /// Draws another secret for a token of that name.
    ///
    /// # Errors
    ///
    /// When the generator has no randomness.
    pub fn of<R: TryRng>(key: TokenKey, rng: &mut R) -> Result<Self, R::Error> {
        let mut secret = [0; 32];
        rng.try_fill_bytes(&mut secret)?;
        Ok(Self { key, secret })
    }

    /// Its name.
    pub fn key(&self) -> TokenKey {
        self.key
    }

    /// What is kept of its secret.
    pub fn secret_sha256(&self) -> [u8; 32] {
        Sha256::digest(self.secret).into()
    }

    /// Its text: for its owner, once.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}{}", self.key, hex(&self.secret))
    }

    /// Whether this is the hash of its secret; the time does not depend on the answer.
    pub(super) fn has_secret(&self, sha256: &[u8; 32]) -> bool {
        self.secret_sha256().ct_eq(sha256).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.key)
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let digits = text.strip_prefix(PREFIX).ok_or(TokenError)?;
        let bytes: [u8; 48] = unhex(digits).ok_or(TokenError)?;
        let (mut key, mut secret) = ([0; 16], [0; 32]);
        key.copy_from_slice(&bytes[..16]);
        secret.copy_from_slice(&bytes[16..]);
        Ok(Self {
            key: TokenKey(key),
            secret,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_revealed() {
        let token = Token::draw(&mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        let text = token.reveal();
        assert_eq!(text.len(), 4 + 32 + 64);
        let read: Token = text.parse().unwrap();
        assert_eq!(read.key(), token.key());
        assert!(read.has_secret(&token.secret_sha256()));
        let mut changed = text.clone().into_bytes();
        changed[99] = if changed[99] == b'0' { b'1' } else { b'0' };
        let changed: Token = String::from_utf8(changed).unwrap().parse().unwrap();
        assert!(!changed.has_secret(&token.secret_sha256()));
        for wrong in [
            "",
            "ctl_",
            &text[4..],
            &text[..99],
            &format!("{text}0"),
            &format!("{} ", &text[..99]),
        ] {
            assert!(wrong.parse::<Token>().is_err());
        }
    }

    #[test]
    fn its_debug_form_has_no_secret() {
        let token = Token::draw(&mut ChaCha8Rng::seed_from_u64(2)).unwrap();
        let shown = format!("{token:?}");
        assert!(shown.contains(&token.key().to_string()));
        assert!(!shown.contains(&token.reveal()[36..44]));
    }

    /// Source: FIPS 180-4's function of 32 zero bytes, by another program.
    #[test]
    fn the_hash_is_sha256() {
        let token = Token {
            key: NOBODY,
            secret: [0; 32],
        };
        let expected = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925";
        assert_eq!(hex(&token.secret_sha256()), expected);
    }
}

//! Who somebody is and what they may do.
//!
//! A token names a tenant and carries scopes. The daemon keeps the sha256 of its secret: 32 random
//! bytes need no slow hash, since nobody can try them all. A token is looked up by its name and its
//! secret compared in constant time; a token that does not exist takes the same way.
//!
//! While the daemon listens on loopback only and no token was ever created, everyone is the tenant
//! `local` with every scope. The first token ends that, and revoking it does not bring it back.

mod scopes;
mod token;

pub use scopes::{Scope, ScopeError, Scopes};
pub use token::{Token, TokenError};

use crate::state::{StateError, StateHandle, TenantId, TenantName, TokenRecord, UnixMillis};

/// Who is let in without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// Everyone until the first token was created: nobody else reaches the daemon.
    FromFirstToken,
    /// Nobody.
    Always,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    /// For whom.
    pub tenant: TenantId,
    /// What they may do.
    pub scopes: Scopes,
}

/// Somebody is not let in, or not to this.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// There was no token.
    #[error("a token is needed")]
    Missing,
    /// The token is malformed, unknown, expired or revoked, or its secret is wrong; which of them is
    /// not told.
    #[error("the token is not accepted")]
    Refused,
    /// The token does not allow this.
    #[error("the token lacks the scope {}", scope.name())]
    Forbidden {
        /// What it would have to allow.
        scope: Scope,
    },
    /// The state failed.
    #[error("the state could not be read")]
    State(#[from] StateError),
}

impl Principal {
    /// Holds that the principal may do something.
    ///
    /// # Errors
    ///
    /// `Forbidden`.
    pub fn require(&self, scope: Scope) -> Result<(), AuthError> {
        if self.scopes.has(scope) {
            Ok(())
        } else {
            Err(AuthError::Forbidden { scope })
        }
    }
}

/// Tells who asks.
#[derive(Debug, Clone)]
pub struct Authenticator {
    state: StateHandle,
    login: Login,
    local: TenantId,
}

impl Authenticator {
    /// Prepares the tenant `local`. Blocks.
    ///
    /// # Errors
    ///
    /// When the state cannot be written.
    pub fn new(state: StateHandle, login: Login) -> Result<Self, StateError> {
        let local = state.blocking().tenant(&TenantName::local())?;
        Ok(Self {
            state,
            login,
            local,
        })
    }

    /// The principal of a request that carries this token, or none.
    ///
    /// # Errors
    ///
    /// `Missing`, `Refused`, `State`.
    pub async fn principal(
        &self,
        presented: Option<&str>,
        now: UnixMillis,
    ) -> Result<Principal, AuthError> {
        let token = match presented {
            None => None,
            Some(text) => Some(text.parse::<Token>().map_err(|_| AuthError::Refused)?),
        };
        // Without a token the look-up is for one that nobody has.
        let key = token.as_ref().map_or(token::NOBODY, Token::key);
        let (record, any) = self.state.call(move |store| store.token(key)).await?;
        match token {
            Some(token) => {
                let record = accepted(&token, record.as_ref(), now).ok_or(AuthError::Refused)?;
                Ok(Principal {
                    tenant: record.tenant,
                    scopes: record.scopes,
                })
            }
            None if self.login == Login::FromFirstToken && !any => Ok(Principal {
                tenant: self.local,
                scopes: Scopes::ALL,
            }),
            None => Err(AuthError::Missing),
        }
    }
}

/// The record, if the token is the one that it is about and may be used now.
fn accepted<'a>(
    token: &Token,
    record: Option<&'a TokenRecord>,
    now: UnixMillis,
) -> Option<&'a TokenRecord> {
    // The comparison runs also where there is nothing to compare with.
    let current = record.map_or([0; 32], |record| record.secret_sha256);
    let previous = record.and_then(|record| record.previous);
    let overlaps = previous.is_some_and(|(_, until)| now < until);
    let is_current = token.has_secret(&current);
    let is_previous = token.has_secret(&previous.map_or([0; 32], |(sha256, _)| sha256));
    let record = record?;
    let expired = record.expires.is_some_and(|expires| now >= expires);
    let known = is_current | (is_previous & overlaps);
    (known && !expired && record.revoked.is_none()).then_some(record)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn token(seed: u64) -> Token {
        Token::draw(&mut ChaCha8Rng::seed_from_u64(seed)).unwrap()
    }

    fn record(token: &Token) -> TokenRecord {
        TokenRecord {
            key: token.key(),
            tenant: TenantId(1),
            tenant_name: TenantName::local(),
            secret_sha256: token.secret_sha256(),
            previous: None,
            scopes: Scopes::ALL,
            created: UnixMillis(0),
            expires: None,
            revoked: None,
        }
    }

    #[test]
    fn a_token_is_accepted_in_its_time_only() {
        let token = token(1);
        let mut record = record(&token);
        let now = UnixMillis(1000);
        assert!(accepted(&token, Some(&record), now).is_some());
        record.expires = Some(UnixMillis(1001));
        assert!(accepted(&token, Some(&record), now).is_some());
        record.expires = Some(now);
        assert!(accepted(&token, Some(&record), now).is_none());
        record.expires = None;
        record.revoked = Some(UnixMillis(5));
        assert!(accepted(&token, Some(&record), now).is_none());
        assert!(accepted(&token, None, now).is_none());
    }

    #[test]
    fn another_secret_is_none_and_the_one_before_counts_for_a_while() {
        let (old, new) = (token(1), token(2));
        let mut record = record(&new);
        record.key = old.key();
        assert!(accepted(&old, Some(&record), UnixMillis(0)).is_none());
        record.previous = Some((old.secret_sha256(), UnixMillis(100)));
        assert!(accepted(&old, Some(&record), UnixMillis(99)).is_some());
        assert!(accepted(&old, Some(&record), UnixMillis(100)).is_none());
        assert!(accepted(&new, Some(&record), UnixMillis(100)).is_some());
        // An overlap is no way around a revocation.
        record.revoked = Some(UnixMillis(1));
        assert!(accepted(&old, Some(&record), UnixMillis(2)).is_none());
    }

    #[test]
    fn a_scope_that_is_not_there_is_named() {
        let principal = Principal {
            tenant: TenantId(1),
            scopes: Scopes::of(&[Scope::Predict]),
        };
        assert!(principal.require(Scope::Predict).is_ok());
        let error = principal.require(Scope::Train).unwrap_err();
        assert_eq!(error.to_string(), "the token lacks the scope train");
    }
}

//! Which server a client talks to, and what lets it in there.

use std::fmt;

use shared::protocol::message::TOKEN_SUBPROTOCOL;

use crate::error::ClientError;

/// Longest token that is taken; the daemon's own have about 70 characters.
const TOKEN_CHARACTERS_MAX: usize = 256;

/// A server by its address, `http(s)://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    address: String,
    token: Option<AccessToken>,
}

/// What the daemon's operator gave to a tenant. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(String);

impl AccessToken {
    /// A token as `cutlayer-server token create` prints it; blanks around it are left out.
    ///
    /// # Errors
    ///
    /// When it is empty, too long, or has characters that no token has.
    pub fn new(token: &str) -> Result<Self, ClientError> {
        let token = token.trim();
        let of_tokens = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let fits = (1..=TOKEN_CHARACTERS_MAX).contains(&token.len());
        if fits && token.chars().all(of_tokens) {
            return Ok(Self(token.to_owned()));
        }
        Err(ClientError::Option {
            name: "token",
            problem: "this is no token of a server: letters, digits, '_' and '-'".to_owned(),
        })
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(..)")
    }
}

impl Server {
    /// The same server, which asks for a token.
    #[must_use]
    pub fn with_token(self, token: Option<AccessToken>) -> Self {
        Self { token, ..self }
    }

    /// The address of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address.trim_end_matches('/'))
    }

    /// The address of a path's WebSocket: `http://host` -> `ws://host/path`.
    pub fn socket_url(&self, path: &str) -> String {
        let url = self.url(path);
        match url.split_once("://") {
            Some(("https", rest)) => format!("wss://{rest}"),
            Some((_, rest)) => format!("ws://{rest}"),
            None => format!("ws://{url}"),
        }
    }

    /// The subprotocol beside the session's that carries the token where no header can be set; see
    /// docs/protocol.md, section 1.
    pub fn token_subprotocol(&self) -> Option<String> {
        let token = self.token.as_ref()?;
        Some(format!("{TOKEN_SUBPROTOCOL}{}", token.0))
    }

    /// The value of the header `Authorization`, where a token is needed.
    pub fn authorization(&self) -> Option<String> {
        let token = self.token.as_ref()?;
        Some(format!("Bearer {}", token.0))
    }
}

impl From<&str> for Server {
    fn from(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            token: None,
        }
    }
}

impl From<&String> for Server {
    fn from(address: &String) -> Self {
        Self::from(address.as_str())
    }
}

impl From<&Server> for Server {
    fn from(server: &Server) -> Self {
        server.clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_session_follows_from_that_of_the_server() {
        let url = |address: &str| Server::from(address).socket_url("/v1/session");
        assert_eq!(url("http://h:1/"), "ws://h:1/v1/session");
        assert_eq!(url("https://h"), "wss://h/v1/session"); // as secure as the page
        assert_eq!(url("h:1"), "ws://h:1/v1/session");
    }

    #[test]
    fn a_token_is_sent_and_not_shown() {
        let token = AccessToken::new(" ctl_0a_B-9\n").unwrap();
        let server = Server::from("http://h").with_token(Some(token));
        assert_eq!(server.authorization().unwrap(), "Bearer ctl_0a_B-9");
        assert!(!format!("{server:?}").contains("ctl"));
        for bad in ["", "a b", "a\r\nb", "ü", &"a".repeat(257)] {
            assert!(AccessToken::new(bad).is_err(), "{bad:?}");
        }
    }
}

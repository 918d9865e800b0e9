//! The origin of a web page, as browsers write it in `Origin`.

use std::fmt;
use std::str::FromStr;

/// Scheme, host and, where it is not the scheme's own, port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// The text is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an origin is http:// or https://, a host and perhaps a port, and no path")]
pub struct OriginError;

impl Origin {
    /// The form that browsers send.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a browser's header names this origin.
    pub fn is(&self, header: &str) -> bool {
        self.0.eq_ignore_ascii_case(header)
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let text = text.to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://").ok_or(OriginError)?;
        let default_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => return Err(OriginError),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        let host = authority.strip_suffix(default_port).unwrap_or(authority);
        if host.is_empty() || host.starts_with(':') || !host.chars().all(plain) {
            return Err(OriginError);
        }
        Ok(Self(format!("{scheme}://{host}")))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Breaks when an operator's spelling is not the one that browsers send.
    #[test]
    fn an_origin_is_written_as_browsers_do() {
        for (text, expected) in [
            ("https://Train.Example.org", "https://train.example.org"),
            ("https://example.org:443", "https://example.org"),
            ("http://example.org:443", "http://example.org:443"),
            ("http://[::1]:8000", "http://[::1]:8000"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().as_str(), expected);
        }
        let origin: Origin = "https://example.org".parse().unwrap();
        assert!(origin.is("https://Example.org"));
        assert!(!origin.is("https://example.org.evil.net") && !origin.is("http://example.org"));
    }

    #[test]
    fn wildcards_paths_and_other_schemes_are_no_origins() {
        for text in [
            "*",
            "null",
            "example.org",
            "https://",
            "https://:443",
            "https://*.example.org",
            "https://example.org/",
            "https://user@example.org",
            "file://example.org",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(OriginError), "{text}");
        }
    }
}

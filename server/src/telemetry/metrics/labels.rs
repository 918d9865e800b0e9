//! What labels may say.

use shared::protocol::message::RefusalCode;

/// Words that a label may have, all known when the daemon is built.
pub trait Closed: Copy + 'static {
    /// The label's name.
    const LABEL: &'static str;
    /// Every value.
    const ALL: &'static [Self];
    /// The value as it is written.
    fn word(self) -> &'static str;
}

/// Why a connection or an upgrade came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// As many connections as allowed were open.
    ConnectionsFull,
    /// As many TLS handshakes as allowed went on.
    HandshakesFull,
    /// The TLS handshake failed or took too long.
    Handshake,
    /// The name in `Host` is not the daemon's.
    Host,
    /// The page's origin is not allowed.
    Origin,
    /// Not a WebSocket of this protocol.
    Protocol,
    /// Every session is taken.
    SessionsFull,
    /// The daemon stops.
    Stopping,
}

impl Closed for Turned {
    const LABEL: &'static str = "reason";
    const ALL: &'static [Self] = &[
        Self::ConnectionsFull,
        Self::HandshakesFull,
        Self::Handshake,
        Self::Host,
        Self::Origin,
        Self::Protocol,
        Self::SessionsFull,
        Self::Stopping,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::ConnectionsFull => "connections_full",
            Self::HandshakesFull => "handshakes_full",
            Self::Handshake => "handshake",
            Self::Host => "host",
            Self::Origin => "origin",
            Self::Protocol => "protocol",
            Self::SessionsFull => "sessions_full",
            Self::Stopping => "stopping",
        }
    }
}

/// The first digit of a status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusClass {
    /// 1xx, upgrades among them.
    Informational,
    /// 2xx.
    Success,
    /// 3xx.
    Redirection,
    /// 4xx.
    ClientError,
    /// 5xx and everything else.
    ServerError,
}

impl From<u16> for StatusClass {
    fn from(status: u16) -> Self {
        match status {
            100..200 => Self::Informational,
            200..300 => Self::Success,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}

impl Closed for StatusClass {
    const LABEL: &'static str = "status";
    const ALL: &'static [Self] = &[
        Self::Informational,
        Self::Success,
        Self::Redirection,
        Self::ClientError,
        Self::ServerError,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Informational => "1xx",
            Self::Success => "2xx",
            Self::Redirection => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
        }
    }
}

impl Closed for RefusalCode {
    const LABEL: &'static str = "code";
    const ALL: &'static [Self] = &RefusalCode::ALL;

    fn word(self) -> &'static str {
        match self {
            Self::MalformedFrame => "malformed_frame",
            Self::WrongVersion => "wrong_version",
            Self::UnknownModel => "unknown_model",
            Self::WrongBottom => "wrong_bottom",
            Self::UnknownCut => "unknown_cut",
            Self::BadSettings => "bad_settings",
            Self::Forbidden => "forbidden",
            Self::UnknownSession => "unknown_session",
            Self::WrongPhase => "wrong_phase",
            Self::OutOfOrder => "out_of_order",
            Self::WrongShape => "wrong_shape",
            Self::NotFinite => "not_finite",
            Self::DuplicateExample => "duplicate_example",
            Self::BadLabel => "bad_label",
            Self::LimitExceeded => "limit_exceeded",
            Self::Busy => "busy",
            Self::Internal => "internal",
            Self::NotAwaited => "not_awaited",
            Self::UnknownAdapter => "unknown_adapter",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn assert_distinct<L: Closed>() {
        let words: BTreeSet<_> = L::ALL.iter().map(|value| value.word()).collect();
        assert_eq!(words.len(), L::ALL.len());
    }

    #[test]
    fn every_value_of_a_label_has_a_word_of_its_own() {
        assert_distinct::<Turned>();
        assert_distinct::<StatusClass>();
        assert_distinct::<RefusalCode>();
        assert_eq!(StatusClass::from(503).word(), "5xx");
        assert_eq!(StatusClass::from(101).word(), "1xx");
    }
}

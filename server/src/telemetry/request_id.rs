//! One id from the page to the trainer: it stands in every line that a request, its session and its
//! run write.
//!
//! A client may bring the id, as the trace id of a `traceparent` header
//! (<https://www.w3.org/TR/trace-context/>), or in the query as `trace=...`, since a browser cannot
//! set headers of a WebSocket. Only 32 hexadecimal digits are taken: nothing else that a client
//! sends gets into the log this way. Without one it is drawn here.

use std::fmt;

use axum::http::HeaderMap;
use rand::TryRng;
use rand::rngs::SysRng;

/// 128 bits, as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(u128);

impl RequestId {
    /// The id that a client brought, or a new one.
    pub fn of(headers: &HeaderMap, query: Option<&str>) -> Self {
        Self::from_header(headers)
            .or_else(|| Self::from_query(query?))
            .unwrap_or_else(Self::draw)
    }

    fn draw() -> Self {
        let mut bytes = [0; 16];
        // An id only connects lines. Without randomness the session itself is not opened.
        let _ = SysRng.try_fill_bytes(&mut bytes);
        Self(u128::from_le_bytes(bytes))
    }

    fn from_header(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get("traceparent")?.to_str().ok()?;
        let mut parts = text.split('-');
        let (version, trace, parent) = (parts.next()?, parts.next()?, parts.next()?);
        (version == "00" && parent.len() == 16).then_some(())?;
        Self::parse(trace)
    }

    fn from_query(query: &str) -> Option<Self> {
        let mut pairs = query.split('&');
        Self::parse(pairs.find_map(|pair| pair.strip_prefix("trace="))?)
    }

    fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = u128::from_str_radix(text, 16).ok().filter(|_| is_hex)?;
        (id != 0).then_some(Self(id)) // all zeros are forbidden there
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ID: &str = "0af7651916cd43dd8448eb211c80319c";

    fn headers(traceparent: &str) -> HeaderMap {
        let name = axum::http::HeaderName::from_static("traceparent");
        HeaderMap::from_iter([(name, traceparent.parse().unwrap())])
    }

    #[test]
    fn an_id_is_taken_from_header_or_query() {
        let header = headers(&format!("00-{ID}-b7ad6b7169203331-01"));
        assert_eq!(RequestId::of(&header, None).to_string(), ID);
        let query = format!("other=1&trace={ID}");
        let of_query = RequestId::of(&HeaderMap::new(), Some(&query));
        assert_eq!(of_query.to_string(), ID);
    }

    /// Breaks when a client can write into the log what it likes.
    #[test]
    fn everything_else_is_replaced() {
        let zeros = "0".repeat(32);
        for bad in ["", "canary", &zeros, &ID[1..], &format!("+{}", &ID[1..])] {
            let query = format!("trace={bad}");
            let id = RequestId::of(
                &headers(&format!("00-{bad}-b7ad6b7169203331-01")),
                Some(&query),
            );
            assert_eq!(id.to_string().len(), 32);
            assert_ne!(id.to_string(), bad);
        }
        let (first, second) = (RequestId::draw(), RequestId::draw());
        assert_ne!(first, second);
    }
}

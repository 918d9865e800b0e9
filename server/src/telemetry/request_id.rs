//! One id from the page to the trainer: it stands in every line that a request, its session and its
//! run write.
//!
//! A client may bring the id, as the trace id of a `traceparent` header
//! (<https://www.w3.org/TR/trace-context/>), or in the query as `trace=...`, since a browser cannot
//! set headers of a WebSocket. Only 32 hexadecimal digits are taken: nothing else that a client
//! sends gets into the log this way. Without one it is drawn here. It is the trace id of what
//! [`super::traces`] exports, too.

use std::fmt;

use axum::http::HeaderMap;
use rand::TryRng;
use rand::rngs::SysRng;

use crate::hex::unhex;

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

    /// The id as a number.
    pub fn number(self) -> u128 {
        self.0
    }

    fn from_header(headers: &HeaderMap) -> Option<Self> {
        let TraceParent { trace, .. } = TraceParent::of(headers)?;
        Some(Self(trace))
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

/// A `traceparent` header of version 00, by its letter; anything else is as good as none.
struct TraceParent {
    trace: u128,
    span: u64,
    flags: u8,
}

impl TraceParent {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get("traceparent")?.to_str().ok()?;
        let mut parts = text.strip_prefix("00-")?.split('-');
        let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
        let trace = u128::from_be_bytes(unhex(trace)?);
        let span = u64::from_be_bytes(unhex(span)?);
        let [flags] = unhex(flags)?;
        // All zeros are forbidden there.
        let is_valid = parts.next().is_none() && trace != 0 && span != 0;
        is_valid.then_some(Self { trace, span, flags })
    }
}

/// The span of the caller that a request belongs to, where the caller says that it has recorded it.
pub(crate) fn recorded_parent(headers: &HeaderMap) -> Option<u64> {
    let TraceParent { span, flags, .. } = TraceParent::of(headers)?;
    (flags & 1 == 1).then_some(span)
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

    /// Breaks when a trace shows a parent that nobody has recorded, or takes a header that is none.
    #[test]
    fn the_callers_span_is_taken_where_it_was_recorded() {
        let parent = |text: &str| recorded_parent(&headers(text));
        let span = "b7ad6b7169203331";
        assert_eq!(
            parent(&format!("00-{ID}-{span}-01")),
            Some(0xb7ad_6b71_6920_3331)
        );
        assert_eq!(parent(&format!("00-{ID}-{span}-00")), None);
        for bad in [
            format!("01-{ID}-{span}-01"),
            format!("00-{ID}-{span}"),
            format!("00-{ID}-{span}-01-more"),
            format!("00-{ID}-{}-01", "0".repeat(16)),
            format!("00-{ID}-{}-01", span.to_uppercase()),
            format!("00-{}-{span}-01", "0".repeat(32)),
        ] {
            assert_eq!(parent(&bad), None, "{bad}");
            let id = RequestId::of(&headers(&bad), None).to_string();
            assert_ne!(id, ID, "{bad}");
        }
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

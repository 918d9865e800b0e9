//! Who may talk to the daemon at all, judged by `Host` and `Origin`.
//!
//! A browser lets any page open a WebSocket anywhere, and lets a page point its own name at a
//! loopback address (DNS rebinding). The first is stopped by `Origin`, the second by `Host`. This
//! is not a login.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State as Extract};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::State;
use super::refusal::ApiError;
use crate::app::{Hosts, Origins};
use crate::telemetry::metrics::{CONNECTIONS_REFUSED, Turned};

/// Refuses requests under names that are not ours.
pub(super) async fn host(
    Extract(state): Extract<Arc<State>>,
    request: Request,
    next: Next,
) -> Response {
    let ours = match state.app.hosts {
        Hosts::Any => true,
        Hosts::Loopback => text(request.headers(), header::HOST).is_some_and(is_loopback),
    };
    if ours {
        return next.run(request).await;
    }
    CONNECTIONS_REFUSED.count(Turned::Host);
    let why =
        "this server answers as localhost only; start it with --allow-remote for other names\n";
    (StatusCode::MISDIRECTED_REQUEST, why).into_response()
}

/// Refuses what a page of another origin asks for.
pub(super) async fn own_origin(request: Request, next: Next) -> Response {
    if origin_is_ours(request.headers()) {
        return next.run(request).await;
    }
    ApiError::ForeignOrigin.into_response()
}

/// Lets the script of a page that is hosted elsewhere read what it fetches: CORS, for the origins
/// that are allowed and no others. Source: <https://fetch.spec.whatwg.org/#http-cors-protocol>.
pub(super) async fn cors(
    Extract(state): Extract<Arc<State>>,
    request: Request,
    next: Next,
) -> Response {
    let hosted = &state.app.origins.hosted;
    if hosted.is_empty() {
        return next.run(request).await;
    }
    let allowed = text(request.headers(), header::ORIGIN)
        .filter(|origin| hosted.iter().any(|one| one.is(origin)))
        .and_then(|origin| HeaderValue::from_str(origin).ok());
    let asked = header::ACCESS_CONTROL_REQUEST_METHOD;
    let is_preflight = request.method() == Method::OPTIONS && request.headers().contains_key(asked);
    let mut response = if is_preflight && allowed.is_some() {
        (StatusCode::NO_CONTENT, PREFLIGHT).into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    // A cache must not give one origin what another was answered.
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(allowed) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    response
}

/// What a page may send beside what every page may.
const PREFLIGHT: [(header::HeaderName, &str); 3] = [
    (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "authorization, if-none-match, if-range, range, traceparent",
    ),
    (header::ACCESS_CONTROL_MAX_AGE, "600"),
];

/// What a page may read beside what every page may.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("content-range, etag, retry-after, x-request-id");

/// Whether a session may be opened: by our own page, a page that is allowed, or no browser.
pub(super) fn origin_is_allowed(headers: &HeaderMap, origins: &Origins) -> bool {
    let listed = || {
        let origin = text(headers, header::ORIGIN)?;
        let mut lists = origins.sessions.iter().chain(&origins.hosted);
        lists.find(|one| one.is(origin))
    };
    origin_is_ours(headers) || listed().is_some()
}

/// Whether a request comes from a page of this server, or from something that is no browser.
fn origin_is_ours(headers: &HeaderMap) -> bool {
    if !headers.contains_key(header::ORIGIN) {
        return true;
    }
    let (Some(origin), Some(host)) = (text(headers, header::ORIGIN), text(headers, header::HOST))
    else {
        return false;
    };
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// A header that occurs once and is text.
pub(super) fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_many_spellings() {
        for host in [
            "localhost",
            "LOCALHOST:8420",
            "127.0.0.1:1",
            "127.1.2.3",
            "[::1]:8420",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "localhost.example.org:8420",
            "10.0.0.1",
            "[::2]",
            "0.0.0.0",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    fn ours(origin: &'static str, host: &'static str) -> bool {
        let headers = HeaderMap::from_iter([
            (header::ORIGIN, origin.parse().unwrap()),
            (header::HOST, host.parse().unwrap()),
        ]);
        origin_is_ours(&headers)
    }

    #[test]
    fn an_origin_is_ours_with_the_same_host_and_port() {
        assert!(ours("http://127.0.0.1:8420", "127.0.0.1:8420"));
        assert!(ours("https://Train.example.org", "train.example.org"));
        assert!(!ours("http://127.0.0.1:8421", "127.0.0.1:8420"));
        assert!(!ours("http://localhost:8420", "127.0.0.1:8420"));
        assert!(!ours("null", "127.0.0.1:8420"));
        assert!(!ours("http://127.0.0.1:8420.example.org", "127.0.0.1:8420"));
        assert!(!ours("file://127.0.0.1:8420", "127.0.0.1:8420"));
        assert!(origin_is_ours(&HeaderMap::new()));
    }

    #[test]
    fn listed_origins_are_allowed_as_a_whole() {
        let origins = Origins {
            sessions: vec!["https://a.example".parse().unwrap()],
            hosted: vec!["https://b.example:8443".parse().unwrap()],
        };
        let allowed = |origin: &'static str| {
            let headers = HeaderMap::from_iter([
                (header::ORIGIN, origin.parse().unwrap()),
                (header::HOST, "train.example".parse().unwrap()),
            ]);
            origin_is_allowed(&headers, &origins)
        };
        assert!(allowed("https://a.example") && allowed("https://b.example:8443"));
        assert!(allowed("https://train.example"));
        assert!(!allowed("http://a.example") && !allowed("https://b.example"));
        assert!(!allowed("https://a.example.evil.net") && !allowed("null"));
    }

    #[test]
    fn two_origins_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, "a".parse().unwrap());
        headers.append(header::ORIGIN, "http://a".parse().unwrap());
        assert!(origin_is_ours(&headers));
        headers.append(header::ORIGIN, "http://b".parse().unwrap());
        assert!(!origin_is_ours(&headers));
    }
}

//! Headers that every response carries.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

/// Nothing is allowed but what the page needs: its own files, compiling its wasm module, and
/// talking to this server. A text becomes a program nowhere: the one gate for addresses of workers
/// is the policy `cutlayer` of `web/src/trusted.js`.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; \
    style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; worker-src 'self'; \
    manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types cutlayer";

/// A document runs no script whose sha256 it does not say: `cargo xtask wasm` writes them into
/// `index.html`, those of imported modules as `modulepreload`. A worker's modules cannot be named so,
/// and a worker is no document.
/// Source: <https://w3c.github.io/webappsec-subresource-integrity/#integrity-policy-section>.
const INTEGRITY_POLICY: HeaderValue = HeaderValue::from_static("blocked-destinations=(script)");

/// For browsers in which an import takes the module that was announced for it, as HTML says. WebKit
/// asks for it once more, without its sha256, and would run nothing of the page.
const INTEGRITY_ENFORCED: HeaderName = HeaderName::from_static("integrity-policy");

/// For all others.
const INTEGRITY_WATCHED: HeaderName = HeaderName::from_static("integrity-policy-report-only");

/// Sent by Chromium and what is made of it, and by no other browser.
const OF_CHROMIUM: HeaderName = HeaderName::from_static("sec-ch-ua");

const PERMISSIONS_POLICY: &str = "accelerometer=(), bluetooth=(), camera=(), display-capture=(), \
    encrypted-media=(), geolocation=(), gyroscope=(), hid=(), idle-detection=(), local-fonts=(), \
    magnetometer=(), microphone=(), midi=(), payment=(), publickey-credentials-get=(), serial=(), \
    usb=(), xr-spatial-tracking=()";

const SECURITY: [(HeaderName, HeaderValue); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CONTENT_SECURITY_POLICY),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static(PERMISSIONS_POLICY),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-embedder-policy"),
        HeaderValue::from_static("require-corp"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// Adds the security headers; no route sets its own.
pub(super) async fn secure(request: Request, next: Next) -> Response {
    let integrity = match request.headers().contains_key(OF_CHROMIUM) {
        true => INTEGRITY_ENFORCED,
        false => INTEGRITY_WATCHED,
    };
    let mut response = next.run(request).await;
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_document = content_type.is_some_and(|it| it.as_bytes().starts_with(b"text/html"));
    let headers = response.headers_mut();
    headers.extend(SECURITY);
    if is_document {
        headers.insert(integrity, INTEGRITY_POLICY);
        headers.append(header::VARY, OF_CHROMIUM.into());
    }
    response
}

/// Lets caches keep a response only if they ask each time whether it is still the same.
pub(super) async fn revalidate(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Keeps what is one tenant's out of every cache.
pub(super) async fn keep_out_of_caches(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

//! Headers that every response carries.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;

/// Nothing is allowed but what the page needs: its own files, compiling its wasm module, and
/// talking to this server. A text becomes a program nowhere: the one gate for addresses of workers
/// is the policy `cutlayer` of `web/src/trusted.js`.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; \
    style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; worker-src 'self'; \
    manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types cutlayer";

/// A document runs no script whose sha256 it does not say: `cargo xtask wasm` writes them into
/// `index.html`. Source: <https://w3c.github.io/webappsec-subresource-integrity/#integrity-policy-section>.
/// A worker's modules cannot be named so, and are not documents.
const INTEGRITY_POLICY: (HeaderName, HeaderValue) = (
    HeaderName::from_static("integrity-policy"),
    HeaderValue::from_static("blocked-destinations=(script)"),
);

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
pub(super) async fn secure(mut response: Response) -> Response {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_document = content_type.is_some_and(|it| it.as_bytes().starts_with(b"text/html"));
    let headers = response.headers_mut();
    headers.extend(SECURITY);
    headers.extend(is_document.then_some(INTEGRITY_POLICY));
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

//! Files of the catalogue: strong validators, ranges, and caching for ever under an address that
//! names the content.

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State as Extract};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tower_http::services::ServeFile;

use super::State;
use crate::catalogue::Artifact;

const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ASK_EACH_TIME: HeaderValue = HeaderValue::from_static("no-cache");

/// The query of an artifact's address.
#[derive(Debug, Deserialize)]
pub(super) struct Version {
    sha256: Option<String>,
}

/// A bottom.
#[utoipa::path(
    get,
    path = "/v1/artifacts/{name}",
    tag = "model",
    params(("name" = String, Path, description = "As the catalogue names it")),
    responses(
        (status = 200, description = "A bottom", content_type = "application/octet-stream"),
        (status = 206, description = "The range that was asked for; If-Range takes the strong ETag"),
        (status = 304, description = "The client has this content"),
        (status = 401, description = "A token is needed, or this one is not accepted"),
        (status = 404, description = "The catalogue has no such file"),
        (status = 416, description = "The file has no such range"),
    )
)]
pub(super) async fn bottom(
    Extract(state): Extract<Arc<State>>,
    Path(name): Path<String>,
    Query(version): Query<Version>,
    request: Request,
) -> Response {
    file(&state, &name, &version, request).await
}

/// The tokenizer, which the server itself never reads.
#[utoipa::path(
    get,
    path = "/v1/artifacts/tokenizer.json",
    tag = "model",
    responses(
        (status = 200, description = "The tokenizer", content_type = "application/octet-stream"),
        (status = 206, description = "The range that was asked for; If-Range takes the strong ETag"),
        (status = 304, description = "The client has this content"),
        (status = 401, description = "A token is needed, or this one is not accepted"),
        (status = 404, description = "The catalogue has no such file"),
        (status = 416, description = "The file has no such range"),
    )
)]
pub(super) async fn tokenizer(
    Extract(state): Extract<Arc<State>>,
    Query(version): Query<Version>,
    request: Request,
) -> Response {
    file(&state, "tokenizer.json", &version, request).await
}

/// The model's configuration.
#[utoipa::path(
    get,
    path = "/v1/artifacts/config.json",
    tag = "model",
    responses(
        (status = 200, description = "The model's configuration", content_type = "application/octet-stream"),
        (status = 206, description = "The range that was asked for; If-Range takes the strong ETag"),
        (status = 304, description = "The client has this content"),
        (status = 401, description = "A token is needed, or this one is not accepted"),
        (status = 404, description = "The catalogue has no such file"),
        (status = 416, description = "The file has no such range"),
    )
)]
pub(super) async fn config(
    Extract(state): Extract<Arc<State>>,
    Query(version): Query<Version>,
    request: Request,
) -> Response {
    file(&state, "config.json", &version, request).await
}

async fn file(state: &State, name: &str, version: &Version, request: Request) -> Response {
    let Some(artifact) = state.app.catalogue.artifact(name) else {
        return (StatusCode::NOT_FOUND, "the catalogue has no such file\n").into_response();
    };
    answer(artifact, ServeFile::new(&artifact.path), version, request).await
}

/// Answers for a file of the catalogue, whose bytes `file` sends.
pub(super) async fn answer(
    artifact: &Artifact,
    file: ServeFile,
    version: &Version,
    request: Request,
) -> Response {
    let sha256 = artifact.sha256_hex();
    let cache_control = match &version.sha256 {
        None => ASK_EACH_TIME,
        Some(asked) if *asked == sha256 => FOR_EVER,
        // Another content under this address would be cached for ever under the wrong name.
        Some(_) => {
            let why = "the file has changed; fetch the catalogue again\n";
            return (StatusCode::NOT_FOUND, why).into_response();
        }
    };
    let etag = HeaderValue::from_str(&format!("\"{sha256}\""))
        .expect("hexadecimal digits and quotes are a header value");
    let mut response = if is_known(request.headers(), &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        send(file, &etag, request).await
    };
    if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
        let headers = response.headers_mut();
        headers.remove(header::LAST_MODIFIED);
        headers.insert(header::ETAG, etag);
        headers.insert(header::CACHE_CONTROL, cache_control);
    }
    response
}

/// Sends the file or the asked-for range of it. Conditions are judged here, by content; the file's
/// time says nothing.
async fn send(mut file: ServeFile, etag: &HeaderValue, mut request: Request) -> Response {
    let headers = request.headers_mut();
    if headers
        .get(header::IF_RANGE)
        .is_some_and(|condition| condition != etag)
    {
        headers.remove(header::RANGE);
    }
    // A range counts the bytes that were hashed, not those of a compressed twin beside them.
    if headers.contains_key(header::RANGE) {
        headers.remove(header::ACCEPT_ENCODING);
    }
    for condition in [
        header::IF_RANGE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
    ] {
        headers.remove(condition);
    }
    match file.try_call(request).await {
        Ok(response) => response.map(axum::body::Body::new),
        Err(error) => {
            tracing::error!(%error, "an artifact cannot be read");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Whether the client has this content. The comparison is weak, as RFC 9110 section 13.1.2 asks.
fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let lists = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = lists
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','));
    tags.any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes()
    })
}

/// Makes the validator of a response that was compressed on the way weak: its bytes are not those
/// that were hashed.
pub(super) async fn weaken_etag_of_compressed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    if !headers.contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let weak = headers
        .get(header::ETAG)
        .and_then(|etag| etag.to_str().ok())
        .filter(|etag| !etag.starts_with("W/"))
        .and_then(|etag| HeaderValue::from_str(&format!("W/{etag}")).ok());
    if let Some(weak) = weak {
        headers.insert(header::ETAG, weak);
    }
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn content_is_known_by_any_spelling_of_its_tag() {
        let etag = HeaderValue::from_static("\"ab\"");
        let known = |list: &'static str| {
            is_known(
                &HeaderMap::from_iter([(header::IF_NONE_MATCH, list.parse().unwrap())]),
                &etag,
            )
        };
        assert!(known("\"ab\"") && known("W/\"ab\"") && known("\"x\", \"ab\"") && known("*"));
        assert!(!known("\"abc\"") && !known("ab"));
        assert!(!is_known(&HeaderMap::new(), &etag));
    }
}

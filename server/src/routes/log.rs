//! One line a request, without its query: that is the client's business. And its span, where traces
//! are exported.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use crate::telemetry::metrics::{HTTP_RESPONSES, StatusClass};
use crate::telemetry::request_id::{RequestId, recorded_parent};
use crate::telemetry::traces;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives a request its id, in the log, in the answer and for whoever handles it.
pub(super) async fn access(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = RequestId::of(request.headers(), request.uri().query());
    request.extensions_mut().insert(request_id);
    let route = request.extensions().get::<MatchedPath>();
    // Health checks and the page's files tell nothing by their spans.
    let route = route.filter(|route| route.as_str().starts_with("/v1/"));
    let trace = route.map(|route| {
        let parent = recorded_parent(request.headers());
        traces::request(request_id, parent, request.method(), route.as_str())
    });
    let trace = trace.unwrap_or_default();
    let span = tracing::info_span!(
        "request",
        %request_id,
        method = %request.method(),
        path = request.uri().path(),
    );
    let answered = next.run(request).instrument(span.clone());
    let mut response = trace.clone().around(answered).await;
    let status = response.status().as_u16();
    trace.answered(status);
    HTTP_RESPONSES.count(StatusClass::from(status));
    span.in_scope(|| {
        let millis = started.elapsed().as_millis();
        tracing::debug!(status, millis, "answered");
    });
    let value = HeaderValue::from_str(&request_id.to_string())
        .expect("hexadecimal digits are a header value");
    response.headers_mut().insert(REQUEST_ID, value);
    response
}

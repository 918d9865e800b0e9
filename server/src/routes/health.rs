//! What a supervisor or a load balancer asks.

use std::sync::Arc;

use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::State;
use crate::limits::RETRY_AFTER_SECS;
use crate::readiness::Stage;

/// The process answers; restart it when this does not.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// The weights are loaded, a step of the trainer came out finite, and the daemon is to go on: send
/// clients here only then.
pub(super) async fn ready(Extract(state): Extract<Arc<State>>) -> Response {
    let stage = if state.shutdown.is_cancelled() {
        Stage::Stopping
    } else {
        state.app.trainer.readiness().stage()
    };
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    if stage == Stage::Ready {
        return (no_store, stage.sentence()).into_response();
    }
    let retry = [(header::RETRY_AFTER, RETRY_AFTER_SECS.to_string())];
    let status = StatusCode::SERVICE_UNAVAILABLE;
    (status, no_store, retry, stage.sentence()).into_response()
}

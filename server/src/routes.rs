//! HTTP: the catalogue, the artifacts, the page, and the door of the WebSocket.

mod access;
mod artifacts;
mod headers;
mod health;
mod log;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, extract};
use shared::protocol::message::SUBPROTOCOL;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::compression::CompressionLayer;
use tower_http::services::ServeDir;
use tracing::Instrument;

use crate::app::App;
use crate::connection;
use crate::limits::RETRY_AFTER_SECS;
use crate::session::Offer;
use crate::telemetry::metrics::{CONNECTIONS_REFUSED, Turned};
use crate::telemetry::request_id::RequestId;
use crate::trainer::JobId;

/// What all requests and sessions share.
#[derive(Debug)]
pub struct State {
    /// The daemon.
    pub app: App,
    /// What every session is offered.
    pub offer: Arc<Offer>,
    /// Cancelled when the daemon stops.
    pub shutdown: CancellationToken,
    /// Counts the sessions that must end before the daemon does.
    pub tracker: TaskTracker,
    slots: Arc<Semaphore>,
    jobs: AtomicU64,
}

impl State {
    /// Prepares a daemon for its requests.
    pub fn new(app: App, shutdown: CancellationToken, tracker: TaskTracker) -> Self {
        let trainer = &app.trainer;
        let offer = app
            .catalogue
            .offer(trainer.device_name(), trainer.trains_dense());
        let offer = Arc::new(offer);
        let slots = Arc::new(Semaphore::new(app.sessions_max));
        Self {
            app,
            offer,
            shutdown,
            tracker,
            slots,
            jobs: AtomicU64::new(1),
        }
    }

    /// Names a new run.
    pub fn new_job(&self) -> JobId {
        JobId(self.jobs.fetch_add(1, Ordering::Relaxed))
    }
}

type Shared = extract::State<Arc<State>>;

/// Builds the daemon's routes.
pub fn router(state: Arc<State>) -> Router {
    let compressed = Router::new()
        .route("/v1/catalogue", get(catalogue))
        .route("/v1/artifacts/tokenizer.json", get(artifacts::tokenizer))
        .route("/v1/artifacts/config.json", get(artifacts::config))
        .layer(CompressionLayer::new().br(true).gzip(true))
        .layer(map_response(artifacts::weaken_etag_of_compressed));
    let files = Router::new()
        .route("/v1/artifacts/{name}", get(artifacts::bottom))
        .merge(compressed)
        .layer(from_fn_with_state(state.clone(), access::cors));
    let router = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/v1/session", any(session))
        .merge(files);
    let router = match &state.app.page {
        Some(directory) => {
            let page = ServeDir::new(directory)
                .precompressed_br()
                .precompressed_gzip();
            router.fallback_service(
                Router::new()
                    .fallback_service(page)
                    .layer(map_response(headers::revalidate)),
            )
        }
        None => router.fallback(no_page),
    };
    router
        .layer(from_fn_with_state(state.clone(), access::host))
        .layer(map_response(headers::secure))
        .layer(from_fn(log::access))
        .with_state(state)
}

async fn no_page() -> (StatusCode, &'static str) {
    (
        StatusCode::NOT_FOUND,
        "nothing here; the daemon was started without --page\n",
    )
}

async fn catalogue(state: Shared) -> Response {
    let description = Json(state.app.catalogue.description()).into_response();
    headers::revalidate(description).await
}

/// The door of the WebSocket: browsers of other origins and other protocols stay outside.
async fn session(
    extract::State(state): Shared,
    extract::Extension(request_id): extract::Extension<RequestId>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            CONNECTIONS_REFUSED.count(Turned::Protocol);
            return rejection.into_response();
        }
    };
    if !access::origin_is_allowed(&headers, &state.app.origins) {
        CONNECTIONS_REFUSED.count(Turned::Origin);
        let why = "sessions are opened by this server's own page, by pages of origins that it \
            allows, or by clients without an Origin\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    let upgrade = upgrade.protocols([SUBPROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        CONNECTIONS_REFUSED.count(Turned::Protocol);
        let why = format!("the WebSocket subprotocol must be {SUBPROTOCOL}\n");
        return (StatusCode::BAD_REQUEST, why).into_response();
    }
    if state.shutdown.is_cancelled() {
        CONNECTIONS_REFUSED.count(Turned::Stopping);
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            [(header::RETRY_AFTER, RETRY_AFTER_SECS)],
            "the server stops\n",
        )
            .into_response();
    }
    let frame_bytes_max = state.offer.limits.frame_bytes_max as usize;
    let upgrade = upgrade
        .max_message_size(frame_bytes_max)
        .max_frame_size(frame_bytes_max);
    // Taken before the answer: the daemon must not end between the answer and the session's first
    // line.
    let tracked = state.tracker.token();
    let span = tracing::info_span!(parent: None, "session", %request_id);
    match state.slots.clone().try_acquire_owned() {
        Ok(slot) => upgrade.on_upgrade(move |socket| async move {
            connection::run(socket, state).instrument(span).await;
            drop((slot, tracked));
        }),
        Err(_) => upgrade.on_upgrade(move |socket| async move {
            CONNECTIONS_REFUSED.count(Turned::SessionsFull);
            connection::turn_away(socket, &state).instrument(span).await;
            drop(tracked);
        }),
    }
}

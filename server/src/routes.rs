//! HTTP: the catalogue, the artifacts, the jobs, the page, and the door of the WebSocket.
//!
//! The page, `/healthz` and the API's description are for everyone; everything else under `/v1` is
//! for whom `principal` lets in.

mod access;
mod adapters;
mod artifacts;
mod headers;
mod health;
mod jobs;
mod log;
mod openapi;
mod paging;
mod principal;
mod refusal;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, extract};
use shared::protocol::message::SUBPROTOCOL;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::compression::CompressionLayer;
use tower_http::services::ServeDir;
use tracing::Instrument;

use crate::app::App;
use crate::auth::{Authenticator, Principal, Scope};
use crate::connection;
use crate::jobs::control::LiveRuns;
use crate::jobs::end_interrupted;
use crate::limits::RETRY_AFTER_SECS;
use crate::quota::Quotas;
use crate::session::Offer;
use crate::state::{StateError, UnixMillis};
use crate::telemetry::metrics::{CONNECTIONS_REFUSED, Turned};
use crate::telemetry::request_id::RequestId;
use crate::trainer::JobId;
use refusal::ApiError;

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
    /// Runs whose sessions are open.
    pub runs: LiveRuns,
    auth: Authenticator,
    quotas: Arc<Quotas>,
    slots: Arc<Semaphore>,
    watchers: Arc<Semaphore>,
    jobs: AtomicU64,
}

impl State {
    /// Prepares a daemon for its requests, and ends the jobs that an earlier process left open.
    ///
    /// # Errors
    ///
    /// When the state cannot be written.
    pub async fn prepare(
        app: App,
        shutdown: CancellationToken,
        tracker: TaskTracker,
    ) -> Result<Self, StateError> {
        let (state, login) = (app.state.clone(), app.login);
        let prepared = spawn_blocking(move || {
            let ended = end_interrupted(state.blocking(), UnixMillis::now())?;
            Ok::<_, StateError>((Authenticator::new(state, login)?, ended))
        });
        let (auth, ended) = prepared.await.map_err(|_| StateError::Gone)??;
        if ended > 0 {
            tracing::warn!(
                jobs = ended,
                "an earlier process left jobs open; they have failed"
            );
        }
        let runs = LiveRuns::new(app.state.clone(), app.trainer.clone());
        let trainer = &app.trainer;
        let offer = app
            .catalogue
            .offer(trainer.device_name(), trainer.trains_dense());
        let offer = Arc::new(offer);
        let slots = Arc::new(Semaphore::new(app.sessions_max));
        Ok(Self {
            quotas: Arc::new(Quotas::new(app.quotas)),
            watchers: Arc::new(Semaphore::new(watch::WATCHERS_MAX)),
            auth,
            runs,
            app,
            offer,
            shutdown,
            tracker,
            slots,
            jobs: AtomicU64::new(1),
        })
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
    let model = Router::new()
        .route("/v1/artifacts/{name}", get(artifacts::bottom))
        .merge(compressed)
        .layer(from_fn_with_state(state.clone(), principal::let_in))
        .layer(from_fn_with_state(state.clone(), access::cors));
    let jobs = Router::new()
        .route("/v1/jobs", get(jobs::list))
        .route("/v1/jobs/{id}", get(jobs::show).delete(jobs::delete))
        .route("/v1/jobs/{id}/events", get(jobs::events))
        .route("/v1/jobs/{id}/pause", post(jobs::pause))
        .route("/v1/jobs/{id}/resume", post(jobs::resume))
        .route("/v1/jobs/{id}/cancel", post(jobs::cancel))
        .route("/v1/adapters", get(adapters::list))
        .layer(from_fn(access::own_origin))
        .layer(map_response(headers::keep_out_of_caches));
    let router = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/v1/openapi.json", get(openapi::description))
        .route("/v1/session", any(session))
        .merge(jobs)
        .merge(model);
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

/// The model, its cuts, its files, the limits.
#[utoipa::path(
    get,
    path = "/v1/catalogue",
    tag = "model",
    responses(
        (status = 200, description = "The catalogue, docs/protocol.md section 1", body = Object),
        (status = 401, description = "A token is needed, or this one is not accepted"),
    )
)]
async fn catalogue(state: Shared) -> Response {
    let description = Json(state.app.catalogue.description()).into_response();
    headers::revalidate(description).await
}

/// The door of the WebSocket: browsers of other origins, other protocols and whom nobody let in stay
/// outside.
#[utoipa::path(
    get,
    path = "/v1/session",
    tag = "session",
    responses(
        (status = 101, description = "A WebSocket that speaks cutlayer.v1, docs/protocol.md"),
        (status = 400, description = "Not an upgrade, or to another subprotocol"),
        (status = 401, description = "A token is needed, or this one is not accepted"),
        (status = 403, description = "Another origin, or a token without the scope train"),
        (status = 429, description = "The tenant has as many sessions as it may"),
        (status = 503, description = "The server stops"),
    )
)]
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
    let upgrade = connection::bounded(upgrade, &state.offer.limits);
    if upgrade.selected_protocol().is_none() {
        CONNECTIONS_REFUSED.count(Turned::Protocol);
        let why = format!("the WebSocket subprotocol must be {SUBPROTOCOL}\n");
        return (StatusCode::BAD_REQUEST, why).into_response();
    }
    let principal = match admit(&state, &headers).await {
        Ok(principal) => principal,
        Err(refusal) => return refusal.into_response(),
    };
    if state.shutdown.is_cancelled() {
        CONNECTIONS_REFUSED.count(Turned::Stopping);
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            [(header::RETRY_AFTER, RETRY_AFTER_SECS.to_string())],
            "the server stops\n",
        )
            .into_response();
    }
    // Taken before the answer: the daemon must not end between the answer and the session's first
    // line.
    let tracked = state.tracker.token();
    let span = tracing::info_span!(parent: None, "session", %request_id);
    let Ok(slot) = state.slots.clone().try_acquire_owned() else {
        return upgrade.on_upgrade(move |socket| async move {
            CONNECTIONS_REFUSED.count(Turned::SessionsFull);
            connection::turn_away(socket, &state).instrument(span).await;
            drop(tracked);
        });
    };
    match state.quotas.open_session(principal.tenant) {
        Ok(share) => upgrade.on_upgrade(move |socket| async move {
            connection::run(socket, state, principal, share)
                .instrument(span)
                .await;
            drop((slot, tracked));
        }),
        Err(error) => ApiError::from(error).into_response(),
    }
}

/// Who opens a session, if they may.
async fn admit(state: &State, headers: &HeaderMap) -> Result<Principal, ApiError> {
    let principal = principal::of_session(state, headers).await?;
    principal.require(Scope::Train)?;
    Ok(principal)
}

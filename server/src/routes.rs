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
mod program;
mod refusal;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::extract::RawQuery;
use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, extract};
use shared::protocol::message::SUBPROTOCOL;
use shared::protocol::resume::RESUMING_QUERY;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::compression::CompressionLayer;
use tower_http::services::ServeDir;
use tracing::Instrument;

use crate::adapters::{AdapterStore, AdaptersError};
use crate::app::App;
use crate::auth::{Authenticator, Principal, Scope};
use crate::catalogue::{Answer, Artifact};
use crate::connection::{self, Opening, Registry};
use crate::error::Fault;
use crate::jobs::Runs;
use crate::jobs::runs::Surroundings;
use crate::limits::{IMPORTS_MAX, RETRY_AFTER_SECS};
use crate::quota::{Quotas, SessionShare};
use crate::session::Offer;
use crate::state::{StateError, TenantId};
use crate::telemetry::metrics::{CONNECTIONS_REFUSED, Held, SESSIONS_OPEN, Turned};
use crate::telemetry::request_id::RequestId;
use crate::telemetry::traces::Trace;
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
    /// Runs that go on.
    pub runs: Runs,
    /// Sessions that another connection may go on with.
    pub resumable: Arc<Registry>,
    /// What tenants have.
    pub quotas: Arc<Quotas>,
    /// Adapters that are kept.
    pub adapters: AdapterStore,
    auth: Authenticator,
    slots: Arc<Semaphore>,
    watchers: Arc<Semaphore>,
    imports: Semaphore,
    program: Option<Artifact>,
}

impl State {
    /// Prepares a daemon for its requests, and takes up the jobs that an earlier process left open.
    ///
    /// # Errors
    ///
    /// When the state cannot be written, or the adapters' directory not be read.
    pub async fn prepare(
        app: App,
        shutdown: CancellationToken,
        tracker: TaskTracker,
    ) -> Result<Self, AdaptersError> {
        let trainer = &app.trainer;
        let offer = app
            .catalogue
            .offer(trainer.device_name(), trainer.trains_dense());
        let offer = Arc::new(offer);
        let (state, login) = (app.state.clone(), app.login);
        let (files, trainer) = (app.data.adapters(), trainer.clone());
        let (offered, bytes_max) = (offer.clone(), app.quotas.adapter_bytes_max);
        let prepared = spawn_blocking(move || {
            let adapters = AdapterStore::open(files, state.clone(), trainer, offered, bytes_max)?;
            let auth = Authenticator::new(state, login)?;
            Ok::<_, AdaptersError>((auth, adapters))
        });
        let (auth, adapters) = prepared.await.map_err(|_| StateError::Gone)??;
        let quotas = Arc::new(Quotas::new(app.quotas));
        let runs = Runs::new(Surroundings {
            state: app.state.clone(),
            trainer: app.trainer.clone(),
            quotas: quotas.clone(),
            files: app.data.jobs(),
            adapters: adapters.clone(),
            shutdown: shutdown.clone(),
            tracker: tracker.clone(),
        });
        runs.take_up(&offer).await?;
        let program = program::find(app.page.clone()).await;
        let slots = Arc::new(Semaphore::new(app.sessions_max));
        Ok(Self {
            quotas,
            watchers: Arc::new(Semaphore::new(watch::WATCHERS_MAX)),
            imports: Semaphore::new(IMPORTS_MAX),
            program,
            auth,
            runs,
            resumable: Arc::default(),
            adapters,
            app,
            offer,
            shutdown,
            tracker,
            slots,
        })
    }

    /// A place for a session of a tenant.
    ///
    /// # Errors
    ///
    /// `SessionsTaken`, `Quota`.
    pub fn seat(&self, tenant: TenantId) -> Result<Seat, Fault> {
        let Ok(permit) = self.slots.clone().try_acquire_owned() else {
            let sessions_max = self.app.sessions_max;
            return Err(Fault::SessionsTaken { sessions_max });
        };
        let share = self.quotas.open_session(tenant)?;
        let slot = Slot {
            _permit: permit,
            _counted: SESSIONS_OPEN.hold(),
        };
        Ok(Seat { share, slot })
    }
}

/// A place for one session.
#[derive(Debug)]
pub struct Seat {
    /// Of what its tenant may have.
    pub share: SessionShare,
    /// Of what the daemon takes.
    pub slot: Slot,
}

/// Counts against `--sessions-max` until it is dropped.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
    _counted: Held,
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
    let adapter = get(adapters::show)
        .patch(adapters::change)
        .delete(adapters::delete);
    let jobs = Router::new()
        .route("/v1/jobs", get(jobs::list))
        .route("/v1/jobs/{id}", get(jobs::show).delete(jobs::delete))
        .route("/v1/jobs/{id}/events", get(jobs::events))
        .route("/v1/jobs/{id}/pause", post(jobs::pause))
        .route("/v1/jobs/{id}/resume", post(jobs::resume))
        .route("/v1/jobs/{id}/cancel", post(jobs::cancel))
        .route("/v1/adapters", get(adapters::list).post(adapters::import))
        .route("/v1/adapters/{id}", adapter)
        .route("/v1/adapters/{id}/files/{name}", get(adapters::file))
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
            let router = match state.program {
                Some(_) => router.merge(program::route()),
                None => router,
            };
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
        .layer(from_fn(headers::secure))
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
        (status = 200, description = "The catalogue, docs/protocol.md section 1", body = Answer),
        (status = 401, description = "A token is needed, or this one is not accepted"),
    )
)]
async fn catalogue(state: Shared) -> Response {
    let program = state.program.as_ref().map(|file| (program::PATH, file));
    let answer = Json(state.app.catalogue.answer(program)).into_response();
    headers::revalidate(answer).await
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
    RawQuery(query): RawQuery,
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
    let seat = if resumes(query.as_deref()) {
        Ok(None)
    } else {
        state.seat(principal.tenant).map(Some)
    };
    let opening = match seat {
        Ok(None) => Opening::Resuming,
        Ok(Some(seat)) => Opening::Seated(seat),
        Err(Fault::Quota(error)) => return ApiError::from(error).into_response(),
        Err(_) => {
            return upgrade.on_upgrade(move |socket| async move {
                CONNECTIONS_REFUSED.count(Turned::SessionsFull);
                connection::turn_away(socket, &state).instrument(span).await;
                drop(tracked);
            });
        }
    };
    let trace = Trace::here();
    upgrade.on_upgrade(move |socket| async move {
        let connection = connection::run(socket, state, principal, opening).instrument(span);
        trace.around(connection).await;
        drop(tracked);
    })
}

/// Whether a connection says that it resumes a session.
fn resumes(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|pair| pair == RESUMING_QUERY))
}

/// Who opens a session, if they may.
async fn admit(state: &State, headers: &HeaderMap) -> Result<Principal, ApiError> {
    let principal = principal::of_session(state, headers).await?;
    principal.require(Scope::Train)?;
    Ok(principal)
}

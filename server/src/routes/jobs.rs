//! A tenant's jobs: seen, held, continued, ended, deleted.
//!
//! Every handler names tenant and job in one query, so that somebody else's job and none at all have
//! the same answer in the same time.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::State;
use super::paging::{self, PageQuery};
use super::refusal::{ApiError, Refusal};
use super::watch;
use crate::auth::{Principal, Scope};
use crate::jobs::control::Steer;
use crate::state::{
    Agreed, EventRecord, FailureClass, JobKey, JobPlace, JobRecord, JobState, TenantId,
};

/// Bytes of events after which a page ends: a validation of 1,000 classes is some megabytes.
pub(super) const EVENTS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A job as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobView {
    /// Its name.
    id: String,
    /// Where it stands.
    state: JobState,
    /// Milliseconds since 1970, as all times.
    created_millis: i64,
    /// When it began to run.
    started_millis: Option<i64>,
    /// When it ended.
    ended_millis: Option<i64>,
    /// What was agreed, in the names of docs/protocol.md.
    #[schema(value_type = Object)]
    agreed: Agreed,
    /// What there is to train on.
    examples: ExamplesView,
    /// Why it failed.
    failure: Option<FailureClass>,
}

/// What there is to train on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExamplesView {
    /// Examples that train.
    train: u32,
    /// Examples that measure.
    validation: u32,
    /// Bytes of their activations.
    bytes: u64,
}

impl From<JobRecord> for JobView {
    fn from(job: JobRecord) -> Self {
        Self {
            id: job.key.to_string(),
            state: job.state,
            created_millis: job.created.0,
            started_millis: job.started.map(|time| time.0),
            ended_millis: job.ended.map(|time| time.0),
            agreed: job.agreed,
            examples: ExamplesView {
                train: job.examples.train,
                validation: job.examples.validation,
                bytes: job.examples.bytes,
            },
            failure: job.failure,
        }
    }
}

/// Jobs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobPage {
    jobs: Vec<JobView>,
    /// `after` of the next page, if there is one.
    next: Option<String>,
}

/// Events, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventPage {
    events: Vec<EventRecord>,
    /// `after` of the next page; the events that are still to come are behind it.
    next: u64,
    /// Where the job stands.
    state: JobState,
}

/// What went with a job.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RemovedView {
    /// Events.
    events: u64,
    /// Adapters in the list of adapters.
    adapters: u64,
    /// Bytes of its examples.
    example_bytes: u64,
    /// Bytes of its checkpoint.
    checkpoint_bytes: u64,
    /// Bytes of its adapter's files.
    adapter_bytes: u64,
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventQuery {
    /// Events with cursors above this one; all without it.
    after: Option<u64>,
    /// Events at most; above 200 it is 200.
    limit: Option<u32>,
}

/// A name that is no key is a name that nobody's job has.
fn key(Path(id): &Path<String>) -> Result<JobKey, ApiError> {
    id.parse().map_err(|_| ApiError::UnknownJob)
}

/// The tenant's jobs, newest first.
#[utoipa::path(
    get,
    path = "/v1/jobs",
    tag = "jobs",
    params(PageQuery),
    responses(
        (status = 200, description = "A page of jobs", body = JobPage),
        (status = 400, description = "The query cannot be read", body = Refusal),
        (status = 401, description = "No token, or one that is not accepted", body = Refusal),
        (status = 403, description = "The scope jobs is missing", body = Refusal),
    )
)]
pub(super) async fn list(
    Extract(state): Extract<Arc<State>>,
    principal: Principal,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<JobPage>, ApiError> {
    principal.require(Scope::Jobs)?;
    let query = paging::query(query)?;
    let limit = query.limit();
    let after = query
        .after()?
        .map(|(created, key)| JobPlace { created, key });
    let found = state
        .app
        .state
        .call(move |store| store.jobs(principal.tenant, after, limit + 1))
        .await?;
    let place = |job: &JobRecord| paging::place(job.created, &job.key);
    let (found, next) = paging::cut(found, limit, place);
    Ok(Json(JobPage {
        jobs: found.into_iter().map(JobView::from).collect(),
        next,
    }))
}

/// One job.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}",
    tag = "jobs",
    params(("id" = String, Path, description = "The job")),
    responses(
        (status = 200, description = "The job", body = JobView),
        (status = 401, description = "No token, or one that is not accepted", body = Refusal),
        (status = 403, description = "The scope jobs is missing", body = Refusal),
        (status = 404, description = "The tenant has no such job", body = Refusal),
    )
)]
pub(super) async fn show(
    Extract(state): Extract<Arc<State>>,
    principal: Principal,
    id: Path<String>,
) -> Result<Json<JobView>, ApiError> {
    principal.require(Scope::Jobs)?;
    let job = job(&state, principal.tenant, key(&id)?).await?;
    Ok(Json(job.into()))
}

async fn job(state: &State, tenant: TenantId, key: JobKey) -> Result<JobRecord, ApiError> {
    let found = state.app.state.call(move |store| store.job(tenant, key));
    found.await?.ok_or(ApiError::UnknownJob)
}

/// What happened to a job: a page as JSON, or as it happens where `Accept` is `text/event-stream`.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/events",
    tag = "jobs",
    params(
        ("id" = String, Path, description = "The job"),
        EventQuery,
        ("Last-Event-ID" = Option<u64>, Header, description = "As after, for a stream"),
    ),
    responses(
        (status = 200, description = "A page of events, or a stream of them", content(
            (EventPage = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = 400, description = "The query cannot be read", body = Refusal),
        (status = 401, description = "No token, or one that is not accepted", body = Refusal),
        (status = 403, description = "The scope jobs is missing", body = Refusal),
        (status = 404, description = "The tenant has no such job", body = Refusal),
        (status = 503, description = "Too many watch already", body = Refusal),
    )
)]
pub(super) async fn events(
    Extract(state): Extract<Arc<State>>,
    principal: Principal,
    id: Path<String>,
    query: Result<Query<EventQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    principal.require(Scope::Jobs)?;
    let key = key(&id)?;
    let query = paging::query(query)?;
    let limit = paging::limit(query.limit);
    let tenant = principal.tenant;
    let last = watch::last_event_id(&headers)?;
    let after = query.after.unwrap_or(0);
    if wants_stream(&headers) {
        job(&state, tenant, key).await?;
        return Ok(watch::stream(state, tenant, key, last.unwrap_or(after))?.into_response());
    }
    let found = state
        .app
        .state
        .call(move |store| store.events(tenant, key, after, limit, EVENTS_BYTES_MAX))
        .await?;
    let (events, job_state) = found.ok_or(ApiError::UnknownJob)?;
    let next = events.last().map_or(after, |event| event.cursor);
    Ok(Json(EventPage {
        events,
        next,
        state: job_state,
    })
    .into_response())
}

/// Whether a stream is asked for by name; who takes anything gets JSON.
fn wants_stream(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','))
        .any(|kind| kind.trim().starts_with("text/event-stream"))
}

async fn steer(
    state: &State,
    principal: Principal,
    id: &Path<String>,
    steer: Steer,
) -> Result<StatusCode, ApiError> {
    principal.require(Scope::Jobs)?;
    let key = key(id)?;
    state.runs.steer(principal.tenant, key, steer).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Holds a job after its current step.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/pause",
    tag = "jobs",
    params(("id" = String, Path, description = "The job")),
    responses(
        (status = 202, description = "It is under way; the events say when it has happened"),
        (status = 401, description = "No token, or one that is not accepted", body = Refusal),
        (status = 403, description = "The scope jobs is missing", body = Refusal),
        (status = 404, description = "The tenant has no such job", body = Refusal),
        (status = 409, description = "The job does not run", body = Refusal),
    )
)]
pub(super) async fn pause(
    Extract(state): Extract<Arc<State>>,
    principal: Principal,
    id: Path<String>,
) -> Result<StatusCode, ApiError> {
    steer(&state, principal, &id, Steer::Pause).await
}

/// Goes on with a held job.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/resume",
    tag = "jobs",
    params(("id" = String, Path, description = "The job")),
    responses(
        (status = 202, description = "It is under way; the events say when it has happened"),
        (status = 401, description = "No token, or one that is not accepted", body = Refusal),
        (status = 403, description = "The scope jobs is missing", body = Refusal),
        (status = 404, description = "The tenant has no such job", body = Refusal),
        (status = 409, description = "The job is not held", body = Refusal),
    )
)]
pub(super) async fn resume(
    Extract(state): Extract<Arc<State>>,
    principal: Principal,
    id: Path<String>,
) -> Result<StatusCode, ApiError> {
    steer(&state, principal, &id, Steer::Resume).await
}

/// Ends a job and keeps its best adapter.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/cancel",
    tag = "jobs",
    params(("id" = String, Path, description = "The job")),
    responses(
        (status = 202, description = "It is under way; the events say when it has happened"),
        (status = 401, description = "No token, or one that is not accepted", body = Refusal),
        (status = 403, description = "The scope jobs is missing", body = Refusal),
        (status = 404, description = "The tenant has no such job", body = Refusal),
        (status = 409, description = "The job has ended", body = Refusal),
    )
)]
pub(super) async fn cancel(
    Extract(state): Extract<Arc<State>>,
    principal: Principal,
    id: Path<String>,
) -> Result<StatusCode, ApiError> {
    steer(&state, principal, &id, Steer::Cancel).await
}

/// Deletes a job that has ended, with its examples and its adapter, and says what went.
#[utoipa::path(
    delete,
    path = "/v1/jobs/{id}",
    tag = "jobs",
    params(("id" = String, Path, description = "The job")),
    responses(
        (status = 200, description = "What went", body = RemovedView),
        (status = 401, description = "No token, or one that is not accepted", body = Refusal),
        (status = 403, description = "The scope jobs is missing", body = Refusal),
        (status = 404, description = "The tenant has no such job", body = Refusal),
        (status = 409, description = "The job has not ended", body = Refusal),
    )
)]
pub(super) async fn delete(
    Extract(state): Extract<Arc<State>>,
    principal: Principal,
    id: Path<String>,
) -> Result<Json<RemovedView>, ApiError> {
    principal.require(Scope::Jobs)?;
    let deleted = state.runs.delete(principal.tenant, key(&id)?).await?;
    Ok(Json(RemovedView {
        events: deleted.records.events,
        adapters: deleted.records.adapters.len() as u64,
        example_bytes: deleted.files.example_bytes,
        checkpoint_bytes: deleted.files.checkpoint_bytes,
        adapter_bytes: deleted.adapters.bytes,
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_asked_for_by_name() {
        let asks = |value: &'static str| {
            wants_stream(&HeaderMap::from_iter([(
                header::ACCEPT,
                value.parse().unwrap(),
            )]))
        };
        assert!(asks("text/event-stream"));
        assert!(asks("application/json;q=0.1, text/event-stream"));
        assert!(!asks("*/*") && !asks("application/json"));
        assert!(!wants_stream(&HeaderMap::new()));
    }
}

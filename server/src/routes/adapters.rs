//! A tenant's adapters.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Extract};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::State;
use super::paging::{self, PageQuery};
use super::refusal::{ApiError, Refusal};
use crate::auth::{Principal, Scope};
use crate::state::AdapterRecord;

/// An adapter as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AdapterView {
    /// Its name in the state.
    id: String,
    /// The job that trained it.
    job: String,
    /// Its name for people.
    name: String,
    /// Milliseconds since 1970.
    created_millis: i64,
    /// What a validation said of it.
    #[schema(value_type = Object)]
    metrics: Value,
    /// Size of its files.
    bytes: u64,
}

impl From<AdapterRecord> for AdapterView {
    fn from(adapter: AdapterRecord) -> Self {
        Self {
            id: adapter.key.to_string(),
            job: adapter.job.to_string(),
            name: adapter.name,
            created_millis: adapter.created.0,
            metrics: adapter.metrics,
            bytes: adapter.bytes,
        }
    }
}

/// Adapters, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AdapterPage {
    adapters: Vec<AdapterView>,
    /// `after` of the next page, if there is one.
    next: Option<String>,
}

/// The tenant's adapters, newest first.
#[utoipa::path(
    get,
    path = "/v1/adapters",
    tag = "adapters",
    params(PageQuery),
    responses(
        (status = 200, description = "A page of adapters", body = AdapterPage),
        (status = 400, description = "The query cannot be read", body = Refusal),
        (status = 401, description = "No token, or one that is not accepted", body = Refusal),
        (status = 403, description = "The scope adapters is missing", body = Refusal),
    )
)]
pub(super) async fn list(
    Extract(state): Extract<Arc<State>>,
    principal: Principal,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<AdapterPage>, ApiError> {
    principal.require(Scope::Adapters)?;
    let query = paging::query(query)?;
    let (after, limit) = (query.after()?, query.limit());
    let found = state
        .app
        .state
        .call(move |store| store.adapters(principal.tenant, after, limit + 1))
        .await?;
    let place = |one: &AdapterRecord| paging::place(one.created, &one.key);
    let (found, next) = paging::cut(found, limit, place);
    Ok(Json(AdapterPage {
        adapters: found.into_iter().map(AdapterView::from).collect(),
        next,
    }))
}

//! A tenant's adapters: seen, named, made the default, deleted, taken away, brought.
//!
//! As with jobs, tenant and adapter are named in one query.

use std::sync::Arc;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State as Extract};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::adapter::peft::CONFIG_FILE;
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::State;
use super::paging::{self, PageQuery};
use super::refusal::{ApiError, Refusal};
use crate::adapters::AdaptersError;
use crate::auth::{Principal, Scope};
use crate::limits::{ADAPTER_BYTES_MAX, IMPORT_MAX};
use crate::state::{AdapterChange, AdapterKey, AdapterName, AdapterRecord};

/// An adapter as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AdapterView {
    /// Its name in the state.
    id: String,
    /// The job that trained it; none for one that was brought.
    job: Option<String>,
    /// Its name for people.
    name: String,
    /// The model that it was made for.
    model_id: String,
    /// Blocks that the client runs.
    cut: u32,
    /// Classes of its head.
    n_classes: u32,
    /// Whether it predicts where a session names none.
    is_default: bool,
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
            job: adapter.job.map(|job| job.to_string()),
            name: adapter.name.as_str().to_owned(),
            model_id: adapter.fit.model_id,
            cut: adapter.fit.cut,
            n_classes: adapter.fit.n_classes,
            is_default: adapter.is_default,
            created_millis: adapter.created.0,
            metrics: adapter.metrics,
            bytes: adapter.bytes,
        }
    }
}

/// What is changed of an adapter.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeBody {
    /// Another name.
    name: Option<String>,
    /// Whether it is the tenant's default for its model and cut.
    is_default: Option<bool>,
}

/// What went with an adapter.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RemovedAdapterView {
    /// What it was.
    adapter: AdapterView,
    /// Files that were removed.
    files: usize,
}

/// What an adapter that is brought is for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ImportQuery {
    /// Blocks that the client runs.
    cut: u32,
    /// Its name; one is made up without it.
    name: Option<String>,
}

/// A name that is no key is a name that nobody's adapter has.
fn key(id: &str) -> Result<AdapterKey, ApiError> {
    id.parse().map_err(|_| AdaptersError::Unknown.into())
}

fn name(name: Option<String>) -> Result<Option<AdapterName>, ApiError> {
    let name = name.map(|name| name.parse()).transpose();
    name.map_err(ApiError::Name)
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

/// One adapter.
#[utoipa::path(
    get,
    path = "/v1/adapters/{id}",
    tag = "adapters",
    params(("id" = String, Path, description = "The adapter")),
    responses(
        (status = 200, description = "The adapter", body = AdapterView),
        (status = 401, description = "No token, or one that is not accepted", body = Refusal),
        (status = 403, description = "The scope adapters is missing", body = Refusal),
        (status = 404, description = "The tenant has no such adapter", body = Refusal),
    )
)]
pub(super) async fn show(
    Extract(state): Extract<Arc<State>>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Json<AdapterView>, ApiError> {
    principal.require(Scope::Adapters)?;
    let record = state.adapters.record(principal.tenant, key(&id)?).await?;
    Ok(Json(record.into()))
}

/// Renames an adapter, or makes it the default of its model and cut, or an ordinary one.
#[utoipa::path(
    patch,
    path = "/v1/adapters/{id}",
    tag = "adapters",
    params(("id" = String, Path, description = "The adapter")),
    request_body = ChangeBody,
    responses(
        (status = 200, description = "The adapter as it is now", body = AdapterView),
        (status = 400, description = "The body cannot be read, or the name is none", body = Refusal),
        (status = 401, description = "No token, or one that is not accepted", body = Refusal),
        (status = 403, description = "The scope adapters is missing", body = Refusal),
        (status = 404, description = "The tenant has no such adapter", body = Refusal),
        (status = 409, description = "Another adapter has this name", body = Refusal),
    )
)]
pub(super) async fn change(
    Extract(state): Extract<Arc<State>>,
    principal: Principal,
    Path(id): Path<String>,
    body: Result<Json<ChangeBody>, JsonRejection>,
) -> Result<Json<AdapterView>, ApiError> {
    principal.require(Scope::Adapters)?;
    let key = key(&id)?;
    let Json(body) = body.map_err(|_| ApiError::Body)?;
    let change = AdapterChange {
        name: name(body.name)?,
        is_default: body.is_default,
    };
    let record = state.adapters.change(principal.tenant, key, change).await?;
    Ok(Json(record.into()))
}

/// Deletes an adapter, and says what went.
#[utoipa::path(
    delete,
    path = "/v1/adapters/{id}",
    tag = "adapters",
    params(("id" = String, Path, description = "The adapter")),
    responses(
        (status = 200, description = "What went", body = RemovedAdapterView),
        (status = 401, description = "No token, or one that is not accepted", body = Refusal),
        (status = 403, description = "The scope adapters is missing", body = Refusal),
        (status = 404, description = "The tenant has no such adapter", body = Refusal),
    )
)]
pub(super) async fn delete(
    Extract(state): Extract<Arc<State>>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Json<RemovedAdapterView>, ApiError> {
    principal.require(Scope::Adapters)?;
    let removed = state.adapters.delete(principal.tenant, key(&id)?).await?;
    Ok(Json(RemovedAdapterView {
        adapter: removed.record.into(),
        files: removed.files.files,
    }))
}

/// A file of an adapter, as the Python library `peft` reads it.
#[utoipa::path(
    get,
    path = "/v1/adapters/{id}/files/{name}",
    tag = "adapters",
    params(
        ("id" = String, Path, description = "The adapter"),
        ("name" = String, Path, description = "adapter_config.json or adapter_model.safetensors"),
    ),
    responses(
        (status = 200, description = "The file", content(
            (Object = "application/json"),
            (String = "application/octet-stream"),
        )),
        (status = 401, description = "No token, or one that is not accepted", body = Refusal),
        (status = 403, description = "The scope export is missing", body = Refusal),
        (status = 404, description = "The tenant has no such adapter, or it no such file", body = Refusal),
    )
)]
pub(super) async fn file(
    Extract(state): Extract<Arc<State>>,
    principal: Principal,
    Path((id, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    principal.require(Scope::Export)?;
    let bytes = state.adapters.file(principal.tenant, key(&id)?, &name);
    let bytes = bytes.await?;
    let kind = if name == CONFIG_FILE {
        "application/json"
    } else {
        "application/octet-stream"
    };
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

/// Keeps an adapter that was trained elsewhere, or exported here: the two files of a PEFT directory
/// in a tar archive.
#[utoipa::path(
    post,
    path = "/v1/adapters",
    tag = "adapters",
    params(ImportQuery),
    request_body(content = String, content_type = "application/x-tar"),
    responses(
        (status = 201, description = "The adapter", body = AdapterView),
        (status = 400, description = "The query cannot be read, or the name is none", body = Refusal),
        (status = 401, description = "No token, or one that is not accepted", body = Refusal),
        (status = 403, description = "The scope adapters is missing", body = Refusal),
        (status = 408, description = "The archive came too slowly", body = Refusal),
        (status = 409, description = "Another adapter has this name", body = Refusal),
        (status = 413, description = "The archive is too large", body = Refusal),
        (status = 422, description = "It is not an adapter of this model and cut", body = Refusal),
        (status = 429, description = "The tenant keeps as much as it may", body = Refusal),
        (status = 503, description = "Others bring adapters already", body = Refusal),
    )
)]
pub(super) async fn import(
    Extract(state): Extract<Arc<State>>,
    principal: Principal,
    query: Result<Query<ImportQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    principal.require(Scope::Adapters)?;
    let ImportQuery { cut, name: asked } = paging::query(query)?;
    let name = name(asked)?;
    let claimed = request.headers().get(header::CONTENT_LENGTH);
    let claimed = claimed.and_then(|bytes| bytes.to_str().ok()?.parse::<usize>().ok());
    if claimed.is_some_and(|bytes| bytes > ADAPTER_BYTES_MAX) {
        return Err(ApiError::TooLarge);
    }
    let _place = state.imports.try_acquire().map_err(|_| ApiError::Imports)?;
    let bytes = timeout(IMPORT_MAX, to_bytes(request.into_body(), ADAPTER_BYTES_MAX)).await;
    let bytes = bytes.map_err(|_| ApiError::TooSlow)?;
    // A body that breaks off has nobody left to answer.
    let bytes = bytes.map_err(|_| ApiError::TooLarge)?;
    let kept = state.adapters.import(principal.tenant, name, cut, &bytes);
    Ok((StatusCode::CREATED, Json(AdapterView::from(kept.await?))).into_response())
}

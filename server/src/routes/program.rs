//! The program that the page runs, as a file of the catalogue: its sha256 is listed, and a download
//! of it that was cut goes on where it ended.
//!
//! The file is described once, when the daemon starts: after a build of another page into the same
//! directory a browser finds other bytes than are listed, says so, and runs none of them until the
//! daemon is started again.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, Request, State as Extract};
use axum::http::StatusCode;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::task::spawn_blocking;
use tower_http::services::ServeFile;

use super::State;
use super::artifacts::{Version, answer, weaken_etag_of_compressed};
use crate::catalogue::Artifact;

/// Where it is served, beside the page's other files.
pub(super) const PATH: &str = "/client_wasm_bg.wasm";

/// Describes the program of a built page; none where there is no page, or none with a program.
pub(super) async fn find(page: Option<PathBuf>) -> Option<Artifact> {
    let path = page?.join(PATH.trim_start_matches('/'));
    match spawn_blocking(|| Artifact::of_file(path)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the page's program cannot be read and is not listed");
            None
        }
        Err(_) => None, // the runtime ends
    }
}

/// The program's route; for everyone, as the page is.
pub(super) fn route() -> Router<Arc<State>> {
    Router::new()
        .route(PATH, get(program))
        .layer(map_response(weaken_etag_of_compressed))
}

async fn program(
    Extract(state): Extract<Arc<State>>,
    Query(version): Query<Version>,
    request: Request,
) -> Response {
    let Some(artifact) = &state.program else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let file = ServeFile::new(&artifact.path)
        .precompressed_br()
        .precompressed_gzip();
    answer(artifact, file, &version, request).await
}

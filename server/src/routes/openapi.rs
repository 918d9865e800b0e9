//! The description of the API, OpenAPI, from the handlers themselves.

use axum::Json;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{adapters, artifacts, jobs};

/// Everything under `/v1`.
#[derive(OpenApi)]
#[openapi(
    info(title = "Cutlayer", description = "Jobs, adapters and the model of a cutlayer-server."),
    paths(
        super::catalogue,
        super::session,
        description,
        artifacts::bottom,
        artifacts::tokenizer,
        artifacts::config,
        jobs::list,
        jobs::show,
        jobs::delete,
        jobs::events,
        jobs::pause,
        jobs::resume,
        jobs::cancel,
        adapters::list,
        adapters::import,
        adapters::show,
        adapters::change,
        adapters::delete,
        adapters::file,
    ),
    security((), ("token" = [])),
    modifiers(&Token),
)]
pub(super) struct Description;

/// How a token travels.
struct Token;

impl Modify for Token {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = Http::new(HttpAuthScheme::Bearer);
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// This description.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    tag = "description",
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
)]
pub(super) async fn description() -> Json<utoipa::openapi::OpenApi> {
    Json(Description::openapi())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The routes as `routes.rs` writes them. Breaks when a route is added without a description, or
    /// a description stays behind.
    #[test]
    fn every_route_is_described() {
        let source = include_str!("../routes.rs");
        let mut routes: Vec<&str> = source
            .split(".route(\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
            .filter(|path| path.starts_with("/v1/"))
            .collect();
        routes.sort_unstable();
        let description = Description::openapi();
        let mut described: Vec<&str> = description.paths.paths.keys().map(String::as_str).collect();
        described.sort_unstable();
        assert_eq!(routes, described);
        assert!(routes.len() >= 15);
    }

    #[test]
    fn what_is_described_says_how_to_be_let_in() {
        let description = serde_json::to_value(Description::openapi()).unwrap();
        let scheme = &description["components"]["securitySchemes"]["token"];
        assert_eq!(scheme["scheme"], "bearer");
        let delete = &description["paths"]["/v1/jobs/{id}"]["delete"];
        for status in ["200", "401", "403", "404", "409"] {
            assert!(delete["responses"].get(status).is_some(), "{status}");
        }
        let schemas = description["components"]["schemas"].as_object().unwrap();
        for name in [
            "JobView",
            "EventPage",
            "EventRecord",
            "JobState",
            "Refusal",
            "FileDescription",
        ] {
            assert!(schemas.contains_key(name), "{name}");
        }
    }
}

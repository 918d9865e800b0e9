//! What a request is told when it is not answered: a status, a stable code and a sentence.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::AuthError;
use crate::jobs::control::ControlError;
use crate::limits::RETRY_AFTER_SECS;
use crate::quota::QuotaError;
use crate::state::StateError;

/// Why a request is not answered. No sentence repeats what the client sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// Who asks is not let in, or not to this.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The tenant has as much as it may.
    #[error(transparent)]
    Quota(#[from] QuotaError),
    /// The tenant has no such job: there is none, or it is somebody else's.
    #[error("there is no such job")]
    UnknownJob,
    /// The job's state does not allow it.
    #[error("the job's state does not allow this")]
    Conflict,
    /// A part of the query cannot be read.
    #[error("a part of the query is not what it must be")]
    Query,
    /// A browser's page of another origin.
    #[error("requests come from this server's own page, or from clients without an Origin")]
    ForeignOrigin,
    /// Too many watch already.
    #[error("too many watch already; read the events page by page, or try again")]
    Watchers,
    /// The server failed.
    #[error("the server could not do this")]
    State(#[source] StateError),
    /// The server failed.
    #[error("the server could not do this")]
    Control(#[source] ControlError),
}

impl From<StateError> for ApiError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::UnknownJob => Self::UnknownJob,
            error => Self::State(error),
        }
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::UnknownJob => Self::UnknownJob,
            ControlError::Conflict => Self::Conflict,
            error => Self::Control(error),
        }
    }
}

/// A refusal as it is sent.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Refusal {
    /// Stable, for programs.
    pub(super) code: &'static str,
    /// For people; it may change.
    pub(super) sentence: String,
}

impl ApiError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Auth(AuthError::Missing) => (StatusCode::UNAUTHORIZED, "token_needed"),
            Self::Auth(AuthError::Refused) => (StatusCode::UNAUTHORIZED, "token_refused"),
            Self::Auth(AuthError::Forbidden { .. }) => (StatusCode::FORBIDDEN, "scope_missing"),
            Self::ForeignOrigin => (StatusCode::FORBIDDEN, "foreign_origin"),
            Self::Quota(_) => (StatusCode::TOO_MANY_REQUESTS, "quota_exceeded"),
            Self::UnknownJob => (StatusCode::NOT_FOUND, "unknown_job"),
            Self::Conflict => (StatusCode::CONFLICT, "wrong_state"),
            Self::Query => (StatusCode::BAD_REQUEST, "bad_query"),
            Self::Watchers => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::Auth(AuthError::State(_)) | Self::State(_) | Self::Control(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal")
            }
        }
    }

    fn retry_after_secs(&self) -> Option<u64> {
        match self {
            Self::Quota(error) => Some(error.retry_after_secs()),
            Self::Watchers => Some(RETRY_AFTER_SECS),
            _ => None,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        match &self {
            Self::State(error) | Self::Auth(AuthError::State(error)) => {
                tracing::error!(%error, "the state failed");
            }
            Self::Control(error) => tracing::error!(?error, "a job could not be steered"),
            _ => tracing::debug!(code, "refused a request"),
        }
        let sentence = self.to_string();
        let mut response = (status, Json(Refusal { code, sentence })).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(secs) = self.retry_after_secs() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        response
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::auth::Scope;

    #[test]
    fn a_refusal_says_what_would_help() {
        let missing = ApiError::Auth(AuthError::Missing).into_response();
        assert_eq!(missing.status(), 401);
        assert_eq!(missing.headers()[header::WWW_AUTHENTICATE], "Bearer");
        let scope = Scope::Jobs;
        let forbidden = ApiError::Auth(AuthError::Forbidden { scope }).into_response();
        assert_eq!(forbidden.status(), 403);
        let error = QuotaError::StepsPerHour {
            max: 1,
            retry_secs: 120,
        };
        let quota = ApiError::Quota(error).into_response();
        assert_eq!(quota.status(), 429);
        assert_eq!(quota.headers()[header::RETRY_AFTER], "120");
    }

    #[test]
    fn internal_reasons_stay_inside() {
        let error = StateError::Io {
            path: "/var/lib/cutlayer/state.sqlite".into(),
            source: std::io::Error::other("full"),
        };
        let error = ApiError::from(error);
        assert_eq!(error.status_and_code().1, "internal");
        assert!(!error.to_string().contains("cutlayer"));
    }
}

//! What a request is told when it is not answered: a status, a stable code and a sentence.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::adapters::AdaptersError;
use crate::auth::AuthError;
use crate::jobs::control::ControlError;
use crate::limits::{ADAPTER_BYTES_MAX, IMPORT_MAX, RETRY_AFTER_SECS};
use crate::quota::QuotaError;
use crate::state::{NameError, StateError};

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
    /// The body cannot be read.
    #[error("the body is not what it must be")]
    Body,
    /// A name is none.
    #[error(transparent)]
    Name(NameError),
    /// An archive is larger than what is taken.
    #[error("an adapter may have {ADAPTER_BYTES_MAX} bytes")]
    TooLarge,
    /// An archive did not come in time.
    #[error("the archive did not come in {} seconds", IMPORT_MAX.as_secs())]
    TooSlow,
    /// Too many bring adapters already.
    #[error("others bring adapters at this moment; try again")]
    Imports,
    /// An adapter was not kept, given or changed.
    #[error(transparent)]
    Adapters(AdaptersError),
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

impl From<AdaptersError> for ApiError {
    fn from(error: AdaptersError) -> Self {
        match error {
            AdaptersError::Quota(error) => Self::Quota(error),
            AdaptersError::State(error) => error.into(),
            error => Self::Adapters(error),
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
            Self::Watchers | Self::Imports => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::Body => (StatusCode::BAD_REQUEST, "bad_body"),
            Self::Name(_) => (StatusCode::BAD_REQUEST, "bad_name"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too_slow"),
            Self::Adapters(error) => adapters_code(error),
            Self::Auth(AuthError::State(_)) | Self::State(_) | Self::Control(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal")
            }
        }
    }

    fn retry_after_secs(&self) -> Option<u64> {
        match self {
            Self::Quota(error) => Some(error.retry_after_secs()),
            Self::Watchers | Self::Imports => Some(RETRY_AFTER_SECS),
            _ => None,
        }
    }
}

fn adapters_code(error: &AdaptersError) -> (StatusCode, &'static str) {
    match error {
        AdaptersError::Unknown => (StatusCode::NOT_FOUND, "unknown_adapter"),
        AdaptersError::NameTaken => (StatusCode::CONFLICT, "name_taken"),
        AdaptersError::Archive(_)
        | AdaptersError::NotAnAdapter(_)
        | AdaptersError::Classes { .. }
        | AdaptersError::Misfit { .. }
        | AdaptersError::OtherModel => (StatusCode::UNPROCESSABLE_ENTITY, "not_an_adapter"),
        AdaptersError::UnknownCut { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "unknown_cut"),
        AdaptersError::Quota(_) => (StatusCode::TOO_MANY_REQUESTS, "quota_exceeded"),
        AdaptersError::Io(_) | AdaptersError::State(_) | AdaptersError::Trainer(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "internal")
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
            Self::Adapters(error) if status.is_server_error() => {
                tracing::error!(?error, "an adapter's request failed");
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

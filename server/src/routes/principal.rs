//! Who asks: the token of a request, where it may stand, and the principal that it is.
//!
//! A token stands in `Authorization: Bearer`. A browser's WebSocket cannot set that header, so there
//! it may stand among the subprotocols, which are not logged and not part of an address. It never
//! stands in an address: addresses are kept in histories and logs.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State as Extract};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use shared::protocol::message::TOKEN_SUBPROTOCOL;

use super::State;
use super::access::text;
use super::refusal::ApiError;
use crate::auth::{AuthError, Principal};
use crate::state::UnixMillis;

impl FromRequestParts<Arc<State>> for Principal {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<State>,
    ) -> Result<Self, Self::Rejection> {
        of_request(state, &parts.headers)
            .await
            .map_err(|error| ApiError::from(error).into_response())
    }
}

async fn of_request(state: &State, headers: &HeaderMap) -> Result<Principal, AuthError> {
    let presented = bearer(headers)?;
    state.auth.principal(presented, UnixMillis::now()).await
}

/// The principal of a request for a session.
///
/// # Errors
///
/// Those of the token.
pub(super) async fn of_session(state: &State, headers: &HeaderMap) -> Result<Principal, ApiError> {
    let presented = match (bearer(headers)?, protocol(headers)?) {
        (Some(_), Some(_)) => return Err(AuthError::Refused.into()),
        (one, other) => one.or(other),
    };
    Ok(state.auth.principal(presented, UnixMillis::now()).await?)
}

/// Answers only whom the daemon lets in, whatever their scopes.
pub(super) async fn let_in(
    Extract(state): Extract<Arc<State>>,
    request: Request,
    next: Next,
) -> Response {
    if let Err(error) = of_request(&state, request.headers()).await {
        return ApiError::from(error).into_response();
    }
    let by_token = request.headers().contains_key(header::AUTHORIZATION);
    let mut response = next.run(request).await;
    if by_token {
        keep_private(response.headers_mut());
    }
    response
}

/// What was given to somebody with a token is not for the next one that asks the same cache.
fn keep_private(headers: &mut HeaderMap) {
    let private = headers
        .get(header::CACHE_CONTROL)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("public"))
        .and_then(|rest| HeaderValue::from_str(&format!("private{rest}")).ok());
    if let Some(private) = private {
        headers.insert(header::CACHE_CONTROL, private);
    }
}

/// The token of `Authorization`, if the header is there.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, AuthError> {
    if !headers.contains_key(header::AUTHORIZATION) {
        return Ok(None);
    }
    let value = text(headers, header::AUTHORIZATION).ok_or(AuthError::Refused)?;
    let (scheme, token) = value.split_once(' ').ok_or(AuthError::Refused)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(Some(token.trim_start_matches(' ')))
    } else {
        Err(AuthError::Refused)
    }
}

/// The token among the subprotocols, if there is one.
fn protocol(headers: &HeaderMap) -> Result<Option<&str>, AuthError> {
    let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let mut tokens = lists
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|protocol| protocol.trim().strip_prefix(TOKEN_SUBPROTOCOL));
    match (tokens.next(), tokens.next()) {
        (token, None) => Ok(token),
        (_, Some(_)) => Err(AuthError::Refused),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_token_stands_behind_bearer() {
        let of = |value| {
            let headers = headers(&[(header::AUTHORIZATION, value)]);
            bearer(&headers).map(|token| token.map(str::to_owned))
        };
        assert_eq!(of("Bearer ctl_1").unwrap().as_deref(), Some("ctl_1"));
        assert_eq!(of("bearer  ctl_1").unwrap().as_deref(), Some("ctl_1"));
        assert!(of("Basic ctl_1").is_err());
        assert!(of("ctl_1").is_err());
        assert!(bearer(&HeaderMap::new()).unwrap().is_none());
        let twice = [
            (header::AUTHORIZATION, "Bearer a"),
            (header::AUTHORIZATION, "Bearer b"),
        ];
        assert!(bearer(&headers(&twice)).is_err());
    }

    #[test]
    fn a_token_stands_among_the_subprotocols() {
        let of = |value| {
            let headers = headers(&[(header::SEC_WEBSOCKET_PROTOCOL, value)]);
            protocol(&headers).map(|token| token.map(str::to_owned))
        };
        let both = of("cutlayer.v1, cutlayer.token.ctl_1").unwrap();
        assert_eq!(both.as_deref(), Some("ctl_1"));
        assert_eq!(of("cutlayer.v1").unwrap(), None);
        assert!(of("cutlayer.token.a,cutlayer.token.b").is_err());
    }

    #[test]
    fn what_a_token_opened_is_not_for_shared_caches() {
        let mut kept = headers(&[(header::CACHE_CONTROL, "public, max-age=9")]);
        keep_private(&mut kept);
        assert_eq!(kept[header::CACHE_CONTROL], "private, max-age=9");
        let mut asked = headers(&[(header::CACHE_CONTROL, "no-cache")]);
        keep_private(&mut asked);
        assert_eq!(asked[header::CACHE_CONTROL], "no-cache");
    }
}

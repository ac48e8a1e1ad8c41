//! Who calls from a browser: the token of a connect session, as a bearer. Few routes take one, and a route that takes one cannot
//! overlook it: it gets a [`Visitor`] and not a [`Key`].

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};

use super::auth::{Key, Need, unauthorized};
use super::error::ApiError;
use super::query::Query;
use crate::connect::{SessionError, TOKEN_PREFIX};
use crate::model::ConnectSession;
use crate::runtime::{Caller, Runtime};

/// Names the session in a query. (Nango compatibility.)
pub const SESSION_PARAMETER: &str = "connect_session_token";

/// A request with the token of a session.
pub struct Session(pub ConnectSession);

impl FromRequestParts<Runtime> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, runtime: &Runtime) -> Result<Self, ApiError> {
        match bearer(&parts.headers) {
            Some(token) => Ok(Self(runtime.connect_session(token).await?)),
            None => Err(unauthorized(
                "missing_auth_header",
                "The request has no `Authorization: Bearer <connect session token>`.",
            )),
        }
    }
}

/// A request that names its session in the query, as the routes by which browsers make connections have it. Only there: what a
/// browser sends by itself names no session.
pub struct QuerySession(pub ConnectSession);

impl FromRequestParts<Runtime> for QuerySession {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, runtime: &Runtime) -> Result<Self, ApiError> {
        let mut query = Query::parse(parts.uri.query());
        if let Some(token) = query.optional(SESSION_PARAMETER) {
            return Ok(Self(runtime.connect_session(&token).await?));
        }
        let has_public_key = query.optional("public_key").is_some();
        Err(if has_public_key {
            unauthorized(
                "invalid_public_key",
                "Public keys are not supported: have your back end open a connect session (POST /connect/sessions), and give its token as `connect_session_token`.",
            )
        } else {
            unauthorized(
                "missing_public_key",
                "The query has no `connect_session_token`; your back end gets one from POST /connect/sessions.",
            )
        })
    }
}

/// Who may see what a connect page shows.
pub enum Visitor {
    /// With the scope that the route needs.
    Key(Caller),
    Session(Box<ConnectSession>),
}

/// A request with a key that has the scope `N`, or with the token of a session.
pub struct KeyOrSession<N: Need>(pub Visitor, pub std::marker::PhantomData<N>);

impl<N: Need> FromRequestParts<Runtime> for KeyOrSession<N> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, runtime: &Runtime) -> Result<Self, ApiError> {
        let is_session = bearer(&parts.headers).is_some_and(|token| token.starts_with(TOKEN_PREFIX));
        let visitor = if is_session {
            let Session(session) = Session::from_request_parts(parts, runtime).await?;
            Visitor::Session(Box::new(session))
        } else {
            let Key(caller, _) = Key::<N>::from_request_parts(parts, runtime).await?;
            Visitor::Key(caller)
        };
        Ok(Self(visitor, std::marker::PhantomData))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl From<SessionError> for ApiError {
    fn from(error: SessionError) -> Self {
        let message = error.to_string();
        let refused = |code| {
            Self::new(
                StatusCode::UNAUTHORIZED,
                code,
                format!("Authentication failed: {message}"),
            )
        };
        match error {
            SessionError::Format => refused("invalid_connect_session_token_format"),
            SessionError::Unknown => refused("unknown_connect_session_token"),
            SessionError::Stored { .. } => Self::internal(error),
            SessionError::Encryption(error) => error.into(),
            SessionError::Store(error) => error.into(),
        }
    }
}

//! `/audit`: who was shown credentials, newest first; functions that were told a token included. Also where credentials are noted before they are shown.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Request, State};
use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::json_response;
use super::error::{ApiError, ErrorEnvelope};
use super::fault::Fault;
use super::query::Query;
use super::timestamp::{ms_utc, parse_moment_ms};
use crate::model::{CredentialRead, CredentialReadKind, CredentialReader};
use crate::runtime::Runtime;
use crate::store::CredentialReadQuery;

const LIMIT_DEFAULT: i64 = 50;
const LIMIT_MAX: i64 = 500;

/// The `X-Request-Id` that the answer will have.
#[derive(Clone, Debug)]
pub struct RequestId(pub HeaderValue);

impl RequestId {
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let known = parts.extensions.get::<Self>().cloned();
        Ok(known.unwrap_or(Self(HeaderValue::from_static(""))))
    }
}

#[derive(Serialize, ToSchema)]
pub struct CredentialReadList {
    data: Vec<CredentialReadItem>,
    /// To be given as `cursor` for those before; none when there are no more.
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct CredentialReadItem {
    id: String,
    /// connection, import (a connection's, in the answer to its import), integration, variables (of the environment), or token (a
    /// connection's credentials, told to a function).
    #[schema(value_type = String)]
    r#type: CredentialReadKind,
    provider_config_key: Option<String>,
    connection_id: Option<String>,
    /// None where a function was told.
    api_key: Option<ApiKeyOfRead>,
    /// The `X-Request-Id` of the answer that showed them.
    request_id: Option<String>,
    /// Which function was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<FunctionOfRead>,
    /// Fresh credentials were asked for.
    force_refresh: bool,
    /// The refresh token was shown too.
    refresh_token: bool,
    read_at: String,
}

#[derive(Serialize, ToSchema)]
pub struct ApiKeyOfRead {
    id: String,
    /// As it was named then.
    name: String,
}

#[derive(Serialize, ToSchema)]
pub struct FunctionOfRead {
    name: String,
    /// None of a dry run.
    run_id: Option<String>,
    /// Of its run, in the log.
    operation_id: String,
}

/// List who was shown credentials, newest first.
#[utoipa::path(
    get, path = "/audit", tag = "audit",
    params(
        ("type" = Option<String>, Query, description = "connection, import, integration, variables or token"),
        ("integration" = Option<String>, Query, description = "Its unique key"),
        ("connection" = Option<String>, Query, description = "Its connection id"),
        ("api_key" = Option<String>, Query, description = "Id of the key"),
        ("since" = Option<String>, Query, description = "Then or later: an ISO date-time, or an age as in 90s, 15m, 2h, 7d"),
        ("until" = Option<String>, Query, description = "Before: as since"),
        ("cursor" = Option<String>, Query, description = "The next_cursor of an earlier page"),
        ("limit" = Option<i64>, Query, description = "1 to 500, otherwise 50"),
    ),
    responses((status = 200, body = CredentialReadList), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn list(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::AuditRead>,
    request: Request,
) -> Result<Response, ApiError> {
    let query = read_query(request.uri().query(), runtime.now_ms())?;
    let reads = runtime.credential_reads(caller.environment()?, &query).await?;
    let is_full = i64::try_from(reads.len()).is_ok_and(|length| length >= query.limit);
    let next_cursor = reads.last().filter(|_| is_full).map(|read| read.id.to_string());
    let data = reads.into_iter().map(CredentialReadItem::from).collect();
    Ok(json_response(StatusCode::OK, &CredentialReadList { data, next_cursor }))
}

fn read_query(query: Option<&str>, now_ms: i64) -> Result<CredentialReadQuery, ApiError> {
    let mut query = Query::parse(query);
    let moment = |query: &mut Query, name| {
        let text = query.optional(name)?;
        let at_ms = parse_moment_ms(&text, now_ms);
        if at_ms.is_none() {
            let message = "Invalid input: expected an ISO date-time, or an age such as 90s, 15m, 2h or 7d";
            query.fault(Fault::new("invalid_format", message, name));
        }
        at_ms
    };
    let list = CredentialReadQuery {
        kind: query.word("type", &["connection", "import", "integration", "variables", "token"]),
        provider_config_key: query.optional("integration"),
        connection_id: query.optional("connection"),
        api_key_id: query.optional("api_key"),
        since_ms: moment(&mut query, "since"),
        until_ms: moment(&mut query, "until"),
        before: query.optional("cursor").map(Into::into),
        limit: query.integer("limit", 1..=LIMIT_MAX, LIMIT_DEFAULT),
    };
    query.finish()?;
    Ok(list)
}

impl From<CredentialRead> for CredentialReadItem {
    fn from(read: CredentialRead) -> Self {
        let (api_key, request_id, function) = match read.by {
            CredentialReader::ApiKey { id, name, request_id } => {
                let id = id.to_string();
                (Some(ApiKeyOfRead { id, name }), Some(request_id), None)
            }
            CredentialReader::Function {
                name,
                run_id,
                operation_id,
            } => {
                let function = FunctionOfRead {
                    name,
                    run_id: run_id.map(|id| id.to_string()),
                    operation_id: operation_id.to_string(),
                };
                (None, None, Some(function))
            }
        };
        Self {
            id: read.id.to_string(),
            r#type: read.kind,
            provider_config_key: read.provider_config_key,
            connection_id: read.connection_id,
            api_key,
            request_id,
            function,
            force_refresh: read.forced,
            refresh_token: read.with_refresh_token,
            read_at: ms_utc(read.read_at_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let parse = |text| read_query(Some(text), 1_795_346_209_746);
        let list =
            parse("type=connection&integration=github&connection=c&api_key=key_1&since=1h&cursor=crd_1").unwrap();
        assert_eq!((list.kind, list.limit), (Some(CredentialReadKind::Connection), 50));
        assert_eq!(
            (list.since_ms, list.before),
            (Some(1_795_342_609_746), Some("crd_1".into()))
        );
        for bad in ["type=proxy", "since=yesterday", "limit=501", "provider_config_key=x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

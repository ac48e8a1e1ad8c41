//! `/api-keys`: the keys of the environment. A key's secret is in the answer that made it and in no other.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::{json_response, parse, read_json};
use super::error::{ApiError, ErrorEnvelope};
use super::integrations::Success;
use super::query::{PathParams, Query};
use super::timestamp::ms_utc;
use crate::model::{ApiKey, KeyLimits};
use crate::runtime::{NewApiKey, Runtime};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateApiKey {
    /// For people; need not be unique.
    name: String,
    /// Such as `environment:proxy`, or `environment:connections:*` for all that begin so.
    scopes: Vec<String>,
    /// None is no limit.
    #[serde(default)]
    limits: Option<Limits>,
}

/// What the scopes are good for; a list that is absent is no limit.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Unique keys.
    #[serde(default)]
    integrations: Option<Vec<String>>,
    /// Connection ids.
    #[serde(default)]
    connections: Option<Vec<String>>,
    /// Methods of requests to providers, like GET.
    #[serde(default)]
    methods: Option<Vec<String>>,
    /// Paths of requests to providers, below the base URL: `/repos` is `/repos` and all below it.
    #[serde(default)]
    path_prefixes: Option<Vec<String>>,
}

#[derive(Serialize, ToSchema)]
pub struct ApiKeyList {
    data: Vec<ApiKeyItem>,
}

#[derive(Serialize, ToSchema)]
pub struct ApiKeyAnswer {
    data: NewApiKeyItem,
}

#[derive(Serialize, ToSchema)]
pub struct ApiKeyItem {
    id: String,
    name: String,
    scopes: Vec<String>,
    limits: Limits,
    created_at: String,
    /// Exact to some minutes.
    last_used_at: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct NewApiKeyItem {
    #[serde(flatten)]
    item: ApiKeyItem,
    /// The key itself, shown only now.
    key: String,
}

/// List the API keys, oldest first.
#[utoipa::path(
    get, path = "/api-keys", tag = "api keys",
    responses((status = 200, body = ApiKeyList), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn list(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ApiKeysList>,
    request: Request,
) -> Result<Response, ApiError> {
    Query::parse(request.uri().query()).finish()?;
    let keys = runtime.api_keys(&caller).await?;
    let data = keys.into_iter().map(ApiKeyItem::from).collect();
    Ok(json_response(StatusCode::OK, &ApiKeyList { data }))
}

/// Make an API key. It can have no scope that the key of the call does not have.
#[utoipa::path(
    post, path = "/api-keys", tag = "api keys", request_body = CreateApiKey,
    responses((status = 201, body = ApiKeyAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn create(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ApiKeysCreate>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = read_json(&parts.headers, body, runtime.config().limits.request_body_bytes).await?;
    let CreateApiKey { name, scopes, limits } = parse(&body)?;
    let new = NewApiKey {
        name,
        scopes: scopes.into(),
        limits: limits.unwrap_or_default().into(),
    };
    let (key, secret) = runtime.create_api_key(&caller, new).await?;
    let data = NewApiKeyItem {
        item: key.into(),
        key: secret.expose().clone(),
    };
    Ok(json_response(StatusCode::CREATED, &ApiKeyAnswer { data }))
}

/// Revoke an API key.
#[utoipa::path(
    delete, path = "/api-keys/{id}", tag = "api keys", params(("id" = String, Path)),
    responses((status = 200, body = Success), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn revoke(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ApiKeysDelete>,
    PathParams(id): PathParams<String>,
) -> Result<Response, ApiError> {
    runtime.revoke_api_key(&caller, &id.into()).await?;
    Ok(json_response(StatusCode::OK, &Success { success: true }))
}

impl From<Limits> for KeyLimits {
    fn from(limits: Limits) -> Self {
        Self {
            integrations: limits.integrations,
            connections: limits.connections,
            methods: limits.methods,
            path_prefixes: limits.path_prefixes,
        }
    }
}

impl From<KeyLimits> for Limits {
    fn from(limits: KeyLimits) -> Self {
        Self {
            integrations: limits.integrations,
            connections: limits.connections,
            methods: limits.methods,
            path_prefixes: limits.path_prefixes,
        }
    }
}

impl From<ApiKey> for ApiKeyItem {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name,
            scopes: key.scopes.into(),
            limits: key.limits.into(),
            created_at: ms_utc(key.created_at_ms),
            last_used_at: key.last_used_at_ms.map(ms_utc),
        }
    }
}

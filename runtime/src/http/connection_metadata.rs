//! `/connections/metadata`: what the customer keeps with connections. Replaced with `POST`, merged with `PATCH`; for all the named
//! connections or for none.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::{json_response, parse, read_json};
use super::error::{ApiError, ErrorEnvelope};
use super::fault::Fault;
use super::names::{is_connection_id, is_provider_config_key};
use super::query::{PathParams, Query};
use super::target::provider_config_key;
use crate::connections::ConnectionsError;
use crate::model::JsonObject;
use crate::runtime::{Caller, Runtime};

/// Connections that one call may name.
const CONNECTIONS_MAX: usize = 1_000;

/// The request, and the answer as well.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionMetadata {
    #[schema(value_type = Object)]
    metadata: JsonObject,
    /// One, or a list.
    connection_id: OneOrMany,
    provider_config_key: String,
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Replace the metadata of connections.
#[utoipa::path(
    post, path = "/connections/metadata", tag = "connections", request_body = ConnectionMetadata,
    responses((status = 201, body = ConnectionMetadata), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn replace(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ConnectionsUpdate>,
    request: Request,
) -> Result<Response, ApiError> {
    let metadata = set(&runtime, &caller, request, false).await?;
    Ok(json_response(StatusCode::CREATED, &metadata))
}

/// Merge into the metadata of connections; only top-level keys are merged.
#[utoipa::path(
    patch, path = "/connections/metadata", tag = "connections", request_body = ConnectionMetadata,
    responses((status = 200, body = ConnectionMetadata), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn merge(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ConnectionsUpdate>,
    request: Request,
) -> Result<Response, ApiError> {
    let metadata = set(&runtime, &caller, request, true).await?;
    Ok(json_response(StatusCode::OK, &metadata))
}

async fn set(
    runtime: &Runtime,
    caller: &Caller,
    request: Request,
    merge: bool,
) -> Result<ConnectionMetadata, ApiError> {
    let (parts, body) = request.into_parts();
    let body = read_json(&parts.headers, body, runtime.config().limits.request_body_bytes).await?;
    let set = ConnectionMetadata::parse(&body)?;
    // At least one is named.
    let mut environment = caller.integration(&set.provider_config_key)?;
    for connection_id in set.connection_id.as_slice() {
        environment = caller.connection(&set.provider_config_key, connection_id)?;
    }
    runtime
        .set_metadata(
            environment,
            &set.provider_config_key,
            set.connection_id.as_slice(),
            &set.metadata,
            merge,
        )
        .await
        .map_err(metadata_error)?;
    Ok(set)
}

/// Nango's older form of [`replace`]: the connection in the path, its integration in a header, the metadata as the body.
pub async fn replace_one(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ConnectionsUpdate>,
    PathParams(connection_id): PathParams<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let metadata = set_one(&runtime, &caller, connection_id, request, false).await?;
    Ok(json_response(StatusCode::CREATED, &metadata))
}

/// Nango's older form of [`merge`].
pub async fn merge_one(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ConnectionsUpdate>,
    PathParams(connection_id): PathParams<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let metadata = set_one(&runtime, &caller, connection_id, request, true).await?;
    Ok(json_response(StatusCode::OK, &metadata))
}

/// Gives the body back, as the answer.
async fn set_one(
    runtime: &Runtime,
    caller: &Caller,
    connection_id: String,
    request: Request,
    merge: bool,
) -> Result<JsonObject, ApiError> {
    let (parts, body) = request.into_parts();
    Query::parse(parts.uri.query()).finish()?;
    let mut faults = Vec::new();
    let provider_config_key = provider_config_key(&parts.headers, &mut faults).to_owned();
    if !faults.is_empty() {
        return Err(ApiError::faults("invalid_headers", faults));
    }
    let body = read_json(&parts.headers, body, runtime.config().limits.request_body_bytes).await?;
    let metadata: JsonObject = parse(&body)?;
    runtime
        .set_metadata(
            caller.connection(&provider_config_key, &connection_id)?,
            &provider_config_key,
            std::slice::from_ref(&connection_id),
            &metadata,
            merge,
        )
        .await
        .map_err(metadata_error)?;
    Ok(metadata)
}

fn metadata_error(error: ConnectionsError) -> ApiError {
    let message = error.to_string();
    match error {
        // Whether the integration or the connection is missing, there is no such connection.
        ConnectionsError::UnknownConnection { .. } | ConnectionsError::UnknownIntegration { .. } => {
            ApiError::new(StatusCode::NOT_FOUND, "unknown_connection", message)
        }
        other => other.into(),
    }
}

impl ConnectionMetadata {
    fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let set: Self = parse(body)?;
        let ids = set.connection_id.as_slice();
        let mut faults = Vec::new();
        if !is_provider_config_key(&set.provider_config_key) {
            faults.push(Fault::malformed_name("provider_config_key", "provider config key"));
        }
        if !(1..=CONNECTIONS_MAX).contains(&ids.len()) || !ids.iter().all(|id| is_connection_id(id)) {
            let what = format!("connection id or list of 1 to {CONNECTIONS_MAX} of them");
            faults.push(Fault::malformed_name("connection_id", &what));
        }
        if faults.is_empty() {
            Ok(set)
        } else {
            Err(ApiError::faults("invalid_body", faults))
        }
    }
}

impl OneOrMany {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::tests::rendered;

    #[tokio::test]
    async fn one_or_many() {
        let one = r#"{"metadata":{"b":2},"connection_id":"tmp","provider_config_key":"github"}"#;
        let set = ConnectionMetadata::parse(one.as_bytes()).unwrap();
        assert_eq!(set.connection_id.as_slice(), ["tmp"]);
        assert_eq!(serde_json::to_string(&set).unwrap(), one);
        let many = one.replace(r#""tmp""#, r#"["a","b"]"#);
        assert_eq!(
            ConnectionMetadata::parse(many.as_bytes())
                .unwrap()
                .connection_id
                .as_slice(),
            ["a", "b"]
        );
        for bad in [r"[]", r#""""#, r#"["a<"]"#] {
            let body = one.replace(r#""tmp""#, bad);
            let refusal = rendered(ConnectionMetadata::parse(body.as_bytes()).unwrap_err()).await;
            assert!(refusal.contains(r#""path":["connection_id"]"#), "{refusal}");
        }
        let no_object = one.replace(r#"{"b":2}"#, "2");
        let refusal = rendered(ConnectionMetadata::parse(no_object.as_bytes()).unwrap_err()).await;
        assert!(refusal.contains(r#""path":["metadata"]"#), "{refusal}");
    }
}

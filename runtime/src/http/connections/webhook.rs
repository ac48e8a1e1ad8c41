//! `PUT /connections/{connection_id}/webhook`: where the provider may send the webhooks of one connection, and what it signs them with.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::provider_config_key;
use crate::credentials::Secret;
use crate::http::auth::{Key, need};
use crate::http::body::{json_response, parse, read_json};
use crate::http::error::{ApiError, ErrorEnvelope};
use crate::http::query::PathParams;
use crate::runtime::Runtime;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutWebhook {
    /// What the provider signs this connection's webhooks with, in the place of what was there. It is shown to nobody.
    #[serde(default)]
    secret: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct WebhookAnswer {
    data: WebhookItem,
}

#[derive(Serialize, ToSchema)]
pub struct WebhookItem {
    /// The address, the same each time. Who knows it can answer for the provider when a webhook is set up: tell it to nobody else.
    url: String,
}

/// Give a connection an address for its provider's webhooks, and the secret that they are signed with.
#[utoipa::path(
    put, path = "/connections/{connection_id}/webhook", tag = "connections", request_body = PutWebhook,
    params(("connection_id" = String, Path), ("provider_config_key" = String, Query)),
    responses((status = 200, body = WebhookAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn put_webhook(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ConnectionsUpdate>,
    PathParams(connection_id): PathParams<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let provider_config_key = provider_config_key(&parts.uri)?;
    let environment = caller.connection(&provider_config_key, &connection_id)?;
    let body = read_json(&parts.headers, body, runtime.config().limits.request_body_bytes).await?;
    let PutWebhook { secret } = parse(&body)?;
    let url = runtime
        .connection_webhook(
            environment,
            &provider_config_key,
            &connection_id,
            secret.map(Secret::new),
        )
        .await?;
    let data = WebhookItem { url };
    Ok(json_response(StatusCode::OK, &WebhookAnswer { data }))
}

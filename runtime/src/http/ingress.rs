//! `POST /webhook/:environment/:key` and `…/:token`: where providers send webhooks. It takes no key; what comes is signed.

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

use super::body::{json_response, read};
use super::error::{ApiError, ErrorEnvelope};
use super::query::PathParams;
use crate::ingress::{Incoming, Reply};
use crate::runtime::Runtime;

/// Receive a provider's webhook.
///
/// It is checked, kept and answered; the functions that handle it run after that.
#[utoipa::path(
    post, path = "/webhook/{environment}/{provider_config_key}", tag = "webhooks", security(()),
    params(
        ("environment" = String, Path, description = "The environment's id, or its name"),
        ("provider_config_key" = String, Path, description = "The integration's unique key"),
    ),
    responses(
        (status = 200, description = "It is kept; or the answer that a provider's handshake asks for"),
        (status = 204, description = "Nothing is known of how the provider signs webhooks: nothing was kept"),
        (status = "4XX", body = ErrorEnvelope),
    ),
)]
pub async fn receive(
    State(runtime): State<Runtime>,
    PathParams((environment, provider_config_key)): PathParams<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    take(&runtime, &environment, &provider_config_key, None, request).await
}

/// Receive a provider's webhook for one connection.
///
/// As at the integration's address, but that it is about this connection and is checked with the secrets of it.
#[utoipa::path(
    post, path = "/webhook/{environment}/{provider_config_key}/{token}", tag = "webhooks", security(()),
    params(
        ("environment" = String, Path, description = "The environment's id, or its name"),
        ("provider_config_key" = String, Path, description = "The integration's unique key"),
        ("token" = String, Path, description = "Whose address it is"),
    ),
    responses(
        (status = 200, description = "It is kept; or the answer that a provider's handshake asks for"),
        (status = 204, description = "Nothing is known of how the provider signs webhooks: nothing was kept"),
        (status = "4XX", body = ErrorEnvelope),
    ),
)]
pub async fn receive_for_connection(
    State(runtime): State<Runtime>,
    PathParams((environment, provider_config_key, token)): PathParams<(String, String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    take(&runtime, &environment, &provider_config_key, Some(&token), request).await
}

/// Say that webhooks are received here.
///
/// Some providers ask before they take an address.
#[utoipa::path(
    head, path = "/webhook/{environment}/{provider_config_key}", tag = "webhooks", security(()),
    params(("environment" = String, Path), ("provider_config_key" = String, Path)),
    responses((status = 200), (status = "4XX")),
)]
pub async fn probe(
    State(runtime): State<Runtime>,
    PathParams((environment, provider_config_key)): PathParams<(String, String)>,
) -> Result<StatusCode, ApiError> {
    runtime.receives_webhooks(&environment, &provider_config_key).await?;
    Ok(StatusCode::OK)
}

async fn take(
    runtime: &Runtime,
    environment: &str,
    provider_config_key: &str,
    token: Option<&str>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let incoming = Incoming {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        body: read(body, runtime.config().limits.incoming_webhook_body_bytes).await?,
    };
    let reply = runtime
        .receive_webhook(environment, provider_config_key, token, &incoming)
        .await?;
    Ok(match reply {
        Reply::NotReceived => StatusCode::NO_CONTENT.into_response(),
        Reply::Taken | Reply::Installed => json_response(StatusCode::OK, &json!({"status": "success"})),
        Reply::TakenWithoutBody => StatusCode::OK.into_response(),
        Reply::Headers(headers) => with_headers(headers),
        Reply::Json(value) => json_response(StatusCode::OK, &value),
        Reply::Text(text) => {
            let mut response = text.into_response();
            // What somebody sent comes back: it is to be nothing but text.
            response
                .headers_mut()
                .insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response
        }
    })
}

/// What no header can carry is left out; what came in one can.
fn with_headers(headers: Vec<(String, String)>) -> Response {
    let mut response = StatusCode::OK.into_response();
    for (name, value) in headers {
        let parsed = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value));
        if let (Ok(name), Ok(value)) = parsed {
            response.headers_mut().append(name, value);
        }
    }
    response
}

//! `POST /webhook/:environment/:key`: where providers send webhooks. It takes no key; what comes is signed.

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
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
    let (parts, body) = request.into_parts();
    let incoming = Incoming {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        body: read(body, runtime.config().limits.incoming_webhook_body_bytes).await?,
    };
    let reply = runtime
        .receive_webhook(&environment, &provider_config_key, &incoming)
        .await?;
    Ok(match reply {
        Reply::NotReceived => StatusCode::NO_CONTENT.into_response(),
        Reply::Taken | Reply::Installed => json_response(StatusCode::OK, &json!({"status": "success"})),
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

//! `/environment/webhooks`: where webhooks go and which are sent. `/environment/webhook-signing-key`: the key that signs them.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::{json_response, parse, read, read_json, require_media_type};
use super::error::{ApiError, ErrorEnvelope};
use super::query::Query;
use super::timestamp::ms_utc;
use crate::credentials::Secret;
use crate::model::{WebhookSettings, WebhookSettingsPatch};
use crate::runtime::Runtime;
use crate::webhooks::SigningKeys;

#[derive(Serialize, ToSchema)]
pub struct WebhookSettingsAnswer {
    data: WebhookSettingsItem,
}

#[derive(Serialize, ToSchema)]
pub struct WebhookSettingsItem {
    primary_url: Option<String>,
    /// Told the same as the primary one.
    secondary_url: Option<String>,
    on_auth_creation: bool,
    on_auth_refresh_error: bool,
    /// Also of runs that changed no record.
    on_sync_completion_always: bool,
    on_sync_error: bool,
    on_async_action_completion: bool,
}

/// What is left out stays as it is; null or an empty text takes an address away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::option_option,
    reason = "an address that is not given and one that is null are two things"
)]
pub struct PatchWebhookSettings {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    primary_url: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    secondary_url: Option<Option<String>>,
    #[serde(default)]
    on_auth_creation: Option<bool>,
    #[serde(default)]
    on_auth_refresh_error: Option<bool>,
    #[serde(default)]
    on_sync_completion_always: Option<bool>,
    #[serde(default)]
    on_sync_error: Option<bool>,
    #[serde(default)]
    on_async_action_completion: Option<bool>,
}

#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSigningKey {
    /// 16 to 255 visible ASCII characters; otherwise a random key is made.
    #[serde(default)]
    key: Option<String>,
    /// Seconds until it signs, so that receivers can be given it before; otherwise it signs at once.
    #[serde(default)]
    activate_in_s: Option<u64>,
}

#[derive(Serialize, ToSchema)]
pub struct SigningKeyAnswer {
    data: SigningKeyItem,
}

#[derive(Serialize, ToSchema)]
pub struct SigningKeyItem {
    /// It signs now: the `webhookSigningKey` of `@nangohq/node`.
    signing_key: String,
    /// A new key that waits for its time.
    next: Option<NextSigningKeyItem>,
}

#[derive(Serialize, ToSchema)]
pub struct NextSigningKeyItem {
    signing_key: String,
    active_from: String,
}

/// Where the webhooks of the environment go, and which are sent.
#[utoipa::path(
    get, path = "/environment/webhooks", tag = "webhooks",
    responses((status = 200, body = WebhookSettingsAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn show(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::WebhooksRead>,
    request: Request,
) -> Result<Response, ApiError> {
    Query::parse(request.uri().query()).finish()?;
    let settings = runtime.webhook_settings(caller.environment()?).await?;
    Ok(answer(settings))
}

/// Change where webhooks go and which are sent. What waits for an address that changes goes to the new one.
#[utoipa::path(
    patch, path = "/environment/webhooks", tag = "webhooks", request_body = PatchWebhookSettings,
    responses((status = 200, body = WebhookSettingsAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn update(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::WebhooksUpdate>,
    request: Request,
) -> Result<Response, ApiError> {
    let environment = caller.environment()?;
    let (parts, body) = request.into_parts();
    let body = read_json(&parts.headers, body, runtime.config().limits.request_body_bytes).await?;
    let patch = parse::<PatchWebhookSettings>(&body)?.into();
    let settings = runtime.change_webhook_settings(environment, &patch).await?;
    Ok(answer(settings))
}

/// The key that signs the webhooks of the environment.
#[utoipa::path(
    get, path = "/environment/webhook-signing-key", tag = "webhooks",
    responses((status = 200, body = SigningKeyAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn signing_key(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::WebhookSigningKeyRead>,
    request: Request,
) -> Result<Response, ApiError> {
    Query::parse(request.uri().query()).finish()?;
    let keys = runtime.webhook_signing_keys(caller.environment()?).await?;
    Ok(keys_answer(&keys))
}

/// Sign webhooks with another key.
#[utoipa::path(
    post, path = "/environment/webhook-signing-key/rotate", tag = "webhooks", request_body = RotateSigningKey,
    responses((status = 200, body = SigningKeyAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn rotate(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::WebhookSigningKeyRotate>,
    request: Request,
) -> Result<Response, ApiError> {
    let environment = caller.environment()?;
    let (parts, body) = request.into_parts();
    // Nango's route takes no body.
    let body = read(body, runtime.config().limits.request_body_bytes).await?;
    let RotateSigningKey { key, activate_in_s } = if body.is_empty() {
        RotateSigningKey::default()
    } else {
        require_media_type(&parts.headers, &["application/json"])?;
        parse(&body)?
    };
    let rotated = runtime.rotate_webhook_signing_key(environment, key.map(Secret::new), activate_in_s.unwrap_or(0));
    Ok(keys_answer(&rotated.await?))
}

/// What is there, be it null.
#[expect(
    clippy::option_option,
    reason = "an address that is not given and one that is null are two things"
)]
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

fn answer(settings: WebhookSettings) -> Response {
    let data = WebhookSettingsItem::from(settings);
    json_response(StatusCode::OK, &WebhookSettingsAnswer { data })
}

fn keys_answer(keys: &SigningKeys) -> Response {
    let next = keys.next.as_ref().map(|(key, from_ms)| NextSigningKeyItem {
        signing_key: key.expose().clone(),
        active_from: ms_utc(*from_ms),
    });
    let data = SigningKeyItem {
        signing_key: keys.current.expose().clone(),
        next,
    };
    json_response(StatusCode::OK, &SigningKeyAnswer { data })
}

impl From<WebhookSettings> for WebhookSettingsItem {
    fn from(settings: WebhookSettings) -> Self {
        let kinds = settings.kinds;
        Self {
            primary_url: settings.primary_url,
            secondary_url: settings.secondary_url,
            on_auth_creation: kinds.on_auth_creation,
            on_auth_refresh_error: kinds.on_auth_refresh_error,
            on_sync_completion_always: kinds.on_sync_completion_always,
            on_sync_error: kinds.on_sync_error,
            on_async_action_completion: kinds.on_async_action_completion,
        }
    }
}

impl From<PatchWebhookSettings> for WebhookSettingsPatch {
    fn from(patch: PatchWebhookSettings) -> Self {
        let is_there = |url: &String| !url.is_empty();
        Self {
            primary_url: patch.primary_url.map(|url| url.filter(is_there)),
            secondary_url: patch.secondary_url.map(|url| url.filter(is_there)),
            on_auth_creation: patch.on_auth_creation,
            on_auth_refresh_error: patch.on_auth_refresh_error,
            on_sync_completion_always: patch.on_sync_completion_always,
            on_sync_error: patch.on_sync_error,
            on_async_action_completion: patch.on_async_action_completion,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_left_changed_or_taken_away() {
        let url = |json: &str| {
            let patch: WebhookSettingsPatch = parse::<PatchWebhookSettings>(json.as_bytes()).unwrap().into();
            patch.primary_url
        };
        assert_eq!(url("{}"), None);
        assert_eq!(url(r#"{"primary_url": null}"#), Some(None));
        assert_eq!(url(r#"{"primary_url": ""}"#), Some(None));
        assert_eq!(url(r#"{"primary_url": "x"}"#), Some(Some("x".to_owned())));
    }
}

//! `/webhooks`: what became of webhooks to the application, and having them sent again.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::json_response;
use super::error::{ApiError, ErrorEnvelope};
use super::integrations::Success;
use super::query::{PathParams, Query};
use super::timestamp::ms_utc;
use crate::model::{Webhook, WebhookKind, WebhookSlot, WebhookState};
use crate::runtime::Runtime;
use crate::store::WebhookQuery;

const LIMIT_DEFAULT: i64 = 20;
const LIMIT_MAX: i64 = 100;

#[derive(Serialize, ToSchema)]
pub struct WebhookList {
    data: Vec<WebhookItem>,
    /// To be given as `cursor` for those before; none when there are no more.
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct WebhookAnswer {
    data: WebhookWithBody,
}

#[derive(Serialize, ToSchema)]
pub struct WebhookWithBody {
    #[serde(flatten)]
    item: WebhookItem,
    /// As the receiver gets it.
    #[schema(value_type = Object)]
    body: Box<RawValue>,
}

#[derive(Serialize, ToSchema)]
pub struct WebhookItem {
    id: String,
    /// The header `X-Nango-Webhook-Id`.
    event_id: String,
    /// connection_create, connection_refresh, sync, async_action or forward.
    #[schema(value_type = String)]
    kind: WebhookKind,
    /// pending, delivered or dead.
    #[schema(value_type = String)]
    state: WebhookState,
    /// primary, secondary or override: whose address it is.
    #[schema(value_type = String)]
    slot: WebhookSlot,
    url: String,
    provider_config_key: Option<String>,
    connection_id: Option<String>,
    attempts: i64,
    /// What was wrong with the last attempt.
    problem: Option<String>,
    /// The operation of the log that tells of it.
    operation_id: String,
    created_at: String,
    last_attempt_at: Option<String>,
    /// Of one that is pending.
    next_attempt_at: Option<String>,
    ended_at: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Resent {
    /// Dead letters that are sent again.
    count: u64,
}

/// List webhooks, newest first: those that wait, those that were delivered in the last day, and dead letters.
#[utoipa::path(
    get, path = "/webhooks", tag = "webhooks",
    params(
        ("state" = Option<String>, Query, description = "pending, delivered or dead"),
        ("connection" = Option<String>, Query, description = "Its connection id"),
        ("cursor" = Option<String>, Query, description = "The next_cursor of an earlier page"),
        ("limit" = Option<i64>, Query, description = "1 to 100, otherwise 20"),
    ),
    responses((status = 200, body = WebhookList), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn list(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::WebhooksRead>,
    request: Request,
) -> Result<Response, ApiError> {
    let mut query = Query::parse(request.uri().query());
    let wanted = WebhookQuery {
        state: query.word("state", &["pending", "delivered", "dead"]),
        connection_id: query.optional("connection"),
        before: query.optional("cursor").map(Into::into),
        limit: query.integer("limit", 1..=LIMIT_MAX, LIMIT_DEFAULT),
    };
    query.finish()?;
    let page = runtime.webhooks(caller.environment()?, wanted).await?;
    let list = WebhookList {
        data: page.webhooks.into_iter().map(WebhookItem::from).collect(),
        next_cursor: page.next.map(|id| id.to_string()),
    };
    Ok(json_response(StatusCode::OK, &list))
}

/// A webhook with its body.
#[utoipa::path(
    get, path = "/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 200, body = WebhookAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn show(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::WebhooksRead>,
    PathParams(id): PathParams<String>,
) -> Result<Response, ApiError> {
    let (webhook, body) = runtime.webhook(caller.environment()?, &id.into()).await?;
    let data = WebhookWithBody {
        item: webhook.into(),
        body,
    };
    Ok(json_response(StatusCode::OK, &WebhookAnswer { data }))
}

/// Send a webhook again, whatever became of it: the same body under the same id.
#[utoipa::path(
    post, path = "/webhooks/{id}/resend", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 202, body = Success), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn resend(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::WebhooksResend>,
    PathParams(id): PathParams<String>,
) -> Result<Response, ApiError> {
    runtime.resend_webhook(caller.environment()?, &id.into()).await?;
    Ok(json_response(StatusCode::ACCEPTED, &Success { success: true }))
}

/// Send dead letters again, the oldest first, at most 1,000 a call.
#[utoipa::path(
    post, path = "/webhooks/resend", tag = "webhooks",
    responses((status = 202, body = Resent), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn resend_dead(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::WebhooksResend>,
) -> Result<Response, ApiError> {
    let count = runtime.resend_dead_webhooks(caller.environment()?).await?;
    Ok(json_response(StatusCode::ACCEPTED, &Resent { count }))
}

impl From<Webhook> for WebhookItem {
    fn from(webhook: Webhook) -> Self {
        let is_pending = webhook.state == WebhookState::Pending;
        Self {
            id: webhook.id.to_string(),
            event_id: webhook.event_id.to_string(),
            kind: webhook.kind,
            state: webhook.state,
            slot: webhook.slot,
            url: webhook.url,
            provider_config_key: webhook.provider_config_key,
            connection_id: webhook.connection_id,
            attempts: webhook.attempts,
            problem: webhook.problem,
            operation_id: webhook.operation_id.to_string(),
            created_at: ms_utc(webhook.created_at_ms),
            last_attempt_at: webhook.attempted_at_ms.map(ms_utc),
            next_attempt_at: is_pending.then(|| ms_utc(webhook.due_at_ms)),
            ended_at: webhook.ended_at_ms.map(ms_utc),
        }
    }
}

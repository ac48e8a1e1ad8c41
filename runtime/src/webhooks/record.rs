//! What the log says of a webhook: one operation from its first attempt to its end, with a message for each attempt. No body, no
//! headers and no query of an address are in it.

use std::sync::Arc;

use serde_json::json;
use url::Url;

use super::Parts;
use crate::model::log::Source;
use crate::model::{Level, Message, Operation, OperationKind, OperationState, Webhook, WebhookKind, WebhookState};
use crate::store::WebhookAttempt;

pub(super) fn write(parts: &Parts, webhook: &Webhook, attempt: &WebhookAttempt, started_us: u64) {
    let address = shown(&webhook.url);
    let number = webhook.attempts.saturating_add(1);
    let problem = attempt.problem.as_deref().unwrap_or_default();
    let (state, level, text) = match attempt.state {
        WebhookState::Delivered => (
            OperationState::Success,
            Level::Info,
            format!("The webhook was delivered to {address}"),
        ),
        WebhookState::Pending => {
            let wait_s = attempt.due_at_ms.saturating_sub(attempt.attempted_at_ms) / 1_000;
            let text =
                format!("The webhook was not delivered to {address}: {problem}; it is tried again in {wait_s} s");
            (OperationState::Running, Level::Warn, text)
        }
        WebhookState::Dead => (
            OperationState::Failed,
            Level::Error,
            format!(
                "The webhook was not delivered to {address}: {problem}; `nango-runtime webhooks resend {}` tries again",
                webhook.id
            ),
        ),
    };
    let is_over = state != OperationState::Running;
    let now_ms = parts.clock.now_ms();
    let whole_us = now_ms.saturating_sub(webhook.created_at_ms).saturating_mul(1_000);
    parts.logs.operation(Operation {
        id: webhook.operation_id.clone(),
        environment_id: webhook.environment_id.clone(),
        kind: kind(webhook.kind),
        state,
        provider_config_key: webhook.provider_config_key.as_deref().map(Arc::from),
        connection_id: webhook.connection_id.as_deref().map(Arc::from),
        function: None,
        run_id: None,
        message: text.clone(),
        started_at_ms: webhook.created_at_ms,
        ended_at_ms: is_over.then_some(now_ms),
        duration_us: is_over.then_some(whole_us),
        usage: None,
    });
    let attempt_us = parts.clock.monotonic_us().saturating_sub(started_us);
    let fields = json!({
        "webhook": { "id": webhook.id.as_str(), "event_id": webhook.event_id.as_str(), "kind": webhook.kind.as_str() },
        "request": { "method": "POST", "url": address },
        "retry": { "attempt": number, "max": parts.options.attempts_max },
        "duration_ms": attempt_us / 1_000,
    });
    parts.logs.message(Message {
        operation_id: webhook.operation_id.clone(),
        created_at_us: parts.clock.now_us(),
        level,
        source: Source::Internal,
        text,
        fields: Message::fields(&fields),
    });
}

fn kind(kind: WebhookKind) -> OperationKind {
    match kind {
        WebhookKind::ConnectionCreate => OperationKind::WebhookConnectionCreate,
        WebhookKind::ConnectionRefresh => OperationKind::WebhookConnectionRefresh,
        WebhookKind::Sync => OperationKind::WebhookSync,
        WebhookKind::AsyncAction => OperationKind::WebhookAsyncAction,
        WebhookKind::Forward => OperationKind::WebhookForward,
    }
}

/// An address without what may be a secret: people put tokens into queries.
fn shown(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut url) => {
            url.set_query(None);
            url.set_fragment(None);
            url.into()
        }
        Err(_) => "(no URL)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_not_shown() {
        assert_eq!(
            shown("https://a.test:8443/hook?token=secret#x"),
            "https://a.test:8443/hook"
        );
    }
}

//! What the tests of this part share.

mod planning;
mod receiver;
mod sending;

use super::{WebhookOptions, WebhookParts, Webhooks};
use crate::clock::{Clock, Entropy};
use crate::encryption::Keyring;
use crate::logs::Logs;
use crate::model::{Sealed, Webhook, WebhookKind, WebhookSlot, WebhookState};
use crate::store::Store;

/// 2026-11-22 11:21:53 UTC.
pub(super) const NOW_MS: i64 = 1_795_346_513_000;

pub(super) const OPTIONS: WebhookOptions = WebhookOptions {
    attempts_max: 15,
    timeout_ms: 20_000,
    queue_max: 100,
    retention_days: 14,
};

/// For tests of parts that announce something; sends to loopback.
pub(crate) fn webhooks(store: &Store, keyring: &Keyring, logs: &Logs, clock: &Clock, entropy: &Entropy) -> Webhooks {
    Webhooks::new(WebhookParts {
        store: store.clone(),
        keyring: keyring.clone(),
        logs: logs.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        egress_allow: vec!["127.0.0.0/8".parse().unwrap()],
        options: OPTIONS,
    })
    .unwrap()
}

pub(super) fn webhook() -> Webhook {
    Webhook {
        id: "whk_1".into(),
        event_id: "evt_1".into(),
        environment_id: "env_1".into(),
        kind: WebhookKind::Sync,
        slot: WebhookSlot::Primary,
        url: "https://app.test/hook".to_owned(),
        line: "con_1".to_owned(),
        provider_config_key: Some("github".to_owned()),
        connection_id: Some("c".to_owned()),
        content: Sealed(Vec::new()),
        operation_id: "op_1".into(),
        state: WebhookState::Pending,
        created_at_ms: NOW_MS,
        queued_at_ms: NOW_MS,
        attempts: 0,
        due_at_ms: NOW_MS,
        attempted_at_ms: None,
        problem: None,
        ended_at_ms: None,
    }
}

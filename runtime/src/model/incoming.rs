//! Webhooks of providers, and the runs of functions for them.

use super::{ConnectionKey, EnvironmentId, IncomingWebhookId, RunId, Sealed};

/// A provider's webhook that functions have still to handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncomingWebhook {
    pub id: IncomingWebhookId,
    pub environment_id: EnvironmentId,
    /// Sealed JSON: the input of the runs for it.
    pub content: Sealed,
    pub received_at_ms: i64,
}

/// One run of one sync for one webhook and one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRun {
    pub id: RunId,
    pub incoming_id: IncomingWebhookId,
    pub environment_id: EnvironmentId,
    pub connection_key: ConnectionKey,
    pub function: String,
    pub queued_at_ms: i64,
}

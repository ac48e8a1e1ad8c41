//! Why a provider's webhook is not taken. Holds nothing that a stranger should not know.

use crate::authorize::FlowError;
use crate::connections::ConnectionsError;
use crate::store::StoreError;

/// Why a webhook was not taken; nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum IngressError {
    #[error("there is no environment {given:?}; GET /integrations/:key?include=webhook shows the address")]
    UnknownEnvironment { given: String },
    #[error("this is no address of a connection of the integration, or not any more")]
    UnknownAddress,
    #[error(
        "the provider's webhooks are received at addresses of connections: a function is told one by `nango.webhook_url()`, and \
         PUT /connections/:id/webhook gives it"
    )]
    ConnectionNeeded,
    #[error(
        "the integration has another webhook secret already, so that this one is not taken: set `custom.webhookSecret` to \"\" first if \
         the provider is to send a new one"
    )]
    OtherSecret,
    #[error("the webhook is not signed: `{place}` is missing or is nothing that the provider sends")]
    MissingSignature { place: String },
    #[error("the webhook has no token: `{place}` is missing")]
    MissingToken { place: String },
    #[error("the signature of the webhook is not that of its content with the integration's secret")]
    InvalidSignature,
    #[error("the webhook was signed {age_s} seconds ago, and may be {tolerance_s} seconds old at most")]
    Stale { age_s: i64, tolerance_s: i64 },
    #[error(
        "the integration has no secret to check webhooks with: set `custom.webhookSecret` (or `credentials.webhook_secret`) to the one the \
         provider signs with"
    )]
    NoSecret,
    #[error("the integration's webhook secret is not {expected}, as this provider's are")]
    UnusableSecret { expected: &'static str },
    #[error(
        "{per_minute_max} webhooks came within a minute (limits.incoming_webhooks_per_minute): send it again later"
    )]
    TooFast { per_minute_max: u32, retry_after_s: u64 },
    #[error("{queued_max} runs for webhooks are queued already (limits.queued_webhook_runs): send it again later")]
    QueueFull { queued_max: u32 },
    #[error("the installation that the webhook tells of was not made a connection: {0}")]
    Installation(#[source] Box<FlowError>),
    #[error(transparent)]
    Connections(#[from] ConnectionsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

//! Webhooks to the customer's application.

use serde::{Deserialize, Serialize};

use super::{EnvironmentId, OperationId, Sealed, WebhookEventId, WebhookId};

/// One message to one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub id: WebhookId,
    /// The same for all addresses that are told the same: receivers tell by it what they had already.
    pub event_id: WebhookEventId,
    pub environment_id: EnvironmentId,
    pub kind: WebhookKind,
    pub slot: WebhookSlot,
    pub url: String,
    /// What webhooks that must not overtake each other have in common: the connection's key.
    pub line: String,
    pub provider_config_key: Option<String>,
    pub connection_id: Option<String>,
    /// Sealed JSON: body and headers. The same for each attempt.
    pub content: Sealed,
    pub operation_id: OperationId,
    pub state: WebhookState,
    pub created_at_ms: i64,
    /// When it was written, or sent anew by hand.
    pub queued_at_ms: i64,
    /// Since then.
    pub attempts: i64,
    pub due_at_ms: i64,
    pub attempted_at_ms: Option<i64>,
    /// What was wrong with the last attempt.
    pub problem: Option<String>,
    pub ended_at_ms: Option<i64>,
}

macro_rules! webhook_kinds {
    ($($(#[$doc:meta])* $kind:ident = $word:literal,)+) => {
        /// What a webhook announces.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum WebhookKind {
            $($(#[$doc])* $kind,)+
        }

        impl WebhookKind {
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $word,)+
                }
            }
        }
    };
}

webhook_kinds! {
    /// A connection was made, or authorised anew.
    ConnectionCreate = "connection_create",
    /// Its credentials could not be refreshed, or were refused.
    ConnectionRefresh = "connection_refresh",
    Sync = "sync",
    AsyncAction = "async_action",
    /// A provider's own webhook, passed on.
    Forward = "forward",
}

/// Whose address a webhook goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookSlot {
    Primary,
    Secondary,
    /// The connection's own, in the place of the environment's.
    Override,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookState {
    /// To be sent, or sent again.
    Pending,
    Delivered,
    /// Given up: a dead letter. It stays so until somebody has it sent again.
    Dead,
}

/// Where the webhooks of an environment go, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    pub primary_url: Option<String>,
    pub secondary_url: Option<String>,
    pub kinds: WebhookKinds,
    /// Sealed JSON.
    pub signing_keys: Sealed,
}

/// Which webhooks are sent. Names are those of Nango's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebhookKinds {
    pub on_auth_creation: bool,
    pub on_auth_refresh_error: bool,
    /// Also of runs that changed no record.
    pub on_sync_completion_always: bool,
    pub on_sync_error: bool,
    pub on_async_action_completion: bool,
}

impl Default for WebhookKinds {
    fn default() -> Self {
        Self {
            on_auth_creation: true,
            on_auth_refresh_error: true,
            on_sync_completion_always: false,
            on_sync_error: true,
            on_async_action_completion: true,
        }
    }
}

/// What to change of the settings; none leaves it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookSettingsPatch {
    /// `Some(None)` takes it away.
    pub primary_url: Option<Option<String>>,
    /// `Some(None)` takes it away.
    pub secondary_url: Option<Option<String>>,
    pub on_auth_creation: Option<bool>,
    pub on_auth_refresh_error: Option<bool>,
    pub on_sync_completion_always: Option<bool>,
    pub on_sync_error: Option<bool>,
    pub on_async_action_completion: Option<bool>,
}

impl WebhookSettingsPatch {
    /// The switches as they are then.
    #[must_use]
    pub fn switched(&self, kinds: WebhookKinds) -> WebhookKinds {
        WebhookKinds {
            on_auth_creation: self.on_auth_creation.unwrap_or(kinds.on_auth_creation),
            on_auth_refresh_error: self.on_auth_refresh_error.unwrap_or(kinds.on_auth_refresh_error),
            on_sync_completion_always: self
                .on_sync_completion_always
                .unwrap_or(kinds.on_sync_completion_always),
            on_sync_error: self.on_sync_error.unwrap_or(kinds.on_sync_error),
            on_async_action_completion: self
                .on_async_action_completion
                .unwrap_or(kinds.on_async_action_completion),
        }
    }
}

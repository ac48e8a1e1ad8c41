//! A customer's authorisation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ConnectionKey, EnvironmentId, IntegrationId, JsonObject, OperationId, Sealed};

/// One customer's authorisation for one integration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub key: ConnectionKey,
    pub environment_id: EnvironmentId,
    pub integration_id: IntegrationId,
    /// The integration's unique key.
    pub provider_config_key: String,
    /// The provider's name in the catalogue.
    pub provider: String,
    /// What customers call the connection-id: unique within the integration.
    pub connection_id: String,
    /// Sealed JSON, see [`crate::credentials::Credentials`].
    pub credentials: Sealed,
    /// Sealed JSON object: subdomain and the like. Sealed because it may hold secrets.
    pub connection_config: Sealed,
    pub metadata: JsonObject,
    pub tags: BTreeMap<String, String>,
    pub end_user: Option<EndUser>,
    /// Where webhooks about it go, in the place of the environment's URLs.
    pub webhook_url_override: Option<String>,
    pub created_at_ms: i64,
    pub updated_at_ms: i64,
    pub refresh: RefreshState,
}

/// How a connection came to be: whether there was one of that id before. Names are those of webhooks. (Nango compatibility.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    Creation,
    Override,
}

/// How the refreshing of a connection's credentials stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefreshState {
    pub generation: Generation,
    /// From when on fresh credentials are wanted; none when time does not matter or nothing can be refreshed.
    pub due_at_ms: Option<i64>,
    /// The last success since the import.
    pub refreshed_at_ms: Option<i64>,
    /// The last failure since the last success.
    pub failure: Option<RefreshFailure>,
}

/// Tells the credentials a connection has from those it had before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    /// Counts imports.
    pub epoch: i64,
    /// The fence of the refresh that obtained the credentials.
    pub fence: i64,
}

/// Why a connection has no fresh credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshFailure {
    pub failed_at_ms: i64,
    /// Days (UTC) with a failure, one after the other or not, since the last success.
    pub failing_days: i64,
    /// The log operation that says what went wrong.
    pub operation_id: OperationId,
}

/// Whom of the customer's users the connection belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndUser {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<Organization>,
}

/// What an end user belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Organization {
    // First: the store looks for an organization's id right behind its opening brace.
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
}

//! What callers give: integrations and connections as the API takes them, not yet checked. Their `Debug` leaves out whatever
//! may hold secrets.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::model::{EndUser, JsonObject};

/// A connection to import. `credentials` is JSON in the public shape.
pub struct NewConnection {
    pub provider_config_key: String,
    /// Generated (a UUID) when none is given.
    pub connection_id: Option<String>,
    pub credentials: Value,
    pub connection_config: JsonObject,
    pub metadata: JsonObject,
    pub tags: BTreeMap<String, String>,
    pub end_user: Option<EndUser>,
    /// None leaves the one that is there; an empty one takes it away.
    pub webhook_url_override: Option<String>,
}

/// An integration to create.
pub struct NewIntegration {
    pub unique_key: String,
    pub provider: String,
    /// The provider's when none is given.
    pub display_name: Option<String>,
    /// `{type, client_id, client_secret, scopes}` and the like.
    pub credentials: Option<Value>,
    /// `{baseUrl, keyName, keyPlacement, valueTemplate}` of generic providers.
    pub custom: JsonObject,
    pub forward_webhooks: bool,
}

/// What to change of an integration; none leaves it.
#[derive(Default)]
pub struct IntegrationPatch {
    pub unique_key: Option<String>,
    pub display_name: Option<String>,
    /// In the place of those that were there.
    pub credentials: Option<Value>,
    /// In the place of the map that was there.
    pub custom: Option<JsonObject>,
    pub forward_webhooks: Option<bool>,
}

impl fmt::Debug for NewConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewConnection")
            .field("provider_config_key", &self.provider_config_key)
            .field("connection_id", &self.connection_id)
            .field("metadata", &self.metadata)
            .field("tags", &self.tags)
            .field("end_user", &self.end_user)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NewIntegration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewIntegration")
            .field("unique_key", &self.unique_key)
            .field("provider", &self.provider)
            .field("display_name", &self.display_name)
            .field("forward_webhooks", &self.forward_webhooks)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for IntegrationPatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntegrationPatch")
            .field("unique_key", &self.unique_key)
            .field("display_name", &self.display_name)
            .field("forward_webhooks", &self.forward_webhooks)
            .finish_non_exhaustive()
    }
}

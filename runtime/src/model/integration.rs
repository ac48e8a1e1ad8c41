//! Environments and integrations.

use super::{EnvironmentId, IntegrationId, Sealed};

/// A namespace with its own API keys, integrations and connections.
#[derive(Clone, Debug)]
pub struct Environment {
    pub id: EnvironmentId,
    pub name: String,
    pub created_at_ms: i64,
}

/// A configured provider. Its `unique_key` is the provider-config-key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integration {
    pub id: IntegrationId,
    pub environment_id: EnvironmentId,
    pub unique_key: String,
    /// The provider's name in the catalogue.
    pub provider: String,
    pub display_name: String,
    /// OAuth client id and secret and the like, and the `custom` map of generic providers, as one sealed JSON object.
    pub secrets: Option<Sealed>,
    pub forward_webhooks: bool,
    pub created_at_ms: i64,
    pub updated_at_ms: i64,
}

impl Integration {
    /// Where its provider's webhooks are received. `public_url` is the server's address, without a slash at the end.
    #[must_use]
    pub fn webhook_url(&self, public_url: &str) -> String {
        // Both are of characters that a path takes.
        format!("{public_url}/webhook/{}/{}", self.environment_id, self.unique_key)
    }
}

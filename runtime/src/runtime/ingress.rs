//! Webhooks of providers, as the API of an embedding program offers them.

use super::Runtime;
use crate::ingress::{Incoming, IngressError, Reply};
use crate::model::Integration;

impl Runtime {
    /// Takes a provider's webhook for an integration of an environment, which is given by its id or its name. What follows of it is in the
    /// database when this comes back with success.
    ///
    /// # Errors
    /// [`IngressError`]: it is not taken, and nothing of it is kept.
    pub async fn receive_webhook(
        &self,
        environment: &str,
        provider_config_key: &str,
        incoming: &Incoming,
    ) -> Result<Reply, IngressError> {
        let reply = self
            .0
            .ingress
            .receive(environment, provider_config_key, incoming)
            .await?;
        if reply == Reply::Installed {
            self.connection_made();
        }
        Ok(reply)
    }

    /// Where the provider may send webhooks for an integration; none when nothing is known of how it signs them.
    #[must_use]
    pub fn webhook_url(&self, integration: &Integration) -> Option<String> {
        self.0
            .connections
            .catalogue()
            .get(&integration.provider)?
            .webhook
            .as_ref()?;
        let start = self.0.config.public_base_url();
        Some(integration.webhook_url(&start))
    }
}

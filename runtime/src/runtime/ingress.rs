//! Webhooks of providers, as the API of an embedding program offers them.

use super::Runtime;
use crate::connections::ConnectionsError;
use crate::credentials::Secret;
use crate::ingress::{Incoming, IngressError, Reply};
use crate::model::{EnvironmentId, Integration};

impl Runtime {
    /// Takes a provider's webhook for an integration of an environment, which is given by its id or its name; `token` is the last part of
    /// the address of a connection. What follows of it is in the database when this comes back with success.
    ///
    /// # Errors
    /// [`IngressError`]: it is not taken, and nothing of it is kept.
    pub async fn receive_webhook(
        &self,
        environment: &str,
        provider_config_key: &str,
        token: Option<&str>,
        incoming: &Incoming,
    ) -> Result<Reply, IngressError> {
        let ingress = &self.0.ingress;
        let reply = ingress
            .receive(environment, provider_config_key, token, incoming)
            .await?;
        if reply == Reply::Installed {
            self.connection_made();
        }
        Ok(reply)
    }

    /// Whether webhooks may come for an integration.
    ///
    /// # Errors
    /// [`IngressError`]: it is not there.
    pub async fn receives_webhooks(&self, environment: &str, provider_config_key: &str) -> Result<(), IngressError> {
        self.0.ingress.is_there(environment, provider_config_key).await
    }

    /// The address at which the webhooks of one connection are received, made when it has none; a `secret` that is given is what the
    /// provider signs them with from now on.
    ///
    /// # Errors
    /// [`ConnectionsError`]: an unknown integration or connection, a secret that is empty.
    pub async fn connection_webhook(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
        secret: Option<Secret<String>>,
    ) -> Result<String, ConnectionsError> {
        let connections = &self.0.connections;
        let target = connections
            .target(environment, provider_config_key, connection_id)
            .await?;
        let address = connections.webhook_address(&target.connection).await?;
        if let Some(secret) = secret {
            connections
                .add_webhook_secret(&target.connection.key, &secret, true)
                .await?;
        }
        let start = target.integration.webhook_url(&self.0.config.public_base_url());
        Ok(format!("{start}/{}", address.token.expose()))
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

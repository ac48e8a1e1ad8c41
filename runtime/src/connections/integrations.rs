//! Integrations: looking up, creating and changing them.

use std::sync::Arc;

use serde_json::Value;

use super::incoming::WEBHOOK_SECRET;
use super::sealing::IntegrationSecrets;
use super::validation::{self, CONFIG_BYTES_MAX};
use super::{Connections, ConnectionsError, IntegrationPatch, NewIntegration, app, fields};
use crate::model::{EnvironmentId, Integration, IntegrationId, JsonObject};
use crate::provider::Provider;
use crate::store::ConnectionQuery;

impl Connections {
    pub async fn integration(
        &self,
        environment_id: &EnvironmentId,
        unique_key: &str,
    ) -> Result<Arc<Integration>, ConnectionsError> {
        let inner = &self.0;
        if let Some(integration) = inner.caches.integration(environment_id, unique_key) {
            return Ok(integration);
        }
        let ticket = inner.caches.ticket();
        let integration = Arc::new(self.stored_integration(environment_id, unique_key).await?);
        inner.caches.keep_integration(ticket, &integration);
        Ok(integration)
    }

    /// Newest first.
    pub async fn integrations(&self, environment_id: &EnvironmentId) -> Result<Vec<Integration>, ConnectionsError> {
        Ok(self.0.store.integrations(environment_id).await?)
    }

    pub async fn create_integration(
        &self,
        environment_id: &EnvironmentId,
        new: NewIntegration,
    ) -> Result<Integration, ConnectionsError> {
        let inner = &self.0;
        let provider = inner.provider(&new.provider)?;
        validation::unique_key("unique_key", &new.unique_key)?;
        let display_name = new.display_name.unwrap_or_else(|| provider.display_name.clone());
        validation::display_name("display_name", &display_name)?;
        let secrets = IntegrationSecrets {
            credentials: app::credentials(&provider, new.credentials)?,
            custom: custom(&provider, new.custom)?,
        };
        let now_ms = inner.clock.now_ms();
        let mut integration = Integration {
            id: IntegrationId::new(now_ms, inner.entropy.bytes()),
            environment_id: environment_id.clone(),
            unique_key: new.unique_key,
            provider: new.provider,
            display_name,
            secrets: None,
            forward_webhooks: new.forward_webhooks,
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
        };
        inner.seal_integration(&mut integration, &secrets);
        let inserted = inner.store.insert_integration(&integration).await;
        inner.caches.forget_integration(environment_id, &integration.unique_key);
        if inserted? {
            Ok(integration)
        } else {
            Err(ConnectionsError::IntegrationExists {
                unique_key: integration.unique_key,
            })
        }
    }

    pub async fn update_integration(
        &self,
        environment_id: &EnvironmentId,
        unique_key: &str,
        patch: IntegrationPatch,
    ) -> Result<Integration, ConnectionsError> {
        let inner = &self.0;
        let mut integration = self.stored_integration(environment_id, unique_key).await?;
        if let Some(display_name) = patch.display_name {
            validation::display_name("display_name", &display_name)?;
            integration.display_name = display_name;
        }
        if patch.credentials.is_some() || patch.custom.is_some() {
            let provider = inner.provider(&integration.provider)?;
            let mut secrets = inner.integration_secrets(&integration)?;
            if patch.credentials.is_some() {
                secrets.credentials = app::credentials(&provider, patch.credentials)?;
            }
            if let Some(values) = patch.custom {
                secrets.custom = custom(&provider, values)?;
            }
            inner.seal_integration(&mut integration, &secrets);
        }
        integration.forward_webhooks = patch.forward_webhooks.unwrap_or(integration.forward_webhooks);
        integration.updated_at_ms = inner.clock.now_ms();
        if let Some(new_key) = patch.unique_key.filter(|new_key| new_key != unique_key) {
            validation::unique_key("unique_key", &new_key)?;
            self.check_rename(environment_id, unique_key, &new_key).await?;
            integration.unique_key = new_key;
        }
        let updated = inner.store.update_integration(&integration).await;
        inner.caches.forget_integration(environment_id, unique_key);
        inner.caches.forget_integration(environment_id, &integration.unique_key);
        if updated? {
            Ok(integration)
        } else {
            Err(unknown_integration(unique_key))
        }
    }

    /// The opened `credentials` JSON of an integration (client id, secret, scopes), for callers entitled to it. With the secret that
    /// its webhooks are checked with, also where a provider sent that: some want to be told it.
    pub fn integration_credentials(&self, integration: &Integration) -> Result<Option<Value>, ConnectionsError> {
        let secrets = self.0.integration_secrets(integration)?;
        let webhook_secret = secrets.custom.get(WEBHOOK_SECRET).and_then(Value::as_str);
        let Some(webhook_secret) = webhook_secret.filter(|secret| !secret.is_empty()) else {
            return Ok(secrets.credentials);
        };
        let mut credentials = match secrets.credentials {
            Some(Value::Object(credentials)) => credentials,
            Some(_) | None => JsonObject::new(),
        };
        credentials.insert("webhook_secret".to_owned(), webhook_secret.into());
        Ok(Some(Value::Object(credentials)))
    }

    /// Connections and their callers know the key by heart, so only an integration without connections gets another.
    async fn check_rename(
        &self,
        environment_id: &EnvironmentId,
        unique_key: &str,
        new_key: &str,
    ) -> Result<(), ConnectionsError> {
        let store = &self.0.store;
        if store.integration(environment_id, new_key).await?.is_some() {
            return Err(ConnectionsError::IntegrationExists {
                unique_key: new_key.to_owned(),
            });
        }
        let query = ConnectionQuery {
            integration_ids: vec![unique_key.to_owned()],
            limit: 1,
            ..ConnectionQuery::default()
        };
        if store.connections(environment_id, &query).await?.is_empty() {
            Ok(())
        } else {
            Err(ConnectionsError::IntegrationInUse {
                unique_key: unique_key.to_owned(),
            })
        }
    }

    /// The row as it is now: what is written must not rest on a copy that another process has changed since.
    pub(super) async fn stored_integration(
        &self,
        environment_id: &EnvironmentId,
        unique_key: &str,
    ) -> Result<Integration, ConnectionsError> {
        let integration = self.0.store.integration(environment_id, unique_key).await?;
        integration.ok_or_else(|| unknown_integration(unique_key))
    }
}

pub(super) fn unknown_integration(unique_key: &str) -> ConnectionsError {
    ConnectionsError::UnknownIntegration {
        unique_key: unique_key.to_owned(),
    }
}

fn custom(provider: &Provider, values: JsonObject) -> Result<JsonObject, ConnectionsError> {
    validation::size("custom", &values, CONFIG_BYTES_MAX)?;
    fields::integration_config(provider, &values)?;
    Ok(values)
}

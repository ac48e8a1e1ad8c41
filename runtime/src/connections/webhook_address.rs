//! Addresses at which the provider's webhooks of one connection are received, and the secrets that they are signed with: for providers
//! that give each webhook, or each customer, a secret of its own. The last part of an address is a secret, too: only who was told it
//! can send a handshake there.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::incoming::WEBHOOK_SECRET;
use super::{Connections, ConnectionsError};
use crate::credentials::Secret;
use crate::model::{Connection, ConnectionKey, EnvironmentId, Integration, IntegrationId};
use crate::store::StoredWebhookAddress;

/// Secrets of one connection; those that came first go when there are more.
const SECRETS_MAX: usize = 100;
/// Characters of one; no provider's has as many.
const SECRET_CHARS_MAX: usize = 1_000;
/// Tries to write before somebody else who writes all the time is given way.
const WRITE_TRIES_MAX: u32 = 10;

/// An address, and what is signed with.
#[derive(Debug)]
pub struct WebhookAddress {
    pub connection_key: ConnectionKey,
    pub integration_id: IntegrationId,
    /// Its last part.
    pub token: Secret<String>,
    /// The newest first.
    pub secrets: Vec<Secret<String>>,
}

/// What becomes of a secret that a provider sent for an integration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    New,
    /// It is the one that is there.
    Same,
    /// Another one is there.
    Other,
}

impl Connections {
    /// The address of a connection, made when it has none.
    ///
    /// # Errors
    /// When the connection is deleted meanwhile, or the address cannot be opened.
    pub async fn webhook_address(&self, connection: &Connection) -> Result<WebhookAddress, ConnectionsError> {
        let inner = &self.0;
        if let Some(stored) = inner.store.webhook_address(&connection.key).await? {
            return self.opened(&stored);
        }
        let token = URL_SAFE_NO_PAD.encode(inner.entropy.bytes::<24>());
        let content = json!({"token": token, "secrets": []});
        let stored = StoredWebhookAddress {
            connection_key: connection.key.clone(),
            integration_id: connection.integration_id.clone(),
            token_hash: hash(&token),
            sealed: inner.seal_json(&place(&connection.key), &Secret::new(content)),
        };
        if inner.store.insert_webhook_address(&stored).await? {
            return self.opened(&stored);
        }
        // Somebody else was faster.
        let stored = inner.store.webhook_address(&connection.key).await?;
        let stored = stored.ok_or_else(|| ConnectionsError::UnknownConnection {
            provider_config_key: connection.provider_config_key.clone(),
            connection_id: connection.connection_id.clone(),
        })?;
        self.opened(&stored)
    }

    /// The address that ends so.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn webhook_address_by_token(&self, token: &str) -> Result<Option<WebhookAddress>, ConnectionsError> {
        let stored = self.0.store.webhook_address_by_token(&hash(token)).await?;
        stored.map(|stored| self.opened(&stored)).transpose()
    }

    /// Adds a secret that the provider signs webhooks of the connection with; `alone`: it is the only one from now on.
    ///
    /// # Errors
    /// When it is empty or too long, or the address is gone.
    pub async fn add_webhook_secret(
        &self,
        key: &ConnectionKey,
        secret: &Secret<String>,
        alone: bool,
    ) -> Result<(), ConnectionsError> {
        check(secret)?;
        let store = &self.0.store;
        for _ in 0..WRITE_TRIES_MAX {
            let Some(stored) = store.webhook_address(key).await? else {
                break;
            };
            let address = self.opened(&stored)?;
            let others = address.secrets.iter().map(Secret::expose);
            let others = others.filter(|other| !alone && *other != secret.expose());
            let secrets: Vec<&String> = std::iter::once(secret.expose())
                .chain(others)
                .take(SECRETS_MAX)
                .collect();
            let content = json!({"token": address.token.expose(), "secrets": secrets});
            let sealed = self.0.seal_json(&place(key), &Secret::new(content));
            if store.replace_webhook_address(key, &stored.sealed, &sealed).await? {
                return Ok(());
            }
        }
        Err(ConnectionsError::Invalid {
            field: "secret".to_owned(),
            message: "the connection was deleted, or others change its secrets all the time".to_owned(),
        })
    }

    /// Keeps a secret that the provider sent for an integration that has none. One that is there is not replaced: whoever sends the first
    /// could not be told from whoever sends another.
    ///
    /// # Errors
    /// When it is empty or too long, or the integration is gone.
    pub async fn keep_webhook_secret(
        &self,
        environment_id: &EnvironmentId,
        unique_key: &str,
        secret: &Secret<String>,
    ) -> Result<Kept, ConnectionsError> {
        check(secret)?;
        let inner = &self.0;
        let mut integration: Integration = self.stored_integration(environment_id, unique_key).await?;
        let mut secrets = inner.integration_secrets(&integration)?;
        match secrets.custom.get(WEBHOOK_SECRET).and_then(Value::as_str) {
            Some(known) if known == secret.expose() => return Ok(Kept::Same),
            Some(known) if !known.is_empty() => return Ok(Kept::Other),
            Some(_) | None => {}
        }
        let value = Value::String(secret.expose().clone());
        secrets.custom.insert(WEBHOOK_SECRET.to_owned(), value);
        inner.seal_integration(&mut integration, &secrets);
        integration.updated_at_ms = inner.clock.now_ms();
        inner.store.update_integration(&integration).await?;
        inner.caches.forget_integration(environment_id, unique_key);
        Ok(Kept::New)
    }

    fn opened(&self, stored: &StoredWebhookAddress) -> Result<WebhookAddress, ConnectionsError> {
        let content = self.0.open_json(&place(&stored.connection_key), &stored.sealed)?;
        let content = content.expose();
        let text = |value: &Value| Secret::new(value.as_str().unwrap_or_default().to_owned());
        let secrets = content.get("secrets").and_then(Value::as_array);
        Ok(WebhookAddress {
            connection_key: stored.connection_key.clone(),
            integration_id: stored.integration_id.clone(),
            token: text(content.get("token").unwrap_or(&Value::Null)),
            secrets: secrets.into_iter().flatten().map(text).collect(),
        })
    }
}

fn check(secret: &Secret<String>) -> Result<(), ConnectionsError> {
    let chars = secret.expose().chars().count();
    if (1..=SECRET_CHARS_MAX).contains(&chars) {
        return Ok(());
    }
    Err(ConnectionsError::Invalid {
        field: "secret".to_owned(),
        message: format!("it has {chars} characters; 1 to {SECRET_CHARS_MAX} are allowed"),
    })
}

fn hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token.as_bytes()))
}

fn place(key: &ConnectionKey) -> String {
    format!("webhook_address:{key}:sealed")
}

//! Webhooks to the application, as the API of an embedding program offers them.

use serde_json::value::RawValue;

use super::Runtime;
use crate::credentials::Secret;
use crate::model::{EnvironmentId, Webhook, WebhookId, WebhookSettings, WebhookSettingsPatch};
use crate::store::WebhookQuery;
use crate::webhooks::{SigningKeys, WebhookPage, WebhooksError};

impl Runtime {
    /// Where the webhooks of an environment go, and which are sent.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn webhook_settings(&self, environment: &EnvironmentId) -> Result<WebhookSettings, WebhooksError> {
        self.0.webhooks.settings(environment).await
    }

    /// Changes where webhooks go and which are sent. What waits for an address that changes goes to the new one.
    ///
    /// # Errors
    /// [`WebhooksError::Invalid`] for an address that is none; nothing changes then.
    pub async fn change_webhook_settings(
        &self,
        environment: &EnvironmentId,
        patch: &WebhookSettingsPatch,
    ) -> Result<WebhookSettings, WebhooksError> {
        self.0.webhooks.change_settings(environment, patch).await
    }

    /// The key that signs the webhooks of an environment, and the one after it.
    ///
    /// # Errors
    /// When the database fails, or the key cannot be opened.
    pub async fn webhook_signing_keys(&self, environment: &EnvironmentId) -> Result<SigningKeys, WebhooksError> {
        self.0.webhooks.signing_keys(environment).await
    }

    /// Has another key, `given` or a random one, sign webhooks in `activate_in_s` seconds.
    ///
    /// # Errors
    /// [`WebhooksError::Invalid`] for a key or a time that does not fit.
    pub async fn rotate_webhook_signing_key(
        &self,
        environment: &EnvironmentId,
        given: Option<Secret<String>>,
        activate_in_s: u64,
    ) -> Result<SigningKeys, WebhooksError> {
        self.0
            .webhooks
            .rotate_signing_key(environment, given, activate_in_s)
            .await
    }

    /// Webhooks that wait, were delivered in the last day, or were given up; newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn webhooks(
        &self,
        environment: &EnvironmentId,
        query: WebhookQuery,
    ) -> Result<WebhookPage, WebhooksError> {
        self.0.webhooks.list(environment, query).await
    }

    /// A webhook and its body.
    ///
    /// # Errors
    /// [`WebhooksError::Unknown`].
    pub async fn webhook(
        &self,
        environment: &EnvironmentId,
        id: &WebhookId,
    ) -> Result<(Webhook, Box<RawValue>), WebhooksError> {
        self.0.webhooks.show(environment, id).await
    }

    /// Has a webhook sent again: the same body under the same id.
    ///
    /// # Errors
    /// [`WebhooksError::Unknown`], or [`WebhooksError::UnderWay`].
    pub async fn resend_webhook(&self, environment: &EnvironmentId, id: &WebhookId) -> Result<(), WebhooksError> {
        self.0.webhooks.resend(environment, id).await
    }

    /// Has dead letters sent again, the oldest first, at most 1,000. Gives how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resend_dead_webhooks(&self, environment: &EnvironmentId) -> Result<u64, WebhooksError> {
        self.0.webhooks.resend_dead(environment).await
    }
}

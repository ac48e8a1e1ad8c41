//! What became of webhooks, for those who look, and having them sent again.

use serde_json::value::RawValue;

use super::{Webhooks, WebhooksError};
use crate::model::{EnvironmentId, Webhook, WebhookId};
use crate::store::{WebhookQuery, WebhookResend};

/// Some webhooks, newest first.
#[derive(Debug)]
pub struct WebhookPage {
    pub webhooks: Vec<Webhook>,
    /// The page after this one begins behind it; none when there is none.
    pub next: Option<WebhookId>,
}

impl Webhooks {
    /// # Errors
    /// The database failed.
    pub async fn list(
        &self,
        environment_id: &EnvironmentId,
        mut query: WebhookQuery,
    ) -> Result<WebhookPage, WebhooksError> {
        let limit = usize::try_from(query.limit).unwrap_or(0);
        query.limit = query.limit.saturating_add(1);
        let mut webhooks = self.0.store.webhooks(environment_id, &query).await?;
        let is_last = webhooks.len() <= limit;
        webhooks.truncate(limit);
        let next = if is_last {
            None
        } else {
            webhooks.last().map(|webhook| webhook.id.clone())
        };
        Ok(WebhookPage { webhooks, next })
    }

    /// A webhook with its body, as the receiver gets it.
    ///
    /// # Errors
    /// [`WebhooksError::Unknown`], or it cannot be opened, or the database failed.
    pub async fn show(
        &self,
        environment_id: &EnvironmentId,
        id: &WebhookId,
    ) -> Result<(Webhook, Box<RawValue>), WebhooksError> {
        let found = self.0.store.webhook(environment_id, id).await?;
        let webhook = found.ok_or_else(|| WebhooksError::Unknown { id: id.to_string() })?;
        let content = self.0.open_content(&webhook)?;
        let body = RawValue::from_string(content.body).map_err(|source| WebhooksError::Stored {
            place: format!("webhook:{id}:content"),
            source,
        })?;
        Ok((webhook, body))
    }

    /// Has a webhook sent again, whatever became of it: the same body under the same id, with all its attempts before it.
    ///
    /// # Errors
    /// [`WebhooksError::Unknown`], or [`WebhooksError::UnderWay`].
    pub async fn resend(&self, environment_id: &EnvironmentId, id: &WebhookId) -> Result<(), WebhooksError> {
        let parts = &self.0;
        let now_ms = parts.clock.now_ms();
        match parts.store.resend_webhook(environment_id, id, now_ms).await? {
            WebhookResend::Queued => {
                self.wake();
                Ok(())
            }
            WebhookResend::UnderWay => Err(WebhooksError::UnderWay { id: id.to_string() }),
            WebhookResend::Unknown => Err(WebhooksError::Unknown { id: id.to_string() }),
        }
    }

    /// Has dead letters sent again, the oldest first, at most 1,000. Gives how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn resend_dead(&self, environment_id: &EnvironmentId) -> Result<u64, WebhooksError> {
        let parts = &self.0;
        let now_ms = parts.clock.now_ms();
        let count = parts.store.resend_dead_webhooks(environment_id, now_ms).await?;
        self.wake();
        Ok(count)
    }
}

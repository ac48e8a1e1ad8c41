//! Where the webhooks of an environment go and which are sent, for those who look and change.

use url::Url;

use super::{Webhooks, WebhooksError};
use crate::model::{EnvironmentId, WebhookSettings, WebhookSettingsPatch};

/// As of the address that a connection may have of its own.
const URL_CHARS_MAX: usize = 2_048;

impl Webhooks {
    /// The settings of an environment; the first call makes its signing key.
    ///
    /// # Errors
    /// The environment is gone, or the database failed.
    pub async fn settings(&self, environment_id: &EnvironmentId) -> Result<WebhookSettings, WebhooksError> {
        self.0.settings(environment_id).await
    }

    /// Changes the settings. What waits for an address that changes goes to the new one, and dead letters would; what waits for
    /// one that is taken away becomes a dead letter. Gives them as they are then.
    ///
    /// # Errors
    /// [`WebhooksError::Invalid`] for an address that is none; nothing changes then.
    pub async fn change_settings(
        &self,
        environment_id: &EnvironmentId,
        patch: &WebhookSettingsPatch,
    ) -> Result<WebhookSettings, WebhooksError> {
        check_url("primary_url", patch.primary_url.as_ref())?;
        check_url("secondary_url", patch.secondary_url.as_ref())?;
        let parts = &self.0;
        parts.settings(environment_id).await?;
        let now_ms = parts.clock.now_ms();
        parts
            .store
            .patch_webhook_settings(environment_id, patch, now_ms)
            .await?;
        self.wake();
        parts.settings(environment_id).await
    }
}

/// That the address may be reached is decided when something is sent there.
fn check_url(field: &'static str, url: Option<&Option<String>>) -> Result<(), WebhooksError> {
    let Some(Some(url)) = url else { return Ok(()) };
    let invalid = |message: String| Err(WebhooksError::Invalid { field, message });
    let chars = url.chars().count();
    if chars > URL_CHARS_MAX {
        return invalid(format!("must have at most {URL_CHARS_MAX} characters, not {chars}"));
    }
    let is_plain = |url: &Url| url.username().is_empty() && url.password().is_none();
    match Url::parse(url) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && is_plain(&url) => Ok(()),
        // Not repeated: it may hold a secret.
        Ok(_) | Err(_) => invalid("must be a URL that begins with https:// or http:// and names no user".to_owned()),
    }
}

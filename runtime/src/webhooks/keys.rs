//! The keys that sign the webhooks of an environment. There is always one; another may be waiting for its time, so that receivers
//! can be given it before it is used.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{Parts, Webhooks, WebhooksError};
use crate::credentials::Secret;
use crate::model::{EnvironmentId, Sealed, WebhookSettings};

/// Longest time for which a new key may wait, in seconds.
pub const ACTIVATE_IN_S_MAX: u64 = 30 * 24 * 60 * 60;
/// A key that is given has so many characters, all of them visible ASCII.
pub const SIGNING_KEY_CHARS_MIN: usize = 16;
pub const SIGNING_KEY_CHARS_MAX: usize = 255;
const SIGNING_KEY_BYTES: usize = 32;

/// As they are at a moment.
pub struct SigningKeys {
    /// It signs now.
    pub current: Secret<String>,
    /// It signs from then on.
    pub next: Option<(Secret<String>, i64)>,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    key: String,
    from_ms: i64,
}

impl Webhooks {
    /// The keys of an environment. The first call makes one.
    ///
    /// # Errors
    /// The environment is gone, the keys cannot be opened, or the database failed.
    pub async fn signing_keys(&self, environment_id: &EnvironmentId) -> Result<SigningKeys, WebhooksError> {
        let settings = self.0.settings(environment_id).await?;
        self.0.keys_at(environment_id, &settings, self.0.clock.now_ms())
    }

    /// Makes another key sign, `given` or a random one, in `activate_in_s` seconds (0: at once). A key that was waiting is
    /// forgotten. The key before signs until then and is gone after it.
    ///
    /// # Errors
    /// [`WebhooksError::Invalid`] for a key or a time that does not fit; else as [`Webhooks::signing_keys`].
    pub async fn rotate_signing_key(
        &self,
        environment_id: &EnvironmentId,
        given: Option<Secret<String>>,
        activate_in_s: u64,
    ) -> Result<SigningKeys, WebhooksError> {
        let parts = &self.0;
        if activate_in_s > ACTIVATE_IN_S_MAX {
            let message = format!("must be at most {ACTIVATE_IN_S_MAX} seconds, not {activate_in_s}");
            return Err(WebhooksError::Invalid {
                field: "activate_in_s",
                message,
            });
        }
        let key = match given {
            Some(key) => checked(key)?,
            None => generated(parts.entropy.bytes()),
        };
        let settings = parts.settings(environment_id).await?;
        let now_ms = parts.clock.now_ms();
        let from_ms = now_ms.saturating_add(i64::try_from(activate_in_s).unwrap_or(i64::MAX).saturating_mul(1_000));
        let current = parts.keys_at(environment_id, &settings, now_ms)?.current;
        let mut keys = Vec::with_capacity(2);
        if from_ms > now_ms {
            keys.push((current, 0));
        }
        keys.push((key, from_ms));
        let sealed = parts.seal_keys(environment_id, &keys);
        let store = &parts.store;
        let replaced = store.replace_signing_keys(environment_id, &settings.signing_keys, &sealed, now_ms);
        if !replaced.await? {
            return Err(WebhooksError::KeysChanged);
        }
        self.signing_keys(environment_id).await
    }
}

impl Parts {
    /// The settings of an environment; there are some after this.
    pub(super) async fn settings(&self, environment_id: &EnvironmentId) -> Result<WebhookSettings, WebhooksError> {
        for _ in 0..2 {
            let found = self.store.webhook_settings(environment_id).await?;
            let (_, settings) = found.ok_or(WebhooksError::EnvironmentGone)?;
            if let Some(settings) = settings {
                return Ok(settings);
            }
            let keys = self.seal_keys(environment_id, &[(generated(self.entropy.bytes()), 0)]);
            let now_ms = self.clock.now_ms();
            self.store
                .ensure_webhook_settings(environment_id, &keys, now_ms)
                .await?;
        }
        Err(WebhooksError::EnvironmentGone)
    }

    pub(super) fn keys_at(
        &self,
        environment_id: &EnvironmentId,
        settings: &WebhookSettings,
        now_ms: i64,
    ) -> Result<SigningKeys, WebhooksError> {
        let place = place(environment_id);
        let opened = self.keyring.open(&place, &settings.signing_keys)?;
        let stored: Vec<StoredKey> =
            serde_json::from_slice(opened.expose()).map_err(|source| WebhooksError::Stored { place, source })?;
        let mut keys = SigningKeys {
            current: Secret::new(String::new()),
            next: None,
        };
        for StoredKey { key, from_ms } in stored {
            if from_ms <= now_ms {
                keys.current = Secret::new(key);
            } else {
                keys.next = Some((Secret::new(key), from_ms));
            }
        }
        Ok(keys)
    }

    fn seal_keys(&self, environment_id: &EnvironmentId, keys: &[(Secret<String>, i64)]) -> Sealed {
        let stored = keys.iter().map(|(key, from_ms)| StoredKey {
            key: key.expose().clone(),
            from_ms: *from_ms,
        });
        // Writing plain data as JSON to memory does not fail.
        let json = Secret::new(serde_json::to_vec(&stored.collect::<Vec<_>>()).unwrap_or_default());
        self.keyring.seal(&place(environment_id), json.expose())
    }
}

fn place(environment_id: &EnvironmentId) -> String {
    format!("environment:{environment_id}:signing_keys")
}

fn checked(key: Secret<String>) -> Result<Secret<String>, WebhooksError> {
    let text = key.expose();
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_visible && (SIGNING_KEY_CHARS_MIN..=SIGNING_KEY_CHARS_MAX).contains(&text.len()) {
        return Ok(key);
    }
    // Not repeated: it is a secret.
    Err(WebhooksError::Invalid {
        field: "key",
        message: format!(
            "must have {SIGNING_KEY_CHARS_MIN} to {SIGNING_KEY_CHARS_MAX} visible ASCII characters and no spaces"
        ),
    })
}

fn generated(random: [u8; SIGNING_KEY_BYTES]) -> Secret<String> {
    let mut key = String::with_capacity(2 * SIGNING_KEY_BYTES);
    for byte in random {
        // Writing to a string does not fail.
        let _ = write!(key, "{byte:02x}");
    }
    Secret::new(key)
}

//! Where the webhooks of an environment go, which are sent, and the keys that sign them, sealed.

use sqlx::query;

use super::super::columns::{Columns, to_json};
use super::super::{Store, StoreError};
use super::target;
use crate::model::{
    Environment, EnvironmentId, Sealed, WebhookKinds, WebhookSettings, WebhookSettingsPatch, WebhookSlot,
};
use crate::store::columns::Word as _;

/// Why what was to be sent to an address is a dead letter.
const ADDRESS_GONE: &str = "the address was taken out of the settings";

impl Store {
    /// The environment and its settings, if it has any.
    pub async fn webhook_settings(
        &self,
        environment_id: &EnvironmentId,
    ) -> Result<Option<(Environment, Option<WebhookSettings>)>, StoreError> {
        let row = query(
            "SELECT e.id, e.name, e.created_at_ms, s.kinds, s.primary_url, s.secondary_url, s.signing_keys \
             FROM environments e LEFT JOIN webhook_settings s ON s.environment_id = e.id WHERE e.id = $1",
        )
        .bind(environment_id.as_str())
        .fetch_optional(&self.reader)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let mut columns = Columns::new(&row, "environments");
        let environment = Environment {
            id: columns.id("id")?,
            name: columns.get("name")?,
            created_at_ms: columns.get("created_at_ms")?,
        };
        if columns.next_is_null() {
            return Ok(Some((environment, None)));
        }
        let settings = WebhookSettings {
            kinds: columns.json("kinds")?,
            primary_url: columns.get("primary_url")?,
            secondary_url: columns.get("secondary_url")?,
            signing_keys: Sealed(columns.get("signing_keys")?),
        };
        Ok(Some((environment, Some(settings))))
    }

    /// Gives an environment the default settings with these keys, unless it has settings.
    ///
    /// # Errors
    /// [`StoreError::ParentGone`] when the environment was deleted.
    pub async fn ensure_webhook_settings(
        &self,
        environment_id: &EnvironmentId,
        signing_keys: &Sealed,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        query(
            "INSERT INTO webhook_settings (environment_id, kinds, signing_keys, updated_at_ms) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (environment_id) DO NOTHING",
        )
        .bind(environment_id.as_str())
        .bind(to_json(&WebhookKinds::default())?)
        .bind(signing_keys.0.as_slice())
        .bind(now_ms)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Changes the settings. What waits or was given up for an address that changes goes to the new one; what waits for one that
    /// is taken away is given up. False when there are no settings.
    pub async fn patch_webhook_settings(
        &self,
        environment_id: &EnvironmentId,
        patch: &WebhookSettingsPatch,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let row = query(
            "UPDATE webhook_settings SET updated_at_ms = $2 WHERE environment_id = $1 \
             RETURNING kinds, primary_url, secondary_url",
        )
        .bind(environment_id.as_str())
        .bind(now_ms)
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = row else { return Ok(false) };
        let mut columns = Columns::new(&row, "webhook_settings");
        let kinds = patch.switched(columns.json("kinds")?);
        let before: [Option<String>; 2] = [columns.get("primary_url")?, columns.get("secondary_url")?];
        let [old_primary, old_secondary] = &before;
        let primary = patch.primary_url.as_ref().unwrap_or(old_primary);
        let secondary = patch.secondary_url.as_ref().unwrap_or(old_secondary);
        query("UPDATE webhook_settings SET kinds = $2, primary_url = $3, secondary_url = $4 WHERE environment_id = $1")
            .bind(environment_id.as_str())
            .bind(to_json(&kinds)?)
            .bind(primary.as_deref())
            .bind(secondary.as_deref())
            .execute(&mut *transaction)
            .await?;
        let slots = [
            (WebhookSlot::Primary, old_primary, primary),
            (WebhookSlot::Secondary, old_secondary, secondary),
        ];
        for (slot, old, new) in slots {
            let moved = match new {
                new if new == old => continue,
                Some(url) => query(
                    "UPDATE webhooks SET url = $3, target = $4, due_at_ms = CASE WHEN state = 'pending' THEN $5 \
                     ELSE due_at_ms END WHERE environment_id = $1 AND slot = $2 AND state IN ('pending', 'dead')",
                )
                .bind(environment_id.as_str())
                .bind(slot.word())
                .bind(url.as_str())
                .bind(target(url))
                .bind(now_ms),
                None => query(
                    "UPDATE webhooks SET state = 'dead', problem = $3, ended_at_ms = $4 \
                     WHERE environment_id = $1 AND slot = $2 AND state = 'pending'",
                )
                .bind(environment_id.as_str())
                .bind(slot.word())
                .bind(ADDRESS_GONE)
                .bind(now_ms),
            };
            moved.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Puts `new` in the place of `old`. False when other keys are there by now.
    pub async fn replace_signing_keys(
        &self,
        environment_id: &EnvironmentId,
        old: &Sealed,
        new: &Sealed,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let replaced = query(
            "UPDATE webhook_settings SET signing_keys = $3, updated_at_ms = $4 \
             WHERE environment_id = $1 AND signing_keys = $2",
        )
        .bind(environment_id.as_str())
        .bind(old.0.as_slice())
        .bind(new.0.as_slice())
        .bind(now_ms)
        .execute(&self.writer)
        .await?;
        Ok(replaced.rows_affected() == 1)
    }
}

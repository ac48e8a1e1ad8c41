//! Environments, settings of the installation, and integrations.

use sqlx::any::AnyRow;
use sqlx::{query, query_scalar};

use super::columns::Columns;
use super::error::is_unique_violation;
use super::{Store, StoreError};
use crate::model::{Environment, EnvironmentId, Integration, Sealed};

/// The columns of [`Columns::integration`].
macro_rules! integration_columns {
    () => {
        "id, environment_id, unique_key, provider, display_name, secrets, forward_webhooks, created_at_ms, updated_at_ms"
    };
}

impl Store {
    pub async fn environment_by_name(&self, name: &str) -> Result<Option<Environment>, StoreError> {
        let row = query("SELECT id, name, created_at_ms FROM environments WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.reader)
            .await?;
        row.as_ref().map(environment).transpose()
    }

    /// # Errors
    /// [`StoreError::Taken`] when there is one of this name.
    pub async fn insert_environment(&self, environment: &Environment) -> Result<(), StoreError> {
        let inserted = query(
            "INSERT INTO environments (id, name, created_at_ms) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
        )
        .bind(environment.id.as_str())
        .bind(&environment.name)
        .bind(environment.created_at_ms)
        .execute(&self.writer)
        .await?;
        if inserted.rows_affected() == 0 {
            return Err(StoreError::Taken {
                what: "the environment name",
                name: environment.name.clone(),
            });
        }
        Ok(())
    }

    /// Oldest first.
    pub async fn environments(&self) -> Result<Vec<Environment>, StoreError> {
        let rows = query("SELECT id, name, created_at_ms FROM environments ORDER BY created_at_ms, id")
            .fetch_all(&self.reader)
            .await?;
        rows.iter().map(environment).collect()
    }

    /// A named blob of this installation (sealed check value of the encryption key and the like).
    pub async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(query_scalar("SELECT value FROM settings WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.reader)
            .await?)
    }

    /// Sets it unless it is set; gives what is then stored.
    pub async fn insert_setting(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        // The update changes nothing; without it, RETURNING would give nothing for a row that is there.
        Ok(query_scalar(
            "INSERT INTO settings (name, value) VALUES ($1, $2) \
             ON CONFLICT (name) DO UPDATE SET name = settings.name RETURNING value",
        )
        .bind(name)
        .bind(value)
        .fetch_one(&self.writer)
        .await?)
    }

    /// False when the unique key is taken.
    pub async fn insert_integration(&self, integration: &Integration) -> Result<bool, StoreError> {
        let inserted = query(concat!(
            "INSERT INTO integrations (",
            integration_columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (environment_id, unique_key) DO NOTHING"
        ))
        .bind(integration.id.as_str())
        .bind(integration.environment_id.as_str())
        .bind(&integration.unique_key)
        .bind(&integration.provider)
        .bind(&integration.display_name)
        .bind(integration.secrets.as_ref().map(|sealed| sealed.0.as_slice()))
        .bind(on_off(integration.forward_webhooks))
        .bind(integration.created_at_ms)
        .bind(integration.updated_at_ms)
        .execute(&self.writer)
        .await?;
        Ok(inserted.rows_affected() == 1)
    }

    /// Rewrites everything but id, environment and creation time. False when it is gone.
    ///
    /// # Errors
    /// [`StoreError::Taken`] when another integration has the unique key.
    pub async fn update_integration(&self, integration: &Integration) -> Result<bool, StoreError> {
        let updated = query(
            "UPDATE integrations SET unique_key = $2, provider = $3, display_name = $4, secrets = $5, \
             forward_webhooks = $6, updated_at_ms = $7 WHERE id = $1 AND deleted_at_ms IS NULL",
        )
        .bind(integration.id.as_str())
        .bind(&integration.unique_key)
        .bind(&integration.provider)
        .bind(&integration.display_name)
        .bind(integration.secrets.as_ref().map(|sealed| sealed.0.as_slice()))
        .bind(on_off(integration.forward_webhooks))
        .bind(integration.updated_at_ms)
        .execute(&self.writer)
        .await;
        match updated {
            Ok(updated) => Ok(updated.rows_affected() == 1),
            Err(error) if is_unique_violation(&error) => Err(StoreError::Taken {
                what: "the unique key",
                name: integration.unique_key.clone(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    pub async fn integration(
        &self,
        environment_id: &EnvironmentId,
        unique_key: &str,
    ) -> Result<Option<Integration>, StoreError> {
        let row = query(concat!(
            "SELECT ",
            integration_columns!(),
            " FROM integrations WHERE environment_id = $1 AND unique_key = $2 AND deleted_at_ms IS NULL"
        ))
        .bind(environment_id.as_str())
        .bind(unique_key)
        .fetch_optional(&self.reader)
        .await?;
        row.as_ref().map(integration).transpose()
    }

    /// Newest first.
    pub async fn integrations(&self, environment_id: &EnvironmentId) -> Result<Vec<Integration>, StoreError> {
        let rows = query(concat!(
            "SELECT ",
            integration_columns!(),
            " FROM integrations WHERE environment_id = $1 AND deleted_at_ms IS NULL ORDER BY created_at_ms DESC, id DESC"
        ))
        .bind(environment_id.as_str())
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(integration).collect()
    }
}

pub(super) fn environment(row: &AnyRow) -> Result<Environment, StoreError> {
    let mut columns = Columns::new(row, "environments");
    Ok(Environment {
        id: columns.id("id")?,
        name: columns.get("name")?,
        created_at_ms: columns.get("created_at_ms")?,
    })
}

pub(super) fn integration(row: &AnyRow) -> Result<Integration, StoreError> {
    let mut columns = Columns::new(row, "integrations");
    Ok(Integration {
        id: columns.id("id")?,
        environment_id: columns.id("environment_id")?,
        unique_key: columns.get("unique_key")?,
        provider: columns.get("provider")?,
        display_name: columns.get("display_name")?,
        secrets: columns.get::<Option<Vec<u8>>>("secrets")?.map(Sealed),
        forward_webhooks: columns.get::<&str>("forward_webhooks")? == "on",
        created_at_ms: columns.get("created_at_ms")?,
        updated_at_ms: columns.get("updated_at_ms")?,
    })
}

fn on_off(flag: bool) -> &'static str {
    if flag { "on" } else { "off" }
}

//! Environment variables, their values sealed by whoever brings them.

use sqlx::any::AnyRow;
use sqlx::{query, query_scalar};

use super::columns::Columns;
use super::{Store, StoreError};
use crate::model::{EnvironmentId, Sealed, StoredEnvironmentVariable};

impl Store {
    /// Inserts the variable, or gives the one of that name the new value and time; its id and time of creation stay. False when it
    /// would be new and the environment has `variables_max` already.
    pub async fn set_environment_variable(
        &self,
        variable: &StoredEnvironmentVariable,
        variables_max: i64,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        // Puts those who insert at the same time in line, so that the count holds.
        query("UPDATE environments SET name = name WHERE id = $1")
            .bind(variable.environment_id.as_str())
            .execute(&mut *transaction)
            .await?;
        query(
            "INSERT INTO environment_variables (id, environment_id, name, value, created_at_ms, updated_at_ms) \
             VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (environment_id, name) DO UPDATE SET value = excluded.value, updated_at_ms = excluded.updated_at_ms",
        )
        .bind(variable.id.as_str())
        .bind(variable.environment_id.as_str())
        .bind(&variable.name)
        .bind(variable.value.0.as_slice())
        .bind(variable.created_at_ms)
        .bind(variable.updated_at_ms)
        .execute(&mut *transaction)
        .await?;
        let count: i64 =
            query_scalar("SELECT CAST(COUNT(*) AS BIGINT) FROM environment_variables WHERE environment_id = $1")
                .bind(variable.environment_id.as_str())
                .fetch_one(&mut *transaction)
                .await?;
        if count > variables_max {
            transaction.rollback().await?;
            return Ok(false);
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// All of an environment, by name.
    pub async fn environment_variables(
        &self,
        environment_id: &EnvironmentId,
    ) -> Result<Vec<StoredEnvironmentVariable>, StoreError> {
        let rows = query(
            "SELECT id, environment_id, name, value, created_at_ms, updated_at_ms FROM environment_variables \
             WHERE environment_id = $1",
        )
        .bind(environment_id.as_str())
        .fetch_all(&self.reader)
        .await?;
        let mut variables = rows.iter().map(variable).collect::<Result<Vec<_>, _>>()?;
        variables.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(variables)
    }

    /// False when the environment has none of that name.
    pub async fn delete_environment_variable(
        &self,
        environment_id: &EnvironmentId,
        name: &str,
    ) -> Result<bool, StoreError> {
        let deleted = query("DELETE FROM environment_variables WHERE environment_id = $1 AND name = $2")
            .bind(environment_id.as_str())
            .bind(name)
            .execute(&self.writer)
            .await?;
        Ok(deleted.rows_affected() == 1)
    }
}

fn variable(row: &AnyRow) -> Result<StoredEnvironmentVariable, StoreError> {
    let mut columns = Columns::new(row, "environment_variables");
    Ok(StoredEnvironmentVariable {
        id: columns.id("id")?,
        environment_id: columns.id("environment_id")?,
        name: columns.get("name")?,
        value: Sealed(columns.get("value")?),
        created_at_ms: columns.get("created_at_ms")?,
        updated_at_ms: columns.get("updated_at_ms")?,
    })
}

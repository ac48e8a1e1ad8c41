//! The audit: who was shown credentials. Rows are written once and deleted when they are old.

use sqlx::any::AnyRow;
use sqlx::query;

use super::columns::{Columns, Word as _};
use super::sql::Sql;
use super::{Store, StoreError};
use crate::model::{CredentialRead, CredentialReadId, CredentialReadKind, CredentialReader, EnvironmentId, RunId};

/// Reads listed at once.
const PAGE_MAX: i64 = 500;

/// Which reads to list.
#[derive(Clone, Debug, Default)]
pub struct CredentialReadQuery {
    pub kind: Option<CredentialReadKind>,
    pub provider_config_key: Option<String>,
    pub connection_id: Option<String>,
    /// Id of the key.
    pub api_key_id: Option<String>,
    /// At this time or later.
    pub since_ms: Option<i64>,
    /// Before this time.
    pub until_ms: Option<i64>,
    /// Older than this one.
    pub before: Option<CredentialReadId>,
    /// 1 to 500.
    pub limit: i64,
}

impl Store {
    /// Committed when this returns.
    pub async fn insert_credential_read(&self, read: &CredentialRead) -> Result<(), StoreError> {
        let (key, function) = match &read.by {
            CredentialReader::ApiKey { id, name, request_id } => {
                (Some((id.as_str(), name.as_str(), request_id.as_str())), None)
            }
            CredentialReader::Function {
                name,
                run_id,
                operation_id,
            } => (
                None,
                Some((name.as_str(), run_id.as_ref().map(RunId::as_str), operation_id.as_str())),
            ),
        };
        query(
            "INSERT INTO credential_reads (id, environment_id, read_at_ms, kind, provider_config_key, connection_id, \
             api_key_id, api_key_name, request_id, function, run_id, operation_id, refresh, refresh_token) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind(read.id.as_str())
        .bind(read.environment_id.as_str())
        .bind(read.read_at_ms)
        .bind(read.kind.word())
        .bind(&read.provider_config_key)
        .bind(&read.connection_id)
        .bind(key.map(|(id, ..)| id))
        .bind(key.map(|(_, name, _)| name))
        .bind(key.map(|(.., request_id)| request_id))
        .bind(function.map(|(name, ..)| name))
        .bind(function.and_then(|(_, run_id, _)| run_id))
        .bind(function.map(|(.., operation_id)| operation_id))
        .bind(if read.forced { "forced" } else { "when_due" })
        .bind(if read.with_refresh_token { "shown" } else { "hidden" })
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Newest first.
    pub async fn credential_reads(
        &self,
        environment_id: &EnvironmentId,
        query: &CredentialReadQuery,
    ) -> Result<Vec<CredentialRead>, StoreError> {
        let mut sql = Sql::new(
            self.dialect,
            "SELECT id, environment_id, read_at_ms, kind, provider_config_key, connection_id, api_key_id, api_key_name, \
             request_id, function, run_id, operation_id, refresh, refresh_token FROM credential_reads WHERE environment_id = ",
        );
        sql.bind(environment_id.as_str());
        if let Some(kind) = query.kind {
            sql.push(" AND kind = ").bind(kind.word());
        }
        let texts = [
            (" AND provider_config_key = ", &query.provider_config_key),
            (" AND connection_id = ", &query.connection_id),
            (" AND api_key_id = ", &query.api_key_id),
        ];
        for (condition, value) in texts {
            if let Some(value) = value {
                sql.push(condition).bind(value.as_str());
            }
        }
        if let Some(since_ms) = query.since_ms {
            sql.push(" AND read_at_ms >= ").bind(since_ms);
        }
        if let Some(until_ms) = query.until_ms {
            sql.push(" AND read_at_ms < ").bind(until_ms);
        }
        if let Some(before) = &query.before {
            sql.push(" AND id < ").bind(before.as_str());
        }
        sql.push(" ORDER BY id DESC LIMIT ")
            .bind(query.limit.clamp(1, PAGE_MAX));
        let rows = sql.fetch_all(&self.reader).await?;
        rows.iter().map(credential_read).collect()
    }

    /// Deletes at most `limit` of those before `read_before_ms`, the oldest first; gives how many.
    pub async fn delete_credential_reads(&self, read_before_ms: i64, limit: i64) -> Result<u64, StoreError> {
        let deleted = query(
            "DELETE FROM credential_reads WHERE id IN \
             (SELECT id FROM credential_reads WHERE read_at_ms < $1 ORDER BY id LIMIT $2)",
        )
        .bind(read_before_ms)
        .bind(limit)
        .execute(&self.writer)
        .await?;
        Ok(deleted.rows_affected())
    }
}

fn reader(columns: &mut Columns<'_>) -> Result<CredentialReader, StoreError> {
    let id: Option<&str> = columns.get("api_key_id")?;
    let name: Option<String> = columns.get("api_key_name")?;
    let request_id: Option<String> = columns.get("request_id")?;
    let function: Option<String> = columns.get("function")?;
    let run_id: Option<&str> = columns.get("run_id")?;
    let operation_id: Option<&str> = columns.get("operation_id")?;
    match (id, function, operation_id) {
        (Some(id), None, None) => Ok(CredentialReader::ApiKey {
            id: id.into(),
            name: name.unwrap_or_default(),
            request_id: request_id.unwrap_or_default(),
        }),
        (None, Some(name), Some(operation_id)) => Ok(CredentialReader::Function {
            name,
            run_id: run_id.map(Into::into),
            operation_id: operation_id.into(),
        }),
        _ => Err(columns.inconsistent("api_key_id", "neither an API key nor a function".into())),
    }
}

fn credential_read(row: &AnyRow) -> Result<CredentialRead, StoreError> {
    let mut columns = Columns::new(row, "credential_reads");
    Ok(CredentialRead {
        id: columns.id("id")?,
        environment_id: columns.id("environment_id")?,
        read_at_ms: columns.get("read_at_ms")?,
        kind: columns.word("kind")?,
        provider_config_key: columns.get("provider_config_key")?,
        connection_id: columns.get("connection_id")?,
        by: reader(&mut columns)?,
        forced: columns.get::<&str>("refresh")? == "forced",
        with_refresh_token: columns.get::<&str>("refresh_token")? == "shown",
    })
}

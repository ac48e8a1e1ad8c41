//! The log's rows: operations and their messages. When to write and what to drop is for [`crate::logs`].
//!
//! No index but the primary keys: rows come by the ten thousand a second. Operations are listed, and deleted when old,
//! in the order of their ids, which is the order of their creation.

use std::sync::atomic::Ordering;

use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{Any, Transaction, query};

use super::columns::{Columns, Word, storable, to_json};
use super::sql::{Sql, chunks};
use super::{Store, StoreError};
use crate::model::{EnvironmentId, Message, Operation, OperationId, RunId};

/// Operations or messages listed at once.
const PAGE_MAX: i64 = 500;

/// Which operations to list; newest first.
#[derive(Clone, Debug, Default)]
pub struct OperationQuery {
    pub provider_config_key: Option<String>,
    pub connection_id: Option<String>,
    pub function: Option<String>,
    /// Operations older than this one.
    pub before: Option<OperationId>,
    /// 1 to 500.
    pub limit: i64,
}

/// Which messages of one operation to list; oldest first.
#[derive(Clone, Debug)]
pub struct MessageQuery {
    pub operation_id: OperationId,
    /// Messages after this sequence number.
    pub after: i64,
    /// 1 to 500.
    pub limit: i64,
}

/// The columns of [`operation`].
macro_rules! operation_columns {
    () => {
        "id, environment_id, kind, state, provider_config_key, connection_id, function, run_id, message, started_at_ms, \
         ended_at_ms, duration_us"
    };
}

impl Store {
    /// Writes a batch in one transaction: operations are inserted or, where the id is there, rewritten. Their ids must
    /// be distinct. Messages get sequence numbers in the order given.
    pub async fn write_logs(&self, operations: &[Operation], messages: &[Message]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        self.write_operations(&mut transaction, operations).await?;
        self.write_messages(&mut transaction, messages).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn write_operations(
        &self,
        transaction: &mut Transaction<'static, Any>,
        operations: &[Operation],
    ) -> Result<(), StoreError> {
        for chunk in chunks(operations) {
            let mut sql = Sql::new(
                self.dialect,
                concat!("INSERT INTO operations (", operation_columns!(), ") "),
            );
            sql.values(chunk, |row, operation| {
                row.bind(operation.id.as_str())
                    .bind(operation.environment_id.as_str())
                    .bind(operation.kind.word())
                    .bind(operation.state.word())
                    .bind(operation.provider_config_key.as_deref())
                    .bind(operation.connection_id.as_deref())
                    .bind(operation.function.as_deref())
                    .bind(operation.run_id.as_ref().map(RunId::as_str))
                    .bind(&*storable(&operation.message))
                    .bind(operation.started_at_ms)
                    .bind(operation.ended_at_ms)
                    .bind(operation.duration_us);
            });
            sql.push(
                " ON CONFLICT (id) DO UPDATE SET state = excluded.state, \
                 provider_config_key = excluded.provider_config_key, connection_id = excluded.connection_id, \
                 function = excluded.function, run_id = excluded.run_id, message = excluded.message, \
                 ended_at_ms = excluded.ended_at_ms, duration_us = excluded.duration_us",
            );
            sql.execute(&mut **transaction).await?;
        }
        Ok(())
    }

    async fn write_messages(
        &self,
        transaction: &mut Transaction<'static, Any>,
        messages: &[Message],
    ) -> Result<(), StoreError> {
        for chunk in chunks(messages) {
            let mut rows = Vec::with_capacity(chunk.len());
            for message in chunk {
                let fields = message.fields.as_ref().map(to_json).transpose()?;
                rows.push((self.next_message_sequence(message.created_at_us), message, fields));
            }
            let mut sql = Sql::new(
                self.dialect,
                "INSERT INTO messages (operation_id, sequence, created_at_us, level, source, body, fields) ",
            );
            sql.values(&rows, |row, (sequence, message, fields)| {
                row.bind(message.operation_id.as_str())
                    .bind(*sequence)
                    .bind(message.created_at_us)
                    .bind(message.level.word())
                    .bind(message.source.word())
                    .bind(&*storable(&message.text))
                    .bind(fields.as_deref());
            });
            sql.execute(&mut **transaction).await?;
        }
        Ok(())
    }

    /// The message's time in microseconds, or just after the last one given where that is later: strictly growing
    /// within a process, and across restarts as long as the clock is. All messages of one operation come from one
    /// process.
    fn next_message_sequence(&self, created_at_us: i64) -> i64 {
        let next = |last: i64| Some(created_at_us.max(last.saturating_add(1)));
        let last = self
            .message_sequence
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        created_at_us.max(last.unwrap_or_default().saturating_add(1))
    }

    pub async fn operations(
        &self,
        environment_id: &EnvironmentId,
        query: &OperationQuery,
    ) -> Result<Vec<Operation>, StoreError> {
        let mut sql = Sql::new(
            self.dialect,
            concat!(
                "SELECT ",
                operation_columns!(),
                " FROM operations WHERE environment_id = "
            ),
        );
        sql.bind(environment_id.as_str());
        if let Some(provider_config_key) = &query.provider_config_key {
            sql.push(" AND provider_config_key = ")
                .bind(provider_config_key.as_str());
        }
        if let Some(connection_id) = &query.connection_id {
            sql.push(" AND connection_id = ").bind(connection_id.as_str());
        }
        if let Some(function) = &query.function {
            sql.push(" AND function = ").bind(function.as_str());
        }
        if let Some(before) = &query.before {
            sql.push(" AND id < ").bind(before.as_str());
        }
        sql.push(" ORDER BY id DESC LIMIT ")
            .bind(query.limit.clamp(1, PAGE_MAX));
        let rows = sql.fetch_all(&self.reader).await?;
        rows.iter().map(operation).collect()
    }

    pub async fn has_operation(&self, environment_id: &EnvironmentId, id: &OperationId) -> Result<bool, StoreError> {
        let row = query("SELECT id FROM operations WHERE id = $1 AND environment_id = $2")
            .bind(id.as_str())
            .bind(environment_id.as_str())
            .fetch_optional(&self.reader)
            .await?;
        Ok(row.is_some())
    }

    /// With their sequence numbers. None of an operation of another environment.
    pub async fn messages(
        &self,
        environment_id: &EnvironmentId,
        message_query: &MessageQuery,
    ) -> Result<Vec<(i64, Message)>, StoreError> {
        let rows = query(
            "SELECT m.operation_id, m.sequence, m.created_at_us, m.level, m.source, m.body, m.fields \
             FROM messages m JOIN operations o ON o.id = m.operation_id \
             WHERE m.operation_id = $1 AND o.environment_id = $2 AND m.sequence > $3 ORDER BY m.sequence LIMIT $4",
        )
        .bind(message_query.operation_id.as_str())
        .bind(environment_id.as_str())
        .bind(message_query.after)
        .bind(message_query.limit.clamp(1, PAGE_MAX))
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(message).collect()
    }

    /// Deletes operations that started before, with their messages, at most `limit`; gives how many.
    pub async fn delete_logs_before(&self, before_ms: i64, limit: i64) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let rows = query(
            "DELETE FROM operations WHERE id IN (SELECT id FROM operations WHERE id < $1 ORDER BY id LIMIT $2) \
             RETURNING id",
        )
        .bind(OperationId::new(before_ms, [0; 16]).as_str())
        .bind(limit)
        .fetch_all(&mut *transaction)
        .await?;
        let ids = rows.iter().map(|row| Columns::new(row, "operations").get::<&str>("id"));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        for chunk in chunks(&ids) {
            let mut sql = Sql::new(self.dialect, "DELETE FROM messages WHERE operation_id IN ");
            sql.list(chunk);
            sql.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(u64::try_from(ids.len()).unwrap_or(u64::MAX))
    }
}

fn operation(row: &AnyRow) -> Result<Operation, StoreError> {
    let mut columns = Columns::new(row, "operations");
    Ok(Operation {
        id: columns.id("id")?,
        environment_id: columns.id("environment_id")?,
        kind: columns.word("kind")?,
        state: columns.word("state")?,
        provider_config_key: columns.get("provider_config_key")?,
        connection_id: columns.get("connection_id")?,
        function: columns.get("function")?,
        run_id: columns.get::<Option<&str>>("run_id")?.map(RunId::from),
        message: columns.get("message")?,
        started_at_ms: columns.get("started_at_ms")?,
        ended_at_ms: columns.get("ended_at_ms")?,
        duration_us: columns.get("duration_us")?,
    })
}

fn message(row: &AnyRow) -> Result<(i64, Message), StoreError> {
    let mut columns = Columns::new(row, "messages");
    let operation_id = columns.id("operation_id")?;
    let sequence = columns.get("sequence")?;
    let message = Message {
        operation_id,
        created_at_us: columns.get("created_at_us")?,
        level: columns.word("level")?,
        source: columns.word("source")?,
        text: columns.get("body")?,
        fields: columns.json_or_null::<Value>("fields")?,
    };
    Ok((sequence, message))
}

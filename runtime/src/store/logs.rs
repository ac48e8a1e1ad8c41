//! The log's rows: operations and their messages. When to write and what to drop is for [`crate::logs`]; reading them is
//! in [`super::log_queries`].
//!
//! Hardly an index but the primary keys: rows come by the ten thousand a second. Operations are listed, and deleted when
//! old, in the order of their ids, which is the order of their creation.

use std::sync::atomic::Ordering;

use serde_json::value::RawValue;
use sqlx::{Any, Transaction, query, query_scalar};

use super::columns::{Columns, Word, storable};
use super::sql::{Sql, chunks};
use super::{Store, StoreError};
use crate::model::{Message, Operation, OperationId, RunId};

/// What an operation says whose process died.
const INTERRUPTED: &str = "Interrupted: the process that ran it ended before it did";

impl Store {
    /// Writes a batch in one transaction: operations are inserted or, where the id is there, rewritten. Their ids must
    /// be distinct. Messages get sequence numbers in the order given. `writer_id` names this process; see
    /// [`Store::interrupt_operations`].
    pub async fn write_logs(
        &self,
        writer_id: &str,
        operations: &[Operation],
        messages: &[Message],
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        if !operations.is_empty() {
            let first_change = take_changes(&mut transaction, operations.len()).await?;
            self.write_operations(&mut transaction, writer_id, first_change, operations)
                .await?;
        }
        self.write_messages(&mut transaction, messages).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn write_operations(
        &self,
        transaction: &mut Transaction<'static, Any>,
        writer_id: &str,
        first_change: i64,
        operations: &[Operation],
    ) -> Result<(), StoreError> {
        let mut changes = first_change..;
        for chunk in chunks(operations) {
            let mut sql = Sql::new(
                self.dialect,
                "INSERT INTO operations (id, environment_id, kind, state, provider_config_key, connection_id, function, \
                 run_id, message, started_at_ms, ended_at_ms, duration_us, change, writer, usage) ",
            );
            sql.values(chunk.iter().zip(&mut changes), |row, (operation, change)| {
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
                    .bind(operation.duration_us)
                    .bind(change)
                    .bind(writer_id)
                    .bind(usage(operation));
            });
            sql.push(
                " ON CONFLICT (id) DO UPDATE SET state = excluded.state, \
                 provider_config_key = excluded.provider_config_key, connection_id = excluded.connection_id, \
                 function = excluded.function, run_id = excluded.run_id, message = excluded.message, \
                 ended_at_ms = excluded.ended_at_ms, duration_us = excluded.duration_us, change = excluded.change, \
                 writer = excluded.writer, usage = excluded.usage",
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
            let mut sql = Sql::new(
                self.dialect,
                "INSERT INTO messages (operation_id, sequence, created_at_us, level, source, body, fields) ",
            );
            sql.values(chunk, |row, message| {
                row.bind(message.operation_id.as_str())
                    .bind(self.next_message_sequence(message.created_at_us))
                    .bind(message.created_at_us)
                    .bind(message.level.word())
                    .bind(message.source.word())
                    .bind(&*storable(&message.text))
                    .bind(message.fields.as_deref().map(RawValue::get));
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

    /// Says that the process `writer_id` lives.
    pub async fn keep_log_writer(&self, writer_id: &str, now_ms: i64) -> Result<(), StoreError> {
        query(
            "INSERT INTO log_writers (id, seen_at_ms) VALUES ($1, $2) \
             ON CONFLICT (id) DO UPDATE SET seen_at_ms = excluded.seen_at_ms",
        )
        .bind(writer_id)
        .bind(now_ms)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    pub async fn forget_log_writers_before(&self, before_ms: i64) -> Result<(), StoreError> {
        query("DELETE FROM log_writers WHERE seen_at_ms < $1")
            .bind(before_ms)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Marks running operations as failed whose process neither is `writer_id` nor was seen to live since
    /// `living_since_ms`, at most `limit`; gives how many.
    pub async fn interrupt_operations(
        &self,
        writer_id: &str,
        living_since_ms: i64,
        now_ms: i64,
        limit: i64,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let rows = query(
            "SELECT id FROM operations WHERE state = 'running' AND (writer IS NULL OR (writer <> $1 AND writer NOT IN \
             (SELECT id FROM log_writers WHERE seen_at_ms >= $2))) ORDER BY id LIMIT $3",
        )
        .bind(writer_id)
        .bind(living_since_ms)
        .bind(limit)
        .fetch_all(&mut *transaction)
        .await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let first_change = take_changes(&mut transaction, rows.len()).await?;
        let mut interrupted = 0;
        for (row, change) in rows.iter().zip(first_change..) {
            let id: &str = Columns::new(row, "operations").get("id")?;
            // Another process may have found it, too.
            let updated = query(
                "UPDATE operations SET state = 'failed', message = $2, ended_at_ms = $3, change = $4 \
                 WHERE id = $1 AND state = 'running'",
            )
            .bind(id)
            .bind(INTERRUPTED)
            .bind(now_ms)
            .bind(change)
            .execute(&mut *transaction)
            .await?;
            interrupted += updated.rows_affected();
        }
        transaction.commit().await?;
        Ok(interrupted)
    }

    /// Deletes messages of operations that started before, at most `limit`; gives how many.
    pub async fn delete_messages_before(&self, before_ms: i64, limit: i64) -> Result<u64, StoreError> {
        let deleted = query(
            "DELETE FROM messages WHERE (operation_id, sequence) IN (SELECT operation_id, sequence FROM messages \
             WHERE operation_id < $1 ORDER BY operation_id, sequence LIMIT $2)",
        )
        .bind(OperationId::new(before_ms, [0; 16]).as_str())
        .bind(limit)
        .execute(&self.writer)
        .await?;
        Ok(deleted.rows_affected())
    }

    /// Deletes operations that started before, at most `limit`; gives how many. Their messages should be gone.
    pub async fn delete_operations_before(&self, before_ms: i64, limit: i64) -> Result<u64, StoreError> {
        let deleted =
            query("DELETE FROM operations WHERE id IN (SELECT id FROM operations WHERE id < $1 ORDER BY id LIMIT $2)")
                .bind(OperationId::new(before_ms, [0; 16]).as_str())
                .bind(limit)
                .execute(&self.writer)
                .await?;
        Ok(deleted.rows_affected())
    }
}

/// Numbers always have a JSON.
fn usage(operation: &Operation) -> Option<String> {
    operation
        .usage
        .as_ref()
        .and_then(|usage| serde_json::to_string(usage).ok())
}

/// Takes `count` numbers of changes; gives the first. The transaction must commit soon: others wait.
async fn take_changes(transaction: &mut Transaction<'static, Any>, count: usize) -> Result<i64, StoreError> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let last: i64 = query_scalar(
        "UPDATE log_changes SET last_change = last_change + $1 WHERE id = 'operations' RETURNING last_change",
    )
    .bind(count)
    .fetch_one(&mut **transaction)
    .await?;
    Ok(last - count + 1)
}

//! Reads the log's rows, page by page.

use std::sync::Arc;

use serde_json::value::RawValue;
use sqlx::any::AnyRow;
use sqlx::{query, query_scalar};

use super::columns::{Columns, Word};
use super::sql::Sql;
use super::{Store, StoreError};
use crate::model::{EnvironmentId, Level, Message, Operation, OperationId, OperationKind, OperationState, RunId};

/// Operations or messages listed at once.
const PAGE_MAX: i64 = 500;
const CLOCKS_APART_MS: i64 = 60_000;

/// Which operations to list.
#[derive(Clone, Debug, Default)]
pub struct OperationQuery {
    pub provider_config_key: Option<String>,
    pub connection_id: Option<String>,
    pub function: Option<String>,
    /// Of this run; began when the run did, or later.
    pub run_id: Option<RunId>,
    /// One of these; none for all.
    pub kinds: Vec<OperationKind>,
    pub state: Option<OperationState>,
    /// Started at this time or later.
    pub since_ms: Option<i64>,
    /// Started before this time.
    pub until_ms: Option<i64>,
    /// Text in the operation or in one of its messages; ASCII letters in either case.
    pub search: Option<String>,
    /// Operations older than this one.
    pub before: Option<OperationId>,
    /// 1 to 500.
    pub limit: i64,
}

/// Which messages of one operation to list; oldest first.
#[derive(Clone, Debug)]
pub struct MessageQuery {
    pub operation_id: OperationId,
    /// Of this level and above.
    pub level: Option<Level>,
    /// Text in the message or its fields; ASCII letters in either case.
    pub search: Option<String>,
    /// Messages after this sequence number.
    pub after: i64,
    /// 1 to 500.
    pub limit: i64,
}

/// The columns of [`operation`].
macro_rules! operation_columns {
    () => {
        "o.id, o.environment_id, o.kind, o.state, o.provider_config_key, o.connection_id, o.function, o.run_id, \
         o.message, o.started_at_ms, o.ended_at_ms, o.duration_us, o.usage"
    };
}

impl Store {
    /// Newest first.
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
                " FROM operations o WHERE o.environment_id = "
            ),
        );
        sql.bind(environment_id.as_str());
        filter(&mut sql, query);
        sql.push(" ORDER BY o.id DESC LIMIT ")
            .bind(query.limit.clamp(1, PAGE_MAX));
        let rows = sql.fetch_all(&self.reader).await?;
        rows.iter()
            .map(|row| operation(&mut Columns::new(row, "operations")))
            .collect()
    }

    /// Operations in the order in which they were last written, from the first one after `after` on, each with the number
    /// of that change. An operation is written once or, when it takes long, at its beginning and at its end.
    pub async fn changed_operations(
        &self,
        environment_id: &EnvironmentId,
        query: &OperationQuery,
        after: i64,
    ) -> Result<Vec<(i64, Operation)>, StoreError> {
        let mut sql = Sql::new(
            self.dialect,
            concat!(
                "SELECT ",
                operation_columns!(),
                ", o.change FROM operations o WHERE o.change > "
            ),
        );
        sql.bind(after)
            .push(" AND o.environment_id = ")
            .bind(environment_id.as_str());
        filter(&mut sql, query);
        sql.push(" ORDER BY o.change LIMIT ")
            .bind(query.limit.clamp(1, PAGE_MAX));
        let rows = sql.fetch_all(&self.reader).await?;
        let changed = |row| {
            let mut columns = Columns::new(row, "operations");
            let operation = operation(&mut columns)?;
            Ok((columns.get("change")?, operation))
        };
        rows.iter().map(changed).collect()
    }

    /// The number of the last change of any operation.
    pub async fn last_operation_change(&self) -> Result<i64, StoreError> {
        let last = query_scalar("SELECT last_change FROM log_changes WHERE id = 'operations'")
            .fetch_one(&self.reader)
            .await?;
        Ok(last)
    }

    pub async fn operation(
        &self,
        environment_id: &EnvironmentId,
        id: &OperationId,
    ) -> Result<Option<Operation>, StoreError> {
        let row = query(concat!(
            "SELECT ",
            operation_columns!(),
            " FROM operations o WHERE o.id = $1 AND o.environment_id = $2"
        ))
        .bind(id.as_str())
        .bind(environment_id.as_str())
        .fetch_optional(&self.reader)
        .await?;
        row.map(|row| operation(&mut Columns::new(&row, "operations")))
            .transpose()
    }

    /// With their sequence numbers. None of an operation of another environment.
    pub async fn messages(
        &self,
        environment_id: &EnvironmentId,
        query: &MessageQuery,
    ) -> Result<Vec<(i64, Message)>, StoreError> {
        let mut sql = Sql::new(
            self.dialect,
            "SELECT m.operation_id, m.sequence, m.created_at_us, m.level, m.source, m.body, m.fields \
             FROM messages m JOIN operations o ON o.id = m.operation_id WHERE m.operation_id = ",
        );
        sql.bind(query.operation_id.as_str())
            .push(" AND o.environment_id = ")
            .bind(environment_id.as_str())
            .push(" AND m.sequence > ")
            .bind(query.after);
        if let Some(level) = query.level {
            let levels = [Level::Debug, Level::Info, Level::Warn, Level::Error];
            let words: Vec<&str> = levels
                .into_iter()
                .filter(|other| *other >= level)
                .map(Word::word)
                .collect();
            sql.push(" AND m.level IN ").list(&words);
        }
        if let Some(search) = &query.search {
            let pattern = pattern(search);
            sql.push(" AND ");
            contains_in_message(&mut sql, &pattern);
        }
        sql.push(" ORDER BY m.sequence LIMIT ")
            .bind(query.limit.clamp(1, PAGE_MAX));
        let rows = sql.fetch_all(&self.reader).await?;
        rows.iter().map(message).collect()
    }
}

/// Everything of the query but its page.
fn filter(sql: &mut Sql, query: &OperationQuery) {
    if let Some(provider_config_key) = &query.provider_config_key {
        sql.push(" AND o.provider_config_key = ")
            .bind(provider_config_key.as_str());
    }
    if let Some(connection_id) = &query.connection_id {
        sql.push(" AND o.connection_id = ").bind(connection_id.as_str());
    }
    if let Some(function) = &query.function {
        sql.push(" AND o.function = ").bind(function.as_str());
    }
    if let Some(run_id) = &query.run_id {
        sql.push(" AND o.run_id = ").bind(run_id.as_str());
        // There is no index of runs: an id's time says where to begin. Clocks of two nodes may be apart.
        if let Some(made_at_ms) = run_id.made_at_ms() {
            let from_ms = made_at_ms.saturating_sub(CLOCKS_APART_MS);
            sql.push(" AND o.id >= ")
                .bind(OperationId::new(from_ms, [0; 16]).as_str());
        }
    }
    if !query.kinds.is_empty() {
        let words: Vec<&str> = query.kinds.iter().copied().map(Word::word).collect();
        sql.push(" AND o.kind IN ").list(&words);
    }
    if let Some(state) = query.state {
        sql.push(" AND o.state = ").bind(state.word());
    }
    // An id begins with the time of its making: no index is needed for a range of time.
    if let Some(since_ms) = query.since_ms {
        sql.push(" AND o.id >= ")
            .bind(OperationId::new(since_ms, [0; 16]).as_str());
    }
    if let Some(until_ms) = query.until_ms {
        sql.push(" AND o.id < ")
            .bind(OperationId::new(until_ms, [0; 16]).as_str());
    }
    if let Some(before) = &query.before {
        sql.push(" AND o.id < ").bind(before.as_str());
    }
    if let Some(search) = &query.search {
        let pattern = pattern(search);
        sql.push(" AND (");
        for column in [
            "LOWER(o.message)",
            "LOWER(o.function)",
            "LOWER(o.connection_id)",
            "LOWER(o.provider_config_key)",
        ] {
            sql.push(column);
            like(sql, &pattern);
            sql.push(" OR ");
        }
        sql.push("EXISTS (SELECT 1 FROM messages m WHERE m.operation_id = o.id AND ");
        contains_in_message(sql, &pattern);
        sql.push("))");
    }
}

fn contains_in_message(sql: &mut Sql, pattern: &str) {
    sql.push("(LOWER(m.body)");
    like(sql, pattern);
    sql.push(" OR LOWER(m.fields)");
    like(sql, pattern);
    sql.push(")");
}

fn like(sql: &mut Sql, pattern: &str) {
    sql.push(" LIKE ").bind(pattern).push(" ESCAPE '\\'");
}

/// Matches texts that contain `search`.
fn pattern(search: &str) -> String {
    let mut pattern = String::with_capacity(search.len() + 2);
    pattern.push('%');
    for c in search.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c.to_ascii_lowercase());
    }
    pattern.push('%');
    pattern
}

fn operation(columns: &mut Columns<'_>) -> Result<Operation, StoreError> {
    Ok(Operation {
        id: columns.id("id")?,
        environment_id: columns.id("environment_id")?,
        kind: columns.word("kind")?,
        state: columns.word("state")?,
        provider_config_key: columns.get::<Option<&str>>("provider_config_key")?.map(Arc::from),
        connection_id: columns.get::<Option<&str>>("connection_id")?.map(Arc::from),
        function: columns.get::<Option<&str>>("function")?.map(Arc::from),
        run_id: columns.get::<Option<&str>>("run_id")?.map(RunId::from),
        message: columns.get("message")?,
        started_at_ms: columns.get("started_at_ms")?,
        ended_at_ms: columns.get("ended_at_ms")?,
        duration_us: columns.get("duration_us")?,
        usage: columns.json_or_null("usage")?,
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
        fields: columns.json_or_null::<Box<RawValue>>("fields")?,
    };
    Ok((sequence, message))
}

//! Every column that holds sealed values, in one list, and moving such values to another encryption key. What is in them is not
//! known here. Records, which may be many, are moved in [`super::records`]. A test compares the list with the schema, so that no column can be forgotten.

use sqlx::any::AnyRow;
use sqlx::query;

use super::columns::Columns;
use super::records::COUNT_SEALED_RECORDS;
use super::sql::Sql;
use super::{Store, StoreError};
use crate::model::Sealed;

/// Values read at once while they are moved.
const VALUES_MAX: i64 = 100;

/// A column of sealed values.
#[derive(Debug, PartialEq, Eq)]
pub struct SealedColumn {
    pub table: &'static str,
    pub column: &'static str,
    /// Names a row.
    key: &'static str,
    select: &'static str,
    update: &'static str,
    count: &'static str,
}

macro_rules! sealed_columns {
    ($($table:literal . $column:literal by $key:literal for $place:literal $(only $only:literal)?;)+) => {
        /// All but the payloads of records. A column of sealed values that is new gets a line here; places are those of the part that seals.
        pub const SEALED_COLUMNS: &[SealedColumn] = &[$(SealedColumn {
            table: $table,
            column: $column,
            key: $key,
            select: concat!(
                "SELECT ", $key, ", ", $place, ", ", $column, " FROM ", $table, " WHERE length(", $column, ") > 0 AND substr(",
                $column, ", 1, 5) <> $1 AND ", $key, " > $2" $(, " AND ", $only)?, " ORDER BY ", $key, " LIMIT $3"
            ),
            update: concat!("UPDATE ", $table, " SET ", $column, " = $3 WHERE ", $key, " = $1 AND ", $column, " = $2"),
            count: concat!(
                "SELECT substr(", $column, ", 1, 5), CAST(COUNT(*) AS BIGINT) FROM ", $table, " WHERE length(", $column, ") > 0"
                $(, " AND ", $only)?, " GROUP BY 1"
            ),
        },)+];
    };
}

sealed_columns! {
    "settings"."value" by "name" for "'setting:' || name" only "name IN ('encryption_check', 'record_hash_key')";
    "integrations"."secrets" by "id" for "'integration:' || id || ':secrets'";
    "connections"."credentials" by "connection_key"
        for "'connection:' || environment_id || ':' || integration_id || ':' || COALESCE(former_id, connection_id) || ':credentials'";
    "connections"."connection_config" by "connection_key"
        for "'connection:' || environment_id || ':' || integration_id || ':' || COALESCE(former_id, connection_id) || ':connection_config'";
    "connect_sessions"."details" by "id" for "'connect_session:' || id || ':details'";
    "authorizations"."details" by "state_hash" for "'authorization:' || state_hash || ':details'";
    "environment_variables"."value" by "id" for "'environment_variable:' || environment_id || ':' || name";
    "revocations"."requests" by "id" for "'revocation:' || id || ':requests'";
    "oauth_clients"."details" by "client_key" for "'oauth_client:' || client_key || ':details'";
    "recordings"."sealed" by "run_id" for "'recording:' || environment_id || ':' || run_id";
    "webhook_settings"."signing_keys" by "environment_id" for "'environment:' || environment_id || ':signing_keys'";
    "webhook_addresses"."sealed" by "connection_key" for "'webhook_address:' || connection_key || ':sealed'";
    "incoming_webhooks"."content" by "id" for "'incoming_webhook:' || id || ':content'";
    "webhooks"."content" by "id" for "'webhook:' || id || ':content'";
}

/// A value and where it is.
#[derive(Clone, Debug)]
pub struct SealedValue {
    /// Names the row.
    pub key: String,
    /// What it was sealed for.
    pub place: String,
    pub sealed: Sealed,
}

/// How many values of a column begin alike.
#[derive(Clone, Debug)]
pub struct SealedCount {
    pub table: &'static str,
    pub column: &'static str,
    pub prefix: Vec<u8>,
    pub values: i64,
}

impl Store {
    /// The next values, at most 100, that do not begin with `prefix`, of rows after `after`.
    pub async fn values_sealed_otherwise(
        &self,
        column: &SealedColumn,
        prefix: &[u8],
        after: &str,
    ) -> Result<Vec<SealedValue>, StoreError> {
        let rows = query(column.select)
            .bind(prefix)
            .bind(after)
            .bind(VALUES_MAX)
            .fetch_all(&self.reader)
            .await?;
        let value = |row: &AnyRow| {
            let mut columns = Columns::new(row, column.table);
            Ok(SealedValue {
                key: columns.get(column.key)?,
                place: columns.get("place")?,
                sealed: Sealed(columns.get(column.column)?),
            })
        };
        rows.iter().map(value).collect()
    }

    /// Puts `new` in the place of `old`. False when something else is there by now.
    pub async fn replace_sealed(
        &self,
        column: &SealedColumn,
        key: &str,
        old: &Sealed,
        new: &Sealed,
    ) -> Result<bool, StoreError> {
        let replaced = query(column.update)
            .bind(key)
            .bind(old.0.as_slice())
            .bind(new.0.as_slice())
            .execute(&self.writer)
            .await?;
        Ok(replaced.rows_affected() == 1)
    }

    /// How many values of which column begin with which five bytes.
    pub async fn sealed_counts(&self) -> Result<Vec<SealedCount>, StoreError> {
        let mut counts = Vec::new();
        let columns = SEALED_COLUMNS.iter().map(|of| (of.table, of.column, of.count));
        for (table, column, statement) in columns.chain([("records", "sealed", COUNT_SEALED_RECORDS)]) {
            for row in &Sql::new(self.dialect, statement).fetch_all(&self.reader).await? {
                let mut columns = Columns::new(row, table);
                counts.push(SealedCount {
                    table,
                    column,
                    prefix: columns.get(column)?,
                    values: columns.get("count")?,
                });
            }
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::open::MIGRATIONS;

    /// Columns of bytes that are not sealed.
    const OPEN: &[(&str, &str)] = &[
        ("actions", "fingerprint"),
        ("api_keys", "sha256"),
        ("components", "bytes"),
        ("connect_sessions", "sha256"),
        ("records", "hash"),
    ];

    #[test]
    fn no_column_is_forgotten() {
        let mut found = BTreeSet::new();
        for (_, _, sql) in MIGRATIONS {
            let mut table = "";
            for line in sql.lines().filter(|line| !line.trim_start().starts_with("--")) {
                let words: Vec<&str> = line.split_whitespace().collect();
                if let ["CREATE" | "ALTER", "TABLE", name, ..] = words[..] {
                    table = name;
                }
                if let Some(at) = words
                    .iter()
                    .position(|word| word.trim_end_matches([',', ';']) == "BLOB")
                {
                    found.insert((table, words[at - 1]));
                }
            }
        }
        let sealed = SEALED_COLUMNS.iter().map(|column| (column.table, column.column));
        // Moved many at once, in `records/sealing.rs`.
        let records = std::iter::once(("records", "sealed"));
        let known: BTreeSet<_> = sealed.chain(records).chain(OPEN.iter().copied()).collect();
        assert_eq!(
            found, known,
            "columns of bytes in the schema, and those that are known to be sealed or not"
        );
    }
}

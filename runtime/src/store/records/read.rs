//! Lists records in order of change, and reads single ones.

use serde_json::value::RawValue;
use sqlx::any::AnyRow;

use super::cursor::Position;
use super::{Payload, RecordKey, RecordPage};
use crate::model::{Record, RecordAction, RecordFilter, Sealed};
use crate::store::columns::Columns;
use crate::store::sql::{Sql, chunks};
use crate::store::{Store, StoreError};

/// Records listed at once.
const RECORDS_PAGE_MAX: i64 = 10_000;

/// The columns of [`record`]; what is to be added says whose records.
const SELECT_RECORD: &str = "SELECT external_id, data, sealed, first_seen_at_us, modified_at_us, sequence, deleted_at_us, pruned_at_us \
     FROM records WHERE connection_key = ";

impl Store {
    /// Those that are there, deleted ones too, in no order.
    pub async fn records_by_ids(
        &self,
        key: &RecordKey,
        external_ids: &[&str],
    ) -> Result<Vec<Record<Payload>>, StoreError> {
        let mut records = Vec::with_capacity(external_ids.len());
        for chunk in chunks(external_ids) {
            let mut sql = select(self, key);
            sql.push(" AND external_id IN ").list(chunk);
            for row in &sql.fetch_all(&self.reader).await? {
                records.push(record(row)?.1);
            }
        }
        Ok(records)
    }

    /// In order of change, at most 10,000. All conditions of the filter must hold; of several actions or ids, one must.
    ///
    /// # Errors
    /// [`StoreError::Cursor`] when the cursor is none of ours.
    pub async fn records(&self, key: &RecordKey, filter: &RecordFilter) -> Result<RecordPage<Payload>, StoreError> {
        let mut records = Vec::new();
        let next_cursor = self
            .each_record(key, filter, |record| {
                records.push(record);
                Ok::<_, StoreError>(())
            })
            .await?;
        Ok(RecordPage { records, next_cursor })
    }

    /// The same, one by one as they are read; gives where to read on.
    ///
    /// # Errors
    /// [`StoreError::Cursor`] when the cursor is none of ours; what `each` says, which ends the reading.
    pub async fn each_record<E: From<StoreError>>(
        &self,
        key: &RecordKey,
        filter: &RecordFilter,
        mut each: impl FnMut(Record<Payload>) -> Result<(), E>,
    ) -> Result<Option<String>, E> {
        let mut sql = select(self, key);
        if let Some(cursor) = &filter.cursor {
            let after = Position::decode(cursor)?;
            sql.push(" AND (modified_at_us, sequence) > (")
                .bind(after.modified_at_us);
            sql.push(", ").bind(after.sequence).push(")");
        }
        if let Some(modified_after_us) = filter.modified_after_us {
            sql.push(" AND modified_at_us >= ").bind(modified_after_us);
        }
        push_actions(&mut sql, &filter.actions);
        if !filter.external_ids.is_empty() {
            let external_ids: Vec<&str> = filter.external_ids.iter().map(String::as_str).collect();
            sql.push(" AND external_id IN ").list(&external_ids);
        }
        let limit = filter.limit.clamp(1, RECORDS_PAGE_MAX);
        // One more than asked for tells whether there is a next page.
        // `sequence >= 0` is what the index of changes asks for.
        sql.push(" AND sequence >= 0 ORDER BY modified_at_us, sequence LIMIT ")
            .bind(limit + 1);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let (mut count, mut bytes, mut last, mut more) = (0_usize, 0_usize, None, false);
        let mut given = Ok(());
        sql.fetch_each(&self.reader, |row| {
            let (position, record) = record(row)?;
            bytes = bytes.saturating_add(record.data.len());
            let is_too_much = filter.bytes_max > 0 && bytes > filter.bytes_max && count > 0;
            if count == limit || is_too_much {
                more = true;
                return Ok(false);
            }
            count += 1;
            last = Some(position);
            given = each(record);
            Ok(given.is_ok())
        })
        .await?;
        given?;
        Ok(last.filter(|_| more).map(Position::encode))
    }
}

fn select(store: &Store, key: &RecordKey) -> Sql {
    let mut sql = Sql::new(store.dialect, SELECT_RECORD);
    sql.bind(key.connection_key.as_str())
        .push(" AND model = ")
        .bind(key.model.as_str());
    // Looked up once: it is about the parameter and no row.
    sql.push(" AND EXISTS (SELECT 1 FROM connections living WHERE living.connection_key = ")
        .bind(key.connection_key.as_str())
        .push(" AND living.deleted_at_ms IS NULL)");
    sql.plan_anew();
    sql
}

fn push_actions(sql: &mut Sql, actions: &[RecordAction]) {
    for (index, action) in actions.iter().enumerate() {
        sql.push(if index == 0 { " AND (" } else { " OR " });
        sql.push(match action {
            RecordAction::Added => "(deleted_at_us IS NULL AND first_seen_at_us = modified_at_us)",
            RecordAction::Updated => "(deleted_at_us IS NULL AND first_seen_at_us <> modified_at_us)",
            RecordAction::Deleted => "deleted_at_us IS NOT NULL",
        });
    }
    if !actions.is_empty() {
        sql.push(")");
    }
}

/// Reads the columns `data` and `sealed`.
pub(super) fn payload(columns: &mut Columns<'_>) -> Result<Payload, StoreError> {
    let data: String = columns.get("data")?;
    let sealed: Option<Vec<u8>> = columns.get("sealed")?;
    match sealed {
        Some(sealed) if !sealed.is_empty() => Ok(Payload::Sealed(Sealed(sealed))),
        Some(_) | None => {
            let json = RawValue::from_string(data).map_err(|source| columns.inconsistent("data", source.into()))?;
            Ok(Payload::Clear(json))
        }
    }
}

fn record(row: &AnyRow) -> Result<(Position, Record<Payload>), StoreError> {
    let mut columns = Columns::new(row, "records");
    let external_id = columns.get("external_id")?;
    let data = payload(&mut columns)?;
    let first_seen_at_us: i64 = columns.get("first_seen_at_us")?;
    let position = Position {
        modified_at_us: columns.get("modified_at_us")?,
        sequence: columns.get("sequence")?,
    };
    let deleted_at_us: Option<i64> = columns.get("deleted_at_us")?;
    let pruned_at_us = columns.get("pruned_at_us")?;
    let action = if deleted_at_us.is_some() {
        RecordAction::Deleted
    } else if first_seen_at_us == position.modified_at_us {
        RecordAction::Added
    } else {
        RecordAction::Updated
    };
    let record = Record {
        external_id,
        data,
        first_seen_at_us,
        modified_at_us: position.modified_at_us,
        deleted_at_us,
        pruned_at_us,
        action,
        cursor: position.encode(),
    };
    Ok((position, record))
}

//! What Postgres knows of the table of records. By itself it looks at a new table only after a minute or more. Until then a record that
//! is looked up by its id seems to cost the same as reading its whole model, and it may choose that, for each record of a page.

use std::sync::atomic::Ordering;

use sqlx::{query, query_scalar};

use crate::store::Store;
use crate::store::open::Dialect;

/// Of fewer records Postgres would think that every connection has but one. Those are read in no time either way.
const RECORDS_MIN: u64 = 256;

impl Store {
    /// Counts records that this process has added, and has Postgres look at them when they are enough, unless it has.
    pub(super) async fn note_added(&self, added: u64) {
        if self.dialect != Dialect::Postgres {
            return;
        }
        let before = self.records_added.fetch_add(added, Ordering::Relaxed);
        if before >= RECORDS_MIN || before.saturating_add(added) < RECORDS_MIN {
            return;
        }
        let unseen = query_scalar(
            "SELECT CAST(1 AS BIGINT) FROM pg_class WHERE oid = to_regclass('records') AND reltuples < CAST($1 AS BIGINT)",
        );
        let unseen: Result<Option<i64>, _> = unseen
            .bind(i64::try_from(RECORDS_MIN).unwrap_or(i64::MAX))
            .fetch_optional(&self.writer)
            .await;
        if matches!(unseen, Ok(Some(_))) {
            // What fails here it does by itself later; the records are saved.
            let _ = query("ANALYZE records").execute(&self.writer).await;
        }
    }
}

//! Transactions after which what they removed is not in the database's file any more. SQLite leaves removed bytes where they were
//! until something else needs the place, and earlier versions of a page in its write-ahead log. Postgres keeps old rows until its
//! `VACUUM` and its own log for longer: there it is the operator's to say.

use std::sync::atomic::Ordering;

use sqlx::{Any, Executor, Transaction, query};

use super::open::Dialect;
use super::{Store, StoreError};

impl Store {
    /// Begins a transaction that overwrites what it removes. It is ended by [`Store::end_erasing`], or dropped: then the next ones
    /// overwrite too, which costs time and nothing else.
    pub(super) async fn begin_erasing(&self) -> Result<Transaction<'static, Any>, StoreError> {
        let mut transaction = self.begin().await?;
        if self.dialect == Dialect::Sqlite {
            transaction.execute("PRAGMA secure_delete = ON").await?;
        }
        Ok(transaction)
    }

    pub(super) async fn end_erasing(&self, mut transaction: Transaction<'static, Any>) -> Result<(), StoreError> {
        if self.dialect == Dialect::Sqlite {
            transaction.execute("PRAGMA secure_delete = FAST").await?;
        }
        transaction.commit().await?;
        self.erased.store(true, Ordering::Release);
        Ok(())
    }

    /// Empties SQLite's write-ahead log if something was removed since, so that earlier versions of pages go with it. To be called
    /// now and then; waits for readers, and flushes the disk.
    pub async fn forget_erased(&self) -> Result<(), StoreError> {
        if self.dialect != Dialect::Sqlite || !self.erased.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        // The first column says whether a reader was in the way.
        let row = query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&self.writer).await;
        let busy = row.map_err(StoreError::from).and_then(|row| {
            let busy: i64 = super::columns::Columns::new(&row, "wal_checkpoint").get("busy")?;
            Ok(busy != 0)
        });
        if !matches!(busy, Ok(false)) {
            self.erased.store(true, Ordering::Release);
        }
        busy.map(|_| ())
    }
}

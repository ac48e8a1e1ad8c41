//! Payloads that are sealed: which kinds a model may have, sealing those that are in clear, and moving them to another
//! encryption key. Nothing is sealed or opened here: who calls says how.
//!
//! A record in clear has a hash that anybody can make of a payload he guesses. With a sealed one is a keyed hash. So after the
//! setting was changed a model has records of both kinds, and each is compared in its own way; `record_models.payloads` says
//! whether there can be both. What is sealed and pruned keeps an empty `sealed`, which says of which kind its hash is.

use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::{Any, Transaction, query, query_scalar};

use super::write::Change;
use super::{RecordKey, RecordWrite};
use crate::model::Sealed;
use crate::store::columns::Columns;
use crate::store::sql::{Sql, chunks};
use crate::store::{Store, StoreError};

/// Payloads sealed or moved by one transaction, and their bytes together; one always.
const BATCH_RECORDS: i64 = 256;
const BATCH_BYTES: usize = 8 << 20;
/// Bytes with which a sealed value begins and which no other has: version, key and nonce.
const SEALED_HEAD_BYTES: usize = 1 + 4 + 12;

/// How many payloads begin with which five bytes. Models without a sealed payload are not read.
pub(in crate::store) const COUNT_SEALED_RECORDS: &str = "SELECT substr(r.sealed, 1, 5), CAST(COUNT(*) AS BIGINT) \
     FROM record_models m JOIN records r ON r.connection_key = m.connection_key AND r.model = m.model \
     WHERE m.payloads IN ('mixed', 'sealing', 'sealed') AND length(r.sealed) > 0 GROUP BY 1";

/// Seals the payload, a JSON text, of the record with that id.
pub type Seal<'a> = Box<dyn Fn(&str, &str) -> Sealed + Send + Sync + 'a>;
/// The keyed hash of the record with that id, made of the one that it has in clear.
pub type KeyedHash<'a> = Box<dyn Fn(&str, &[u8; 32]) -> [u8; 32] + Send + Sync + 'a>;

/// How payloads of a model are written. Made by [`crate::records`].
pub struct Sealing<'a> {
    /// None: they are stored in clear.
    pub seal: Option<Seal<'a>>,
    pub keyed: KeyedHash<'a>,
}

impl Sealing<'_> {
    /// The hash that is stored with a sealed record.
    pub(super) fn of_sealed(&self, record: &RecordWrite<'_>) -> [u8; 32] {
        (self.keyed)(record.external_id, &record.hash)
    }

    /// The hash that is stored with what is written now.
    pub(super) fn hash(&self, record: &RecordWrite<'_>) -> [u8; 32] {
        match &self.seal {
            Some(_) => self.of_sealed(record),
            None => record.hash,
        }
    }
}

/// What stays of a record in clear: `{"id":…}`, as the record has it.
pub(super) fn head(json: &str, external_id: &str) -> Result<String, serde_json::Error> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow, default)]
        id: Option<&'a RawValue>,
    }
    let head: Head<'_> = serde_json::from_str(json)?;
    Ok(match head.id {
        Some(id) => format!(r#"{{"id":{}}}"#, id.get()),
        None => format!(r#"{{"id":{}}}"#, serde_json::to_string(external_id)?),
    })
}

impl Store {
    /// Notes which payloads a write adds to its model; gives whether there may be others.
    pub(super) async fn note_payloads(
        &self,
        transaction: &mut Transaction<'static, Any>,
        key: &RecordKey,
        change: &Change,
        sealing: &Sealing<'_>,
    ) -> Result<bool, StoreError> {
        let (payloads, is_mixed) = match (change.payloads.as_str(), sealing.seal.is_some()) {
            ("none", true) => ("sealed", false),
            ("none", false) => ("clear", false),
            ("clear", false) | ("sealed", true) => return Ok(false),
            // What seals them does not look again at what it has passed.
            ("clear", true) | ("sealing" | "sealed", false) => ("mixed", true),
            _ => return Ok(true),
        };
        query("UPDATE record_models SET payloads = $3 WHERE connection_key = $1 AND model = $2")
            .bind(key.connection_key.as_str())
            .bind(&key.model)
            .bind(payloads)
            .execute(&mut **transaction)
            .await?;
        Ok(is_mixed)
    }

    /// A model that may have payloads in clear, after `after` in the order of keys.
    pub async fn next_model_in_clear(&self, after: Option<&RecordKey>) -> Result<Option<RecordKey>, StoreError> {
        self.next_model(
            "SELECT connection_key, model FROM record_models WHERE payloads IN ('clear', 'mixed', 'sealing') \
             AND (connection_key, model) > ($1, $2) ORDER BY connection_key, model LIMIT 1",
            after,
            None,
        )
        .await
    }

    /// The same for models that may have sealed ones.
    pub async fn next_model_with_sealed(&self, after: Option<&RecordKey>) -> Result<Option<RecordKey>, StoreError> {
        self.next_model(
            "SELECT connection_key, model FROM record_models WHERE payloads IN ('mixed', 'sealing', 'sealed') \
             AND (connection_key, model) > ($1, $2) ORDER BY connection_key, model LIMIT 1",
            after,
            None,
        )
        .await
    }

    /// Begins to seal what a model has in clear; gives the number of the pass, for [`Store::end_sealing`]. None when the model is
    /// gone.
    pub async fn begin_sealing(&self, key: &RecordKey) -> Result<Option<i64>, StoreError> {
        let pass = query_scalar(
            "UPDATE record_models SET payloads = 'sealing', sealing_pass = sealing_pass + 1 \
             WHERE connection_key = $1 AND model = $2 RETURNING sealing_pass",
        );
        Ok(pass
            .bind(key.connection_key.as_str())
            .bind(&key.model)
            .fetch_optional(&self.writer)
            .await?)
    }

    /// Seals the next payloads in clear, of records whose ids are after `after`. Gives how many, and the last id; none when there are
    /// no more. What is sealed is not in SQLite's file any more after [`Store::forget_erased`].
    pub async fn seal_payloads(
        &self,
        key: &RecordKey,
        after: &str,
        sealing: &Sealing<'_>,
    ) -> Result<Option<(u64, String)>, StoreError> {
        let Some(seal) = &sealing.seal else { return Ok(None) };
        let mut transaction = self.begin_erasing().await?;
        lock_model(&mut transaction, key).await?;
        let mut sql = Sql::new(
            self.dialect,
            "SELECT external_id, hash, data, pruned_at_us FROM records WHERE sealed IS NULL AND connection_key = ",
        );
        sql.bind(key.connection_key.as_str())
            .push(" AND model = ")
            .bind(key.model.as_str());
        sql.push(" AND external_id > ").bind(after);
        sql.push(" ORDER BY external_id LIMIT ").bind(BATCH_RECORDS);
        let (mut rows, mut bytes) = (Vec::new(), 0);
        sql.fetch_each(&mut *transaction, |row| {
            let mut columns = Columns::new(row, "records");
            let external_id: String = columns.get("external_id")?;
            let hash: Vec<u8> = columns.get("hash")?;
            let hash: [u8; 32] = hash
                .try_into()
                .map_err(|_| columns.inconsistent("hash", "not 32 bytes".into()))?;
            let data: String = columns.get("data")?;
            let pruned_at_us: Option<i64> = columns.get("pruned_at_us")?;
            let head = head(&data, &external_id).map_err(|source| columns.inconsistent("data", source.into()))?;
            bytes += data.len();
            // Of a pruned one there is nothing to seal.
            let sealed = match pruned_at_us {
                Some(_) => Sealed(Vec::new()),
                None => seal(&external_id, &data),
            };
            let keyed = (sealing.keyed)(&external_id, &hash);
            rows.push((external_id, keyed, head, sealed));
            Ok(bytes < BATCH_BYTES)
        })
        .await?;
        let Some((last, ..)) = rows.last() else { return Ok(None) };
        let last = last.clone();
        let mut count = 0;
        for chunk in chunks(&rows) {
            let mut sql = Sql::new(
                self.dialect,
                "UPDATE records SET hash = v.column2, data = v.column3, sealed = v.column4 FROM (",
            );
            sql.values(chunk, |row, (external_id, keyed, head, sealed)| {
                row.bind(external_id.as_str())
                    .bind(keyed.as_slice())
                    .bind(head.as_str())
                    .bind(sealed.0.as_slice());
            });
            sql.push(") AS v WHERE connection_key = ")
                .bind(key.connection_key.as_str());
            sql.push(" AND model = ").bind(key.model.as_str());
            sql.push(" AND external_id = v.column1");
            sql.plan_anew();
            count += sql.execute(&mut *transaction).await?;
        }
        self.end_erasing(transaction).await?;
        Ok(Some((count, last)))
    }

    /// Notes that all payloads of a model are sealed, unless somebody wrote one in clear since the beginning of `pass`, or began
    /// another one.
    pub async fn end_sealing(&self, key: &RecordKey, pass: i64) -> Result<bool, StoreError> {
        let ended = query(
            "UPDATE record_models SET payloads = 'sealed' \
             WHERE connection_key = $1 AND model = $2 AND payloads = 'sealing' AND sealing_pass = $3",
        );
        let ended = ended
            .bind(key.connection_key.as_str())
            .bind(&key.model)
            .bind(pass)
            .execute(&self.writer)
            .await?;
        Ok(ended.rows_affected() == 1)
    }

    /// The next sealed payloads that do not begin with `prefix`, by the ids of their records, after `after`.
    pub async fn payloads_sealed_otherwise(
        &self,
        key: &RecordKey,
        prefix: &[u8],
        after: &str,
    ) -> Result<Vec<(String, Sealed)>, StoreError> {
        let mut sql = Sql::new(
            self.dialect,
            "SELECT external_id, sealed FROM records WHERE length(sealed) > 0 AND connection_key = ",
        );
        sql.bind(key.connection_key.as_str())
            .push(" AND model = ")
            .bind(key.model.as_str());
        sql.push(" AND external_id > ").bind(after);
        sql.push(" AND substr(sealed, 1, 5) <> ").bind(prefix);
        sql.push(" ORDER BY external_id LIMIT ").bind(BATCH_RECORDS);
        let (mut payloads, mut bytes) = (Vec::new(), 0);
        sql.fetch_each(&self.reader, |row| {
            let mut columns = Columns::new(row, "records");
            let (external_id, sealed): (String, Vec<u8>) = (columns.get("external_id")?, columns.get("sealed")?);
            bytes += sealed.len();
            payloads.push((external_id, Sealed(sealed)));
            Ok(bytes < BATCH_BYTES)
        })
        .await?;
        Ok(payloads)
    }

    /// Puts new payloads in the places of old ones, where those still are; gives how many.
    pub async fn replace_sealed_payloads(
        &self,
        key: &RecordKey,
        moved: &[(String, Sealed, Sealed)],
    ) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        // Those who write the model have their turn before or after, and not between: they would wait for each other's rows.
        lock_model(&mut transaction, key).await?;
        let mut replaced = 0;
        for chunk in chunks(moved) {
            let mut sql = Sql::new(self.dialect, "UPDATE records SET sealed = v.column3 FROM (");
            sql.values(chunk, |row, (external_id, old, new)| {
                row.bind(external_id.as_str())
                    .bind(old.0.get(..SEALED_HEAD_BYTES).unwrap_or_default())
                    .bind(new.0.as_slice());
            });
            sql.push(") AS v WHERE connection_key = ")
                .bind(key.connection_key.as_str());
            sql.push(" AND model = ").bind(key.model.as_str());
            sql.push(" AND external_id = v.column1 AND substr(sealed, 1, 17) = v.column2");
            sql.plan_anew();
            replaced += sql.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(replaced)
    }
}

/// Puts this in line with those who write the model: what is read after that is not newer when it is overwritten.
pub(super) async fn lock_model(transaction: &mut Transaction<'static, Any>, key: &RecordKey) -> Result<(), StoreError> {
    query("UPDATE record_models SET modified_at_us = modified_at_us WHERE connection_key = $1 AND model = $2")
        .bind(key.connection_key.as_str())
        .bind(&key.model)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

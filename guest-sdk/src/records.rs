//! The records a sync keeps fresh, as typed values.
//!
//! A model is a Rust type; its name is the type's schema name, by default the type's own.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bindings::nango::functions::{records as wire, types};
use crate::error::Error;
use crate::nango::Nango;

/// The records a sync keeps fresh; from [`Nango::records`].
///
/// A record is an object with an `id`: a non-empty string or a number. Every call is one transaction: all records are
/// taken or none.
#[derive(Clone, Copy, Debug)]
pub struct Records<'run>(PhantomData<&'run Nango>);

impl Records<'_> {
    pub(crate) fn of(_: &Nango) -> Self {
        Self(PhantomData)
    }

    /// Saves records, new ones as well as changed ones.
    ///
    /// # Errors
    /// [`Error::Host`] when the sync does not declare the model or a record has no `id`.
    #[track_caller]
    pub fn save<M: JsonSchema + Serialize>(&self, records: &[M]) -> Result<Counts, Error> {
        send::<M, M>(records, wire::batch_save)
    }

    /// Merges partial records into the stored ones with the same `id`; unknown ids are ignored.
    ///
    /// # Errors
    /// As for [`save`](Self::save).
    #[track_caller]
    pub fn update<M: JsonSchema>(&self, records: &[impl Serialize]) -> Result<Counts, Error> {
        send::<M, _>(records, wire::batch_update)
    }

    /// Marks records as deleted; what was last saved of them is kept.
    ///
    /// # Errors
    /// [`Error::Host`] when the sync does not declare the model.
    #[track_caller]
    pub fn delete<M: JsonSchema>(&self, ids: impl IntoIterator<Item = impl ToString>) -> Result<Counts, Error> {
        let records: Vec<Identified> = ids.into_iter().map(|id| Identified { id: id.to_string() }).collect();
        send::<M, Identified>(&records, wire::batch_delete)
    }

    /// The stored records with these ids, at most 1,000; missing ones are absent.
    ///
    /// # Errors
    /// [`Error::Json`] when a record does not fit `M`, [`Error::Host`] when there are too many ids.
    #[track_caller]
    pub fn get_by_ids<M: JsonSchema + DeserializeOwned>(
        &self,
        ids: impl IntoIterator<Item = impl ToString>,
    ) -> Result<BTreeMap<String, M>, Error> {
        let ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
        let json = match wire::get_by_ids(&M::schema_name(), &ids) {
            Ok(json) => json,
            Err(error) => return Err(Error::host(error)),
        };
        match serde_json::from_slice(json.as_bytes()) {
            Ok(records) => Ok(records),
            Err(source) => Err(Error::json(
                format!("cannot read the records of {}", M::schema_name()),
                source,
            )),
        }
    }

    /// The stored records of a model, page by page as they are taken, in the order in which they were last changed. A record that
    /// is changed meanwhile comes again.
    ///
    /// ```no_run
    /// # #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)] struct Issue { id: u64 }
    /// # fn f(nango: &nango_guest_sdk::Nango) -> Result<(), nango_guest_sdk::Error> {
    /// for stored in nango.records().list::<Issue>() {
    ///     let stored = stored?;
    ///     println!("{} changed at {}", stored.id, stored.metadata.last_modified_at);
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn list<M: JsonSchema + DeserializeOwned>(&self) -> StoredRecords<M> {
        StoredRecords {
            cursor: None,
            filter: "added,updated",
            page: Vec::new().into_iter(),
            is_last: false,
            model: PhantomData,
        }
    }

    /// Says what becomes of records that others (another sync, a function that a webhook started) change while this run reads what it
    /// will write. Once for each model, before it is written; a second call is ignored, with a warning in the log.
    ///
    /// # Errors
    /// [`Error::Host`] when the run has written the model already.
    #[track_caller]
    pub fn set_merging_strategy<M: JsonSchema>(&self, strategy: MergingStrategy) -> Result<(), Error> {
        match wire::set_merging_strategy(&M::schema_name(), strategy.word()) {
            Ok(()) => Ok(()),
            Err(error) => Err(Error::host(error)),
        }
    }

    /// Begins a pass over everything the provider has of a model. Call it at the beginning of every run: while a pass is on, it does
    /// nothing, so that a run that goes on from a checkpoint goes on with the pass.
    ///
    /// # Errors
    /// [`Error::Host`] when the sync does not declare the model.
    #[track_caller]
    pub fn track_deletes_start<M: JsonSchema>(&self) -> Result<(), Error> {
        match wire::track_deletes_start(&M::schema_name()) {
            Ok(()) => Ok(()),
            Err(error) => Err(Error::host(error)),
        }
    }

    /// Ends the pass: deletes, all at once, the records that were neither saved nor updated since it began, and clears the sync's
    /// checkpoint with them, which said how far the pass had come.
    ///
    /// # Errors
    /// [`Error::Host`] with the code `track_deletes_not_started` when no pass is on; nothing is deleted then.
    #[track_caller]
    pub fn track_deletes_end<M: JsonSchema>(&self) -> Result<Counts, Error> {
        match wire::track_deletes_end(&M::schema_name()) {
            Ok(counts) => Ok(counts.into()),
            Err(error) => Err(Error::host(error)),
        }
    }
}

/// What becomes of records that others change while a run reads what it will write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MergingStrategy {
    /// What the run saves is written.
    #[default]
    Override,
    /// What others changed after the strategy was set stays as it is.
    IgnoreIfModifiedAfter,
}

impl MergingStrategy {
    fn word(self) -> &'static str {
        match self {
            Self::Override => "override",
            Self::IgnoreIfModifiedAfter => "ignore_if_modified_after",
        }
    }
}

/// A record as it is stored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stored<M> {
    pub id: String,
    /// None when its payload was pruned.
    pub record: Option<M>,
    pub metadata: RecordMetadata,
}

/// When and how a record changed. Times are ISO 8601.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RecordMetadata {
    pub first_seen_at: String,
    pub last_modified_at: String,
    /// `ADDED`, `UPDATED` or `DELETED`.
    pub last_action: String,
    pub deleted_at: Option<String>,
    pub pruned_at: Option<String>,
    /// The place of its last change: see [`StoredRecords::after`].
    pub cursor: String,
}

/// The stored records of a model; from [`Records::list`].
#[derive(Debug)]
pub struct StoredRecords<M> {
    cursor: Option<String>,
    filter: &'static str,
    page: std::vec::IntoIter<Value>,
    is_last: bool,
    model: PhantomData<fn() -> M>,
}

impl<M> StoredRecords<M> {
    /// Only records whose last change comes after that of this cursor.
    #[must_use]
    pub fn after(mut self, cursor: impl Into<String>) -> Self {
        self.cursor = Some(cursor.into());
        self
    }

    /// Deleted records too, with what was last saved of them.
    #[must_use]
    pub fn with_deleted(mut self) -> Self {
        self.filter = "added,updated,deleted";
        self
    }
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    next_cursor: Option<String>,
    records: Vec<Value>,
}

impl<M: JsonSchema + DeserializeOwned> StoredRecords<M> {
    fn read_page(&mut self) -> Result<(), Error> {
        let mut options = vec![("filter".to_owned(), self.filter.to_owned())];
        options.extend(self.cursor.take().map(|cursor| ("cursor".to_owned(), cursor)));
        let json = wire::list_records(&M::schema_name(), &options).map_err(Error::host)?;
        let unreadable = |source| Error::json(format!("cannot read the records of {}", M::schema_name()), source);
        let page: Page = serde_json::from_str(&json).map_err(unreadable)?;
        self.is_last = page.next_cursor.is_none();
        self.cursor = page.next_cursor;
        self.page = page.records.into_iter();
        Ok(())
    }
}

impl<M: JsonSchema + DeserializeOwned> Iterator for StoredRecords<M> {
    type Item = Result<Stored<M>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.page.next() {
                let read = stored(record);
                return Some(
                    read.map_err(|source| Error::json(format!("cannot read a record of {}", M::schema_name()), source)),
                );
            }
            if self.is_last {
                return None;
            }
            if let Err(error) = self.read_page() {
                self.is_last = true;
                return Some(Err(error));
            }
        }
    }
}

fn stored<M: DeserializeOwned>(mut record: Value) -> Result<Stored<M>, serde_json::Error> {
    let metadata = record
        .as_object_mut()
        .and_then(|record| record.remove("_nango_metadata"));
    let metadata: RecordMetadata = metadata.map_or_else(|| Ok(RecordMetadata::default()), serde_json::from_value)?;
    let id = match record.get("id") {
        Some(Value::String(id)) => id.clone(),
        Some(id) => id.to_string(),
        None => String::new(),
    };
    let record = match metadata.pruned_at {
        Some(_) => None,
        None => Some(serde_json::from_value(record)?),
    };
    Ok(Stored { id, record, metadata })
}

/// How many records a call touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Records that were not there before.
    pub added: u64,
    /// Records whose content changed.
    pub updated: u64,
    /// Records that are marked as deleted now.
    pub deleted: u64,
    /// Records that were there just so.
    pub unchanged: u64,
}

impl From<Vec<(String, u64)>> for Counts {
    fn from(pairs: Vec<(String, u64)>) -> Self {
        let count = |name| {
            pairs
                .iter()
                .find(|(known, _)| known == name)
                .map_or(0, |(_, count)| *count)
        };
        Self {
            added: count("added"),
            updated: count("updated"),
            deleted: count("deleted"),
            unchanged: count("unchanged"),
        }
    }
}

#[derive(Serialize)]
struct Identified {
    id: String,
}

#[track_caller]
fn send<M: JsonSchema, R: Serialize>(
    records: &[R],
    call: fn(&str, &str) -> Result<wire::Counts, types::Error>,
) -> Result<Counts, Error> {
    let model = M::schema_name();
    let json = match serde_json::to_string(records) {
        Ok(json) => json,
        Err(source) => return Err(Error::json(format!("cannot write the records of {model}"), source)),
    };
    match call(&model, &json) {
        Ok(counts) => Ok(counts.into()),
        Err(error) => Err(Error::host(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pruned_record_has_no_payload() {
        let read = |json| stored::<BTreeMap<String, u64>>(serde_json::from_str(json).unwrap()).unwrap();
        let whole =
            read(r#"{"id":7,"n":1,"_nango_metadata":{"last_action":"ADDED","cursor":"c","pruned_at":null,"new":1}}"#);
        assert_eq!((whole.id.as_str(), whole.metadata.cursor.as_str()), ("7", "c"));
        assert_eq!(whole.record.unwrap()["n"], 1);
        let pruned = read(r#"{"id":"x","_nango_metadata":{"pruned_at":"2026-01-01"}}"#);
        assert_eq!((pruned.id.as_str(), pruned.record), ("x", None));
    }

    #[test]
    fn counts_what_it_knows() {
        let counts = Counts::from(vec![
            ("added".to_owned(), 3),
            ("moved".to_owned(), 1),
            ("unchanged".to_owned(), 2),
        ]);
        assert_eq!(
            counts,
            Counts {
                added: 3,
                unchanged: 2,
                ..Counts::default()
            }
        );
    }
}

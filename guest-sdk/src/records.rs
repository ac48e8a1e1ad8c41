//! The records a sync keeps fresh, as typed values.
//!
//! A model is a Rust type; its name is the type's schema name, by default the type's own.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

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

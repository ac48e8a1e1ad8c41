//! What a run would have written: kept in memory for as long as it runs, so that it reads what it wrote, and nobody else ever does.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::model::{Counts, JsonObject};
use crate::recording::Position;

/// What the store adds to a record that is read.
const NANGO_METADATA: &str = "_nango_metadata";

#[derive(Default)]
pub(crate) struct Kept {
    metadata: JsonObject,
    /// None while nobody knows: then the world is asked.
    pub(super) checkpoint: Option<Position>,
    /// By model and id; none for a deleted record.
    records: BTreeMap<String, BTreeMap<String, Option<JsonObject>>>,
    /// What the store has, as far as it was looked up.
    stored: BTreeMap<String, BTreeMap<String, JsonObject>>,
    /// Models with a pass on, as far as the run knows, and the ids it has seen since.
    tracking: BTreeMap<String, BTreeSet<String>>,
    /// What the store knows of a model that the end of a pass would delete, ids; gone once the pass has ended.
    unseen: BTreeMap<String, Vec<String>>,
    /// Locks that the run holds. Nobody else sees them, and they last until its end.
    locks: BTreeSet<String>,
    /// Whether a run that is played has written something that the recorded one had not.
    diverged: bool,
}

impl Kept {
    /// With what there was when the run began.
    pub(crate) fn new(metadata: JsonObject, checkpoint: Option<Position>) -> Self {
        Self {
            metadata,
            checkpoint,
            ..Self::default()
        }
    }

    pub(super) fn has_diverged(&self) -> bool {
        self.diverged
    }

    pub(super) fn diverge(&mut self) {
        self.diverged = true;
    }

    pub(super) fn take_lock(&mut self, key: &str) {
        self.locks.insert(key.to_owned());
    }

    /// Whether the run had it.
    pub(super) fn release_lock(&mut self, key: &str) -> bool {
        self.locks.remove(key)
    }

    pub(super) fn release_locks(&mut self) {
        self.locks.clear();
    }

    pub(super) fn metadata(&self) -> String {
        Value::Object(self.metadata.clone()).to_string()
    }

    pub(super) fn set_metadata(&mut self, metadata: &JsonObject, merge: bool) {
        if !merge {
            self.metadata.clear();
        }
        self.metadata.extend(metadata.clone());
    }

    /// Ids of records that nobody has looked up and the run has not written.
    pub(super) fn unknown<'i>(&self, model: &str, ids: impl Iterator<Item = &'i String>) -> Vec<String> {
        let is_known = |id: &&String| {
            let kept = self.records.get(model).is_some_and(|records| records.contains_key(*id));
            kept || self.stored.get(model).is_some_and(|records| records.contains_key(*id))
        };
        ids.filter(|id| !is_known(id)).cloned().collect()
    }

    /// Takes in records of the store, a JSON object from id to record.
    pub(super) fn look_up(&mut self, model: &str, found: &str) {
        let found: Map<String, Value> = serde_json::from_str(found).unwrap_or_default();
        let stored = self.stored.entry(model.to_owned()).or_default();
        for (id, record) in found {
            let Value::Object(mut record) = record else { continue };
            let metadata = record.remove(NANGO_METADATA);
            let deleted = metadata.and_then(|metadata| metadata.get("deleted_at").cloned());
            if deleted.is_none_or(|deleted| deleted.is_null()) {
                stored.insert(id, record);
            }
        }
    }

    fn of_model(&mut self, model: &str) -> Model<'_> {
        Model {
            records: self.records.entry(model.to_owned()).or_default(),
            stored: self.stored.entry(model.to_owned()).or_default(),
        }
    }

    /// Counts as the store would.
    pub(super) fn save(&mut self, model: &str, records: Vec<(String, JsonObject)>) -> Counts {
        self.sight(model, &records);
        let model = self.of_model(model);
        let mut counts = Counts::default();
        for (id, record) in records {
            match model.now(&id) {
                Some(old) if *old == record => counts.unchanged += 1,
                Some(_) => counts.updated += 1,
                None => counts.added += 1,
            }
            model.records.insert(id, Some(record));
        }
        counts
    }

    pub(super) fn update(&mut self, model: &str, patches: Vec<(String, JsonObject)>) -> Counts {
        self.sight(model, &patches);
        let model = self.of_model(model);
        let mut counts = Counts::default();
        for (id, patch) in patches {
            // Unknown ids are ignored.
            let Some(old) = model.now(&id) else { continue };
            let mut record = old.clone();
            merge(&mut record, patch);
            if record == *old {
                counts.unchanged += 1;
            } else {
                counts.updated += 1;
                model.records.insert(id, Some(record));
            }
        }
        counts
    }

    pub(super) fn delete(&mut self, model: &str, records: Vec<(String, JsonObject)>) -> Counts {
        let model = self.of_model(model);
        let mut counts = Counts::default();
        for (id, _) in records {
            if model.now(&id).is_some() {
                counts.deleted += 1;
                model.records.insert(id, None);
            }
        }
        counts
    }

    fn sight(&mut self, model: &str, records: &[(String, JsonObject)]) {
        if let Some(seen) = self.tracking.get_mut(model) {
            seen.extend(records.iter().map(|(id, _)| id.clone()));
        }
    }

    /// Begins a pass unless one is on.
    pub(super) fn start_tracking(&mut self, model: &str) {
        self.tracking.entry(model.to_owned()).or_default();
    }

    /// Takes in what the end of a pass would delete in the store.
    pub(super) fn foresee_unseen(&mut self, model: &str, external_ids: Vec<String>) {
        self.unseen.insert(model.to_owned(), external_ids);
    }

    /// Deletes what the pass has not seen, and clears the checkpoint; none when no pass is on.
    pub(super) fn end_tracking(&mut self, model: &str) -> Option<Counts> {
        let seen = self.tracking.remove(model)?;
        let unseen = self.unseen.remove(model).unwrap_or_default();
        let written = self.records.entry(model.to_owned()).or_default();
        let own = written.iter().filter(|(_, record)| record.is_some()).map(|(id, _)| id);
        let gone: BTreeSet<String> = own
            .chain(unseen.iter().filter(|id| !written.contains_key(*id)))
            .filter(|id| !seen.contains(*id))
            .cloned()
            .collect();
        let deleted = u64::try_from(gone.len()).unwrap_or(u64::MAX);
        self.checkpoint = Some(Position { json: None });
        written.extend(gone.into_iter().map(|id| (id, None)));
        Some(Counts {
            deleted,
            ..Counts::default()
        })
    }

    /// Puts what the run wrote over a page of the store: what it wrote comes at the end, where changes come.
    pub(super) fn over_page(&self, model: &str, found: Option<String>) -> Option<String> {
        let found = found?;
        let Some(written) = self.records.get(model) else {
            return Some(found);
        };
        let mut page: JsonObject = serde_json::from_str(&found).ok()?;
        let is_last = page.get("next_cursor").is_none_or(Value::is_null);
        let records = page.get_mut("records")?.as_array_mut()?;
        records.retain(|record| !record_id(record).is_some_and(|id| written.contains_key(&id)));
        if is_last {
            records.extend(written.values().flatten().cloned().map(Value::Object));
        }
        Some(Value::Object(page).to_string())
    }

    /// Puts what the run wrote over what the store has: a JSON object from id to record.
    pub(super) fn over(&self, model: &str, ids: &[String], found: Option<&str>) -> Option<String> {
        let kept = self.records.get(model);
        let known = |id: &String| kept.is_some_and(|kept| kept.contains_key(id));
        let mut records: Map<String, Value> = match found {
            Some(json) => serde_json::from_str(json).ok()?,
            // Without a store what the run did not write is not there, and nobody may say so but a recording.
            None if ids.iter().all(known) => Map::new(),
            None => return None,
        };
        for id in ids {
            match kept.and_then(|kept| kept.get(id)) {
                Some(Some(record)) => drop(records.insert(id.clone(), Value::Object(record.clone()))),
                Some(None) => drop(records.remove(id)),
                None => {}
            }
        }
        Some(Value::Object(records).to_string())
    }
}

/// The records of one model.
struct Model<'a> {
    records: &'a mut BTreeMap<String, Option<JsonObject>>,
    stored: &'a BTreeMap<String, JsonObject>,
}

impl Model<'_> {
    /// The record as the run would find it.
    fn now(&self, id: &str) -> Option<&JsonObject> {
        match self.records.get(id) {
            Some(written) => written.as_ref(),
            None => self.stored.get(id),
        }
    }
}

fn record_id(record: &Value) -> Option<String> {
    match record.get("id")? {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// Objects are merged, everything else is replaced.
fn merge(record: &mut JsonObject, patch: JsonObject) {
    for (name, value) in patch {
        match (record.get_mut(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, value) => drop(record.insert(name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(id: &str, fields: &Value) -> (String, JsonObject) {
        (id.to_owned(), fields.as_object().unwrap().clone())
    }

    #[test]
    fn a_run_reads_what_it_wrote() {
        let mut kept = Kept::default();
        let saved = kept.save(
            "A",
            vec![
                record("1", &json!({"id": "1", "a": {"b": 1, "c": 2}})),
                record("2", &json!({})),
            ],
        );
        assert_eq!(saved.added, 2);
        assert_eq!(kept.update("A", vec![record("1", &json!({"a": {"b": 3}}))]).updated, 1);
        assert_eq!(kept.delete("A", vec![record("2", &json!({"id": "2"}))]).deleted, 1);
        let ids = ["1".to_owned(), "2".to_owned()];
        let found = kept.over("A", &ids, Some(r#"{"2":{"id":"2"}}"#)).unwrap();
        assert_eq!(found, r#"{"1":{"a":{"b":3,"c":2},"id":"1"}}"#);
        assert_eq!(kept.over("A", &["3".to_owned()], None), None, "nobody knows");
    }

    #[test]
    fn a_pass_deletes_what_it_has_not_seen() {
        let mut kept = Kept::default();
        assert_eq!(kept.end_tracking("A"), None);
        kept.save("A", vec![record("before", &json!({"id": "before"}))]);
        kept.start_tracking("A");
        kept.save("A", vec![record("1", &json!({"id": "1"}))]);
        kept.start_tracking("A");
        kept.foresee_unseen("A", vec!["1".to_owned(), "2".to_owned()]);
        assert_eq!(kept.end_tracking("A").unwrap().deleted, 2);
        assert_eq!(kept.end_tracking("A"), None, "it has ended");
        let page = r#"{"next_cursor":null,"records":[{"id":"1"},{"id":"2"},{"id":3}]}"#;
        let over = kept.over_page("A", Some(page.to_owned())).unwrap();
        assert_eq!(over, r#"{"next_cursor":null,"records":[{"id":3},{"id":"1"}]}"#);
        assert_eq!(kept.over_page("A", None), None, "nobody knows");
    }

    #[test]
    fn counts_are_those_of_the_store() {
        let mut kept = Kept::default();
        kept.look_up("A", r#"{"1":{"id":"1","n":1,"_nango_metadata":{"deleted_at":null}},"2":{"id":"2","_nango_metadata":{"deleted_at":"x"}}}"#);
        let saved = kept.save(
            "A",
            vec![
                record("1", &json!({"id": "1", "n": 1})),
                record("2", &json!({"id": "2"})),
            ],
        );
        assert_eq!((saved.unchanged, saved.added), (1, 1));
        assert_eq!(
            kept.update("A", vec![record("1", &json!({"n": 2})), record("9", &json!({}))])
                .updated,
            1
        );
        assert_eq!(kept.unknown("A", ["1".to_owned(), "9".to_owned()].iter()), ["9"]);
        assert_eq!(
            kept.delete("A", vec![record("9", &json!({})), record("1", &json!({}))])
                .deleted,
            1
        );
    }
}

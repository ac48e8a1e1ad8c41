//! What a run would have written: kept in memory for as long as it runs, so that it reads what it wrote, and nobody else ever does.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::model::{Counts, JsonObject};
use crate::recording::Position;

#[derive(Default)]
pub(crate) struct Kept {
    metadata: JsonObject,
    /// None while nobody knows: then the world is asked.
    pub(super) checkpoint: Option<Position>,
    /// By model and id; none for a deleted record.
    records: BTreeMap<String, BTreeMap<String, Option<JsonObject>>>,
}

impl Kept {
    /// With what there was when the run began.
    pub(crate) fn new(metadata: JsonObject, checkpoint: Option<Position>) -> Self {
        Self {
            metadata,
            checkpoint,
            records: BTreeMap::new(),
        }
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

    /// Counts as a store would that was empty when the run began.
    pub(super) fn save(&mut self, model: &str, records: Vec<(String, JsonObject)>) -> Counts {
        let kept = self.records.entry(model.to_owned()).or_default();
        let mut counts = Counts::default();
        for (id, record) in records {
            match kept.get(&id) {
                Some(Some(old)) if *old == record => counts.unchanged += 1,
                Some(Some(_)) => counts.updated += 1,
                Some(None) | None => counts.added += 1,
            }
            kept.insert(id, Some(record));
        }
        counts
    }

    /// Records that the run did not save itself may be in the store: they count as updated.
    pub(super) fn update(&mut self, model: &str, patches: Vec<(String, JsonObject)>) -> Counts {
        let kept = self.records.entry(model.to_owned()).or_default();
        let mut counts = Counts::default();
        for (id, patch) in patches {
            match kept.get_mut(&id) {
                Some(Some(record)) => {
                    merge(record, patch);
                    counts.updated += 1;
                }
                Some(None) => counts.unchanged += 1,
                None => counts.updated += 1,
            }
        }
        counts
    }

    pub(super) fn delete(&mut self, model: &str, records: Vec<(String, JsonObject)>) -> Counts {
        let kept = self.records.entry(model.to_owned()).or_default();
        let mut counts = Counts::default();
        for (id, _) in records {
            match kept.insert(id, None) {
                Some(None) => counts.unchanged += 1,
                Some(Some(_)) | None => counts.deleted += 1,
            }
        }
        counts
    }

    /// Puts what the run wrote over what the store has: a JSON object from id to record.
    pub(super) fn over(&self, model: &str, ids: &[String], found: Option<String>) -> Option<String> {
        let kept = self.records.get(model);
        let known = |id: &String| kept.is_some_and(|kept| kept.contains_key(id));
        let mut records: Map<String, Value> = match &found {
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

    fn record(id: &str, fields: Value) -> (String, JsonObject) {
        (id.to_owned(), fields.as_object().unwrap().clone())
    }

    #[test]
    fn a_run_reads_what_it_wrote() {
        let mut kept = Kept::default();
        let saved = kept.save("A", vec![record("1", json!({"id": "1", "a": {"b": 1, "c": 2}})), record("2", json!({}))]);
        assert_eq!(saved.added, 2);
        assert_eq!(kept.update("A", vec![record("1", json!({"a": {"b": 3}}))]).updated, 1);
        assert_eq!(kept.delete("A", vec![record("2", json!({"id": "2"}))]).deleted, 1);
        let ids = ["1".to_owned(), "2".to_owned()];
        let found = kept.over("A", &ids, Some(r#"{"2":{"id":"2"}}"#.to_owned())).unwrap();
        assert_eq!(found, r#"{"1":{"a":{"b":3,"c":2},"id":"1"}}"#);
        assert_eq!(kept.over("A", &["3".to_owned()], None), None, "nobody knows");
    }
}

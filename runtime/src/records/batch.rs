//! Takes a JSON array of records apart, without copying: each record keeps its own text, in which its id is found while it is hashed.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::canonical::{self, Hashed};
use super::elements::{Element, Elements};
use super::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, ID_CHARS_MAX, RECORD_BYTES_MAX, RecordsError};
use crate::model::JsonObject;

/// Characters of an offending value that an error repeats.
const EXCERPT_CHARS_MAX: usize = 80;

/// Records with distinct ids, read from a JSON array.
#[derive(Debug)]
pub struct Batch<'a> {
    pub(super) items: Vec<Item<'a>>,
    /// Records left out because one before had the same id.
    pub(super) duplicates: u64,
}

#[derive(Debug)]
pub(super) struct Item<'a> {
    /// Place in the batch as it was given, from 0.
    pub(super) index: usize,
    pub(super) external_id: Cow<'a, str>,
    json: Json<'a>,
    /// None when it is nested too deeply to have one.
    hash: Option<[u8; 32]>,
}

#[derive(Debug)]
enum Json<'a> {
    AsGiven(&'a str),
    /// Without `_nango_metadata`.
    Stripped(String),
}

impl Item<'_> {
    pub(super) fn json(&self) -> &str {
        match &self.json {
            Json::AsGiven(json) => json,
            Json::Stripped(json) => json,
        }
    }

    /// # Errors
    /// [`RecordsError::TooDeep`].
    pub(super) fn hash(&self) -> Result<[u8; 32], RecordsError> {
        self.hash.ok_or_else(|| RecordsError::TooDeep {
            index: self.index,
            id: self.external_id.to_string(),
        })
    }
}

/// What is looked at of a record.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "_nango_metadata")]
    metadata: Option<&'a RawValue>,
}

/// Shown each record as it is parsed: its place in the batch, and its value or why it has none though it is JSON.
pub type See<'s> = &'s mut dyn FnMut(usize, Result<&Value, &serde_json::Error>);

impl<'a> Batch<'a> {
    /// Reads a JSON array of records.
    ///
    /// # Errors
    /// It is none, or too large, or a record has no usable id or is too large.
    pub fn parse(json: &'a str) -> Result<Self, RecordsError> {
        Self::read(json, None)
    }

    /// The same; `see` is shown each element on the way, those after a refused one too. What is nested too deeply it is not shown.
    ///
    /// # Errors
    /// As [`Batch::parse`].
    pub fn parse_seen(json: &'a str, see: See<'_>) -> Result<Self, RecordsError> {
        Self::read(json, Some(see))
    }

    fn read(json: &'a str, mut see: Option<See<'_>>) -> Result<Self, RecordsError> {
        if json.len() > BATCH_BYTES_MAX {
            return Err(RecordsError::BatchTooLarge { bytes_len: json.len() });
        }
        let mut elements = Elements::of(json, see.is_some()).map_err(RecordsError::NoArray)?;
        let mut items = Vec::new();
        let mut seen: HashSet<Cow<'_, str>> = HashSet::new();
        let (mut count, mut duplicates) = (0, 0);
        let mut refused = None;
        let mut canonical = Vec::new();
        while let Some(Element { text, value }) = elements.next().map_err(RecordsError::NoArray)? {
            let index = count;
            count += 1;
            if index >= BATCH_RECORDS_MAX {
                continue;
            }
            let item = item(index, text, &mut canonical);
            let is_too_deep = item.as_ref().is_ok_and(|item| item.hash.is_none());
            if let (Some(see), Some(value), false) = (&mut see, &value, is_too_deep) {
                see(index, value.as_ref());
            }
            match item {
                Ok(item) if seen.insert(item.external_id.clone()) => items.push(item),
                Ok(_) => duplicates += 1,
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        if count > BATCH_RECORDS_MAX {
            return Err(RecordsError::TooMany { records: count });
        }
        match refused {
            Some(error) => Err(error),
            None => Ok(Self { items, duplicates }),
        }
    }
}

/// Records by id, parsed: for who keeps them elsewhere than in the store.
///
/// # Errors
/// As for a batch that is saved.
pub fn read_batch(json: &str) -> Result<Vec<(String, JsonObject)>, RecordsError> {
    let batch = Batch::parse(json)?;
    let records = batch.items.iter().map(|item| {
        let unreadable = |source| RecordsError::Unreadable {
            index: item.index,
            source,
        };
        let record = serde_json::from_str(item.json()).map_err(unreadable)?;
        Ok((item.external_id.to_string(), record))
    });
    records.collect()
}

fn item<'a>(index: usize, element: &'a str, canonical: &mut Vec<u8>) -> Result<Item<'a>, RecordsError> {
    // A struct would be read from an array as well.
    if !element.starts_with('{') {
        return Err(RecordsError::NoObject {
            index,
            found: excerpt(element),
        });
    }
    let unreadable = |source| RecordsError::Unreadable { index, source };
    let hashed = canonical::hash_record(element, canonical);
    let hash = hashed.as_ref().ok().map(|hashed| hashed.hash);
    let (id, has_metadata) = match hashed {
        Ok(Hashed {
            id,
            has_metadata,
            is_odd: false,
            ..
        }) => (id, has_metadata),
        _ => {
            let head: Head<'_> = serde_json::from_str(element).map_err(unreadable)?;
            (head.id.map(RawValue::get), head.metadata.is_some())
        }
    };
    let id = id.filter(|id| *id != "null").ok_or(RecordsError::MissingId { index })?;
    let external_id = external_id(id).ok_or_else(|| RecordsError::InvalidId { index, id: excerpt(id) })?;
    if element.len() > RECORD_BYTES_MAX {
        return Err(RecordsError::RecordTooLarge {
            index,
            id: external_id.into_owned(),
            bytes_len: element.len(),
        });
    }
    let json = if has_metadata {
        Json::Stripped(without_metadata(element).map_err(unreadable)?)
    } else {
        Json::AsGiven(element)
    };
    Ok(Item {
        index,
        external_id,
        json,
        hash,
    })
}

/// The id as text; none for what is no id: other types, the empty string, 0 and what is too long.
fn external_id(json: &str) -> Option<Cow<'_, str>> {
    if json.starts_with('"') {
        // Borrowed where nothing is escaped, which is nearly always.
        let text = match serde_json::from_str::<&str>(json) {
            Ok(text) => without_nul(text),
            Err(_) => Cow::Owned(without_nul(&serde_json::from_str::<String>(json).ok()?).into_owned()),
        };
        return (!text.is_empty() && text.chars().count() <= ID_CHARS_MAX).then_some(text);
    }
    let is_number = json.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let is_zero = json.parse::<f64>().is_ok_and(|number| number == 0.0);
    (is_number && !is_zero && json.len() <= ID_CHARS_MAX).then_some(Cow::Borrowed(json))
}

/// An id as it is stored: Postgres has no NUL in texts.
pub(super) fn without_nul(id: &str) -> Cow<'_, str> {
    if id.contains('\0') {
        Cow::Owned(id.replace('\0', ""))
    } else {
        Cow::Borrowed(id)
    }
}

/// Copies a record without its member `_nango_metadata`, which is no part of it: functions save back what they were
/// given.
fn without_metadata(element: &str) -> Result<String, serde_json::Error> {
    let mut members: MembersInOrder<'_> = serde_json::from_str(element)?;
    members.0.retain(|(name, _)| name != "_nango_metadata");
    let mut json = String::with_capacity(element.len());
    for (name, value) in &members.0 {
        json.push(if json.is_empty() { '{' } else { ',' });
        json.push_str(&serde_json::to_string(name)?);
        json.push(':');
        json.push_str(value.get());
    }
    json.push('}');
    Ok(json)
}

/// An object's members as they stand in the text.
struct MembersInOrder<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for MembersInOrder<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> serde::de::Visitor<'de> for Members {
            type Value = MembersInOrder<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    members.push((Cow::Owned(name), value));
                }
                Ok(MembersInOrder(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

fn excerpt(json: &str) -> String {
    match json.char_indices().nth(EXCERPT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", json.get(..end).unwrap_or_default()),
        None => json.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_and_kept_as_text() {
        let batch = Batch::parse(
            r#" [ {"a":{"id":9},"id":"x"}, {"id": 12}, {"id":-1.5}, {"id":"\u0041\u0000b"}, {"id":"x","v":2} ] "#,
        );
        let batch = batch.unwrap();
        let ids: Vec<&str> = batch.items.iter().map(|item| &*item.external_id).collect();
        assert_eq!(ids, ["x", "12", "-1.5", "Ab"]);
        assert_eq!(batch.duplicates, 1);
        assert_eq!(batch.items[0].json(), r#"{"a":{"id":9},"id":"x"}"#, "the first counts");
    }

    #[test]
    fn metadata_is_no_part_of_a_record() {
        let json = r#"[{"_nango_metadata":{"cursor":"x"},"id": "1", "s\"":[ 1 ]}]"#;
        assert_eq!(Batch::parse(json).unwrap().items[0].json(), r#"{"id":"1","s\"":[ 1 ]}"#);
    }

    #[test]
    fn errors_name_index_and_value() {
        let message = |json: &str| Batch::parse(json).unwrap_err().to_string();
        assert!(message(r#"[{"id":1},{"name":"x"}]"#).starts_with("record 1 of the batch has no `id`"));
        assert!(message(r#"[{"id":null}]"#).starts_with("record 0 of the batch has no `id`"));
        for id in ["0", "-0.0", "\"\"", "\"\\u0000\"", "true", "[1]", "{\"x\":1}"] {
            let message = message(&format!("[{{\"id\":{id}}}]"));
            assert!(
                message.starts_with(&format!("record 0 of the batch has the id {id}:")),
                "{message}"
            );
        }
        let long = "é".repeat(256);
        assert!(message(&format!("[{{\"id\":\"{long}\"}}]")).contains("at most 255 characters"));
        Batch::parse(&format!("[{{\"id\":\"{}\"}}]", "é".repeat(255))).unwrap();
        assert_eq!(
            message("[[\"x\"]]"),
            "record 0 of the batch is no JSON object but [\"x\"]"
        );
        assert_eq!(message("{}"), "the batch is no JSON array of records");
        assert_eq!(message("[{]"), "the batch is no JSON array of records");
    }

    #[test]
    fn every_record_is_shown_once() {
        let deep = format!(r#"{{"id":2,"x":{}{}}}"#, "[".repeat(1_000), "]".repeat(1_000));
        let json = format!(r#"[{{"id":1}},{{"name":"x"}},{deep},{{"id":3,"x":1e999}},{{"id":1}}]"#);
        let mut seen = Vec::new();
        let batch = Batch::parse_seen(&json, &mut |index, record| {
            seen.push((index, record.ok().map(ToString::to_string)));
        });
        assert!(matches!(batch, Err(RecordsError::MissingId { index: 1 })));
        let value = |json: &str| Some(json.to_owned());
        assert_eq!(
            seen,
            [
                (0, value(r#"{"id":1}"#)),
                (1, value(r#"{"name":"x"}"#)),
                (3, None),
                (4, value(r#"{"id":1}"#))
            ],
            "the one that is too deep is refused when it is saved"
        );
    }

    #[test]
    fn limits_are_kept() {
        let many = format!("[{}]", vec!["1"; BATCH_RECORDS_MAX + 1].join(","));
        assert!(matches!(
            Batch::parse(&many),
            Err(RecordsError::TooMany { records: 50_001 })
        ));
        let large = format!("[{{\"id\":1,\"x\":\"{}\"}}]", "x".repeat(RECORD_BYTES_MAX));
        assert!(matches!(
            Batch::parse(&large),
            Err(RecordsError::RecordTooLarge { index: 0, .. })
        ));
    }
}

//! Takes a JSON array of records apart, without copying: each record keeps its own text, which is read once for the id and the hash.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::canonical::{self, Hashed};
use super::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, ID_CHARS_MAX, RECORD_BYTES_MAX, RecordsError};
use crate::model::JsonObject;

/// Characters of an offending value that an error repeats.
const EXCERPT_CHARS_MAX: usize = 80;

/// Records with distinct ids, read from a JSON array.
#[derive(Debug)]
pub struct Batch<'a> {
    /// The array's elements as they were given.
    elements: Vec<&'a RawValue>,
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
    AsGiven(&'a RawValue),
    /// Without `_nango_metadata`.
    Stripped(Box<RawValue>),
}

impl Item<'_> {
    pub(super) fn json(&self) -> &RawValue {
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

impl<'a> Batch<'a> {
    /// Reads a JSON array of records.
    ///
    /// # Errors
    /// It is none, or too large, or a record has no usable id or is too large.
    pub fn parse(json: &'a str) -> Result<Self, RecordsError> {
        if json.len() > BATCH_BYTES_MAX {
            return Err(RecordsError::BatchTooLarge { bytes_len: json.len() });
        }
        let elements: Vec<&RawValue> = serde_json::from_str(json).map_err(RecordsError::NoArray)?;
        if elements.len() > BATCH_RECORDS_MAX {
            return Err(RecordsError::TooMany {
                records: elements.len(),
            });
        }
        let mut items = Vec::with_capacity(elements.len());
        let mut seen: HashSet<Cow<'_, str>> = HashSet::with_capacity(elements.len());
        let mut duplicates = 0;
        let mut canonical = Vec::new();
        for (index, element) in elements.iter().enumerate() {
            let item = item(index, element, &mut canonical)?;
            if seen.insert(item.external_id.clone()) {
                items.push(item);
            } else {
                duplicates += 1;
            }
        }
        Ok(Self {
            elements,
            items,
            duplicates,
        })
    }

    /// The texts of all elements in order, duplicates and metadata included.
    pub fn texts(&self) -> impl Iterator<Item = &'a str> {
        self.elements.iter().map(|element| element.get())
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
        let record = serde_json::from_str(item.json().get()).map_err(unreadable)?;
        Ok((item.external_id.to_string(), record))
    });
    records.collect()
}

fn item<'a>(index: usize, element: &'a RawValue, canonical: &mut Vec<u8>) -> Result<Item<'a>, RecordsError> {
    // A struct would be read from an array as well.
    if !element.get().starts_with('{') {
        return Err(RecordsError::NoObject {
            index,
            found: excerpt(element.get()),
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
            let head: Head<'_> = serde_json::from_str(element.get()).map_err(unreadable)?;
            (head.id.map(RawValue::get), head.metadata.is_some())
        }
    };
    let id = id.filter(|id| *id != "null").ok_or(RecordsError::MissingId { index })?;
    let external_id = external_id(id).ok_or_else(|| RecordsError::InvalidId { index, id: excerpt(id) })?;
    if element.get().len() > RECORD_BYTES_MAX {
        return Err(RecordsError::RecordTooLarge {
            index,
            id: external_id.into_owned(),
            bytes_len: element.get().len(),
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
fn without_metadata(element: &RawValue) -> Result<Box<RawValue>, serde_json::Error> {
    let mut members: MembersInOrder<'_> = serde_json::from_str(element.get())?;
    members.0.retain(|(name, _)| name != "_nango_metadata");
    let mut json = String::with_capacity(element.get().len());
    for (name, value) in &members.0 {
        json.push(if json.is_empty() { '{' } else { ',' });
        json.push_str(&serde_json::to_string(name)?);
        json.push(':');
        json.push_str(value.get());
    }
    json.push('}');
    RawValue::from_string(json)
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
        assert_eq!(
            batch.items[0].json().get(),
            r#"{"a":{"id":9},"id":"x"}"#,
            "the first counts"
        );
    }

    #[test]
    fn metadata_is_no_part_of_a_record() {
        let json = r#"[{"_nango_metadata":{"cursor":"x"},"id": "1", "s\"":[ 1 ]}]"#;
        assert_eq!(
            Batch::parse(json).unwrap().items[0].json().get(),
            r#"{"id":"1","s\"":[ 1 ]}"#
        );
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

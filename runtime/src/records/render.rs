//! Records as the API gives them: the record's own JSON, to the byte, with the member `_nango_metadata` at its end.

use std::fmt::Write;
use std::mem::take;

use crate::model::{Record, RecordAction};

/// What `_nango_metadata` adds to a record at most, and a comma.
const METADATA_BYTES_MAX: usize = 320;
/// A piece of a page's text ends with the record that makes it this long.
const PIECE_BYTES: usize = 64 << 10;

/// Appends a record with its `_nango_metadata`. The record's text is copied once and not parsed.
pub(super) fn render(record: &Record, out: &mut String) {
    let own = record.data.get().trim_ascii();
    out.reserve(own.len() + METADATA_BYTES_MAX);
    let own = own.strip_suffix('}').unwrap_or("{").trim_ascii_end();
    out.push_str(own);
    if own.len() > 1 {
        out.push(',');
    }
    out.push_str(r#""_nango_metadata":{"first_seen_at":"#);
    push_time(Some(record.first_seen_at_us), out);
    out.push_str(r#","last_modified_at":"#);
    push_time(Some(record.modified_at_us), out);
    out.push_str(match record.action {
        RecordAction::Added => r#","last_action":"ADDED","deleted_at":"#,
        RecordAction::Updated => r#","last_action":"UPDATED","deleted_at":"#,
        RecordAction::Deleted => r#","last_action":"DELETED","deleted_at":"#,
    });
    push_time(record.deleted_at_us, out);
    out.push_str(r#","pruned_at":"#);
    push_time(record.pruned_at_us, out);
    // The cursor is of letters, digits, `-` and `_`.
    out.push_str(r#","cursor":""#);
    out.push_str(&record.cursor);
    out.push_str("\"}}");
}

/// How records stand one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordForm {
    /// With commas between, as in a JSON array.
    Elements,
    /// Each a line of NDJSON.
    Lines,
}

/// Records one after the other as text, in pieces: a large page is in memory once, does not move as it grows, and goes as it is sent.
#[derive(Debug, Default)]
pub struct RenderedRecords {
    pieces: Vec<String>,
    last: String,
    pub next_cursor: Option<String>,
}

impl RenderedRecords {
    pub(super) fn push(&mut self, record: &Record, form: RecordForm) {
        match form {
            RecordForm::Elements => self.push_element(record),
            RecordForm::Lines => self.push_line(record),
        }
    }

    fn begin_record(&mut self) {
        if self.last.len() >= PIECE_BYTES {
            let room = String::with_capacity(self.last.capacity());
            self.pieces.push(std::mem::replace(&mut self.last, room));
        }
    }

    fn push_element(&mut self, record: &Record) {
        let is_first = self.last.is_empty();
        self.begin_record();
        if !is_first {
            self.last.push(',');
        }
        render(record, &mut self.last);
    }

    fn push_line(&mut self, record: &Record) {
        self.begin_record();
        let start = self.last.len();
        render(record, &mut self.last);
        // Between the tokens of a record that was saved with line breaks; within strings they are escaped.
        if self.last.get(start..).is_some_and(|line| line.contains(['\n', '\r'])) {
            let line = self.last.split_off(start).replace(['\n', '\r'], " ");
            self.last.push_str(&line);
        }
        self.last.push('\n');
    }

    /// What was pushed, nothing around it.
    pub fn into_pieces(self) -> impl Iterator<Item = String> {
        self.pieces.into_iter().chain([self.last])
    }

    /// The body of `GET /records`: `{"next_cursor":…,"records":[…]}`; nearly always of one piece.
    #[must_use]
    pub fn into_document(mut self) -> Vec<String> {
        // As a JSON value it is quoted rightly, whatever it holds.
        let next_cursor = serde_json::Value::from(take(&mut self.next_cursor));
        let mut pieces: Vec<String> = self.into_pieces().collect();
        if let Some(first) = pieces.first_mut() {
            first.insert_str(0, &format!(r#"{{"next_cursor":{next_cursor},"records":["#));
        }
        if let Some(last) = pieces.last_mut() {
            last.push_str("]}");
        }
        pieces
    }
}

/// A JSON object from id to record.
pub(super) fn render_by_id(records: &[Record]) -> String {
    let mut out = String::from("{");
    for (index, record) in records.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(&serde_json::Value::from(record.external_id.as_str()).to_string());
        out.push(':');
        render(record, &mut out);
    }
    out.push('}');
    out
}

/// `"2026-11-22T11:21:53.999876+00:00"`: microseconds and an offset, as Nango writes times.
fn push_time(at_us: Option<i64>, out: &mut String) {
    let timestamp = at_us.and_then(|at_us| jiff::Timestamp::from_microsecond(at_us).ok());
    let Some(timestamp) = timestamp else {
        out.push_str("null");
        return;
    };
    let time = jiff::tz::Offset::UTC.to_datetime(timestamp);
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "\"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}+00:00\"",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.subsec_nanosecond() / 1_000,
    );
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn record(data: &str) -> Record {
        Record {
            external_id: "a\"b".to_owned(),
            data: RawValue::from_string(data.to_owned()).unwrap(),
            first_seen_at_us: 1_795_346_513_999_876,
            modified_at_us: 1_795_346_514_000_000,
            deleted_at_us: None,
            pruned_at_us: None,
            action: RecordAction::Updated,
            cursor: "cjE".to_owned(),
        }
    }

    #[test]
    fn metadata_follows_the_own_members() {
        let mut out = String::new();
        render(&record(r#"{"id":"1", "x": {} }"#), &mut out);
        assert_eq!(
            out,
            r#"{"id":"1", "x": {},"_nango_metadata":{"first_seen_at":"2026-11-22T11:21:53.999876+00:00","last_modified_at":"2026-11-22T11:21:54.000000+00:00","last_action":"UPDATED","deleted_at":null,"pruned_at":null,"cursor":"cjE"}}"#
        );
    }

    #[test]
    fn every_rendering_is_json() {
        let deleted = Record {
            deleted_at_us: Some(0),
            action: RecordAction::Deleted,
            ..record("{ }")
        };
        let records = [record(r#"{"id":1}"#), deleted];
        let mut page = RenderedRecords {
            next_cursor: Some("x".to_owned()),
            ..RenderedRecords::default()
        };
        for record in &records {
            page.push(record, RecordForm::Elements);
        }
        let rendered: serde_json::Value = serde_json::from_str(&page.into_document().concat()).unwrap();
        assert_eq!(rendered["next_cursor"], "x");
        assert_eq!(
            rendered["records"][1]["_nango_metadata"]["deleted_at"],
            "1970-01-01T00:00:00.000000+00:00"
        );
        let by_id: serde_json::Value = serde_json::from_str(&render_by_id(&records[..1])).unwrap();
        assert_eq!(by_id["a\"b"]["id"], 1);
        let empty = RenderedRecords::default().into_document().concat();
        assert_eq!(empty, r#"{"next_cursor":null,"records":[]}"#);
    }

    #[test]
    fn a_large_page_is_one_document_of_pieces() {
        let large = format!(r#"{{"id":"1","text":"{}"}}"#, "x".repeat(PIECE_BYTES));
        let mut page = RenderedRecords {
            next_cursor: Some("a\"b".to_owned()),
            ..RenderedRecords::default()
        };
        for json in [&large, r#"{"id":"2"}"#, &large] {
            page.push(&record(json), RecordForm::Elements);
        }
        let pieces = page.into_document();
        assert_eq!(
            pieces.len(),
            2,
            "the small one begins a piece and the last large one ends it"
        );
        let document: serde_json::Value = serde_json::from_str(&pieces.concat()).unwrap();
        assert_eq!(document["next_cursor"], "a\"b");
        assert_eq!(document["records"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn a_record_is_a_line() {
        let mut page = RenderedRecords::default();
        for json in ["{\n \"id\": \"a\\nb\"\r\n}", r#"{"id":"2"}"#] {
            page.push(&record(json), RecordForm::Lines);
        }
        let text: String = page.into_pieces().collect();
        let parsed: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&parsed[0]["id"], &parsed[1]["id"]), (&"a\nb".into(), &"2".into()));
    }
}

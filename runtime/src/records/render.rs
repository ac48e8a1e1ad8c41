//! Records as the API gives them: the record's own JSON, to the byte, with the member `_nango_metadata` at its end.

use std::fmt::Write;

use crate::model::{Record, RecordAction};
use crate::store::RecordPage;

/// What `_nango_metadata` adds to a record at most, and a comma.
const METADATA_BYTES_MAX: usize = 320;

/// Appends a record with its `_nango_metadata`. The record's text is copied once and not parsed.
pub fn render(record: &Record, out: &mut String) {
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

/// The body of `GET /records`: `{"next_cursor":…,"records":[…]}`.
#[must_use]
pub fn render_page(page: &RecordPage) -> String {
    let own_len: usize = page.records.iter().map(|record| record.data.get().len()).sum();
    let mut out = String::with_capacity(own_len + page.records.len() * METADATA_BYTES_MAX + 128);
    match &page.next_cursor {
        Some(cursor) => {
            out.push_str(r#"{"next_cursor":""#);
            out.push_str(cursor);
            out.push_str(r#"","records":["#);
        }
        None => out.push_str(r#"{"next_cursor":null,"records":["#),
    }
    for (index, record) in page.records.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        render(record, &mut out);
    }
    out.push_str("]}");
    out
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
        let page = RecordPage {
            records: vec![record(r#"{"id":1}"#), deleted],
            next_cursor: Some("x".to_owned()),
        };
        let rendered: serde_json::Value = serde_json::from_str(&render_page(&page)).unwrap();
        assert_eq!(rendered["next_cursor"], "x");
        assert_eq!(
            rendered["records"][1]["_nango_metadata"]["deleted_at"],
            "1970-01-01T00:00:00.000000+00:00"
        );
        let by_id: serde_json::Value = serde_json::from_str(&render_by_id(&page.records[..1])).unwrap();
        assert_eq!(by_id["a\"b"]["id"], 1);
        let empty = RecordPage {
            records: Vec::new(),
            next_cursor: None,
        };
        assert_eq!(render_page(&empty), r#"{"next_cursor":null,"records":[]}"#);
    }
}

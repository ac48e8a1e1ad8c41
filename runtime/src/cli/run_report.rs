//! What a run did or would have done, for people. The server tells it; `dryrun`, `dev` and `replay` show it.

use serde_json::Value;

use super::output::{printable, text_at};
use super::waterfall::{self, milliseconds};
use crate::recording::Effects;

/// Records of one model shown whole; the number of the others is said.
const RECORDS_SHOWN_MAX: usize = 3;
/// Characters of one record or output.
const VALUE_CHARS_MAX: usize = 2_000;

/// Requests, log lines, records, checkpoint, output.
pub fn render(report: &Value) -> String {
    let effects: Effects = report
        .get("effects")
        .and_then(|effects| serde_json::from_value(effects.clone()).ok())
        .unwrap_or_default();
    let mut out = String::new();
    if !effects.requests.is_empty() {
        out.push_str(&format!("Requests: {}\n", effects.requests.len()));
        out.push_str(&waterfall::render(&effects.requests));
    }
    if !effects.logs.is_empty() {
        out.push_str("Log:\n");
        for line in &effects.logs {
            out.push_str(&format!("  {:5} {}\n", line.level, printable(&line.message)));
        }
    }
    for (model, records) in &effects.records {
        let lists = [
            ("saved", &records.saved),
            ("updated", &records.updated),
            ("deleted", &records.deleted),
        ];
        for (what, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            out.push_str(&format!("{model}: {} {what}\n", list.len()));
            for record in list.iter().take(RECORDS_SHOWN_MAX) {
                out.push_str(&format!("  {}\n", short(record)));
            }
            if list.len() > RECORDS_SHOWN_MAX {
                out.push_str(&format!(
                    "  … and {} more (--json shows all)\n",
                    list.len() - RECORDS_SHOWN_MAX
                ));
            }
        }
    }
    if let Some(after) = &effects.checkpoint_after {
        let shown = |json: &Option<String>| json.as_deref().map_or("none".to_owned(), printable);
        let before = effects
            .checkpoint_before
            .as_ref()
            .and_then(|before| before.json.clone());
        out.push_str(&format!("Checkpoint: {} → {}\n", shown(&before), shown(&after.json)));
    }
    if let Some(metadata) = &effects.metadata {
        out.push_str(&format!("Metadata: {}\n", short(metadata)));
    }
    if report.get("complete") == Some(&Value::Bool(false)) {
        out.push_str("The run was longer than is recorded: its end is missing above.\n");
    }
    let duration_us = report.get("duration_us").and_then(Value::as_u64).unwrap_or_default();
    match report.get("success") {
        Some(Value::Bool(true)) => {
            let output = report.get("output").unwrap_or(&Value::Null);
            if !output.is_null() {
                out.push_str(&format!("Output: {output:#}\n"));
            }
            out.push_str(&format!("Succeeded in {}\n", milliseconds(duration_us)));
        }
        _ => out.push_str(&format!(
            "Failed after {}: {} ({})\n",
            milliseconds(duration_us),
            printable(&text_at(report, "/error/message")),
            text_at(report, "/error/code")
        )),
    }
    out
}

fn short(value: &Value) -> String {
    let text = printable(&value.to_string());
    if text.chars().count() <= VALUE_CHARS_MAX {
        return text;
    }
    let mut cut: String = text.chars().take(VALUE_CHARS_MAX).collect();
    cut.push('…');
    cut
}

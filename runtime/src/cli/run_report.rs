//! What a run did or would have done, for people. The server tells it; `dryrun`, `dev` and `replay` show it.

use serde_json::Value;

use super::output::{printable, text_at};
use super::waterfall::{self, milliseconds};
use crate::recording::{Effects, ModelEffects};

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
        out.push_str(&of_model(model, records));
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

/// `Issue: 3 saved, 1 deleted (2 added, 1 unchanged, 1 deleted)`, and the first records of each.
fn of_model(model: &str, effects: &ModelEffects) -> String {
    let lists = [
        ("saved", &effects.saved),
        ("updated", &effects.updated),
        ("deleted", &effects.deleted),
    ];
    let said = |counts: &[(&str, usize)]| {
        let counts = counts.iter().filter(|(_, count)| *count > 0);
        let counts: Vec<String> = counts.map(|(what, count)| format!("{count} {what}")).collect();
        if counts.is_empty() {
            "none".to_owned()
        } else {
            counts.join(", ")
        }
    };
    let counts = &effects.counts;
    let came = [
        ("added", counts.added),
        ("updated", counts.updated),
        ("deleted", counts.deleted),
        ("unchanged", counts.unchanged),
    ];
    let came = came.map(|(what, count)| (what, usize::try_from(count).unwrap_or(usize::MAX)));
    let mut out = format!(
        "{model}: {} ({})\n",
        said(&lists.map(|(what, list)| (what, list.len()))),
        said(&came)
    );
    for (what, list) in lists {
        for record in list.iter().take(RECORDS_SHOWN_MAX) {
            out.push_str(&format!("  {what:7} {}\n", short(record)));
        }
        if list.len() > RECORDS_SHOWN_MAX {
            let more = list.len() - RECORDS_SHOWN_MAX;
            out.push_str(&format!("  {what:7} … and {more} more (--json shows all)\n"));
        }
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

//! How operations and messages look: as rows of a table, and as single lines while they come.

use serde_json::Value;

use crate::cli::output::{self, Output, list_at, printable, text_at};

pub(super) fn operations_table(answer: &Value) -> String {
    let row = |operation: &Value| {
        let text = |at| text_at(operation, at);
        [
            text("/id"),
            text("/started_at"),
            text("/type"),
            text("/state"),
            subject(operation),
            took(operation),
            text("/message"),
        ]
    };
    let rows: Vec<[String; 7]> = list_at(answer, "/data").iter().map(row).collect();
    let heading = ["operation", "started", "type", "state", "for", "took", "message"];
    output::table(heading, &rows, "No operations")
}

/// One operation as it is told while following: what is running is told again when it has ended.
pub(super) fn operation(item: &Value, output: Output) -> String {
    if output.json {
        return item.to_string();
    }
    let text = |at| text_at(item, at);
    let state = format!("{:<7}", text("/state"));
    let kind = format!("{:<13}", text("/type"));
    let at = match text("/ended_at") {
        none if none.is_empty() => text("/started_at"),
        ended => ended,
    };
    line(&[
        at,
        text("/id"),
        state,
        kind,
        subject(item),
        took(item),
        text("/message"),
    ])
}

pub(super) fn message(item: &Value, output: Output) -> String {
    if output.json {
        return item.to_string();
    }
    let text = |at| text_at(item, at);
    let level = format!("{:<5}", text("/level"));
    // What the runtime says is whole in its text; what a function says may be in its fields.
    let fields = match text("/source").as_str() {
        "user" => text("/fields"),
        _ => String::new(),
    };
    line(&[text("/created_at"), level, text("/message"), fields])
}

/// Parts that are not empty, in one line.
fn line(parts: &[String]) -> String {
    let parts: Vec<String> = parts
        .iter()
        .filter(|part| !part.is_empty())
        .map(|part| printable(part))
        .collect();
    parts.join("  ").trim_end().to_owned()
}

/// Integration, connection and function.
fn subject(operation: &Value) -> String {
    let parts = ["/provider_config_key", "/connection_id", "/function"].map(|at| text_at(operation, at));
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

fn took(operation: &Value) -> String {
    let duration_us = operation.get("duration_us").and_then(Value::as_i64);
    duration_us.map_or_else(String::new, |duration_us| {
        format!("{}.{} ms", duration_us / 1_000, duration_us % 1_000 / 100)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn whoami() -> Value {
        json!({
            "id": "op_1", "type": "action:run", "state": "success", "provider_config_key": "github",
            "connection_id": "c", "function": "whoami", "message": "", "duration_us": 1_250,
            "started_at": "2026-01-01T00:00:00.000Z", "ended_at": "2026-01-01T00:00:00.001Z",
        })
    }

    #[test]
    fn an_operation_in_one_row() {
        let expected = "\
OPERATION  STARTED                   TYPE        STATE    FOR              TOOK    MESSAGE
op_1       2026-01-01T00:00:00.000Z  action:run  success  github c whoami  1.2 ms
";
        assert_eq!(operations_table(&json!({"data": [whoami()]})), expected);
    }

    #[test]
    fn an_operation_in_one_line_for_people_and_for_machines() {
        let people = Output { json: false };
        assert_eq!(
            operation(&whoami(), people),
            "2026-01-01T00:00:00.001Z  op_1  success  action:run     github c whoami  1.2 ms"
        );
        let line = operation(&whoami(), Output { json: true });
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), whoami());
    }

    #[test]
    fn a_message_cannot_steer_the_terminal() {
        let item = json!({"created_at": "now", "level": "warn", "source": "user", "message": "a\u{1b}[2J\nb", "fields": {"n": 1}});
        assert_eq!(message(&item, Output { json: false }), "now  warn   a [2J b  {\"n\":1}");
    }
}

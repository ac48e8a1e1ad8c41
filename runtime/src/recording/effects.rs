//! What a run did, or would have done: records by model, checkpoint, metadata, log lines, requests. Read off the calls of a recording,
//! so that a dry run, a test and a replay mean the same by it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Call, Exchange, Outcome, Position, Recording, Request, import};
use crate::model::{Counts, JsonObject};

/// In the order of the calls, where order says something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Effects {
    pub records: BTreeMap<String, ModelEffects>,
    /// Before the run; none when the function did not ask and nobody else knows.
    pub checkpoint_before: Option<Position>,
    /// After the last save or clear; none when there was neither.
    pub checkpoint_after: Option<Position>,
    /// After the last change; none when there was none.
    pub metadata: Option<Value>,
    pub logs: Vec<LogLine>,
    pub requests: Vec<RequestLine>,
}

/// What happened to one model: the records of all successful calls, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelEffects {
    /// As the function was told.
    #[serde(default)]
    pub counts: Counts,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub saved: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub updated: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    pub level: String,
    pub message: String,
}

/// A request and how long it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestLine {
    pub method: String,
    pub path: String,
    /// None when there was no answer.
    pub status: Option<u16>,
    /// Why there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Since the run began.
    pub started_us: u64,
    pub took_us: u64,
}

impl Effects {
    #[must_use]
    pub fn of(recording: &Recording) -> Self {
        let mut effects = Self {
            checkpoint_before: recording.subject.checkpoint.clone(),
            ..Self::default()
        };
        let mut metadata = recording.subject.metadata.clone();
        for call in &recording.calls {
            effects.add(call, &mut metadata);
        }
        effects
    }

    fn add(&mut self, call: &Call, metadata: &mut JsonObject) {
        if call.import == import::LOG {
            self.logs.push(LogLine {
                level: text(&call.arguments, "level"),
                message: text(&call.arguments, "message"),
            });
            return;
        }
        if matches!(call.import.as_ref(), import::REQUEST | import::FETCH) {
            self.requests.extend(request_line(call));
            return;
        }
        // What was refused had no effect.
        let Some(Outcome::Ok(result)) = &call.result else {
            return;
        };
        match call.import.as_ref() {
            import::BATCH_SAVE => self.records_of(call, |model| &mut model.saved),
            import::BATCH_UPDATE => self.records_of(call, |model| &mut model.updated),
            // Which records it deleted only the store knows; how many is told.
            import::TRACK_DELETES_END => {
                self.records_of(call, |model| &mut model.deleted);
                let last = self.checkpoint_after.as_ref().or(self.checkpoint_before.as_ref());
                if last.is_some_and(|position| position.json.is_some()) {
                    self.checkpoint_after = Some(Position { json: None });
                }
            }
            import::BATCH_DELETE => self.records_of(call, |model| &mut model.deleted),
            import::CHECKPOINT if self.checkpoint_before.is_none() && self.checkpoint_after.is_none() => {
                let json = result.as_str().map(str::to_owned);
                self.checkpoint_before = Some(Position { json });
            }
            import::SAVE_CHECKPOINT => {
                let json = Some(text(&call.arguments, "checkpoint"));
                self.checkpoint_after = Some(Position { json });
            }
            import::CLEAR_CHECKPOINT => self.checkpoint_after = Some(Position { json: None }),
            import::SET_METADATA | import::UPDATE_METADATA => {
                let Some(changes) = call.arguments.get("metadata").and_then(Value::as_object) else {
                    return;
                };
                if call.import == import::SET_METADATA {
                    metadata.clear();
                }
                metadata.extend(changes.clone());
                self.metadata = Some(Value::Object(metadata.clone()));
            }
            _ => {}
        }
    }

    fn records_of(&mut self, call: &Call, list: impl FnOnce(&mut ModelEffects) -> &mut Vec<Value>) {
        let model = self.records.entry(text(&call.arguments, "model")).or_default();
        if let Some(records) = call.arguments.get("records").and_then(Value::as_array) {
            list(model).extend(records.iter().cloned());
        }
        if let Some(Outcome::Ok(result)) = &call.result
            && let Ok(counts) = serde_json::from_value(result.clone())
        {
            model.counts += counts;
        }
    }
}

/// One of the lists of a model.
pub(super) type List = fn(&ModelEffects) -> &Vec<Value>;

/// The id of a record as text.
pub(super) fn id_of(record: &Value) -> String {
    match record.get("id") {
        Some(Value::String(id)) => id.clone(),
        Some(id) => id.to_string(),
        None => record.to_string(),
    }
}

fn request_line(call: &Call) -> Option<RequestLine> {
    let request: Request = serde_json::from_value(call.arguments.clone()).ok()?;
    let (status, error) = match &call.result {
        Some(Outcome::Ok(value)) => {
            let exchange: Option<Exchange> = serde_json::from_value(value.clone()).ok();
            (exchange.map(|exchange| exchange.status), None)
        }
        Some(Outcome::Error(error)) => (None, Some(format!("{}: {}", error.code, error.message))),
        Some(Outcome::Trap(message)) => (None, Some(message.clone())),
        None => (None, Some("not waited for".to_owned())),
    };
    let line = request.line();
    let path = line.split_once(' ').map_or("", |(_, path)| path).to_owned();
    Some(RequestLine {
        method: request.method,
        path,
        status,
        error,
        started_us: call.started_us,
        took_us: call.took_us,
    })
}

fn text(arguments: &Value, name: &str) -> String {
    arguments
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

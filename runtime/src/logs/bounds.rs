//! How large a message may be, and how many an operation may have. What is more is cut, and says so.

use std::collections::HashMap;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{FIELDS_BYTES_MAX, LogOptions, TEXT_BYTES_MAX};
use crate::model::log::Source;
use crate::model::{Level, Message, OperationId};

/// Stands behind what was cut.
const CUT_MARK: &str = "… (cut)";
/// Texts within fields that are too large together are cut to this.
const FIELD_TEXT_BYTES_MAX: usize = 1_024;
/// Operations whose use is remembered; beyond that all begin anew.
const OPERATIONS_KNOWN_MAX: usize = 100_000;

/// Shortens to `bytes_max` and a mark, at a character's boundary.
pub(super) fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push_str(CUT_MARK);
    }
}

/// Cuts what is too long. To be done when secrets are masked already: half a secret is not recognised.
pub(super) fn bound(message: &mut Message) {
    cut(&mut message.text, TEXT_BYTES_MAX);
    if let Some(fields) = &message.fields
        && fields.get().len() > FIELDS_BYTES_MAX
    {
        message.fields = Message::fields(&shortened(fields));
    }
}

/// The fields with their texts cut, or if that does not do, what is said in their place.
fn shortened(fields: &RawValue) -> Value {
    let mut shortened = serde_json::from_str(fields.get()).unwrap_or_default();
    cut_texts(&mut shortened);
    let bytes = shortened.to_string().len();
    if bytes <= FIELDS_BYTES_MAX {
        return shortened;
    }
    json!({ "cut": format!("fields of {bytes} bytes are left out; at most {FIELDS_BYTES_MAX} are kept") })
}

/// What a message takes in memory and in the database, about.
pub(super) fn bytes(message: &Message) -> usize {
    message.text.len() + message.fields.as_deref().map_or(0, |fields| fields.get().len())
}

fn cut_texts(value: &mut Value) {
    match value {
        Value::String(text) => cut(text, FIELD_TEXT_BYTES_MAX),
        Value::Array(items) => items.iter_mut().for_each(cut_texts),
        Value::Object(object) => object.values_mut().for_each(cut_texts),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What the operations under way have logged so far.
pub(super) struct Usage {
    operations: HashMap<OperationId, Used>,
    messages_max: usize,
    bytes_max: usize,
}

#[derive(Default)]
struct Used {
    messages: usize,
    bytes: usize,
    full: bool,
}

impl Usage {
    pub(super) fn new(options: &LogOptions) -> Self {
        Self {
            operations: HashMap::new(),
            messages_max: options.operation_messages_max,
            bytes_max: options.operation_bytes_max,
        }
    }

    /// The message, bounded, or at the operation's limit a notice in its place, and then nothing.
    pub(super) fn admit(&mut self, mut message: Message) -> Option<Message> {
        bound(&mut message);
        if self.operations.len() >= OPERATIONS_KNOWN_MAX && !self.operations.contains_key(&message.operation_id) {
            self.operations.clear();
        }
        let used = self.operations.entry(message.operation_id.clone()).or_default();
        if used.full {
            return None;
        }
        used.messages += 1;
        used.bytes += bytes(&message);
        if used.messages <= self.messages_max && used.bytes <= self.bytes_max {
            return Some(message);
        }
        used.full = true;
        Some(Message {
            level: Level::Warn,
            source: Source::Internal,
            text: format!(
                "The operation has as many messages as are kept (`limits.log_operation_messages` = {}, `limits.log_operation_bytes` = {}): further ones are left out",
                self.messages_max, self.bytes_max
            ),
            fields: None,
            ..message
        })
    }

    /// To be called when an operation has ended and its messages are written.
    pub(super) fn forget(&mut self, id: &OperationId) {
        self.operations.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "calls read better with the value in place")]
    fn message(text: String, fields: Option<Value>) -> Message {
        Message {
            operation_id: "op_1".into(),
            created_at_us: 1,
            level: Level::Info,
            source: Source::User,
            text,
            fields: fields.as_ref().and_then(Message::fields),
        }
    }

    fn fields(message: &Message) -> Value {
        serde_json::from_str(message.fields.as_ref().unwrap().get()).unwrap()
    }

    #[test]
    fn cuts_between_characters() {
        let mut text = "aéé".to_owned();
        cut(&mut text, 5);
        assert_eq!(text, "aéé");
        cut(&mut text, 4);
        assert_eq!(text, "aé… (cut)");
    }

    #[test]
    fn a_message_is_bounded_with_its_fields() {
        let long = "x".repeat(FIELDS_BYTES_MAX);
        let mut large = message(long.clone(), Some(json!({"a": long, "b": "short"})));
        bound(&mut large);
        let cut = fields(&large);
        assert!(large.text.len() <= TEXT_BYTES_MAX + CUT_MARK.len());
        assert_eq!(cut["b"], "short");
        assert!(cut["a"].as_str().unwrap().ends_with(CUT_MARK));
        let many: Vec<String> = (0..20_000).map(|number| number.to_string()).collect();
        let mut large = message(String::new(), Some(json!({ "many": many })));
        bound(&mut large);
        assert!(fields(&large)["cut"].as_str().unwrap().contains("left out"));
    }

    #[test]
    fn an_operation_is_bounded_and_says_so_once() {
        let options = LogOptions {
            operation_messages_max: 500,
            operation_bytes_max: 100_000,
            ..LogOptions::default()
        };
        let mut usage = Usage::new(&options);
        let admitted: Vec<Message> = (0..510)
            .filter_map(|number| usage.admit(message(number.to_string(), None)))
            .collect();
        assert_eq!(admitted.len(), 501);
        assert!(admitted.last().unwrap().text.contains("further ones are left out"));
        usage.forget(&"op_1".into());
        assert!(usage.admit(message("anew".to_owned(), None)).is_some());

        let text = "x".repeat(TEXT_BYTES_MAX);
        let mut usage = Usage::new(&options);
        let admitted = (0..500).filter_map(|_| usage.admit(message(text.clone(), None)));
        let bytes: usize = admitted.map(|message| bytes(&message)).sum();
        assert!(bytes <= options.operation_bytes_max + 1_000, "{bytes}");
    }
}

//! What a checkpoint may be: small and flat, because it is written on every page of a sync. Pure.

use serde_json::Value;

use crate::model::JsonObject;

const FIELDS_MAX: usize = 16;
const NAME_CHARS_MAX: usize = 255;
const TEXT_CHARS_MAX: usize = 4_000;
/// The whole checkpoint as JSON text.
const CHECKPOINT_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CheckpointFault {
    #[error("a checkpoint must be a JSON object: {reason}")]
    NoObject { reason: String },
    #[error("a checkpoint has at most {FIELDS_MAX} fields; this one has {fields}")]
    TooManyFields { fields: usize },
    #[error("the name of a field has {chars} characters; at most {NAME_CHARS_MAX} are allowed")]
    NameTooLong { chars: usize },
    #[error("field {field:?} has {chars} characters; at most {TEXT_CHARS_MAX} are allowed")]
    TextTooLong { field: String, chars: usize },
    #[error("field {field:?} is {kind}: only strings, numbers and booleans are allowed")]
    WrongType { field: String, kind: &'static str },
    #[error("the checkpoint has {bytes} bytes; at most {CHECKPOINT_BYTES_MAX} are allowed")]
    TooLarge { bytes: usize },
}

/// Gives the checkpoint as it is stored: without white space, of a repeated name the last.
pub(super) fn check(json: &str) -> Result<String, CheckpointFault> {
    let bytes = json.len();
    if bytes > CHECKPOINT_BYTES_MAX {
        return Err(CheckpointFault::TooLarge { bytes });
    }
    let checkpoint: JsonObject = serde_json::from_str(json).map_err(|error| CheckpointFault::NoObject {
        reason: error.to_string(),
    })?;
    let fields = checkpoint.len();
    if fields > FIELDS_MAX {
        return Err(CheckpointFault::TooManyFields { fields });
    }
    for (name, value) in &checkpoint {
        check_field(name, value)?;
    }
    Ok(Value::Object(checkpoint).to_string())
}

fn check_field(name: &str, value: &Value) -> Result<(), CheckpointFault> {
    let chars = name.chars().count();
    if chars > NAME_CHARS_MAX {
        return Err(CheckpointFault::NameTooLong { chars });
    }
    let wrong = |kind| {
        Err(CheckpointFault::WrongType {
            field: name.to_owned(),
            kind,
        })
    };
    match value {
        Value::Bool(_) | Value::Number(_) => Ok(()),
        Value::String(text) => match text.chars().count() {
            chars if chars > TEXT_CHARS_MAX => Err(CheckpointFault::TextTooLong {
                field: name.to_owned(),
                chars,
            }),
            _ => Ok(()),
        },
        Value::Null => wrong("null"),
        Value::Array(_) => wrong("an array"),
        Value::Object(_) => wrong("an object"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(json: &str) -> String {
        check(json).unwrap_err().to_string()
    }

    #[test]
    fn takes_what_is_flat() {
        assert_eq!(
            check(r#"{ "page": 2, "done": false, "at": "x" }"#).unwrap().len(),
            r#"{"page":2,"done":false,"at":"x"}"#.len()
        );
        assert_eq!(check("{}").unwrap(), "{}");
    }

    #[test]
    fn names_field_and_limit() {
        assert_eq!(
            fault(r#"{"a":null}"#),
            "field \"a\" is null: only strings, numbers and booleans are allowed"
        );
        assert_eq!(
            fault(r#"{"a":{}}"#),
            "field \"a\" is an object: only strings, numbers and booleans are allowed"
        );
        let long = format!(r#"{{"a":"{}"}}"#, "ü".repeat(4_001));
        assert_eq!(
            fault(&long),
            "field \"a\" has 4001 characters; at most 4000 are allowed"
        );
        let name = format!(r#"{{"{}":1}}"#, "n".repeat(256));
        assert_eq!(
            fault(&name),
            "the name of a field has 256 characters; at most 255 are allowed"
        );
        let many = serde_json::to_string(
            &(0..17)
                .map(|i| (i.to_string(), i))
                .collect::<std::collections::BTreeMap<_, _>>(),
        );
        assert_eq!(
            fault(&many.unwrap()),
            "a checkpoint has at most 16 fields; this one has 17"
        );
        assert!(fault("[]").starts_with("a checkpoint must be a JSON object: "));
        assert_eq!(
            fault(&" ".repeat(65_537)),
            "the checkpoint has 65537 bytes; at most 65536 are allowed"
        );
    }
}

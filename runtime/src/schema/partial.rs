//! The schema of what is merged into a value that fits already. What is given must fit; what is left out is there.

use serde_json::Value;

/// The schema without what it requires to be there, at every depth: a merge goes into objects. Of alternatives several may fit
/// then, so that `oneOf` becomes `anyOf`.
pub(super) fn of(schema: &Value) -> Value {
    let mut partial = schema.clone();
    loosen(&mut partial);
    partial
}

/// Depth is bounded by the JSON parser the schema came from.
fn loosen(schema: &mut Value) {
    match schema {
        Value::Object(keywords) => {
            // A property of this name has a schema, which is no array.
            if keywords.get("required").is_some_and(Value::is_array) {
                keywords.remove("required");
            }
            if keywords
                .get("dependentRequired")
                .is_some_and(|names| !is_schema_of_property(names))
            {
                keywords.remove("dependentRequired");
            }
            if keywords.get("oneOf").is_some_and(Value::is_array)
                && !keywords.contains_key("anyOf")
                && let Some(alternatives) = keywords.remove("oneOf")
            {
                keywords.insert("anyOf".to_owned(), alternatives);
            }
            for (name, value) in keywords.iter_mut() {
                // These hold values, not schemas.
                if !matches!(name.as_str(), "enum" | "const" | "default" | "examples") {
                    loosen(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(loosen),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The keyword holds arrays of names.
fn is_schema_of_property(names: &Value) -> bool {
    names
        .as_object()
        .is_none_or(|names| !names.values().all(Value::is_array))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_is_required_and_everything_given_must_fit() {
        let schema = json!({
            "type": "object", "required": ["id", "a"],
            "properties": {
                "id": {"type": "string"}, "required": {"type": "boolean"},
                "a": {"oneOf": [{"type": "object", "required": ["b"], "properties": {"b": {"const": {"required": ["x"]}}}}, {"type": "null"}]},
            },
        });
        let expected = json!({
            "type": "object",
            "properties": {
                "id": {"type": "string"}, "required": {"type": "boolean"},
                "a": {"anyOf": [{"type": "object", "properties": {"b": {"const": {"required": ["x"]}}}}, {"type": "null"}]},
            },
        });
        assert_eq!(of(&schema), expected);
    }
}

//! The webhook that a run is for, in a fixture: its input as people read and write it, headers and query as objects and a JSON body as
//! JSON, and as a run takes it. What either form cannot say in the other's words stays as it is.

use serde_json::{Map, Value};

/// Lists of pairs of the contract that are objects in a fixture.
const PAIRS: [&str; 2] = ["headers", "query"];

/// For a fixture.
pub(super) fn shown(mut input: Value) -> Value {
    if let Value::Object(input) = &mut input {
        for name in PAIRS {
            if let Some(object) = input.get(name).and_then(object) {
                input.insert(name.to_owned(), object);
            }
        }
        // As long as the same text comes of it again: signatures and hashes are over bytes.
        let body = input.get("body").and_then(Value::as_str).and_then(|text| {
            let body: Value = serde_json::from_str(text).ok()?;
            let written = body.to_string();
            ((body.is_object() || body.is_array()) && written == text).then_some(body)
        });
        if let Some(body) = body {
            input.insert("body".to_owned(), body);
        }
    }
    input
}

/// For a run.
pub(super) fn told(mut input: Value) -> Value {
    if let Value::Object(input) = &mut input {
        for name in PAIRS {
            if let Some(Value::Object(object)) = input.get(name) {
                let pairs = object.iter();
                let pairs = pairs.map(|(name, value)| Value::from(vec![Value::from(name.to_lowercase()), text(value)]));
                let pairs = pairs.collect();
                input.insert(name.to_owned(), Value::Array(pairs));
            }
        }
        input.entry("events").or_insert_with(|| Value::Array(Vec::new()));
        if let Some(body) = input.get("body").filter(|body| !body.is_string()) {
            let body = Value::from(body.to_string());
            input.insert("body".to_owned(), body);
        }
    }
    input
}

/// None when a name comes twice.
fn object(pairs: &Value) -> Option<Value> {
    let mut object = Map::new();
    for pair in pairs.as_array()? {
        let [name, value] = pair.as_array()?.as_slice() else {
            return None;
        };
        if object.insert(name.as_str()?.to_owned(), value.clone()).is_some() {
            return None;
        }
    }
    Some(Value::Object(object))
}

fn text(value: &Value) -> Value {
    match value {
        Value::String(_) => value.clone(),
        other => Value::from(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_shown_is_told_again() {
        let input = json!({
            "method": "POST", "query": [["a", "1"], ["a", "2"]], "headers": [["x-event", "push"]], "events": ["push"],
            "body": r#"{"a":[2],"b":1}"#,
        });
        let expected = json!({
            "method": "POST", "query": [["a", "1"], ["a", "2"]], "headers": {"x-event": "push"}, "events": ["push"],
            "body": {"a": [2], "b": 1},
        });
        assert_eq!(shown(input.clone()), expected);
        assert_eq!(told(shown(input.clone())), input);
        for body in ["{ \"a\": 1 }", "{\"b\":1,\"a\":2}", "1", "no JSON"] {
            let input = json!({"headers": [], "query": [], "events": [], "body": body});
            assert_eq!(told(shown(input.clone())), input, "{body}");
        }
        let by_hand = told(json!({"headers": {"X-Number": 1}, "body": {"a": 1}}));
        assert_eq!(
            by_hand,
            json!({"headers": [["x-number", "1"]], "events": [], "body": "{\"a\":1}"})
        );
    }
}

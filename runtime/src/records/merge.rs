//! Deep merge of JSON objects: objects are merged member by member, everything else (arrays and null too) is replaced.

use serde_json::Value;

use crate::model::JsonObject;

pub(super) fn merge(into: &mut JsonObject, patch: &JsonObject) {
    for (key, value) in patch {
        match (into.get_mut(key), value) {
            (Some(Value::Object(into)), Value::Object(patch)) => merge(into, patch),
            (Some(into), value) => *into = value.clone(),
            (None, value) => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_merged_and_the_rest_is_replaced() {
        let object = |json: &str| serde_json::from_str::<JsonObject>(json).unwrap();
        let mut into = object(r#"{"id":"1","a":{"x":1,"y":{"z":2}},"list":[1,2],"gone":5,"scalar":1}"#);
        let patch = object(r#"{"a":{"y":{"w":3}},"list":[9],"gone":null,"scalar":{"now":"object"},"new":true}"#);
        merge(&mut into, &patch);
        let expected =
            r#"{"id":"1","a":{"x":1,"y":{"z":2,"w":3}},"list":[9],"gone":null,"scalar":{"now":"object"},"new":true}"#;
        assert_eq!(into, object(expected));
    }
}

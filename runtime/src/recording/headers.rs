//! The headers of an answer in a fixture: an object, as Nango writes it, whose order is that of the answer; of a repeated name a list.

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub(super) Vec<(String, String)>);

impl Headers {
    pub(super) fn say_json(&self) -> bool {
        let mut headers = self.0.iter();
        headers.any(|(name, value)| name == "content-type" && value.contains("json"))
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (index, (name, _)) in self.0.iter().enumerate() {
            let same = |header: &&(String, String)| header.0 == *name;
            if self.0.iter().take(index).any(|header| header.0 == *name) {
                continue;
            }
            let values: Vec<&str> = self.0.iter().filter(same).map(|header| header.1.as_str()).collect();
            match values.as_slice() {
                [value] => map.serialize_entry(name, value)?,
                values => map.serialize_entry(name, values)?,
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Headers;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of headers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let mut headers = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    let name = name.to_ascii_lowercase();
                    match value {
                        Value::Array(values) => headers.extend(values.iter().map(|value| (name.clone(), text(value)))),
                        value => headers.push((name, text(&value))),
                    }
                }
                Ok(Headers(headers))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_repetition_survive() {
        let text = r#"{"z":"1","a":["2","3"],"m":4}"#;
        let headers: Headers = serde_json::from_str(text).unwrap();
        let pairs: Vec<(&str, &str)> = headers
            .0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(pairs, [("z", "1"), ("a", "2"), ("a", "3"), ("m", "4")]);
        assert_eq!(
            serde_json::to_string(&headers).unwrap(),
            r#"{"z":"1","a":["2","3"],"m":"4"}"#
        );
    }
}

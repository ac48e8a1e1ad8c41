//! Puts what a provider wants in every body (`proxy.body`) into the caller's: over the fields of a JSON object, after those of
//! a form. Other bodies are left alone. What the caller wrote keeps its spelling.

use std::fmt;

use bytes::Bytes;
use http::{HeaderValue, Method};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Body, ProxyError};
use crate::connections::Target;
use crate::model::JsonObject;
use crate::signing::query::encode;

/// A body with the provider's fields in it.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) bytes: Bytes,
    /// When the caller sent no body, and so did not say of which kind it is.
    pub(super) content_type: Option<HeaderValue>,
}

/// Whether requests of this method get the provider's fields.
pub(super) fn applies(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE)
}

/// None when the body stays as it is.
pub(super) fn merge(
    target: &Target,
    fields: &JsonObject,
    body: &Body,
    content_type: Option<&str>,
) -> Result<Option<Merged>, ProxyError> {
    let kind = Kind::of(content_type);
    let bytes = match body {
        Body::Empty => match kind {
            Some(Kind::Form) => Bytes::from(append_form("", fields)),
            None if content_type.is_some() => return Ok(None),
            Some(Kind::Multipart) => return Ok(None),
            Some(Kind::Json) | None => Bytes::from(Value::Object(fields.clone()).to_string()),
        },
        Body::Bytes(bytes) => match kind {
            Some(Kind::Json) => match merge_json(bytes, fields) {
                Some(merged) => merged.into(),
                None => return Ok(None),
            },
            Some(Kind::Form) => Bytes::from(append_form(&String::from_utf8_lossy(bytes), fields)),
            Some(Kind::Multipart) => match append_parts(bytes, content_type.unwrap_or_default(), fields) {
                Some(merged) => merged.into(),
                None => return Ok(None),
            },
            None => return Ok(None),
        },
        Body::Stream(_) if kind.is_some() => return Err(body_needed(target)),
        Body::Stream(_) => return Ok(None),
    };
    let untold = content_type.is_none();
    Ok(Some(Merged {
        bytes,
        content_type: untold.then(|| HeaderValue::from_static("application/json")),
    }))
}

/// The body had to be in memory.
pub(super) fn body_needed(target: &Target) -> ProxyError {
    ProxyError::BodyNeeded {
        provider: target.provider.name.clone(),
    }
}

pub(super) fn is_json(content_type: &str) -> bool {
    let media_type = media_type(content_type);
    media_type == "application/json" || media_type.ends_with("+json")
}

pub(super) fn is_form(content_type: &str) -> bool {
    media_type(content_type) == "application/x-www-form-urlencoded"
}

fn media_type(content_type: &str) -> String {
    let before = content_type.split(';').next().unwrap_or_default();
    before.trim().to_ascii_lowercase()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Form,
    Multipart,
}

impl Kind {
    fn of(content_type: Option<&str>) -> Option<Self> {
        let content_type = content_type?;
        if is_json(content_type) {
            Some(Self::Json)
        } else if is_form(content_type) {
            Some(Self::Form)
        } else if media_type(content_type) == "multipart/form-data" {
            Some(Self::Multipart)
        } else {
            None
        }
    }
}

/// None when the body is no JSON object.
fn merge_json(body: &[u8], fields: &JsonObject) -> Option<String> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let own = deserializer.deserialize_map(Entries).ok()?;
    deserializer.end().ok()?;
    let kept = own.into_iter().filter(|(key, _)| !fields.contains_key(key));
    let mut merged: Vec<String> = kept
        .map(|(key, value)| format!("{}:{}", Value::String(key), value.get()))
        .collect();
    merged.extend(
        fields
            .iter()
            .map(|(key, value)| format!("{}:{value}", Value::String(key.clone()))),
    );
    Some(format!("{{{}}}", merged.join(",")))
}

/// The entries of an object in their order, values as they are spelled.
struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

fn append_form(body: &str, fields: &JsonObject) -> String {
    let pairs = pairs(fields);
    let pairs = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    let own = (!body.is_empty()).then(|| body.to_owned());
    own.into_iter().chain(pairs).collect::<Vec<_>>().join("&")
}

/// Parts before the closing delimiter (RFC 7578). None when the body has none.
fn append_parts(body: &[u8], content_type: &str, fields: &JsonObject) -> Option<Vec<u8>> {
    let boundary = content_type.split(';').find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then(|| value.trim_matches('"'))
    })?;
    let closing = format!("--{boundary}--");
    let at = body
        .windows(closing.len())
        .rposition(|window| window == closing.as_bytes())?;
    let (before, after) = body.split_at_checked(at)?;
    let mut merged = before.to_vec();
    for (name, value) in pairs(fields) {
        let name = name.replace('"', "%22");
        let part = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        merged.extend(part.into_bytes());
    }
    merged.extend(after);
    Some(merged)
}

/// Names and values as a form has them: `auth[key]`, `list[0]`.
fn pairs(fields: &JsonObject) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (key, value) in fields {
        add_pairs(key, value, &mut pairs);
    }
    pairs
}

fn add_pairs(name: &str, value: &Value, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Object(object) => object
            .iter()
            .for_each(|(key, value)| add_pairs(&format!("{name}[{key}]"), value, pairs)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, value)| add_pairs(&format!("{name}[{index}]"), value, pairs)),
        Value::String(text) => pairs.push((name.to_owned(), text.clone())),
        Value::Number(_) | Value::Bool(_) => pairs.push((name.to_owned(), value.to_string())),
        Value::Null => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{api_key, provider, target};
    use super::*;
    use crate::proxy::ByteStream;

    fn merged(body: &Body, content_type: Option<&str>) -> Option<String> {
        let fields = json!({"key": "s&cret", "auth": {"id": 7}});
        let target = target(provider("https://api.test"), api_key("k"));
        let merged = merge(&target, fields.as_object().unwrap(), body, content_type).unwrap();
        merged.map(|merged| String::from_utf8(merged.bytes.to_vec()).unwrap())
    }

    fn bytes(text: &'static str) -> Body {
        Body::Bytes(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_json_object_keeps_its_spelling_and_loses_what_is_the_providers() {
        let body = bytes(r#" {"n": 12345678901234567890123, "key":"mine", "x" : [ 1.0 ]} "#);
        assert_eq!(
            merged(&body, Some("application/json; charset=utf-8")).unwrap(),
            r#"{"n":12345678901234567890123,"x":[ 1.0 ],"auth":{"id":7},"key":"s&cret"}"#
        );
        for other in ["[1]", "\"x\"", "{", "{} {}"] {
            assert_eq!(merged(&bytes(other), Some("application/json")), None, "{other}");
        }
    }

    #[test]
    fn forms_get_fields_appended() {
        let form = Some("application/x-www-form-urlencoded");
        assert_eq!(
            merged(&bytes("a=1+2"), form).unwrap(),
            "a=1+2&auth%5Bid%5D=7&key=s%26cret"
        );
        assert_eq!(merged(&Body::Empty, form).unwrap(), "auth%5Bid%5D=7&key=s%26cret");
        let multipart = bytes("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b--\r\n");
        assert_eq!(
            merged(&multipart, Some("multipart/form-data; boundary=\"b\"")).unwrap(),
            "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
             --b\r\nContent-Disposition: form-data; name=\"auth[id]\"\r\n\r\n7\r\n\
             --b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\ns&cret\r\n--b--\r\n"
        );
    }

    #[test]
    fn no_body_becomes_json_and_other_kinds_are_left_alone() {
        assert_eq!(
            merged(&Body::Empty, None).unwrap(),
            r#"{"auth":{"id":7},"key":"s&cret"}"#
        );
        assert_eq!(merged(&bytes("a,b"), Some("text/csv")), None);
        assert_eq!(merged(&bytes("a,b"), None), None);
    }

    #[test]
    fn a_stream_that_would_need_the_fields_is_refused() {
        let target = target(provider("https://api.test"), api_key("k"));
        let stream = Body::Stream(ByteStream::once(Bytes::new()));
        let fields = json!({"key": "k"});
        let fields = fields.as_object().unwrap();
        let refused = merge(&target, fields, &stream, Some("application/json")).unwrap_err();
        assert_eq!(refused.code(), "request_body_too_large");
        assert!(merge(&target, fields, &stream, Some("image/png")).unwrap().is_none());
    }
}

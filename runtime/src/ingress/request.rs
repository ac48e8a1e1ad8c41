//! A provider's webhook as it came, and finding things in it.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::provider::{PathStep, Place};

/// Values found at one place.
const VALUES_MAX: usize = 1_000;
/// Headers that are somebody's right to something, or of the connection that the webhook came over: no function sees them.
const HEADERS_KEPT_BACK: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "connection",
    "keep-alive",
    "host",
];

/// One webhook.
#[derive(Debug)]
pub struct Incoming {
    pub method: http::Method,
    /// As it was called, without the query.
    pub path: String,
    /// As it was called.
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// With what is found out of it once.
pub(super) struct Reader<'a> {
    pub(super) incoming: &'a Incoming,
    json: OnceLock<Option<Value>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(incoming: &'a Incoming) -> Self {
        Self {
            incoming,
            json: OnceLock::new(),
        }
    }

    /// The body, if it is JSON.
    pub(super) fn json(&self) -> Option<&Value> {
        let parse = || serde_json::from_slice(&self.incoming.body).ok();
        self.json.get_or_init(parse).as_ref()
    }

    /// The fields of a body that is a form.
    pub(super) fn form(&self) -> Vec<(String, String)> {
        let media_type = self.incoming.headers.get(http::header::CONTENT_TYPE);
        let media_type = media_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !media_type.starts_with("application/x-www-form-urlencoded") {
            return Vec::new();
        }
        form_urlencoded::parse(&self.incoming.body).into_owned().collect()
    }

    fn query(&self) -> Vec<(String, String)> {
        let query = self.incoming.query.as_deref().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// What is there, as text; at most 1,000 values.
    pub(super) fn at(&self, place: &Place) -> Vec<String> {
        let named = |pairs: Vec<(String, String)>, wanted: &str| {
            let found = pairs.into_iter().filter(|(name, _)| name == wanted);
            found.map(|(_, value)| value).take(VALUES_MAX).collect()
        };
        match place {
            Place::Header(name) => {
                let values = self.incoming.headers.get_all(name).iter();
                let values = values.filter_map(|value| value.to_str().ok());
                values.map(str::to_owned).take(VALUES_MAX).collect()
            }
            Place::Query(name) => named(self.query(), name),
            Place::Form(name) => named(self.form(), name),
            Place::Body(steps) => {
                let mut found = Vec::new();
                if let Some(json) = self.json() {
                    collect(json, steps, &mut found);
                }
                found
            }
        }
    }

    /// The first value there.
    pub(super) fn first(&self, place: &Place) -> Option<String> {
        self.at(place).into_iter().next()
    }

    /// What the application is told: the body as JSON, the fields of a form as an object, or text.
    pub(super) fn payload(&self) -> Value {
        if let Some(json) = self.json() {
            return json.clone();
        }
        let form = self.form();
        if form.is_empty() {
            return Value::String(String::from_utf8_lossy(&self.incoming.body).into_owned());
        }
        form.into_iter()
            .map(|(name, value)| (name, Value::String(value)))
            .collect()
    }

    /// The input of a run for it, JSON, in the names of the contract. `proof` is left out when it is the secret itself.
    pub(super) fn input(&self, events: &[String], token: Option<&Place>) -> String {
        let is_token = |place: Place| token == Some(&place);
        let headers = self.incoming.headers.iter();
        let headers = headers.filter(|(name, _)| {
            !HEADERS_KEPT_BACK.contains(&name.as_str()) && !is_token(Place::Header(name.as_str().to_owned()))
        });
        let headers: Vec<Value> = headers
            .filter_map(|(name, value)| Some(json!([name.as_str(), value.to_str().ok()?])))
            .collect();
        let mut query = self.query();
        query.retain(|(name, _)| !is_token(Place::Query(name.clone())));
        let mut input = json!({
            "method": self.incoming.method.as_str(),
            "query": query,
            "headers": headers,
            "events": events,
        });
        let (name, body) = match std::str::from_utf8(&self.incoming.body) {
            Ok(text) => ("body", text.to_owned()),
            Err(_) => ("body_base64", STANDARD.encode(&self.incoming.body)),
        };
        if let Value::Object(input) = &mut input {
            input.insert(name.to_owned(), Value::String(body));
        }
        input.to_string()
    }
}

fn collect(value: &Value, steps: &[PathStep], found: &mut Vec<String>) {
    if found.len() >= VALUES_MAX {
        return;
    }
    let Some((step, rest)) = steps.split_first() else {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Number(_) | Value::Bool(_) => found.push(value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => {}
        }
        return;
    };
    match (step, value) {
        (PathStep::All, Value::Array(all)) => all.iter().for_each(|value| collect(value, rest, found)),
        (PathStep::Name(name), Value::Object(object)) => {
            if let Some(value) = object.get(name) {
                collect(value, rest, found);
            }
        }
        (PathStep::Name(name), Value::Array(all)) => {
            if let Some(value) = name.parse::<usize>().ok().and_then(|index| all.get(index)) {
                collect(value, rest, found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A webhook with these headers.
    pub(in crate::ingress) fn incoming(headers: &[(&'static str, &str)], body: &[u8]) -> Incoming {
        let headers = headers.iter().map(|(name, value)| {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, http::HeaderValue::from_str(value).unwrap())
        });
        Incoming {
            method: http::Method::POST,
            path: "/webhook/env_1/acme".to_owned(),
            query: None,
            headers: headers.collect(),
            body: Bytes::copy_from_slice(body),
        }
    }

    #[test]
    fn things_are_found() {
        let mut one = incoming(
            &[
                ("x-event", "push"),
                ("authorization", "Bearer s3cret"),
                ("x-token", "s3cret"),
            ],
            br#"[{"account": {"id": 7}, "ok": true}, {"account": {"id": "8"}}, {"account": null}]"#,
        );
        one.query = Some("a=1&a=2&token=s3cret".to_owned());
        let reader = Reader::new(&one);
        let at = |text: &str| reader.at(&Place::parse(text).unwrap());
        assert_eq!(at("body.*.account.id"), ["7", "8"]);
        assert_eq!(at("body.0.ok"), ["true"]);
        assert_eq!(at("body.0.account"), Vec::<String>::new());
        assert_eq!(at("header.X-Event"), ["push"]);
        assert_eq!(at("query.a"), ["1", "2"]);
        assert_eq!(at("form.a"), Vec::<String>::new());
        let input = reader.input(&["push".to_owned()], Place::parse("header.x-token").as_ref());
        assert!(!input.contains("Bearer") && !input.contains("x-token"), "{input}");
        let input = reader.input(&[], Place::parse("query.token").as_ref());
        assert!(input.contains(r#""query":[["a","1"],["a","2"]]"#), "{input}");
    }

    #[test]
    fn bodies_of_every_kind() {
        let form = incoming(
            &[("content-type", "application/x-www-form-urlencoded; charset=UTF-8")],
            b"b=2&a=1+1",
        );
        assert_eq!(Reader::new(&form).payload(), json!({"a": "1 1", "b": "2"}));
        let text = incoming(&[("content-type", "text/plain")], b"b=2");
        assert_eq!(Reader::new(&text).payload(), json!("b=2"));
        let binary = incoming(&[], b"\xff");
        assert!(
            Reader::new(&binary)
                .input(&[], None)
                .contains(r#""body_base64":"/w==""#)
        );
    }
}

//! A provider's webhook, for the handler of a sync.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::nango::functions::webhook;
use crate::error::{Error, Place};

/// A webhook of the provider that came for the connection.
///
/// The runtime has checked that it is genuine; of what it says nothing else is checked.
#[derive(Clone, Debug)]
pub struct Webhook {
    method: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    events: Vec<String>,
    body: Vec<u8>,
}

impl Webhook {
    /// The HTTP method, `POST` in nearly all cases.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The names of the events it brings, as the sync subscribes to them.
    #[must_use]
    pub fn events(&self) -> &[String] {
        &self.events
    }

    /// The first header of that name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// All headers, names in lower case. Those that are somebody's right to something are left out.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The parameters of the query.
    #[must_use]
    pub fn query(&self) -> &[(String, String)] {
        &self.query
    }

    /// The body as it came.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body's JSON.
    ///
    /// # Errors
    /// When the body is no JSON or does not fit `T`.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        match serde_json::from_slice(&self.body) {
            Ok(value) => Ok(value),
            Err(source) => Err(Error::Json {
                what: "the body of the webhook does not fit".to_owned(),
                source,
                place: Place::here(),
            }),
        }
    }

    /// Of a run's input.
    pub(crate) fn of_input(input: &str) -> Option<Self> {
        let input: Value = serde_json::from_str(input).ok()?;
        let text = |name: &str| input.get(name).and_then(Value::as_str);
        let body = match (text("body"), text("body_base64")) {
            (Some(body), _) => body.as_bytes().to_vec(),
            (None, Some(encoded)) => decode(encoded)?,
            (None, None) => Vec::new(),
        };
        Some(Self {
            method: text("method").unwrap_or("POST").to_owned(),
            query: pairs(input.get("query")),
            headers: pairs(input.get("headers")),
            events: serde_json::from_value(input.get("events")?.clone()).ok()?,
            body,
        })
    }
}

fn pairs(value: Option<&Value>) -> Vec<(String, String)> {
    value
        .and_then(|value| serde_json::from_value(value.clone()).ok())
        .unwrap_or_default()
}

/// Base64, as the host writes it. None for what it does not write.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[track_caller]
pub(crate) fn url() -> Result<Option<String>, Error> {
    match webhook::get_webhook_url() {
        Ok(url) => Ok(url),
        Err(error) => Err(Error::host(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_read() {
        let input = r#"{"method":"POST","query":[["a","1"]],"headers":[["x-event","push"]],"events":["push"],"body":"{\"n\":7}","later":1}"#;
        let webhook = Webhook::of_input(input).expect("it is one");
        assert_eq!(
            (webhook.header("X-Event"), webhook.events()),
            (Some("push"), &["push".to_owned()][..])
        );
        assert_eq!(webhook.json::<Value>().expect("it is JSON")["n"], 7);
        assert_eq!(webhook.query(), [("a".to_owned(), "1".to_owned())]);
        assert!(webhook.json::<Vec<u8>>().is_err());
        let binary = Webhook::of_input(r#"{"events":[],"body_base64":"/w=="}"#).expect("it is one");
        assert_eq!(binary.body(), [255]);
        assert_eq!(decode("AP8Qgw==").as_deref(), Some(&[0, 255, 16, 131][..]));
        assert_eq!(decode("AP8Q").as_deref(), Some(&[0, 255, 16][..]));
        assert_eq!(decode("A!"), None);
        assert!(Webhook::of_input("null").is_none());
    }
}

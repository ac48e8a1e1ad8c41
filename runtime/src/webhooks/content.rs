//! What a webhook carries: its body as it is sent, and headers that are passed on. It is sealed, because what a provider sends may
//! hold anything, and written once: each attempt sends the same.

use serde::{Deserialize, Serialize};

use super::{Parts, WebhooksError};
use crate::credentials::Secret;
use crate::model::{Sealed, Webhook, WebhookId};

/// Headers that are never passed on: those of one hop, of the connection, of the body's form, and what could be taken for somebody's
/// right to something.
const HEADERS_KEPT_BACK: &[&str] = &[
    "authorization",
    "cookie",
    "set-cookie",
    "host",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "accept",
    "accept-encoding",
    "accept-language",
    "expect",
    "forwarded",
    "referer",
    "origin",
    "via",
];
const PREFIXES_KEPT_BACK: &[&str] = &["content-", "sec-", "proxy-", "x-forwarded-", "x-nango-", "x-real-"];
/// Passed on of one webhook, names and values together, in bytes.
const HEADERS_BYTES_MAX: usize = 32 * 1024;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Content {
    pub body: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
}

impl Parts {
    pub(super) fn seal_content(&self, id: &WebhookId, content: &Content) -> Sealed {
        // Writing plain data as JSON to memory does not fail.
        let json = Secret::new(serde_json::to_vec(content).unwrap_or_default());
        self.keyring.seal(&place(id), json.expose())
    }

    pub(super) fn open_content(&self, webhook: &Webhook) -> Result<Content, WebhooksError> {
        let place = place(&webhook.id);
        let json = self.keyring.open(&place, &webhook.content)?;
        serde_json::from_slice(json.expose()).map_err(|source| WebhooksError::Stored { place, source })
    }
}

fn place(id: &WebhookId) -> String {
    format!("webhook:{id}:content")
}

/// Of the headers of a provider's webhook those that the application may see, such as the provider's own signature. What is no text
/// is left out. (Nango compatibility.)
#[must_use]
pub fn forwarded_headers(headers: &http::HeaderMap) -> Vec<(String, String)> {
    let mut bytes_left = HEADERS_BYTES_MAX;
    let mut passed_on = Vec::new();
    for (name, value) in headers {
        let name = name.as_str();
        let is_kept_back =
            HEADERS_KEPT_BACK.contains(&name) || PREFIXES_KEPT_BACK.iter().any(|prefix| name.starts_with(prefix));
        let Ok(value) = value.to_str() else { continue };
        let Some(left) = bytes_left.checked_sub(name.len() + value.len()) else {
            break;
        };
        if !is_kept_back {
            bytes_left = left;
            passed_on.push((name.to_owned(), value.to_owned()));
        }
    }
    passed_on
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn signatures_are_passed_on_and_rights_are_not() {
        let mut headers = HeaderMap::new();
        for name in [
            "x-hub-signature-256",
            "authorization",
            "cookie",
            "host",
            "content-type",
            "content-length",
            "sec-fetch-mode",
            "proxy-authorization",
            "x-forwarded-for",
            "user-agent",
            "x-nango-hmac-sha256",
            "x-github-event",
        ] {
            headers.append(name, HeaderValue::from_static("value"));
        }
        headers.append("x-binary", HeaderValue::from_bytes(b"\xff").unwrap());
        let names: Vec<String> = forwarded_headers(&headers).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["x-hub-signature-256", "x-github-event"]);
    }

    #[test]
    fn what_is_passed_on_is_bounded() {
        let mut headers = HeaderMap::new();
        for _ in 0..10 {
            headers.append("x-long", HeaderValue::from_str(&"a".repeat(8_000)).unwrap());
        }
        assert_eq!(forwarded_headers(&headers).len(), 4);
    }
}

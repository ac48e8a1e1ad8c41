//! Which strings must never appear in a log. Lists them; masking is the logger's work.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{Credentials, Secret};

/// Shorter values are not listed, in bytes: masking every `a` would hide the log and still tell the secret.
pub const SECRET_BYTES_MIN: usize = 4;

/// Fields that say what a token is or whom it belongs to, not the token: masking `us-east-1` would hide half a log.
const NOT_SECRET: [&str; 12] = [
    "client_id",
    "expires_at",
    "expires_in",
    "organization_id",
    "region",
    "role_arn",
    "scope",
    "service",
    "token_type",
    "type",
    "user_id",
    "userId",
];

/// All but RFC 3986's unreserved characters: how a value looks inside a URL.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Credentials {
    /// Every secret of these credentials as it may appear on the wire: each text of the JSON form however deep, what is
    /// derived from it (`base64(username:password)`), and its percent-encoded spelling. The longest first, so that masking
    /// one does not cut another in two.
    #[must_use]
    pub fn secret_values(&self) -> Vec<Secret<String>> {
        let json = Secret::new(self.to_json());
        let mut values = Vec::new();
        collect(json.expose(), &mut values);
        if let Self::Basic { username, password } = self {
            let pair = Secret::new(format!("{username}:{}", password.expose()));
            values.push(STANDARD.encode(pair.expose()));
            values.push(URL_SAFE_NO_PAD.encode(pair.expose()));
        }
        finish(values)
    }
}

/// The texts of any JSON value that is secret as a whole (`connection_config`, `custom`), as
/// [`Credentials::secret_values`] lists those of credentials.
#[must_use]
pub fn secret_strings(value: &Value) -> Vec<Secret<String>> {
    let mut values = Vec::new();
    collect(value, &mut values);
    finish(values)
}

fn collect(value: &Value, values: &mut Vec<String>) {
    match value {
        Value::String(text) => values.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, values)),
        Value::Object(object) => object
            .iter()
            .filter(|(key, _)| !NOT_SECRET.contains(&key.as_str()))
            .for_each(|(_, item)| collect(item, values)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn finish(mut values: Vec<String>) -> Vec<Secret<String>> {
    values.retain(|value| value.len() >= SECRET_BYTES_MIN);
    let encoded: Vec<String> = values
        .iter()
        .map(|value| utf8_percent_encode(value, UNRESERVED).to_string())
        .collect();
    values.extend(encoded);
    values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    values.dedup();
    values.into_iter().map(Secret::new).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(value: &Value) -> Vec<String> {
        let secrets = Credentials::from_json(value).unwrap().secret_values();
        secrets.iter().map(|secret| secret.expose().clone()).collect()
    }

    #[test]
    fn nested_and_encoded_values_are_listed_longest_first() {
        let value = json!({"type": "OAUTH2", "access_token": "to/ken", "expires_at": "2030-01-01T00:00:00Z",
            "raw": {"token_type": "bearer", "scope": "repo", "authed_user": {"access_token": "xoxp-1"}, "n": 5}});
        assert_eq!(values(&value), ["to%2Fken", "to/ken", "xoxp-1"]);
    }

    #[test]
    fn basic_lists_the_header_value_too() {
        let value = json!({"type": "BASIC", "username": "user", "password": "pass"});
        assert_eq!(values(&value), ["dXNlcjpwYXNz", "pass", "user"]);
    }

    #[test]
    fn short_values_are_left_out() {
        assert!(values(&json!({"type": "API_KEY", "apiKey": "abc"})).is_empty());
    }
}

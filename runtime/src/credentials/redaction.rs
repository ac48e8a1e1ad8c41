//! Which texts must never appear in a log. Lists them; finding and masking them is for [`crate::redaction`].

use serde_json::Value;

use super::{Credentials, Secret};
use crate::model::JsonObject;

/// Shorter values are no secrets to a log, in bytes: masking every `a` would hide the log and still tell the secret.
pub const SECRET_BYTES_MIN: usize = 4;

/// Texts in token answers and the like whose field says nothing of them are secrets from this length on; shorter ones are
/// words such as `bearer` and `repo`.
const LONG_BYTES_MIN: usize = 16;

/// Fields that say what a credential is, for whom, where and until when: masking `us-east-1` would hide half a log.
const NOT_SECRET: [&str; 18] = [
    "type",
    "token_type",
    "token_endpoint",
    "token_endpoint_auth_method",
    "scope",
    "scopes",
    "expires_at",
    "expires_in",
    "client_id",
    "client_name",
    "app_id",
    "organization_id",
    "user_id",
    "userId",
    "username",
    "region",
    "role_arn",
    "service",
];

/// Parts of names of fields that hold secrets. Compared without case, `_` and `-`.
const SECRET_WORDS: [&str; 13] = [
    "secret",
    "password",
    "passphrase",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "devkey",
    "sessionid",
    "assertion",
    "signature",
    "webhook",
];

impl Credentials {
    /// Every secret of these credentials: each text of their JSON form however deep, but for what only describes them. Of
    /// Basic also `username:password`, as it stands in base64 in a header.
    #[must_use]
    pub fn secret_texts(&self) -> Vec<Secret<String>> {
        let json = Secret::new(self.to_json());
        let mut texts = Vec::new();
        for (name, value) in json.expose().as_object().into_iter().flatten() {
            match value {
                Value::String(text) if !NOT_SECRET.contains(&name.as_str()) => texts.push(text.clone()),
                _ => collect(name, value, &mut texts),
            }
        }
        if let Self::Basic { username, password } = self {
            // Some vendors take the key as the user name, with nothing for a password.
            let is_key = password.expose().is_empty() || (username.len() >= LONG_BYTES_MIN && !username.contains('@'));
            if is_key {
                texts.push(username.clone());
            }
            texts.push(format!("{username}:{}", password.expose()));
        }
        finish(texts)
    }
}

/// The secrets among fields that are not secret as a whole (`connection_config`, `custom`): those that `is_marked`, those
/// whose names say so, and with `and_long` all texts too long to be words.
#[must_use]
pub fn secret_fields(object: &JsonObject, and_long: bool, is_marked: impl Fn(&str) -> bool) -> Vec<Secret<String>> {
    let mut texts = Vec::new();
    for (name, value) in object {
        if is_marked(name) || is_secret_name(name) {
            all(value, &mut texts);
        } else if and_long || value.is_object() || value.is_array() {
            collect_named(name, value, and_long, &mut texts);
        }
    }
    finish(texts)
}

fn is_secret_name(name: &str) -> bool {
    if NOT_SECRET.contains(&name) {
        return false;
    }
    let name: String = name
        .chars()
        .filter(|c| !matches!(c, '_' | '-'))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

fn collect(name: &str, value: &Value, texts: &mut Vec<String>) {
    collect_named(name, value, true, texts);
}

fn collect_named(name: &str, value: &Value, and_long: bool, texts: &mut Vec<String>) {
    if NOT_SECRET.contains(&name) {
        return;
    }
    match value {
        Value::String(text) if is_secret_name(name) && !is_url(text) => texts.push(text.clone()),
        // A URL is where something is, and may hold the right to use it, as those of incoming webhooks do.
        Value::String(text) if is_url(text) => texts.extend(
            text.split(['/', '?', '&', '=', '#'])
                .filter(|part| part.len() >= LONG_BYTES_MIN && !part.contains('.'))
                .map(str::to_owned),
        ),
        Value::String(text) if and_long && text.len() >= LONG_BYTES_MIN => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect_named(name, item, and_long, texts)),
        Value::Object(object) => object
            .iter()
            .for_each(|(name, item)| collect_named(name, item, and_long, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_url(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

/// Every text and number, whatever its name.
fn all(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Number(number) => texts.push(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| all(item, texts)),
        Value::Object(object) => object.values().for_each(|item| all(item, texts)),
        Value::Null | Value::Bool(_) => {}
    }
}

fn finish(mut texts: Vec<String>) -> Vec<Secret<String>> {
    texts.retain(|text| text.len() >= SECRET_BYTES_MIN);
    texts.sort();
    texts.dedup();
    texts.into_iter().map(Secret::new).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(secrets: &[Secret<String>]) -> Vec<&str> {
        secrets.iter().map(|secret| secret.expose().as_str()).collect()
    }

    fn of_credentials(value: &Value) -> Vec<String> {
        let secrets = Credentials::from_json(value).unwrap().secret_texts();
        texts(&secrets).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn values_within_a_token_answer_are_secrets_and_words_are_not() {
        let value = json!({"type": "OAUTH2", "access_token": "to/ken", "expires_at": "2030-01-01T00:00:00Z",
            "raw": {"token_type": "bearer", "scope": "repo,user:email,read:org", "authed_user": {"access_token": "xoxp-1"},
                "session": "0123456789abcdef", "team": "Acme", "n": 5,
                "instance_url": "https://eu12.example-crm.test/services",
                "incoming_webhook": {"url": "https://hooks.test/services/T01/AbCdEfGhIjKlMnOpQrSt"}}});
        assert_eq!(
            of_credentials(&value),
            ["0123456789abcdef", "AbCdEfGhIjKlMnOpQrSt", "to/ken", "xoxp-1"]
        );
    }

    #[test]
    fn a_user_name_is_a_secret_when_it_is_a_key() {
        let basic = |username: &str, password: &str| {
            of_credentials(&json!({"type": "BASIC", "username": username, "password": password}))
        };
        assert_eq!(basic("user", "pass"), ["pass", "user:pass"]);
        assert_eq!(basic("key1", ""), ["key1", "key1:"]);
        assert_eq!(
            basic("0123456789abcdef", "x"),
            ["0123456789abcdef", "0123456789abcdef:x"]
        );
        assert_eq!(
            basic("somebody@example.com", "pass"),
            ["pass", "somebody@example.com:pass"]
        );
    }

    #[test]
    fn fields_are_secret_by_mark_and_by_name() {
        let fields = json!({
            "subdomain": "acme-with-a-very-long-name", "pin": "4711", "apiKey": "k-1234", "nested": {"client_secret": "cs-1"},
            "client_id": "0123456789abcdef0123", "short_token": "abc",
        });
        let fields = fields.as_object().unwrap();
        let secrets = secret_fields(fields, false, |name| name == "pin");
        assert_eq!(texts(&secrets), ["4711", "cs-1", "k-1234"]);
        let secrets = secret_fields(fields, true, |_| false);
        assert_eq!(texts(&secrets), ["acme-with-a-very-long-name", "cs-1", "k-1234"]);
    }

    #[test]
    fn short_values_are_left_out() {
        assert!(of_credentials(&json!({"type": "API_KEY", "apiKey": "abc"})).is_empty());
    }
}

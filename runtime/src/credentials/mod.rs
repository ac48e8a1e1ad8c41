//! Credentials by auth mode, and the type that keeps secrets out of logs. Pure: parsing, showing, looking up. It does not
//! encrypt (see `encryption`) and does not decide how a request is authenticated (see `proxy`).

mod json;
mod redaction;
mod secret;

pub use json::{CredentialsError, TOKEN_CHARS_MAX};
pub use redaction::{SECRET_BYTES_MIN, secret_fields};
pub use secret::{Secret, Wipe};

use serde_json::Value;

use crate::model::JsonObject;

/// What a connection authenticates with. Stored sealed, in the JSON shape of the public API (`{"type": "API_KEY", "apiKey": …}`).
#[derive(Clone, Debug)]
pub enum Credentials {
    ApiKey {
        api_key: Secret<String>,
    },
    Basic {
        username: String,
        password: Secret<String>,
    },
    OAuth2 {
        access_token: Secret<String>,
        refresh_token: Option<Secret<String>>,
        expires_at_ms: Option<i64>,
        /// The token endpoint's answer, or what was imported.
        raw: Secret<JsonObject>,
    },
    None,
}

impl Credentials {
    /// The auth mode as the public API names it.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        match self {
            Self::ApiKey { .. } => "API_KEY",
            Self::Basic { .. } => "BASIC",
            Self::OAuth2 { .. } => "OAUTH2",
            Self::None => "NONE",
        }
    }

    /// The value of a template variable: `apiKey`, `username`, `password`, `accessToken` (also `access_token`), any stored
    /// field by its name, and all of them below `credentials.`, for example `credentials.raw.team.id`. None for names that
    /// are not credentials' and for values that are neither text nor number.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<String> {
        let name = name.strip_prefix("credentials.").unwrap_or(name);
        match (self, name) {
            (Self::ApiKey { api_key }, "apiKey") => Some(api_key.expose().clone()),
            (Self::Basic { username, .. }, "username") => Some(username.clone()),
            (Self::Basic { password, .. }, "password") => Some(password.expose().clone()),
            (Self::OAuth2 { access_token, .. }, "accessToken" | "access_token") => Some(access_token.expose().clone()),
            (Self::OAuth2 { refresh_token, .. }, "refresh_token") => {
                refresh_token.as_ref().map(|token| token.expose().clone())
            }
            (Self::OAuth2 { expires_at_ms, .. }, "expires_at") => expires_at_ms.and_then(json::iso8601_ms),
            (Self::OAuth2 { raw, .. }, name) => name.strip_prefix("raw.").and_then(|path| lookup(raw.expose(), path)),
            (Self::ApiKey { .. } | Self::Basic { .. } | Self::None, _) => None,
        }
    }
}

/// The text or number at a dotted path of a JSON object. A key that itself holds the dots is found too. What template
/// variables such as `connectionConfig.subdomain` are looked up with, once their prefix is removed.
#[must_use]
pub fn lookup(object: &JsonObject, path: &str) -> Option<String> {
    let nested = path.split_once('.').and_then(|(head, rest)| match object.get(head) {
        Some(Value::Object(inner)) => lookup(inner, rest),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) | None => None,
    });
    nested.or_else(|| match object.get(path) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn oauth2() -> Credentials {
        let value = json!({
            "type": "OAUTH2", "access_token": "at", "refresh_token": "rt", "expires_at": "2030-01-01T00:00:00Z",
            "raw": {"team": {"id": "T1", "n": 7}, "a.b": "flat"},
        });
        Credentials::from_json(&value).unwrap()
    }

    #[test]
    fn variables_by_mode() {
        let api_key = Credentials::from_json(&json!({"type": "API_KEY", "apiKey": "k"})).unwrap();
        let basic = Credentials::from_json(&json!({"type": "BASIC", "username": "u", "password": "p"})).unwrap();
        let cases = [
            (&api_key, "apiKey", Some("k")),
            (&api_key, "credentials.apiKey", Some("k")),
            (&api_key, "accessToken", None),
            (&basic, "username", Some("u")),
            (&basic, "credentials.password", Some("p")),
            (&oauth2(), "accessToken", Some("at")),
            (&oauth2(), "access_token", Some("at")),
            (&oauth2(), "credentials.refresh_token", Some("rt")),
            (&oauth2(), "expires_at", Some("2030-01-01T00:00:00.000Z")),
            (&oauth2(), "credentials.raw.team.id", Some("T1")),
            (&oauth2(), "raw.team.n", Some("7")),
            (&oauth2(), "raw.a.b", Some("flat")),
            (&oauth2(), "raw.team", None),
            (&oauth2(), "apiKey", None),
            (&Credentials::None, "apiKey", None),
        ];
        for (credentials, name, value) in cases {
            assert_eq!(credentials.variable(name).as_deref(), value, "{name}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", oauth2());
        assert!(
            !shown.contains("at\"") && !shown.contains("rt") && !shown.contains("T1"),
            "{shown}"
        );
    }
}

//! Credentials as JSON: the shape of the public API, which is also what is sealed. Parsing is strict, so that a typing
//! mistake in an import is told at once instead of failing at the provider.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{Credentials, Secret};
use crate::model::JsonObject;

/// Longest OAuth 2 token, in characters.
pub const TOKEN_CHARS_MAX: usize = 16_384;
/// Longest API key, user name or password, in characters.
pub const KEY_CHARS_MAX: usize = 1_024;

/// What is wrong with credentials given as JSON. Never holds a value, only the names of fields.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    #[error("must be a JSON object such as {{\"type\": \"API_KEY\", \"apiKey\": …}}")]
    NotAnObject,
    #[error("`type` is missing; it names the auth mode, for example \"API_KEY\"")]
    MissingType,
    #[error("`type` {given:?} is not supported for stored credentials; use API_KEY, BASIC, OAUTH2 or NONE")]
    UnsupportedType { given: String },
    #[error("`{field}` is missing")]
    Missing { field: &'static str },
    #[error("`{field}` must be {expected}")]
    Malformed {
        field: &'static str,
        expected: &'static str,
    },
    #[error("`{field}` is {chars} characters long; at most {chars_max} are allowed")]
    TooLong {
        field: &'static str,
        chars: usize,
        chars_max: usize,
    },
    #[error("`{field}` is not a field of {mode} credentials; known are {known}")]
    UnknownField {
        field: String,
        mode: &'static str,
        known: &'static str,
    },
}

impl CredentialsError {
    /// The field that is wrong; none when it is the whole value.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::NotAnObject => None,
            Self::MissingType | Self::UnsupportedType { .. } => Some("type"),
            Self::Missing { field } | Self::Malformed { field, .. } | Self::TooLong { field, .. } => Some(field),
            Self::UnknownField { field, .. } => Some(field),
        }
    }
}

impl Credentials {
    /// Reads the shape of the public API. Without a `type` an empty object is [`Credentials::None`].
    pub fn from_json(value: &Value) -> Result<Self, CredentialsError> {
        let object = value.as_object().ok_or(CredentialsError::NotAnObject)?;
        let fields = Fields { object };
        match object.get("type") {
            None if object.is_empty() => Ok(Self::None),
            None => Err(CredentialsError::MissingType),
            Some(Value::String(mode)) => match mode.as_str() {
                "API_KEY" => fields.api_key(),
                "BASIC" => fields.basic(),
                "OAUTH2" => fields.oauth2(),
                "NONE" => fields.only("NONE", &["type"], "type").map(|()| Self::None),
                given => Err(CredentialsError::UnsupportedType {
                    given: given.chars().take(64).collect(),
                }),
            },
            Some(_) => Err(CredentialsError::Malformed {
                field: "type",
                expected: "text",
            }),
        }
    }

    /// All of it, in the shape of the public API: what is sealed.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::ApiKey { api_key } => json!({"type": "API_KEY", "apiKey": api_key.expose()}),
            Self::Basic { username, password } => {
                json!({"type": "BASIC", "username": username, "password": password.expose()})
            }
            Self::OAuth2 {
                access_token,
                refresh_token,
                expires_at_ms,
                raw,
            } => {
                let refresh_token = refresh_token.as_ref().map(|token| token.expose().as_str());
                let mut object = oauth2_fields(access_token.expose(), refresh_token, *expires_at_ms);
                object.insert("raw".to_owned(), Value::Object(raw.expose().clone()));
                Value::Object(object)
            }
            Self::None => json!({}),
        }
    }

    /// What a caller entitled to credentials gets. Refresh tokens are left out wherever they are, unless asked for.
    #[must_use]
    pub fn to_public_json(&self, with_refresh_tokens: bool) -> Value {
        let mut value = self.to_json();
        if !with_refresh_tokens {
            remove_refresh_tokens(&mut value);
        }
        value
    }
}

/// The fields of one JSON object, taken out with the checks of their kind.
struct Fields<'a> {
    object: &'a JsonObject,
}

impl Fields<'_> {
    fn api_key(&self) -> Result<Credentials, CredentialsError> {
        self.only("API_KEY", &["type", "apiKey"], "type, apiKey")?;
        let api_key = self.text("apiKey", KEY_CHARS_MAX)?;
        if api_key.is_empty() {
            return Err(CredentialsError::Malformed {
                field: "apiKey",
                expected: "text that is not empty",
            });
        }
        Ok(Credentials::ApiKey {
            api_key: Secret::new(api_key),
        })
    }

    /// Either may be empty; some providers take a key as user name and nothing as password.
    fn basic(&self) -> Result<Credentials, CredentialsError> {
        self.only("BASIC", &["type", "username", "password"], "type, username, password")?;
        Ok(Credentials::Basic {
            username: self.text("username", KEY_CHARS_MAX)?,
            password: Secret::new(self.optional_text("password", KEY_CHARS_MAX)?.unwrap_or_default()),
        })
    }

    fn oauth2(&self) -> Result<Credentials, CredentialsError> {
        let known = ["type", "access_token", "refresh_token", "expires_at", "raw"];
        self.only("OAUTH2", &known, "type, access_token, refresh_token, expires_at, raw")?;
        let access_token = self.text("access_token", TOKEN_CHARS_MAX)?;
        if access_token.is_empty() {
            return Err(CredentialsError::Malformed {
                field: "access_token",
                expected: "text that is not empty",
            });
        }
        // An empty refresh token is what some clients send for "none".
        let refresh_token = self
            .optional_text("refresh_token", TOKEN_CHARS_MAX)?
            .filter(|token| !token.is_empty());
        let expires_at_ms = self.optional_time_ms("expires_at")?;
        let raw = match self.object.get("raw") {
            None | Some(Value::Null) => oauth2_fields(&access_token, refresh_token.as_deref(), expires_at_ms),
            Some(Value::Object(raw)) => raw.clone(),
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                return Err(CredentialsError::Malformed {
                    field: "raw",
                    expected: "a JSON object",
                });
            }
        };
        Ok(Credentials::OAuth2 {
            access_token: Secret::new(access_token),
            refresh_token: refresh_token.map(Secret::new),
            expires_at_ms,
            raw: Secret::new(raw),
        })
    }

    fn only(&self, mode: &'static str, known: &[&str], listed: &'static str) -> Result<(), CredentialsError> {
        match self.object.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(field) => Err(CredentialsError::UnknownField {
                field: field.clone(),
                mode,
                known: listed,
            }),
        }
    }

    fn text(&self, field: &'static str, chars_max: usize) -> Result<String, CredentialsError> {
        self.optional_text(field, chars_max)?
            .ok_or(CredentialsError::Missing { field })
    }

    fn optional_text(&self, field: &'static str, chars_max: usize) -> Result<Option<String>, CredentialsError> {
        match self.object.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => {
                let chars = text.chars().count();
                if chars > chars_max {
                    return Err(CredentialsError::TooLong {
                        field,
                        chars,
                        chars_max,
                    });
                }
                Ok(Some(text.clone()))
            }
            Some(_) => Err(CredentialsError::Malformed {
                field,
                expected: "text",
            }),
        }
    }

    /// A date as text (without an offset: UTC), or a number of milliseconds since 1970, as JavaScript's dates are.
    fn optional_time_ms(&self, field: &'static str) -> Result<Option<i64>, CredentialsError> {
        let time_ms = match self.object.get(field) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => parse_time_ms(text),
            Some(Value::Number(number)) => number.as_i64(),
            Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
        };
        match time_ms.filter(|time_ms| Timestamp::from_millisecond(*time_ms).is_ok()) {
            Some(time_ms) => Ok(Some(time_ms)),
            None => Err(CredentialsError::Malformed {
                field,
                expected: "a date such as 2030-01-01T00:00:00Z",
            }),
        }
    }
}

/// The fields of an OAuth 2 token but `raw`, in the public shape.
fn oauth2_fields(access_token: &str, refresh_token: Option<&str>, expires_at_ms: Option<i64>) -> JsonObject {
    let mut object = Map::new();
    object.insert("type".to_owned(), json!("OAUTH2"));
    object.insert("access_token".to_owned(), json!(access_token));
    if let Some(refresh_token) = refresh_token {
        object.insert("refresh_token".to_owned(), json!(refresh_token));
    }
    if let Some(expires_at) = expires_at_ms.and_then(iso8601_ms) {
        object.insert("expires_at".to_owned(), json!(expires_at));
    }
    object
}

fn parse_time_ms(text: &str) -> Option<i64> {
    let timestamp = text.parse::<Timestamp>().ok().or_else(|| {
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        jiff::tz::Offset::UTC.to_timestamp(civil).ok()
    })?;
    Some(timestamp.as_millisecond())
}

/// `2030-01-01T00:00:00.000Z`: always with milliseconds, as JavaScript writes dates.
pub(super) fn iso8601_ms(time_ms: i64) -> Option<String> {
    let since_epoch = SignedDuration::from_millis(time_ms);
    let timestamp = Timestamp::from_duration(since_epoch).ok()?;
    Some(format!("{timestamp:.3}"))
}

/// Removes every key that reads as "refresh token" in any spelling: providers call it `refreshToken`, `refresh-token` …
fn remove_refresh_tokens(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|key, _| !is_refresh_token(key));
            object.values_mut().for_each(remove_refresh_tokens);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_refresh_tokens),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_refresh_token(key: &str) -> bool {
    let letters = key.chars().filter(char::is_ascii_alphanumeric);
    letters
        .map(|letter| letter.to_ascii_lowercase())
        .eq("refreshtoken".chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(value: &Value) -> String {
        Credentials::from_json(value).unwrap_err().to_string()
    }

    #[test]
    fn an_imported_oauth2_token_reads_as_the_api_shows_it() {
        let given = json!({"type": "OAUTH2", "access_token": "tmp-token", "refresh_token": "tmp-refresh",
            "expires_at": "2030-01-01T00:00:00Z"});
        let credentials = Credentials::from_json(&given).unwrap();
        let shown = json!({"type": "OAUTH2", "access_token": "tmp-token", "refresh_token": "tmp-refresh",
            "expires_at": "2030-01-01T00:00:00.000Z",
            "raw": {"type": "OAUTH2", "access_token": "tmp-token", "refresh_token": "tmp-refresh",
                "expires_at": "2030-01-01T00:00:00.000Z"}});
        assert_eq!(credentials.to_public_json(true), shown);
        let without = json!({"type": "OAUTH2", "access_token": "tmp-token", "expires_at": "2030-01-01T00:00:00.000Z",
            "raw": {"type": "OAUTH2", "access_token": "tmp-token", "expires_at": "2030-01-01T00:00:00.000Z"}});
        assert_eq!(credentials.to_public_json(false), without);
    }

    #[test]
    fn what_is_stored_reads_back() {
        for value in [
            json!({"type": "API_KEY", "apiKey": "fake-api-key"}),
            json!({"type": "BASIC", "username": "u", "password": ""}),
            json!({"type": "OAUTH2", "access_token": "a", "raw": {"ok": true, "team": {"id": "T"}}}),
            json!({}),
        ] {
            assert_eq!(Credentials::from_json(&value).unwrap().to_json(), value);
        }
        assert!(matches!(
            Credentials::from_json(&json!({"type": "NONE"})),
            Ok(Credentials::None)
        ));
    }

    #[test]
    fn refresh_tokens_are_found_in_any_spelling_and_depth() {
        let value = json!({"type": "OAUTH2", "access_token": "a", "raw": {
            "authed_user": {"refreshToken": "x", "keep": 1}, "list": [{"REFRESH-TOKEN": "y"}], "refresh_token_expires_in": 5}});
        let shown = Credentials::from_json(&value).unwrap().to_public_json(false);
        let raw = json!({"authed_user": {"keep": 1}, "list": [{}], "refresh_token_expires_in": 5});
        assert_eq!(shown["raw"], raw);
    }

    #[test]
    fn dates_in_their_usual_spellings() {
        for (given, shown) in [
            (json!("2030-01-01T02:00:00+02:00"), "2030-01-01T00:00:00.000Z"),
            (json!("2030-01-01T00:00:00.5"), "2030-01-01T00:00:00.500Z"),
            (json!("2030-01-01"), "2030-01-01T00:00:00.000Z"),
            (json!(1_893_456_000_000_i64), "2030-01-01T00:00:00.000Z"),
        ] {
            let value = json!({"type": "OAUTH2", "access_token": "a", "expires_at": given});
            assert_eq!(Credentials::from_json(&value).unwrap().to_json()["expires_at"], shown);
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (value, message) in [
            (
                json!("x"),
                "must be a JSON object such as {\"type\": \"API_KEY\", \"apiKey\": …}",
            ),
            (
                json!({"apiKey": "x"}),
                "`type` is missing; it names the auth mode, for example \"API_KEY\"",
            ),
            (json!({"type": "API_KEY"}), "`apiKey` is missing"),
            (json!({"type": "BASIC"}), "`username` is missing"),
            (
                json!({"type": "API_KEY", "apiKey": ""}),
                "`apiKey` must be text that is not empty",
            ),
            (json!({"type": "API_KEY", "apiKey": 5}), "`apiKey` must be text"),
            (
                json!({"type": "API_KEY", "api_key": "x"}),
                "`api_key` is not a field of API_KEY credentials; known are type, apiKey",
            ),
            (
                json!({"type": "API_KEY", "apiKey": "k".repeat(1_025)}),
                "`apiKey` is 1025 characters long; at most 1024 are allowed",
            ),
            (
                json!({"type": "OAUTH2", "access_token": "a", "expires_at": "soon"}),
                "`expires_at` must be a date such as 2030-01-01T00:00:00Z",
            ),
            (
                json!({"type": "TWO_STEP"}),
                "`type` \"TWO_STEP\" is not supported for stored credentials; use API_KEY, BASIC, OAUTH2 or NONE",
            ),
        ] {
            assert_eq!(error(&value), message);
        }
    }

    #[test]
    fn errors_hold_no_secret() {
        let value = json!({"type": "OAUTH2", "access_token": "s3cret".repeat(5_000)});
        let error = Credentials::from_json(&value).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }
}

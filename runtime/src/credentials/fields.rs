//! The fields of credentials given as JSON, taken out with the checks of their kind.

use jiff::Timestamp;
use serde_json::Value;

use super::{OAuthClient, Secret};
use crate::model::JsonObject;

/// Longest token, in characters. Nango's limit for OAuth 2 tokens; its lower one for client credentials is not kept,
/// because signed tokens outgrow it.
pub const TOKEN_CHARS_MAX: usize = 16_384;
/// Longest API key, user name or password, in characters.
pub const KEY_CHARS_MAX: usize = 1_024;
/// Longest client id, client secret or OAuth 1 token, in characters.
pub const CLIENT_CHARS_MAX: usize = 2_048;
/// Longest certificate or private key, in characters.
pub const PEM_CHARS_MAX: usize = 10_000;

/// What is wrong with credentials given as JSON. Never holds a value, only the names of fields.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    #[error("must be a JSON object such as {{\"type\": \"API_KEY\", \"apiKey\": …}}")]
    NotAnObject,
    #[error("`type` is missing; it names the auth mode, for example \"API_KEY\"")]
    MissingType,
    #[error(
        "`type` {given:?} is no type of stored credentials; use API_KEY, APP, AWS_SIGV4, BASIC, BILL, JWT, NONE, OAUTH1, \
         OAUTH2, OAUTH2_CC, SIGNATURE, TBA or TWO_STEP"
    )]
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
        field: String,
        chars: usize,
        chars_max: usize,
    },
    #[error("`{field}` is not a field of {mode} credentials; known are {known}")]
    UnknownField {
        field: String,
        mode: &'static str,
        known: String,
    },
}

impl CredentialsError {
    /// The field that is wrong; none when it is the whole value.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::NotAnObject => None,
            Self::MissingType | Self::UnsupportedType { .. } => Some("type"),
            Self::Missing { field } | Self::Malformed { field, .. } => Some(field),
            Self::TooLong { field, .. } | Self::UnknownField { field, .. } => Some(field),
        }
    }
}

/// The fields of one JSON object.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a JsonObject);

impl<'a> Fields<'a> {
    /// That there are no fields but `type` and the known ones.
    pub(super) fn only(self, mode: &'static str, known: &[&'static str]) -> Result<(), CredentialsError> {
        let is_known = |key: &str| key == "type" || known.contains(&key);
        match self.0.keys().find(|key| !is_known(key)) {
            None => Ok(()),
            Some(field) => Err(CredentialsError::UnknownField {
                field: field.chars().take(64).collect(),
                mode,
                known: ["type"].iter().chain(known).copied().collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// May be empty.
    pub(super) fn text(self, field: &'static str, chars_max: usize) -> Result<String, CredentialsError> {
        self.optional_text(field, chars_max)?
            .ok_or(CredentialsError::Missing { field })
    }

    pub(super) fn filled_text(self, field: &'static str, chars_max: usize) -> Result<String, CredentialsError> {
        let text = self.text(field, chars_max)?;
        if text.is_empty() {
            return Err(CredentialsError::Malformed {
                field,
                expected: "text that is not empty",
            });
        }
        Ok(text)
    }

    pub(super) fn secret(self, field: &'static str, chars_max: usize) -> Result<Secret<String>, CredentialsError> {
        self.filled_text(field, chars_max).map(Secret::new)
    }

    /// An empty text is what some clients send for "none".
    pub(super) fn optional_secret(
        self,
        field: &'static str,
        chars_max: usize,
    ) -> Result<Option<Secret<String>>, CredentialsError> {
        let text = self.optional_text(field, chars_max)?;
        Ok(text.filter(|text| !text.is_empty()).map(Secret::new))
    }

    pub(super) fn optional_text(
        self,
        field: &'static str,
        chars_max: usize,
    ) -> Result<Option<String>, CredentialsError> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => {
                check_length(field, text, chars_max)?;
                Ok(Some(text.clone()))
            }
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(CredentialsError::Malformed {
                    field,
                    expected: "text",
                })
            }
        }
    }

    pub(super) fn optional_object(self, field: &'static str) -> Result<Option<&'a JsonObject>, CredentialsError> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                Err(CredentialsError::Malformed {
                    field,
                    expected: "a JSON object",
                })
            }
        }
    }

    /// `raw`: the provider's answer, empty when there is none.
    pub(super) fn raw(self) -> Result<Secret<JsonObject>, CredentialsError> {
        Ok(Secret::new(self.optional_object("raw")?.cloned().unwrap_or_default()))
    }

    /// A date as text (without an offset: UTC), or a number of milliseconds since 1970, as JavaScript's dates are.
    pub(super) fn optional_time_ms(self, field: &'static str) -> Result<Option<i64>, CredentialsError> {
        let time_ms = match self.0.get(field) {
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

    /// A client by the names of its two fields; none when neither is there.
    pub(super) fn optional_client(
        self,
        id_field: &'static str,
        secret_field: &'static str,
    ) -> Result<Option<OAuthClient>, CredentialsError> {
        let id = self
            .optional_text(id_field, CLIENT_CHARS_MAX)?
            .filter(|id| !id.is_empty());
        let secret = self.optional_secret(secret_field, CLIENT_CHARS_MAX)?;
        match (id, secret) {
            (None, None) => Ok(None),
            (Some(client_id), secret) => Ok(Some(OAuthClient {
                client_id,
                client_secret: secret.unwrap_or_else(|| Secret::new(String::new())),
            })),
            (None, Some(_)) => Err(CredentialsError::Missing { field: id_field }),
        }
    }
}

pub(super) fn check_length(field: &str, text: &str, chars_max: usize) -> Result<(), CredentialsError> {
    // Characters are at most as many as bytes, which costs nothing to know.
    let chars = if text.len() > chars_max {
        text.chars().count()
    } else {
        0
    };
    if chars <= chars_max {
        return Ok(());
    }
    Err(CredentialsError::TooLong {
        field: field.to_owned(),
        chars,
        chars_max,
    })
}

fn parse_time_ms(text: &str) -> Option<i64> {
    let timestamp = text.parse::<Timestamp>().ok().or_else(|| {
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        jiff::tz::Offset::UTC.to_timestamp(civil).ok()
    })?;
    Some(timestamp.as_millisecond())
}

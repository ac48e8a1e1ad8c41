//! Credentials as JSON: the shape of the public API, which is also what is sealed.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{Credentials, OAuthClient, Secret};
use crate::model::JsonObject;

impl Credentials {
    /// All of it, in the shape of the public API: what is sealed.
    #[must_use]
    pub fn to_json(&self) -> Value {
        if matches!(self, Self::None) {
            return json!({});
        }
        let mut object = Object::of(self.mode());
        match self {
            Self::ApiKey { api_key } => object.secret("apiKey", api_key),
            Self::Basic { username, password } => {
                object.text("username", username);
                object.secret("password", password);
            }
            Self::OAuth2 {
                access_token,
                refresh_token,
                expires_at_ms,
                raw,
                config_override,
            } => {
                object = Object(oauth2_fields(access_token, refresh_token.as_ref(), *expires_at_ms));
                object.raw(raw);
                object.config_override(config_override.as_ref());
            }
            Self::OAuth2Cc {
                token,
                expires_at_ms,
                client,
                client_certificate,
                client_private_key,
                raw,
            } => {
                object.optional_secret("token", token.as_ref());
                object.time("expires_at", *expires_at_ms);
                object.client(client);
                object.optional_secret("client_certificate", client_certificate.as_ref());
                object.optional_secret("client_private_key", client_private_key.as_ref());
                object.raw(raw);
            }
            Self::OAuth1 {
                oauth_token,
                oauth_token_secret,
                raw,
            } => {
                object.secret("oauth_token", oauth_token);
                object.secret("oauth_token_secret", oauth_token_secret);
                object.raw(raw);
            }
            Self::Tba {
                token_id,
                token_secret,
                config_override,
            } => {
                object.secret("token_id", token_id);
                object.secret("token_secret", token_secret);
                object.config_override(config_override.as_ref());
            }
            Self::AwsSigV4(aws) => {
                object.optional_text("role_arn", aws.role_arn.as_ref());
                object.text("region", &aws.region);
                object.text("service", &aws.service);
                if !self.lacks_token() {
                    object.secret("access_key_id", &aws.access_key_id);
                    object.secret("secret_access_key", &aws.secret_access_key);
                }
                object.optional_secret("session_token", aws.session_token.as_ref());
                object.time("expires_at", aws.expires_at_ms);
                object.optional_text("external_id", aws.external_id.as_ref());
                object.raw(&aws.raw);
            }
            Self::App {
                access_token,
                expires_at_ms,
                raw,
                jwt_token,
            } => {
                object.optional_secret("access_token", access_token.as_ref());
                object.time("expires_at", *expires_at_ms);
                object.raw(raw);
                object.optional_secret("jwtToken", jwt_token.as_ref());
            }
            Self::Session {
                kind,
                token,
                expires_at_ms,
                fields,
            } => {
                object.0.append(&mut fields.expose().clone());
                object.optional_secret(kind.token_field(), token.as_ref());
                object.time("expires_at", *expires_at_ms);
            }
            Self::None => {}
        }
        Value::Object(object.0)
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

/// An object in the making; what is none is left out.
struct Object(JsonObject);

impl Object {
    fn of(mode: &str) -> Self {
        let mut object = Self(Map::new());
        object.text("type", mode);
        object
    }

    fn text(&mut self, field: &str, text: &str) {
        self.0.insert(field.to_owned(), Value::String(text.to_owned()));
    }

    fn optional_text(&mut self, field: &str, text: Option<&String>) {
        if let Some(text) = text {
            self.text(field, text);
        }
    }

    fn secret(&mut self, field: &str, secret: &Secret<String>) {
        self.text(field, secret.expose());
    }

    fn optional_secret(&mut self, field: &str, secret: Option<&Secret<String>>) {
        if let Some(secret) = secret {
            self.secret(field, secret);
        }
    }

    fn time(&mut self, field: &str, time_ms: Option<i64>) {
        if let Some(time) = time_ms.and_then(iso8601_ms) {
            self.text(field, &time);
        }
    }

    fn raw(&mut self, raw: &Secret<JsonObject>) {
        self.0.insert("raw".to_owned(), Value::Object(raw.expose().clone()));
    }

    fn client(&mut self, client: &OAuthClient) {
        self.text("client_id", &client.client_id);
        self.secret("client_secret", &client.client_secret);
    }

    fn config_override(&mut self, client: Option<&OAuthClient>) {
        if let Some(client) = client {
            let mut object = Self(Map::new());
            object.client(client);
            self.0.insert("config_override".to_owned(), Value::Object(object.0));
        }
    }
}

/// The fields of an OAuth 2 token but `raw`, in the public shape.
pub(super) fn oauth2_fields(
    access_token: &Secret<String>,
    refresh_token: Option<&Secret<String>>,
    expires_at_ms: Option<i64>,
) -> JsonObject {
    let mut object = Object::of("OAUTH2");
    object.secret("access_token", access_token);
    object.optional_secret("refresh_token", refresh_token);
    object.time("expires_at", expires_at_ms);
    object.0
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

//! What template variables find in credentials and in JSON objects.

use std::borrow::Cow;

use serde_json::Value;

use super::{AwsCredentials, Credentials, OAuthClient, json};
use crate::model::JsonObject;

impl Credentials {
    /// The value of a template variable: `apiKey`, `username`, `password`, `accessToken` (the token of any type that has
    /// one), any stored field by its name, and all of them below `credentials.`, for example `credentials.raw.team.id`.
    /// None for names that are not credentials' and for values that are neither text nor number.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<Cow<'_, str>> {
        let name = name.strip_prefix("credentials.").unwrap_or(name);
        if name == "accessToken" {
            return self.access_token().map(|token| Cow::Borrowed(token.expose().as_str()));
        }
        if name == "expires_at" {
            return self.expires_at_ms().and_then(json::iso8601_ms).map(Cow::Owned);
        }
        match self {
            Self::ApiKey { api_key } => match name {
                "apiKey" | "api_key" => text(api_key.expose()),
                _ => None,
            },
            Self::Basic { username, password } => match name {
                "username" => text(username),
                "password" => text(password.expose()),
                _ => None,
            },
            Self::OAuth2 {
                access_token,
                refresh_token,
                raw,
                config_override,
                ..
            } => match name {
                "access_token" => text(access_token.expose()),
                "refresh_token" => refresh_token.as_ref().and_then(|token| text(token.expose())),
                _ => client_override(config_override.as_ref(), name).or_else(|| below_raw(raw.expose(), name)),
            },
            Self::OAuth2Cc {
                token,
                client,
                client_certificate,
                client_private_key,
                raw,
                ..
            } => match name {
                "token" | "access_token" => token.as_ref().and_then(|token| text(token.expose())),
                "client_id" => text(&client.client_id),
                "client_secret" => text(client.client_secret.expose()),
                "client_certificate" => client_certificate.as_ref().and_then(|pem| text(pem.expose())),
                "client_private_key" => client_private_key.as_ref().and_then(|pem| text(pem.expose())),
                _ => below_raw(raw.expose(), name),
            },
            Self::OAuth1 {
                oauth_token,
                oauth_token_secret,
                raw,
            } => match name {
                "oauth_token" => text(oauth_token.expose()),
                "oauth_token_secret" => text(oauth_token_secret.expose()),
                _ => below_raw(raw.expose(), name),
            },
            Self::Tba {
                token_id,
                token_secret,
                config_override,
            } => match name {
                "token_id" => text(token_id.expose()),
                "token_secret" => text(token_secret.expose()),
                _ => client_override(config_override.as_ref(), name),
            },
            Self::AwsSigV4(aws) => aws.variable(name),
            Self::App {
                access_token,
                raw,
                jwt_token,
                ..
            } => match name {
                "access_token" => access_token.as_ref().and_then(|token| text(token.expose())),
                "jwtToken" => jwt_token.as_ref().and_then(|token| text(token.expose())),
                _ => below_raw(raw.expose(), name),
            },
            Self::Session {
                kind, token, fields, ..
            } => {
                if name == kind.token_field() {
                    token.as_ref().and_then(|token| text(token.expose()))
                } else {
                    lookup(fields.expose(), name)
                }
            }
            Self::None => None,
        }
    }
}

impl AwsCredentials {
    fn variable(&self, name: &str) -> Option<Cow<'_, str>> {
        match name {
            "region" => text(&self.region),
            "service" => text(&self.service),
            "access_key_id" => text(self.access_key_id.expose()),
            "secret_access_key" => text(self.secret_access_key.expose()),
            "session_token" => self.session_token.as_ref().and_then(|token| text(token.expose())),
            "role_arn" => self.role_arn.as_deref().map(Cow::Borrowed),
            "external_id" => self.external_id.as_deref().map(Cow::Borrowed),
            _ => below_raw(self.raw.expose(), name),
        }
    }
}

/// Always some; an option to be the arm of a match with others.
fn text(text: &str) -> Option<Cow<'_, str>> {
    Some(Cow::Borrowed(text))
}

fn client_override<'c>(client: Option<&'c OAuthClient>, name: &str) -> Option<Cow<'c, str>> {
    let client = client?;
    match name {
        "config_override.client_id" => text(&client.client_id),
        "config_override.client_secret" => text(client.client_secret.expose()),
        _ => None,
    }
}

/// A field of the provider's token answer, with or without `raw.` before it.
fn below_raw<'r>(raw: &'r JsonObject, name: &str) -> Option<Cow<'r, str>> {
    lookup(raw, name.strip_prefix("raw.").unwrap_or(name))
}

/// The text or number at a dotted path of a JSON object. A key that itself holds the dots is found too. What template
/// variables such as `connectionConfig.subdomain` are looked up with, once their prefix is removed.
#[must_use]
pub fn lookup<'o>(object: &'o JsonObject, path: &str) -> Option<Cow<'o, str>> {
    let nested = path.split_once('.').and_then(|(head, rest)| match object.get(head)? {
        Value::Object(inner) => lookup(inner, rest),
        Value::Array(items) => element(items, rest),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    });
    nested.or_else(|| scalar(object.get(path)?))
}

/// `0.id`: lists are indexed as objects are.
fn element<'o>(items: &'o [Value], path: &str) -> Option<Cow<'o, str>> {
    let (index, rest) = path
        .split_once('.')
        .map_or((path, None), |(index, rest)| (index, Some(rest)));
    let item = items.get(index.parse::<usize>().ok()?)?;
    match (item, rest) {
        (Value::Object(inner), Some(rest)) => lookup(inner, rest),
        (Value::Array(inner), Some(rest)) => element(inner, rest),
        (item, None) => scalar(item),
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), Some(_)) => None,
    }
}

fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

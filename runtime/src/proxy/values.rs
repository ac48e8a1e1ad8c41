//! The names that a provider's templates may use, and what they stand for in one connection. Fills templates in; knows
//! nothing of URLs or headers.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::ProxyError;
use crate::connections::Target;
use crate::credentials::Credentials;
use crate::model::JsonObject;
use crate::provider::template::{self, TemplateError};

/// Fills a template in with the target's values; `place` says in errors what the template is for.
pub(super) fn fill<'t>(
    target: &Target,
    template: &'t str,
    place: &str,
    encode: &dyn Fn(&str) -> String,
) -> Result<Cow<'t, str>, ProxyError> {
    // Most base URLs and many headers are plain text.
    if !template.contains("${") && !template.contains("||") {
        return Ok(Cow::Borrowed(template));
    }
    template::render(template, &|name| lookup(target, name), encode)
        .map(Cow::Owned)
        .map_err(|source| match source {
            TemplateError::Missing { name } => ProxyError::MissingValue {
                provider: target.provider.name.clone(),
                connection_id: target.connection.connection_id.clone(),
                place: place.to_owned(),
                name,
            },
            source @ TemplateError::Malformed { .. } => ProxyError::Template {
                provider: target.provider.name.clone(),
                place: place.to_owned(),
                source,
            },
        })
}

/// The value of a name in a template; an empty one counts as missing.
pub(super) fn lookup(target: &Target, name: &str) -> Option<String> {
    let scoped = |prefixes: [&str; 2]| prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
    let value = if let Some(key) = scoped(["connectionConfig.", "connection_config."]) {
        at(&target.connection_config, key)
    } else if let Some(key) = scoped(["integrationConfig.", "integration_config."]) {
        at(&target.integration_config, key)
    } else if let Some(key) = name.strip_prefix("metadata.") {
        at(&target.connection.metadata, key)
    } else if let Some(key) = name.strip_prefix("credentials.") {
        credential(&target.credentials, key)
    } else {
        match name {
            "connectionId" | "connection_id" => Some(target.connection.connection_id.clone()),
            "providerConfigKey" | "provider_config_key" => Some(target.integration.unique_key.clone()),
            "clientId" => client_id(&target.integration_config),
            _ => credential(&target.credentials, name),
        }
    };
    value.filter(|value| !value.is_empty())
}

fn client_id(integration_config: &JsonObject) -> Option<String> {
    ["client_id", "clientId", "oauth_client_id"]
        .iter()
        .find_map(|key| at(integration_config, key))
}

/// A credential by the name it has in the public API or in templates.
fn credential(credentials: &Credentials, name: &str) -> Option<String> {
    match (credentials, name) {
        (Credentials::ApiKey { api_key }, "apiKey" | "api_key") => Some(api_key.expose().clone()),
        (Credentials::Basic { username, .. }, "username") => Some(username.clone()),
        (Credentials::Basic { password, .. }, "password") => Some(password.expose().clone()),
        (Credentials::OAuth2 { access_token, .. }, "accessToken" | "access_token") => {
            Some(access_token.expose().clone())
        }
        (Credentials::OAuth2 { raw, .. }, name) => at(raw.expose(), name.strip_prefix("raw.").unwrap_or(name)),
        (Credentials::ApiKey { .. } | Credentials::Basic { .. } | Credentials::None, _) => None,
    }
}

/// The text or number at a dotted path, else under the flat key that holds the dots.
pub(super) fn at(object: &JsonObject, path: &str) -> Option<String> {
    let nested = path.split_once('.').and_then(|(key, rest)| match object.get(key)? {
        Value::Object(inner) => at(inner, rest),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    });
    nested.or_else(|| match object.get(path)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    })
}

/// The `authorization` value that the kind of credentials implies; none where the provider's data says it all.
pub(super) fn default_authorization(credentials: &Credentials) -> Option<String> {
    match credentials {
        Credentials::OAuth2 { access_token, .. } => Some(format!("Bearer {}", access_token.expose())),
        Credentials::Basic { username, password } => {
            let pair = format!("{username}:{}", password.expose());
            Some(format!("Basic {}", STANDARD.encode(pair)))
        }
        Credentials::ApiKey { .. } | Credentials::None => None,
    }
}

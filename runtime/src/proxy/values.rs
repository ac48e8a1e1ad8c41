//! The names that a provider's templates may use, and what they stand for in one connection. Fills templates in; knows
//! nothing of URLs or headers.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ProxyError;
use crate::connections::Target;
use crate::credentials::{self, Credentials, SessionKind};
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
        target.credentials.variable(key).map(Cow::into_owned)
    } else {
        match name {
            "connectionId" | "connection_id" => Some(target.connection.connection_id.clone()),
            "providerConfigKey" | "provider_config_key" => Some(target.integration.unique_key.clone()),
            "clientId" => client_id(&target.integration_config),
            _ => target.credentials.variable(name).map(Cow::into_owned),
        }
    };
    value.filter(|value| !value.is_empty())
}

fn client_id(integration_config: &JsonObject) -> Option<String> {
    ["client_id", "clientId", "oauth_client_id"]
        .iter()
        .find_map(|key| at(integration_config, key))
}

/// The text or number at a dotted path, else under the flat key that holds the dots.
pub(super) fn at(object: &JsonObject, path: &str) -> Option<String> {
    credentials::lookup(object, path).map(Cow::into_owned)
}

/// The `authorization` value that the kind of credentials implies; none where the provider's data says it all, and where
/// the whole request is signed.
pub(super) fn default_authorization(credentials: &Credentials) -> Option<String> {
    match credentials {
        Credentials::Basic { username, password } => {
            let pair = format!("{username}:{}", password.expose());
            Some(format!("Basic {}", STANDARD.encode(pair)))
        }
        // A session at Bill.com is no bearer token.
        Credentials::Session {
            kind: SessionKind::Bill,
            ..
        } => None,
        Credentials::OAuth2 { .. }
        | Credentials::OAuth2Cc { .. }
        | Credentials::App { .. }
        | Credentials::Session { .. } => {
            let token = credentials.access_token()?;
            Some(format!("Bearer {}", token.expose()))
        }
        Credentials::ApiKey { .. }
        | Credentials::OAuth1 { .. }
        | Credentials::Tba { .. }
        | Credentials::AwsSigV4(_)
        | Credentials::None => None,
    }
}

//! Integrations: looking up, creating, changing and deleting them, and the credentials of the customer's own OAuth app.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::sealing::IntegrationSecrets;
use super::validation::{self, CONFIG_BYTES_MAX};
use super::{Connections, ConnectionsError, IntegrationPatch, NewIntegration, fields};
use crate::model::{EnvironmentId, Integration, IntegrationId, JsonObject};
use crate::provider::{AuthMode, Provider};
use crate::store::ConnectionQuery;

pub const CLIENT_ID_CHARS_MAX: usize = 255;
pub const CLIENT_SECRET_CHARS_MAX: usize = 2_048;
const SCOPES_CHARS_MAX: usize = 4_096;

impl Connections {
    pub async fn integration(
        &self,
        environment_id: &EnvironmentId,
        unique_key: &str,
    ) -> Result<Arc<Integration>, ConnectionsError> {
        let inner = &self.0;
        if let Some(integration) = inner.caches.integration(environment_id, unique_key) {
            return Ok(integration);
        }
        let ticket = inner.caches.ticket();
        let integration = Arc::new(self.stored_integration(environment_id, unique_key).await?);
        inner.caches.keep_integration(ticket, &integration);
        Ok(integration)
    }

    /// Newest first.
    pub async fn integrations(&self, environment_id: &EnvironmentId) -> Result<Vec<Integration>, ConnectionsError> {
        Ok(self.0.store.integrations(environment_id).await?)
    }

    pub async fn create_integration(
        &self,
        environment_id: &EnvironmentId,
        new: NewIntegration,
    ) -> Result<Integration, ConnectionsError> {
        let inner = &self.0;
        let provider = inner.provider(&new.provider)?;
        validation::unique_key("unique_key", &new.unique_key)?;
        let display_name = new.display_name.unwrap_or_else(|| provider.display_name.clone());
        validation::display_name("display_name", &display_name)?;
        let secrets = IntegrationSecrets {
            credentials: credentials(&provider, new.credentials)?,
            custom: custom(&provider, new.custom)?,
        };
        let now_ms = inner.clock.now_ms();
        let mut integration = Integration {
            id: IntegrationId::new(now_ms, inner.entropy.bytes()),
            environment_id: environment_id.clone(),
            unique_key: new.unique_key,
            provider: new.provider,
            display_name,
            secrets: None,
            forward_webhooks: new.forward_webhooks,
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
        };
        inner.seal_integration(&mut integration, &secrets);
        let inserted = inner.store.insert_integration(&integration).await;
        inner.caches.forget_integration(environment_id, &integration.unique_key);
        if inserted? {
            Ok(integration)
        } else {
            Err(ConnectionsError::IntegrationExists {
                unique_key: integration.unique_key,
            })
        }
    }

    pub async fn update_integration(
        &self,
        environment_id: &EnvironmentId,
        unique_key: &str,
        patch: IntegrationPatch,
    ) -> Result<Integration, ConnectionsError> {
        let inner = &self.0;
        let mut integration = self.stored_integration(environment_id, unique_key).await?;
        if let Some(display_name) = patch.display_name {
            validation::display_name("display_name", &display_name)?;
            integration.display_name = display_name;
        }
        if patch.credentials.is_some() || patch.custom.is_some() {
            let provider = inner.provider(&integration.provider)?;
            let mut secrets = inner.integration_secrets(&integration)?;
            if patch.credentials.is_some() {
                secrets.credentials = credentials(&provider, patch.credentials)?;
            }
            if let Some(values) = patch.custom {
                secrets.custom = custom(&provider, values)?;
            }
            inner.seal_integration(&mut integration, &secrets);
        }
        integration.forward_webhooks = patch.forward_webhooks.unwrap_or(integration.forward_webhooks);
        integration.updated_at_ms = inner.clock.now_ms();
        if let Some(new_key) = patch.unique_key.filter(|new_key| new_key != unique_key) {
            validation::unique_key("unique_key", &new_key)?;
            self.check_rename(environment_id, unique_key, &new_key).await?;
            integration.unique_key = new_key;
        }
        let updated = inner.store.update_integration(&integration).await;
        inner.caches.forget_integration(environment_id, unique_key);
        inner.caches.forget_integration(environment_id, &integration.unique_key);
        if updated? {
            Ok(integration)
        } else {
            Err(unknown_integration(unique_key))
        }
    }

    /// Deletes it with its connections, functions, syncs, checkpoints and records.
    pub async fn delete_integration(
        &self,
        environment_id: &EnvironmentId,
        unique_key: &str,
    ) -> Result<(), ConnectionsError> {
        let inner = &self.0;
        let deleted = inner.store.delete_integration(environment_id, unique_key).await;
        inner.caches.forget_integration(environment_id, unique_key);
        if deleted? {
            Ok(())
        } else {
            Err(unknown_integration(unique_key))
        }
    }

    /// The opened `credentials` JSON of an integration (client id, secret, scopes), for callers entitled to it.
    pub fn integration_credentials(&self, integration: &Integration) -> Result<Option<Value>, ConnectionsError> {
        Ok(self.0.integration_secrets(integration)?.credentials)
    }

    /// Connections and their callers know the key by heart, so only an integration without connections gets another.
    async fn check_rename(
        &self,
        environment_id: &EnvironmentId,
        unique_key: &str,
        new_key: &str,
    ) -> Result<(), ConnectionsError> {
        let store = &self.0.store;
        if store.integration(environment_id, new_key).await?.is_some() {
            return Err(ConnectionsError::IntegrationExists {
                unique_key: new_key.to_owned(),
            });
        }
        let query = ConnectionQuery {
            integration_ids: vec![unique_key.to_owned()],
            limit: 1,
            ..ConnectionQuery::default()
        };
        if store.connections(environment_id, &query).await?.is_empty() {
            Ok(())
        } else {
            Err(ConnectionsError::IntegrationInUse {
                unique_key: unique_key.to_owned(),
            })
        }
    }

    /// The row as it is now: what is written must not rest on a copy that another process has changed since.
    pub(super) async fn stored_integration(
        &self,
        environment_id: &EnvironmentId,
        unique_key: &str,
    ) -> Result<Integration, ConnectionsError> {
        let integration = self.0.store.integration(environment_id, unique_key).await?;
        integration.ok_or_else(|| unknown_integration(unique_key))
    }
}

fn unknown_integration(unique_key: &str) -> ConnectionsError {
    ConnectionsError::UnknownIntegration {
        unique_key: unique_key.to_owned(),
    }
}

fn custom(provider: &Provider, values: JsonObject) -> Result<JsonObject, ConnectionsError> {
    validation::size("custom", &values, CONFIG_BYTES_MAX)?;
    fields::integration_config(provider, &values)?;
    Ok(values)
}

/// Credentials of the customer's app at the provider. OAuth 2 does without as long as tokens are imported; the other modes know none.
fn credentials(provider: &Provider, given: Option<Value>) -> Result<Option<Value>, ConnectionsError> {
    let auth_mode = provider.auth_mode_name();
    match (provider.auth_mode, given.filter(|value| !value.is_null())) {
        (AuthMode::Unsupported, _) => Err(ConnectionsError::UnsupportedAuthMode {
            provider: provider.name.clone(),
            auth_mode: auth_mode.to_owned(),
        }),
        (AuthMode::OAuth2, Some(given)) => oauth2_app(provider, given).map(Some),
        (AuthMode::OAuth2 | AuthMode::ApiKey | AuthMode::Basic | AuthMode::None, None) => Ok(None),
        (AuthMode::ApiKey | AuthMode::Basic | AuthMode::None, Some(_)) => {
            let message = format!(
                "provider {:?} authenticates with {auth_mode}: credentials belong to its connections, not to the integration",
                provider.name
            );
            Err(ConnectionsError::invalid("credentials", message))
        }
    }
}

/// `{type, client_id, client_secret, scopes, webhook_secret}`; scopes are the provider's when none are given.
fn oauth2_app(provider: &Provider, given: Value) -> Result<Value, ConnectionsError> {
    let Value::Object(mut given) = given else {
        return Err(ConnectionsError::invalid("credentials", "must be a JSON object"));
    };
    match given.remove("type") {
        Some(Value::String(mode)) if mode == provider.auth_mode_name() => {}
        Some(Value::String(mode)) => {
            return Err(ConnectionsError::CredentialsType {
                provider: provider.name.clone(),
                auth_mode: provider.auth_mode_name().to_owned(),
                given: mode.chars().take(64).collect(),
            });
        }
        Some(_) | None => {
            let message = format!("must be {:?}", provider.auth_mode_name());
            return Err(ConnectionsError::invalid("credentials.type", message));
        }
    }
    let mut app = Map::new();
    app.insert("type".to_owned(), provider.auth_mode_name().into());
    let fields = [
        ("client_id", CLIENT_ID_CHARS_MAX, true),
        ("client_secret", CLIENT_SECRET_CHARS_MAX, true),
        ("scopes", SCOPES_CHARS_MAX, false),
        ("webhook_secret", CLIENT_SECRET_CHARS_MAX, false),
    ];
    for (field, chars_max, required) in fields {
        if let Some(text) = app_field(&mut given, field, chars_max, required)? {
            app.insert(field.to_owned(), text.into());
        }
    }
    if let Some(unknown) = given.keys().next() {
        let message = "is not known; known are type, client_id, client_secret, scopes, webhook_secret";
        return Err(ConnectionsError::invalid(format!("credentials.{unknown}"), message));
    }
    if !app.contains_key("scopes") {
        app.insert("scopes".to_owned(), provider.default_scopes().join(",").into());
    }
    Ok(Value::Object(app))
}

/// Takes one text out of the app's credentials; empty counts as not given.
fn app_field(
    given: &mut JsonObject,
    field: &str,
    chars_max: usize,
    required: bool,
) -> Result<Option<String>, ConnectionsError> {
    let path = || format!("credentials.{field}");
    match given.remove(field) {
        Some(Value::String(text)) if !text.is_empty() => {
            let chars = text.chars().count();
            if chars > chars_max {
                let message = format!("is {chars} characters long; at most {chars_max} are allowed");
                return Err(ConnectionsError::invalid(path(), message));
            }
            Ok(Some(text))
        }
        None | Some(Value::Null | Value::String(_)) if required => Err(ConnectionsError::invalid(path(), "is missing")),
        None | Some(Value::Null | Value::String(_)) => Ok(None),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(ConnectionsError::invalid(path(), "must be text"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provider::Catalogue;

    fn check(provider: &str, given: Option<Value>) -> Result<Option<Value>, String> {
        let catalogue = Catalogue::shipped().unwrap();
        credentials(catalogue.get(provider).unwrap(), given).map_err(|error| error.to_string())
    }

    #[test]
    fn an_oauth2_integration_may_have_an_app() {
        let app = json!({"type": "OAUTH2", "client_id": "cid", "client_secret": "csecret", "scopes": "repo,user"});
        assert_eq!(check("github", Some(app.clone())), Ok(Some(app)));
        assert_eq!(check("github", None), Ok(None), "tokens can be imported without one");
        let without_scopes = json!({"type": "OAUTH2", "client_id": "cid", "client_secret": "s", "scopes": null});
        assert_eq!(check("github", Some(without_scopes)).unwrap().unwrap()["scopes"], "");
        for (given, message) in [
            (
                Some(json!({"type": "API_KEY"})),
                "provider \"github\" takes OAUTH2 credentials, not API_KEY",
            ),
            (Some(json!({"client_id": "x"})), "credentials.type: must be \"OAUTH2\""),
            (
                Some(json!({"type": "OAUTH2", "client_id": ""})),
                "credentials.client_id: is missing",
            ),
            (
                Some(json!({"type": "OAUTH2", "client_id": "c", "client_secret": 5})),
                "credentials.client_secret: must be text",
            ),
            (
                Some(json!({"type": "OAUTH2", "client_id": "c", "client_secret": "s", "x": 1})),
                "credentials.x: is not known",
            ),
            (Some(json!("x")), "credentials: must be a JSON object"),
        ] {
            let error = check("github", given).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn other_modes_have_no_app() {
        assert_eq!(check("unauthenticated", None), Ok(None));
        assert_eq!(check("github-pat", Some(Value::Null)), Ok(None));
        let error = check("github-pat", Some(json!({"type": "API_KEY"}))).unwrap_err();
        assert!(error.contains("credentials belong to its connections"), "{error}");
    }
}

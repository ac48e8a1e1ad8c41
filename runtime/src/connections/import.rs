//! Importing a connection: checking what is given, then creating it or overwriting the one with the same id.

use std::sync::Arc;

use serde_json::Value;

use super::validation::{self, CONFIG_BYTES_MAX, METADATA_BYTES_MAX};
use super::{
    Connections, ConnectionsError, NewConnection, Target, VERIFICATION_INTERVAL_MS, aws, fields, freshness,
    unknown_connection,
};
use crate::credentials::{Credentials, CredentialsError, CredentialsType};
use crate::model::{Connection, ConnectionKey, EnvironmentId, Made, RefreshState, Sealed};
use crate::provider::Provider;
use crate::store::{Consequences, StoreError};

impl Connections {
    /// Creates or overwrites, with credentials as they are given. Elsewhere tokens that are not given are obtained between the
    /// two steps.
    #[cfg(test)]
    pub(crate) async fn import(
        &self,
        environment_id: &EnvironmentId,
        new: NewConnection,
    ) -> Result<Arc<Target>, ConnectionsError> {
        let draft = self.draft(environment_id, new).await?;
        let nothing = |_: &Connection, _| Consequences::default();
        Ok(self.keep(&draft, None, None, None, nothing).await?.0)
    }

    /// Checks what is given and makes of it what a request can be built from; nothing is stored. Credentials may be without
    /// their token yet.
    pub async fn draft(
        &self,
        environment_id: &EnvironmentId,
        mut new: NewConnection,
    ) -> Result<Target, ConnectionsError> {
        let inner = &self.0;
        let integration = Arc::new(
            self.stored_integration(environment_id, &new.provider_config_key)
                .await?,
        );
        let provider = inner.provider(&integration.provider)?;
        let mut webhook_url_override = None;
        let mut replaced = None;
        let connection_id = match new.connection_id.take() {
            Some(id) => {
                validation::connection_id("connection_id", &id)?;
                let stored = inner
                    .store
                    .connection(environment_id, &integration.unique_key, &id)
                    .await?;
                if let Some(stored) = stored {
                    webhook_url_override.clone_from(&stored.webhook_url_override);
                    replaced = Some(stored);
                }
                id
            }
            None => uuid::Builder::from_random_bytes(inner.entropy.bytes())
                .into_uuid()
                .to_string(),
        };
        match new.webhook_url_override.take() {
            Some(url) if url.is_empty() => webhook_url_override = None,
            Some(url) => webhook_url_override = Some(validation::webhook_url("webhook_url_override", url)?),
            None => {}
        }
        move_app_fields(&provider, &mut new);
        aws::complete(
            &provider,
            &inner.integration_secrets(&integration)?.custom,
            &mut new,
            || {
                let had = replaced.and_then(|stored| inner.open(Arc::clone(&integration), stored).ok());
                had.and_then(|target| target.external_id().map(str::to_owned))
                    .unwrap_or_else(|| {
                        uuid::Builder::from_random_bytes(inner.entropy.bytes())
                            .into_uuid()
                            .to_string()
                    })
            },
        )?;
        let credentials = credentials(&provider, &new.credentials)?;
        validation::size("connection_config", &new.connection_config, CONFIG_BYTES_MAX)?;
        fields::connection_config(&provider, &new.connection_config)?;
        validation::size("metadata", &new.metadata, METADATA_BYTES_MAX)?;
        let now_ms = inner.clock.now_ms();
        let connection = Connection {
            key: ConnectionKey::new(now_ms, inner.entropy.bytes()),
            environment_id: environment_id.clone(),
            integration_id: integration.id.clone(),
            provider_config_key: integration.unique_key.clone(),
            provider: integration.provider.clone(),
            connection_id,
            credentials: Sealed(Vec::new()),
            connection_config: Sealed(Vec::new()),
            metadata: new.metadata,
            tags: validation::tags("tags", new.tags)?,
            end_user: new.end_user.map(validation::end_user).transpose()?,
            webhook_url_override,
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
            refresh: RefreshState::default(),
        };
        inner.target(integration, connection, credentials, new.connection_config)
    }

    /// Stores a draft. `obtained_at_ms` is when its credentials were obtained, if they were not given. With `replaces` it is stored
    /// only in the place of that connection. What `announce` makes of the connection as stored is written with it; with
    /// `validation_until_ms` that is left to [`Connections::accept`], which must come until then, or [`Connections::refuse`].
    ///
    /// # Errors
    /// [`ConnectionsError::UnknownConnection`] when the connection that it replaces was deleted meanwhile.
    pub async fn keep(
        &self,
        draft: &Target,
        replaces: Option<&ConnectionKey>,
        obtained_at_ms: Option<i64>,
        validation_until_ms: Option<i64>,
        announce: impl FnOnce(&Connection, Made) -> Consequences + Send,
    ) -> Result<(Arc<Target>, Made), ConnectionsError> {
        let inner = &self.0;
        let mut connection = Connection::clone(&draft.connection);
        connection.refresh = RefreshState {
            due_at_ms: freshness::due_at_ms(draft, &draft.credentials, obtained_at_ms),
            ..RefreshState::default()
        };
        inner.seal_connection(&mut connection, &draft.credentials, draft.connection_config.clone());
        let stored = inner
            .store
            .upsert_and_announce(&connection, replaces, validation_until_ms, announce)
            .await;
        let integration = Arc::clone(&draft.integration);
        inner.caches.forget_connection(
            &connection.environment_id,
            &connection.provider_config_key,
            &connection.connection_id,
        );
        let (stored, made) = match stored {
            Err(StoreError::ParentGone(_)) if replaces.is_some() => {
                return Err(unknown_connection(
                    &connection.provider_config_key,
                    &connection.connection_id,
                ));
            }
            stored => stored?,
        };
        if draft.is_tried_daily() {
            let due_at_ms = stored.updated_at_ms.saturating_add(VERIFICATION_INTERVAL_MS);
            inner.store.set_verification_due(&stored.key, due_at_ms).await?;
        }
        Ok((Arc::new(inner.open(integration, stored)?), made))
    }
}

/// An installation of an app is named in its credentials, and is part of the connection_config from then on. (Nango
/// compatibility.)
fn move_app_fields(provider: &Provider, new: &mut NewConnection) {
    if !provider.auth_mode.has_app() {
        return;
    }
    let Value::Object(given) = &mut new.credentials else {
        return;
    };
    for name in ["app_id", "installation_id"] {
        match given.remove(name) {
            // Forms send what is a number as one.
            Some(Value::Number(number)) => {
                new.connection_config.insert(name.to_owned(), number.to_string().into());
            }
            Some(value) => {
                new.connection_config.insert(name.to_owned(), value);
            }
            None => {}
        }
    }
}

/// Credentials of the provider's auth mode and of no other. The `type` may be the mode's or that of what is stored.
pub(super) fn credentials(provider: &Provider, given: &Value) -> Result<Credentials, ConnectionsError> {
    let auth_mode = provider.auth_mode_name();
    let Some(stored) = provider.auth_mode.credentials_type() else {
        return Err(ConnectionsError::UnsupportedAuthMode {
            provider: provider.name.clone(),
            auth_mode: auth_mode.to_owned(),
        });
    };
    let given_type = given.get("type").and_then(Value::as_str);
    if let Some(given) = given_type
        && given != auth_mode
        && given != stored.name()
    {
        return Err(ConnectionsError::CredentialsType {
            provider: provider.name.clone(),
            auth_mode: auth_mode.to_owned(),
            given: given.chars().take(64).collect(),
        });
    }
    let credentials = match given {
        Value::Null if stored == CredentialsType::None => Ok(Credentials::None),
        Value::Object(object) if given_type == Some(auth_mode) && auth_mode != stored.name() => {
            let mut object = object.clone();
            object.insert("type".to_owned(), stored.name().into());
            Credentials::from_json(&Value::Object(object))
        }
        given => Credentials::from_json(given),
    };
    match credentials {
        // `{}` reads as no credentials at all.
        Ok(Credentials::None) if stored != CredentialsType::None => Err(invalid(&CredentialsError::MissingType)),
        Ok(credentials) => {
            if let Credentials::Session {
                token: None, fields, ..
            } = &credentials
            {
                fields::credentials(provider, fields.expose())?;
            }
            Ok(credentials)
        }
        Err(error) => Err(invalid(&error)),
    }
}

fn invalid(error: &CredentialsError) -> ConnectionsError {
    let field = match error.field() {
        Some(field) => format!("credentials.{field}"),
        None => "credentials".to_owned(),
    };
    ConnectionsError::invalid(field, error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provider::Catalogue;

    fn check(provider: &str, given: &Value) -> Result<Credentials, String> {
        let catalogue = Catalogue::shipped().unwrap();
        credentials(catalogue.get(provider).unwrap(), given).map_err(|error| error.to_string())
    }

    #[test]
    fn credentials_are_of_the_providers_mode() {
        assert!(check("github", &json!({"type": "OAUTH2", "access_token": "t"})).is_ok());
        assert!(check("github-pat", &json!({"type": "API_KEY", "apiKey": "t"})).is_ok());
        assert!(check("unauthenticated", &json!({"type": "NONE"})).is_ok());
        assert!(check("unauthenticated", &json!({})).is_ok());
        assert!(check("unauthenticated", &Value::Null).is_ok());
        for (provider, given, message) in [
            (
                "github",
                json!({"type": "API_KEY", "apiKey": "x"}),
                "provider \"github\" takes OAUTH2 credentials, not API_KEY",
            ),
            ("github", json!({}), "credentials.type: `type` is missing"),
            ("github", Value::Null, "credentials: must be a JSON object"),
            (
                "github",
                json!({"type": "OAUTH2"}),
                "credentials.access_token: `access_token` is missing",
            ),
            (
                "unauthenticated",
                json!({"type": "NONE", "x": 1}),
                "credentials.x: `x` is not a field of NONE",
            ),
        ] {
            let error = check(provider, &given).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }
}

//! Between rows and what they mean: seals what goes into the database and opens what comes out. Places are made of what never
//! changes in a row, so that a connection imported anew keeps opening and a value moved to another row does not.

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value, json};

use super::{ConnectionsError, Inner, Masking, Target, app, incoming};
use crate::credentials::{Credentials, Secret};
use crate::model::{Connection, Integration, JsonObject, Sealed};
use crate::provider::Provider;

/// What an integration keeps secret.
#[derive(Default)]
pub(super) struct IntegrationSecrets {
    /// `{type, client_id, client_secret, scopes}` and the like.
    pub credentials: Option<Value>,
    pub custom: JsonObject,
}

impl Inner {
    /// Everything a request for the connection is built from.
    pub(super) fn open(
        &self,
        integration: Arc<Integration>,
        connection: Connection,
    ) -> Result<Target, ConnectionsError> {
        let place = connection_place(&connection, "credentials");
        let json = self.open_json(&place, &connection.credentials)?;
        let credentials = Credentials::from_json(json.expose());
        let credentials = credentials.map_err(|source| ConnectionsError::StoredCredentials { place, source })?;
        let config = self.open_json(
            &connection_place(&connection, "connection_config"),
            &connection.connection_config,
        )?;
        self.target(integration, connection, credentials, object(config.expose()))
    }

    /// The same of what is not stored yet.
    pub(super) fn target(
        &self,
        integration: Arc<Integration>,
        connection: Connection,
        credentials: Credentials,
        connection_config: JsonObject,
    ) -> Result<Target, ConnectionsError> {
        let provider = self.provider(&integration.provider)?;
        let secrets = self.integration_secrets(&integration)?;
        let masking = Masking::of_integration(secrets.credentials.as_ref());
        let client = secrets.credentials.as_ref().and_then(app::client);
        let app = secrets.credentials.as_ref().and_then(app::app_key);
        Ok(Target {
            integration,
            provider,
            credentials,
            connection_config,
            integration_config: secrets.into_config(),
            client,
            value_template: OnceLock::new(),
            app,
            masking,
            connection: Arc::new(connection),
        })
    }

    /// Puts both secrets of a connection into its row.
    pub(super) fn seal_connection(&self, row: &mut Connection, credentials: &Credentials, config: JsonObject) {
        row.credentials = self.seal_credentials(row, &Secret::new(credentials.to_json()));
        row.connection_config = self.seal_config(row, config);
    }

    /// A connection_config, for the row of this connection.
    pub(super) fn seal_config(&self, row: &Connection, config: JsonObject) -> Sealed {
        let config = Secret::new(Value::Object(config));
        self.seal_json(&connection_place(row, "connection_config"), &config)
    }

    /// Credentials in the shape of the public API, for the row of this connection.
    pub(super) fn seal_credentials(&self, row: &Connection, credentials: &Secret<Value>) -> Sealed {
        self.seal_json(&connection_place(row, "credentials"), credentials)
    }

    pub(super) fn integration_secrets(
        &self,
        integration: &Integration,
    ) -> Result<IntegrationSecrets, ConnectionsError> {
        let Some(sealed) = &integration.secrets else {
            return Ok(IntegrationSecrets::default());
        };
        let json = self.open_json(&integration_place(integration), sealed)?;
        let credentials = json.expose().get("credentials").filter(|value| !value.is_null());
        Ok(IntegrationSecrets {
            credentials: credentials.cloned(),
            custom: json.expose().get("custom").map(object).unwrap_or_default(),
        })
    }

    pub(super) fn seal_integration(&self, row: &mut Integration, secrets: &IntegrationSecrets) {
        row.secrets = if secrets.credentials.is_none() && secrets.custom.is_empty() {
            None
        } else {
            let json = json!({"credentials": secrets.credentials, "custom": secrets.custom});
            Some(self.seal_json(&integration_place(row), &Secret::new(json)))
        };
    }

    pub(super) fn provider(&self, name: &str) -> Result<Arc<Provider>, ConnectionsError> {
        match self.catalogue.get(name) {
            Some(provider) => Ok(Arc::clone(provider)),
            None => Err(ConnectionsError::UnknownProvider {
                provider: name.to_owned(),
            }),
        }
    }

    pub(super) fn open_json(&self, place: &str, sealed: &Sealed) -> Result<Secret<Value>, ConnectionsError> {
        let opened = self.keyring.open(place, sealed)?;
        match serde_json::from_slice(opened.expose()) {
            Ok(json) => Ok(Secret::new(json)),
            Err(source) => Err(ConnectionsError::StoredJson {
                place: place.to_owned(),
                source,
            }),
        }
    }

    pub(super) fn seal_json(&self, place: &str, json: &Secret<Value>) -> Sealed {
        let text = Secret::new(json.expose().to_string());
        self.keyring.seal(place, text.expose().as_bytes())
    }
}

impl IntegrationSecrets {
    /// What templates may name: the `custom` values and the client id, never the client secret.
    fn into_config(self) -> JsonObject {
        let mut config = self.custom;
        // Nobody but who checks webhooks needs it.
        config.remove(incoming::WEBHOOK_SECRET);
        let client_id = self
            .credentials
            .as_ref()
            .and_then(|credentials| credentials.get("client_id"));
        if let Some(client_id) = client_id {
            config.entry("clientId").or_insert_with(|| client_id.clone());
        }
        config
    }
}

pub(super) fn connection_place(connection: &Connection, field: &str) -> String {
    format!(
        "connection:{}:{}:{}:{field}",
        connection.environment_id, connection.integration_id, connection.connection_id
    )
}

fn integration_place(integration: &Integration) -> String {
    format!("integration:{}:secrets", integration.id)
}

fn object(value: &Value) -> JsonObject {
    value.as_object().cloned().unwrap_or_else(Map::new)
}

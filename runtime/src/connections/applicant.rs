//! An integration as an authorization needs it, before there is a connection.

use std::sync::Arc;

use serde_json::Value;

use super::validation::{self, CONFIG_BYTES_MAX};
use super::{Connections, ConnectionsError, Target, fields};
use crate::credentials::Credentials;
use crate::model::{Connection, ConnectionKey, EnvironmentId, JsonObject, RefreshState, Sealed};

/// What an authorization is asked for with.
pub struct Applicant {
    /// The connection as it would be, without credentials.
    pub target: Target,
    /// Of the integration.
    pub scopes: Vec<String>,
    /// Where the integration's app is installed.
    pub app_link: Option<String>,
    /// What the client says of itself where it registers itself.
    pub about: AboutClient,
}

/// What people read of a client at the provider.
#[derive(Clone, Debug, Default)]
pub struct AboutClient {
    pub name: Option<String>,
    pub uri: Option<String>,
    pub logo_uri: Option<String>,
}

impl Connections {
    /// The integration as it is now, with what the customer gave for `connection_config`.
    ///
    /// # Errors
    /// An integration that is not there, or a value that does not fit.
    pub async fn applicant(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        connection_config: JsonObject,
    ) -> Result<Applicant, ConnectionsError> {
        let inner = &self.0;
        let integration = Arc::new(self.stored_integration(environment_id, provider_config_key).await?);
        let provider = inner.provider(&integration.provider)?;
        validation::size("connection_config", &connection_config, CONFIG_BYTES_MAX)?;
        fields::connection_config(&provider, &connection_config)?;
        let secrets = inner.integration_secrets(&integration)?;
        let text = |name: &str| {
            let value = secrets.credentials.as_ref().and_then(|given| given.get(name));
            value.and_then(Value::as_str).filter(|text| !text.is_empty())
        };
        let scopes = text("scopes").unwrap_or_default().split(',').map(str::trim);
        let scopes = scopes.filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
        let owned = |name: &str| text(name).map(str::to_owned);
        let app_link = owned("app_link");
        let about = AboutClient {
            name: owned("client_name"),
            uri: owned("client_uri"),
            logo_uri: owned("client_logo_uri"),
        };
        let now_ms = inner.clock.now_ms();
        let connection = Connection {
            key: ConnectionKey::new(now_ms, inner.entropy.bytes()),
            environment_id: environment_id.clone(),
            integration_id: integration.id.clone(),
            provider_config_key: integration.unique_key.clone(),
            provider: integration.provider.clone(),
            connection_id: String::new(),
            credentials: Sealed(Vec::new()),
            connection_config: Sealed(Vec::new()),
            metadata: JsonObject::new(),
            tags: std::collections::BTreeMap::new(),
            end_user: None,
            webhook_url_override: None,
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
            refresh: RefreshState::default(),
        };
        let target = inner.target(integration, connection, Credentials::None, connection_config)?;
        Ok(Applicant {
            target,
            scopes,
            app_link,
            about,
        })
    }
}

//! Opening sessions, finding them by their token, ending them. Of a token only its SHA-256 is kept: it has 256 random bits, so no
//! slow hash is needed against guessing.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::{Connect, NewConnectSession, OpenSession, SessionError};
use crate::connections::{ConnectionsError, check_config, validation};
use crate::credentials::Secret;
use crate::model::{ConnectSession, ConnectSessionId, EnvironmentId, IntegrationDefaults, Reconnect};
use crate::store::{StoreError, StoredConnectSession};

/// How long a session lasts. (Nango compatibility.)
pub const SESSION_TTL_MS: i64 = 30 * 60 * 1_000;
/// How tokens begin. (Nango compatibility.)
pub const TOKEN_PREFIX: &str = "nango_connect_session_";
/// All that a session says, as JSON.
pub const SESSION_BYTES_MAX: usize = 64 * 1024;
/// Integrations that one session may name.
pub const INTEGRATIONS_MAX: usize = 1_000;
const TOKEN_BYTES: usize = 32;
/// Scopes, parameters and URLs that a session decides, each.
const TEXT_CHARS_MAX: usize = 4_096;

impl Connect {
    /// Opens a session that lasts [`SESSION_TTL_MS`].
    ///
    /// # Errors
    /// [`ConnectionsError::Invalid`]: what does not fit, or an integration or connection that is not there.
    pub async fn open(
        &self,
        environment_id: &EnvironmentId,
        new: OpenSession,
    ) -> Result<NewConnectSession, ConnectionsError> {
        let parts = &self.0;
        if let Some(reconnect) = &new.reconnect {
            self.check_reconnect(environment_id, reconnect).await?;
        }
        self.check_integrations(environment_id, &new).await?;
        for (unique_key, defaults) in &new.defaults {
            self.check_defaults(environment_id, unique_key, defaults).await?;
        }
        for (unique_key, overrides) in &new.overrides {
            if let Some(url) = &overrides.docs_connect {
                validation::link(&format!("overrides.{unique_key}.docs_connect"), url)?;
            }
        }
        let webhook_url_override = new.webhook_url_override.filter(|url| !url.is_empty());
        let now_ms = parts.clock.now_ms();
        let session = ConnectSession {
            id: ConnectSessionId::new(now_ms, parts.entropy.bytes()),
            environment_id: environment_id.clone(),
            end_user: new.end_user.map(validation::end_user).transpose()?,
            tags: validation::tags("tags", new.tags)?,
            allowed_integrations: match &new.reconnect {
                Some(reconnect) => Some(vec![reconnect.provider_config_key.clone()]),
                None => new.allowed_integrations,
            },
            defaults: new.defaults,
            overrides: new.overrides,
            webhook_url_override: webhook_url_override
                .map(|url| validation::webhook_url("webhook_url_override", url))
                .transpose()?,
            reconnect: new.reconnect,
            created_at_ms: now_ms,
            expires_at_ms: now_ms + SESSION_TTL_MS,
        };
        let token = Secret::new(new_token(parts.entropy.bytes()));
        parts
            .store
            .insert_connect_session(&self.seal(&session, &token)?)
            .await?;
        Ok(NewConnectSession {
            token,
            expires_at_ms: session.expires_at_ms,
        })
    }

    /// The session of a token.
    ///
    /// # Errors
    /// [`SessionError`]: no token, or a session that is unknown or has ended.
    pub async fn session(&self, token: &str) -> Result<ConnectSession, SessionError> {
        let parts = &self.0;
        if !is_token(token) {
            return Err(SessionError::Format);
        }
        // Looked up by hash, so that the time it takes says nothing about the token.
        let now_ms = parts.clock.now_ms();
        let stored = parts.store.connect_session(&hash(token), now_ms).await?;
        let stored = stored.ok_or(SessionError::Unknown)?;
        let place = place(&stored.id);
        let details = parts.keyring.open(&place, &stored.details)?;
        serde_json::from_slice(details.expose()).map_err(|source| SessionError::Stored { place, source })
    }

    /// Ends a session at once. Connections that it made stay.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end(&self, session: &ConnectSession) -> Result<(), StoreError> {
        self.0.store.delete_connect_session(&session.id).await?;
        Ok(())
    }

    /// Deletes sessions that have ended; gives how many. To be called now and then.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_ended(&self, now_ms: i64) -> Result<u64, StoreError> {
        self.0.store.delete_expired_connect_sessions(now_ms).await
    }

    /// All integrations that a session names are there, so that a slip shows where it was made and not in a browser.
    async fn check_integrations(
        &self,
        environment_id: &EnvironmentId,
        new: &OpenSession,
    ) -> Result<(), ConnectionsError> {
        let allowed = new.allowed_integrations.as_deref().unwrap_or_default();
        if new.allowed_integrations.is_some() && !(1..=INTEGRATIONS_MAX).contains(&allowed.len()) {
            let message =
                format!("must name 1 to {INTEGRATIONS_MAX} integrations; leave it out to allow all of the environment");
            return Err(ConnectionsError::invalid("allowed_integrations", message));
        }
        let allowed = allowed.iter().enumerate();
        let allowed = allowed.map(|(index, key)| (format!("allowed_integrations.{index}"), key));
        let defaults = new.defaults.keys();
        let defaults = defaults.map(|key| (format!("integrations_config_defaults.{key}"), key));
        let overrides = new.overrides.keys().map(|key| (format!("overrides.{key}"), key));
        for (field, unique_key) in allowed.chain(defaults).chain(overrides) {
            match self.0.connections.integration(environment_id, unique_key).await {
                Ok(_) => {}
                Err(error @ ConnectionsError::UnknownIntegration { .. }) => {
                    return Err(ConnectionsError::invalid(field, error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn check_defaults(
        &self,
        environment_id: &EnvironmentId,
        unique_key: &str,
        defaults: &IntegrationDefaults,
    ) -> Result<(), ConnectionsError> {
        let field = |name: &str| format!("integrations_config_defaults.{unique_key}.{name}");
        let too_long = |name: &str| {
            let message = format!("must have at most {TEXT_CHARS_MAX} characters");
            Err(ConnectionsError::invalid(field(name), message))
        };
        let is_long = |text: &str| text.chars().count() > TEXT_CHARS_MAX;
        if defaults.user_scopes.as_deref().is_some_and(is_long) {
            return too_long("user_scopes");
        }
        let mut params = defaults.authorization_params.iter();
        if params.any(|(name, value)| is_long(name) || is_long(value)) {
            return too_long("authorization_params");
        }
        let connections = &self.0.connections;
        let integration = connections.integration(environment_id, unique_key).await?;
        let Some(provider) = connections.catalogue().get(&integration.provider) else {
            return Ok(());
        };
        check_config(provider, &defaults.connection_config).map_err(|error| match error {
            ConnectionsError::Invalid { field: path, message } => ConnectionsError::invalid(field(&path), message),
            error => error,
        })
    }

    async fn check_reconnect(
        &self,
        environment_id: &EnvironmentId,
        reconnect: &Reconnect,
    ) -> Result<(), ConnectionsError> {
        let found = self
            .0
            .connections
            .target(environment_id, &reconnect.provider_config_key, &reconnect.connection_id)
            .await;
        let field = match &found {
            Err(ConnectionsError::UnknownIntegration { .. }) => "integration_id",
            Err(ConnectionsError::UnknownConnection { .. }) => "connection_id",
            Ok(_) | Err(_) => return found.map(drop),
        };
        found
            .map(drop)
            .map_err(|error| ConnectionsError::invalid(field, error.to_string()))
    }

    fn seal(&self, session: &ConnectSession, token: &Secret<String>) -> Result<StoredConnectSession, ConnectionsError> {
        // Writing plain data as JSON to memory does not fail.
        let details = Secret::new(serde_json::to_vec(session).unwrap_or_default());
        if details.expose().len() > SESSION_BYTES_MAX {
            let message = format!("a session has at most {SESSION_BYTES_MAX} bytes as JSON, this one has more");
            return Err(ConnectionsError::invalid("integrations_config_defaults", message));
        }
        Ok(StoredConnectSession {
            id: session.id.clone(),
            environment_id: session.environment_id.clone(),
            sha256: hash(token.expose()),
            details: self.0.keyring.seal(&place(&session.id), details.expose()),
            created_at_ms: session.created_at_ms,
            expires_at_ms: session.expires_at_ms,
        })
    }
}

fn new_token(random: [u8; TOKEN_BYTES]) -> String {
    let mut token = TOKEN_PREFIX.to_owned();
    for byte in random {
        // Writing to a string does not fail.
        let _ = write!(token, "{byte:02x}");
    }
    token
}

fn is_token(text: &str) -> bool {
    let digits = text.strip_prefix(TOKEN_PREFIX).unwrap_or_default();
    digits.len() == 2 * TOKEN_BYTES && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn place(id: &ConnectSessionId) -> String {
    format!("connect_session:{id}:details")
}

//! When credentials should be replaced by fresh ones, and writing down what became of it. How they are obtained is not known
//! here.

use std::sync::Arc;

use serde_json::Value;

use super::users_own::WRITES_MAX;
use super::{Connections, ConnectionsError, KeySource, Target, fields};
use crate::credentials::{Credentials, Secret, SessionKind, lookup};
use crate::model::{Connection, EnvironmentId, RefreshFailure, Webhook};
use crate::provider::{AuthMode, Provider};
use crate::store::{DueQuery, RefreshWrite};

/// How long before their end credentials are refreshed, unless the provider's data has a `token_expiration_buffer`. (Nango
/// compatibility.)
pub const REFRESH_MARGIN_MS: i64 = 15 * 60 * 1_000;

/// Where the connection_config of a connection whose server was discovered has the address that its tokens come from. (Nango
/// compatibility.)
pub(crate) const DISCOVERED_TOKEN_ENDPOINT: &str = "oauth_metadata.token_endpoint";

/// Where the right to refresh a connection comes from.
#[derive(Clone, Copy, Debug)]
pub struct RefreshRight {
    /// The connection's epoch when the refresh began.
    pub epoch: i64,
    pub fence: i64,
}

/// What a refresh obtained.
#[derive(Debug)]
pub struct Fresh {
    pub credentials: Credentials,
    /// Of the mode CUSTOM, when those of the user were refreshed too.
    pub users_own: Option<Credentials>,
}

impl Target {
    /// Whether the credentials can be replaced without asking anybody: the provider's data says where, and what it takes is
    /// there.
    #[must_use]
    pub fn is_refreshable(&self) -> bool {
        is_refreshable(self, &self.credentials)
    }

    /// Whether the credentials do not work any more, as far as time goes.
    #[must_use]
    pub fn is_expired(&self, now_ms: i64) -> bool {
        match &self.credentials {
            // Nothing was obtained yet.
            credentials if credentials.lacks_token() => true,
            credentials => credentials.expires_at_ms().is_some_and(|at_ms| at_ms <= now_ms),
        }
    }

    /// Whether fresh credentials are wanted.
    #[must_use]
    pub fn is_due(&self, now_ms: i64) -> bool {
        self.connection
            .refresh
            .due_at_ms
            .is_some_and(|due_at_ms| due_at_ms <= now_ms)
    }
}

fn is_refreshable(target: &Target, credentials: &Credentials) -> bool {
    let provider = &target.provider;
    let has = |key: &str| provider.json.get(key).is_some();
    let has_url = |key: &str| provider.json.get(key).is_some_and(Value::is_string);
    match credentials {
        Credentials::OAuth2 { refresh_token, .. } => {
            let is_discovered = provider.auth_mode == AuthMode::McpOAuth2Generic
                && lookup(&target.connection_config, DISCOVERED_TOKEN_ENDPOINT).is_some();
            refresh_token.is_some() && (has_url("refresh_url") || has_url("token_url") || is_discovered)
        }
        Credentials::OAuth2Cc { .. } => has_url("token_url"),
        Credentials::AwsSigV4(aws) => aws.role_arn.is_some() && KeySource::of(&target.integration_config).is_ok(),
        Credentials::App { .. } => has("token_url") && target.connection_config.contains_key("installation_id"),
        Credentials::Session { kind, fields, .. } => {
            let described = match kind {
                SessionKind::Jwt | SessionKind::Signature => has("token"),
                SessionKind::TwoStep => has_url("token_url") && has("token_response"),
                SessionKind::Bill => has_url("token_url"),
            };
            // Of an imported token the user's fields need not be known.
            described && fields::has_credentials(provider, fields.expose())
        }
        Credentials::ApiKey { .. }
        | Credentials::Basic { .. }
        | Credentials::OAuth1 { .. }
        | Credentials::Tba { .. }
        | Credentials::None => false,
    }
}

/// From when on fresh credentials are wanted: those that requests use, or the user's own next to them.
pub(super) fn due_at_ms(target: &Target, credentials: &Credentials, obtained_at_ms: Option<i64>) -> Option<i64> {
    let due_at_ms = own_due_at_ms(target, credentials, obtained_at_ms);
    let own = target.users_own();
    earlier(
        due_at_ms,
        own.and_then(|own| users_own_due_at_ms(&target.provider, &own)),
    )
}

/// The same after a refresh; `own` are those of the user that it obtained. Those that it did not obtain although they were due are
/// tried again together with the others.
fn due_again_at_ms(target: &Target, fresh: &Fresh, obtained_at_ms: i64) -> Option<i64> {
    let due_at_ms = own_due_at_ms(target, &fresh.credentials, Some(obtained_at_ms));
    let provider = &target.provider;
    let own_at_ms = match &fresh.users_own {
        Some(own) => due_before(own.expires_at_ms(), provider, Some(obtained_at_ms)),
        None => target.users_own().and_then(|own| users_own_due_at_ms(provider, &own)),
    };
    earlier(due_at_ms, own_at_ms.filter(|at_ms| *at_ms > obtained_at_ms))
}

/// None when those that requests use are never due: then nothing refreshes them, and nothing the others.
fn earlier(due_at_ms: Option<i64>, own_at_ms: Option<i64>) -> Option<i64> {
    due_at_ms.map(|due_at_ms| own_at_ms.map_or(due_at_ms, |own_at_ms| own_at_ms.min(due_at_ms)))
}

/// From when on the user's own are to be refreshed.
pub(super) fn users_own_due_at_ms(provider: &Provider, own: &Credentials) -> Option<i64> {
    due_before(own.expires_at_ms(), provider, None)
}

fn own_due_at_ms(target: &Target, credentials: &Credentials, obtained_at_ms: Option<i64>) -> Option<i64> {
    if !is_refreshable(target, credentials) {
        return None;
    }
    if credentials.lacks_token() {
        return Some(0);
    }
    due_before(credentials.expires_at_ms(), &target.provider, obtained_at_ms)
}

/// Of credentials obtained just now the lifetime is known: the margin is at most half of it, since otherwise those that live shorter
/// than the margin would be refreshed with each use.
fn due_before(expires_at_ms: Option<i64>, provider: &Provider, obtained_at_ms: Option<i64>) -> Option<i64> {
    let expires_at_ms = expires_at_ms?;
    let due_at_ms = expires_at_ms.saturating_sub(margin_ms(provider));
    Some(match obtained_at_ms {
        Some(obtained_at_ms) => {
            let half_way_ms = obtained_at_ms.saturating_add(expires_at_ms.saturating_sub(obtained_at_ms) / 2);
            due_at_ms.max(half_way_ms)
        }
        None => due_at_ms,
    })
}

/// `token_expiration_buffer` is in seconds.
fn margin_ms(provider: &Provider) -> i64 {
    let buffer = provider.json.get("token_expiration_buffer").and_then(Value::as_i64);
    buffer.map_or(REFRESH_MARGIN_MS, |buffer_s| buffer_s.max(0).saturating_mul(1_000))
}

impl Connections {
    /// As [`Connections::target`], from the database and not from the cache, which then has it too.
    pub async fn target_now(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
    ) -> Result<Arc<Target>, ConnectionsError> {
        let caches = &self.0.caches;
        caches.forget_connection(environment_id, provider_config_key, connection_id);
        self.target(environment_id, provider_config_key, connection_id).await
    }

    /// Writes credentials that were obtained just now for `target`. What it gives is committed. None when somebody else wrote
    /// newer ones meanwhile, or the connection is gone.
    pub async fn write_refreshed(
        &self,
        target: &Target,
        right: RefreshRight,
        fresh: &Fresh,
        obtained_at_ms: i64,
    ) -> Result<Option<Arc<Target>>, ConnectionsError> {
        let inner = &self.0;
        let connection = &target.connection;
        if let Some(own) = &fresh.users_own {
            return self.write_both(target, right, fresh, own, obtained_at_ms).await;
        }
        let sealed = inner.seal_credentials(connection, &Secret::new(fresh.credentials.to_json()));
        let due_at_ms = due_again_at_ms(target, fresh, obtained_at_ms);
        let written = inner
            .store
            .write_refreshed(&write(connection, right), &sealed, None, due_at_ms, obtained_at_ms)
            .await?;
        self.forget(connection);
        let Some(generation) = written else {
            return Ok(None);
        };
        let mut connection = Connection::clone(connection);
        connection.credentials = sealed;
        connection.updated_at_ms = obtained_at_ms;
        connection.refresh.generation = generation;
        connection.refresh.due_at_ms = due_at_ms;
        connection.refresh.refreshed_at_ms = Some(obtained_at_ms);
        connection.refresh.failure = None;
        let target = inner.open(Arc::clone(&target.integration), connection)?;
        Ok(Some(Arc::new(target)))
    }

    /// As [`Connections::write_refreshed`], with the user's own: both or neither. What others write into the connection_config at
    /// the same time stays.
    async fn write_both(
        &self,
        target: &Target,
        right: RefreshRight,
        fresh: &Fresh,
        own: &Credentials,
        obtained_at_ms: i64,
    ) -> Result<Option<Arc<Target>>, ConnectionsError> {
        let inner = &self.0;
        let connection = &target.connection;
        let sealed = inner.seal_credentials(connection, &Secret::new(fresh.credentials.to_json()));
        let due_at_ms = due_again_at_ms(target, fresh, obtained_at_ms);
        for _ in 0..WRITES_MAX {
            let Some(users_own) = self.with_users_own(target, right, own).await? else {
                break;
            };
            let write = write(connection, right);
            let written = inner
                .store
                .write_refreshed(&write, &sealed, Some(&users_own), due_at_ms, obtained_at_ms)
                .await?;
            if written.is_some() {
                self.forget(connection);
                let target = self
                    .target_now(
                        &connection.environment_id,
                        &connection.provider_config_key,
                        &connection.connection_id,
                    )
                    .await?;
                return Ok(Some(target));
            }
        }
        self.forget(connection);
        Ok(None)
    }

    /// Writes that fresh credentials could not be obtained, and the webhooks that say so; neither, when they are there by now.
    pub async fn write_refresh_failure(
        &self,
        target: &Target,
        right: RefreshRight,
        failure: &RefreshFailure,
        webhooks: &[Webhook],
    ) -> Result<(), ConnectionsError> {
        let connection = &target.connection;
        self.0
            .store
            .write_refresh_failure(&write(connection, right), failure, webhooks)
            .await?;
        self.forget(connection);
        Ok(())
    }

    /// Connections of all environments whose credentials are due, those that are so for longest first.
    pub async fn due_for_refresh(&self, query: DueQuery) -> Result<Vec<Connection>, ConnectionsError> {
        Ok(self.0.store.connections_due_for_refresh(query).await?)
    }

    pub(super) fn forget(&self, connection: &Connection) {
        self.0.caches.forget_connection(
            &connection.environment_id,
            &connection.provider_config_key,
            &connection.connection_id,
        );
    }
}

fn write(connection: &Connection, right: RefreshRight) -> RefreshWrite {
    RefreshWrite {
        key: connection.key.clone(),
        epoch: right.epoch,
        fence: right.fence,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::connections::tests::{provider, target};

    const NOW_MS: i64 = 1_800_000_000_000;
    const MINUTE_MS: i64 = 60_000;

    /// A connection of a provider with that entry.
    fn of(entry: Value) -> Target {
        let mut target = Arc::into_inner(target("testing", "c")).unwrap();
        target.provider = Arc::new(provider(entry));
        target
    }

    fn oauth2(expires_at_ms: Option<i64>, refresh_token: Option<&str>) -> Credentials {
        Credentials::from_json(&json!({
            "type": "OAUTH2", "access_token": "a", "refresh_token": refresh_token, "expires_at": expires_at_ms,
        }))
        .unwrap()
    }

    #[test]
    fn credentials_are_due_before_they_end() {
        let plain = of(json!({"auth_mode": "OAUTH2", "token_url": "https://a.test/token"}));
        let buffered =
            of(json!({"auth_mode": "OAUTH2", "token_url": "https://a.test/token", "token_expiration_buffer": 30}));
        let hour = oauth2(Some(NOW_MS + 60 * MINUTE_MS), Some("r"));
        assert_eq!(due_at_ms(&plain, &hour, None), Some(NOW_MS + 45 * MINUTE_MS));
        assert_eq!(due_at_ms(&plain, &hour, Some(NOW_MS)), Some(NOW_MS + 45 * MINUTE_MS));
        assert_eq!(
            due_at_ms(&buffered, &hour, None),
            Some(NOW_MS + 60 * MINUTE_MS - 30_000)
        );
        // Ten minutes are less than the margin.
        let short = oauth2(Some(NOW_MS + 10 * MINUTE_MS), Some("r"));
        assert_eq!(due_at_ms(&plain, &short, None), Some(NOW_MS - 5 * MINUTE_MS));
        assert_eq!(due_at_ms(&plain, &short, Some(NOW_MS)), Some(NOW_MS + 5 * MINUTE_MS));
    }

    #[test]
    fn what_never_ends_or_cannot_be_refreshed_is_never_due() {
        let plain = of(json!({"auth_mode": "OAUTH2", "token_url": "https://a.test/token"}));
        assert_eq!(due_at_ms(&plain, &oauth2(None, Some("r")), None), None);
        assert_eq!(due_at_ms(&plain, &oauth2(Some(NOW_MS), None), None), None);
        let nowhere = of(json!({"auth_mode": "OAUTH2"}));
        assert_eq!(due_at_ms(&nowhere, &oauth2(Some(NOW_MS), Some("r")), None), None);
    }

    #[test]
    fn client_credentials_are_due_until_there_is_a_token() {
        let plain = of(json!({"auth_mode": "OAUTH2_CC", "token_url": "https://a.test/token"}));
        let client = json!({"type": "OAUTH2_CC", "client_id": "c", "client_secret": "s"});
        assert_eq!(
            due_at_ms(&plain, &Credentials::from_json(&client).unwrap(), None),
            Some(0)
        );
    }

    #[test]
    fn what_is_made_of_the_users_fields_is_due_when_they_are_known() {
        let login = || {
            of(
                json!({"auth_mode": "TWO_STEP", "token_url": "https://a.test/login", "token_response": {"token": "t"},
                "credentials": {"user": {"type": "string"}, "site": {"type": "string", "optional": true}}}),
            )
        };
        let session = |fields: Value| {
            let mut json = json!({"type": "TWO_STEP", "token": "t", "expires_at": NOW_MS});
            json.as_object_mut()
                .unwrap()
                .append(&mut fields.as_object().unwrap().clone());
            Credentials::from_json(&json).unwrap()
        };
        assert!(due_at_ms(&login(), &session(json!({"user": "jane"})), None).is_some());
        assert_eq!(due_at_ms(&login(), &session(json!({"site": "x"})), None), None);
        let app = Credentials::from_json(&json!({"type": "APP", "access_token": "t", "expires_at": NOW_MS})).unwrap();
        let mut installed =
            of(json!({"auth_mode": "APP", "token_url": "https://a.test/${connectionConfig.installation_id}"}));
        assert_eq!(due_at_ms(&installed, &app, None), None, "whose token is not known");
        installed
            .connection_config
            .insert("installation_id".to_owned(), "7".into());
        assert!(due_at_ms(&installed, &app, None).is_some());
    }
}

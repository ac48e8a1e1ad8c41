//! Of the mode CUSTOM: the token of the user who installed an app, next to the app's. Requests use the app's; the user's is kept in
//! the connection_config, sealed with it, and refreshed together with the app's when it is due. (Nango compatibility: the place.)

use std::sync::Arc;

use super::freshness::{self, RefreshRight};
use super::{Connections, ConnectionsError, Target};
use crate::credentials::Credentials;
use crate::model::{Connection, JsonObject, Sealed};
use crate::provider::AuthMode;
use crate::store::UsersOwn;

/// Where the connection_config has it, in the shape of OAUTH2 credentials.
const FIELD: &str = "userCredentials";

/// How often a write is tried again because somebody else changed the connection_config at the same moment.
pub(super) const WRITES_MAX: usize = 8;

impl Target {
    /// The user's own credentials.
    #[must_use]
    pub fn users_credentials(&self) -> Option<Credentials> {
        if self.provider.auth_mode != AuthMode::Custom {
            return None;
        }
        Credentials::from_json(self.connection_config.get(FIELD)?).ok()
    }

    /// The same, where they can be refreshed.
    #[must_use]
    pub fn users_own(&self) -> Option<Credentials> {
        let credentials = self.users_credentials()?;
        let is_refreshable = matches!(
            credentials,
            Credentials::OAuth2 {
                refresh_token: Some(_),
                ..
            }
        );
        is_refreshable.then_some(credentials)
    }

    /// Whether the user's own credentials want to be refreshed.
    #[must_use]
    pub fn is_users_own_due(&self, now_ms: i64) -> bool {
        let own = self.users_own();
        own.is_some_and(|own| freshness::users_own_due_at_ms(&self.provider, &own).is_some_and(|at_ms| at_ms <= now_ms))
    }
}

/// Puts them where they are kept.
pub fn keep_users_own(config: &mut JsonObject, credentials: &Credentials) {
    config.insert(FIELD.to_owned(), credentials.to_json());
}

/// Takes them away.
pub(super) fn forget_users_own(config: &mut JsonObject) {
    config.remove(FIELD);
}

impl Connections {
    /// As it is now, with other credentials of the user: what to write, and over what. None when the connection is gone.
    pub(super) async fn with_users_own(
        &self,
        target: &Target,
        right: RefreshRight,
        own: &Credentials,
    ) -> Result<Option<UsersOwn>, ConnectionsError> {
        let inner = &self.0;
        let Connection {
            environment_id,
            provider_config_key,
            connection_id,
            ..
        } = &*target.connection;
        let connection = match self.stored(environment_id, provider_config_key, connection_id).await {
            Ok(connection) => connection,
            Err(ConnectionsError::UnknownConnection { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if connection.key != target.connection.key || connection.refresh.generation.epoch != right.epoch {
            return Ok(None);
        }
        let before = connection.connection_config.clone();
        let opened = inner.open(Arc::clone(&target.integration), connection.clone())?;
        let mut config = opened.connection_config;
        keep_users_own(&mut config, own);
        let after: Sealed = inner.seal_config(&connection, config);
        Ok(Some(UsersOwn { before, after }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::connections::tests::{provider, target};

    #[test]
    fn only_an_app_with_users_has_them() {
        let mut target = Arc::into_inner(target("testing", "c")).unwrap();
        let own =
            json!({"type": "OAUTH2", "access_token": "a", "refresh_token": "r", "expires_at": 1_800_000_900_000_i64});
        target.connection_config.insert(FIELD.to_owned(), own);
        assert!(target.users_own().is_none(), "of another mode it is anything");
        let mut custom = provider(json!({}));
        custom.auth_mode = AuthMode::Custom;
        target.provider = Arc::new(custom);
        assert!(target.users_own().is_some());
        assert!(!target.is_users_own_due(1_799_999_999_999));
        assert!(target.is_users_own_due(1_800_000_000_000));
        let unrefreshable = json!({"type": "OAUTH2", "access_token": "a", "expires_at": 1});
        target.connection_config.insert(FIELD.to_owned(), unrefreshable);
        assert!(target.users_own().is_none() && !target.is_users_own_due(1_800_000_000_000));
    }
}

//! What a customer's back end lets somebody's browser do: connect integrations, or one connection anew.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ConnectSessionId, EndUser, EnvironmentId, JsonObject};

/// A connect session. Whoever holds its token may do what it says and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectSession {
    pub id: ConnectSessionId,
    pub environment_id: EnvironmentId,
    /// Of the connections that it makes.
    pub end_user: Option<EndUser>,
    /// Of the connections that it makes.
    pub tags: BTreeMap<String, String>,
    /// Unique keys; none is all of the environment.
    pub allowed_integrations: Option<Vec<String>>,
    /// By unique key. They win over what the browser says.
    pub defaults: BTreeMap<String, IntegrationDefaults>,
    /// By unique key.
    pub overrides: BTreeMap<String, IntegrationOverrides>,
    /// Where webhooks about its connections go, in the place of the environment's URLs.
    pub webhook_url_override: Option<String>,
    /// The connection that it is about, if not about new ones.
    pub reconnect: Option<Reconnect>,
    pub created_at_ms: i64,
    pub expires_at_ms: i64,
}

/// What is decided for an integration before the browser is asked.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntegrationDefaults {
    /// Scopes of the user's own token, with commas between, where a provider has such.
    pub user_scopes: Option<String>,
    /// Of the authorization request.
    pub authorization_params: BTreeMap<String, String>,
    /// May hold secrets.
    pub connection_config: JsonObject,
}

/// How the connect page shows an integration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntegrationOverrides {
    /// URL of the customer's own instructions.
    pub docs_connect: Option<String>,
}

/// A connection to be authorised anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconnect {
    pub connection_id: String,
    pub provider_config_key: String,
}

impl ConnectSession {
    /// Whether it may be used with this integration.
    #[must_use]
    pub fn allows(&self, unique_key: &str) -> bool {
        let is_listed = |list: &Vec<String>| list.iter().any(|allowed| allowed == unique_key);
        let is_the_one = |reconnect: &Reconnect| reconnect.provider_config_key == unique_key;
        self.allowed_integrations.as_ref().is_none_or(is_listed) && self.reconnect.as_ref().is_none_or(is_the_one)
    }

    /// The configuration of a connection: what the browser gave, and over it what is decided. Where webhooks go is not the
    /// browser's to say.
    #[must_use]
    pub fn connection_config(&self, unique_key: &str, mut given: JsonObject) -> JsonObject {
        given.remove("webhook_url");
        given.append(&mut self.defaults_of(unique_key).connection_config);
        given
    }

    /// What is decided for this integration; nothing for one that is not named.
    #[must_use]
    pub fn defaults_of(&self, unique_key: &str) -> IntegrationDefaults {
        self.defaults.get(unique_key).cloned().unwrap_or_default()
    }
}

/// Shows names and no values.
impl fmt::Debug for IntegrationDefaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntegrationDefaults")
            .field("user_scopes", &self.user_scopes)
            .field(
                "authorization_params",
                &self.authorization_params.keys().collect::<Vec<_>>(),
            )
            .field("connection_config", &self.connection_config.keys().collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> ConnectSession {
        ConnectSession {
            id: "cse_1".into(),
            environment_id: "env_1".into(),
            end_user: None,
            tags: BTreeMap::new(),
            allowed_integrations: None,
            defaults: BTreeMap::new(),
            overrides: BTreeMap::new(),
            webhook_url_override: None,
            reconnect: None,
            created_at_ms: 0,
            expires_at_ms: 1,
        }
    }

    #[test]
    fn a_session_is_for_what_it_names() {
        let mut session = session();
        assert!(session.allows("github") && session.allows("slack"));
        session.allowed_integrations = Some(vec!["github".to_owned()]);
        assert!(session.allows("github") && !session.allows("slack") && !session.allows(""));
        session.reconnect = Some(Reconnect {
            connection_id: "c".to_owned(),
            provider_config_key: "slack".to_owned(),
        });
        assert!(!session.allows("github") && !session.allows("slack"));
        session.allowed_integrations = None;
        assert!(!session.allows("github") && session.allows("slack"));
    }

    #[test]
    fn what_is_decided_wins() {
        let object = |json: serde_json::Value| JsonObject::clone(json.as_object().unwrap());
        let defaults = IntegrationDefaults {
            connection_config: object(serde_json::json!({"a": 1})),
            ..IntegrationDefaults::default()
        };
        let session = ConnectSession {
            defaults: [("github".to_owned(), defaults)].into(),
            ..session()
        };
        let given = object(serde_json::json!({"a": 2, "b": 3, "webhook_url": "https://a.test"}));
        assert_eq!(
            session.connection_config("github", given.clone()),
            object(serde_json::json!({"a": 1, "b": 3}))
        );
        assert_eq!(session.connection_config("slack", given)["a"], 2);
    }

    #[test]
    fn defaults_do_not_show_themselves() {
        let defaults = IntegrationDefaults {
            connection_config: JsonObject::from_iter([("appSecret".to_owned(), "s3cr3t".into())]),
            authorization_params: BTreeMap::from([("login_hint".to_owned(), "s3cr3t".to_owned())]),
            ..IntegrationDefaults::default()
        };
        let shown = format!("{defaults:?}");
        assert!(shown.contains("appSecret") && !shown.contains("s3cr3t"), "{shown}");
    }
}

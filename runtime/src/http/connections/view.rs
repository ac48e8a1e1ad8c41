//! Connections as the API shows them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::connections::Target;
use crate::credentials::Credentials;
use crate::http::timestamp::{ms_offset, ms_utc};
use crate::model::{Connection, EndUser, JsonObject};

/// A connection in a list.
#[derive(Serialize, ToSchema)]
pub struct ConnectionItem {
    /// Ours; customers use `connection_id`.
    id: String,
    connection_id: String,
    provider_config_key: String,
    provider: String,
    /// What is wrong with it at the moment.
    #[schema(value_type = Vec<Object>)]
    errors: [(); 0],
    end_user: Option<EndUserItem>,
    tags: BTreeMap<String, String>,
    #[schema(value_type = Object)]
    metadata: JsonObject,
    created: String,
}

/// One connection with its credentials.
#[derive(Serialize, ToSchema)]
pub struct FullConnection {
    id: String,
    connection_id: String,
    provider_config_key: String,
    provider: String,
    #[schema(value_type = Vec<Object>)]
    errors: [(); 0],
    end_user: Option<EndUserItem>,
    tags: BTreeMap<String, String>,
    #[schema(value_type = Object)]
    metadata: JsonObject,
    #[schema(value_type = Object)]
    connection_config: JsonObject,
    webhook_url_override: Option<String>,
    created_at: String,
    updated_at: String,
    /// Not recorded: a database write for every call would be its price.
    last_fetched_at: Option<String>,
    #[schema(value_type = Object)]
    credentials: Value,
}

#[derive(Serialize, ToSchema)]
pub struct EndUserItem {
    id: String,
    display_name: Option<String>,
    email: Option<String>,
    tags: BTreeMap<String, String>,
    organization: Option<String>,
}

impl From<&Connection> for ConnectionItem {
    fn from(connection: &Connection) -> Self {
        Self {
            id: connection.key.to_string(),
            connection_id: connection.connection_id.clone(),
            provider_config_key: connection.provider_config_key.clone(),
            provider: connection.provider.clone(),
            errors: [],
            end_user: connection.end_user.as_ref().map(EndUserItem::from),
            tags: connection.tags.clone(),
            metadata: connection.metadata.clone(),
            created: ms_offset(connection.created_at_ms),
        }
    }
}

impl FullConnection {
    pub fn new(target: &Target, with_refresh_token: bool) -> Self {
        let connection = &*target.connection;
        Self {
            id: connection.key.to_string(),
            connection_id: connection.connection_id.clone(),
            provider_config_key: connection.provider_config_key.clone(),
            provider: connection.provider.clone(),
            errors: [],
            end_user: connection.end_user.as_ref().map(EndUserItem::from),
            tags: connection.tags.clone(),
            metadata: connection.metadata.clone(),
            connection_config: target.connection_config.clone(),
            webhook_url_override: None,
            created_at: ms_offset(connection.created_at_ms),
            updated_at: ms_offset(connection.updated_at_ms),
            last_fetched_at: None,
            credentials: credentials(&target.credentials, with_refresh_token),
        }
    }
}

impl From<&EndUser> for EndUserItem {
    fn from(end_user: &EndUser) -> Self {
        Self {
            id: end_user.id.clone(),
            display_name: end_user.display_name.clone(),
            email: end_user.email.clone(),
            tags: end_user.tags.clone(),
            organization: None,
        }
    }
}

/// In the clear: this answer is what connections are asked for.
fn credentials(credentials: &Credentials, with_refresh_token: bool) -> Value {
    let mut shown = match credentials {
        Credentials::ApiKey { api_key } => json!({"type": "API_KEY", "apiKey": api_key.expose()}),
        Credentials::Basic { username, password } => {
            json!({"type": "BASIC", "username": username, "password": password.expose()})
        }
        Credentials::OAuth2 {
            access_token,
            refresh_token,
            expires_at_ms,
            raw,
        } => {
            let mut shown = JsonObject::new();
            shown.insert("type".to_owned(), "OAUTH2".into());
            shown.insert("access_token".to_owned(), access_token.expose().as_str().into());
            if let Some(refresh_token) = refresh_token {
                shown.insert("refresh_token".to_owned(), refresh_token.expose().as_str().into());
            }
            if let Some(expires_at_ms) = expires_at_ms {
                shown.insert("expires_at".to_owned(), ms_utc(*expires_at_ms).into());
            }
            shown.insert("raw".to_owned(), Value::Object(raw.expose().clone()));
            Value::Object(shown)
        }
        Credentials::None => json!({"type": "NONE"}),
    };
    if !with_refresh_token {
        remove_refresh_tokens(&mut shown);
    }
    shown
}

/// Wherever they are and however they are spelt: a provider's raw answer may hold them under a name of its own.
fn remove_refresh_tokens(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| {
                let letters = name.chars().filter(char::is_ascii_alphanumeric);
                !letters
                    .map(|letter| letter.to_ascii_lowercase())
                    .eq("refreshtoken".chars())
            });
            members.values_mut().for_each(remove_refresh_tokens);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_refresh_tokens),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Secret;
    use crate::model::Sealed;

    #[test]
    fn in_a_list() {
        let connection = Connection {
            key: "con_1".into(),
            environment_id: "env_1".into(),
            integration_id: "int_1".into(),
            provider_config_key: "github".into(),
            provider: "github".into(),
            connection_id: "conn-oauth".into(),
            credentials: Sealed(vec![1]),
            connection_config: Sealed(vec![2]),
            metadata: JsonObject::new(),
            tags: BTreeMap::new(),
            end_user: Some(EndUser {
                id: "u1".into(),
                email: None,
                display_name: None,
                tags: BTreeMap::new(),
            }),
            created_at_ms: 1_795_346_209_894,
            updated_at_ms: 1_795_346_209_894,
        };
        assert_eq!(
            serde_json::to_string(&ConnectionItem::from(&connection)).unwrap(),
            concat!(
                r#"{"id":"con_1","connection_id":"conn-oauth","provider_config_key":"github","provider":"github","errors":[],"#,
                r#""end_user":{"id":"u1","display_name":null,"email":null,"tags":{},"organization":null},"tags":{},"#,
                r#""metadata":{},"created":"2026-11-22T11:16:49.894+00:00"}"#
            )
        );
    }

    #[test]
    fn refresh_tokens_only_for_who_asks() {
        let raw = json!({"access_token": "a", "refresh_token": "r", "authed_user": [{"refreshToken": "s", "id": 1}]});
        let oauth2 = Credentials::OAuth2 {
            access_token: Secret::new("a".into()),
            refresh_token: Some(Secret::new("r".into())),
            expires_at_ms: Some(1_893_456_000_000),
            raw: Secret::new(raw.as_object().unwrap().clone()),
        };
        assert_eq!(
            credentials(&oauth2, false),
            json!({
                "type": "OAUTH2", "access_token": "a", "expires_at": "2030-01-01T00:00:00.000Z",
                "raw": {"access_token": "a", "authed_user": [{"id": 1}]},
            })
        );
        assert_eq!(credentials(&oauth2, true)["refresh_token"], "r");
        assert_eq!(credentials(&oauth2, true)["raw"], raw);
    }

    #[test]
    fn other_modes() {
        let api_key = Credentials::ApiKey {
            api_key: Secret::new("k".into()),
        };
        assert_eq!(credentials(&api_key, false), json!({"type": "API_KEY", "apiKey": "k"}));
        let basic = Credentials::Basic {
            username: "u".into(),
            password: Secret::new("p".into()),
        };
        assert_eq!(
            credentials(&basic, false),
            json!({"type": "BASIC", "username": "u", "password": "p"})
        );
        assert_eq!(credentials(&Credentials::None, false), json!({"type": "NONE"}));
    }
}

//! Connections as the API shows them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::connections::Target;
use crate::http::timestamp::ms_offset;
use crate::model::{Connection, EndUser, JsonObject};
use crate::runtime::Noted;

/// A connection in a list.
#[derive(Serialize, ToSchema)]
pub struct ConnectionItem {
    /// Ours; customers use `connection_id`.
    id: String,
    connection_id: String,
    provider_config_key: String,
    provider: String,
    /// What is wrong with it at the moment.
    errors: Vec<ErrorItem>,
    end_user: Option<EndUserItem>,
    tags: BTreeMap<String, String>,
    #[schema(value_type = Object)]
    metadata: JsonObject,
    created: String,
}

/// What of the credentials an answer holds: something only if that was noted.
#[derive(Debug)]
pub enum Shown {
    Nothing,
    WithoutRefreshToken(Noted),
    Everything(Noted),
}

/// One connection with its credentials.
#[derive(Serialize, ToSchema)]
pub struct FullConnection {
    id: String,
    connection_id: String,
    provider_config_key: String,
    provider: String,
    errors: Vec<ErrorItem>,
    end_user: Option<EndUserItem>,
    tags: BTreeMap<String, String>,
    #[schema(value_type = Object)]
    metadata: JsonObject,
    #[schema(value_type = Object)]
    connection_config: JsonObject,
    webhook_url_override: Option<String>,
    created_at: String,
    updated_at: String,
    /// The moment of this answer: to read a connection is to fetch it.
    last_fetched_at: String,
    #[schema(value_type = Object)]
    credentials: Value,
}

#[derive(Serialize, ToSchema)]
pub struct EndUserItem {
    id: String,
    display_name: Option<String>,
    email: Option<String>,
    tags: BTreeMap<String, String>,
    organization: Option<OrganizationItem>,
}

#[derive(Serialize, ToSchema)]
pub struct OrganizationItem {
    id: String,
    display_name: Option<String>,
}

/// Something wrong with a connection.
#[derive(Serialize, ToSchema)]
pub struct ErrorItem {
    /// `auth`: its credentials cannot be refreshed.
    r#type: &'static str,
    /// The log operation that says what is wrong.
    log_id: String,
}

fn errors(connection: &Connection) -> Vec<ErrorItem> {
    let failure = connection.refresh.failure.iter();
    failure
        .map(|failure| ErrorItem {
            r#type: "auth",
            log_id: failure.operation_id.to_string(),
        })
        .collect()
}

impl From<&Connection> for ConnectionItem {
    fn from(connection: &Connection) -> Self {
        Self {
            id: connection.key.to_string(),
            connection_id: connection.connection_id.clone(),
            provider_config_key: connection.provider_config_key.clone(),
            provider: connection.provider.clone(),
            errors: errors(connection),
            end_user: connection.end_user.as_ref().map(EndUserItem::from),
            tags: connection.tags.clone(),
            metadata: connection.metadata.clone(),
            created: ms_offset(connection.created_at_ms),
        }
    }
}

impl FullConnection {
    pub fn new(target: &Target, shown: &Shown, now_ms: i64) -> Self {
        let connection = &*target.connection;
        Self {
            id: connection.key.to_string(),
            connection_id: connection.connection_id.clone(),
            provider_config_key: connection.provider_config_key.clone(),
            provider: connection.provider.clone(),
            errors: errors(connection),
            end_user: connection.end_user.as_ref().map(EndUserItem::from),
            tags: connection.tags.clone(),
            metadata: connection.metadata.clone(),
            connection_config: target.connection_config.clone(),
            webhook_url_override: connection.webhook_url_override.clone(),
            created_at: ms_offset(connection.created_at_ms),
            updated_at: ms_offset(connection.updated_at_ms),
            last_fetched_at: ms_offset(now_ms),
            // In the clear: they are what connections are asked for.
            credentials: match shown {
                Shown::Nothing => Value::Object(JsonObject::new()),
                Shown::WithoutRefreshToken(_) => target.credentials.to_public_json(false),
                Shown::Everything(_) => target.credentials.to_public_json(true),
            },
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
            organization: end_user.organization.as_ref().map(|organization| OrganizationItem {
                id: organization.id.clone(),
                display_name: organization.display_name.clone(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
                organization: None,
            }),
            webhook_url_override: None,
            created_at_ms: 1_795_346_209_894,
            updated_at_ms: 1_795_346_209_894,
            refresh: crate::model::RefreshState::default(),
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
}

//! The body of an import as `POST /connection` took it: the fields of the credentials stand beside the others, and the
//! provider says what they are.

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::import::ImportConnection;
use crate::connections::NewConnection;
use crate::credentials::CredentialsType;
use crate::http::error::ApiError;
use crate::model::JsonObject;

#[derive(Deserialize, ToSchema)]
pub struct LegacyImport {
    provider_config_key: String,
    #[serde(default)]
    connection_id: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    metadata: Option<JsonObject>,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    connection_config: Option<JsonObject>,
    /// `access_token`, `refresh_token`, `expires_at`; or `api_key`; or `username`, `password`; or what else the provider's
    /// credentials are made of.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    credentials: JsonObject,
}

impl LegacyImport {
    pub fn provider_config_key(&self) -> &str {
        &self.provider_config_key
    }

    pub fn connection_id(&self) -> Option<&str> {
        self.connection_id.as_deref()
    }

    /// `stored` is what connections of the provider store; none leaves it to the import to refuse.
    pub fn into_new(self, stored: Option<CredentialsType>) -> Result<NewConnection, ApiError> {
        let mut credentials = self.credentials;
        // That the token never expires is what a missing `expires_at` says.
        credentials.remove("no_expiration");
        if let Some(key) = credentials.remove("api_key") {
            credentials.entry("apiKey").or_insert(key);
        }
        if let Some(stored) = stored {
            credentials.insert("type".to_owned(), stored.name().into());
        }
        let import = ImportConnection {
            provider_config_key: self.provider_config_key,
            connection_id: self.connection_id,
            credentials: Value::Object(credentials),
            metadata: self.metadata,
            connection_config: self.connection_config,
            tags: None,
            end_user: None,
            webhook_url_override: None,
        };
        import.into_new()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::body::parse;

    #[test]
    fn the_fields_become_credentials() {
        let credentials = |body: &str, stored| {
            let import = parse::<LegacyImport>(body.as_bytes()).ok().unwrap();
            import.into_new(stored).ok().unwrap().credentials
        };
        assert_eq!(
            credentials(
                r#"{"provider_config_key":"g","connection_id":"c","access_token":"t","expires_at":"2030-01-01","no_expiration":false}"#,
                Some(CredentialsType::OAuth2)
            ),
            json!({"type": "OAUTH2", "access_token": "t", "expires_at": "2030-01-01"})
        );
        assert_eq!(
            credentials(
                r#"{"provider_config_key":"g","api_key":"k","metadata":{"a":1},"connection_config":{}}"#,
                Some(CredentialsType::ApiKey)
            ),
            json!({"type": "API_KEY", "apiKey": "k"})
        );
    }
}

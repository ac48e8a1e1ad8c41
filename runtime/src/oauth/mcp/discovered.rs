//! What a connection remembers of a discovery, in its connection_config under the names that Nango uses: the server, what its
//! authorization server said, and how the client shows who it is. The client itself is in the credentials. Pure.

use serde_json::{Value, json};
use url::Url;

use super::{ClientAuth, Discovered};
use crate::connections::{DISCOVERED_TOKEN_ENDPOINT, Target};
use crate::credentials::{OAuthClient, Secret, lookup};
use crate::model::JsonObject;
use crate::oauth::RefreshError;
use crate::provider::AuthMode;

/// The field of the connection_config that names the server.
pub const SERVER_FIELD: &str = "mcp_server_url";
const METADATA_FIELD: &str = "oauth_metadata";
const CLIENT_FIELD: &str = "oauth_client_info";
const RESOURCE_FIELD: &str = "oauth_resource_url";
/// Fields that only a discovery may fill in when a browser asks.
pub const DISCOVERED_FIELDS: [&str; 3] = [METADATA_FIELD, CLIENT_FIELD, RESOURCE_FIELD];

impl Discovered {
    /// Writes down what requests for tokens will need.
    pub fn remember(&self, config: &mut JsonObject) {
        let server = &self.authorization_server;
        let metadata = json!({
            "issuer": server.issuer,
            "authorization_endpoint": server.authorization_endpoint.as_str(),
            "token_endpoint": server.token_endpoint.as_str(),
            "registration_endpoint": server.registration_endpoint.as_ref().map(Url::as_str),
            "code_challenge_methods_supported": ["S256"],
        });
        config.insert(METADATA_FIELD.to_owned(), metadata);
        if let Some(resource) = &self.resource {
            config.insert(RESOURCE_FIELD.to_owned(), resource.clone().into());
        }
    }
}

impl ClientAuth {
    /// Writes down how the client shows who it is.
    pub fn remember(self, client_id: &str, config: &mut JsonObject) {
        let info = json!({"client_id": client_id, "token_endpoint_auth_method": self.name()});
        config.insert(CLIENT_FIELD.to_owned(), info);
    }
}

/// The endpoint of the connection's own authorization server: `token_endpoint` or `authorization_endpoint`. None when the
/// provider's data says where it is.
pub(in crate::oauth) fn endpoint(target: &Target, key: &'static str) -> Result<Option<Url>, RefreshError> {
    if target.provider.auth_mode != AuthMode::McpOAuth2Generic {
        return Ok(None);
    }
    let provider = || target.provider.name.clone();
    let path = match key {
        "token_endpoint" => DISCOVERED_TOKEN_ENDPOINT.to_owned(),
        key => format!("{METADATA_FIELD}.{key}"),
    };
    let Some(text) = lookup(&target.connection_config, &path) else {
        return Err(RefreshError::MissingValue {
            provider: provider(),
            key,
            name: format!("connectionConfig.{path}"),
        });
    };
    let url = Url::parse(&text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
    let url = url.filter(|url| url.username().is_empty() && url.password().is_none());
    url.map(Some).ok_or_else(|| RefreshError::Url {
        provider: provider(),
        key,
        reason: format!("`{path}` of the connection_config is no URL of a server"),
    })
}

/// What tokens are asked for (RFC 8707).
pub(in crate::oauth) fn resource(target: &Target) -> Option<String> {
    if target.provider.auth_mode != AuthMode::McpOAuth2Generic {
        return None;
    }
    let resource = lookup(&target.connection_config, RESOURCE_FIELD)?;
    (!resource.is_empty()).then(|| resource.into_owned())
}

/// How the client that registered itself shows who it is; none when the provider's data says so.
pub(in crate::oauth) fn client_auth(target: &Target) -> Option<ClientAuth> {
    if !target.provider.auth_mode.is_mcp() {
        return None;
    }
    let info = target.connection_config.get(CLIENT_FIELD)?;
    info.get("token_endpoint_auth_method")
        .and_then(Value::as_str)
        .and_then(ClientAuth::named)
}

/// The client of a connection that was brought along from Nango, which keeps it there.
pub(in crate::oauth) fn client_info(target: &Target) -> Option<OAuthClient> {
    if target.provider.auth_mode != AuthMode::McpOAuth2Generic {
        return None;
    }
    let info = target.connection_config.get(CLIENT_FIELD)?;
    let text = |name: &str| info.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    Some(OAuthClient {
        client_id: text("client_id")?.to_owned(),
        client_secret: Secret::new(text("client_secret").unwrap_or_default().to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::oauth::request::build;
    use crate::oauth::testing::{moment, oauth2, target};
    use crate::provider::Provider;

    /// A connection of a server that was discovered.
    fn discovered(config: &Value) -> Target {
        let mut target = target(json!({}), &oauth2());
        let mut provider = Provider::clone(&target.provider);
        provider.auth_mode = AuthMode::McpOAuth2Generic;
        target.provider = Arc::new(provider);
        target.connection_config = config.as_object().cloned().unwrap();
        target
    }

    #[test]
    fn a_refresh_goes_where_the_connection_says() {
        let target = discovered(&json!({
            "oauth_metadata": {"token_endpoint": "https://as.test/token"},
            "oauth_resource_url": "https://mcp.test/mcp",
            "oauth_client_info": {"client_id": "brought", "client_secret": "s", "token_endpoint_auth_method": "client_secret_basic"},
        }));
        assert!(target.is_refreshable());
        let request = build(&target, moment()).unwrap();
        assert_eq!(request.url.as_str(), "https://as.test/token");
        assert_eq!(request.headers["authorization"], "Basic YnJvdWdodDpz");
        let body = request.body.expose();
        assert!(body.contains("resource=https%3A%2F%2Fmcp.test%2Fmcp"), "{body}");
        assert!(
            body.contains("grant_type=refresh_token") && !body.contains("client_id"),
            "{body}"
        );
    }

    #[test]
    fn without_a_discovery_nothing_is_refreshed() {
        let target = discovered(&json!({"mcp_server_url": "https://mcp.test"}));
        assert!(!target.is_refreshable());
        let error = build(&target, moment()).unwrap_err().to_string();
        assert!(
            error.contains("connectionConfig.oauth_metadata.token_endpoint"),
            "{error}"
        );
        let odd = discovered(&json!({"oauth_metadata": {"token_endpoint": "file:///etc/passwd"}}));
        let error = build(&odd, moment()).unwrap_err().to_string();
        assert!(error.contains("is no URL of a server"), "{error}");
    }

    #[test]
    fn what_is_remembered_holds_no_secret() {
        let mut config = JsonObject::new();
        ClientAuth::Post.remember("the-client", &mut config);
        let info = json!({"client_id": "the-client", "token_endpoint_auth_method": "client_secret_post"});
        assert_eq!(Value::Object(config), json!({"oauth_client_info": info}));
    }
}

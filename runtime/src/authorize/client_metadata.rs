//! What this server says of itself as an OAuth client: in a registration (RFC 7591), and in the document whose URL is the client's
//! id, where a server takes that (OAuth Client ID Metadata Document). Pure but for looking the integration up.

use serde_json::Value;
use url::{Host, Url};

use super::{Authorize, AuthorizeParts, FlowError};
use crate::connections::{AboutClient, Applicant};
use crate::model::{EnvironmentId, JsonObject};
use crate::oauth::{ClientAuth, Registration};

impl Authorize {
    /// The metadata of an integration's client, for whoever authorizes it to read. None when there is no such integration, or its
    /// provider is no MCP server.
    ///
    /// # Errors
    /// When the integration cannot be read.
    pub async fn client_metadata(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
    ) -> Result<Option<JsonObject>, FlowError> {
        let parts = &*self.0;
        let found = parts
            .connections
            .applicant(environment_id, provider_config_key, JsonObject::new())
            .await;
        let applicant = match found {
            Ok(applicant) => applicant,
            Err(crate::connections::ConnectionsError::UnknownIntegration { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !applicant.target.provider.auth_mode.is_mcp() {
            return Ok(None);
        }
        let mut metadata = described(parts, &applicant.about, ClientAuth::None);
        metadata.insert("client_id".to_owned(), document_url(parts, &applicant)?.into());
        Ok(Some(metadata))
    }
}

/// The client's metadata. Its name is the integration's, or the host that customers come from.
pub(super) fn described(parts: &AuthorizeParts, about: &AboutClient, auth: ClientAuth) -> JsonObject {
    let mut metadata = Registration::metadata(&parts.callback_url, auth);
    let host = Url::parse(&parts.public_url).ok();
    let host = host.as_ref().and_then(Url::host_str).unwrap_or("nango-runtime");
    let name = about.name.as_deref().unwrap_or(host);
    let texts = [
        ("client_name", Some(name)),
        ("client_uri", about.uri.as_deref()),
        ("logo_uri", about.logo_uri.as_deref()),
    ];
    for (field, text) in texts {
        if let Some(text) = text {
            metadata.insert(field.to_owned(), text.into());
        }
    }
    metadata
}

/// Where the document of an integration is, which is also the client's id.
pub(super) fn document_url(parts: &AuthorizeParts, applicant: &Applicant) -> Result<String, FlowError> {
    let integration = &applicant.target.integration;
    let mut url = Url::parse(&parts.public_url).map_err(|error| FlowError::Url {
        reason: format!("`public_url` is no URL: {error}"),
    })?;
    if let Ok(mut path) = url.path_segments_mut() {
        let key = [integration.environment_id.as_str(), integration.unique_key.as_str()];
        path.pop_if_empty().extend(["oauth", "client-metadata"]).extend(key);
    }
    Ok(url.into())
}

/// Whether the authorization server can read the document: it is https, or both are on this machine.
pub(super) fn is_readable(document_url: &str, by: &Url) -> bool {
    match Url::parse(document_url) {
        Ok(url) if is_of_this_machine(&url) => is_of_this_machine(by),
        Ok(url) => url.scheme() == "https",
        Err(_) => false,
    }
}

fn is_of_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The provider's own `registration_params`, which take the place of ours.
pub(super) fn with_params(mut metadata: JsonObject, entry: &Value) -> JsonObject {
    let params = entry.get("registration_params").and_then(Value::as_object);
    for (name, value) in params.into_iter().flatten() {
        // Where customers are sent back to is ours to say.
        if name != "redirect_uris" {
            metadata.insert(name.clone(), value.clone());
        }
    }
    metadata
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_read_over_https_or_on_one_machine() {
        let (far, near) = (
            Url::parse("https://as.test/auth").unwrap(),
            Url::parse("http://127.0.0.1:1/auth").unwrap(),
        );
        for (document, by, expected) in [
            ("https://us.test/x", &far, true),
            ("http://us.test/x", &far, false),
            ("http://127.0.0.1:3003/x", &far, false),
            ("http://127.0.0.1:3003/x", &near, true),
            ("http://localhost:3003/x", &near, true),
            ("nonsense", &near, false),
        ] {
            assert_eq!(is_readable(document, by), expected, "{document} {by}");
        }
    }

    #[test]
    fn a_provider_does_not_decide_where_customers_come_back_to() {
        let ours = Registration::metadata("https://us.test/oauth/callback", ClientAuth::None);
        let entry = json!({"registration_params": {"redirect_uris": ["https://evil.test"], "scope": "mcp",
            "token_endpoint_auth_method": "client_secret_post"}});
        let metadata = with_params(ours, &entry);
        assert_eq!(metadata["redirect_uris"], json!(["https://us.test/oauth/callback"]));
        assert_eq!(metadata["scope"], "mcp");
        assert_eq!(metadata["token_endpoint_auth_method"], "client_secret_post");
    }
}

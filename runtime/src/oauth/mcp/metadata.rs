//! The two documents of a discovery, checked: whose resource it is, and what its authorization server can do. Pure.

use serde_json::Value;
use url::Url;

use super::places::{covers, is_same_issuer, secure, shown};
use super::{DiscoveryError, told};
use crate::egress::EgressPolicy;
use crate::model::JsonObject;

/// What is read of a list in a document, in entries.
const ENTRIES_MAX: usize = 100;

/// Protected resource metadata (RFC 9728).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ProtectedResource {
    /// As the server writes it: what tokens are asked for (RFC 8707).
    pub(super) resource: String,
    /// The first one named, as it is written.
    pub(super) authorization_server: Option<String>,
    pub(super) scopes: Vec<String>,
}

/// Authorization server metadata (RFC 8414, or OpenID Connect Discovery 1.0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationServer {
    /// As the server writes it.
    pub issuer: String,
    pub authorization_endpoint: Url,
    pub token_endpoint: Url,
    /// None for a server where clients are registered by people.
    pub registration_endpoint: Option<Url>,
    pub scopes: Vec<String>,
    /// How clients may show who they are; none when it does not say.
    pub auth_methods: Option<Vec<String>>,
    /// Whether a client's id may be the URL of its metadata.
    pub takes_metadata_urls: bool,
    /// Whether its answers say whose they are (RFC 9207).
    pub tells_issuer: bool,
}

impl ProtectedResource {
    /// Of the document at `url`, for `server`.
    pub(super) fn read(url: &Url, document: &JsonObject, server: &Url) -> Result<Self, DiscoveryError> {
        let resource = text(document, "resource").ok_or_else(|| malformed(url, "`resource` is missing"))?;
        let parsed = Url::parse(resource).map_err(|_| malformed(url, "`resource` is no URL"))?;
        if !covers(&parsed, server) {
            return Err(DiscoveryError::Resource {
                url: shown(url),
                given: told(resource),
                server: shown(server),
            });
        }
        Ok(Self {
            resource: resource.to_owned(),
            authorization_server: texts(document, "authorization_servers").and_then(|all| all.into_iter().next()),
            scopes: texts(document, "scopes_supported").unwrap_or_default(),
        })
    }
}

impl AuthorizationServer {
    /// Of the document at `url`, which should be that of `issuer`.
    pub(super) fn read(
        url: &Url,
        document: &JsonObject,
        issuer: &str,
        policy: &EgressPolicy,
    ) -> Result<Self, DiscoveryError> {
        let given = text(document, "issuer").ok_or_else(|| malformed(url, "`issuer` is missing"))?;
        if !is_same_issuer(given, issuer) {
            return Err(DiscoveryError::Issuer {
                url: shown(url),
                given: told(given),
                expected: told(issuer),
            });
        }
        let endpoint = |name: &'static str, label: &'static str| match text(document, name) {
            Some(given) => secure(label, given, policy).map(Some),
            None => Ok(None),
        };
        let missing = |name: &str| malformed(url, &format!("`{name}` is missing"));
        let authorization_endpoint = endpoint("authorization_endpoint", "`authorization_endpoint`")?
            .ok_or_else(|| missing("authorization_endpoint"))?;
        let token_endpoint =
            endpoint("token_endpoint", "`token_endpoint`")?.ok_or_else(|| missing("token_endpoint"))?;
        let challenges = texts(document, "code_challenge_methods_supported").unwrap_or_default();
        if !challenges.iter().any(|method| method == "S256") {
            return Err(DiscoveryError::NoPkce { issuer: told(given) });
        }
        Ok(Self {
            issuer: given.to_owned(),
            authorization_endpoint,
            token_endpoint,
            registration_endpoint: endpoint("registration_endpoint", "`registration_endpoint`")?,
            scopes: texts(document, "scopes_supported").unwrap_or_default(),
            auth_methods: texts(document, "token_endpoint_auth_methods_supported"),
            takes_metadata_urls: flag(document, "client_id_metadata_document_supported"),
            tells_issuer: flag(document, "authorization_response_iss_parameter_supported"),
        })
    }
}

fn malformed(url: &Url, reason: &str) -> DiscoveryError {
    DiscoveryError::Malformed {
        url: shown(url),
        reason: reason.to_owned(),
    }
}

fn text<'a>(document: &'a JsonObject, name: &str) -> Option<&'a str> {
    document
        .get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

fn texts(document: &JsonObject, name: &str) -> Option<Vec<String>> {
    let list = document.get(name)?.as_array()?.iter().take(ENTRIES_MAX);
    Some(list.filter_map(Value::as_str).map(str::to_owned).collect())
}

fn flag(document: &JsonObject, name: &str) -> bool {
    document.get(name).and_then(Value::as_bool).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn object(mut value: Value) -> JsonObject {
        std::mem::take(value.as_object_mut().unwrap())
    }

    fn server(change: Value) -> Result<AuthorizationServer, String> {
        let mut document = object(json!({
            "issuer": "https://as.test", "authorization_endpoint": "https://as.test/auth",
            "token_endpoint": "https://as.test/token", "code_challenge_methods_supported": ["plain", "S256"],
        }));
        document.append(&mut object(change));
        document.retain(|_, value| !value.is_null());
        let policy = EgressPolicy::public(Vec::new());
        AuthorizationServer::read(&url("https://as.test/doc"), &document, "https://as.test/", &policy)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_authorization_server_is_read() {
        let read = server(json!({})).unwrap();
        assert_eq!(read.issuer, "https://as.test");
        assert_eq!((read.registration_endpoint, read.auth_methods), (None, None));
        assert!(!read.takes_metadata_urls && !read.tells_issuer);
        let read = server(json!({
            "registration_endpoint": "https://other.test/register", "token_endpoint_auth_methods_supported": ["none"],
            "scopes_supported": ["a", 5, "b"], "client_id_metadata_document_supported": true,
            "authorization_response_iss_parameter_supported": true,
        }))
        .unwrap();
        assert_eq!(read.registration_endpoint, Some(url("https://other.test/register")));
        assert_eq!(read.auth_methods, Some(vec!["none".to_owned()]));
        assert_eq!(read.scopes, ["a", "b"]);
        assert!(read.takes_metadata_urls && read.tells_issuer);
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        for (change, part) in [
            (json!({"issuer": null}), "`issuer` is missing"),
            (
                json!({"issuer": "https://evil.test"}),
                "says that its issuer is \"https://evil.test\"",
            ),
            (json!({"token_endpoint": null}), "`token_endpoint` is missing"),
            (
                json!({"authorization_endpoint": null}),
                "`authorization_endpoint` is missing",
            ),
            (
                json!({"token_endpoint": "http://as.test/token"}),
                "`token_endpoint` \"http://as.test/token\" cannot be used: it must be https",
            ),
            (
                json!({"authorization_endpoint": "javascript:alert(1)"}),
                "`authorization_endpoint` \"javascript:alert(1)\" cannot be used",
            ),
            (
                json!({"registration_endpoint": "http://as.test/r"}),
                "`registration_endpoint`",
            ),
            (json!({"code_challenge_methods_supported": null}), "PKCE with S256"),
            (json!({"code_challenge_methods_supported": ["plain"]}), "PKCE with S256"),
        ] {
            let error = server(change).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_resource_is_that_of_the_server() {
        let at = url("https://mcp.test/.well-known/oauth-protected-resource/mcp");
        let read = |document: Value| {
            ProtectedResource::read(&at, &object(document), &url("https://mcp.test/mcp"))
                .map_err(|error| error.to_string())
        };
        let document = json!({"resource": "https://mcp.test/mcp", "authorization_servers": ["https://as.test", "x"],
            "scopes_supported": ["read"]});
        assert_eq!(
            read(document),
            Ok(ProtectedResource {
                resource: "https://mcp.test/mcp".to_owned(),
                authorization_server: Some("https://as.test".to_owned()),
                scopes: vec!["read".to_owned()],
            })
        );
        let other = read(json!({"resource": "https://bank.test/mcp", "authorization_servers": ["https://as.test"]}));
        assert!(
            other
                .unwrap_err()
                .contains("\"https://bank.test/mcp\", which is not the server")
        );
        assert!(read(json!({})).unwrap_err().contains("`resource` is missing"));
    }
}

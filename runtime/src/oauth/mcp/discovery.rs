//! From the address of an MCP server to its authorization server: the server is asked without a token, then what it names, then
//! the well-known places.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde_json::Value;
use url::Url;

use super::challenge::Challenge;
use super::metadata::{AuthorizationServer, ProtectedResource};
use super::places::{of_issuer, of_resource, secure, shown};
use super::{DISCOVERY_TIMEOUT_MS, DiscoveryError, METADATA_BYTES_MAX, REQUEST_TIMEOUT_MS};
use crate::credentials::Secret;
use crate::model::JsonObject;
use crate::oauth::OAuth;
use crate::oauth::client::{FetchError, Fetched, Limits};
use crate::oauth::request::{JSON, TokenRequest};
use crate::oauth::values::USER_AGENT;

/// The version of MCP that the authorization is made after.
const MCP_VERSION: HeaderValue = HeaderValue::from_static("2025-06-18");
const MCP_VERSION_HEADER: HeaderName = HeaderName::from_static("mcp-protocol-version");
const STREAM: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
/// A scope that servers give refresh tokens for (OpenID Connect Core 1.0, section 11).
const OFFLINE: &str = "offline_access";

/// How an MCP server is logged in to.
#[derive(Debug)]
pub struct Discovered {
    pub authorization_server: AuthorizationServer,
    /// What tokens are asked for (RFC 8707); none for a server that does not say what it is.
    pub resource: Option<String>,
    /// What to ask for when nobody decided.
    pub scopes: Vec<String>,
}

/// Places that were asked in vain, with what they answered.
#[derive(Default)]
struct Tried(Vec<String>);

impl OAuth {
    /// How the MCP server at `address` is logged in to. Takes 20 s at most.
    ///
    /// # Errors
    /// [`DiscoveryError`]: an address that is not permitted, or documents that are missing or contradict each other.
    pub async fn discover(&self, address: &str) -> Result<Discovered, DiscoveryError> {
        let timeout = self.0.clock.sleep(Duration::from_millis(DISCOVERY_TIMEOUT_MS));
        tokio::select! {
            biased;
            found = self.discovered(address) => found,
            () = timeout => Err(DiscoveryError::Timeout { timeout_ms: DISCOVERY_TIMEOUT_MS }),
        }
    }

    async fn discovered(&self, address: &str) -> Result<Discovered, DiscoveryError> {
        let policy = self.0.client.policy();
        let server = secure("the server's address", address, policy)?;
        let mut tried = Tried::default();
        let challenge = self.challenge(&server, &mut tried).await?;
        let resource = self.protected_resource(&server, &challenge, &mut tried).await?;
        let named = resource
            .as_ref()
            .and_then(|resource| resource.authorization_server.clone());
        // Servers older than RFC 9728 are their own authorization servers.
        let issuer = named.unwrap_or_else(|| server.origin().ascii_serialization());
        let found = self
            .document(
                &of_issuer(&secure("`authorization_servers`", &issuer, policy)?),
                &mut tried,
            )
            .await?;
        let Some((url, document)) = found else {
            return Err(DiscoveryError::NotFound {
                server: shown(&server),
                tried: tried.0.join("; "),
            });
        };
        let authorization_server = AuthorizationServer::read(&url, &document, &issuer, policy)?;
        Ok(Discovered {
            scopes: scopes(&challenge, resource.as_ref(), &authorization_server),
            resource: resource.map(|resource| resource.resource),
            authorization_server,
        })
    }

    /// Asks the server itself, without a token; of the answer only the headers are read.
    async fn challenge(&self, server: &Url, tried: &mut Tried) -> Result<Challenge, DiscoveryError> {
        let mut headers = headers(STREAM);
        headers.insert(MCP_VERSION_HEADER, MCP_VERSION);
        match self.get(server, headers, None).await {
            Ok(answer) if answer.status == StatusCode::UNAUTHORIZED => Ok(Challenge::of(&answer.headers)),
            Ok(answer) => {
                tried.add(server, &answered(&answer));
                Ok(Challenge::default())
            }
            Err(FetchError::EgressDenied(denied)) => Err(DiscoveryError::EgressDenied(denied)),
            Err(error) => {
                tried.add(server, &super::error::chain(&error));
                Ok(Challenge::default())
            }
        }
    }

    async fn protected_resource(
        &self,
        server: &Url,
        challenge: &Challenge,
        tried: &mut Tried,
    ) -> Result<Option<ProtectedResource>, DiscoveryError> {
        let places = match &challenge.resource_metadata {
            Some(named) => vec![secure("`resource_metadata`", named, self.0.client.policy())?],
            None => of_resource(server),
        };
        match self.document(&places, tried).await? {
            Some((url, document)) => ProtectedResource::read(&url, &document, server).map(Some),
            None if challenge.resource_metadata.is_some() => Err(DiscoveryError::NotFound {
                server: shown(server),
                tried: tried.0.join("; "),
            }),
            None => Ok(None),
        }
    }

    /// The first of these places that has a JSON object.
    async fn document(&self, places: &[Url], tried: &mut Tried) -> Result<Option<(Url, JsonObject)>, DiscoveryError> {
        for url in places {
            match self.get(url, headers(JSON), Some(METADATA_BYTES_MAX)).await {
                Ok(answer) if answer.status.is_success() => match serde_json::from_slice(answer.body.expose()) {
                    Ok(Value::Object(document)) => return Ok(Some((url.clone(), document))),
                    Ok(_) | Err(_) => tried.add(url, "no JSON object"),
                },
                Ok(answer) => tried.add(url, &answered(&answer)),
                Err(FetchError::EgressDenied(denied)) => return Err(DiscoveryError::EgressDenied(denied)),
                Err(source @ FetchError::TooLarge { .. }) => {
                    return Err(DiscoveryError::Fetch {
                        url: shown(url),
                        source,
                    });
                }
                Err(error) => tried.add(url, &super::error::chain(&error)),
            }
        }
        Ok(None)
    }

    async fn get(&self, url: &Url, headers: HeaderMap, bytes_max: Option<usize>) -> Result<Fetched, FetchError> {
        let request = TokenRequest {
            method: Method::GET,
            url: url.clone(),
            headers,
            body: Secret::new(String::new()),
        };
        let limits = Limits {
            timeout_ms: REQUEST_TIMEOUT_MS,
            bytes_max,
        };
        self.0.client.fetch(request, limits).await
    }
}

impl Tried {
    fn add(&mut self, url: &Url, what: &str) {
        self.0.push(format!("{} ({what})", shown(url)));
    }
}

fn headers(accept: HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(header::ACCEPT, accept), (header::USER_AGENT, USER_AGENT)])
}

fn answered(answer: &Fetched) -> String {
    let status = answer.status.as_u16();
    if answer.status.is_redirection() {
        format!("it answered {status}; redirects are not followed")
    } else {
        format!("it answered {status}")
    }
}

/// What the server asked for, else what it knows; and what gives a refresh token, where there is such.
fn scopes(
    challenge: &Challenge,
    resource: Option<&ProtectedResource>,
    authorization_server: &AuthorizationServer,
) -> Vec<String> {
    let mut scopes: Vec<String> = match (&challenge.scope, resource) {
        (Some(asked), _) => asked.split_whitespace().map(str::to_owned).collect(),
        (None, Some(resource)) => resource.scopes.clone(),
        (None, None) => Vec::new(),
    };
    let knows_offline = authorization_server.scopes.iter().any(|scope| scope == OFFLINE);
    if knows_offline && !scopes.iter().any(|scope| scope == OFFLINE) {
        scopes.push(OFFLINE.to_owned());
    }
    scopes
}

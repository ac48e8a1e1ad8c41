//! oidc-provider, an OAuth 2 server that others wrote. It rotates refresh tokens, and takes back everything that came of one
//! when it is used twice. Its `/me` is an API that only takes its own access tokens.

use http::Method;
use serde_json::{Value, json};

use crate::client::{Client, send};
use crate::node;
use crate::process::{Process, loopback_url};

/// The client that may refresh.
pub const CLIENT_ID: &str = "client-5c1f";
pub const CLIENT_SECRET: &str = "client-secret-93b2";
/// Another one, with characters that must be encoded in HTTP Basic.
pub const BASIC_CLIENT_ID: &str = "client:basic";
pub const BASIC_CLIENT_SECRET: &str = "p+s/ w%rd";

/// A server of its own. Dropping it stops it.
#[derive(Debug)]
pub struct Oidc {
    client: Client,
    pub url: String,
    process: Process,
}

/// What a user's authorisation gave.
#[derive(Clone, Debug)]
pub struct Tokens {
    pub access_token: String,
    pub refresh_token: String,
}

impl Oidc {
    /// # Panics
    ///
    /// When `scripts/test-deps` has not brought it, or it does not start.
    #[must_use]
    pub fn start() -> Self {
        let process = Process::start("oidc-provider", &mut node::command("oidc.mjs"));
        let url = process.wait_for_line(loopback_url);
        Self {
            client: Client::new(&url, None),
            url,
            process,
        }
    }

    /// New tokens of one user.
    pub async fn authorize(&self) -> Tokens {
        let answer = send(self.client.request(Method::POST, "/grants")).await.ok();
        let text = |name: &str| answer[name].as_str().expect("a grant has tokens").to_owned();
        Tokens {
            access_token: text("access_token"),
            refresh_token: text("refresh_token"),
        }
    }

    /// What the token endpoint granted, by grant type, and refused (`errors`).
    pub async fn stats(&self) -> Value {
        self.client.get("/stats").await.ok()
    }

    /// A client that registered itself (RFC 7591) and may send users to `redirect_uri`: its id and secret.
    pub async fn register(&self, redirect_uri: &str) -> (String, String) {
        let client = json!({
            "redirect_uris": [redirect_uri], "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"], "token_endpoint_auth_method": "client_secret_post",
        });
        let answer = self.client.post("/reg", &client).await.ok();
        let text = |name: &str| answer[name].as_str().expect("a client has both").to_owned();
        (text("client_id"), text("client_secret"))
    }

    /// Clients that registered themselves are unknown from now on.
    pub async fn forget_clients(&self) {
        let _ = send(self.client.request(Method::POST, "/forget")).await.ok();
    }

    /// Lets the token endpoint wait before and after it works on a request.
    pub async fn hold(&self, before_ms: u64, after_ms: u64) {
        let path = format!("/hold?before_ms={before_ms}&after_ms={after_ms}");
        let _ = send(self.client.request(Method::POST, &path)).await.ok();
    }

    /// Nobody answers any more.
    pub fn stop(&mut self) {
        self.process.kill();
    }
}

impl Tokens {
    /// As credentials that end `in_ms` from now (or ended, when negative).
    #[must_use]
    pub fn credentials(&self, in_ms: i64) -> Value {
        json!({
            "type": "OAUTH2", "access_token": self.access_token, "refresh_token": self.refresh_token,
            "expires_at": now_ms() + in_ms,
        })
    }
}

/// Milliseconds since 1970.
#[must_use]
pub fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.expect("the clock is past 1970").as_millis()).expect("it is not the year 292 million yet")
}

/// Catalogue entries of MCP servers: `mcp-fixed`, whose data says where to log in and where clients register themselves, with a
/// secret; and `mcp-any`, which is asked.
#[must_use]
pub fn mcp_providers(url: &str) -> String {
    format!(
        r"
mcp-fixed:
  display_name: Fixed
  auth_mode: MCP_OAUTH2
  client_registration: dynamic
  authorization_url: {url}/auth
  token_url: {url}/token
  registration_url: {url}/reg
  default_scopes: [offline_access, mcp:read]
  authorization_params:
    prompt: consent
    resource: {url}/mcp
  registration_params:
    token_endpoint_auth_method: client_secret_basic
  proxy:
    base_url: {url}
mcp-any:
  display_name: Any server
  auth_mode: MCP_OAUTH2_GENERIC
  proxy:
    base_url: ${{connectionConfig.mcp_server_url}}
  connection_config:
    mcp_server_url:
      type: string
      title: Server
      example: {url}/mcp
      format: uri
"
    )
}

/// A catalogue entry `oidc` whose tokens come from the server and whose API is `api_url`, and `machine` and `machine-basic`
/// with client credentials.
#[must_use]
pub fn providers(token_url: &str, api_url: &str) -> String {
    format!(
        r"
oidc:
  display_name: OIDC
  auth_mode: OAUTH2
  authorization_url: {token_url}/auth
  authorization_params:
    prompt: consent
  default_scopes: [openid, offline_access]
  token_url: {token_url}/token
  token_params:
    grant_type: authorization_code
  revocation:
    url: {token_url}/token/revocation
  proxy:
    base_url: {api_url}
machine:
  display_name: Machine
  auth_mode: OAUTH2_CC
  token_url: {token_url}/token
  proxy:
    base_url: {api_url}
machine-basic:
  display_name: Machine (Basic)
  auth_mode: OAUTH2_CC
  token_url: {token_url}/token
  authorization_method: header
  proxy:
    base_url: {api_url}
"
    )
}

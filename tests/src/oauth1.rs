//! An OAuth 1.0a server on oauthlib, which others wrote: it checks the signature, the nonce and the verifier of every request. Its
//! `/api/me` only answers who holds one of its tokens.

use std::process::Command;

use serde_json::Value;

use crate::client::Client;
use crate::process::{Process, loopback_url};
use crate::repository;

/// The client that the server knows. The secret has characters that must be encoded in a signature's key.
pub const CLIENT_ID: &str = "consumer-7d1e";
pub const CLIENT_SECRET: &str = "consumer-secret-a94f&%";

/// A server of its own. Dropping it stops it.
#[derive(Debug)]
pub struct OAuth1Server {
    client: Client,
    pub url: String,
    _process: Process,
}

impl OAuth1Server {
    /// # Panics
    ///
    /// When `scripts/test-deps` has not brought it, or it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::with_rsa_key("")
    }

    /// One that verifies RSA-SHA1 with this public key.
    ///
    /// # Panics
    ///
    /// As [`OAuth1Server::start`].
    #[must_use]
    pub fn with_rsa_key(pem: &str) -> Self {
        let python = repository::require(repository::cache().join("oauth1/bin/python"), "oauth1");
        let mut command = Command::new(python);
        command.arg(repository::root().join("tests/oauth1/server.py"));
        command.env("RSA_PUBLIC_KEY", pem);
        let process = Process::start("oauth1", &mut command);
        let url = process.wait_for_line(loopback_url);
        Self {
            client: Client::new(&url, None),
            url,
            _process: process,
        }
    }

    /// How many temporary credentials (`request_token`) and tokens (`access_token`) it gave, requests it answered (`api`) and
    /// refused (`refused`), the signature methods it met (`methods`), and the secrets of its temporary credentials (`secrets`).
    pub async fn stats(&self) -> Value {
        self.client.get("/stats").await.ok()
    }

    /// A catalogue entry `older`, with `more` lines in it; `request` is the path of temporary credentials.
    #[must_use]
    pub fn provider(&self, request: &str, more: &str) -> String {
        let url = &self.url;
        format!(
            r"
older:
  display_name: Older
  auth_mode: OAUTH1
  request_url: {url}{request}
  authorization_url: {url}/authorize
  token_url: {url}/access_token
{more}
  proxy:
    base_url: {url}
"
        )
    }
}

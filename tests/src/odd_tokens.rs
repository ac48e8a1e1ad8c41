//! oauth2-mock-server, an OAuth 2 server that others wrote, whose token endpoint answers as oddly as a test wants.

use serde_json::Value;

use crate::client::Client;
use crate::node;
use crate::process::{Process, loopback_url};

/// A server of its own. Dropping it stops it.
#[derive(Debug)]
pub struct OddTokens {
    client: Client,
    pub url: String,
    _process: Process,
}

impl OddTokens {
    /// # Panics
    ///
    /// When `scripts/test-deps` has not brought it, or it does not start.
    #[must_use]
    pub fn start() -> Self {
        let process = Process::start("oauth2-mock-server", &mut node::command("odd_tokens.mjs"));
        let url = process.wait_for_line(loopback_url);
        Self {
            client: Client::new(&url, None),
            url,
            _process: process,
        }
    }

    /// How the token endpoint answers from now on; `tests/node/odd_tokens.mjs` says what there is.
    pub async fn answer(&self, odd: &Value) {
        let _ = self.client.post("/odd", odd).await.ok();
    }

    /// The forms that the token endpoint got, in order.
    pub async fn asked(&self) -> Vec<Value> {
        let asked = self.client.get("/asked").await.ok();
        asked.as_array().expect("a list").clone()
    }
}

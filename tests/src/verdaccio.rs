//! verdaccio, a package registry that others wrote, with its token authentication.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Client, json_body, send};
use crate::node;
use crate::process::{Process, loopback_url};

/// A registry of its own, empty at first. Dropping it stops it.
#[derive(Debug)]
pub struct Verdaccio {
    client: Client,
    pub url: String,
    /// A user's token: without it the registry shows nothing.
    pub token: String,
    _process: Process,
    _folder: TempDir,
}

impl Verdaccio {
    /// Starts it and makes a user.
    ///
    /// # Panics
    ///
    /// When `scripts/test-deps` has not brought it, or it does not start.
    pub async fn start() -> Self {
        let folder = TempDir::with_prefix("nango-runtime-verdaccio-").expect("a temporary folder can be made");
        let mut command = node::command("verdaccio.mjs");
        command.arg(folder.path());
        let process = Process::start("verdaccio", &mut command);
        let url = process.wait_for_line(loopback_url);
        let client = Client::new(&url, None);
        let user = json!({"name": "tester", "password": "correct horse battery staple"});
        let answer = client
            .json(Method::PUT, "/-/user/org.couchdb.user:tester", &user)
            .await
            .ok();
        let token = answer["token"].as_str().expect("a new user gets a token").to_owned();
        Self {
            client: client.with_key(Some(&token)),
            url,
            token,
            _process: process,
            _folder: folder,
        }
    }

    /// Publishes a version of a package, as `npm publish` does.
    pub async fn publish(&self, name: &str, version: &str, description: &str) {
        // The registry keeps the archive without looking into it.
        let archive = format!("{name}-{version}.tgz");
        let body = json!({
            "_id": name,
            "name": name,
            "description": description,
            "dist-tags": {"latest": version},
            "versions": {version: {
                "name": name, "version": version, "description": description,
                "dist": {"tarball": format!("{}/{name}/-/{archive}", self.url)},
            }},
            "_attachments": {&archive: {
                "content_type": "application/octet-stream", "data": BASE64.encode(&archive), "length": archive.len(),
            }},
        });
        let _ = send(json_body(self.client.request(Method::PUT, &format!("/{name}")), &body))
            .await
            .ok();
    }

    /// What the registry itself says of a package.
    pub async fn package(&self, name: &str) -> Value {
        self.client.get(&format!("/{name}")).await.ok()
    }
}

//! The HTTP API with a key. Calls give what came back, status included: a test says what it expects.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use crate::told;

/// How long a run may take to end. Generous: it only matters to tests that fail.
const RUN_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at a state that changes by itself.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A caller of one server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base_url: String,
    /// None: no `Authorization` header is sent.
    key: Option<String>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// # Panics
    ///
    /// When the body is no JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{} is no JSON ({error}): {}", self.status, self.text()))
    }

    /// The body's JSON of a successful answer.
    ///
    /// # Panics
    ///
    /// When the status is not 2xx.
    #[must_use]
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!(
            (200..300).contains(&self.status),
            "expected success, got {} {}",
            self.status,
            self.text()
        );
        self.json()
    }

    /// `error.code` of an error's body, empty when there is none.
    #[must_use]
    pub fn error_code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Status and body in one JSON value, as snapshots show them.
    #[must_use]
    pub fn snapshot(&self) -> Value {
        let body = serde_json::from_slice(&self.body).unwrap_or_else(|_| Value::String(self.text()));
        json!({"status": self.status, "body": body})
    }

    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Client {
    /// # Panics
    ///
    /// When no HTTP client can be built.
    #[must_use]
    pub fn new(base_url: &str, key: Option<&str>) -> Self {
        // The second caller finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(RUN_TIMEOUT)
            .build()
            .expect("an HTTP client can be built");
        Self {
            http,
            base_url: base_url.to_owned(),
            key: key.map(str::to_owned),
        }
    }

    /// The same server, with another key or none.
    #[must_use]
    pub fn with_key(&self, key: Option<&str>) -> Self {
        Self {
            key: key.map(str::to_owned),
            ..self.clone()
        }
    }

    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// A request with the key; `path` begins with `/`.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base_url));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    /// Any method with a JSON body.
    pub async fn json(&self, method: Method, path: &str, body: &Value) -> Answer {
        send(json_body(self.request(method, path), body)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.json(Method::POST, path, body).await
    }

    /// Creates an integration of `provider`.
    pub async fn create_integration(&self, unique_key: &str, provider: &str) -> Answer {
        self.post(
            "/integrations",
            &json!({"unique_key": unique_key, "provider": provider}),
        )
        .await
    }

    /// Imports a connection; `credentials` is in the public shape, as in `{"type": "API_KEY", "apiKey": …}`.
    pub async fn import_connection(&self, integration: &str, connection_id: &str, credentials: Value) -> Answer {
        let body =
            json!({"provider_config_key": integration, "connection_id": connection_id, "credentials": credentials});
        self.post("/connections", &body).await
    }

    /// Replaces the metadata of a connection.
    pub async fn set_metadata(&self, integration: &str, connection_id: &str, metadata: Value) -> Answer {
        let body = json!({"provider_config_key": integration, "connection_id": connection_id, "metadata": metadata});
        self.post("/connections/metadata", &body).await
    }

    /// Deploys a component's functions, whatever they can do.
    pub async fn deploy(&self, integration: &str, component: Vec<u8>) -> Answer {
        let path = format!("/integrations/{integration}/functions?allow=all");
        send(
            self.request(Method::POST, &path)
                .header("content-type", "application/wasm")
                .body(component),
        )
        .await
    }

    /// Runs an action.
    pub async fn trigger_action(&self, integration: &str, connection_id: &str, action: &str, input: Value) -> Answer {
        let body = json!({"action_name": action, "input": input});
        let request = self.request(Method::POST, "/action/trigger");
        send(json_body(for_connection(request, integration, connection_id), &body)).await
    }

    /// Has an action run in the background.
    pub async fn trigger_async(
        &self,
        integration: &str,
        connection_id: &str,
        action: &str,
        input: Value,
        retries: u32,
    ) -> Answer {
        let body = json!({"action_name": action, "input": input});
        let request = self
            .request(Method::POST, "/action/trigger")
            .header("X-Async", "true")
            .header("X-Max-Retries", retries);
        send(json_body(for_connection(request, integration, connection_id), &body)).await
    }

    /// Waits for the end of an action in the background; gives what `GET /action/{id}` answers then.
    ///
    /// # Panics
    ///
    /// When it does not end within [`RUN_TIMEOUT`].
    pub async fn wait_for_action(&self, id: &str) -> Answer {
        let deadline = Instant::now() + RUN_TIMEOUT;
        loop {
            let answer = self.get(&format!("/action/{id}")).await;
            let state = answer.header("x-action-state").unwrap_or_default();
            if state != "queued" && state != "running" {
                return answer;
            }
            assert!(Instant::now() < deadline, "action {id} is {state} for too long");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    pub async fn trigger_sync(&self, integration: &str, connection_id: &str, sync: &str) -> Answer {
        let body = json!({"provider_config_key": integration, "connection_id": connection_id, "syncs": [sync]});
        self.post("/sync/trigger", &body).await
    }

    /// The one element of `GET /sync/status`; null for a sync that never ran.
    pub async fn sync_status(&self, integration: &str, connection_id: &str, sync: &str) -> Value {
        let path = format!("/sync/status?provider_config_key={integration}&connection_id={connection_id}&syncs={sync}");
        self.get(&path).await.ok()["syncs"][0].clone()
    }

    /// Triggers a sync and waits for that run to end; gives its status then.
    pub async fn run_sync(&self, integration: &str, connection_id: &str, sync: &str) -> Value {
        // Deploying may have started a run of its own, which the trigger would join.
        self.wait_for_sync(integration, connection_id, sync, |status| status["status"] != "RUNNING")
            .await;
        let before = self.sync_status(integration, connection_id, sync).await["finishedAt"].clone();
        let _ = self.trigger_sync(integration, connection_id, sync).await.ok();
        let ended = |status: &Value| status["status"] != "RUNNING" && status["finishedAt"] != before;
        self.wait_for_sync(integration, connection_id, sync, ended).await
    }

    /// Waits until the sync's status is as wanted.
    ///
    /// # Panics
    ///
    /// When it is not within [`RUN_TIMEOUT`].
    pub async fn wait_for_sync(
        &self,
        integration: &str,
        connection_id: &str,
        sync: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + RUN_TIMEOUT;
        loop {
            let status = self.sync_status(integration, connection_id, sync).await;
            if wanted(&status) {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the sync {sync} did not get there in time: {status}"
            );
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// A page of records; `query` goes after `model`, as in `&limit=2`.
    pub async fn records(&self, integration: &str, connection_id: &str, model: &str, query: &str) -> Answer {
        let request = self.request(Method::GET, &format!("/records?model={model}{query}"));
        send(for_connection(request, integration, connection_id)).await
    }

    /// Text of all messages of the latest operations.
    pub async fn logs(&self) -> String {
        let operations = self.get("/logs/operations").await.ok();
        let mut text = String::new();
        for operation in operations["data"].as_array().into_iter().flatten() {
            let id = operation["id"].as_str().unwrap_or_default();
            text.push_str(&operation.to_string());
            text.push_str(
                &self
                    .get(&format!("/logs/messages?operation_id={id}&limit=500"))
                    .await
                    .text(),
            );
        }
        text
    }

    /// A request through the proxy, to be given headers and a body.
    pub fn proxy(&self, method: Method, integration: &str, connection_id: &str, path: &str) -> reqwest::RequestBuilder {
        for_connection(
            self.request(method, &format!("/proxy{path}")),
            integration,
            connection_id,
        )
    }

    pub async fn proxy_get(&self, integration: &str, connection_id: &str, path: &str) -> Answer {
        send(self.proxy(Method::GET, integration, connection_id, path)).await
    }
}

/// Sends a request and reads the whole answer.
///
/// # Panics
///
/// When there is no answer.
pub async fn send(request: reqwest::RequestBuilder) -> Answer {
    let response = request
        .send()
        .await
        .unwrap_or_else(|error| panic!("no answer: {error:?}"));
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response
        .bytes()
        .await
        .unwrap_or_else(|error| panic!("{status}, then the body broke off: {error:?}"));
    if headers
        .get("content-type")
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
    {
        told::heard_body(&body);
    }
    Answer { status, headers, body }
}

/// Adds a JSON body.
pub fn json_body(request: reqwest::RequestBuilder, body: &Value) -> reqwest::RequestBuilder {
    told::heard(body);
    request
        .header("content-type", "application/json")
        .body(body.to_string())
}

/// Adds the two headers that name a connection.
pub fn for_connection(
    request: reqwest::RequestBuilder,
    integration: &str,
    connection_id: &str,
) -> reqwest::RequestBuilder {
    request
        .header("Provider-Config-Key", integration)
        .header("Connection-Id", connection_id)
}

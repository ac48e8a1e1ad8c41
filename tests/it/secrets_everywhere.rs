//! One server goes through all that has to do with secrets: every kind of credentials, connect sessions, authorizations, refreshes
//! that succeed and fail, keys, recordings, the audit, a rotation. Afterwards no secret is in any table, file or line of output,
//! in any encoding.

use http::Method;
use nango_runtime_tests::client::{json_body, send};
use nango_runtime_tests::command::Cli;
use nango_runtime_tests::leaks::Secrets;
use nango_runtime_tests::oidc::{self, Oidc};
use nango_runtime_tests::server::SECRET_KEY;
use nango_runtime_tests::upstream::Received;
use nango_runtime_tests::{Browser, Client, Database, Reply, Server, TestRuntime, Upstream, for_each_database, guest};
use serde_json::{Value, json};

use crate::credential_types::modes;
use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, providers};
use crate::oauth_flow::at_the_provider;

const KEY_FILE: &str = "encryption.key";
/// Characters that encodings change.
const TYPED_KEY: &str = "typed/key+of=a?customer&";
const PASSWORD: &str = "pässword of \"the\" user";
const CONFIG_SECRET: &str = "secret-of-a-connection-config";
const DEFAULT_SECRET: &str = "secret-default-of-a-session";
const APP_SECRET: &str = "secret-of-an-app-c0ffee";
const VOID_REFRESH: &str = "refresh-token-that-is-void";
const REJECTED: &str = "secret-in-a-refused-body";
const OWN_KEY: &str = "AvZycUzfYZsW3Qaj0RskzjE1OkxAtG3K7GtuLbmG3YY=";

for_each_database!(nothing_that_a_server_was_told_is_left_in_clear);

/// What goes on, and what must stay secret of it.
struct Scene {
    database: Database,
    server: Server,
    client: Client,
    oidc: Oidc,
    upstream: Upstream,
    secrets: Secrets,
}

/// An API and a token endpoint that repeat all they get, as some do in their errors.
fn repeating(request: &Received) -> Reply {
    let sent = format!("{:?} {}", request.headers, String::from_utf8_lossy(&request.body));
    if request.target.starts_with("/token") {
        let refused = json!({"error": "invalid_grant", "error_description": format!("you sent {sent}")});
        return Reply::json(400, &refused);
    }
    let status = if request.target.contains("fail") { 400 } else { 200 };
    let echo = request.header("authorization").to_owned();
    Reply::json(status, &json!({"told": sent, "target": request.target})).header("x-echo", &echo)
}

impl Scene {
    async fn new(database: Database) -> Self {
        let oidc = Oidc::start();
        let upstream = Upstream::handling(repeating).await;
        let mut yaml = oidc::providers(&oidc.url, &oidc.url) + &providers(&upstream.url());
        for (mode, _) in modes() {
            let entry = json!({"display_name": mode, "auth_mode": mode, "proxy": {"base_url": upstream.url()}});
            yaml.push_str(&format!("{mode}: {entry}\n"));
        }
        let runtime = TestRuntime::new()
            .egress_loopback()
            .environment("NANGO_LOG", "trace")
            .environment("NANGO_RECORD_RUNS", "all")
            .provider_yaml(&yaml);
        let server = database.serve_with_own_keys(runtime).start();
        let client = server.client();
        let mut secrets = Secrets::default();
        secrets.add("the first API key", SECRET_KEY);
        Self {
            database,
            server,
            client,
            oidc,
            upstream,
            secrets,
        }
    }

    /// Every mode is imported, shown, used, repeated by the provider, imported anew, and some are deleted.
    async fn modes(&mut self) {
        for (mode, credentials) in modes() {
            for text in strings(&credentials).iter().filter(|text| text.contains("secret-")) {
                self.secrets.add(mode, text);
            }
            let mut integration = json!({"unique_key": mode, "provider": mode});
            if mode == "OAUTH1" {
                integration["credentials"] = json!({"type": mode, "client_id": "id", "client_secret": APP_SECRET});
            }
            let _ = self.client.post("/integrations", &integration).await.ok();
            let import = json!({"provider_config_key": mode, "connection_id": "c", "credentials": credentials,
                "connection_config": {"accountId": "1234567", "apiSecret": CONFIG_SECRET}});
            for _ in 0..2 {
                let _ = self.client.post("/connections", &import).await.ok();
            }
            let path = format!("/connections/c?provider_config_key={mode}&refresh_token=true");
            let _ = self.client.get(&path).await.ok();
            for path in ["/x?a=1", "/fail"] {
                let _ = self.client.proxy_get(mode, "c", path).await;
            }
            if mode.len() % 2 == 0 {
                let _ = self.client.delete(&path).await;
            }
        }
        self.secrets.add("an app's secret", APP_SECRET);
        self.secrets.add("a connection's config", CONFIG_SECRET);
    }

    /// Sessions of customers, who type a key, begin an authorization and leave, and finish one.
    async fn customers(&mut self) {
        let (id, secret) = self
            .oidc
            .register(&format!("{}/oauth/callback", self.server.base_url()))
            .await;
        self.secrets.add("a client's secret", &secret);
        let app = json!({"type": "OAUTH2", "client_id": id, "client_secret": secret});
        for (key, provider, credentials) in [("oidc", "oidc", app), ("bearer", "bearer", Value::Null)] {
            let integration = json!({"unique_key": key, "provider": provider, "credentials": credentials});
            let _ = self.client.post("/integrations", &integration).await.ok();
        }
        let body = json!({"end_user": {"id": "u1"}, "integrations_config_defaults": {
            "bearer": {"connection_config": {"appSecret": DEFAULT_SECRET}}}});
        let mut tokens = Vec::new();
        for number in 0..3 {
            let opened = self.client.post("/connect/sessions", &body).await.ok();
            let token = text(&opened["data"]["token"]);
            self.secrets.add(&format!("the token of session {number}"), &token);
            tokens.push(token);
        }
        self.secrets.add("a default of a session", DEFAULT_SECRET);
        self.secrets.add("a typed key", TYPED_KEY);
        let _ = self
            .client
            .with_key(Some(&tokens[0]))
            .get("/connect/session")
            .await
            .ok();
        let path = format!("/api-auth/api-key/bearer?connect_session_token={}", tokens[0]);
        let typed = self.client.with_key(None).request(Method::POST, &path);
        let _ = send(json_body(typed, &json!({"apiKey": TYPED_KEY}))).await.ok();

        let start = |token: &str| {
            format!(
                "{}/oauth/connect/oidc?connect_session_token={token}",
                self.client.base_url()
            )
        };
        let (mut left, mut finished) = (Browser::new(), Browser::new());
        let pending = left.step(&start(&tokens[1]), None).await;
        self.secrets
            .add("a pending state", pending.parameter("state").expect("a state"));
        let begun = finished.step(&start(&tokens[2]), None).await;
        let back = at_the_provider(&mut finished, &begun.location().expect("to the provider")).await;
        for name in ["state", "code"] {
            self.secrets.add(name, back.parameter(name).expect("both come back"));
        }
        for page in [&pending, &begun] {
            let cookie = page.headers["set-cookie"].to_str().expect("a cookie is text");
            let value = cookie.split([';', '=']).nth(1).unwrap_or_default();
            self.secrets.add("a browser's cookie", value);
        }
        let page = finished.open(&back.location().expect("back")).await;
        let connection_id = page.data("connectionId").expect("an id");
        self.tokens_of(&connection_id, "").await;
        let _ = self.client.proxy_get("oidc", &connection_id, "/me").await.ok();
        self.tokens_of(&connection_id, "&force_refresh=true").await;
        // Once more: an error page.
        let _ = finished.open(&back.location().expect("back")).await;
    }

    async fn tokens_of(&mut self, connection_id: &str, more: &str) {
        let path = format!("/connections/{connection_id}?provider_config_key=oidc&refresh_token=true{more}");
        let shown = self.client.get(&path).await.ok();
        for name in ["access_token", "refresh_token"] {
            self.secrets.add(name, text(&shown["credentials"][name]));
        }
    }

    /// A token endpoint refuses and repeats what it was sent; callers send what is refused.
    async fn failures(&mut self) {
        let app = json!({"type": "OAUTH2", "client_id": "id", "client_secret": APP_SECRET});
        let integration = json!({"unique_key": "oauth", "provider": "oauth", "credentials": app});
        let _ = self.client.post("/integrations", &integration).await.ok();
        let credentials = json!({"type": "OAUTH2", "access_token": "access-token-that-ended",
            "refresh_token": VOID_REFRESH, "expires_at": oidc::now_ms() - 1_000});
        let _ = self
            .client
            .import_connection("oauth", CONNECTION, credentials)
            .await
            .ok();
        assert_eq!(self.client.proxy_get("oauth", CONNECTION, "/x").await.status, 400);
        let forced = format!("/connections/{CONNECTION}?provider_config_key=oauth&force_refresh=true");
        let refused = self.client.get(&forced).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(!refused.text().contains(VOID_REFRESH), "{}", refused.text());
        self.secrets.add("a void refresh token", VOID_REFRESH);
        self.secrets.add("an ended access token", "access-token-that-ended");

        let wrong = json!({"provider_config_key": "bearer", "connection_id": "w",
            "credentials": {"type": "API_KEY", "password": REJECTED}});
        assert_eq!(self.client.post("/connections", &wrong).await.status, 400);
        let broken = self
            .client
            .request(Method::POST, "/connections")
            .header("content-type", "application/json");
        let broken = broken.body(format!(r#"{{"credentials": {{"apiKey": "{REJECTED}""#));
        assert_eq!(send(broken).await.status, 400);
        let stranger = self.client.with_key(Some(REJECTED));
        assert_eq!(stranger.get("/connections").await.status, 401);
        self.secrets.add("a refused secret", REJECTED);
    }

    /// API keys are made, used, refused and revoked.
    async fn keys(&mut self) {
        let body = json!({"name": "ci", "scopes": ["environment:proxy"], "limits": {"methods": ["GET"]}});
        let made = self.client.post("/api-keys", &body).await.ok();
        let limited = text(&made["data"]["key"]);
        let limited_client = self.client.with_key(Some(&limited));
        let _ = limited_client.proxy_get("bearer", "nobody", "/x").await;
        assert_eq!(limited_client.get("/connections").await.status, 403);
        self.secrets.add("a limited key", &limited);
        let path = format!("/api-keys/{}", text(&made["data"]["id"]));
        let _ = self.client.delete(&path).await.ok();
        assert_eq!(limited_client.get("/connections").await.status, 401);
    }

    /// Functions call the API, log what it repeats, fail with it, and are recorded.
    async fn runs(&mut self) {
        let _ = self.client.create_integration(INTEGRATION, "bearer").await.ok();
        let key = json!({"type": "API_KEY", "apiKey": API_KEY});
        let _ = self.client.import_connection(INTEGRATION, CONNECTION, key).await.ok();
        self.secrets.add("an API key", API_KEY);
        let user = json!({"type": "BASIC", "username": "user", "password": PASSWORD});
        let _ = self.client.create_integration("basic", "basic").await.ok();
        let _ = self.client.import_connection("basic", CONNECTION, user).await.ok();
        self.secrets.add("a password", PASSWORD);
        for integration in [INTEGRATION, "basic"] {
            let _ = self.client.deploy(integration, guest::component("basic")).await.ok();
            for (action, path) in [("fetch", "/x"), ("fetch", "/fail"), ("repeat", "/x?b=2")] {
                let input = json!({"path": path});
                let _ = self.client.trigger_action(integration, CONNECTION, action, input).await;
            }
        }
    }

    /// Reads that are written down, and another encryption key.
    async fn audit_and_rotation(&mut self) {
        let _ = self.client.get("/integrations/oauth?include=credentials").await.ok();
        assert!(self.client.get("/audit").await.text().contains("integration"));
        let old = std::fs::read_to_string(self.server.data().join(KEY_FILE)).expect("there is a key file");
        let rotated = Cli::of(&self.server, &["keys", "rotate", "--key", "env:OWN"]).environment("OWN", OWN_KEY);
        let rotated = rotated.run();
        assert_eq!(rotated.code, Some(0), "{}", rotated.stderr);
        for key in old
            .lines()
            .map(str::trim)
            .chain([OWN_KEY])
            .filter(|line| !line.is_empty())
        {
            use base64::Engine as _;
            self.secrets.add("an encryption key", key);
            let bytes = base64::engine::general_purpose::STANDARD.decode(key);
            self.secrets
                .add("an encryption key's bytes", bytes.expect("a key is base64"));
        }
    }

    /// In the tables and in what was written out.
    async fn nothing_is_found(&self) {
        let finder = self.secrets.finder();
        let cells = self.database.dump().await;
        let tables: std::collections::BTreeSet<&str> = cells.iter().map(|cell| cell.table.as_str()).collect();
        for table in [
            "connections",
            "messages",
            "recordings",
            "authorizations",
            "connect_sessions",
            "api_keys",
            "credential_reads",
        ] {
            assert!(tables.contains(table), "{table} is empty: {tables:?}");
        }
        for cell in &cells {
            finder.none_in(&format!("{}.{}", cell.table, cell.column), &cell.bytes);
        }
        let output = self.server.log();
        assert!(output.contains("TRACE"), "the server tells all it can");
        finder.none_in("the server's output", output.as_bytes());
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Every text in a value.
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(strings).collect(),
        Value::Object(fields) => fields.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

async fn nothing_that_a_server_was_told_is_left_in_clear(database: Database) {
    let mut scene = Scene::new(database).await;
    scene.modes().await;
    scene.customers().await;
    scene.failures().await;
    scene.keys().await;
    scene.runs().await;
    // The log's queue is written out, and recordings are, before anybody reads on.
    scene.client.logs().await;
    scene.nothing_is_found().await;
    scene.audit_and_rotation().await;
    let finder = scene.secrets.finder();
    finder.none_in("the log's API", scene.client.logs().await.as_bytes());
    let shown = Cli::of(&scene.server, &["logs", "--limit", "500"]).run();
    finder.none_in(
        "`nango-runtime logs`",
        format!("{}{}", shown.stdout, shown.stderr).as_bytes(),
    );
    finder.none_in("the metrics", &scene.client.get("/metrics").await.body);
    scene.nothing_is_found().await;
    // With what is not yet folded into the database's file.
    finder.none_in_files(scene.server.data(), KEY_FILE);
    // The secrets were at work, and would be found where they are in clear.
    let received = format!("{:?}", scene.upstream.received());
    assert!(finder.find(received.as_bytes()).len() > 20, "{received}");
    assert!(scene.secrets.len() > 50, "{}", scene.secrets.len());

    // Stopped in order, everything is written.
    scene.server.process().signal("TERM");
    let _ = scene.server.process().wait();
    scene.nothing_is_found().await;
    finder.none_in_files(scene.server.data(), KEY_FILE);
}

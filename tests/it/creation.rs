//! How connections come to be: by the published clients of back end and browser, tried at the provider before they are stored.

use std::time::{Duration, Instant};

use http::Method;
use nango_runtime_tests::client::{json_body, send};
use nango_runtime_tests::command::Cli;
use nango_runtime_tests::upstream::Received;
use nango_runtime_tests::{Client, Reply, Server, TestRuntime, Upstream, node};
use serde_json::{Value, json};

/// What the provider takes.
const GOOD_KEY: &str = "good-key-1f0c9a";
const BAD_KEY: &str = "bad-key-77aa31";

/// A provider for each way in which users give credentials; each says how they are tried.
fn providers(url: &str) -> String {
    format!(
        "
keyed:
  display_name: Keyed
  auth_mode: API_KEY
  connection_config:
    region: {{type: string, title: Region, enum: [eu, us], default_value: eu}}
    account: {{type: string, title: Account, pattern: '^[a-z]+$', example: acme}}
    note: {{type: string, title: Note, optional: true}}
    zone: {{type: string, title: Zone, visible_when: {{field: region, equals: us}}}}
  credentials:
    apiKey: {{type: string, title: Key, pattern: '^[a-z]+-key-[a-f0-9]+$', secret: true}}
  proxy:
    base_url: {url}/${{connectionConfig.region}}
    headers: {{authorization: 'Bearer ${{apiKey}}'}}
    verification: {{endpoints: [/gone, '/accounts/${{connectionConfig.account}}'], headers: {{x-tried: 'yes'}}}}
named:
  auth_mode: BASIC
  proxy: {{base_url: {url}, verification: {{method: POST, endpoints: [/search], data: {{query: '*'}}}}}}
client:
  auth_mode: OAUTH2_CC
  token_url: {url}/token
  proxy: {{base_url: {url}, verification: {{endpoints: [/me]}}}}
login:
  auth_mode: TWO_STEP
  token_url: {url}/login
  token_params: {{name: '${{credentials.username}}'}}
  token_response: {{token: token, token_expiration: seconds, token_expiration_strategy: expireIn}}
  credentials: {{username: {{type: string}}}}
  proxy: {{base_url: {url}, headers: {{authorization: 'Bearer ${{accessToken}}'}}, verification: {{endpoints: [/me]}}}}
wsse:
  auth_mode: SIGNATURE
  signature: {{protocol: WSSE}}
  token: {{expires_in_ms: 300000}}
  proxy: {{base_url: {url}, headers: {{x-wsse: '${{accessToken}}'}}, verification: {{endpoints: [/signed]}}}}
signed:
  auth_mode: JWT
  signature: {{protocol: HMAC}}
  token:
    signing_key: ${{credentials.secret}}
    expires_in_ms: 600000
    header: {{alg: HS256}}
    payload: {{iss: '${{credentials.issuer}}'}}
  credentials: {{issuer: {{type: string}}, secret: {{type: string, secret: true}}}}
  proxy: {{base_url: {url}, verification: {{endpoints: [/signed]}}}}
ledger:
  auth_mode: BILL
  token_url: {url}/v3/login
  proxy: {{base_url: {url}, headers: {{sessionid: '${{credentials.session_id}}'}}}}
suite:
  auth_mode: TBA
  signature_method: HMAC-SHA256
  proxy: {{base_url: {url}, verification: {{endpoints: [/signed]}}}}
open:
  auth_mode: NONE
  proxy: {{base_url: {url}}}
popup:
  auth_mode: OAUTH2
  authorization_url: {url}/authorize
  token_url: {url}/token
  proxy: {{base_url: {url}}}
"
    )
}

fn answer(request: &Received) -> Reply {
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let key = request.header("authorization").to_owned();
    let refused = |text: String| Reply::json(401, &json!({"error": text}));
    match request.target.as_str() {
        "/eu/accounts/acme" | "/us/accounts/acme" if key == format!("Bearer {GOOD_KEY}") => {
            Reply::json(200, &json!({}))
        }
        "/eu/accounts/acme" | "/us/accounts/acme" => refused(format!("no such key: {key}")),
        "/eu/gone" | "/us/gone" => Reply::json(404, &json!({"error": "gone"})),
        "/search" if body == r#"{"query":"*"}"# && key.starts_with("Basic dTpw") => Reply::json(200, &json!([])),
        "/token" if body.contains("right-secret") => {
            Reply::json(200, &json!({"access_token": "cc-1", "expires_in": 3_600}))
        }
        "/token" => Reply::json(401, &json!({"error": "invalid_client", "error_description": body})),
        "/login" => Reply::json(200, &json!({"token": body.replace('"', "'"), "seconds": 600})),
        "/v3/login" => Reply::json(200, &json!({"sessionId": "s-1", "userId": "u-1"})),
        "/me" if key == "Bearer cc-1" || key.contains("ann") => Reply::json(200, &json!({})),
        "/signed" if key.starts_with("Bearer ey") || key.contains("oauth_token=") => Reply::json(200, &json!({})),
        "/signed" if request.header("x-wsse").contains("UsernameToken") => Reply::json(200, &json!({})),
        _ => Reply::json(403, &json!({"error": "forbidden"})),
    }
}

const INTEGRATIONS: [&str; 10] = [
    "keyed", "named", "client", "login", "wsse", "signed", "ledger", "suite", "open", "popup",
];

async fn serving(runtime: TestRuntime, url: &str) -> (Server, Client) {
    let server = runtime.egress_loopback().provider_yaml(&providers(url)).start();
    let client = server.client();
    for name in INTEGRATIONS {
        let credentials = match name {
            "suite" => json!({"type": "TBA", "client_id": "c", "client_secret": "s", "scopes": ""}),
            "popup" => json!({"type": "OAUTH2", "client_id": "c", "client_secret": "s", "scopes": ""}),
            _ => Value::Null,
        };
        let body = json!({"unique_key": name, "provider": name, "credentials": credentials});
        let _ = client.post("/integrations", &body).await.ok();
    }
    (server, client)
}

async fn count(client: &Client) -> usize {
    let listed = client.get("/connections").await.ok();
    listed["connections"].as_array().expect("a list").len()
}

/// Messages of the last creations, newest first, with their states.
async fn creations(client: &Client) -> Vec<(String, String)> {
    let listed = client.get("/logs/operations?type=auth").await.ok();
    let operations = listed["data"].as_array().expect("a list").iter();
    let creations = operations.filter(|operation| operation["type"] == "auth:create_connection");
    creations
        .map(|it| {
            let text = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
            (text("state"), text("message"))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_clients_connect_without_a_popup() {
    let upstream = Upstream::handling(answer).await;
    let (server, client) = serving(TestRuntime::new(), &upstream.url()).await;
    let account = json!({"account": "acme"});
    let scenario = json!([
        ["open", "open", {"end_user": {"id": "u1", "email": "a@b.co"}, "organization": {"id": "o1"}}],
        ["keyed", "auth", "keyed", {"params": account, "credentials": {"apiKey": GOOD_KEY}}],
        ["named", "auth", "named", {"credentials": {"username": "u", "password": "p"}}],
        ["client", "auth", "client", {"credentials": {"client_id": "c", "client_secret": "right-secret"}}],
        ["login", "auth", "login", {"credentials": {"type": "TWO_STEP", "username": "ann"}}],
        ["wsse", "auth", "wsse", {"credentials": {"type": "SIGNATURE", "username": "u", "password": "p"}}],
        ["signed", "auth", "signed", {"credentials": {"type": "JWT", "issuer": "i", "secret": "c0ffee5ec2e7c0ffee5ec2e7"}}],
        ["ledger", "auth", "ledger", {"credentials": {"username": "u", "password": "p", "organization_id": "o", "dev_key": "d"}}],
        ["suite", "auth", "suite", {"params": {"accountId": "1"}, "credentials": {"token_id": "t", "token_secret": "s"}}],
        ["none", "create", "open", {"params": {"own": "x"}}],
        ["bad", "auth", "keyed", {"params": account, "credentials": {"apiKey": BAD_KEY}}],
        ["badSecret", "auth", "client", {"credentials": {"client_id": "c", "client_secret": "wrong-secret"}}],
        ["missing", "auth", "keyed", {"credentials": {"apiKey": GOOD_KEY}}],
        ["wrongMode", "auth", "named", {"credentials": {"apiKey": "k"}}],
        ["withId", "auth", "keyed", "my-id", {"params": account, "credentials": {"apiKey": GOOD_KEY}}],
        ["publicKey", "withPublicKey", "keyed", {"params": account, "credentials": {"apiKey": GOOD_KEY}}],
    ]);
    let results = node::run(&server, "connect.mjs", &[("SCENARIO", &scenario.to_string())]);
    for (name, integration) in INTEGRATIONS[..8]
        .iter()
        .map(|name| (*name, *name))
        .chain([("none", "open")])
    {
        let connected = &results[name]["returned"];
        assert_eq!(connected["providerConfigKey"], integration, "{name}: {}", results[name]);
        let id = connected["connectionId"].as_str().expect("an id");
        let path = format!("/connections/{id}?provider_config_key={integration}");
        let shown = client.get(&path).await.ok();
        assert_eq!(shown["end_user"]["id"], "u1", "{shown}");
        assert_eq!(shown["end_user"]["organization"]["id"], "o1", "{shown}");
    }
    for (name, code) in [
        ("bad", "connection_test_failed"),
        ("badSecret", "client_credentials_fetch_error"),
        ("missing", "invalid_body"),
        ("wrongMode", "invalid_auth_mode"),
        ("withId", "invalid_query_params"),
        ("publicKey", "invalid_public_key"),
    ] {
        assert_eq!(results[name]["type"], code, "{name}: {}", results[name]);
        let message = results[name]["message"].as_str().unwrap_or_default();
        assert!(
            !message.contains(BAD_KEY) && !message.contains("wrong-secret"),
            "{message}"
        );
    }
    let message = results["missing"]["message"].as_str().unwrap_or_default();
    assert!(
        message.starts_with("connection_config.account: is missing"),
        "{message}"
    );
    assert_eq!(count(&client).await, 9);
    let log = client.logs().await;
    for secret in [
        GOOD_KEY,
        BAD_KEY,
        "right-secret",
        "wrong-secret",
        "c0ffee5ec2e7c0ffee5ec2e7",
    ] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_authorised_anew_by_the_published_clients() {
    let upstream = Upstream::handling(answer).await;
    let (server, client) = serving(TestRuntime::new(), &upstream.url()).await;
    let import = json!({
        "provider_config_key": "open", "connection_id": "c1", "credentials": {"type": "NONE"}, "metadata": {"kept": 1},
        "tags": {"plan": "pro"}, "end_user": {"id": "u1"}, "connection_config": {"own": "kept"},
        "webhook_url_override": "https://hooks.test",
    });
    assert_eq!(
        client.post("/connections", &import).await.ok()["webhook_url_override"],
        "https://hooks.test"
    );
    let before = client.get("/connections/c1?provider_config_key=open").await.ok();
    let scenario = json!([
        ["reopen", "reopen", {"connection_id": "c1", "integration_id": "open"}],
        ["again", "create", "open", {}],
        ["other", "reconnect", "named", {"credentials": {"username": "u", "password": "p"}}],
        ["unknown", "reopen", {"connection_id": "nope", "integration_id": "open"}],
    ]);
    let results = node::run(&server, "connect.mjs", &[("SCENARIO", &scenario.to_string())]);
    assert_eq!(results["again"]["returned"]["connectionId"], "c1", "{results}");
    assert_eq!(results["other"]["type"], "integration_not_allowed");
    assert_eq!(
        (
            &results["unknown"]["status"],
            &results["unknown"]["data"]["error"]["code"]
        ),
        (&json!(400), &json!("invalid_body"))
    );
    let after = client.get("/connections/c1?provider_config_key=open").await.ok();
    for key in [
        "id",
        "metadata",
        "tags",
        "end_user",
        "connection_config",
        "webhook_url_override",
        "created_at",
    ] {
        assert_eq!(after[key], before[key], "{key}");
    }
    let creations = creations(&client).await;
    assert_eq!(creations[1].1, "The connection was overwritten", "{creations:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_refuses_is_not_stored() {
    let upstream = Upstream::handling(answer).await;
    let (_server, client) = serving(TestRuntime::new(), &upstream.url()).await;
    let import = |key: &str| {
        json!({
            "provider_config_key": "keyed", "connection_id": "c1", "connection_config": {"region": "eu", "account": "acme"},
            "credentials": {"type": "API_KEY", "apiKey": key},
        })
    };
    let refused = client.post("/connections", &import(BAD_KEY)).await;
    insta::assert_json_snapshot!(refused.snapshot(), @r#"
    {
      "body": {
        "error": {
          "code": "connection_test_failed",
          "message": "the credentials were not found to be good, so the connection is not stored: the provider \"keyed\" answered GET /accounts/${connectionConfig.account} with 401 Unauthorized: {\"error\":\"no such key: Bearer REDACTED\"}"
        }
      },
      "status": 400
    }
    "#);
    assert_eq!(count(&client).await, 0);
    let tried: Vec<Received> = upstream.received();
    assert_eq!(tried.len(), 2, "each once");
    assert_eq!(tried[0].header("x-tried"), "yes");

    assert_eq!(client.post("/connections", &import(GOOD_KEY)).await.status, 201);
    // What is there stays when the new credentials are refused.
    assert_eq!(
        client.post("/connections", &import(BAD_KEY)).await.error_code(),
        "connection_test_failed"
    );
    let shown = client.get("/connections/c1?provider_config_key=keyed").await.ok();
    assert_eq!(shown["credentials"]["apiKey"], GOOD_KEY);

    let creations = creations(&client).await;
    let states: Vec<&str> = creations.iter().map(|(state, _)| state.as_str()).collect();
    assert_eq!(states, ["failed", "success", "failed"]);
    assert!(creations[0].1.contains("answered GET /accounts/"), "{creations:?}");
    let log = client.logs().await;
    assert!(log.contains("takes the credentials") && log.contains("GET"), "{log}");
    assert!(!log.contains(BAD_KEY) && !log.contains(GOOD_KEY), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_is_told_from_one_that_refuses() {
    // Nobody listens there.
    let (_server, client) = serving(TestRuntime::new(), "http://127.0.0.1:9").await;
    let credentials = json!({"type": "BASIC", "username": "u", "password": "p"});
    let refused = client.import_connection("named", "c1", credentials.clone()).await;
    assert_eq!(
        (refused.status, refused.error_code().as_str()),
        (400, "connection_test_failed")
    );
    let text = refused.text();
    assert!(
        text.contains("could not be asked, so nothing is known about the credentials: no connection to"),
        "{text}"
    );
    assert_eq!(count(&client).await, 0);

    let upstream = Upstream::handling(|_| Reply::status(503).header("retry-after", "3600").body("down")).await;
    let (_server, client) = serving(TestRuntime::new(), &upstream.url()).await;
    let refused = client.import_connection("named", "c1", credentials.clone()).await;
    assert!(
        refused.text().contains("with 503 Service Unavailable: down"),
        "{}",
        refused.text()
    );
    assert_eq!(upstream.received().len(), 1, "not tried again");

    let off = TestRuntime::new().environment("NANGO_VERIFY_CONNECTIONS", "false");
    let (server, client) = serving(off, "http://127.0.0.1:9").await;
    let _ = client.import_connection("named", "c1", credentials).await.ok();
    assert_eq!(count(&client).await, 1);
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_that_a_provider_refused() {
    let upstream = Upstream::handling(answer).await;
    let (server, _client) = serving(TestRuntime::new(), &upstream.url()).await;
    let credentials = json!({"type": "BASIC", "username": "wrong", "password": "p"}).to_string();
    let refused = Cli::of(&server, &["connection", "import", "named", "c1", "--credentials", "-"])
        .input(&credentials)
        .run();
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("answered POST /search with 403 Forbidden")
            && refused
                .stderr
                .contains("hint: to store credentials without trying them"),
        "{}",
        refused.stderr
    );

    let opened = Cli::of(
        &server,
        &[
            "connect-session",
            "create",
            "--integration",
            "named",
            "--end-user-id",
            "u1",
        ],
    )
    .run();
    assert_eq!(opened.code, Some(0), "{}", opened.stderr);
    let link = opened.stdout.trim();
    assert!(
        link.starts_with(&format!(
            "{}/connect?session_token=nango_connect_session_",
            server.base_url()
        )),
        "{link}"
    );
    let logs = Cli::of(&server, &["logs", "--type", "auth"]).run();
    assert!(logs.stdout.contains("auth:create_connection"), "{}", logs.stdout);
    let unknown = Cli::of(&server, &["connect-session", "create", "--integration", "nope"]).run();
    assert_eq!(unknown.code, Some(1));
    assert!(
        unknown.stderr.contains("there is no integration \"nope\""),
        "{}",
        unknown.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_checked_and_named() {
    let upstream = Upstream::handling(answer).await;
    let (_server, client) = serving(TestRuntime::new(), &upstream.url()).await;
    let opened = client.post("/connect/sessions", &json!({"tags": {}})).await.ok();
    let token = opened["data"]["token"].as_str().expect("a token").to_owned();
    let connect = |params: &str, key: &str| {
        let path = format!("/api-auth/api-key/keyed?connect_session_token={token}{params}");
        let request = client.with_key(None);
        let body = json!({"apiKey": key});
        async move { request.post(&path, &body).await }
    };
    for (params, key, field) in [
        ("", GOOD_KEY, "connection_config.account: is missing"),
        ("&params[account]=", GOOD_KEY, "connection_config.account: is missing"),
        (
            "&params[account]=ACME",
            GOOD_KEY,
            "connection_config.account: must match",
        ),
        (
            "&params[account]=acme&params[region]=mars",
            GOOD_KEY,
            "connection_config.region: must be one of eu, us",
        ),
        (
            "&params[account]=acme&params[region]=us",
            GOOD_KEY,
            "connection_config.zone: is missing",
        ),
        ("&params[account]=acme", "no key", "credentials.apiKey: must match"),
        ("&params[account]=acme", "", "credentials.apiKey"),
        (
            "&params[account]=acme",
            &format!("k-key-{}", "a".repeat(1_025)),
            "credentials.apiKey: `apiKey` is 1031 characters long",
        ),
    ] {
        let refused = connect(params, key).await;
        assert_eq!(
            (refused.status, refused.error_code().as_str()),
            (400, "invalid_body"),
            "{params}"
        );
        let text = refused.text();
        assert!(text.contains(field), "{params}: {text}");
        assert!(key.len() < 4 || !text.contains(key), "{text}");
    }
    assert_eq!((upstream.received().len(), count(&client).await), (0, 0));
    let connected = connect("&params[account]=acme", GOOD_KEY).await.ok();
    let id = connected["connectionId"].as_str().expect("an id");
    let shown = client
        .get(&format!("/connections/{id}?provider_config_key=keyed"))
        .await
        .ok();
    // What a form would have filled in.
    assert_eq!(shown["connection_config"], json!({"account": "acme", "region": "eu"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_of_any_origin_may_connect() {
    let (_server, client) = serving(TestRuntime::new(), "http://127.0.0.1:9").await;
    let preflight = client
        .with_key(None)
        .request(Method::OPTIONS, "/auth/unauthenticated/open?connect_session_token=x")
        .header("origin", "https://app.test")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    let answer = send(preflight).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("content-type"));
    let refused = client
        .with_key(None)
        .post("/auth/unauthenticated/open", &json!({}))
        .await;
    assert_eq!(
        (refused.status, refused.header("access-control-allow-origin")),
        (401, Some("*"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_may_have_a_webhook_url_of_its_own() {
    let (_server, client) = serving(TestRuntime::new(), "http://127.0.0.1:9").await;
    let path = "/connections/c1?provider_config_key=open";
    let import = |url: Value| json!({"provider_config_key": "open", "connection_id": "c1", "credentials": {}, "webhook_url_override": url});
    let url = async || client.get(path).await.ok()["webhook_url_override"].clone();
    let _ = client
        .post("/connections", &import(json!("https://a.test/1")))
        .await
        .ok();
    assert_eq!(url().await, "https://a.test/1");
    let _ = client.post("/connections", &import(Value::Null)).await.ok();
    assert_eq!(url().await, "https://a.test/1", "an import that names none leaves it");
    let patch = async |url: Value| {
        client
            .json(Method::PATCH, path, &json!({"webhook_url_override": url}))
            .await
    };
    assert_eq!(patch(json!("http://b.test/2")).await.status, 200);
    assert_eq!(url().await, "http://b.test/2");
    for bad in ["ftp://a.test", "a.test", "https://user:pass@a.test"] {
        let refused = patch(json!(bad)).await;
        assert_eq!(
            (refused.status, refused.error_code().as_str()),
            (400, "invalid_body"),
            "{bad}"
        );
        let refused = client.post("/connections", &import(json!(bad))).await;
        assert_eq!(
            (refused.status, refused.error_code().as_str()),
            (400, "invalid_body"),
            "{bad}"
        );
    }
    assert_eq!(patch(json!("")).await.status, 200);
    assert_eq!(url().await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_whose_caller_leaves_has_an_end_in_the_log() {
    let upstream = Upstream::handling(|_| Reply::status(200).after(Duration::from_secs(20))).await;
    let (_server, client) = serving(TestRuntime::new(), &upstream.url()).await;
    let credentials = json!({"type": "BASIC", "username": "u", "password": "p"});
    let body = json!({"provider_config_key": "named", "connection_id": "c1", "credentials": credentials});
    let request = json_body(client.request(Method::POST, "/connections"), &body);
    let left = request.timeout(Duration::from_millis(300)).send().await;
    assert!(left.is_err_and(|error| error.is_timeout()));
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let creations = creations(&client).await;
        let (state, message) = &creations[0];
        if state != "running" {
            assert_eq!(
                (state.as_str(), message.as_str()),
                ("failed", "The caller left before it was done")
            );
            break;
        }
        assert!(Instant::now() < deadline, "it runs for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(count(&client).await, 0);
}

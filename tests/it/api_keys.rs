//! API keys: scopes on every route, limits and attempts to get around them, making and revoking.

use http::Method;
use nango_runtime_tests::command::Cli;
use nango_runtime_tests::{Answer, Client, Reply, TestRuntime, Upstream};
use serde_json::{Value, json};

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, with_guest, with_upstream};

/// A client with a new key.
pub async fn with_key(client: &Client, scopes: &[&str], limits: Value) -> Client {
    let body = json!({"name": "ci", "scopes": scopes, "limits": limits});
    let made = client.post("/api-keys", &body).await.ok();
    client.with_key(made["data"]["key"].as_str())
}

pub async fn proxy(client: &Client, method: Method, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    proxy_to(client, INTEGRATION, CONNECTION, method, path, headers).await
}

/// Sent byte for byte, as no URL parser would have it.
async fn proxy_to(
    client: &Client,
    integration: &str,
    connection: &str,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> (u16, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let key = client.key().unwrap_or_default();
    let address = client.base_url().trim_start_matches("http://");
    let mut head = format!(
        "{method} /proxy{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
         Provider-Config-Key: {integration}\r\nConnection-Id: {connection}\r\n"
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("the server listens");
    stream
        .write_all(format!("{head}\r\n").as_bytes())
        .await
        .expect("a request can be sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer comes");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("an answer has a status"), answer)
}

/// Method, path with parameters filled in, and scope of every route.
async fn routes(client: &Client) -> Vec<(Method, String, Option<String>)> {
    let document = client.get("/openapi.json").await.ok();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().expect("a document has paths") {
        for (method, operation) in item.as_object().expect("a path is an object") {
            let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).expect("it is a method");
            let mut filled = String::new();
            for part in path.split('/').skip(1) {
                filled.push('/');
                filled.push_str(if part.starts_with('{') { "x" } else { part });
            }
            let scope = operation["security"][0]["secret_key"][0].as_str().map(str::to_owned);
            routes.push((method, filled, scope));
        }
    }
    routes
}

async fn ask(client: &Client, method: &Method, path: &str) -> Answer {
    client.json(method.clone(), path, &json!({})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_for_its_scope() {
    let server = TestRuntime::new().start();
    let client = server.client();
    let routes = routes(&client).await;
    assert!(routes.len() > 30, "{routes:?}");
    let mut scopes: Vec<String> = routes.iter().filter_map(|(_, _, scope)| scope.clone()).collect();
    scopes.sort();
    scopes.dedup();
    for (method, path, scope) in &routes {
        let Some(scope) = scope else {
            // What takes the token of a connect session takes no key. Pages say what is wrong in words, and show nothing without one.
            let is_open = ["/", "/health", "/health/ready", "/openapi.json", "/connect"].contains(&path.as_str());
            let refused = match path.as_str() {
                "/oauth/client-metadata/x/x" | "/webhook/x/x" | "/webhook/x/x/x" => 404,
                path if path.starts_with("/oauth/") => 400,
                _ => 401,
            };
            assert!(
                is_open || ask(&client, method, path).await.status == refused,
                "{path} is open"
            );
            continue;
        };
        assert_eq!(ask(&client.with_key(None), method, path).await.status, 401, "{path}");
        assert_ne!(ask(&client, method, path).await.status, 403, "{method} {path}");
        assert!(!scope.is_empty());
    }
    for scope in &scopes {
        let others: Vec<&str> = scopes
            .iter()
            .map(String::as_str)
            .filter(|other| other != scope)
            .collect();
        let without = with_key(&client, &others, Value::Null).await;
        let only = with_key(&client, &[scope.as_str()], Value::Null).await;
        for (method, path, needed) in &routes {
            if needed.as_ref() != Some(scope) {
                continue;
            }
            let refused = ask(&without, method, path).await;
            assert_eq!(refused.status, 403, "{method} {path} without {scope}");
            if *method != Method::HEAD {
                assert_eq!(refused.error_code(), "forbidden");
                assert!(refused.text().contains(scope.as_str()), "{}", refused.text());
            }
            assert_ne!(
                ask(&only, method, path).await.status,
                403,
                "{method} {path} with {scope}"
            );
        }
        // Fewer than the environment may have.
        for key in client.get("/api-keys").await.ok()["data"].as_array().expect("a list") {
            if key["name"] == "ci" {
                let path = format!("/api-keys/{}", key["id"].as_str().unwrap_or_default());
                assert_eq!(client.delete(&path).await.status, 200);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_shown_with_the_scope_for_them_only() {
    let (_server, client) = with_upstream("http://127.0.0.1:9").await;
    let path = format!("/connections/{CONNECTION}?provider_config_key={INTEGRATION}");
    let reader = with_key(&client, &["environment:connections:read"], Value::Null).await;
    let shown = reader.get(&path).await.ok();
    assert_eq!(
        (&shown["connection_id"], &shown["credentials"]),
        (&json!(CONNECTION), &json!({}))
    );
    for flag in ["refresh_token", "force_refresh"] {
        let refused = reader.get(&format!("{path}&{flag}=true")).await;
        assert_eq!((refused.status, refused.error_code().as_str()), (403, "forbidden"));
        assert!(refused.text().contains("environment:connections:read_credentials"));
    }
    let seer = with_key(&client, &["environment:connections:read_credentials"], Value::Null).await;
    assert_eq!(seer.get(&path).await.ok()["credentials"]["apiKey"], API_KEY);

    let importer = with_key(&client, &["environment:connections:create"], Value::Null).await;
    let credentials = json!({"type": "API_KEY", "apiKey": "other"});
    let imported = importer.import_connection(INTEGRATION, "c2", credentials).await;
    assert_eq!((imported.status, &imported.json()["credentials"]), (201, &json!({})));

    let integrations = with_key(&client, &["environment:integrations:read"], Value::Null).await;
    let path = format!("/integrations/{INTEGRATION}");
    assert_eq!(integrations.get(&path).await.status, 200);
    let refused = integrations.get(&format!("{path}?include=credentials")).await;
    assert_eq!(refused.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_key_sends_what_it_may_and_nothing_else() {
    let upstream = Upstream::handling(|_| Reply::json(200, &json!({}))).await;
    let (_server, client) = with_upstream(&upstream.url()).await;
    let _ = client.create_integration("other", "bearer").await.ok();
    for (integration, connection) in [("other", CONNECTION), (INTEGRATION, "c2")] {
        let credentials = json!({"type": "API_KEY", "apiKey": "k"});
        let _ = client
            .import_connection(integration, connection, credentials)
            .await
            .ok();
    }
    let limits = json!({
        "integrations": [INTEGRATION], "connections": [CONNECTION], "methods": ["GET"], "path_prefixes": ["/repos/"],
    });
    let limited = with_key(&client, &["environment:proxy"], limits).await;
    for path in ["/repos/a/b", "/repos/?q=/../x", "/repos/a%20b"] {
        assert_eq!(proxy(&limited, Method::GET, path, &[]).await.0, 200, "{path}");
    }
    let sent = upstream.received().len();
    assert_eq!(sent, 3);

    for path in [
        "",
        "/",
        "/user",
        "/repos",
        "/repository",
        "/repos/../user",
        "/repos/./../user",
        "/repos/%2e%2e/user",
        "/repos/%2E%2E%2Fuser",
        "/repos/..%2fuser",
        "/repos/..%5cuser",
        "/repos/%252e%252e/user",
        "/repos/..;/user",
        "/repos//user",
        "//repos/a",
        "//user",
        "/%2frepos/a",
        "/repos/a/..",
        "/repos/%c0%ae%c0%ae/user",
        "/repos/%00",
    ] {
        let (status, answer) = proxy(&limited, Method::GET, path, &[]).await;
        assert_eq!(status, 403, "{path}: {answer}");
        assert!(answer.contains(r#""code":"forbidden""#), "{path}: {answer}");
    }
    // The provider's own address in the path, which is taken off on the way.
    let (status, _) = proxy(&limited, Method::GET, &format!("/{}/user", upstream.url()), &[]).await;
    assert_eq!(status, 403);
    for method in [Method::POST, Method::DELETE, Method::HEAD, Method::OPTIONS] {
        assert_eq!(
            proxy(&limited, method.clone(), "/repos/a", &[]).await.0,
            403,
            "{method}"
        );
    }
    let url = upstream.url();
    for header in [
        ("Base-Url-Override", url.as_str()),
        ("Forward-Headers-On-Redirect", "true"),
        ("Nango-Proxy-X-HTTP-Method-Override", "DELETE"),
        ("Nango-Proxy-X-Original-URL", "/user"),
    ] {
        let (status, answer) = proxy(&limited, Method::GET, "/repos/a", &[header]).await;
        assert_eq!(status, 403, "{header:?}: {answer}");
    }
    for (integration, connection) in [("other", CONNECTION), (INTEGRATION, "c2")] {
        let (status, answer) = proxy_to(&limited, integration, connection, Method::GET, "/repos/a", &[]).await;
        assert_eq!(status, 403, "{answer}");
    }
    assert_eq!(upstream.received().len(), sent, "nothing else has left");
    assert_eq!(proxy(&client, Method::DELETE, "/repos/../user", &[]).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_for_functions_connections_and_lists() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let credentials = json!({"type": "API_KEY", "apiKey": "k"});
    let _ = client
        .import_connection(INTEGRATION, "c2", credentials.clone())
        .await
        .ok();
    let _ = client.create_integration("other", "bearer").await.ok();

    let one = with_key(&client, &["environment:*"], json!({"connections": [CONNECTION]})).await;
    let ran = one
        .trigger_action(INTEGRATION, CONNECTION, "echo", json!({"n": 1}))
        .await;
    assert_eq!((ran.status, ran.json()), (200, json!({"n": 1})));
    let refused = |answer: Answer| assert_eq!((answer.status, answer.error_code().as_str()), (403, "forbidden"));
    refused(one.trigger_action(INTEGRATION, "c2", "echo", json!({})).await);
    refused(
        one.get(&format!("/connections/c2?provider_config_key={INTEGRATION}"))
            .await,
    );
    refused(
        one.delete(&format!("/connections/c2?provider_config_key={INTEGRATION}"))
            .await,
    );
    refused(one.import_connection(INTEGRATION, "c3", credentials.clone()).await);
    refused(
        one.post(
            "/connections",
            &json!({"provider_config_key": INTEGRATION, "credentials": credentials}),
        )
        .await,
    );
    let many = json!({"provider_config_key": INTEGRATION, "connection_id": [CONNECTION, "c2"], "metadata": {}});
    refused(one.post("/connections/metadata", &many).await);
    refused(
        one.post(
            "/sync/trigger",
            &json!({"provider_config_key": INTEGRATION, "syncs": []}),
        )
        .await,
    );
    refused(one.delete(&format!("/integrations/{INTEGRATION}")).await);
    refused(one.deploy(INTEGRATION, vec![0]).await);
    let shown = one
        .get(&format!("/connections/{CONNECTION}?provider_config_key={INTEGRATION}"))
        .await;
    assert_eq!(shown.status, 200);

    let integration = with_key(&client, &["environment:*"], json!({"integrations": ["other"]})).await;
    refused(
        integration
            .trigger_action(INTEGRATION, CONNECTION, "echo", json!({}))
            .await,
    );
    refused(integration.get(&format!("/integrations/{INTEGRATION}")).await);
    assert_eq!(integration.get("/integrations/other").await.status, 200);
    let rename = json!({"unique_key": "third"});
    refused(integration.json(Method::PATCH, "/integrations/other", &rename).await);
    for limited in [&one, &integration] {
        for path in ["/connections", "/integrations", "/logs/operations", "/api-keys"] {
            refused(limited.get(path).await);
        }
        refused(
            limited
                .post("/api-keys", &json!({"name": "n", "scopes": ["environment:*"]}))
                .await,
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_and_revoked() {
    let server = TestRuntime::new().start();
    let client = server.client();
    let maker = with_key(&client, &["environment:api_keys:*", "environment:proxy"], Value::Null).await;
    let too_much = json!({"name": "n", "scopes": ["environment:*"]});
    assert_eq!(maker.post("/api-keys", &too_much).await.status, 403);
    let fits = json!({"name": "n", "scopes": ["environment:proxy"]});
    let made = maker.post("/api-keys", &fits).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    let key = client.with_key(made["data"]["key"].as_str());
    assert_eq!(key.get("/metrics").await.status, 403, "it is known");

    let listed = client.get("/api-keys").await;
    assert!(!listed.text().contains(made["data"]["key"].as_str().expect("a key")));
    let listed = listed.ok();
    let find = |id: &Value| {
        let keys = listed["data"].as_array().expect("a list");
        keys.iter().find(|key| key["id"] == *id).cloned().unwrap_or_default()
    };
    assert!(find(&made["data"]["id"])["last_used_at"].is_string(), "{listed}");

    let path = format!("/api-keys/{}", made["data"]["id"].as_str().unwrap_or_default());
    assert_eq!(client.delete(&path).await.status, 200);
    assert_eq!(key.get("/metrics").await.status, 401, "at once");
    assert_eq!(client.delete(&path).await.status, 404);
    let own = listed["data"][0]["id"].as_str().unwrap_or_default();
    assert_eq!(client.delete(&format!("/api-keys/{own}")).await.status, 409);

    for (bad, part) in [
        (json!({"name": "", "scopes": ["environment:proxy"]}), "name"),
        (json!({"name": "n", "scopes": []}), "scopes"),
        (json!({"name": "n", "scopes": ["environment:prox"]}), "environment:prox"),
        (
            json!({"name": "n", "scopes": ["environment:*"], "limits": {"hosts": ["a"]}}),
            "hosts",
        ),
        (
            json!({"name": "n", "scopes": ["environment:*"], "limits": {"integrations": []}}),
            "limit",
        ),
        (
            json!({"name": "n", "scopes": ["environment:*"], "limits": {"methods": ["GET"]}}),
            "lead around",
        ),
        (
            json!({"name": "n", "scopes": ["environment:proxy"], "limits": {"methods": ["get"]}}),
            "capitals",
        ),
        (
            json!({"name": "n", "scopes": ["environment:proxy"], "limits": {"path_prefixes": ["/a/.."]}}),
            "path",
        ),
    ] {
        let refused = client.post("/api-keys", &bad).await;
        assert_eq!(refused.status, 400, "{bad}");
        assert!(refused.text().contains(part), "{bad}: {}", refused.text());
    }
    let count = client.get("/api-keys").await.ok()["data"]
        .as_array()
        .map_or(0, Vec::len);
    for _ in count..50 {
        assert_eq!(client.post("/api-keys", &fits).await.status, 201);
    }
    let capped = client.post("/api-keys", &fits).await;
    assert_eq!((capped.status, capped.error_code().as_str()), (400, "resource_capped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_outlive_a_restart_with_their_limits_and_times() {
    let folder = tempfile::TempDir::with_prefix("nango-runtime-test-").expect("a temporary folder can be made");
    let limits = json!({"integrations": ["github"]});
    let (key, before) = {
        let mut server = TestRuntime::new().data(folder.path()).start();
        let client = server.client();
        let key = with_key(&client, &["environment:integrations:list"], limits.clone()).await;
        assert_eq!(key.get("/integrations").await.status, 403);
        let before = client.get("/api-keys").await.ok();
        server.process().signal("TERM");
        let _ = server.process().wait();
        (key.key().map(str::to_owned), before)
    };
    let server = TestRuntime::new().data(folder.path()).start();
    let client = server.client();
    let after = client.get("/api-keys").await.ok();
    assert_eq!(after["data"][1], before["data"][1]);
    assert_eq!(after["data"][1]["limits"]["integrations"], limits["integrations"]);
    let key = client.with_key(key.as_deref());
    assert_eq!(key.get("/integrations").await.status, 403);
    assert_eq!(key.get("/metrics").await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_from_the_command_line() {
    let server = TestRuntime::new().start();
    let run = |arguments: &[&str]| Cli::of(&server, arguments).run();
    let made = run(&[
        "keys",
        "create",
        "ci",
        "--scope",
        "environment:proxy",
        "--integration",
        "github",
        "--method",
        "get",
        "--path",
        "/repos/",
    ]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let key = made.stdout.trim();
    assert_eq!(key.len(), 36, "{}", made.stdout);
    assert!(made.stderr.contains("only now"), "{}", made.stderr);
    let listed = run(&["keys", "list"]).stdout;
    assert!(
        listed.contains("environment:proxy") && listed.contains("github; GET; /repos/"),
        "{listed}"
    );
    assert!(!listed.contains(key));

    let refused = Cli::of(&server, &["integration", "list"])
        .environment("NANGO_SECRET_KEY", key)
        .run();
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("environment:integrations:list"),
        "{}",
        refused.stderr
    );
    let unknown = run(&["keys", "create", "ci", "--scope", "everything"]);
    assert_eq!(unknown.code, Some(1));

    let listed = run(&["keys", "list", "--json"]).json();
    let id = listed["data"][1]["id"].as_str().unwrap_or_default();
    assert_eq!(run(&["keys", "revoke", id]).code, Some(0));
    let refused = Cli::of(&server, &["integration", "list"])
        .environment("NANGO_SECRET_KEY", key)
        .run();
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
}

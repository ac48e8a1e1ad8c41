//! Authorizations of MCP servers at oidc-provider, where clients register themselves and tokens are for one resource, with a browser
//! that has no scripts.

use std::path::Path;

use nango_runtime_tests::oidc::{self, Oidc};
use nango_runtime_tests::{Browser, Client, Database, Page, Reply, Server, TestRuntime, Upstream};
use serde_json::{Value, json};

fn serving(oidc: &Oidc) -> (Server, Client) {
    let server = TestRuntime::new()
        .egress_loopback()
        .environment("NANGO_LOG", "debug")
        .provider_yaml(&oidc::mcp_providers(&oidc.url))
        .start();
    let client = server.client();
    (server, client)
}

async fn integrated(client: &Client, provider: &str) {
    let integration = json!({"unique_key": provider, "provider": provider});
    let _ = client.post("/integrations", &integration).await.ok();
}

/// The start of an authorization by a new session.
async fn start_url(client: &Client, key: &str, more: &str) -> String {
    let session = json!({"end_user": {"id": "u1"}});
    let opened = client.post("/connect/sessions", &session).await.ok();
    let token = opened["data"]["token"].as_str().expect("a token").to_owned();
    format!(
        "{}/oauth/connect/{key}?connect_session_token={token}{more}",
        client.base_url()
    )
}

fn server_parameter(oidc: &Oidc) -> String {
    format!("&params[mcp_server_url]={}/mcp", oidc.url)
}

/// Logs in and consents at oidc-provider's own pages, up to where it sends the customer back to.
async fn at_the_provider(browser: &mut Browser, begun: &Page) -> String {
    let location = begun.location().unwrap_or_else(|| panic!("{}", begun.text));
    let login = browser.open(&location).await;
    assert!(login.text.contains("name=\"login\""), "{}", login.text);
    let consent = browser
        .submit(&login, &[("prompt", "login"), ("login", "user-1"), ("password", "x")])
        .await;
    let (_, rest) = consent.text.split_once("action=\"").expect("a consent form");
    let action = consent
        .url
        .join(rest.split('"').next().unwrap_or_default())
        .expect("a URL");
    let mut page = browser.step(action.as_str(), Some(&[("prompt", "consent")])).await;
    while let Some(location) = page.location() {
        if location.contains("/oauth/callback") {
            return location;
        }
        page = browser.step(&location, None).await;
    }
    panic!("the provider did not send the customer back: {}", page.text);
}

#[track_caller]
fn refused(page: &Page, error_type: &str) {
    let told = page.data("errorType");
    assert_eq!((page.status, told.as_deref()), (400, Some(error_type)), "{}", page.text);
}

/// The connection that a page tells of, with its credentials.
async fn shown(client: &Client, key: &str, page: &Page) -> (String, Value) {
    assert_eq!(page.status, 200, "{}", page.text);
    let id = page.data("connectionId").expect("an id");
    let path = format!("/connections/{id}?provider_config_key={key}&refresh_token=true");
    (id, client.get(&path).await.ok())
}

/// The same connection with fresh credentials, with which its API has to work.
async fn renewed(client: &Client, key: &str, id: &str) -> Value {
    let path = format!("/connections/{id}?provider_config_key={key}&force_refresh=true");
    let shown = client.get(&path).await.ok();
    let path = if key == "mcp-any" { "/" } else { "/mcp" };
    assert_eq!(client.proxy_get(key, id, path).await.ok()["user"], "user-1");
    shown
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_registers_itself_and_the_connection_lasts() {
    let oidc = Oidc::start();
    let (mut server, client) = serving(&oidc);
    integrated(&client, "mcp-fixed").await;
    let mut browser = Browser::new();
    let begun = browser.step(&start_url(&client, "mcp-fixed", "").await, None).await;
    assert_eq!(begun.parameter("code_challenge_method").as_deref(), Some("S256"));
    let back = at_the_provider(&mut browser, &begun).await;
    let page = browser.open(&back).await;
    let (id, before) = shown(&client, "mcp-fixed", &page).await;
    let own = &before["credentials"]["config_override"];
    assert_eq!(Some(text(&own["client_id"])), begun.parameter("client_id"));
    assert_eq!(
        before["connection_config"]["oauth_client_info"]["token_endpoint_auth_method"],
        "client_secret_basic"
    );

    // It works, and is refreshed with the client's secret.
    let answer = client.proxy_get("mcp-fixed", &id, "/mcp").await.ok();
    assert_eq!(answer, json!({"user": "user-1", "scope": "mcp:read"}));
    let after = renewed(&client, "mcp-fixed", &id).await;
    assert_ne!(
        after["credentials"]["access_token"],
        before["credentials"]["access_token"]
    );
    let stats = oidc.stats().await;
    assert_eq!(
        (
            &stats["registrations"],
            &stats["authorization_code"],
            &stats["refresh_token"],
            &stats["errors"]
        ),
        (&json!(1), &json!(1), &json!(1), &json!(0))
    );

    // The next customer is sent as the same client.
    let next = Browser::new()
        .step(&start_url(&client, "mcp-fixed", "").await, None)
        .await;
    assert_eq!(next.parameter("client_id"), begun.parameter("client_id"));
    assert_eq!(oidc.stats().await["registrations"], 1);

    let secrets = [
        text(&own["client_secret"]),
        text(&before["credentials"]["access_token"]),
        text(&before["credentials"]["refresh_token"]),
        text(&after["credentials"]["access_token"]),
    ];
    let logged = client.logs().await;
    server.process().signal("TERM");
    let _ = server.process().wait();
    for secret in secrets {
        assert!(
            !logged.contains(&secret) && !server.log().contains(&secret),
            "a secret is in the log"
        );
        look_through(server.data(), secret.as_bytes());
    }
    look_through(server.data(), text(&own["client_id"]).as_bytes());
}

fn look_through(folder: &Path, secret: &[u8]) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            look_through(&path, secret);
        } else {
            let bytes = std::fs::read(&path).expect("a file");
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "a secret is readable in {}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_asked_how_it_is_logged_in_to() {
    let oidc = Oidc::start();
    let (_server, client) = serving(&oidc);
    integrated(&client, "mcp-any").await;
    let mut browser = Browser::new();
    let url = start_url(&client, "mcp-any", &server_parameter(&oidc)).await;
    let begun = browser.step(&url, None).await;
    assert_eq!(
        begun.parameter("resource"),
        Some(format!("{}/mcp", oidc.url)),
        "{}",
        begun.text
    );
    assert_eq!(begun.parameter("scope").as_deref(), Some("mcp:read offline_access"));
    let back = at_the_provider(&mut browser, &begun).await;
    let page = browser.open(&back).await;
    let (id, before) = shown(&client, "mcp-any", &page).await;
    let config = &before["connection_config"];
    assert_eq!(
        config["oauth_metadata"]["token_endpoint"],
        format!("{}/token", oidc.url)
    );
    assert_eq!(config["oauth_resource_url"], format!("{}/mcp", oidc.url));
    assert_eq!(config["oauth_client_info"]["token_endpoint_auth_method"], "none");

    let answer = client.proxy_get("mcp-any", &id, "/").await.ok();
    assert_eq!(answer["user"], "user-1", "a token for this server, and no other");
    let after = renewed(&client, "mcp-any", &id).await;
    assert_ne!(
        after["credentials"]["access_token"],
        before["credentials"]["access_token"]
    );
    let stats = oidc.stats().await;
    assert_eq!(
        (&stats["registrations"], &stats["refresh_token"]),
        (&json!(1), &json!(1))
    );

    // Without the address there is nothing to ask.
    let page = Browser::new().open(&start_url(&client, "mcp-any", "").await).await;
    refused(&page, "url_param_err");
    assert!(page.text.contains("mcp_server_url"), "{}", page.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_server_is_not_taken() {
    let oidc = Oidc::start();
    let (_server, client) = serving(&oidc);
    integrated(&client, "mcp-any").await;
    for change in ["https://evil.test", ""] {
        let mut browser = Browser::new();
        let url = start_url(&client, "mcp-any", &server_parameter(&oidc)).await;
        let begun = browser.step(&url, None).await;
        let state = begun.parameter("state").expect("a state");
        let mut back = format!("{}/oauth/callback?state={state}&code=c0de", client.base_url());
        if !change.is_empty() {
            back.push_str(&format!("&iss={change}"));
        }
        refused(&browser.open(&back).await, "callback_err");
    }
    assert_eq!(oidc.stats().await["errors"], 0, "the code was sent nowhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_begin_at_once_one_registers() {
    let oidc = Oidc::start();
    let (_server, client) = serving(&oidc);
    integrated(&client, "mcp-fixed").await;
    let mut urls = Vec::new();
    for _ in 0..8 {
        urls.push(start_url(&client, "mcp-fixed", "").await);
    }
    let begun = urls
        .into_iter()
        .map(|url| tokio::spawn(async move { Browser::new().step(&url, None).await.parameter("client_id") }));
    let mut clients = Vec::new();
    for task in begun.collect::<Vec<_>>() {
        clients.push(task.await.expect("it ends").expect("a client"));
    }
    clients.dedup();
    assert_eq!((clients.len(), &oidc.stats().await["registrations"]), (1, &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_on_one_database_one_registers() {
    let oidc = Oidc::start();
    let database = Database::postgres().await;
    let node = || {
        let runtime = TestRuntime::new().egress_loopback();
        let runtime = runtime.provider_yaml(&oidc::mcp_providers(&oidc.url));
        // Behind one address, as nodes are.
        let runtime = runtime.environment("NANGO_OAUTH_CALLBACK_URL", "http://127.0.0.1:9/oauth/callback");
        database.serve(runtime).start()
    };
    let nodes = [node(), node()];
    integrated(&nodes[0].client(), "mcp-fixed").await;
    let mut starts = tokio::task::JoinSet::new();
    for number in 0..40 {
        let url = start_url(&nodes[number % 2].client(), "mcp-fixed", "").await;
        starts.spawn(async move { Browser::new().step(&url, None).await });
    }
    let mut clients: Vec<String> = Vec::new();
    for begun in starts.join_all().await {
        clients.push(begun.parameter("client_id").unwrap_or_else(|| panic!("{}", begun.text)));
    }
    clients.dedup();
    assert_eq!(clients.len(), 1, "{clients:?}");
    assert_eq!(oidc.stats().await["registrations"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_the_provider_forgot_is_registered_anew() {
    let oidc = Oidc::start();
    let (_server, client) = serving(&oidc);
    integrated(&client, "mcp-fixed").await;
    let mut browser = Browser::new();
    let begun = browser.step(&start_url(&client, "mcp-fixed", "").await, None).await;
    let back = at_the_provider(&mut browser, &begun).await;
    oidc.forget_clients().await;
    let page = browser.open(&back).await;
    refused(&page, "token_err");
    assert!(page.text.contains("invalid_client"), "{}", page.text);

    let mut browser = Browser::new();
    let again = browser.step(&start_url(&client, "mcp-fixed", "").await, None).await;
    assert_ne!(again.parameter("client_id"), begun.parameter("client_id"));
    let back = at_the_provider(&mut browser, &again).await;
    let page = browser.open(&back).await;
    let (id, _) = shown(&client, "mcp-fixed", &page).await;
    assert_eq!(oidc.stats().await["registrations"], 2);

    // A refresh notices it too, and says so.
    oidc.forget_clients().await;
    let path = format!("/connections/{id}?provider_config_key=mcp-fixed&force_refresh=true");
    let refused = client.get(&path).await;
    assert!(refused.text().contains("invalid_client"), "{}", refused.text());
    let third = Browser::new()
        .step(&start_url(&client, "mcp-fixed", "").await, None)
        .await;
    assert_ne!(third.parameter("client_id"), again.parameter("client_id"));
    assert_eq!(oidc.stats().await["registrations"], 3);
}

/// An MCP provider whose registration endpoint answers that.
async fn registering(answer: Reply) -> (Server, Client, Upstream) {
    let upstream = Upstream::handling(move |request| match request.target.as_str() {
        "/register" => answer.clone(),
        _ => Reply::json(200, &json!({"access_token": "t0ken-of-the-user"})),
    })
    .await;
    let url = upstream.url();
    let yaml = ["fixed", "cimd"].map(|name| {
        let way = if name == "cimd" { "cimd" } else { "dynamic" };
        format!(
            "{name}:\n  display_name: Acme\n  auth_mode: MCP_OAUTH2\n  client_registration: {way}\n  authorization_url: {url}/auth\n  token_url: {url}/token\n  registration_url: {url}/register\n  proxy:\n    base_url: {url}\n"
        )
    });
    let server = TestRuntime::new()
        .egress_loopback()
        .provider_yaml(&yaml.concat())
        .start();
    let client = server.client();
    (server, client, upstream)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_is_refused_is_told() {
    let error = json!({"error": "invalid_client_metadata", "error_description": "only <b>friends</b>"});
    for (answer, part) in [
        (
            Reply::json(403, &error),
            "answered 403: invalid_client_metadata (only &lt;b&gt;friends",
        ),
        (
            Reply::status(302).header("location", "http://127.0.0.1:1/x"),
            "redirects",
        ),
        (
            Reply::json(200, &json!({"client_secret": "s3cret-without-id"})),
            "`client_id` is missing",
        ),
        (Reply::status(200).body("x".repeat(1 << 20)), "larger than 262144 bytes"),
        (Reply::status(201).body("hello"), "no JSON object"),
    ] {
        let (server, client, upstream) = registering(answer).await;
        integrated(&client, "fixed").await;
        let page = Browser::new().open(&start_url(&client, "fixed", "").await).await;
        refused(&page, "client_registration_err");
        assert!(page.text.contains(part), "{part}: {}", page.text);
        assert!(!page.text.contains("s3cret-without-id") && !server.log().contains("s3cret-without-id"));
        // The right to register was given back: the next one need not wait for it.
        let page = Browser::new().open(&start_url(&client, "fixed", "").await).await;
        refused(&page, "client_registration_err");
        assert_eq!(upstream.received().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_has_ended_is_not_taken() {
    let in_a_minute = oidc::now_ms() / 1_000 + 60;
    let answer = json!({"client_id": "short-lived", "client_secret": "s3cret", "client_secret_expires_at": in_a_minute,
        "token_endpoint_auth_method": "client_secret_post"});
    let (_server, client, upstream) = registering(Reply::json(201, &answer)).await;
    let named = json!({"type": "MCP_OAUTH2", "client_name": "Acme Connect", "scopes": "mcp"});
    let integration = json!({"unique_key": "fixed", "provider": "fixed", "credentials": named});
    let _ = client.post("/integrations", &integration).await.ok();
    for registrations in 1..=2 {
        // A customer may take half an hour.
        let begun = Browser::new().step(&start_url(&client, "fixed", "").await, None).await;
        assert_eq!(begun.parameter("client_id").as_deref(), Some("short-lived"));
        assert_eq!(begun.parameter("scope").as_deref(), Some("mcp"));
        assert_eq!(upstream.received().len(), registrations);
    }
    let asked: Value = serde_json::from_slice(&upstream.received()[0].body).expect("JSON");
    assert_eq!(asked["client_name"], "Acme Connect");
    assert_eq!(
        asked["redirect_uris"],
        json!([format!("{}/oauth/callback", client.base_url())])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_be_described_by_a_document_of_ours() {
    let (_server, client, upstream) = registering(Reply::status(500)).await;
    integrated(&client, "cimd").await;
    let mut browser = Browser::new();
    let begun = browser.step(&start_url(&client, "cimd", "").await, None).await;
    let document = begun.parameter("client_id").unwrap_or_else(|| panic!("{}", begun.text));
    assert!(
        document.starts_with(&format!("{}/oauth/client-metadata/", client.base_url())),
        "{document}"
    );
    let page = browser.open(&document).await;
    let read: Value = serde_json::from_str(&page.text).expect("a JSON document");
    assert_eq!(read["client_id"], document);
    assert_eq!(
        read["redirect_uris"],
        json!([format!("{}/oauth/callback", client.base_url())])
    );
    assert_eq!(read["token_endpoint_auth_method"], "none");
    assert_eq!(browser.open(&document.replace("/cimd", "/nothing")).await.status, 404);

    let state = begun.parameter("state").expect("a state");
    let back = format!("{}/oauth/callback?state={state}&code=c0de", client.base_url());
    let (_, shown) = shown(&client, "cimd", &browser.open(&back).await).await;
    assert_eq!(shown["credentials"]["access_token"], "t0ken-of-the-user");
    let asked = upstream.received();
    let body = String::from_utf8_lossy(&asked.last().expect("a request").body).into_owned();
    assert!(
        body.contains("code_verifier=") && body.contains("client-metadata") && !body.contains("client_secret"),
        "{body}"
    );
}

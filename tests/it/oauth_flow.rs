//! Customers are sent to a real OAuth 2 server, log in, consent, and come back: what makes a connection, and what makes none.

use nango_runtime_tests::oidc::{self, Oidc};
use nango_runtime_tests::{Browser, Client, Page, Reply, Server, TestRuntime, Upstream};
use serde_json::{Value, json};

/// A server whose integration `oidc` is a client of `oidc`.
async fn serving(oidc: &Oidc) -> (Server, Client) {
    serving_with(TestRuntime::new(), oidc).await
}

async fn serving_with(runtime: TestRuntime, oidc: &Oidc) -> (Server, Client) {
    let server = runtime
        .egress_loopback()
        .provider_yaml(&oidc::providers(&oidc.url, &oidc.url))
        .start();
    let client = server.client();
    let (id, secret) = oidc.register(&format!("{}/oauth/callback", server.base_url())).await;
    let app = json!({"type": "OAUTH2", "client_id": id, "client_secret": secret});
    for name in ["oidc", "other"] {
        let integration = json!({"unique_key": name, "provider": "oidc", "credentials": app});
        let _ = client.post("/integrations", &integration).await.ok();
    }
    (server, client)
}

async fn session(client: &Client, body: Value) -> String {
    let opened = client.post("/connect/sessions", &body).await.ok();
    opened["data"]["token"].as_str().expect("a token").to_owned()
}

fn start_url(client: &Client, token: &str, more: &str) -> String {
    format!(
        "{}/oauth/connect/oidc?connect_session_token={token}{more}",
        client.base_url()
    )
}

/// Logs in and consents at oidc-provider's own pages, up to where it sends the customer back to, which is not followed.
pub async fn at_the_provider(browser: &mut Browser, location: &str) -> Page {
    let login = browser.open(location).await;
    assert!(login.text.contains("name=\"login\""), "{}", login.text);
    let consent = browser
        .submit(&login, &[("prompt", "login"), ("login", "user-1"), ("password", "x")])
        .await;
    let action = consent
        .text
        .split_once("action=\"")
        .map(|(_, rest)| rest.split('"').next().unwrap_or_default());
    let action = consent.url.join(action.expect("a consent form")).expect("a URL");
    let mut page = browser.step(action.as_str(), Some(&[("prompt", "consent")])).await;
    while let Some(location) = page.location() {
        if location.contains("/oauth/callback") {
            return page;
        }
        page = browser.step(&location, None).await;
    }
    panic!("the provider did not send the customer back: {}", page.text);
}

/// All of it, with a page at the end.
async fn connect(browser: &mut Browser, client: &Client, token: &str) -> Page {
    let begun = browser.step(&start_url(client, token, ""), None).await;
    let back = at_the_provider(browser, &begun.location().expect("to the provider")).await;
    browser.open(&back.location().expect("back")).await
}

#[track_caller]
fn refused(page: &Page, error_type: &str) {
    assert_eq!(
        (page.status, page.data("errorType").as_deref()),
        (400, Some(error_type)),
        "{}",
        page.text
    );
}

async fn connections(client: &Client) -> usize {
    let listed = client.get("/connections").await.ok();
    listed["connections"].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_connects_and_the_connection_lasts() {
    let oidc = Oidc::start();
    let (_server, client) = serving(&oidc).await;
    let body = json!({"end_user": {"id": "u1", "email": "ann@example.com"}, "allowed_integrations": ["oidc"]});
    let token = session(&client, body).await;
    let mut browser = Browser::new();

    let begun = browser
        .step(
            &start_url(
                &client,
                &token,
                "&authorization_params[login_hint]=ann&ws_client_id=tab-1",
            ),
            None,
        )
        .await;
    assert_eq!(begun.status, 302, "{}", begun.text);
    assert_eq!(begun.parameter("login_hint").as_deref(), Some("ann"));
    assert_eq!(begun.parameter("scope").as_deref(), Some("openid offline_access"));
    assert_eq!(begun.parameter("code_challenge_method").as_deref(), Some("S256"));
    let cookie = begun.headers["set-cookie"].to_str().expect("text").to_owned();
    assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
    assert_eq!(begun.headers["referrer-policy"], "no-referrer");

    let back = at_the_provider(&mut browser, &begun.location().expect("to the provider")).await;
    let page = browser.open(&back.location().expect("back")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert_eq!(page.data("clientId").as_deref(), Some("tab-1"));
    let connection_id = page.data("connectionId").expect("an id");

    // It works, belongs to the end user, and is refreshed with the client of the integration.
    assert_eq!(
        client.proxy_get("oidc", &connection_id, "/me").await.ok(),
        json!({"sub": "user-1"})
    );
    let path = format!("/connections/{connection_id}?provider_config_key=oidc");
    let shown = client.get(&path).await.ok();
    assert_eq!(shown["end_user"]["id"], "u1");
    assert_eq!(shown["credentials"]["type"], "OAUTH2");
    let forced = client.get(&format!("{path}&force_refresh=true")).await.ok();
    assert_ne!(
        forced["credentials"]["access_token"],
        shown["credentials"]["access_token"]
    );
    let stats = oidc.stats().await;
    assert_eq!(
        (&stats["authorization_code"], &stats["refresh_token"], &stats["errors"]),
        (&json!(1), &json!(1), &json!(0))
    );
    // oidc-provider's tokens live an hour; without an end nothing would refresh this one in time.
    assert!(forced["credentials"]["expires_at"].is_string(), "{forced}");

    // What came back is good once.
    let again = browser.open(&back.location().expect("back")).await;
    refused(&again, "state_err");
    assert_eq!(connections(&client).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_did_not_begin_does_not_finish() {
    let oidc = Oidc::start();
    let (_server, client) = serving(&oidc).await;
    let token = session(&client, json!({"end_user": {"id": "victim"}})).await;
    let mut attacker = Browser::new();
    let begun = attacker.step(&start_url(&client, &token, ""), None).await;
    let back = at_the_provider(&mut attacker, &begun.location().expect("to the provider")).await;

    // Login CSRF: the victim's browser is lured to where the attacker's authorization ends.
    let mut victim = Browser::new();
    let page = victim.open(&back.location().expect("back")).await;
    refused(&page, "state_cookie_err");
    // A second try does not help: it is used up.
    refused(&attacker.open(&back.location().expect("back")).await, "state_err");
    assert_eq!(connections(&client).await, 0);
    assert_eq!(oidc.stats().await["authorization_code"], 0);

    // A victim who has an authorization of his own under way has a cookie, but another one.
    let own = session(&client, json!({"end_user": {"id": "victim"}})).await;
    let _ = victim.step(&start_url(&client, &own, ""), None).await;
    let begun = attacker.step(&start_url(&client, &token, ""), None).await;
    let state = begun.parameter("state").expect("a state");
    let url = format!("{}/oauth/callback?state={state}&code=stolen", client.base_url());
    refused(&victim.open(&url).await, "state_cookie_err");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_at_once() {
    let oidc = Oidc::start();
    let (_server, client) = serving(&oidc).await;
    let token = session(&client, json!({"end_user": {"id": "u1"}})).await;
    let mut browser = Browser::new();
    let first = browser.step(&start_url(&client, &token, ""), None).await;
    let second = connect(&mut browser, &client, &token).await;
    assert_eq!(second.status, 200, "{}", second.text);
    // The provider knows the user by now.
    let mut page = browser.open(&first.location().expect("to the provider")).await;
    if page.text.contains("value=\"consent\"") {
        page = browser.submit(&page, &[("prompt", "consent")]).await;
    }
    assert_eq!(page.status, 200, "{}", page.text);
    assert_eq!(connections(&client).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_integrations_are_not_mixed_up() {
    let oidc = Oidc::start();
    let (_server, client) = serving(&oidc).await;
    let mut browser = Browser::new();
    let only_other = session(
        &client,
        json!({"end_user": {"id": "u1"}, "allowed_integrations": ["other"]}),
    )
    .await;
    refused(
        &browser.open(&start_url(&client, &only_other, "")).await,
        "integration_not_allowed",
    );
    let base = client.base_url();
    refused(
        &browser.open(&format!("{base}/oauth/connect/oidc")).await,
        "missing_connect_session_token",
    );
    let malformed = browser.open(&start_url(&client, "nango_connect_session_x", "")).await;
    refused(&malformed, "invalid_connect_session_token_format");
    let unknown = format!("nango_connect_session_{}", "0".repeat(64));
    refused(
        &browser.open(&start_url(&client, &unknown, "")).await,
        "unknown_connect_session_token",
    );
    let token = session(&client, json!({"end_user": {"id": "u1"}})).await;
    let chosen = browser.open(&start_url(&client, &token, "&connection_id=mine")).await;
    refused(&chosen, "missing_connection_id");
    let missing = browser
        .open(&format!("{base}/oauth/connect/nothing?connect_session_token={token}"))
        .await;
    refused(&missing, "unknown_config_key");

    // Where the customer is sent is the provider's to say, and what the end is recognised by is ours.
    let begun = browser
        .step(
            &start_url(
                &client,
                &token,
                "&authorization_params[redirect_uri]=https://evil.test&authorization_params[state]=x",
            ),
            None,
        )
        .await;
    assert!(begun.location().expect("a place").starts_with(&oidc.url));
    assert_eq!(begun.parameter("redirect_uri"), Some(format!("{base}/oauth/callback")));
    assert_ne!(begun.parameter("state").as_deref(), Some("x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_says_no() {
    let oidc = Oidc::start();
    let (server, client) = serving(&oidc).await;
    let token = session(&client, json!({"end_user": {"id": "u1"}})).await;
    let mut browser = Browser::new();
    let begun = browser.step(&start_url(&client, &token, ""), None).await;
    let state = begun.parameter("state").expect("a state");
    let hostile = "%3Cscript%3Ealert(1)%3C/script%3E";
    let url = format!(
        "{}/oauth/callback?state={state}&error=access_denied&error_description={hostile}",
        client.base_url()
    );
    let page = browser.open(&url).await;
    refused(&page, "callback_err");
    assert!(
        page.text.contains("access_denied") && !page.text.contains("<script>alert"),
        "{}",
        page.text
    );

    // A code that is none.
    let begun = browser.step(&start_url(&client, &token, ""), None).await;
    let state = begun.parameter("state").expect("a state");
    let page = browser
        .open(&format!(
            "{}/oauth/callback?state={state}&code=m4de-up-c0de",
            client.base_url()
        ))
        .await;
    refused(&page, "token_err");
    assert!(page.text.contains("invalid_grant"), "{}", page.text);
    refused(
        &browser
            .open(&format!("{}/oauth/callback?code=x", client.base_url()))
            .await,
        "state_err",
    );
    assert_eq!(connections(&client).await, 0);

    // All of it is in the log, without the code.
    let operations = client.get("/logs/operations?limit=50").await.ok().to_string();
    assert!(
        operations.contains("auth:create_connection") && operations.contains("invalid_grant"),
        "{operations}"
    );
    for secret in ["m4de-up-c0de", &state, &token] {
        assert!(
            !operations.contains(secret) && !server.log().contains(secret),
            "{secret}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_outlives_a_restart() {
    let oidc = Oidc::start();
    let folder = tempfile::tempdir().expect("a folder");
    let (mut server, client) = serving_with(TestRuntime::new().data(folder.path()), &oidc).await;
    let token = session(&client, json!({"end_user": {"id": "u1"}})).await;
    let mut browser = Browser::new();
    let begun = browser.step(&start_url(&client, &token, ""), None).await;
    let back = at_the_provider(&mut browser, &begun.location().expect("to the provider")).await;
    let port = reqwest::Url::parse(client.base_url())
        .ok()
        .and_then(|url| url.port())
        .expect("a port");
    server.process().kill();
    drop(server);
    let _server = TestRuntime::new()
        .data(folder.path())
        .port(port)
        .egress_loopback()
        .provider_yaml(&oidc::providers(&oidc.url, &oidc.url))
        .start();
    let page = browser.open(&back.location().expect("back")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert_eq!(connections(&client).await, 1);
}

/// A provider whose token endpoint answers what the test says, and whose API is the same server.
async fn odd(answer: Value, more: &str) -> (Server, Client, Upstream) {
    let upstream = Upstream::handling(move |request| {
        if request.target.starts_with("/token") {
            Reply::json(200, &answer)
        } else if request.target.starts_with("/me") {
            Reply::json(200, &json!([{"id": 7, "name": "acme"}, {"id": 8}]))
        } else {
            Reply::json(404, &json!({}))
        }
    })
    .await;
    let url = upstream.url();
    let more = more.replace("{url}", &url);
    let yaml = format!(
        "oidc:\n  display_name: Odd\n  auth_mode: OAUTH2\n  authorization_url: {url}/auth\n  token_url: {url}/token\n{more}  proxy:\n    base_url: {url}\n"
    );
    let server = TestRuntime::new().egress_loopback().provider_yaml(&yaml).start();
    let client = server.client();
    let app = json!({"type": "OAUTH2", "client_id": "id", "client_secret": "s3cret", "scopes": "a,b"});
    let integration = json!({"unique_key": "oidc", "provider": "oidc", "credentials": app});
    let _ = client.post("/integrations", &integration).await.ok();
    (server, client, upstream)
}

/// Comes back at once with a code, and `more` in the query.
async fn come_back(client: &Client, start: &str, more: &str) -> (Page, Page) {
    let token = session(client, json!({"end_user": {"id": "u1"}})).await;
    let mut browser = Browser::new();
    let begun = browser.step(&start_url(client, &token, start), None).await;
    let state = begun.parameter("state").unwrap_or_else(|| panic!("{}", begun.text));
    let url = format!("{}/oauth/callback?state={state}&code=c0de{more}", client.base_url());
    let page = browser.open(&url).await;
    (begun, page)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_learned_goes_into_the_connection() {
    let answer = json!({
        "ok": true, "team": {"id": "T1"}, "instance_url": "https://eu.acme.test",
        "authed_user": {"access_token": "nested-token", "refresh_token": "r1", "expires_in": "3600"},
    });
    let more = "  alternate_access_token_response_path: authed_user\n  token_response_metadata: [instance_url, team.id]\n  \
                redirect_uri_metadata: [realmId]\n  scope_separator: ','\n  disable_pkce: true\n  \
                after_connect:\n    request:\n      url: {url}/me\n    connection_config:\n      site: items.0.id\n";
    let (_server, client, _upstream) = odd(answer, more).await;
    let (begun, page) = come_back(&client, "&params[own]=1&user_scope=chat", "&realmId=42").await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert_eq!(begun.parameter("scope").as_deref(), Some("a,b"));
    assert_eq!(begun.parameter("user_scope").as_deref(), Some("chat"));
    assert_eq!(begun.parameter("code_challenge"), None);
    let id = page.data("connectionId").expect("an id");
    let shown = client
        .get(&format!("/connections/{id}?provider_config_key=oidc"))
        .await
        .ok();
    let config = &shown["connection_config"];
    assert_eq!(
        (
            &config["instance_url"],
            &config["team.id"],
            &config["realmId"],
            &config["site"],
            &config["own"]
        ),
        (
            &json!("https://eu.acme.test"),
            &json!("T1"),
            &json!("42"),
            &json!("7"),
            &json!("1")
        ),
        "{config}"
    );
    assert_eq!(shown["credentials"]["access_token"], "nested-token");
    assert!(shown["credentials"]["expires_at"].is_string(), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customers_own_client_and_token() {
    let (_server, client, upstream) = odd(json!({"access_token": "t"}), "").await;
    let start = "&credentials[oauth_client_id_override]=own&credentials[oauth_client_secret_override]=own-s3cret&credentials[oauth_refresh_token_override]=own-refresh";
    let (begun, page) = come_back(&client, start, "").await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert_eq!(begun.parameter("client_id").as_deref(), Some("own"));
    let asked = upstream.received();
    let body = String::from_utf8_lossy(&asked.last().expect("a request").body).into_owned();
    assert!(
        body.contains("client_id=own") && body.contains("client_secret=own-s3cret") && body.contains("code_verifier="),
        "{body}"
    );
    let id = page.data("connectionId").expect("an id");
    let shown = client
        .get(&format!(
            "/connections/{id}?provider_config_key=oidc&refresh_token=true"
        ))
        .await
        .ok();
    assert_eq!(shown["credentials"]["refresh_token"], "own-refresh");
    assert_eq!(shown["credentials"]["config_override"]["client_id"], "own");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_values_are_named_before_the_customer_leaves() {
    let more = "  authorization_params:\n    tenant: ${connectionConfig.tenant}\n";
    let (_server, client, _upstream) = odd(json!({"access_token": "t"}), more).await;
    let token = session(&client, json!({"end_user": {"id": "u1"}})).await;
    let page = Browser::new().open(&start_url(&client, &token, "")).await;
    refused(&page, "url_param_err");
    assert!(page.text.contains("connectionConfig.tenant"), "{}", page.text);
    let (begun, page) = come_back(&client, "&params[tenant]=acme", "").await;
    assert_eq!((begun.parameter("tenant").as_deref(), page.status), (Some("acme"), 200));
}

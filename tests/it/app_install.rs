//! Customers install apps and plugins: GitHub Apps with and without users' tokens, with GitHub's paths on loopback, and a plugin.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::Method;
use nango_runtime_tests::upstream::Received;
use nango_runtime_tests::{Browser, Client, Page, Reply, Server, TestRuntime, Upstream, node, repository};
use serde_json::{Value, json};

/// GitHub, as far as apps need it: installation 77 is there, others are not; a user's refresh token is good once.
async fn github(users_are_gone: Arc<AtomicBool>) -> Upstream {
    let granted = AtomicUsize::new(0);
    Upstream::handling(move |request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let path = request.target.split('?').next().unwrap_or_default();
        match (&request.method, path) {
            (&Method::POST, "/app/installations/77/access_tokens") => {
                let number = granted.fetch_add(1, Ordering::Relaxed) + 1;
                let token = format!("ghs_installation-{number}");
                Reply::json(201, &json!({"token": token, "expires_at": "2999-01-01T00:00:00Z"}))
            }
            (&Method::POST, "/login/oauth/access_token") if users_are_gone.load(Ordering::Relaxed) => {
                Reply::json(200, &json!({"error": "bad_refresh_token", "error_description": "The refresh token is wrong."}))
            }
            (&Method::POST, "/login/oauth/access_token") => {
                let number = if body.contains("code=g00d") {
                    1
                } else if let Some((_, rest)) = body.split_once("refresh_token=ghr_user-") {
                    rest.split('&').next().and_then(|text| text.parse::<usize>().ok()).map_or(0, |number| number + 1)
                } else {
                    0
                };
                if number == 0 {
                    return Reply::json(200, &json!({"error": "bad_verification_code"}));
                }
                // Eight hours; the first ends at once.
                let seconds = if number == 1 { 1 } else { 28_800 };
                let (token, refresh) = (format!("ghu_user-{number}"), format!("ghr_user-{number}"));
                Reply::json(200, &json!({"access_token": token, "expires_in": seconds, "refresh_token": refresh, "token_type": "bearer"}))
            }
            // Of installation 79 too the app has a token, but this user has nothing to do with it.
            (&Method::POST, "/app/installations/79/access_tokens") => {
                Reply::json(201, &json!({"token": "ghs_of-others", "expires_at": "2999-01-01T00:00:00Z"}))
            }
            (&Method::GET, "/user/installations/77/repositories") => Reply::json(200, &json!({"total_count": 0})),
            (&Method::GET, "/user") => Reply::json(200, &json!({"login": "ann"})),
            (&Method::GET, "/installation/repositories" | "/website/2f6d1f8e-0c4b-4a51-9d7a-3a1c5e7b9f10") => {
                Reply::json(200, &json!({"asked_by": request.header("authorization")}))
            }
            _ => Reply::json(404, &json!({"message": "Not Found"})),
        }
    })
    .await
}

/// The catalogue's entries, with `upstream` in the place of the vendors.
fn entries(upstream: &Upstream) -> String {
    let read = |name: &str| {
        let path = repository::root().join(format!("runtime/providers/{name}.yaml"));
        let yaml = std::fs::read_to_string(path).expect("an entry");
        let yaml = yaml.replace("https://api.crisp.chat/v1", &upstream.url());
        let yaml = yaml.replace(" https://api.github.com", &format!(" {}", upstream.url()));
        yaml.replace(" https://github.com", &format!(" {}", upstream.url()))
    };
    ["github-app", "github-app-oauth", "crisp-plugin-install"]
        .map(read)
        .concat()
}

async fn serving(upstream: &Upstream) -> (Server, Client, Value) {
    let server = TestRuntime::new()
        .egress_loopback()
        .provider_yaml(&entries(upstream))
        .start();
    let client = server.client();
    let keys = node::run(&server, "jwt.mjs", &[]);
    let link = format!("{}/apps/acme", upstream.url());
    let app = json!({"app_id": "1234", "app_link": link, "private_key": keys["rsa"]["pkcs1"]});
    for (name, mode, more) in [
        ("github-app", "APP", json!({})),
        (
            "github-app-oauth",
            "CUSTOM",
            json!({"client_id": "Iv1.c", "client_secret": "s3cret-of-the-app"}),
        ),
    ] {
        let mut credentials = app.clone();
        credentials["type"] = mode.into();
        for (field, value) in more.as_object().expect("an object") {
            credentials[field.as_str()] = value.clone();
        }
        let integration = json!({"unique_key": name, "provider": name, "credentials": credentials});
        let _ = client.post("/integrations", &integration).await.ok();
    }
    let custom = json!({"app_link": format!("{}/plugins/acme?from=us", upstream.url()), "username": "plugin-1", "password": "plugin-key-1"});
    let plugin = json!({"unique_key": "crisp", "provider": "crisp-plugin-install", "custom": custom});
    let _ = client.post("/integrations", &plugin).await.ok();
    (server, client, keys["rsa"]["public"].clone())
}

/// Begins: the page that the browser is sent to.
async fn begun(browser: &mut Browser, client: &Client, key: &str, more: &str) -> Page {
    let opened = client
        .post("/connect/sessions", &json!({"end_user": {"id": "u1"}}))
        .await
        .ok();
    let token = opened["data"]["token"].as_str().expect("a token");
    let base = client.base_url();
    browser
        .step(
            &format!("{base}/oauth/connect/{key}?connect_session_token={token}{more}"),
            None,
        )
        .await
}

async fn installed(browser: &mut Browser, client: &Client, key: &str, query: &str) -> Page {
    let begun = begun(browser, client, key, "&params[own]=kept").await;
    let state = begun.parameter("state").unwrap_or_else(|| panic!("{}", begun.text));
    browser
        .open(&format!("{}/app-auth/connect?state={state}&{query}", client.base_url()))
        .await
}

#[track_caller]
fn refused(page: &Page, error_type: &str) {
    let found = (page.status, page.data("errorType"));
    assert_eq!(found, (400, Some(error_type.to_owned())), "{}", page.text);
}

async fn shown(client: &Client, key: &str, id: &str, more: &str) -> Value {
    client
        .get(&format!("/connections/{id}?provider_config_key={key}{more}"))
        .await
        .ok()
}

fn asked<'a>(received: &'a [Received], path: &str) -> Vec<&'a Received> {
    received
        .iter()
        .filter(|request| request.target.starts_with(path))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_installed() {
    let upstream = github(Arc::default()).await;
    let (server, client, public) = serving(&upstream).await;
    let mut browser = Browser::new();
    let begun = begun(
        &mut browser,
        &client,
        "github-app",
        "&params[appPublicLink]=https://evil.test",
    )
    .await;
    let to = begun.location().unwrap_or_else(|| panic!("{}", begun.text));
    assert!(
        to.starts_with(&format!("{}/apps/acme/installations/new?state=", upstream.url())),
        "{to}"
    );
    let state = begun.parameter("state").expect("a state");
    let back = format!(
        "{}/app-auth/connect?state={state}&installation_id=77&setup_action=install",
        client.base_url()
    );
    // Whoever did not begin does not finish, and then it is used up; so with another one.
    let page = browser.open(&back).await;
    assert_eq!(page.status, 200, "{}", page.text);
    refused(&browser.open(&back).await, "state_err");
    let id = page.data("connectionId").expect("an id");
    let connection = shown(&client, "github-app", &id, "").await;
    assert_eq!(connection["connection_config"]["installation_id"], "77", "{connection}");
    assert_eq!(connection["credentials"]["access_token"], "ghs_installation-1");
    let answer = client
        .proxy_get("github-app", &id, "/installation/repositories")
        .await
        .ok();
    assert_eq!(answer["asked_by"], "Bearer ghs_installation-1");

    let received = upstream.received();
    let token = asked(&received, "/app/installations/77")[0]
        .header("authorization")
        .to_owned();
    let token = token.strip_prefix("Bearer ").expect("a bearer token");
    let read = node::run(
        &server,
        "jwt.mjs",
        &[("TOKEN", token), ("PUBLIC_KEY", public.as_str().expect("a PEM text"))],
    );
    assert_eq!((&read["valid"], &read["claims"]["iss"]), (&json!(true), &json!("1234")));
}

#[tokio::test(flavor = "multi_thread")]
async fn installations_that_are_none() {
    let upstream = github(Arc::default()).await;
    let (_server, client, _) = serving(&upstream).await;
    let mut browser = Browser::new();
    // Somebody else has to approve: nothing is made yet.
    let page = installed(&mut browser, &client, "github-app", "setup_action=request").await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.text.contains("Waiting for approval"), "{}", page.text);
    // GitHub does not know it; it would lead elsewhere; nothing came; another browser.
    refused(
        &installed(&mut browser, &client, "github-app", "installation_id=78").await,
        "token_err",
    );
    let elsewhere = installed(&mut browser, &client, "github-app", "installation_id=../../user%3f").await;
    refused(&elsewhere, "url_param_err");
    refused(
        &installed(&mut browser, &client, "github-app", "setup_action=install").await,
        "callback_err",
    );
    let begun = begun(&mut browser, &client, "github-app", "").await;
    let state = begun.parameter("state").expect("a state");
    let back = format!(
        "{}/app-auth/connect?state={state}&installation_id=77",
        client.base_url()
    );
    refused(&Browser::new().open(&back).await, "state_cookie_err");
    let listed = client.get("/connections").await.ok();
    assert_eq!(listed["connections"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_with_its_users_token() {
    let users_are_gone = Arc::new(AtomicBool::new(false));
    let upstream = github(users_are_gone.clone()).await;
    let (_server, client, _) = serving(&upstream).await;
    let mut browser = Browser::new();
    let bad = installed(&mut browser, &client, "github-app-oauth", "installation_id=77&code=b4d").await;
    refused(&bad, "token_err");
    // Somebody else's installation, with his own user and with none.
    let others = installed(
        &mut browser,
        &client,
        "github-app-oauth",
        "installation_id=79&code=g00d",
    )
    .await;
    refused(&others, "connection_validation_failed");
    let nobody = installed(&mut browser, &client, "github-app-oauth", "installation_id=79").await;
    refused(&nobody, "callback_err");
    assert!(nobody.text.contains("during the installation"), "{}", nobody.text);
    assert_eq!(asked(&upstream.received(), "/app/installations").len(), 0);
    let page = installed(
        &mut browser,
        &client,
        "github-app-oauth",
        "installation_id=77&code=g00d",
    )
    .await;
    assert_eq!(page.status, 200, "{}", page.text);
    let id = page.data("connectionId").expect("an id");
    let key = "github-app-oauth";

    // Requests use the app's token. The user's is due by now, and is refreshed with it.
    let answer = client.proxy_get(key, &id, "/installation/repositories").await.ok();
    assert!(
        answer["asked_by"]
            .as_str()
            .is_some_and(|by| by.starts_with("Bearer ghs_installation-")),
        "{answer}"
    );
    let connection = shown(&client, key, &id, "").await;
    let config = &connection["connection_config"];
    assert_eq!(
        (&config["handle"], &config["installation_id"]),
        (&json!("ann"), &json!("77")),
        "{connection}"
    );
    let user = &config["userCredentials"];
    assert_eq!(
        (&user["access_token"], &user["refresh_token"]),
        (&json!("ghu_user-2"), &json!("ghr_user-2")),
        "{user}"
    );

    // Not again while it is good; at once when somebody says so, with the token that came in the place of the first.
    let _ = client.proxy_get(key, &id, "/installation/repositories").await.ok();
    let forced = shown(&client, key, &id, "&force_refresh=true").await;
    assert_eq!(
        forced["connection_config"]["userCredentials"]["access_token"], "ghu_user-3",
        "{forced}"
    );
    let received = upstream.received();
    assert_eq!(
        asked(&received, "/login/oauth/access_token").len(),
        5,
        "three codes and two refreshes"
    );

    // What else is in the connection_config stays.
    let forced = shown(&client, key, &id, "&force_refresh=true").await;
    let config = &forced["connection_config"];
    assert_eq!(
        (&config["own"], &config["userCredentials"]["access_token"]),
        (&json!("kept"), &json!("ghu_user-4")),
        "{forced}"
    );

    // The user has gone: the app works on, and the log says so.
    users_are_gone.store(true, Ordering::Relaxed);
    let before = forced["credentials"]["access_token"].clone();
    let forced = shown(&client, key, &id, "&force_refresh=true").await;
    assert_ne!(forced["credentials"]["access_token"], before);
    assert_eq!(
        forced["connection_config"]["userCredentials"]["access_token"],
        "ghu_user-4"
    );
    let operations = client.get("/logs/operations?limit=50").await.ok().to_string();
    assert!(
        operations.contains("The user's own token could not be refreshed"),
        "{operations}"
    );
    assert!(!operations.contains("ghr_user-4"), "{operations}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_installed() {
    let upstream = github(Arc::default()).await;
    let (_server, client, _) = serving(&upstream).await;
    let mut browser = Browser::new();
    let begun = begun(&mut browser, &client, "crisp", "").await;
    let to = begun.location().unwrap_or_else(|| panic!("{}", begun.text));
    assert!(
        to.starts_with(&format!("{}/plugins/acme?from=us&payload=", upstream.url())),
        "{to}"
    );
    let payload = begun.parameter("payload").expect("a payload");
    let back = format!(
        "{}/oauth/callback?payload={payload}&website_id=2f6d1f8e-0c4b-4a51-9d7a-3a1c5e7b9f10&token=their-word",
        client.base_url()
    );
    let page = browser.open(&back).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let id = page.data("connectionId").expect("an id");
    let connection = shown(&client, "crisp", &id, "").await;
    assert_eq!(
        connection["connection_config"],
        json!({"website_id": "2f6d1f8e-0c4b-4a51-9d7a-3a1c5e7b9f10"}),
        "only what the provider's data names"
    );
    assert_eq!(connection["credentials"]["type"], "BASIC");
    // The plugin's credentials were tried for that website.
    let received = upstream.received();
    assert_eq!(
        asked(&received, "/website/2f6d1f8e-0c4b-4a51-9d7a-3a1c5e7b9f10")[0].header("authorization"),
        "Basic cGx1Z2luLTE6cGx1Z2luLWtleS0x"
    );
    // A website that has not installed it.
    let begun = self::begun(&mut browser, &client, "crisp", "").await;
    let payload = begun.parameter("payload").expect("a payload");
    let back = format!(
        "{}/oauth/callback?payload={payload}&website_id=00000000-0c4b-4a51-9d7a-3a1c5e7b9f10",
        client.base_url()
    );
    refused(&browser.open(&back).await, "connection_validation_failed");
}

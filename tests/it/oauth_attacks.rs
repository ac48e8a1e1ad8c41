//! What must not work: answers of one provider for another's authorization, sessions and addresses that are not theirs who use them.

use http::Method;
use nango_runtime_tests::client::send;
use nango_runtime_tests::oidc::{self, Oidc};
use nango_runtime_tests::{Browser, Client, Page, Reply, Server, TestRuntime, Upstream};
use serde_json::{Value, json};

/// A provider that gives a token for every code, and an entry `name` for it.
async fn provider(name: &str, more: &str) -> (Upstream, String) {
    let upstream = Upstream::handling(|request| {
        if request.target.starts_with("/token") {
            Reply::json(200, &json!({"access_token": "t0ken"}))
        } else {
            Reply::json(200, &json!({}))
        }
    })
    .await;
    let url = upstream.url();
    let yaml = format!(
        "{name}:\n  display_name: {name}\n  auth_mode: OAUTH2\n  authorization_url: {url}/authorize\n  token_url: {url}/token\n{}  proxy:\n    base_url: {url}\n",
        more.replace("{url}", &url)
    );
    (upstream, yaml)
}

async fn serving(yaml: &str, names: &[&str]) -> (Server, Client) {
    let server = TestRuntime::new().egress_loopback().provider_yaml(yaml).start();
    let client = server.client();
    for name in names {
        let app = json!({"type": "OAUTH2", "client_id": format!("id-{name}"), "client_secret": format!("s3cret-{name}"), "scopes": "a b"});
        let integration = json!({"unique_key": name, "provider": name, "credentials": app});
        let _ = client.post("/integrations", &integration).await.ok();
    }
    (server, client)
}

async fn session(client: &Client, body: Value) -> String {
    let opened = client.post("/connect/sessions", &body).await.ok();
    opened["data"]["token"].as_str().expect("a token").to_owned()
}

async fn begun(browser: &mut Browser, client: &Client, key: &str, more: &str) -> Page {
    let token = session(client, json!({"end_user": {"id": "u1"}})).await;
    let url = format!(
        "{}/oauth/connect/{key}?connect_session_token={token}{more}",
        client.base_url()
    );
    browser.step(&url, None).await
}

async fn back(browser: &mut Browser, client: &Client, query: &str) -> Page {
    browser
        .open(&format!("{}/oauth/callback?{query}", client.base_url()))
        .await
}

#[track_caller]
fn refused(page: &Page, error_type: &str) {
    let found = (page.status, page.data("errorType"));
    assert_eq!(found, (400, Some(error_type.to_owned())), "{}", page.text);
}

fn token_requests(upstream: &Upstream) -> Vec<String> {
    let received = upstream.received().into_iter();
    let asked = received.filter(|request| request.target.starts_with("/token"));
    asked
        .map(|request| String::from_utf8_lossy(&request.body).into_owned())
        .collect()
}

/// RFC 9700, section 4.4: an honest provider's code must not be sent to an attacker's token endpoint, nor the reverse.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_says_where_it_comes_from() {
    let (honest, one) = provider("honest", "  issuer: https://honest.test\n").await;
    let (evil, other) = provider("evil", "  issuer: https://evil.test\n").await;
    let (_server, client) = serving(&format!("{one}{other}"), &["honest", "evil"]).await;
    let mut browser = Browser::new();

    // Begun with the one, answered by the other: RFC 9207.
    let page = begun(&mut browser, &client, "evil", "").await;
    let state = page.parameter("state").expect("a state");
    let page = back(
        &mut browser,
        &client,
        &format!("state={state}&code=honests-code&iss=https%3A%2F%2Fhonest.test"),
    )
    .await;
    refused(&page, "callback_err");
    assert!(page.text.contains("https://evil.test"), "{}", page.text);
    assert_eq!(
        (token_requests(&honest).len(), token_requests(&evil).len()),
        (0, 0),
        "nobody is told the code"
    );
    // It is used up.
    let again = back(
        &mut browser,
        &client,
        &format!("state={state}&code=c&iss=https%3A%2F%2Fevil.test"),
    )
    .await;
    refused(&again, "state_err");

    // Two at once in one browser: each code goes where its state says, with the proof that belongs to it.
    let first = begun(&mut browser, &client, "honest", "").await;
    let second = begun(&mut browser, &client, "evil", "").await;
    let state = |page: &Page| page.parameter("state").expect("a state");
    for (page, code) in [(&second, "c0de-2"), (&first, "c0de-1")] {
        let connected = back(&mut browser, &client, &format!("state={}&code={code}", state(page))).await;
        assert_eq!(connected.status, 200, "{}", connected.text);
    }
    let (honest, evil) = (token_requests(&honest), token_requests(&evil));
    assert!(
        honest.len() == 1 && honest[0].contains("code=c0de-1") && honest[0].contains("client_id=id-honest"),
        "{honest:?}"
    );
    assert!(
        evil.len() == 1 && evil[0].contains("code=c0de-2") && !evil[0].contains("s3cret-honest"),
        "{evil:?}"
    );
}

/// At a real server, the codes of two authorizations of one browser are exchanged for each other.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_belongs_to_its_authorization() {
    let oidc = Oidc::start();
    let server = TestRuntime::new()
        .egress_loopback()
        .provider_yaml(&oidc::providers(&oidc.url, &oidc.url))
        .start();
    let client = server.client();
    let (id, secret) = oidc.register(&format!("{}/oauth/callback", server.base_url())).await;
    let app = json!({"type": "OAUTH2", "client_id": id, "client_secret": secret});
    for name in ["one", "two"] {
        let integration = json!({"unique_key": name, "provider": "oidc", "credentials": app});
        let _ = client.post("/integrations", &integration).await.ok();
    }
    let mut browser = Browser::new();
    let mut answers = Vec::new();
    for name in ["one", "two"] {
        let begun = begun(&mut browser, &client, name, "").await;
        let mut page = browser.open(&begun.location().expect("to the provider")).await;
        if page.text.contains("name=\"login\"") {
            page = browser
                .submit(&page, &[("prompt", "login"), ("login", "user-1"), ("password", "x")])
                .await;
        }
        let (_, rest) = page
            .text
            .split_once("action=\"")
            .unwrap_or_else(|| panic!("{}", page.text));
        let action = page
            .url
            .join(rest.split('"').next().expect("an action"))
            .expect("a URL");
        let mut page = browser.step(action.as_str(), Some(&[("prompt", "consent")])).await;
        while !page.location().expect("a redirect").contains("/oauth/callback") {
            page = browser.step(&page.location().expect("a redirect"), None).await;
        }
        let part = |name: &str| page.parameter(name).expect("a parameter");
        answers.push((part("state"), part("code")));
    }
    let [(first_state, first), (second_state, second)] = &answers[..] else {
        panic!("two answers");
    };
    for (state, code) in [(first_state, second), (second_state, first)] {
        let page = back(&mut browser, &client, &format!("state={state}&code={code}")).await;
        refused(&page, "token_err");
        assert!(page.text.contains("invalid_grant"), "{}", page.text);
    }
    let listed = client.get("/connections").await.ok();
    assert_eq!(listed["connections"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_where_a_stranger_says() {
    let (upstream, yaml) = provider("shop", "").await;
    let port = upstream.url().rsplit(':').next().expect("a port").to_owned();
    let hosted = yaml.replace("shop:", "hosted:").replace(
        &format!("authorization_url: {}", upstream.url()),
        &format!("authorization_url: http://${{connectionConfig.shop}}.test:{port}"),
    );
    let (server, client) = serving(&format!("{yaml}{hosted}"), &["shop", "hosted"]).await;
    let mut browser = Browser::new();

    // What is filled in does not leave its place in the host.
    for shop in [
        "evil.test/",
        "evil.test%23",
        "evil.test%3f",
        "a@evil.test",
        "evil.test:80/",
        "evil.test%5c",
        "",
    ] {
        let page = begun(&mut browser, &client, "hosted", &format!("&params[shop]={shop}")).await;
        refused(&page, "url_param_err");
    }
    let page = begun(&mut browser, &client, "hosted", "&params[shop]=acme").await;
    assert!(
        page.location()
            .expect("a place")
            .starts_with(&format!("http://acme.test:{port}/authorize?"))
    );

    // Nor do addresses in the query or in what the request says of its host.
    let more = "&redirect_uri=https://evil.test&return_to=https://evil.test&redirect=//evil.test&authorization_params[redirect_uri]=https://evil.test&authorization_params[response_type]=code";
    let page = begun(&mut browser, &client, "shop", more).await;
    let ours = format!("{}/oauth/callback", server.base_url());
    assert_eq!(page.parameter("redirect_uri").as_deref(), Some(ours.as_str()));
    let token = session(&client, json!({"end_user": {"id": "u1"}})).await;
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .expect("a client");
    let answer = http
        .get(format!(
            "{}/oauth/connect/shop?connect_session_token={token}",
            client.base_url()
        ))
        .header("host", "evil.test")
        .header("x-forwarded-host", "evil.test")
        .header("forwarded", "host=evil.test")
        .send()
        .await
        .expect("an answer");
    let location = answer.headers()["location"].to_str().expect("text");
    assert!(
        location.starts_with(&format!("{}/authorize?", upstream.url())) && !location.contains("evil"),
        "{location}"
    );

    // The end is a page of ours, wherever it is asked to lead.
    let page = begun(&mut browser, &client, "shop", "").await;
    let state = page.parameter("state").expect("a state");
    let end = browser
        .step(
            &format!("{ours}?state={state}&code=c&redirect_uri=https://evil.test&next=//evil.test"),
            None,
        )
        .await;
    assert_eq!((end.status, end.location()), (200, None));
    assert!(!end.text.contains("evil.test"), "{}", end.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_open_nothing_else() {
    let (_upstream, yaml) = provider("shop", "").await;
    let (_other, second) = provider("other", "").await;
    let (_server, client) = serving(&format!("{yaml}{second}"), &["shop", "other"]).await;
    let mut browser = Browser::new();
    let base = client.base_url().to_owned();
    let at = |token: &str, key: &str| format!("{base}/oauth/connect/{key}?connect_session_token={token}");

    // A key is no session, and a session is no key.
    let key = client.key().expect("a key").to_owned();
    refused(
        &browser.open(&at(&key, "shop")).await,
        "invalid_connect_session_token_format",
    );
    let token = session(
        &client,
        json!({"end_user": {"id": "u1"}, "allowed_integrations": ["shop"]}),
    )
    .await;
    for path in [
        "/connections",
        "/integrations/shop?include=credentials",
        "/api-keys",
        "/logs/operations",
    ] {
        let answer = client.with_key(Some(&token)).get(path).await;
        assert_eq!(answer.status, 401, "{path}: {}", answer.text());
    }
    // It is for the integrations that it names, and for nobody else's connection.
    refused(&browser.open(&at(&token, "other")).await, "integration_not_allowed");
    let page = browser.step(&at(&token, "shop"), None).await;
    let state = page.parameter("state").expect("a state");
    let page = back(&mut browser, &client, &format!("state={state}&code=c")).await;
    let id = page.data("connectionId").expect("an id");
    let body = json!({"connection_id": id, "integration_id": "shop"});
    let opened = client.post("/connect/sessions/reconnect", &body).await.ok();
    let reconnect = opened["data"]["token"].as_str().expect("a token").to_owned();
    refused(&browser.open(&at(&reconnect, "other")).await, "integration_not_allowed");
    refused(
        &browser
            .open(&format!("{}&connection_id=mine", at(&reconnect, "shop")))
            .await,
        "missing_connection_id",
    );

    // Ended, it begins nothing; and what was begun with another still ends.
    let page = browser.step(&at(&reconnect, "shop"), None).await;
    let state = page.parameter("state").expect("a state");
    let ended = send(
        client
            .with_key(Some(&token))
            .request(Method::DELETE, "/connect/session"),
    )
    .await;
    assert_eq!(ended.status, 204, "{}", ended.text());
    refused(
        &browser.open(&at(&token, "shop")).await,
        "unknown_connect_session_token",
    );
    let page = back(&mut browser, &client, &format!("state={state}&code=c")).await;
    assert_eq!(page.data("connectionId"), Some(id), "{}", page.text);
}

/// The knobs of single providers, as a browser sees them.
#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_are_peculiar() {
    for (more, expected) in [
        (
            "  authorization_url_skip_encode: [scopes]\n  scope_separator: ','\n",
            "scope=a:1,b:2&state=",
        ),
        (
            "  authorization_url_skip_empty: true\n  authorization_params:\n    audience: ''\n",
            "scope=a%3A1%20b%3A2&state=",
        ),
        (
            "  authorization_url_fragment: oauth/authorize\n",
            "/authorize#oauth/authorize?response_type=code&client_id=id-shop",
        ),
        (
            "  authorization_url_replacements:\n    client_id: client_key\n",
            "?response_type=code&client_key=id-shop",
        ),
    ] {
        let (_upstream, yaml) = provider("shop", &format!("  disable_pkce: true\n{more}")).await;
        let (_server, client) = serving(&yaml, &["shop"]).await;
        let scopes = json!({"credentials": {"type": "OAUTH2", "client_id": "id-shop", "client_secret": "s", "scopes": "a:1,b:2"}});
        let _ = client.json(Method::PATCH, "/integrations/shop", &scopes).await.ok();
        let mut browser = Browser::new();
        let page = begun(&mut browser, &client, "shop", "").await;
        let location = page.location().unwrap_or_else(|| panic!("{}", page.text));
        assert!(
            location.contains(expected) && !location.contains("audience"),
            "{location}"
        );
        // It ends as any other does; the state may be behind the fragment.
        let (_, rest) = location.split_once("state=").expect("a state");
        let state = rest.split('&').next().expect("a state");
        let page = back(&mut browser, &client, &format!("state={state}&code=c")).await;
        assert_eq!(page.status, 200, "{more}: {}", page.text);
    }
}

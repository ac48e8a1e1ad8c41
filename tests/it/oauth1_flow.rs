//! Customers connect with OAuth 1.0a at a server that checks every signature, and the connection signs as they did.

use nango_runtime_tests::oauth1::{self, OAuth1Server};
use nango_runtime_tests::{Browser, Client, Page, Reply, Server, TestRuntime, Upstream, node};
use serde_json::{Value, json};

/// A server whose integration `older` is the client of `provider`.
async fn serving(provider: &OAuth1Server, request: &str, more: &str) -> (Server, Client) {
    serving_yaml(&provider.provider(request, more), oauth1::CLIENT_SECRET).await
}

async fn serving_yaml(yaml: &str, secret: &str) -> (Server, Client) {
    let server = TestRuntime::new().egress_loopback().provider_yaml(yaml).start();
    let client = server.client();
    let app =
        json!({"type": "OAUTH1", "client_id": oauth1::CLIENT_ID, "client_secret": secret, "scopes": "read,write"});
    let integration = json!({"unique_key": "older", "provider": "older", "credentials": app});
    let _ = client.post("/integrations", &integration).await.ok();
    (server, client)
}

async fn start_url(client: &Client, more: &str) -> String {
    let opened = client
        .post("/connect/sessions", &json!({"end_user": {"id": "u1"}}))
        .await
        .ok();
    let token = opened["data"]["token"].as_str().expect("a token");
    let base = client.base_url();
    format!("{base}/oauth/connect/older?connect_session_token={token}{more}")
}

/// Sent to the provider, and answered there: the redirect back, not followed.
async fn answered(browser: &mut Browser, begun: &Page, answer: &str) -> String {
    let page = browser
        .open(&begun.location().unwrap_or_else(|| panic!("{}", begun.text)))
        .await;
    let (_, rest) = page.text.split_once("action=\"").expect("a form");
    let action = page
        .url
        .join(rest.split('"').next().expect("an action"))
        .expect("a URL");
    let back = browser.step(action.as_str(), Some(&[("answer", answer)])).await;
    back.location().unwrap_or_else(|| panic!("{}", back.text))
}

async fn connected(browser: &mut Browser, client: &Client) -> Page {
    let begun = browser.step(&start_url(client, "").await, None).await;
    let back = answered(browser, &begun, "yes").await;
    browser.open(&back).await
}

#[track_caller]
fn refused(page: &Page, error_type: &str) {
    let found = (page.status, page.data("errorType"));
    assert_eq!(found, (400, Some(error_type.to_owned())), "{}", page.text);
}

async fn connections(client: &Client) -> usize {
    let listed = client.get("/connections").await.ok();
    listed["connections"].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_connects_and_requests_are_signed() {
    let provider = OAuth1Server::start();
    let more = "  scope_separator: ','\n  authorization_params:\n    expiration: never\n  token_response_metadata: [screen_name]\n  \
                after_connect:\n    request:\n      url: ${apiUrl}/api/me?full=a%20b\n    connection_config:\n      account: id";
    let more = more.replace("${apiUrl}", &provider.url);
    let (server, client) = serving(&provider, "/request_token?x=1", &more).await;
    let mut browser = Browser::new();
    let start = start_url(
        &client,
        "&ws_client_id=tab-1&authorization_params[oauth_callback]=https://evil.test",
    )
    .await;
    let begun = browser.step(&start, None).await;
    assert_eq!(begun.status, 302, "{}", begun.text);
    assert_eq!(begun.parameter("scope").as_deref(), Some("read,write"));
    assert_eq!(begun.parameter("expiration").as_deref(), Some("never"));
    assert_eq!(begun.parameter("oauth_callback"), None);
    assert!(
        begun.headers["set-cookie"]
            .to_str()
            .expect("text")
            .contains("; HttpOnly; SameSite=Lax")
    );

    // What the end needs is in the database, and cannot be read there.
    let stats = provider.stats().await;
    let secret = stats["secrets"][0].as_str().expect("a secret").as_bytes();
    let mut searched = 0;
    for file in std::fs::read_dir(server.data()).expect("the data folder").flatten() {
        if let Ok(bytes) = std::fs::read(file.path()) {
            searched += bytes.len();
            assert!(
                !bytes.windows(secret.len()).any(|found| found == secret),
                "{}",
                file.path().display()
            );
        }
    }
    assert!(searched > 4_096, "a database");

    let back = answered(&mut browser, &begun, "yes").await;
    let page = browser.open(&back).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert_eq!(page.data("clientId").as_deref(), Some("tab-1"));
    let id = page.data("connectionId").expect("an id");
    let shown = client
        .get(&format!("/connections/{id}?provider_config_key=older"))
        .await
        .ok();
    assert_eq!(shown["credentials"]["type"], "OAUTH1");
    assert_eq!(shown["credentials"]["raw"]["user_id"], "7", "{shown}");
    let learned = (
        &shown["connection_config"]["screen_name"],
        &shown["connection_config"]["account"],
    );
    assert_eq!(
        learned,
        (&json!("ann"), &json!("7")),
        "what came with the token, and what was asked for with it"
    );
    assert_eq!(shown["end_user"]["id"], "u1");

    // The proxy signs with the same token.
    let asked = client.proxy_get("older", &id, "/api/me?q=a%20b%2Bc").await.ok();
    assert_eq!(asked["query"], json!({"q": "a b+c"}));

    // What came back is good once.
    refused(&browser.open(&back).await, "state_err");
    let stats = provider.stats().await;
    let given = (
        &stats["request_token"],
        &stats["access_token"],
        &stats["api"],
        &stats["refused"],
    );
    assert_eq!(given, (&json!(1), &json!(1), &json!(2), &json!(0)), "{stats}");
    assert_eq!(stats["methods"], json!(["HMAC-SHA1"]));

    let log = server.log();
    let credentials = &shown["credentials"];
    for secret in [&credentials["oauth_token"], &credentials["oauth_token_secret"]] {
        assert!(
            !log.contains(secret.as_str().expect("a token")),
            "a token is in the log"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signature_methods_and_http_methods_are_the_providers() {
    let provider = OAuth1Server::start();
    for (method, more) in [
        (
            "HMAC-SHA256",
            "  request_http_method: GET\n  token_http_method: GET\n  request_params:\n    name: a b",
        ),
        (
            "PLAINTEXT",
            "  token_params:\n    format: x y\n  request_params:\n    name: a b",
        ),
    ] {
        let (_server, client) = serving(
            &provider,
            "/request_token",
            &format!("  signature_method: {method}\n{more}"),
        )
        .await;
        let page = connected(&mut Browser::new(), &client).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let id = page.data("connectionId").expect("an id");
        assert_eq!(client.proxy_get("older", &id, "/api/me").await.ok()["name"], "ann");
    }
    let stats = provider.stats().await;
    assert_eq!(stats["methods"], json!(["HMAC-SHA256", "PLAINTEXT"]));
    assert_eq!(stats["refused"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_customer_declines() {
    let provider = OAuth1Server::start();
    let (_server, client) = serving(&provider, "/request_token", "").await;
    let mut browser = Browser::new();
    let begun = browser.step(&start_url(&client, "").await, None).await;
    let back = answered(&mut browser, &begun, "no").await;
    let page = browser.open(&back).await;
    refused(&page, "callback_err");
    assert!(page.text.contains("the customer declined"), "{}", page.text);
    refused(&browser.open(&back).await, "state_err");

    // As others say it.
    let begun = browser.step(&start_url(&client, "").await, None).await;
    let back = answered(&mut browser, &begun, "yes").await;
    let (bare, _) = back.split_once("&oauth_token").expect("a token");
    let page = browser.open(&format!("{bare}&oauth_problem=user_refused")).await;
    refused(&page, "callback_err");
    assert!(page.text.contains("user_refused"), "{}", page.text);
    assert_eq!(connections(&client).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_that_are_not_the_beginnings() {
    let provider = OAuth1Server::start();
    let (_server, client) = serving(&provider, "/request_token", "").await;
    let mut browser = Browser::new();
    let begin = async |browser: &mut Browser| browser.step(&start_url(&client, "").await, None).await;

    // The state of one authorization with the token of another.
    let first = begin(&mut browser).await;
    let second = begin(&mut browser).await;
    let first = answered(&mut browser, &first, "yes").await;
    let second = answered(&mut browser, &second, "yes").await;
    let (state, _) = first.split_once("&oauth_token").expect("a token");
    let (_, other) = second.split_once("&oauth_token").expect("a token");
    let page = browser.open(&format!("{state}&oauth_token{other}")).await;
    refused(&page, "callback_err");
    assert!(page.text.contains("another"), "{}", page.text);

    // Without the proof, with a made-up one, in another browser.
    let begun = begin(&mut browser).await;
    let back = answered(&mut browser, &begun, "yes").await;
    let (bare, _) = back.split_once("&oauth_verifier").expect("a verifier");
    refused(&browser.open(bare).await, "callback_err");
    let begun = begin(&mut browser).await;
    let back = answered(&mut browser, &begun, "yes").await;
    let (bare, _) = back.split_once("&oauth_verifier").expect("a verifier");
    refused(
        &browser.open(&format!("{bare}&oauth_verifier=m4de-up")).await,
        "token_err",
    );
    let begun = begin(&mut browser).await;
    let back = answered(&mut browser, &begun, "yes").await;
    refused(&Browser::new().open(&back).await, "state_cookie_err");
    assert_eq!(connections(&client).await, 0);
    let stats = provider.stats().await;
    assert_eq!(
        (&stats["access_token"], &stats["refused"]),
        (&json!(0), &json!(1)),
        "{stats}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_credentials_that_are_not_given() {
    let provider = OAuth1Server::start();
    let yaml = provider.provider("/request_token", "");
    let (_server, client) = serving_yaml(&yaml, "an0ther-secret").await;
    let page = Browser::new().open(&start_url(&client, "").await).await;
    refused(&page, "token_err");
    assert!(!page.text.contains("an0ther-secret"), "{}", page.text);
    let stats = provider.stats().await;
    assert_eq!((&stats["request_token"], &stats["refused"]), (&json!(0), &json!(1)));

    let (_server, client) = serving(&provider, "/unconfirmed/request_token", "").await;
    let page = Browser::new().open(&start_url(&client, "").await).await;
    refused(&page, "token_err");
    assert!(page.text.contains("oauth_callback_confirmed"), "{}", page.text);
    // One that says nothing of it still has to give a verifier.
    let (_server, client) = serving(&provider, "/silent/request_token", "").await;
    assert_eq!(connected(&mut Browser::new(), &client).await.status, 200);

    let (_server, client) = serving(&provider, "/nothing", "").await;
    let page = Browser::new().open(&start_url(&client, "").await).await;
    refused(&page, "token_err");
    assert!(page.text.contains("404"), "{}", page.text);
    let own = start_url(&client, "&credentials[oauth_client_id_override]=mine").await;
    refused(&Browser::new().open(&own).await, "url_param_err");
}

/// The entries of the catalogue, with a server of ours in the place of the vendor's.
#[tokio::test(flavor = "multi_thread")]
async fn the_catalogues_providers_ask_as_their_vendors_say() {
    let upstream = Upstream::handling(|request| {
        let (path, _) = request.target.split_once('?').unwrap_or((&request.target, ""));
        match path {
            "/oauth/request_token" | "/1/OAuthGetRequestToken" => {
                Reply::status(200).body("oauth_token=tt&oauth_token_secret=ts&oauth_callback_confirmed=true")
            }
            "/oauth/access_token" | "/1/OAuthGetAccessToken" => {
                Reply::status(200).body("oauth_token=at&oauth_token_secret=as&user_id=7&screen_name=ann")
            }
            _ => Reply::json(200, &json!({})),
        }
    })
    .await;
    for (name, hosts, page_at) in [
        ("twitter", ["https://api.x.com"].as_slice(), "/oauth/authorize"),
        (
            "trello",
            &["https://trello.com", "https://api.trello.com"],
            "/1/OAuthAuthorizeToken",
        ),
    ] {
        let path = nango_runtime_tests::repository::root().join(format!("runtime/providers/{name}.yaml"));
        let mut yaml = std::fs::read_to_string(path)
            .expect("an entry")
            .replace(&format!("\n{name}:"), "\nolder:");
        for host in hosts {
            yaml = yaml.replace(&format!(": {host}"), &format!(": {}", upstream.url()));
        }
        let (_server, client) = serving_yaml(&yaml, "s").await;
        let mut browser = Browser::new();
        let begun = browser.step(&start_url(&client, "").await, None).await;
        let to = begun.location().unwrap_or_else(|| panic!("{name}: {}", begun.text));
        assert!(
            to.starts_with(&format!("{}{page_at}?oauth_token=tt", upstream.url())),
            "{to}"
        );
        let asked = upstream.received();
        let header = asked.last().expect("a request").headers["authorization"]
            .to_str()
            .expect("text")
            .to_owned();
        let (_, callback) = header.split_once("oauth_callback=\"").expect("a callback");
        let callback = callback.split('"').next().unwrap_or_default();
        let callback = percent_encoding::percent_decode_str(callback)
            .decode_utf8()
            .expect("text")
            .into_owned();
        assert!(
            callback.starts_with(&format!("{}/oauth/callback?state=", client.base_url())),
            "{callback}"
        );
        let page = browser
            .open(&format!("{callback}&oauth_token=tt&oauth_verifier=v"))
            .await;
        assert_eq!(page.status, 200, "{name}: {}", page.text);
        let id = page.data("connectionId").expect("an id");
        let shown = client
            .get(&format!("/connections/{id}?provider_config_key=older"))
            .await
            .ok();
        assert_eq!(shown["credentials"]["oauth_token"], "at");
        let learned: &Value = &shown["connection_config"]["screen_name"];
        assert_eq!(learned.as_str(), (name == "twitter").then_some("ann"), "{shown}");
        let _ = client.proxy_get("older", &id, "/1/members/me").await.ok();
        let asked = upstream.received();
        let header = asked.last().expect("a request").headers["authorization"]
            .to_str()
            .expect("text")
            .to_owned();
        assert!(header.contains("oauth_token=\"at\""), "{header}");
    }
}

/// With a key of the client's, and the server's own verification.
#[tokio::test(flavor = "multi_thread")]
async fn requests_are_signed_with_rsa() {
    let spare = TestRuntime::new().start();
    let keys = node::run(&spare, "jwt.mjs", &[]);
    let public = keys["rsa"]["public"].as_str().expect("a key");
    for form in ["pkcs1", "private"] {
        let provider = OAuth1Server::with_rsa_key(public);
        let yaml = provider.provider("/request_token", "  signature_method: RSA-SHA1");
        let (_server, client) = serving_yaml(&yaml, keys["rsa"][form].as_str().expect("a key")).await;
        let mut browser = Browser::new();
        let page = connected(&mut browser, &client).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let id = page.data("connectionId").expect("an id");
        let me = client.proxy_get("older", &id, "/api/me?a=b%20c").await.ok();
        assert_eq!(me["query"], json!({"a": "b c"}), "{me}");
        let stats = provider.stats().await;
        assert_eq!(
            (&stats["methods"][0], &stats["refused"]),
            (&json!("RSA-SHA1"), &json!(0)),
            "{stats}"
        );
    }
    // A key of 4,096 bits is longer than other secrets may be.
    let long = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        "A".repeat(3_200)
    );
    let provider = OAuth1Server::with_rsa_key(public);
    let _ = serving_yaml(
        &provider.provider("/request_token", "  signature_method: RSA-SHA1"),
        &long,
    )
    .await;
    // Another key, and what is none.
    let provider = OAuth1Server::with_rsa_key(public);
    let yaml = provider.provider("/request_token", "  signature_method: RSA-SHA1");
    let other = node::run(&spare, "jwt.mjs", &[]);
    let other = other["rsa"]["private"].as_str().expect("a key");
    for (secret, told) in [
        (other, "answered 401"),
        ("no-key-but-some-secret", "is no RSA private key"),
    ] {
        let (_server, client) = serving_yaml(&yaml, secret).await;
        let page = Browser::new().step(&start_url(&client, "").await, None).await;
        refused(&page, "token_err");
        assert!(page.text.contains(told) && !page.text.contains(secret), "{}", page.text);
    }
}

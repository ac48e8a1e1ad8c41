//! A deleted connection is gone at once, its tokens at the provider soon after, its rows when it is purged.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use nango_runtime_tests::client::send;
use nango_runtime_tests::command::Cli;
use nango_runtime_tests::oidc::{self, CLIENT_ID, CLIENT_SECRET, Oidc};
use nango_runtime_tests::{Browser, Client, Reply, Server, TestRuntime, Upstream, guest, node};
use serde_json::{Value, json};

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, with_upstream};
use crate::oauth_flow::at_the_provider;
use crate::refresh::serving;

/// What happens behind the answer of a delete happens within this time.
const SOON: Duration = Duration::from_secs(15);
const HOUR_MS: i64 = 60 * 60 * 1_000;

/// Asks until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < SOON, "{what} did not happen within {SOON:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn operations(client: &Client, kind: &str) -> Vec<Value> {
    let list = client
        .get(&format!("/logs/operations?limit=100&type={kind}"))
        .await
        .ok();
    list["data"].as_array().expect("a list of operations").clone()
}

/// The status that the OAuth server's own API answers this token with.
async fn status_of(oidc: &Oidc, access_token: &str) -> u16 {
    let client = Client::new(&oidc.url, None);
    let request = client.request(Method::GET, "/me").bearer_auth(access_token);
    send(request).await.status
}

/// What the OAuth server makes of a refresh token.
async fn refreshed(oidc: &Oidc, refresh_token: &str) -> Value {
    refreshed_by(oidc, refresh_token, (CLIENT_ID, CLIENT_SECRET)).await
}

async fn refreshed_by(oidc: &Oidc, refresh_token: &str, (id, secret): (&str, &str)) -> Value {
    let form = format!("grant_type=refresh_token&refresh_token={refresh_token}&client_id={id}&client_secret={secret}");
    let request = Client::new(&oidc.url, None).request(Method::POST, "/token");
    let request = request
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form);
    send(request).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_revoked_at_a_real_oauth_server() {
    let oidc = Oidc::start();
    let tokens = oidc.authorize().await;
    let (server, client) = serving(TestRuntime::new(), &oidc, &oidc.url).await;
    let _ = client
        .import_connection("oidc", CONNECTION, tokens.credentials(HOUR_MS))
        .await
        .ok();
    let _ = client.proxy_get("oidc", CONNECTION, "/me").await.ok();
    assert_eq!(status_of(&oidc, &tokens.access_token).await, 200);

    let answered = node::run(
        &server,
        "delete.mjs",
        &[("INTEGRATION", "oidc"), ("CONNECTION", CONNECTION)],
    );
    assert_eq!(answered, json!({"deleted": 200, "again": 400, "listed": 0}));
    assert_eq!(client.proxy_get("oidc", CONNECTION, "/me").await.status, 400);

    until("the revocation", async || {
        !operations(&client, "connection:revoke").await.is_empty()
    })
    .await;
    assert_eq!(status_of(&oidc, &tokens.access_token).await, 401);
    assert_eq!(refreshed(&oidc, &tokens.refresh_token).await["error"], "invalid_grant");

    let revoked = operations(&client, "connection:revoke").await;
    assert_eq!((revoked.len(), &revoked[0]["state"]), (1, &json!("success")));
    let text = revoked[0].to_string();
    assert!(text.contains("oidc") && text.contains(CONNECTION), "{text}");
    let log = client.logs().await;
    for secret in [&tokens.refresh_token, &tokens.access_token, CLIENT_SECRET] {
        assert!(!log.contains(secret), "a secret is in the log: {log}");
    }

    // The name is free, and what has it now is another.
    let tokens = oidc.authorize().await;
    let _ = client
        .import_connection("oidc", CONNECTION, tokens.credentials(HOUR_MS))
        .await
        .ok();
    let _ = client.proxy_get("oidc", CONNECTION, "/me").await.ok();
    assert_eq!(client.delete("/integrations/oidc").await.status, 200);
    assert_eq!(client.get("/connections").await.ok()["connections"], json!([]));
    until("the revocation", async || {
        operations(&client, "connection:revoke").await.len() == 2
    })
    .await;
    assert_eq!(status_of(&oidc, &tokens.access_token).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_races_with_the_deletion_brings_nothing_back() {
    let oidc = Oidc::start();
    let tokens = oidc.authorize().await;
    let (_server, client) = serving(TestRuntime::new(), &oidc, &oidc.url).await;
    let _ = client
        .import_connection("oidc", CONNECTION, tokens.credentials(-1_000))
        .await
        .ok();
    oidc.hold(500, 0).await;
    let call = {
        let client = client.clone();
        tokio::spawn(async move { client.proxy_get("oidc", CONNECTION, "/me").await.status })
    };
    until("the refresh", async || oidc.stats().await["waiting"] == 1).await;
    let path = format!("/connections/{CONNECTION}?provider_config_key=oidc");
    assert_eq!(client.delete(&path).await.status, 200);
    assert_ne!(call.await.expect("the caller ends"), 200);
    assert_eq!(client.get(&path).await.status, 404);
    // The old refresh token was revoked before the server worked on the refresh, or the new one was after it.
    until("the revocation", async || {
        !operations(&client, "connection:revoke").await.is_empty()
    })
    .await;
    oidc.hold(0, 0).await;
    let newest = oidc.stats().await["newest_refresh_token"]
        .as_str()
        .expect("a token")
        .to_owned();
    until("the end of the newest token", async || {
        refreshed(&oidc, &newest).await["error"] == "invalid_grant"
    })
    .await;
}

/// The token of a session in which the connection is authorised anew.
async fn reopened(client: &Client, integration: &str) -> String {
    let reconnect = json!({"connection_id": CONNECTION, "integration_id": integration, "end_user": {"id": "u1"}});
    let opened = client.post("/connect/sessions/reconnect", &reconnect).await.ok();
    opened["data"]["token"].as_str().expect("a token").to_owned()
}

/// What is to be revoked is looked for now and not within a minute, since another connection is deleted.
async fn looked_for(client: &Client, integration: &str, credentials: &Value) {
    let _ = client
        .import_connection(integration, "another", credentials.clone())
        .await
        .ok();
    let path = format!("/connections/another?provider_config_key={integration}");
    assert_eq!(client.delete(&path).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_customer_whose_connection_went_meanwhile_are_revoked() {
    let oidc = Oidc::start();
    let server = TestRuntime::new()
        .egress_loopback()
        .provider_yaml(&oidc::providers(&oidc.url, &oidc.url))
        .start();
    let client = server.client();
    let (id, secret) = oidc.register(&format!("{}/oauth/callback", server.base_url())).await;
    let app = json!({"type": "OAUTH2", "client_id": id, "client_secret": secret});
    let integration = json!({"unique_key": "oidc", "provider": "oidc", "credentials": app});
    let _ = client.post("/integrations", &integration).await.ok();
    let credentials = json!({"type": "OAUTH2", "access_token": "the-token-of-before"});
    let _ = client
        .import_connection("oidc", CONNECTION, credentials.clone())
        .await
        .ok();

    let token = reopened(&client, "oidc").await;
    let mut browser = Browser::new();
    let start = format!("{}/oauth/connect/oidc?connect_session_token={token}", server.base_url());
    let begun = browser.step(&start, None).await;
    let back = at_the_provider(&mut browser, &begun.location().expect("to the provider")).await;
    let path = format!("/connections/{CONNECTION}?provider_config_key=oidc");
    assert_eq!(client.delete(&path).await.status, 200);
    let page = browser.open(&back.location().expect("back")).await;
    assert_eq!(
        (page.status, page.data("errorType").as_deref()),
        (400, Some("connection_not_found"))
    );

    let given = oidc.stats().await;
    assert_eq!(given["authorization_code"], 1, "{given}");
    let newest = given["newest_refresh_token"].as_str().expect("a token").to_owned();
    // For the token of before, for those that came too late, and for another's.
    looked_for(&client, "oidc", &credentials).await;
    until("the revocations", async || {
        operations(&client, "connection:revoke").await.len() == 3
    })
    .await;
    let revoked = operations(&client, "connection:revoke").await;
    assert!(
        revoked.iter().all(|operation| operation["state"] == "success"),
        "{revoked:?}"
    );
    assert_eq!(
        refreshed_by(&oidc, &newest, (&id, &secret)).await["error"],
        "invalid_grant"
    );
    assert_eq!(client.get("/connections").await.ok()["connections"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_comes_for_a_connection_that_just_went_is_revoked() {
    let (asked, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (noted, may_answer) = (Arc::clone(&asked), Arc::clone(&answers));
    let upstream = Upstream::handling(move |request| {
        if request.target != "/token" {
            return Reply::json(200, &json!({}));
        }
        let number = noted.fetch_add(1, Ordering::SeqCst) + 1;
        if number == 2 {
            tokio::task::block_in_place(|| {
                while !may_answer.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        Reply::json(
            200,
            &json!({"access_token": format!("client-token-{number}"), "expires_in": 3_600}),
        )
    })
    .await;
    let url = upstream.url();
    let yaml = format!(
        "cc:\n  auth_mode: OAUTH2_CC\n  token_url: {url}/token\n  proxy: {{base_url: {url}}}\n  \
         revocation: {{url: '{url}/revoke', tokens: [access_token]}}\n"
    );
    let server = TestRuntime::new().egress_loopback().provider_yaml(&yaml).start();
    let client = server.client();
    let _ = client.create_integration("cc", "cc").await.ok();
    let credentials = json!({"client_id": "cc-client", "client_secret": "the-secret-of-a-cc-client"});
    let mut import = credentials.clone();
    import["type"] = "OAUTH2_CC".into();
    import["token"] = "client-token-0".into();
    let _ = client.import_connection("cc", CONNECTION, import.clone()).await.ok();
    let browser = client.with_key(None);
    let connect = async || {
        let token = reopened(&client, "cc").await;
        browser
            .post(&format!("/oauth2/auth/cc?connect_session_token={token}"), &credentials)
            .await
    };
    assert_eq!(connect().await.status, 200);
    let deleted = async {
        until("the request for a token", async || asked.load(Ordering::SeqCst) == 2).await;
        let path = format!("/connections/{CONNECTION}?provider_config_key=cc");
        assert_eq!(client.delete(&path).await.status, 200);
        answers.store(true, Ordering::SeqCst);
    };
    let (answer, ()) = tokio::join!(connect(), deleted);
    assert_eq!(
        (answer.status, answer.error_code().as_str()),
        (400, "invalid_connection"),
        "{}",
        answer.text()
    );
    looked_for(&client, "cc", &import).await;
    until("the revocations", async || {
        told(&upstream, "client-token-1") == 1 && told(&upstream, "client-token-2") == 1
    })
    .await;
    assert_eq!(client.get("/connections").await.ok()["connections"], json!([]));
}

fn revocable(url: &str) -> String {
    format!(
        r"
acme:
  auth_mode: OAUTH2
  authorization_url: {url}/authorize
  token_url: {url}/token
  revocation:
    url: {url}/revoke
    tokens: [access_token]
  proxy:
    base_url: {url}
"
    )
}

async fn acme(data: &Path, url: &str) -> (Server, Client) {
    let server = TestRuntime::new()
        .data(data)
        .egress_loopback()
        .provider_yaml(&revocable(url))
        .start();
    let client = server.client();
    let app = json!({"type": "OAUTH2", "client_id": "c", "client_secret": "s3cret"});
    let integration = json!({"unique_key": "acme", "provider": "acme", "credentials": app});
    let _ = client.post("/integrations", &integration).await;
    (server, client)
}

fn told(upstream: &Upstream, token: &str) -> usize {
    let received = upstream.received();
    let tells = |body: &[u8]| String::from_utf8_lossy(body).contains(&format!("token={token}&"));
    received.iter().filter(|request| tells(&request.body)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_after_the_answer_leaves_nothing_unrevoked() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    // Whoever is told of `slow` waits for an answer that comes too late.
    let upstream = Upstream::handling(|request| {
        let is_slow = String::from_utf8_lossy(&request.body).contains("token=slow");
        Reply::status(200).after(Duration::from_secs(if is_slow { 600 } else { 0 }))
    })
    .await;
    for (round, token) in ["a", "b", "slow"].into_iter().enumerate() {
        let (mut server, client) = acme(folder.path(), &upstream.url()).await;
        let credentials = json!({"type": "OAUTH2", "access_token": token});
        let _ = client.import_connection("acme", CONNECTION, credentials).await.ok();
        let path = format!("/connections/{CONNECTION}?provider_config_key=acme");
        assert_eq!(client.delete(&path).await.status, 200, "round {round}");
        if token == "slow" {
            until("the request", async || told(&upstream, token) == 1).await;
        }
        server.process().kill();
        let before = if token == "slow" { 1 } else { 0 };
        let (_server, client) = acme(folder.path(), &upstream.url()).await;
        until("the revocation", async || told(&upstream, token) > before).await;
        assert_eq!(client.get(&path).await.status, 404, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_request_may_go_no_token_goes() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let upstream = Upstream::replying([Reply::status(200)]).await;
    let server = TestRuntime::new()
        .data(folder.path())
        .provider_yaml(&revocable(&upstream.url()))
        .start();
    let client = server.client();
    let app = json!({"type": "OAUTH2", "client_id": "c", "client_secret": "s3cret"});
    let integration = json!({"unique_key": "acme", "provider": "acme", "credentials": app});
    let _ = client.post("/integrations", &integration).await.ok();
    let credentials = json!({"type": "OAUTH2", "access_token": "access-1f7c"});
    let _ = client.import_connection("acme", CONNECTION, credentials).await.ok();
    let path = format!("/connections/{CONNECTION}?provider_config_key=acme");
    assert_eq!(client.delete(&path).await.status, 200);
    until("the refusal", async || {
        !operations(&client, "connection:revoke").await.is_empty()
    })
    .await;
    let refused = operations(&client, "connection:revoke").await;
    assert_eq!(refused[0]["state"], "failed");
    assert!(client.logs().await.contains("egress_allow"), "{refused:?}");
    assert!(upstream.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_does_not_go_on_with_the_successor_of_its_connection() {
    let upstream = Upstream::handling(|_| Reply::status(500)).await;
    let (_server, client) = with_upstream(&upstream.url()).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let run = {
        let client = client.clone();
        let input = json!({"path": "/x", "retries": 3});
        tokio::spawn(async move { client.trigger_action(INTEGRATION, CONNECTION, "fetch", input).await })
    };
    until("the first attempt", async || !upstream.received().is_empty()).await;
    let path = format!("/connections/{CONNECTION}?provider_config_key={INTEGRATION}");
    assert_eq!(client.delete(&path).await.status, 200);
    let credentials = json!({"type": "API_KEY", "apiKey": "somebody-elses-key"});
    let _ = client
        .import_connection(INTEGRATION, CONNECTION, credentials)
        .await
        .ok();
    let answer = run.await.expect("the run ends");
    assert!(!answer.text().contains("\"status\":500"), "{}", answer.text());
    assert!(
        answer.text().contains("no connection") || answer.text().contains("unknown"),
        "{}",
        answer.text()
    );
    for request in upstream.received() {
        let shown = format!("{:?}", request.headers);
        assert!(shown.contains(API_KEY) && !shown.contains("somebody"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_purges_and_what_is_old_goes_by_itself() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let upstream = Upstream::replying([Reply::status(200)]).await;
    let (mut server, client) = acme(folder.path(), &upstream.url()).await;
    let import = async |client: &Client, id: &str| {
        let credentials = json!({"type": "OAUTH2", "access_token": format!("access-{id}")});
        let _ = client.import_connection("acme", id, credentials).await.ok();
        let metadata = json!({"note": format!("note-of-{id}")});
        let _ = client.set_metadata("acme", id, metadata).await.ok();
    };
    let delete = async |client: &Client, id: &str| {
        let path = format!("/connections/{id}?provider_config_key=acme");
        assert_eq!(client.delete(&path).await.status, 200);
    };
    for id in ["a", "b", "c", "d"] {
        import(&client, id).await;
    }
    for id in ["a", "b", "c"] {
        delete(&client, id).await;
    }
    until("the revocations", async || {
        operations(&client, "connection:revoke").await.len() == 3
    })
    .await;

    let nameless = client.post("/connections/purge", &json!({"connection_id": "a"})).await;
    assert_eq!((nameless.status, nameless.error_code().as_str()), (400, "invalid_body"));
    let one = Cli::of(&server, &["connection", "purge", "acme", "a", "--json"]).run();
    let purged: Value = serde_json::from_str(&one.stdout).expect("the answer is JSON");
    assert_eq!(
        (&purged["connections"], &purged["integrations"]),
        (&json!(1), &json!(0))
    );
    assert!(
        operations(&client, "connection:delete").await.len() == 3,
        "that it was deleted is known"
    );
    let again = Cli::of(&server, &["connection", "purge", "acme", "a"]).run();
    assert_eq!(
        again.stdout.trim(),
        "Purged 0 connections with 0 rows, and 0 integrations"
    );
    let limited = json!({"name": "limited", "scopes": ["environment:*"], "limits": {"integrations": ["other"]}});
    let made = client.post("/api-keys", &limited).await.ok();
    let limited = client.with_key(made["data"]["key"].as_str());
    assert_eq!(limited.post("/connections/purge", &json!({})).await.status, 403);
    let named = json!({"provider_config_key": "acme"});
    assert_eq!(limited.post("/connections/purge", &named).await.status, 403);
    assert_eq!(client.post("/connections/purge", &named).await.ok()["connections"], 2);

    delete(&client, "d").await;
    until("the revocation", async || told(&upstream, "access-d") == 1).await;
    server.process().kill();
    let server = TestRuntime::new()
        .data(folder.path())
        .environment("NANGO_LIMITS_DELETED_RETENTION_DAYS", "0")
        .start();
    let client = server.client();
    let left = async || {
        let files = std::fs::read_dir(server.data()).expect("the folder can be read");
        let files = files.map(|file| std::fs::read(file.expect("an entry").path()).unwrap_or_default());
        let note = b"note-of-d";
        files
            .flatten()
            .collect::<Vec<u8>>()
            .windows(note.len())
            .filter(|window| window == note)
            .count()
    };
    until("the purge", async || left().await == 0).await;
    assert_eq!(
        client.post("/connections/purge", &json!({})).await.ok()["connections"],
        0
    );
}

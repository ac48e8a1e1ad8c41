//! Installations that begin at the provider: Sentry's, with the paths of its documentation on loopback. Who is awaited is the back end's to
//! say; nobody gets what another one installs.

use bytes::Bytes;
use http::Method;
use nango_runtime_tests::client::{Answer, send};
use nango_runtime_tests::upstream::Received;
use nango_runtime_tests::{
    Client, Database, Reply, Server, TestRuntime, Upstream, for_each_database, node, repository,
};
use ring::hmac;
use serde_json::{Value, json};

const SECRET: &str = "the-secret-of-a-sentry-app";
/// The installation of the documentation.
const INSTALLATION: &str = "a8e5d37a-696c-4c54-adb5-b3f28d64c7de";
const GOOD_CODE: &str = "f3c71b491e3949b6b033ae45312a4fcb";

/// Sentry, as far as installations need it.
fn sentry(request: &Received) -> Reply {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let installation = format!("/api/0/sentry-app-installations/{INSTALLATION}/");
    match (&request.method, request.target.strip_prefix(&installation)) {
        (&Method::POST, Some("authorizations/")) => {
            let grant = match body["grant_type"].as_str() {
                Some("authorization_code") if body["code"] == GOOD_CODE => 1,
                Some("refresh_token") if body["refresh_token"] == "sentry-refresh-token-1" => 2,
                _ => 0,
            };
            let is_client = body["client_id"] == "sentry-client" && body["client_secret"] == SECRET;
            if grant == 0 || !is_client || body.get("redirect_uri").is_some() {
                return Reply::json(403, &json!({"detail": "no"}));
            }
            let granted = json!({
                "id": "38", "token": format!("sentry-access-token-{grant}"), "refreshToken": format!("sentry-refresh-token-{grant}"),
                "dateCreated": "2026-11-27T00:00:00Z", "expiresAt": "2999-01-01T00:00:00Z", "state": null, "application": null,
            });
            Reply::json(201, &granted)
        }
        (&Method::PUT, Some("")) if body["status"] == "installed" => Reply::json(200, &json!({"status": "installed"})),
        _ => Reply::json(200, &json!({"asked_by": request.header("authorization")})),
    }
}

async fn serving(database: &Database, upstream: &Upstream) -> (Server, Client) {
    let path = repository::root().join("runtime/providers/sentry-oauth.yaml");
    let yaml = std::fs::read_to_string(path).expect("an entry");
    let yaml = yaml
        .replace("https://${connectionConfig.hostname}", &upstream.url())
        .replace(
            "https://sentry.io/api/0/sentry",
            &format!("{}/api/0/sentry", upstream.url()),
        );
    let server = database
        .serve(TestRuntime::new().egress_loopback().provider_yaml(&yaml))
        .start();
    let client = server.client();
    let credentials = json!({"type": "OAUTH2", "client_id": "sentry-client", "client_secret": SECRET});
    let integration = json!({"unique_key": "sentry", "provider": "sentry-oauth", "credentials": credentials});
    let _ = client.post("/integrations", &integration).await.ok();
    (server, client)
}

/// The token of a session of a customer, whose back end says which user of Sentry he is.
async fn session(client: &Client, customer: &str, actor: Option<&str>) -> String {
    let mut session = json!({"end_user": {"id": customer}});
    if let Some(actor) = actor {
        session["integrations_config_defaults"] = json!({"sentry": {"connection_config": {"actor": actor}}});
    }
    let opened = client.post("/connect/sessions", &session).await.ok();
    opened["data"]["token"].as_str().expect("a token").to_owned()
}

async fn awaited(client: &Client, token: &str, more: &str) -> Answer {
    let path = format!("/auth/oauth-outbound/sentry?connect_session_token={token}{more}");
    client.with_key(None).post(&path, &json!({})).await
}

/// The webhook that tells that the user has installed the app.
async fn installed(client: &Client, actor: u64, code: &str, secret: &str) -> Answer {
    let body = json!({
        "action": "created", "actor": {"id": actor, "name": "Ann", "type": "user"},
        "data": {"installation": {
            "status": "pending", "organization": {"slug": "test-org"}, "app": {"uuid": "2ebf071f", "slug": "acme"},
            "code": code, "uuid": INSTALLATION,
        }},
        "installation": {"uuid": INSTALLATION},
    });
    let body = body.to_string();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body.as_bytes());
    let signature: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = client
        .with_key(None)
        .request(Method::POST, "/webhook/dev/sentry")
        .header("sentry-hook-resource", "installation")
        .header("sentry-hook-signature", signature)
        .header("content-type", "application/json");
    send(request.body(Bytes::from(body))).await
}

async fn connections(client: &Client) -> Vec<Value> {
    let listed = client.get("/connections").await.ok();
    listed["connections"].as_array().expect("a list").clone()
}

for_each_database!(a_customer_installs_at_the_provider);

async fn a_customer_installs_at_the_provider(database: Database) {
    let upstream = Upstream::handling(sentry).await;
    let (_server, client) = serving(&database, &upstream).await;
    let token = session(&client, "ann", Some("1234567")).await;
    let answer = awaited(&client, &token, "&params[hostname]=us.sentry.io&params[own]=kept")
        .await
        .ok();
    assert_eq!(
        (&answer["providerConfigKey"], &answer["isPending"]),
        (&json!("sentry"), &json!(true))
    );
    let id = answer["connectionId"].as_str().expect("an id").to_owned();
    assert!(
        connections(&client).await.is_empty(),
        "before he has installed it there is none"
    );

    // Somebody else installs; and somebody who is not Sentry says that this one has.
    assert_eq!(installed(&client, 7_654_321, GOOD_CODE, SECRET).await.status, 200);
    assert_eq!(
        installed(&client, 1_234_567, GOOD_CODE, "another-secret").await.status,
        401
    );
    assert!(connections(&client).await.is_empty());

    assert_eq!(installed(&client, 1_234_567, GOOD_CODE, SECRET).await.status, 200);
    let path = format!("/connections/{id}?provider_config_key=sentry&refresh_token=true");
    let shown = client.get(&path).await.ok();
    assert_eq!(shown["end_user"]["id"], "ann", "{shown}");
    assert_eq!(
        shown["connection_config"],
        json!({"hostname": "us.sentry.io", "actor": "1234567", "own": "kept", "installation.uuid": INSTALLATION})
    );
    assert_eq!(shown["credentials"]["access_token"], "sentry-access-token-1");
    assert_eq!(
        shown["credentials"]["expires_at"], "2999-01-01T00:00:00.000Z",
        "{shown}"
    );
    let seen = upstream.received();
    assert!(
        seen.iter().any(|request| request.method == Method::PUT),
        "it is verified there"
    );
    let asked = client.proxy_get("sentry", &id, "/0/organizations/").await.ok();
    assert_eq!(asked["asked_by"], "Bearer sentry-access-token-1");

    // It is refreshed where it was obtained.
    let shown = client.get(&format!("{path}&force_refresh=true")).await.ok();
    assert_eq!(shown["credentials"]["access_token"], "sentry-access-token-2");

    // The same webhook once more finds nobody.
    assert_eq!(installed(&client, 1_234_567, GOOD_CODE, SECRET).await.status, 200);
    assert_eq!(connections(&client).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_what_another_one_installs() {
    let upstream = Upstream::handling(sentry).await;
    let database = Database::sqlite();
    let (_server, client) = serving(&database, &upstream).await;

    // A browser does not say who it is.
    let mallory = session(&client, "mallory", None).await;
    let answer = awaited(&client, &mallory, "&params[actor]=1234567").await;
    assert_eq!(
        (answer.status, answer.error_code().as_str()),
        (400, "invalid_body"),
        "{}",
        answer.text()
    );
    assert!(
        answer.text().contains("is not the browser's to give"),
        "{}",
        answer.text()
    );
    let answer = awaited(&client, &mallory, "").await;
    assert!(
        answer.text().contains("connection_config.actor: is missing"),
        "{}",
        answer.text()
    );
    // What the back end says counts more.
    let mallory = session(&client, "mallory", Some("1")).await;
    let _ = awaited(&client, &mallory, "&params[actor]=1234567").await.ok();
    assert_eq!(installed(&client, 1_234_567, GOOD_CODE, SECRET).await.status, 200);
    assert!(connections(&client).await.is_empty());

    // Whoever is awaited for one customer is not for another; he himself may begin again, and the last time counts.
    let ann = session(&client, "ann", Some("1234567")).await;
    let first = awaited(&client, &ann, "").await.ok();
    let bob = session(&client, "bob", Some("1234567")).await;
    let answer = awaited(&client, &bob, "").await;
    assert_eq!(
        (answer.status, answer.error_code().as_str()),
        (409, "conflict"),
        "{}",
        answer.text()
    );
    let ann = session(&client, "ann", Some("1234567")).await;
    let second = awaited(&client, &ann, "").await.ok();
    assert_ne!(first["connectionId"], second["connectionId"]);

    // A browser's `state` finds nobody who is awaited, and a code that is void makes no connection.
    let page = client.with_key(None).get("/oauth/callback?state=1234567&code=x").await;
    assert_eq!(page.status, 400);
    let answer = installed(&client, 1_234_567, "void", SECRET).await;
    assert_eq!(
        (answer.status, answer.error_code().as_str()),
        (400, "token_err"),
        "{}",
        answer.text()
    );
    assert!(connections(&client).await.is_empty());
    let log = client.logs().await;
    assert!(log.contains("The connection was not created"), "{log}");

    let ann = session(&client, "ann", Some("1234567")).await;
    let third = awaited(&client, &ann, "").await.ok();
    assert_eq!(installed(&client, 1_234_567, GOOD_CODE, SECRET).await.status, 200);
    let made = connections(&client).await;
    assert_eq!(made.len(), 1);
    assert_eq!(made[0]["connection_id"], third["connectionId"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_client_begins_it_and_other_routes_do_not() {
    let upstream = Upstream::handling(sentry).await;
    let database = Database::sqlite();
    let (server, client) = serving(&database, &upstream).await;
    let plain = json!({"unique_key": "plain", "provider": "github", "credentials":
        {"type": "OAUTH2", "client_id": "plain-client", "client_secret": "the-secret-of-another-app"}});
    let _ = client.post("/integrations", &plain).await.ok();
    let defaults = json!({"sentry": {"connection_config": {"actor": "1234567"}}});
    let outbound = json!({"installation": "outbound", "credentials": {}, "params": {"hostname": "de.sentry.io"}});
    let scenario = json!([
        ["open", "open", {"end_user": {"id": "ann"}, "integrations_config_defaults": defaults}],
        ["sentry", "auth", "sentry", outbound],
        ["plain", "auth", "plain", outbound],
    ]);
    let results = node::run(&server, "connect.mjs", &[("SCENARIO", &scenario.to_string())]);
    let begun = &results["sentry"]["returned"];
    assert_eq!(
        (&begun["providerConfigKey"], &begun["isPending"]),
        (&json!("sentry"), &json!(true)),
        "{results}"
    );
    assert_eq!(results["plain"]["type"], "invalid_auth_mode", "{results}");
    assert_eq!(installed(&client, 1_234_567, GOOD_CODE, SECRET).await.status, 200);
    assert_eq!(connections(&client).await[0]["connection_id"], begun["connectionId"]);

    // Nobody is sent there.
    let token = session(&client, "ann", Some("1234567")).await;
    let page = client
        .with_key(None)
        .get(&format!("/oauth/connect/sentry?connect_session_token={token}"))
        .await;
    assert_eq!(page.status, 400);
    assert!(page.text().contains("auth_mode_err"), "{}", page.text());

    // Authorised anew, the connection keeps its name.
    let reconnect = json!({
        "connection_id": begun["connectionId"], "integration_id": "sentry", "end_user": {"id": "ann"},
        "integrations_config_defaults": defaults,
    });
    let opened = client.post("/connect/sessions/reconnect", &reconnect).await.ok();
    let token = opened["data"]["token"].as_str().expect("a token");
    let again = awaited(&client, token, "").await.ok();
    assert_eq!(again["connectionId"], begun["connectionId"]);
    assert_eq!(installed(&client, 1_234_567, GOOD_CODE, SECRET).await.status, 200);
    assert_eq!(connections(&client).await.len(), 1);
}

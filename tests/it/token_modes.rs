//! Connections whose tokens the runtime obtains itself: created from what the user gave, used, renewed; and not created when
//! the provider gives no token. Signed tokens are verified by node's crypto.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use nango_runtime_tests::upstream::Received;
use nango_runtime_tests::{Client, Reply, Server, TestRuntime, Upstream, node};
use serde_json::{Value, json};

use crate::fixture::CONNECTION;

const PAST: &str = "2020-01-01T00:00:00Z";

/// The provider `login` and those beside it, at `url`.
fn providers(url: &str) -> String {
    format!(
        "
login:
  auth_mode: TWO_STEP
  token_url: {url}/login
  token_params: {{name: '${{credentials.username}}', password: '${{credentials.password}}'}}
  token_headers: {{x-tenant: '${{connectionConfig.tenant}}'}}
  additional_steps:
    - token_url: {url}/session/${{step1.ticket}}
      token_request_method: GET
  token_response: {{token: session.token, token_expiration: session.seconds, token_expiration_strategy: expireIn}}
  token_response_headers: [set-cookie]
  proxy: {{base_url: {url}, headers: {{cookie: '${{credentials._cookies}}', x-token: '${{accessToken}}'}}}}
  credentials: {{username: {{type: string}}, password: {{type: string, secret: true}}}}
signed:
  auth_mode: JWT
  signature: {{protocol: RSA}}
  token:
    signing_key: ${{credentials.privateKey}}
    expires_in_ms: 600000
    header: {{alg: RS256, typ: JWT, kid: '${{credentials.keyId}}'}}
    payload: {{iss: '${{credentials.issuer}}', aud: testing, scope: '${{connectionConfig.scope}}'}}
  proxy: {{base_url: {url}}}
  credentials: {{issuer: {{type: string}}, privateKey: {{type: string, secret: true}}, keyId: {{type: string, optional: true}}}}
signed-ec:
  alias: signed
  token:
    signing_key: ${{credentials.privateKey}}
    expires_in_ms: 600000
    header: {{alg: ES256}}
    payload: {{iss: '${{credentials.issuer}}'}}
wsse:
  auth_mode: SIGNATURE
  signature: {{protocol: WSSE}}
  token: {{expires_in_ms: 300000}}
  proxy: {{base_url: {url}, headers: {{x-wsse: '${{accessToken}}'}}}}
app:
  auth_mode: APP
  token_url: {url}/app/installations/${{connectionConfig.installation_id}}/access_tokens
  proxy: {{base_url: {url}}}
bill-like:
  auth_mode: BILL
  token_url: {url}/v3/login
  proxy: {{base_url: {url}, headers: {{sessionid: '${{credentials.session_id}}', devkey: '${{credentials.dev_key}}'}}}}
asserted:
  auth_mode: OAUTH2_CC
  token_url: {url}/oauth/token
  token_request_auth_method: private_key_jwt
  proxy: {{base_url: {url}}}
"
    )
}

/// What all these providers answer. Passwords but `correct-horse` are refused, and repeated.
fn answer(request: &Received, logins: &AtomicUsize) -> Reply {
    let body = String::from_utf8_lossy(&request.body).into_owned();
    match request.target.as_str() {
        "/login" | "/v3/login" if !body.contains("correct-horse") => Reply::json(
            401,
            &json!({"error": "AuthenticationRequired", "message": format!("no user with {body}")}),
        ),
        "/login" => {
            let ticket = logins.fetch_add(1, Ordering::Relaxed) + 1;
            Reply::json(200, &json!({"ticket": ticket}))
        }
        "/v3/login" => Reply::json(200, &json!({"sessionId": "session-id-1", "userId": "user-1"})),
        "/app/installations/77/access_tokens" => Reply::json(
            201,
            &json!({"token": "installation-token-1", "expires_at": "2099-01-01T00:00:00Z"}),
        ),
        "/oauth/token" => Reply::json(200, &json!({"access_token": "asserted-token-1", "expires_in": 3_600})),
        target => match target.strip_prefix("/session/") {
            Some(ticket) => Reply::json(
                200,
                &json!({"session": {"token": format!("token-{ticket}"), "seconds": 7_200}}),
            )
            .header("set-cookie", &format!("sid=cookie-{ticket}; HttpOnly")),
            None => Reply::json(200, &json!({})),
        },
    }
}

/// The providers, a server that knows them, and an integration of `provider` with that name.
async fn serving(provider: &str, credentials: Option<Value>) -> (Upstream, Server, Client) {
    let logins = AtomicUsize::new(0);
    let upstream = Upstream::handling(move |request| answer(request, &logins)).await;
    let server = TestRuntime::new()
        .egress_loopback()
        .provider_yaml(&providers(&upstream.url()))
        .start();
    let client = server.client();
    let integration = json!({"unique_key": provider, "provider": provider, "credentials": credentials});
    let _ = client.post("/integrations", &integration).await.ok();
    (upstream, server, client)
}

/// The request that the upstream got for a call through the proxy.
async fn called(client: &Client, upstream: &Upstream, provider: &str) -> Received {
    let _ = client.proxy_get(provider, CONNECTION, "/me").await.ok();
    let received = upstream.received();
    received
        .into_iter()
        .rfind(|request| request.target == "/me")
        .expect("the call arrives")
}

fn keys(server: &Server) -> Value {
    node::run(server, "jwt.mjs", &[])
}

/// A token's header and claims, once node has verified it.
fn verified(server: &Server, token: &str, public: &Value) -> (Value, Value) {
    let public = public.as_str().expect("a PEM text");
    let read = node::run(server, "jwt.mjs", &[("TOKEN", token), ("PUBLIC_KEY", public)]);
    assert_eq!(read["valid"], true, "{token} is not signed with the key: {read}");
    (read["header"].clone(), read["claims"].clone())
}

fn bearer(request: &Received) -> String {
    let value = request.header("authorization");
    value.strip_prefix("Bearer ").expect("a bearer token").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_becomes_a_token_and_is_repeated() {
    let (upstream, _server, client) = serving("login", None).await;
    let user = json!({"type": "TWO_STEP", "username": "jane", "password": "correct-horse"});
    let made = client.import_connection("login", CONNECTION, user.clone()).await.ok();
    assert_eq!(made["credentials"]["token"], "token-1", "{made}");
    assert_eq!(made["credentials"]["username"], "jane");
    let call = called(&client, &upstream, "login").await;
    assert_eq!(
        (call.header("x-token"), call.header("cookie")),
        ("token-1", "sid=cookie-1")
    );
    assert_eq!(call.header("authorization"), "");

    let path = format!("/connections/{CONNECTION}?provider_config_key=login&force_refresh=true");
    assert_eq!(client.get(&path).await.ok()["credentials"]["token"], "token-2");
    assert_eq!(called(&client, &upstream, "login").await.header("x-token"), "token-2");

    // A token that was obtained elsewhere, and has ended.
    let mut ended = user;
    ended["token"] = "elsewhere".into();
    ended["expires_at"] = PAST.into();
    let _ = client.import_connection("login", CONNECTION, ended).await.ok();
    assert_eq!(called(&client, &upstream, "login").await.header("x-token"), "token-3");
    let log = client.logs().await;
    assert!(!log.contains("correct-horse") && !log.contains("token-3"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_fails_makes_no_connection() {
    let (upstream, _server, client) = serving("login", None).await;
    let with = |credentials: Value| client.import_connection("login", CONNECTION, credentials);
    let refused = with(json!({"type": "TWO_STEP", "username": "jane", "password": "wrong-battery"})).await;
    assert_eq!(
        (refused.status, refused.error_code().as_str()),
        (400, "two_step_credentials_fetch_error")
    );
    let text = refused.text();
    assert!(text.contains("401: AuthenticationRequired"), "{text}");
    assert!(!text.contains("wrong-battery"), "a secret is repeated: {text}");
    let missing = with(json!({"type": "TWO_STEP", "username": "jane"})).await;
    assert_eq!((missing.status, missing.error_code().as_str()), (400, "invalid_body"));
    assert!(
        missing.text().contains("credentials.password: is missing"),
        "{}",
        missing.text()
    );
    assert_eq!(upstream.received().len(), 1, "what is missing is not asked for");
    let shown = client.get("/connections").await.ok();
    assert_eq!(shown["connections"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_signed_and_verify() {
    let (upstream, server, client) = serving("signed", None).await;
    let keys = keys(&server);
    for (form, private) in [("PKCS #8", &keys["rsa"]["private"]), ("PKCS #1", &keys["rsa"]["pkcs1"])] {
        let user = json!({"type": "JWT", "issuer": "me", "privateKey": private});
        let made = client.import_connection("signed", CONNECTION, user).await.ok();
        assert!(made["credentials"]["expires_at"].is_string(), "{form}: {made}");
        let token = bearer(&called(&client, &upstream, "signed").await);
        assert_eq!(made["credentials"]["token"], token.as_str());
        let (header, claims) = verified(&server, &token, &keys["rsa"]["public"]);
        assert_eq!(header, json!({"alg": "RS256", "typ": "JWT"}), "{form}");
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!("me"), &json!("testing")));
        let lifetime_s = claims["exp"]
            .as_i64()
            .zip(claims["iat"].as_i64())
            .map(|(exp, iat)| exp - iat);
        assert_eq!(lifetime_s, Some(600));
    }
    // One that has ended is signed anew.
    let ended = json!({"type": "JWT", "issuer": "me", "privateKey": keys["rsa"]["private"], "token": "old", "expires_at": PAST});
    let _ = client.import_connection("signed", CONNECTION, ended).await.ok();
    let _ = verified(
        &server,
        &bearer(&called(&client, &upstream, "signed").await),
        &keys["rsa"]["public"],
    );

    let _ = client.create_integration("signed-ec", "signed-ec").await.ok();
    let user = json!({"type": "JWT", "issuer": "me", "privateKey": keys["ec"]["private"]});
    let _ = client.import_connection("signed-ec", CONNECTION, user).await.ok();
    let token = bearer(&called(&client, &upstream, "signed-ec").await);
    assert_eq!(
        verified(&server, &token, &keys["ec"]["public"]).0,
        json!({"alg": "ES256"})
    );
    let user = json!({"type": "JWT", "issuer": "me", "privateKey": "no key"});
    let refused = client.import_connection("signed-ec", "other", user).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("no PEM text"), "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_name_token_goes_where_the_provider_wants_it() {
    let (upstream, _server, client) = serving("wsse", None).await;
    let user = json!({"type": "SIGNATURE", "username": "acme001", "password": "s3cret"});
    let _ = client.import_connection("wsse", CONNECTION, user).await.ok();
    let call = called(&client, &upstream, "wsse").await;
    let value = call.header("x-wsse");
    assert!(
        value.starts_with("UsernameToken Username=\"acme001\", PasswordDigest=\""),
        "{value}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_gets_a_token_for_its_installation() {
    let (upstream, server, client) = serving("app", None).await;
    let keys = keys(&server);
    let installation = json!({"type": "APP", "app_id": 1234, "installation_id": 77});
    let refused = client.import_connection("app", CONNECTION, installation.clone()).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().contains("has no `app_id` and `private_key`"),
        "{}",
        refused.text()
    );

    let app =
        json!({"type": "APP", "app_id": "1234", "app_link": "https://a.test", "private_key": keys["rsa"]["pkcs1"]});
    let path = "/integrations/app";
    let _ = client
        .json(Method::PATCH, path, &json!({"credentials": app}))
        .await
        .ok();
    let made = client.import_connection("app", CONNECTION, installation).await.ok();
    assert_eq!(made["credentials"]["access_token"], "installation-token-1");
    assert_eq!(
        made["connection_config"],
        json!({"app_id": "1234", "installation_id": "77"})
    );
    assert_eq!(bearer(&called(&client, &upstream, "app").await), "installation-token-1");
    let received = upstream.received();
    let asked = received.iter().find(|request| request.target.starts_with("/app/"));
    let token = bearer(asked.expect("the installation's token is asked for"));
    let (_, claims) = verified(&server, &token, &keys["rsa"]["public"]);
    assert_eq!(claims["iss"], "1234");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_opened_with_user_organization_and_developer_key() {
    let (upstream, _server, client) = serving("bill-like", None).await;
    let user = json!({"type": "BILL", "username": "u", "password": "correct-horse", "organization_id": "o", "dev_key": "developer-1"});
    let made = client.import_connection("bill-like", CONNECTION, user).await.ok();
    assert_eq!(made["credentials"]["user_id"], "user-1");
    let call = called(&client, &upstream, "bill-like").await;
    assert_eq!(
        (call.header("sessionid"), call.header("devkey")),
        ("session-id-1", "developer-1")
    );
    let login: Value = serde_json::from_slice(&upstream.received()[0].body).expect("the login is JSON");
    assert_eq!(
        login,
        json!({"username": "u", "password": "correct-horse", "organizationId": "o", "devKey": "developer-1"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_signs_its_assertion() {
    let (upstream, server, client) = serving("asserted", None).await;
    let keys = keys(&server);
    let jwk = keys["rsa"]["jwk"].to_string();
    let client_of_ours =
        json!({"type": "OAUTH2_CC", "client_id": "client-1", "client_secret": "", "client_private_key": jwk});
    let _ = client
        .import_connection("asserted", CONNECTION, client_of_ours)
        .await
        .ok();
    assert_eq!(
        bearer(&called(&client, &upstream, "asserted").await),
        "asserted-token-1"
    );
    let body = String::from_utf8_lossy(&upstream.received()[0].body).into_owned();
    let assertion = body.split('&').find_map(|pair| pair.strip_prefix("client_assertion="));
    let (header, claims) = verified(&server, assertion.expect("an assertion"), &keys["rsa"]["public"]);
    assert_eq!(header, json!({"alg": "RS256", "kid": "key-1", "typ": "JWT"}));
    assert_eq!(claims["aud"], format!("{}/oauth/token", upstream.url()));
}

/// (Nango compatibility: the codes.)
#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_key_that_signs_is_told_so() {
    let (_upstream, _server, client) = serving("asserted", None).await;
    let opened = client
        .post("/connect/sessions", &json!({"end_user": {"id": "u1"}}))
        .await
        .ok();
    let token = opened["data"]["token"].as_str().expect("a token");
    let path = format!("/oauth2/auth/asserted?connect_session_token={token}");
    for (key, code) in [
        (Value::Null, "missing_client_private_key"),
        (
            json!("-----BEGIN PRIVATE KEY-----"),
            "invalid_client_private_key_format",
        ),
        (json!("{\"kty\": \"RSA\"}"), "invalid_client_private_key_format"),
    ] {
        let given = json!({"client_id": "client-1", "client_secret": "", "client_private_key": key});
        let refused = client.with_key(None).post(&path, &given).await;
        assert_eq!(
            (refused.status, refused.error_code().as_str()),
            (400, code),
            "{}",
            refused.text()
        );
    }
}

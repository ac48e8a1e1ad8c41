//! The connect page and the final pages of popups in a real browser, framed by the published frontend SDK.

use nango_runtime_tests::oidc::{self, Oidc};
use nango_runtime_tests::{Client, Reply, Server, TestRuntime, Upstream, chromium};
use serde_json::{Value, json};

/// A server with one integration for each kind of form. Keyed ones take `right-key` only.
async fn serving() -> (Server, Client, Oidc, Upstream) {
    let upstream = Upstream::handling(|request| {
        if request.header("authorization") == "Bearer right-key" {
            Reply::json(200, &json!({"ok": true}))
        } else {
            Reply::json(401, &json!({"message": "<b>Bad</b> credentials"}))
        }
    })
    .await;
    let oidc = Oidc::start();
    let url = upstream.url();
    let (plain, mcp) = (oidc::providers(&oidc.url, &oidc.url), oidc::mcp_providers(&oidc.url));
    let yaml = format!("{plain}{mcp}{}", providers(&url));
    let server = TestRuntime::new().egress_loopback().provider_yaml(&yaml).start();
    let client = server.client();
    let callback = format!("{}/oauth/callback", server.base_url());
    let (id, secret) = oidc.register(&callback).await;
    let app = json!({"type": "OAUTH2", "client_id": id, "client_secret": secret});
    for integration in [
        json!({"unique_key": "keyed", "provider": "keyed", "display_name": "Keyed"}),
        json!({"unique_key": "shop", "provider": "shop", "display_name": "Shop & Söhne <b>"}),
        json!({"unique_key": "open", "provider": "open", "display_name": "Open data"}),
        json!({"unique_key": "every-field", "provider": "every-field", "display_name": "Every field"}),
        json!({"unique_key": "oidc", "provider": "oidc", "display_name": "OIDC", "credentials": app}),
        json!({"unique_key": "mcp-any", "provider": "mcp-any", "display_name": "Any server"}),
        json!({"unique_key": "long", "provider": "open",
            "display_name": "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"}),
    ] {
        let _ = client.post("/integrations", &integration).await.ok();
    }
    (server, client, oidc, upstream)
}

fn providers(base_url: &str) -> String {
    let proxy = format!(
        "proxy:
    base_url: {base_url}
    headers:
      authorization: Bearer ${{apiKey}}
    verification:
      method: GET
      endpoints: [/me]"
    );
    format!(
        r#"
keyed:
  display_name: Keyed
  auth_mode: API_KEY
  {proxy}
shop:
  display_name: Shop
  auth_mode: API_KEY
  {proxy}
  connection_config:
    subdomain:
      type: string
      title: Subdomain
      prefix: https://
      suffix: .shop.test
      pattern: ^[a-z0-9-]+$
open:
  display_name: Open data
  auth_mode: NONE
  proxy:
    base_url: {base_url}
every-field:
  display_name: Every field
  auth_mode: API_KEY
  docs_connect: https://docs.example.com/connect
  {proxy}
  connection_config:
    region:
      type: string
      title: Region
      enum: [us, eu]
      order: 1
      warnings:
        eu: Accounts of the EU have a tenant of their own.
    tenant:
      type: string
      title: EU tenant
      pattern: ^eu-[0-9]+$
      example: eu-12
      order: 2
      visible_when: {{field: region, equals: eu}}
    host:
      type: string
      title: Host
      description: Where <script>alert(1)</script> your files are
      format: hostname
      doc_section: '#host'
      order: 3
    version:
      type: string
      title: Version
      default_value: v1
      hidden: true
    learned:
      type: string
      title: Learned
      automated: true
    note:
      type: string
      title: Note
      optional: true
    private_key:
      type: string
      title: Private key
      secret: true
      optional: true
  credentials:
    apiKey:
      type: string
      title: Secret
      description: From the settings of your account
"#
    )
}

/// Nothing went wrong in the browser, and nothing but these origins was asked.
#[track_caller]
fn was_quiet(seen: &Value, server: &Server) {
    assert_eq!(seen["browserFaults"], json!([]));
    let strangers: Vec<&str> = seen["origins"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter(|origin| *origin != server.base_url() && !origin.starts_with("http://localhost:"))
        .collect();
    assert_eq!(strangers, Vec::<&str>::new());
}

async fn connections(client: &Client) -> Vec<Value> {
    let listed = client.get("/connections").await.ok();
    listed["connections"].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_takes_a_key_when_the_provider_does() {
    let (server, client, _oidc, _upstream) = serving().await;
    let seen = chromium::connect_page(&server, "link");
    was_quiet(&seen, &server);
    assert_eq!(
        seen["address"],
        format!("{}/connect", server.base_url()),
        "without the token"
    );
    assert_eq!(seen["missing"], json!(["Fill in “API key”."]));
    assert_eq!(seen["focused"], "credentials.apiKey");
    assert_eq!(seen["isAlertFocused"], "alert");
    assert_eq!(
        seen["refusal"],
        "Keyed did not accept these details. Check them and try again."
    );
    let details = seen["details"].as_str().expect("text");
    assert!(
        details.contains("connection_test_failed") && details.contains("401"),
        "{details}"
    );
    let connections = connections(&client).await;
    assert_eq!(connections.len(), 1, "{connections:?}");
    assert_eq!(connections[0]["tags"], json!({"plan": "pro"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_sdk_frames_it() {
    let (server, client, _oidc, _upstream) = serving().await;
    let seen = chromium::connect_page(&server, "frame");
    was_quiet(&seen, &server);
    assert_eq!(seen["choices"], json!(["KKeyed", "OOpen data", "SShop & Söhne <b>"]));
    assert_eq!(seen["title"], "Connect an account");
    let connection = &connections(&client).await[0];
    assert_eq!(
        seen["events"],
        json!([
            {"type": "ready"},
            {"type": "connect", "payload": {
                "providerConfigKey": "shop", "connectionId": connection["connection_id"], "isPending": false,
            }},
            {"type": "close"},
        ])
    );
    let path = format!(
        "/connections/{}?provider_config_key=shop",
        connection["connection_id"].as_str().expect("an id")
    );
    let shown = client.get(&path).await.ok();
    assert_eq!(shown["connection_config"]["subdomain"], "acme");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_goes_through_the_pages_of_the_provider() {
    let (server, client, oidc, _upstream) = serving().await;
    let seen = chromium::connect_page(&server, "oauth");
    assert_eq!(seen["browserFaults"], json!([]));
    let connection = &connections(&client).await[0];
    assert_eq!(
        seen["events"],
        json!([
            {"type": "ready"},
            {"type": "connect", "payload": {
                "providerConfigKey": "oidc", "connectionId": connection["connection_id"], "isPending": false,
            }},
        ])
    );
    assert_eq!(oidc.stats().await["authorization_code"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_names_the_server() {
    let (server, client, oidc, _upstream) = serving().await;
    let seen = chromium::connect_page(&server, "oauth_named");
    assert_eq!(seen["browserFaults"], json!([]));
    assert_eq!(seen["missing"], json!(["Fill in “Server”."]));
    let refusal = seen["refusal"].as_str().expect("text");
    assert!(refusal.starts_with("This server cannot be connected."), "{refusal}");
    let types: Vec<&Value> = seen["events"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|event| &event["type"])
        .collect();
    assert_eq!(types, ["ready", "error", "connect"]);
    // The other client is that of the integration `oidc`.
    assert_eq!(oidc.stats().await["registrations"], 2);
    let listed = connections(&client).await;
    assert_eq!(listed[0]["provider_config_key"], "mcp-any");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_to_whom_it_concerns() {
    let (server, client, _oidc, _upstream) = serving().await;
    let seen = chromium::connect_page(&server, "oauth_refused");
    assert_eq!(seen["browserFaults"], json!([]));
    let refusal = seen["refusal"].as_str().expect("text");
    assert!(refusal.starts_with("Access was not granted."), "{refusal}");
    let event = &seen["events"][1];
    assert_eq!(
        (&event["type"], &event["payload"]["errorType"]),
        (&json!("error"), &json!("callback_err"))
    );
    let message = event["payload"]["errorMessage"].as_str().expect("text");
    assert!(message.contains("access_denied"), "{message}");
    // An opener of another origin hears no word of the provider.
    assert_eq!(
        seen["heard"],
        json!([{
            "type": "nango_oauth_callback_error",
            "payload": {"errorType": "callback_err", "message": "Access was not granted"},
        }])
    );
    let text = seen["text"].as_str().expect("text");
    assert!(text.contains("access_denied"), "{text}");
    assert_eq!(seen["address"], format!("{}/oauth/callback", server.base_url()));
    assert_eq!(seen["faults"], json!([]), "of accessibility");
    assert!(connections(&client).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_or_blocked_window_is_noticed() {
    let (server, _client, _oidc, _upstream) = serving().await;
    let seen = chromium::connect_page(&server, "oauth_closed");
    assert_eq!(seen["browserFaults"], json!([]));
    assert_eq!(seen["events"][1]["payload"]["errorType"], "window_closed");
    assert_eq!(seen["blocked"][1]["payload"]["errorType"], "blocked_by_browser");
    assert_eq!(seen["open"], 0, "a window that was cancelled is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_over_is_said_and_replaced() {
    let (server, client, _oidc, _upstream) = serving().await;
    let seen = chromium::connect_page(&server, "expired");
    was_quiet(&seen, &server);
    assert_eq!(seen["events"][1]["type"], "error");
    assert_eq!(
        seen["events"][1]["payload"]["errorType"],
        "unknown_connect_session_token"
    );
    assert_eq!(seen["without"], "Nothing to see here yet");
    assert!(connections(&client).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyboard_is_enough() {
    let (server, client, _oidc, _upstream) = serving().await;
    let seen = chromium::connect_page(&server, "keyboard");
    was_quiet(&seen, &server);
    assert_eq!(
        seen["stops"],
        json!(["Connect an account", "KKeyed", "OOpen data", "Close", "KKeyed"])
    );
    assert_eq!(seen["headings"][0], "Connect Open data");
    assert_eq!(seen["events"][2]["type"], "close");
    assert_eq!(connections(&client).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_what_the_data_says() {
    let (server, client, _oidc, _upstream) = serving().await;
    let seen = chromium::connect_page(&server, "fields");
    was_quiet(&seen, &server);
    assert_eq!(
        seen["labels"],
        json!([
            "Region",
            "EU tenant",
            "Host",
            "Secret",
            "Note optional",
            "Private key optional"
        ])
    );
    assert_eq!(
        seen["missing"],
        json!(["Choose a value for “Region”.", "Fill in “Host”.", "Fill in “Secret”."])
    );
    assert_eq!(seen["warning"], "Accounts of the EU have a tenant of their own.");
    assert_eq!(seen["tidied"], "files.example.com");
    assert_eq!((&seen["hidden"], &seen["shown"]), (&json!("password"), &json!("text")));
    assert_eq!(
        seen["wrong"],
        json!(["This does not look right. It should be like eu-12."])
    );
    assert_eq!(
        seen["sent"],
        json!({
            "params": {
                "params[region]": "eu", "params[tenant]": "eu-12", "params[host]": "files.example.com",
                "params[version]": "v1", "params[private_key]": "-----BEGIN KEY-----\nabc\n-----END KEY-----",
            },
            "body": {"apiKey": "right-key"},
        })
    );
    assert_eq!(connections(&client).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_can_use_it() {
    let (server, _client, _oidc, _upstream) = serving().await;
    let seen = chromium::connect_page(&server, "accessibility");
    was_quiet(&seen, &server);
    let found = seen["found"].as_object().expect("views");
    assert_eq!(found.len(), 28, "seven views, two schemes, two widths");
    for (view, faults) in found {
        assert_eq!(*faults, json!([]), "{view}");
    }
}

#[tokio::test]
async fn who_may_frame_it_is_a_setting() {
    let server = TestRuntime::new()
        .environment("NANGO_CONNECT_FRAME_ANCESTORS", "https://app.example.com")
        .start();
    for path in ["/connect", "/connect/"] {
        let page = server.client().get(path).await;
        assert_eq!(page.status, 200);
        let policy = page.header("content-security-policy").expect("a policy");
        assert!(policy.ends_with("frame-ancestors https://app.example.com"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_told_to_install_at_the_provider() {
    let (server, client, _oidc, _upstream) = serving().await;
    let app = json!({"type": "OAUTH2", "client_id": "sentry-client", "client_secret": "the-secret-of-a-sentry-app"});
    let integration =
        json!({"unique_key": "sentry", "provider": "sentry-oauth", "display_name": "Sentry", "credentials": app});
    let _ = client.post("/integrations", &integration).await.ok();
    let seen = chromium::connect_page(&server, "outbound");
    assert_eq!(seen["browserFaults"], json!([]));
    assert_eq!(seen["lead"], "Continue here first, then install our app at Sentry.");
    assert_eq!(seen["labels"], json!(["Host"]), "nobody is asked who he is");
    let events = seen["events"].as_array().expect("events");
    let connected = events.iter().find(|event| event["type"] == "connect");
    let payload = &connected.expect("it is told")["payload"];
    assert_eq!(
        (&payload["providerConfigKey"], &payload["isPending"]),
        (&json!("sentry"), &json!(true))
    );
    // There is no connection until he has.
    assert_eq!(client.get("/connections").await.ok()["connections"], json!([]));
}

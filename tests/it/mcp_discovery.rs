//! Servers that customers name, and that mean ill: each is refused before anybody is sent anywhere, with words that say why.

use http::Method;
use nango_runtime_tests::oidc;
use nango_runtime_tests::upstream::Received;
use nango_runtime_tests::{Browser, Client, Page, Reply, Server, TestRuntime, Upstream};
use serde_json::{Value, json};

/// The documents of the server at `/{case}/mcp`, whose authorization server is `/{case}/as`.
fn answer(request: &Received) -> Reply {
    let url = format!("http://{}", request.header("host"));
    let target = request.target.as_str();
    let well_known = "/.well-known/";
    let (kind, path) = match target.strip_prefix(well_known).and_then(|rest| rest.split_once('/')) {
        Some((kind, path)) => (kind, path),
        None => ("", target.trim_start_matches('/')),
    };
    let case = path.split('/').next().unwrap_or_default();
    let mut resource =
        json!({"resource": format!("{url}/{case}/mcp"), "authorization_servers": [format!("{url}/{case}/as")]});
    let mut server = json!({
        "issuer": format!("{url}/{case}/as"), "authorization_endpoint": format!("{url}/{case}/auth"),
        "token_endpoint": format!("{url}/{case}/token"), "registration_endpoint": format!("{url}/{case}/register"),
        "code_challenge_methods_supported": ["S256"],
    });
    match (case, kind) {
        ("private", _) => resource["authorization_servers"] = json!(["https://10.1.2.3/as"]),
        ("metadata-service", "") => {
            let challenge = "Bearer resource_metadata=\"http://169.254.169.254/latest/meta-data\"";
            return Reply::status(401).header("www-authenticate", challenge);
        }
        ("private-token", _) => server["token_endpoint"] = json!("https://192.168.0.1/token"),
        ("issuer", _) => server["issuer"] = json!("https://bank.example.com"),
        ("huge", "oauth-authorization-server") => return Reply::status(200).body("x".repeat(64 << 10)).repeat(64),
        ("downgrade", _) => server["token_endpoint"] = json!("http://as.example.com/token"),
        ("redirect", "oauth-authorization-server" | "openid-configuration") => {
            return Reply::status(302).header(
                "location",
                &format!("{url}/.well-known/oauth-authorization-server/good/as"),
            );
        }
        ("resource", _) => resource["resource"] = json!("https://bank.example.com/mcp"),
        ("no-pkce", _) => server["code_challenge_methods_supported"] = Value::Null,
        ("no-registration", _) => server["registration_endpoint"] = Value::Null,
        ("private-registration", _) => server["registration_endpoint"] = json!("https://172.16.0.9/register"),
        ("script", _) => server["authorization_endpoint"] = json!("javascript:alert(1)"),
        ("nothing", _) => return Reply::status(404),
        ("openid", "oauth-authorization-server") => return Reply::status(404),
        _ => {}
    }
    match kind {
        "oauth-protected-resource" => Reply::json(200, &resource),
        "oauth-authorization-server" | "openid-configuration" => Reply::json(200, &server),
        _ if target.ends_with("/register") => Reply::json(201, &json!({"client_id": "registered"})),
        _ => Reply::status(404),
    }
}

async fn serving() -> (Server, Client, Upstream) {
    let upstream = Upstream::handling(answer).await;
    let yaml = oidc::mcp_providers(&upstream.url());
    let server = TestRuntime::new().egress_loopback().provider_yaml(&yaml).start();
    let client = server.client();
    let integration = json!({"unique_key": "mcp-any", "provider": "mcp-any"});
    let _ = client.post("/integrations", &integration).await.ok();
    (server, client, upstream)
}

async fn begin(client: &Client, server: &str) -> Page {
    let opened = client
        .post("/connect/sessions", &json!({"end_user": {"id": "u1"}}))
        .await
        .ok();
    let token = opened["data"]["token"].as_str().expect("a token");
    let base = client.base_url();
    let url = format!("{base}/oauth/connect/mcp-any?connect_session_token={token}&params[mcp_server_url]={server}");
    Browser::new().step(&url, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_servers_are_refused() {
    let (_server, client, upstream) = serving().await;
    for (case, error_type, part) in [
        ("private", "discovery_err", "10.1.2.3 is a private address"),
        ("metadata-service", "discovery_err", "169.254.169.254 is a link-local"),
        ("private-token", "discovery_err", "192.168.0.1 is a private address"),
        (
            "private-registration",
            "discovery_err",
            "172.16.0.9 is a private address",
        ),
        ("issuer", "discovery_err", "says that its issuer is"),
        ("huge", "discovery_err", "larger than 262144 bytes"),
        ("downgrade", "discovery_err", "it must be https"),
        ("redirect", "discovery_err", "redirects are not followed"),
        ("resource", "discovery_err", "which is not the server"),
        ("no-pkce", "discovery_err", "PKCE with S256"),
        ("script", "discovery_err", "`authorization_endpoint`"),
        ("nothing", "discovery_err", "nothing says how to log in"),
        ("no-registration", "client_registration_err", "/oauth/callback"),
    ] {
        let page = begin(&client, &format!("{}/{case}/mcp", upstream.url())).await;
        let told = page.data("errorType");
        assert_eq!(
            (page.status, told.as_deref()),
            (400, Some(error_type)),
            "{case}: {}",
            page.text
        );
        assert!(page.text.contains(part), "{case}: {}", page.text);
    }
    for (address, part) in [
        ("http://mcp.example.com/mcp", "it must be https"),
        ("https://127.0.0.2.nip.invalid/mcp", "nothing says how to log in"),
        ("https://[::ffff:10.0.0.1]/mcp", "a private address"),
        ("https://user:pw@mcp.example.com/", "it holds a user name or password"),
    ] {
        let page = begin(&client, address).await;
        assert_eq!(
            page.data("errorType").as_deref(),
            Some("discovery_err"),
            "{address}: {}",
            page.text
        );
        assert!(page.text.contains(part), "{address}: {}", page.text);
    }
    let logged = client.logs().await;
    assert!(
        logged.contains("auth:create_connection") && logged.contains("10.1.2.3 is a private address"),
        "{logged}"
    );
    let listed = client.get("/connections").await.ok();
    assert_eq!(listed["connections"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_servers_are_found_in_each_place() {
    let (_server, client, upstream) = serving().await;
    for case in ["good", "openid"] {
        let page = begin(&client, &format!("{}/{case}/mcp", upstream.url())).await;
        assert_eq!(page.status, 302, "{case}: {}", page.text);
        let location = page.location().expect("a place");
        assert!(
            location.starts_with(&format!("{}/{case}/auth?", upstream.url())),
            "{location}"
        );
        assert_eq!(page.parameter("client_id").as_deref(), Some("registered"));
        assert_eq!(page.parameter("code_challenge_method").as_deref(), Some("S256"));
    }
    // The integration's own client goes to servers that register none; its secret does not.
    let app = json!({"credentials": {"type": "MCP_OAUTH2_GENERIC", "client_id": "own", "client_secret": "own-s3cret"}});
    let _ = client.json(Method::PATCH, "/integrations/mcp-any", &app).await.ok();
    let page = begin(&client, &format!("{}/no-registration/mcp", upstream.url())).await;
    assert_eq!(page.parameter("client_id").as_deref(), Some("own"), "{}", page.text);
    for request in upstream.received() {
        assert!(
            !String::from_utf8_lossy(&request.body).contains("own-s3cret"),
            "{}",
            request.target
        );
    }
}

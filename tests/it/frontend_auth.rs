//! `nango.auth()` of the published frontend SDK in a real browser, and the WebSocket that it waits at.

use nango_runtime_tests::oauth1::{self, OAuth1Server};
use nango_runtime_tests::oidc::{self, Oidc};
use nango_runtime_tests::{Browser, Client, Database, Server, TestRuntime, chromium};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::oauth_flow::at_the_provider;

async fn serving(oidc: &Oidc, more: &str, origins: &str) -> (Server, Client) {
    let yaml = format!("{}{more}", oidc::providers(&oidc.url, &oidc.url));
    let server = TestRuntime::new()
        .egress_loopback()
        .environment("NANGO_CONNECT_ORIGINS", origins)
        .provider_yaml(&yaml)
        .start();
    let client = server.client();
    let (id, secret) = oidc.register(&format!("{}/oauth/callback", server.base_url())).await;
    let app = json!({"type": "OAUTH2", "client_id": id, "client_secret": secret});
    let integration = json!({"unique_key": "oidc", "provider": "oidc", "credentials": app});
    let _ = client.post("/integrations", &integration).await.ok();
    (server, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_connects() {
    let oidc = Oidc::start();
    let (server, client) = serving(&oidc, "", "").await;
    let seen = chromium::frontend_auth(&server, "connects");
    assert_eq!(seen["browserFaults"], json!([]));
    let connected = &seen["outcome"]["connected"];
    assert_eq!(connected["providerConfigKey"], "oidc", "{seen}");
    let listed = client.get("/connections").await.ok();
    assert_eq!(listed["connections"][0]["connection_id"], connected["connectionId"]);
    assert_eq!(seen["types"], json!([["connection_ack", "success"]]));
    // Who listens to the popup itself hears it too.
    assert_eq!(seen["heard"], json!(["nango_oauth_callback_success"]));
    assert_eq!(seen["address"], format!("{}/", server.base_url().replace("http", "ws")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_hears_why_not() {
    let oidc = Oidc::start();
    let (server, _client) = serving(&oidc, "", "").await;
    let seen = chromium::frontend_auth(&server, "is_refused");
    assert_eq!(seen["refused"]["type"], "callback_err", "{seen}");
    assert!(
        seen["refused"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("access_denied")),
        "{seen}"
    );
    assert_eq!(seen["unknown"]["type"], "unknown_config_key", "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_page_hears_of_its_own() {
    let (oidc, older) = (Oidc::start(), OAuth1Server::start());
    let (server, client) = serving(&oidc, &older.provider("/request_token", ""), "").await;
    let app = json!({"type": "OAUTH1", "client_id": oauth1::CLIENT_ID, "client_secret": oauth1::CLIENT_SECRET});
    let integration = json!({"unique_key": "older", "provider": "older", "credentials": app});
    let _ = client.post("/integrations", &integration).await.ok();
    let seen = chromium::frontend_auth(&server, "two");
    assert_eq!(seen["one"]["connected"]["providerConfigKey"], "oidc", "{seen}");
    assert_eq!(seen["isSecondWaiting"], true, "{seen}");
    assert_eq!(seen["two"]["connected"]["providerConfigKey"], "older", "{seen}");
}

/// A WebSocket, as far as these tests need one: RFC 6455.
struct Socket(TcpStream);

impl Socket {
    /// Gives the status when it is not 101.
    async fn open(server: &Server, origin: &str) -> Result<Self, u16> {
        let address = server.base_url().replace("http://", "");
        let mut stream = TcpStream::connect(&address).await.expect("the server listens");
        let asked = format!(
            "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {origin}\r\n\r\n"
        );
        stream.write_all(asked.as_bytes()).await.expect("it takes a request");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("it answers"));
        }
        let head = String::from_utf8(head).expect("text");
        let status: u16 = head
            .split(' ')
            .nth(1)
            .and_then(|text| text.parse().ok())
            .expect("a status");
        if status == 101 { Ok(Self(stream)) } else { Err(status) }
    }

    /// The next message: its kind and what is in it. Pings are passed over.
    async fn next(&mut self) -> (u8, Vec<u8>) {
        loop {
            let kind = self.0.read_u8().await.expect("a frame") & 0x0f;
            let mut length = u64::from(self.0.read_u8().await.expect("a length"));
            if length == 126 {
                length = u64::from(self.0.read_u16().await.expect("a length"));
            }
            let mut payload = vec![0; usize::try_from(length).expect("a length")];
            let _ = self.0.read_exact(&mut payload).await.expect("the frame's rest");
            if kind != 9 {
                return (kind, payload);
            }
        }
    }

    async fn json(&mut self) -> Value {
        let (kind, payload) = self.next().await;
        assert_eq!(kind, 1, "a text");
        serde_json::from_slice(&payload).expect("JSON")
    }

    /// The code that it was closed with.
    async fn closed(&mut self) -> u16 {
        let (kind, payload) = self.next().await;
        assert_eq!(kind, 8, "a close");
        u16::from_be_bytes([payload[0], payload[1]])
    }

    async fn id(&mut self) -> String {
        let welcome = self.json().await;
        assert_eq!(welcome["message_type"], "connection_ack");
        welcome["ws_client_id"].as_str().expect("an id").to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_told_once_and_takes_nothing() {
    let oidc = Oidc::start();
    let (server, client) = serving(&oidc, "", "").await;
    let mut socket = Socket::open(&server, "https://any.test").await.expect("a socket");
    let mut other = Socket::open(&server, "https://any.test").await.expect("a socket");
    let (id, others) = (socket.id().await, other.id().await);
    assert!(id.len() >= 43 && id != others);

    // The state of an authorization that was begun with the id, with the provider's refusal.
    let opened = client
        .post("/connect/sessions", &json!({"end_user": {"id": "u1"}}))
        .await
        .ok();
    let token = opened["data"]["token"].as_str().expect("a token");
    let base = client.base_url();
    let mut browser = Browser::new();
    let begun = browser
        .step(
            &format!("{base}/oauth/connect/oidc?connect_session_token={token}&ws_client_id={id}"),
            None,
        )
        .await;
    let state = begun.parameter("state").expect("a state");
    let page = browser
        .open(&format!(
            "{base}/oauth/callback?state={state}&error=access_denied&ws_client_id={others}"
        ))
        .await;
    assert_eq!(page.status, 400);
    let told = socket.json().await;
    assert_eq!(
        (&told["message_type"], &told["error_type"]),
        (&json!("error"), &json!("callback_err"))
    );
    assert_eq!(socket.closed().await, 1000);

    // The other is told nothing of it. Whoever says something is sent away.
    let masked = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
    other.0.write_all(&masked).await.expect("a message");
    assert_eq!(other.closed().await, 1008);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_are_sent_away() {
    let oidc = Oidc::start();
    let (server, client) = serving(&oidc, "", "https://app.test,http://localhost:5173").await;
    assert!(Socket::open(&server, "https://app.test").await.is_ok());
    for origin in [
        "https://evil.test",
        "null",
        "https://app.test.evil.test",
        "http://localhost:5174",
    ] {
        assert_eq!(Socket::open(&server, origin).await.err(), Some(403), "{origin}");
    }
    // Who only looks sees that there is nothing.
    assert_eq!(client.get("/").await.status, 404);
}

/// A page waits at one process, and its popup begins and ends at the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_hears_of_what_happens_at_another_process() {
    let oidc = Oidc::start();
    let database = Database::postgres().await;
    let yaml = oidc::providers(&oidc.url, &oidc.url);
    let node = || {
        database
            .serve(TestRuntime::new().egress_loopback().provider_yaml(&yaml))
            .start()
    };
    let (waits, acts) = (node(), node());
    let client = acts.client();
    let (id, secret) = oidc.register(&format!("{}/oauth/callback", acts.base_url())).await;
    let app = json!({"type": "OAUTH2", "client_id": id, "client_secret": secret});
    let integration = json!({"unique_key": "oidc", "provider": "oidc", "credentials": app});
    let _ = client.post("/integrations", &integration).await.ok();
    let opened = client
        .post("/connect/sessions", &json!({"end_user": {"id": "u1"}}))
        .await
        .ok();
    let token = opened["data"]["token"].as_str().expect("a token").to_owned();
    let base = acts.base_url().to_owned();
    for (query, expected) in [("&error=access_denied", "error"), ("&code=void", "error")] {
        let mut socket = Socket::open(&waits, "https://any.test").await.expect("a socket");
        let mut other = Socket::open(&waits, "https://any.test").await.expect("a socket");
        let (id, others) = (socket.id().await, other.id().await);
        let mut browser = Browser::new();
        let start = format!("{base}/oauth/connect/oidc?connect_session_token={token}&ws_client_id={id}");
        let begun = browser.step(&start, None).await;
        let state = begun.parameter("state").expect("a state");
        let back = format!("{base}/oauth/callback?state={state}{query}&ws_client_id={others}");
        let page = browser.open(&back).await;
        assert_eq!(page.status, 400, "{}", page.text);
        let told = socket.json().await;
        assert_eq!(told["message_type"], expected, "{told}");
        assert_eq!(socket.closed().await, 1000);
        // The other still waits.
        let masked = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
        other.0.write_all(&masked).await.expect("a message");
        assert_eq!(other.closed().await, 1008);
    }
    // One who has an authorization that comes to its end.
    let mut socket = Socket::open(&waits, "https://any.test").await.expect("a socket");
    let id = socket.id().await;
    let mut browser = Browser::new();
    let start = format!("{base}/oauth/connect/oidc?connect_session_token={token}&ws_client_id={id}");
    let begun = browser.step(&start, None).await;
    let back = at_the_provider(&mut browser, &begun.location().expect("to the provider")).await;
    let page = browser.open(&back.location().expect("back")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let told = socket.json().await;
    assert_eq!(
        (&told["message_type"], &told["connection_id"]),
        (&json!("success"), &json!(page.data("connectionId")))
    );
    // Nothing is left of it.
    let left =
        database.value("SELECT CAST(COUNT(*) AS VARCHAR(20)) FROM authorizations WHERE state_hash LIKE 'page:%:ended'");
    assert_eq!(left.await, "0");
}

//! Ways around what a caller may do that begin with `Base-Url-Override`: a limited key uses none, the token of a connect session
//! none either, and an unlimited key gets the connection's credentials to nobody but the provider and whom the operator allows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use nango_runtime_tests::{Client, Reply, TestRuntime, Upstream};
use serde_json::{Value, json};

use crate::api_keys::{proxy, with_key};
use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, prepared};

/// Somebody who would like the credentials, at an address that nobody allowed.
struct Stranger {
    port: u16,
    visits: Arc<AtomicUsize>,
}

impl Stranger {
    async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.2:0")
            .await
            .expect("a port is free");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let visits = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&visits);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { port, visits }
    }

    /// Overrides that lead to it, or would with a careless reading of URLs; `own` is the provider's host and port.
    fn addresses(&self, own: &str) -> Vec<String> {
        let there = format!("127.0.0.2:{}", self.port);
        let port = self.port;
        vec![
            format!("http://{there}"),
            format!("HTTP://{there}"),
            format!("http://{own}@{there}"),
            format!("http://{own}:x@{there}/"),
            format!("http://{own}%40{there}"),
            format!("http://{own}\\@{there}"),
            format!("http://{there}\\@{own}"),
            format!("http://{there}/@{own}"),
            format!("http://{there}?@{own}"),
            format!("http://{there}#@{own}"),
            format!("http://{there}#{own}"),
            format!("http:///{there}"),
            format!("http:{there}"),
            format!("http:\\\\{there}"),
            format!("//{there}"),
            there.clone(),
            format!("http://2130706434:{port}"),
            format!("http://0x7f000002:{port}"),
            format!("http://0x7F.2:{port}"),
            format!("http://0177.0.0.2:{port}"),
            format!("http://127.2:{port}"),
            format!("http://[::ffff:127.0.0.2]:{port}"),
            format!("http://[::ffff:7f00:2]:{port}"),
            format!("http://127.0.0.2.:{port}"),
            format!("http://127%2e0.0.2:{port}"),
            format!("http://{own} http://{there}"),
            format!("http://{own},http://{there}"),
            format!("http://{own} || http://{there}"),
            format!("http://{own}\thttp://{there}"),
            format!("ftp://{there}"),
            format!("gopher://{there}"),
            "file:///etc/passwd".to_owned(),
            "javascript:alert(1)".to_owned(),
            format!("https://{there}"),
        ]
    }
}

fn own(upstream: &Upstream) -> String {
    upstream.url().trim_start_matches("http://").to_owned()
}

async fn answering() -> Upstream {
    Upstream::replying([Reply::json(200, &json!({}))]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_go_to_no_stranger() {
    let (upstream, stranger) = (answering().await, Stranger::new().await);
    let runtime = TestRuntime::new().argument("--egress-allow").argument("127.0.0.1/32");
    let (_server, client) = prepared(runtime, &upstream.url()).await;
    for address in stranger.addresses(&own(&upstream)) {
        let (status, answer) = proxy(&client, Method::GET, "/x", &[("Base-Url-Override", address.as_str())]).await;
        // A backslash ends the host as a slash does: that one is the provider's own, with an odd path.
        let is_own = address.starts_with(&format!("http://{}\\", own(&upstream)));
        assert_eq!(status, if is_own { 200 } else { 400 }, "{address}: {answer}");
        assert!(!answer.contains(API_KEY), "{address}: {answer}");
    }
    // Nor by way of the path.
    let there = format!("127.0.0.2:{}", stranger.port);
    for path in [
        format!("/http://{there}/x"),
        format!("//{there}/x"),
        format!("/@{there}/x"),
        format!("/\\{there}/x"),
        format!("/%2f{there}/x"),
        format!("/..//{there}/x"),
        format!("/%0d%0aHost:%20{there}/x"),
        format!("/x?url=http://{there}"),
    ] {
        let (status, answer) = proxy(&client, Method::GET, &path, &[]).await;
        assert!(matches!(status, 200 | 400), "{path}: {answer}");
    }
    for request in upstream.received() {
        assert_eq!(request.header("host"), own(&upstream), "{}", request.target);
    }
    assert_eq!(stranger.visits.load(Ordering::Relaxed), 0);
    // What may be used: the provider's own host, however it is spelled.
    let before = upstream.received().len();
    let (host, port) = (own(&upstream), upstream.url());
    let port = port.rsplit_once(':').map_or("", |(_, port)| port);
    for address in [
        format!("HTTP://{host}"),
        format!("http://127.1:{port}/"),
        format!("http://0x7f.1:{port}"),
    ] {
        let (status, answer) = proxy(&client, Method::GET, "/x", &[("Base-Url-Override", address.as_str())]).await;
        assert_eq!(status, 200, "{address}: {answer}");
    }
    assert_eq!(upstream.received().len(), before + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_the_same_host_in_capitals_and_another_one_with_anything_added() {
    let upstream = answering().await;
    let port = upstream
        .url()
        .rsplit_once(':')
        .map_or(String::new(), |(_, port)| port.to_owned());
    let runtime = TestRuntime::new().argument("--egress-allow").argument("loopback");
    let (_server, client) = prepared(runtime, &format!("http://localhost:{port}")).await;
    for host in ["localhost", "LOCALHOST", "LocalHost", "loc%61lhost"] {
        let address = format!("http://{host}:{port}");
        let (status, answer) = proxy(&client, Method::GET, "/x", &[("Base-Url-Override", address.as_str())]).await;
        assert_eq!(status, 200, "{address}: {answer}");
    }
    let before = upstream.received().len();
    for host in [
        "localhost.attacker.test",
        "attackerlocalhost",
        "localhost@attacker.test",
        "attacker.test#.localhost",
        "attacker.test\\.localhost",
        "attacker.test%2f.localhost",
        "attacker.test%23.localhost",
        "attacker.test?.localhost",
        "localhost%00.attacker.test",
    ] {
        let address = format!("http://{host}:{port}");
        let (status, answer) = proxy(&client, Method::GET, "/x", &[("Base-Url-Override", address.as_str())]).await;
        assert_ne!(status, 200, "{address}: {answer}");
    }
    assert_eq!(upstream.received().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_key_uses_no_override_whatever_it_is_limited_to() {
    let (upstream, stranger) = (answering().await, Stranger::new().await);
    let runtime = TestRuntime::new().egress_loopback();
    let (_server, client) = prepared(runtime, &upstream.url()).await;
    let host = own(&upstream);
    let mut addresses = stranger.addresses(&host);
    // The provider's own host lets nobody out of a prefix either: what it is joined with is not what was looked at.
    addresses.extend([
        format!("http://{host}"),
        format!("http://{host}/user?"),
        format!("http://{host}/user#"),
        format!("http://{host}/repos/.."),
        format!("http://{host}/%2e%2e/"),
        format!("HTTP://{host}//"),
        format!("http://{host}/user\\"),
        format!("http://{host}/user%2f"),
    ]);
    for limits in [
        json!({"integrations": [INTEGRATION]}),
        json!({"connections": [CONNECTION]}),
        json!({"methods": ["GET"]}),
        json!({"path_prefixes": ["/repos/"]}),
    ] {
        let limited = with_key(&client, &["environment:proxy"], limits.clone()).await;
        assert_eq!(proxy(&limited, Method::GET, "/repos/a", &[]).await.0, 200, "{limits}");
        let before = upstream.received().len();
        for address in &addresses {
            let (status, answer) = proxy(
                &limited,
                Method::GET,
                "/repos/a",
                &[("Base-Url-Override", address.as_str())],
            )
            .await;
            // What is no URL is refused as that.
            assert!(matches!(status, 400 | 403), "{limits} {address}: {answer}");
        }
        // In capitals, and given twice with the first one empty.
        let url = format!("http://{host}/user?");
        for headers in [
            vec![("BASE-URL-OVERRIDE", url.as_str())],
            vec![("Base-Url-Override", ""), ("Base-Url-Override", url.as_str())],
            vec![("Base-Url-Override", url.as_str()), ("Base-Url-Override", "")],
        ] {
            let (status, answer) = proxy(&limited, Method::GET, "/repos/a", &headers).await;
            let went_its_way = upstream.received().last().is_some_and(|sent| sent.target == "/repos/a");
            assert!(
                matches!(status, 400 | 403) || (status == 200 && went_its_way),
                "{limits} {headers:?}: {answer}"
            );
        }
        let sent = upstream.received();
        assert!(
            sent[before..].iter().all(|request| request.target == "/repos/a"),
            "{limits}: {:?}",
            sent[before..].iter().map(|request| &request.target).collect::<Vec<_>>()
        );
    }
    assert_eq!(stranger.visits.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_session_sends_no_request() {
    let (upstream, stranger) = (answering().await, Stranger::new().await);
    let (_server, client) = prepared(TestRuntime::new().egress_loopback(), &upstream.url()).await;
    let body = json!({"end_user": {"id": "u1"}, "allowed_integrations": [INTEGRATION]});
    let opened = client.post("/connect/sessions", &body).await.ok();
    let token = opened["data"]["token"].as_str().expect("a token").to_owned();
    let browser: Client = client.with_key(Some(&token));
    let there = format!("http://127.0.0.2:{}", stranger.port);
    for (path, headers) in [
        ("/x".to_owned(), vec![]),
        ("/x".to_owned(), vec![("Base-Url-Override", there.as_str())]),
        (format!("/x?connect_session_token={token}"), vec![]),
        ("/x".to_owned(), vec![("Nango-Proxy-Authorization", "Bearer of-my-own")]),
    ] {
        for caller in [&browser, &client.with_key(None)] {
            let (status, answer) = proxy(caller, Method::GET, &path, &headers).await;
            assert_eq!(status, 401, "{path} {headers:?}: {answer}");
        }
    }
    let action = json!({"action_name": "fetch", "input": Value::Null});
    assert_eq!(browser.post("/action/trigger", &action).await.status, 401);
    assert_eq!(upstream.received().len(), 0);
    assert_eq!(stranger.visits.load(Ordering::Relaxed), 0);
}

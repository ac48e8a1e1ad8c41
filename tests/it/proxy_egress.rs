//! Where requests may go, seen from outside: refusals name the setting that lifts them, and no credential follows a redirect to
//! another origin.

use http::Method;
use nango_runtime_tests::client::send;
use nango_runtime_tests::upstream::Received;
use nango_runtime_tests::{Reply, TestRuntime, Upstream};
use serde_json::json;

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, prepared, with_providers, with_upstream};

async fn answering() -> Upstream {
    Upstream::replying([Reply::json(200, &json!({"ok": true}))]).await
}

#[tokio::test]
async fn a_refusal_names_what_allows_it() {
    let upstream = answering().await;
    let (_server, client) = prepared(TestRuntime::new(), &upstream.url()).await;
    let refused = client.proxy_get(INTEGRATION, CONNECTION, "/x").await;
    assert_eq!(
        (refused.status, refused.error_code()),
        (400, "base_url_override_not_allowed".into())
    );
    let message = refused.json()["error"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert_eq!(
        message,
        "requests to \"127.0.0.1\" are refused: 127.0.0.1 is a loopback address; to allow it, start with \
         `--egress-allow loopback` or set `egress_allow = [\"loopback\"]` in the config file"
    );
    assert_eq!(upstream.received().len(), 0);

    let allowed = TestRuntime::new().argument("--egress-allow").argument("loopback");
    let (_server, client) = prepared(allowed, &upstream.url()).await;
    assert_eq!(client.proxy_get(INTEGRATION, CONNECTION, "/x").await.status, 200);
}

#[test]
fn a_network_that_is_none_is_refused_at_the_start() {
    let (code, stderr) = TestRuntime::new()
        .argument("--egress-allow")
        .argument("localhost")
        .fail();
    assert_eq!(code, Some(2), "{stderr}");
    let expected = "the setting `egress_allow` (from --egress-allow) must be a list of networks such as [\"10.0.0.0/8\", \"::1/128\"]";
    assert!(stderr.contains(expected), "{stderr}");
}

#[tokio::test]
async fn each_hop_of_a_redirect_is_checked() {
    let upstream = Upstream::handling(|received| {
        let target = received.target.split_once("?to=").map_or("", |(_, target)| target);
        Reply::status(302).header("location", target)
    })
    .await;
    let (_server, client) = with_upstream(&upstream.url()).await;
    for refused in [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]:1/",
        "http://[::ffff:10.0.0.1]/",
        "http://0x0a.1/",
        "http://0/",
    ] {
        let answer = client
            .proxy_get(INTEGRATION, CONNECTION, &format!("/x?to={refused}"))
            .await;
        let told = format!("{refused}: {}", answer.text());
        assert_eq!(
            (answer.status, answer.error_code()),
            (400, "base_url_override_not_allowed".into()),
            "{told}"
        );
    }
}

/// Whatever of the credentials of [`with_providers`] a request carries.
fn carried(received: &Received) -> bool {
    let text = format!("{} {:?}", received.target, received.headers);
    // The Basic header of `user` and `pass word`.
    [API_KEY, "oauth-access-token-41c9", "dXNlcjpwYXNzIHdvcmQ="]
        .iter()
        .any(|secret| text.contains(secret))
}

#[tokio::test]
async fn no_kind_of_credential_follows_to_another_origin() {
    let other = answering().await;
    let elsewhere = other.url();
    let upstream = Upstream::handling(move |received| {
        // As a careless provider does it, with the query it got.
        let query = received.target.split_once('?').map_or("", |(_, query)| query);
        Reply::status(307).header("location", &format!("{elsewhere}/y?{query}"))
    })
    .await;
    let (_server, client) = with_providers(&upstream.url()).await;
    for integration in ["bearer", "header-key", "query-key", "basic", "oauth"] {
        let request = client.proxy(Method::GET, integration, CONNECTION, "/x?page=2");
        assert_eq!(send(request).await.status, 200, "{integration}");
        let (sent, crossed) = (upstream.received(), other.received());
        let (sent, crossed) = (
            sent.last().expect("it was asked"),
            crossed.last().expect("it was asked"),
        );
        assert!(carried(sent), "{integration} is sent to the provider");
        assert!(
            !carried(crossed),
            "{integration} crossed to another origin: {crossed:?}"
        );
        assert!(
            crossed.target.contains("page=2"),
            "what is no credential stays: {}",
            crossed.target
        );

        let request = client
            .proxy(Method::GET, integration, CONNECTION, "/x?page=2")
            .header("Forward-Headers-On-Redirect", "true");
        assert_eq!(send(request).await.status, 200, "{integration}");
        let crossed = other.received();
        assert!(
            carried(crossed.last().expect("it was asked")),
            "{integration} was to follow"
        );
    }
}

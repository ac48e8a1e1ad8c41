//! Upstreams that want a client certificate.

use serde_json::json;

use super::*;
use crate::credentials::Credentials;
use crate::egress::testing::{CLIENT, CLIENT_KEY, MutualTls, trusting};

fn to(server: &MutualTls, certificate: Option<&str>) -> Target {
    let credentials = json!({
        "type": "OAUTH2_CC", "token": "t0k3n", "client_id": "id", "client_secret": "secret",
        "client_certificate": certificate, "client_private_key": certificate.map(|_| CLIENT_KEY),
    });
    target(provider(&server.url()), Credentials::from_json(&credentials).unwrap())
}

#[tokio::test]
async fn an_upstream_is_shown_the_connections_certificate_and_no_others() {
    let server = MutualTls::answering(r#"{"id": 1}"#).await;
    let mut harness = Harness::new(allowing());
    harness.shared.client.tls = trusting();
    for _ in 0..2 {
        let answer = harness.send(to(&server, Some(CLIENT)), request("/")).await.unwrap();
        assert_eq!(text(answer).await, r#"{"id": 1}"#);
    }
    assert_eq!(server.let_in(), 1, "the connection is kept");

    // Not even over the connection of who has one.
    let nobody = harness.send(to(&server, None), request("/")).await;
    assert!(
        matches!(nobody, Err(ProxyError::Tls { .. } | ProxyError::Reset { .. })),
        "{:?}",
        nobody.err()
    );
    assert_eq!(server.let_in(), 1);
}

#[tokio::test]
async fn a_certificate_is_not_shown_where_a_redirect_leads_to_another_host() {
    let elsewhere = MutualTls::answering("{}").await;
    let other_name = elsewhere.url().replace("127.0.0.1", "localhost");
    for (to_where, is_shown) in [(elsewhere.url(), true), (other_name, false)] {
        let server = MutualTls::redirecting(&to_where).await;
        let mut harness = Harness::new(allowing());
        harness.shared.client.tls = trusting();
        let before = elsewhere.let_in();
        let answer = harness.send(to(&server, Some(CLIENT)), request("/")).await;
        assert_eq!(server.let_in(), 1);
        assert_eq!(
            (answer.is_ok(), elsewhere.let_in() > before),
            (is_shown, is_shown),
            "{to_where}"
        );
    }
}

#[tokio::test]
async fn what_is_no_certificate_is_named() {
    let server = MutualTls::answering("{}").await;
    let harness = Harness::new(allowing());
    let error = harness
        .send(to(&server, Some("s3cret")), request("/"))
        .await
        .err()
        .unwrap();
    assert_eq!(error.code(), "invalid_certificate_or_key_format");
    let told = error.to_string();
    assert!(
        told.starts_with("`credentials.client_certificate` is no certificate in PEM") && !told.contains("s3cret"),
        "{told}"
    );
    let mut needing = to(&server, None);
    Arc::make_mut(&mut needing.provider).json = json!({"require_client_certificate": true});
    let error = harness.send(needing, request("/")).await.err().unwrap();
    assert!(
        error
            .to_string()
            .contains("`credentials.client_certificate` is missing"),
        "{error}"
    );
}

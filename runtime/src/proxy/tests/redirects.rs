//! Redirects, hop by hop, against a server on loopback: what goes along, what stays, what is signed anew.

use serde_json::{Value, json};

use super::super::redirect::{self, NextBody};
use super::super::request::{build, sign_again};
use super::super::testing::{MOMENT, header_template};
use super::*;
use crate::credentials::{Credentials, OAuthClient, Secret};

#[tokio::test]
async fn credentials_do_not_follow_to_another_origin() {
    let other = Upstream::start(vec![reply("200 OK", "", "elsewhere")]).await;
    let location = format!("location: {}/there?token=k-0123\r\n", other.url());
    let upstream = Upstream::start(vec![reply("302 Found", &location, "")]).await;
    let mut provider = provider(&upstream.url());
    let spec = provider.proxy.as_mut().unwrap();
    spec.headers.push(header_template("x-version", "2"));
    let mut request = request("/here");
    request.headers.insert("authorization", "Bearer mine".parse().unwrap());
    let harness = Harness::new(allowing());
    let response = harness
        .send(target(provider, bearer("injected-token")), request)
        .await
        .unwrap();
    assert_eq!(text(response).await, "elsewhere");
    let first = upstream.seen().remove(0);
    assert!(first.contains("authorization: Bearer mine"), "{first}");
    let second = other.seen().remove(0);
    assert!(second.starts_with("GET /there"), "{second}");
    assert!(
        !second.contains("Bearer") && second.contains("x-version: 2"),
        "{second}"
    );
}

#[tokio::test]
async fn redirects_have_an_end() {
    let loops = reply("302 Found", "location: /again\r\n", "");
    let upstream = Upstream::start(vec![loops; 9]).await;
    let harness = Harness::new(allowing());
    let error = harness
        .send(target(provider(&upstream.url()), bearer("t")), request("/"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "too_many_redirects");
    assert_eq!(upstream.seen().len(), 6);
}

/// A target whose requests are signed as a whole.
fn signed(url: &str, credentials: &Value) -> Target {
    let mut target = target(provider(url), Credentials::from_json(credentials).unwrap());
    target.client = Some(OAuthClient {
        client_id: "client".to_owned(),
        client_secret: Secret::new("client-secret".to_owned()),
    });
    target
}

fn oauth1() -> Value {
    json!({"type": "OAUTH1", "oauth_token": "tok", "oauth_token_secret": "tok-secret"})
}

/// As if the second URL had been asked for at once.
#[test]
fn a_signature_is_made_for_each_url() {
    let aws = json!({"type": "AWS_SIGV4", "region": "eu-west-1", "service": "sqs", "access_key_id": "AKID",
        "secret_access_key": "secret", "session_token": "session"});
    for credentials in [oauth1(), aws] {
        let target = signed("https://api.test", &credentials);
        let mut asked = request("/here");
        asked.method = Method::POST;
        asked
            .headers
            .insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        asked.body = Body::Bytes(Bytes::from_static(b"a=1"));
        let mut hop = build(&target, &asked, &options(), MOMENT).unwrap();
        let first = hop.headers.clone();
        let headers = [(http::header::LOCATION, "/there?x=1".parse().unwrap())]
            .into_iter()
            .collect();
        let mut method = asked.method.clone();
        let next = redirect::follow(&mut hop, &mut method, StatusCode::TEMPORARY_REDIRECT, &headers, true);
        assert_eq!(next, Some(NextBody::Replayed));
        sign_again(&target, &asked, &method, true, MOMENT, &mut hop).unwrap();
        asked.endpoint = "/there?x=1".to_owned();
        let direct = build(&target, &asked, &options(), MOMENT).unwrap();
        assert_eq!(hop.headers, direct.headers, "307 {credentials}");
        assert_ne!(
            hop.headers["authorization"], first["authorization"],
            "307 {credentials}"
        );
        // The method becomes GET, and there is no body any more.
        let next = redirect::follow(&mut hop, &mut method, StatusCode::SEE_OTHER, &headers, true);
        assert_eq!((next, &method), (Some(NextBody::Dropped), &Method::GET));
        sign_again(&target, &asked, &method, false, MOMENT, &mut hop).unwrap();
        let direct = build(&target, &request("/there?x=1"), &options(), MOMENT).unwrap();
        assert_eq!(hop.headers, direct.headers, "303 {credentials}");
    }
}

#[tokio::test]
async fn another_origin_gets_no_signature() {
    let other = Upstream::start(vec![
        reply("302 Found", "location: /further\r\n", ""),
        reply("200 OK", "", "elsewhere"),
    ])
    .await;
    let location = format!("location: {}/there\r\n", other.url());
    let upstream = Upstream::start(vec![
        reply("302 Found", "location: /there?x=1\r\n", ""),
        reply("302 Found", &location, ""),
    ])
    .await;
    let harness = Harness::new(allowing());
    let response = harness
        .send(signed(&upstream.url(), &oauth1()), request("/here"))
        .await
        .unwrap();
    assert_eq!(text(response).await, "elsewhere");
    let seen = upstream.seen();
    let authorization = |request: &String| {
        let line = request
            .lines()
            .find_map(|line| line.strip_prefix("authorization: OAuth "));
        line.map(str::to_owned)
    };
    let signatures: Vec<String> = seen.iter().filter_map(authorization).collect();
    assert_eq!(signatures.len(), 2, "{seen:?}");
    let nonce = |signature: &String| {
        signature
            .split("oauth_nonce=\"")
            .nth(1)
            .map(|rest| rest[..32].to_owned())
    };
    assert_ne!(nonce(&signatures[0]), nonce(&signatures[1]));
    let seen = other.seen();
    assert_eq!(seen.len(), 2);
    assert!(
        seen.iter().all(|request| !request.contains("authorization")),
        "{seen:?}"
    );
}

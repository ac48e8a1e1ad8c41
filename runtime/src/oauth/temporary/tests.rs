//! What is sent for temporary credentials and for the token, and what is said when there are none.

use serde_json::json;

use super::*;
use crate::oauth::testing::{moment, target};

fn applicant(entry: Value) -> Target {
    let credentials = json!({"type": "OAUTH1", "oauth_token": "t", "oauth_token_secret": "s"});
    target(entry, &credentials)
}

fn urls() -> Value {
    json!({"auth_mode": "OAUTH1", "request_url": "https://acme.test/request", "token_url": "https://acme.test/access?v=1"})
}

fn header(request: &TokenRequest) -> &str {
    request.headers[header::AUTHORIZATION].to_str().unwrap()
}

#[test]
fn temporary_credentials_are_asked_for_with_the_callback() {
    let by = Token {
        callback: Some("https://us.test/oauth/callback?state=s"),
        ..Token::default()
    };
    let request = build(&applicant(urls()), &REQUEST, by, moment()).unwrap();
    assert_eq!(
        (&request.method, request.url.as_str()),
        (&Method::POST, "https://acme.test/request")
    );
    let text = header(&request);
    assert!(
        text.starts_with("OAuth oauth_callback=\"https%3A%2F%2Fus.test%2Foauth%2Fcallback%3Fstate%3Ds\""),
        "{text}"
    );
    assert!(text.contains("oauth_timestamp=\"1800000000\""), "{text}");
    assert!(request.headers[header::AUTHORIZATION].is_sensitive());
    assert!(!text.contains("oauth_token="), "{text}");
}

#[test]
fn the_method_and_the_parameters_are_the_providers() {
    let mut entry = urls();
    entry["token_http_method"] = "GET".into();
    entry["token_params"] = json!({"format": "form"});
    entry["request_params"] = json!({"scope": "a b"});
    let applicant = applicant(entry);
    let by = Token {
        token: Some(("temporary", "ts")),
        verifier: Some("v"),
        callback: None,
    };
    let request = build(&applicant, &TOKEN, by, moment()).unwrap();
    assert_eq!(
        (&request.method, request.url.as_str()),
        (&Method::GET, "https://acme.test/access?v=1&format=form")
    );
    assert!(
        header(&request).contains("oauth_token=\"temporary\", oauth_verifier=\"v\""),
        "{}",
        header(&request)
    );
    let request = build(&applicant, &REQUEST, Token::default(), moment()).unwrap();
    assert_eq!(
        (&request.method, request.body.expose().as_str()),
        (&Method::POST, "scope=a+b")
    );
    assert_eq!(request.headers[header::CONTENT_TYPE], FORM);
}

#[test]
fn an_answer_without_a_token_says_why() {
    let object = |value: Value| value.as_object().unwrap().clone();
    let error = pair(&object(json!({"oauth_problem": "signature_invalid"}))).unwrap_err();
    assert_eq!(error.to_string(), "the token endpoint gave no token: signature_invalid");
    let error = pair(&object(
        json!({"errors": [{"code": 32, "message": "Could not authenticate you."}]}),
    ))
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the token endpoint gave no token: 32 (Could not authenticate you.)"
    );
    assert!(pair(&object(json!({"oauth_token": "t"}))).is_err());
}

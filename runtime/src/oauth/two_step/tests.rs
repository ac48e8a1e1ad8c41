//! Logins as they are sent, and what is made of the answers.

use serde_json::json;

use super::super::testing::{moment, target};
use super::*;

const URL: &str = "https://auth.test/login";

fn user() -> Value {
    json!({"type": "TWO_STEP", "user": "jane", "password": "s3cret", "site": ""})
}

fn answer(mut object: Value) -> Answer {
    Answer {
        object: Secret::new(std::mem::take(object.as_object_mut().unwrap())),
        headers: HeaderMap::new(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "calls read better with the value in place")]
fn built(entry: Value) -> TokenRequest {
    let target = target(entry.clone(), &user());
    build(&TokenValues::new(&target, moment()), &Step::new(&entry)).unwrap()
}

#[test]
fn parameters_travel_as_the_provider_takes_them() {
    let params =
        json!({"login": {"name": "${credentials.user}", "password": "${password}", "site": "${credentials.site}"}});
    let request =
        built(json!({"token_url": URL, "token_params": params, "token_headers": {"x-v": "2", "x-site": "${site}"}}));
    assert_eq!(request.method, Method::POST);
    assert_eq!(
        request.body.expose(),
        r#"{"login":{"name":"jane","password":"s3cret"}}"#
    );
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(request.headers["x-v"], "2");
    assert!(!request.headers.contains_key("x-site"), "what is missing is left out");
    let flat = json!({"name": "${user}", "password": "${password}"});
    let form = built(json!({"token_url": URL, "token_params": flat, "body_format": "form"}));
    assert_eq!(form.body.expose(), "name=jane&password=s3cret");
    let get = built(json!({"token_url": format!("{URL}?v=1"), "token_params": flat, "token_request_method": "GET"}));
    assert_eq!((get.method, get.body.expose().as_str()), (Method::GET, ""));
    assert_eq!(get.url.query(), Some("v=1&name=jane&password=s3cret"));
    let xml = target(json!({}), &user());
    let xml = build(
        &TokenValues::new(&xml, moment()),
        &Step::new(&json!({"token_url": URL, "body_format": "xml"})),
    );
    assert!(matches!(xml, Err(RefreshError::Unsupported { .. })));
}

/// When the token of an answer ends, in milliseconds from now.
fn lives_ms(entry: Value, object: Value) -> Option<i64> {
    let credentials = credentials(&target(entry, &user()), &answer(object), moment()).unwrap();
    credentials.expires_at_ms().map(|at_ms| at_ms - moment().now_ms)
}

#[test]
fn the_end_is_where_the_provider_says() {
    let expires = |strategy: &str| {
        json!({"token_expires_in_ms": 5, "token_response": {"token": "t.0.id", "token_expiration": "e",
        "token_expiration_strategy": strategy}})
    };
    let with = |end: Value| json!({"t": [{"id": "token-1"}], "e": end});
    assert_eq!(lives_ms(expires("expireIn"), with(json!(3_600))), Some(3_600_000));
    assert_eq!(lives_ms(expires("expireIn"), with(json!("1h"))), Some(3_600_000));
    assert_eq!(
        lives_ms(expires("expireAt"), with(json!("2027-01-15T08:01:00Z"))),
        Some(60_000)
    );
    assert_eq!(lives_ms(expires("expireAt"), with(json!(1_800_000_060))), Some(60_000));
    assert_eq!(lives_ms(expires("expireAt"), with(Value::Null)), Some(5));
    let without = json!({"token_response": {"token": "t"}, "token_expires_in_ms": 0});
    assert_eq!(lives_ms(without.clone(), json!({"t": "token-1"})), None);
    // {"exp": 1800000120}
    assert_eq!(
        lives_ms(without, json!({"t": "e30.eyJleHAiOjE4MDAwMDAxMjB9.c2ln"})),
        Some(120_000)
    );
}

#[test]
fn what_the_user_gave_is_kept_beside_what_was_answered() {
    let entry =
        json!({"token_response": {"token": "t", "refresh_token": "r"}, "token_response_headers": ["Set-Cookie"]});
    let mut answered = answer(json!({"t": "token-1", "r": "refresh-1"}));
    for cookie in ["B1SESSION=abc; HttpOnly", "ROUTEID=.n1; path=/"] {
        answered.headers.append("set-cookie", cookie.parse().unwrap());
    }
    let credentials = credentials(&target(entry.clone(), &user()), &answered, moment()).unwrap();
    assert_eq!(
        credentials.to_json(),
        json!({"type": "TWO_STEP", "user": "jane", "password": "s3cret", "site": "", "token": "token-1", "refresh_token": "refresh-1",
            "_cookies": "B1SESSION=abc; ROUTEID=.n1", "raw": {"t": "token-1", "r": "refresh-1"}})
    );
    let refused = super::credentials(
        &target(entry, &user()),
        &answer(json!({"error": {"summary": "Signin Error"}})),
        moment(),
    );
    assert_eq!(
        refused.unwrap_err().to_string(),
        "the token endpoint gave no token: Signin Error"
    );
}

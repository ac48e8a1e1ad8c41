//! Logins as they are sent, and what is made of the answers.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::super::testing::{moment, target};
use super::*;
use crate::oauth::jwt::tests::EC_PEM;

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
    let nested = json!({"login": {"password": "${password}", "name": "${user}", "site": "${site}"}});
    let order = ["login/name", "login/password", "login"];
    let xml = json!({"token_url": URL, "token_params": nested, "token_params_order": order, "body_format": "xml"});
    let xml = built(xml);
    assert_eq!(xml.headers["content-type"], "application/xml");
    assert_eq!(
        xml.body.expose(),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><login><name>jane</name><password>s3cret</password></login>"
    );
    let refused = |entry: Value| {
        build(
            &TokenValues::new(&target(json!({}), &user()), moment()),
            &Step::new(&entry),
        )
    };
    let empty = refused(json!({"token_url": URL, "body_format": "xml"}));
    assert!(matches!(empty, Err(RefreshError::Xml { .. })));
    let other = refused(json!({"token_url": URL, "body_format": "cbor"}));
    assert!(matches!(other, Err(RefreshError::Unsupported { .. })));
}

/// When the token of an answer ends, in milliseconds from now.
fn lives_ms(entry: Value, object: Value) -> Option<i64> {
    let credentials = credentials(&TokenValues::new(&target(entry, &user()), moment()), &answer(object)).unwrap();
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
    let credentials = credentials(&TokenValues::new(&target(entry.clone(), &user()), moment()), &answered).unwrap();
    assert_eq!(
        credentials.to_json(),
        json!({"type": "TWO_STEP", "user": "jane", "password": "s3cret", "site": "", "token": "token-1", "refresh_token": "refresh-1",
            "_cookies": "B1SESSION=abc; ROUTEID=.n1", "raw": {"t": "token-1", "r": "refresh-1"}})
    );
    let refused = super::credentials(
        &TokenValues::new(&target(entry, &user()), moment()),
        &answer(json!({"error": {"summary": "Signin Error"}})),
    );
    assert_eq!(
        refused.unwrap_err().to_string(),
        "the token endpoint gave no token: Signin Error"
    );
}

/// The claims of the JWT that is the parameter of that name.
fn claims(request: &TokenRequest, name: &str) -> Value {
    let parameters: Vec<(String, String)> = url::form_urlencoded::parse(request.body.expose().as_bytes())
        .into_owned()
        .collect();
    let (_, token) = parameters.iter().find(|(known, _)| known == name).unwrap();
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[test]
fn a_login_may_be_a_token_that_the_user_signs() {
    let entry = json!({"token_url": URL, "body_format": "form", "signature": {"protocol": "EC"},
        "token": {"signing_key": "${credentials.privateKey}", "expires_in_ms": 3_600_000,
            "payload": {"iss": "${credentials.account}", "sub": "${credentials.nobody}"}},
        "token_params": {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "${token}"}});
    let account = json!({"type": "TWO_STEP", "account": "a@b.test", "privateKey": EC_PEM, "token": "the-old-one",
        "expires_at": 1});
    let target = target(entry.clone(), &account);
    let request = build(&signed(&target, moment()).unwrap(), &Step::new(&entry)).unwrap();
    let expected = json!({"iss": "a@b.test", "iat": 1_800_000_000, "exp": 1_800_003_600});
    assert_eq!(claims(&request, "assertion"), expected);
}

#[test]
fn an_assertion_outlives_what_it_was_signed_with() {
    let entry = json!({"token_url": URL, "body_format": "form", "token_response": {"token": "access_token"},
        "assertion": {"type": "jwt", "key": "${assertionOption.privateKey}", "lifetimeInSeconds": "15552000",
            "header": {"alg": "ES256", "kid": "${credentials.keyId}"}, "payload": {"sub": "${credentials.clientId}"}},
        "token_params": {"client_id": "${credentials.clientId}", "client_assertion": "${credentials.assertion}"}});
    let given = json!({"type": "TWO_STEP", "clientId": "c", "keyId": "k", "assertionOption": {"privateKey": EC_PEM}});
    let first = target(entry.clone(), &given);
    let values = signed(&first, moment()).unwrap();
    let request = build(&values, &Step::new(&entry)).unwrap();
    let expected = json!({"sub": "c", "iat": 1_800_000_000, "exp": 1_815_552_000});
    assert_eq!(claims(&request, "client_assertion"), expected);
    let stored = credentials(&values, &answer(json!({"access_token": "t"}))).unwrap();
    let kept = stored.to_json();
    assert!(
        kept.get("assertionOption").is_none() && !kept.to_string().contains("PRIVATE KEY"),
        "{kept}"
    );
    // The next token is asked for with the same.
    let next = target(entry.clone(), &kept);
    let again = build(&signed(&next, moment()).unwrap(), &Step::new(&entry)).unwrap();
    assert_eq!(again.body.expose(), request.body.expose());
    // Without either, and of another kind, it says so.
    let nothing = json!({"type": "TWO_STEP", "clientId": "c", "keyId": "k"});
    assert!(matches!(
        signed(&target(entry.clone(), &nothing), moment()),
        Err(RefreshError::MissingValue { .. })
    ));
    let other = json!({"token_url": URL, "assertion": {"type": "kerberos"}});
    assert!(matches!(
        signed(&target(other, &nothing), moment()),
        Err(RefreshError::Unsupported { .. })
    ));
}

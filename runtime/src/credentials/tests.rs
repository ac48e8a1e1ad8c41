//! What every type of credentials has in common: how it is read, shown, looked up in and kept out of logs.

use serde_json::{Value, json};

use super::*;

fn error(value: &Value) -> String {
    Credentials::from_json(value).unwrap_err().to_string()
}

#[test]
fn an_imported_oauth2_token_reads_as_the_api_shows_it() {
    let given = json!({"type": "OAUTH2", "access_token": "tmp-token", "refresh_token": "tmp-refresh",
        "expires_at": "2030-01-01T00:00:00Z"});
    let credentials = Credentials::from_json(&given).unwrap();
    let shown = json!({"type": "OAUTH2", "access_token": "tmp-token", "refresh_token": "tmp-refresh",
        "expires_at": "2030-01-01T00:00:00.000Z",
        "raw": {"type": "OAUTH2", "access_token": "tmp-token", "refresh_token": "tmp-refresh",
            "expires_at": "2030-01-01T00:00:00.000Z"}});
    assert_eq!(credentials.to_public_json(true), shown);
    let without = json!({"type": "OAUTH2", "access_token": "tmp-token", "expires_at": "2030-01-01T00:00:00.000Z",
        "raw": {"type": "OAUTH2", "access_token": "tmp-token", "expires_at": "2030-01-01T00:00:00.000Z"}});
    assert_eq!(credentials.to_public_json(false), without);
}

#[test]
fn what_is_stored_reads_back() {
    for value in [
        json!({"type": "API_KEY", "apiKey": "fake-api-key"}),
        json!({"type": "BASIC", "username": "u", "password": ""}),
        json!({"type": "OAUTH2", "access_token": "a", "raw": {"ok": true, "team": {"id": "T"}}}),
        json!({}),
    ] {
        assert_eq!(Credentials::from_json(&value).unwrap().to_json(), value);
    }
    assert!(matches!(
        Credentials::from_json(&json!({"type": "NONE"})),
        Ok(Credentials::None)
    ));
}

#[test]
fn refresh_tokens_are_found_in_any_spelling_and_depth() {
    let value = json!({"type": "OAUTH2", "access_token": "a", "raw": {
        "authed_user": {"refreshToken": "x", "keep": 1}, "list": [{"REFRESH-TOKEN": "y"}], "refresh_token_expires_in": 5}});
    let shown = Credentials::from_json(&value).unwrap().to_public_json(false);
    let raw = json!({"authed_user": {"keep": 1}, "list": [{}], "refresh_token_expires_in": 5});
    assert_eq!(shown["raw"], raw);
}

#[test]
fn dates_in_their_usual_spellings() {
    for (given, shown) in [
        (json!("2030-01-01T02:00:00+02:00"), "2030-01-01T00:00:00.000Z"),
        (json!("2030-01-01T00:00:00.5"), "2030-01-01T00:00:00.500Z"),
        (json!("2030-01-01"), "2030-01-01T00:00:00.000Z"),
        (json!(1_893_456_000_000_i64), "2030-01-01T00:00:00.000Z"),
    ] {
        let value = json!({"type": "OAUTH2", "access_token": "a", "expires_at": given});
        assert_eq!(Credentials::from_json(&value).unwrap().to_json()["expires_at"], shown);
    }
}

#[test]
fn mistakes_are_named() {
    for (value, message) in [
        (
            json!("x"),
            "must be a JSON object such as {\"type\": \"API_KEY\", \"apiKey\": …}",
        ),
        (
            json!({"apiKey": "x"}),
            "`type` is missing; it names the auth mode, for example \"API_KEY\"",
        ),
        (json!({"type": "API_KEY"}), "`apiKey` is missing"),
        (json!({"type": "BASIC"}), "`username` is missing"),
        (
            json!({"type": "API_KEY", "apiKey": ""}),
            "`apiKey` must be text that is not empty",
        ),
        (json!({"type": "API_KEY", "apiKey": 5}), "`apiKey` must be text"),
        (
            json!({"type": "API_KEY", "api_key": "x"}),
            "`api_key` is not a field of API_KEY credentials; known are type, apiKey",
        ),
        (
            json!({"type": "API_KEY", "apiKey": "k".repeat(1_025)}),
            "`apiKey` is 1025 characters long; at most 1024 are allowed",
        ),
        (
            json!({"type": "OAUTH2", "access_token": "a", "expires_at": "soon"}),
            "`expires_at` must be a date such as 2030-01-01T00:00:00Z",
        ),
        (
            json!({"type": "MAGIC"}),
            "`type` \"MAGIC\" is no type of stored credentials; use API_KEY, APP, AWS_SIGV4, BASIC, BILL, JWT, NONE, \
             OAUTH1, OAUTH2, OAUTH2_CC, SIGNATURE, TBA or TWO_STEP",
        ),
    ] {
        assert_eq!(error(&value), message);
    }
}

#[test]
fn errors_hold_no_secret() {
    let value = json!({"type": "OAUTH2", "access_token": "s3cret".repeat(5_000)});
    let error = Credentials::from_json(&value).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("s3cret"));
}

fn oauth2() -> Credentials {
    let value = json!({
        "type": "OAUTH2", "access_token": "at", "refresh_token": "rt", "expires_at": "2030-01-01T00:00:00Z",
        "raw": {"team": {"id": "T1", "n": 7}, "a.b": "flat"},
    });
    Credentials::from_json(&value).unwrap()
}

#[test]
fn variables_by_mode() {
    let api_key = Credentials::from_json(&json!({"type": "API_KEY", "apiKey": "k"})).unwrap();
    let basic = Credentials::from_json(&json!({"type": "BASIC", "username": "u", "password": "p"})).unwrap();
    let cases = [
        (&api_key, "apiKey", Some("k")),
        (&api_key, "credentials.apiKey", Some("k")),
        (&api_key, "accessToken", None),
        (&basic, "username", Some("u")),
        (&basic, "credentials.password", Some("p")),
        (&oauth2(), "accessToken", Some("at")),
        (&oauth2(), "access_token", Some("at")),
        (&oauth2(), "credentials.refresh_token", Some("rt")),
        (&oauth2(), "expires_at", Some("2030-01-01T00:00:00.000Z")),
        (&oauth2(), "credentials.raw.team.id", Some("T1")),
        (&oauth2(), "raw.team.n", Some("7")),
        (&oauth2(), "raw.a.b", Some("flat")),
        (&oauth2(), "raw.team", None),
        (&oauth2(), "apiKey", None),
        (&Credentials::None, "apiKey", None),
    ];
    for (credentials, name, value) in cases {
        assert_eq!(credentials.variable(name).as_deref(), value, "{name}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", oauth2());
    assert!(
        !shown.contains("at\"") && !shown.contains("rt") && !shown.contains("T1"),
        "{shown}"
    );
}

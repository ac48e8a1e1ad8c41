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

/// One of each type, with all fields.
fn every_type() -> Vec<Value> {
    let at = "2030-01-01T00:00:00.000Z";
    vec![
        json!({"type": "API_KEY", "apiKey": "secret-1"}),
        json!({"type": "APP", "access_token": "secret-1", "expires_at": at, "raw": {"token": "secret-2"}, "jwtToken": "secret-3"}),
        json!({"type": "AWS_SIGV4", "region": "eu-west-1", "service": "s3", "access_key_id": "secret-1",
            "secret_access_key": "secret-2", "session_token": "secret-3", "expires_at": at, "role_arn": "arn:aws:iam::1:role/r",
            "external_id": "secret-4", "raw": {}}),
        json!({"type": "BASIC", "username": "secret-1", "password": "secret-2"}),
        json!({"type": "BILL", "username": "secret-1", "password": "secret-2", "organization_id": "org", "dev_key": "secret-3",
            "session_id": "secret-4", "user_id": "user", "expires_at": at, "raw": {"sessionId": "secret-5"}}),
        json!({"type": "JWT", "privateKey": {"id": "secret-1", "secret": "secret-2"}, "token": "secret-3", "expires_at": at}),
        json!({"type": "OAUTH1", "oauth_token": "secret-1", "oauth_token_secret": "secret-2", "raw": {"x": "secret-3"}}),
        json!({"type": "OAUTH2", "access_token": "secret-1", "refresh_token": "secret-2", "expires_at": at, "raw": {"id": "secret-3"},
            "config_override": {"client_id": "id", "client_secret": "secret-4"}}),
        json!({"type": "OAUTH2_CC", "token": "secret-1", "expires_at": at, "client_id": "id", "client_secret": "secret-2",
            "client_certificate": "secret-3", "client_private_key": "secret-4", "raw": {}}),
        json!({"type": "SIGNATURE", "username": "secret-1", "password": "secret-2", "token": "secret-3", "expires_at": at}),
        json!({"type": "TBA", "token_id": "secret-1", "token_secret": "secret-2",
            "config_override": {"client_id": "id", "client_secret": "secret-3"}}),
        json!({"type": "TWO_STEP", "tenant": "secret-1", "token": "secret-2", "refresh_token": "secret-3", "expires_at": at,
            "raw": {"data": {"token": "secret-4"}}, "_cookies": "secret-5"}),
        json!({}),
    ]
}

#[test]
fn every_type_reads_back_as_it_is_shown() {
    let types: std::collections::BTreeSet<&str> = every_type()
        .iter()
        .map(|value| Credentials::from_json(value).unwrap().mode())
        .collect();
    assert_eq!(types.len(), CredentialsType::ALL.len());
    for value in every_type() {
        let credentials = Credentials::from_json(&value).unwrap();
        assert_eq!(credentials.to_public_json(true), value);
        assert!(
            !credentials.to_public_json(false).to_string().contains("refresh_token"),
            "{value}"
        );
    }
}

#[test]
fn every_secret_of_every_type_is_listed_and_none_is_shown_by_debug() {
    for value in every_type() {
        let credentials = Credentials::from_json(&value).unwrap();
        let debug = format!("{credentials:?}");
        let listed: Vec<String> = credentials
            .secret_texts()
            .iter()
            .map(|secret| secret.expose().clone())
            .collect();
        for number in 1..=5 {
            let secret = format!("secret-{number}");
            if value.to_string().contains(&secret) {
                // A user name alone is no secret: it says who, and is listed with the password only.
                let is_username = value["username"] == secret.as_str();
                assert!(is_username || listed.contains(&secret), "{value}: {listed:?}");
                let is_external_id = value["type"] == "AWS_SIGV4" && number == 4;
                assert!(is_username || is_external_id || !debug.contains(&secret), "{debug}");
            }
        }
        for plain in ["eu-west-1", "2030-01-01T00:00:00.000Z", "org", "id"] {
            assert!(!listed.iter().any(|secret| secret == plain), "{listed:?}");
        }
    }
}

#[test]
fn variables_of_the_other_types() {
    for (mode, name, value) in [
        ("OAUTH2_CC", "accessToken", Some("secret-1")),
        ("OAUTH2_CC", "credentials.client_secret", Some("secret-2")),
        ("OAUTH1", "oauth_token", Some("secret-1")),
        ("TBA", "token_id", Some("secret-1")),
        ("TBA", "config_override.client_id", Some("id")),
        ("AWS_SIGV4", "credentials.region", Some("eu-west-1")),
        ("APP", "accessToken", Some("secret-1")),
        ("BILL", "session_id", Some("secret-4")),
        ("BILL", "dev_key", Some("secret-3")),
        ("JWT", "credentials.privateKey.id", Some("secret-1")),
        ("JWT", "accessToken", Some("secret-3")),
        ("SIGNATURE", "username", Some("secret-1")),
        ("TWO_STEP", "credentials._cookies", Some("secret-5")),
        ("TWO_STEP", "tenant", Some("secret-1")),
        ("TWO_STEP", "raw.data.token", Some("secret-4")),
        ("TWO_STEP", "nope", None),
        ("OAUTH1", "accessToken", None),
    ] {
        let given = every_type().into_iter().find(|value| value["type"] == mode).unwrap();
        let credentials = Credentials::from_json(&given).unwrap();
        assert_eq!(credentials.variable(name).as_deref(), value, "{mode} {name}");
    }
}

#[test]
fn what_each_type_must_and_may_have() {
    for (value, message) in [
        (json!({"type": "OAUTH2_CC"}), "`client_id` is missing"),
        (
            json!({"type": "OAUTH1", "oauth_token": "t"}),
            "`oauth_token_secret` is missing",
        ),
        (json!({"type": "TBA", "token_id": "t"}), "`token_secret` is missing"),
        (
            json!({"type": "BILL", "username": "u", "password": "p"}),
            "`organization_id` is missing",
        ),
        (
            json!({"type": "APP", "app_id": "1", "installation_id": "2"}),
            "`app_id` is not a field of APP credentials; known are type, access_token, expires_at, raw, jwtToken",
        ),
        (
            json!({"type": "AWS_SIGV4", "region": "US/x", "service": "s3", "access_key_id": "a", "secret_access_key": "s"}),
            "`region` must be 1 to 64 lower-case letters, digits and hyphens, as AWS writes them in signatures",
        ),
        (
            json!({"type": "OAUTH2", "access_token": "t", "config_override": {"client_secret": "s"}}),
            "`client_id` is missing",
        ),
        (
            json!({"type": "OAUTH2_CC", "client_id": "i", "client_secret": "s".repeat(2_049)}),
            "`client_secret` is 2049 characters long; at most 2048 are allowed",
        ),
        (
            json!({"type": "TWO_STEP", "token": "t", "key": "k".repeat(16_385)}),
            "`key` is 16385 characters long; at most 16384 are allowed",
        ),
    ] {
        assert_eq!(error(&value), message);
    }
    let flat = json!({"type": "TBA", "token_id": "t", "token_secret": "s", "oauth_client_id_override": "i",
        "oauth_client_secret_override": "c"});
    let shown = Credentials::from_json(&flat).unwrap().to_json();
    assert_eq!(
        shown["config_override"],
        json!({"client_id": "i", "client_secret": "c"})
    );
}

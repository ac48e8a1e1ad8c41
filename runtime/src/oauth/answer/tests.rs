//! Answers of token endpoints.

use super::super::testing::{oauth2, target};
use super::*;

const NOW_MS: i64 = 1_800_000_000_000;

fn read(entry: Value, credentials: &Value, answer: Value) -> Result<Credentials, RefreshError> {
    let Value::Object(answer) = answer else {
        panic!("an answer is an object")
    };
    super::credentials(&target(entry, credentials), Secret::new(answer), NOW_MS)
}

fn public(credentials: &Credentials) -> Value {
    credentials.to_public_json(true)
}

#[test]
fn a_rotated_refresh_token_replaces_the_old_one() {
    let answer = json!({"access_token": "a", "refresh_token": "r", "expires_in": 60, "scope": "x"});
    let fresh = read(json!({}), &oauth2(), answer.clone()).unwrap();
    let shown = public(&fresh);
    assert_eq!(
        (&shown["access_token"], &shown["refresh_token"]),
        (&json!("a"), &json!("r"))
    );
    assert_eq!(shown["raw"], answer);
    assert_eq!(fresh.expires_at_ms(), Some(NOW_MS + 60_000));
}

#[test]
fn the_old_refresh_token_is_kept_when_no_other_comes() {
    for answer in [
        json!({"access_token": "a"}),
        json!({"access_token": "a", "refresh_token": ""}),
    ] {
        let fresh = read(json!({}), &oauth2(), answer).unwrap();
        assert_eq!(public(&fresh)["refresh_token"], "old-refresh");
    }
}

#[test]
fn a_connections_own_client_stays() {
    let mut credentials = oauth2();
    credentials["config_override"] = json!({"client_id": "own", "client_secret": "own-secret"});
    let fresh = read(json!({}), &credentials, json!({"access_token": "a"})).unwrap();
    assert_eq!(public(&fresh)["config_override"], credentials["config_override"]);
}

#[test]
fn the_end_is_told_in_many_ways() {
    for (fields, expected) in [
        (json!({}), None),
        (json!({"expires_in": 0}), None),
        (json!({"expires_in": "3600"}), Some(NOW_MS + 3_600_000)),
        (json!({"expires_in": 1.5}), Some(NOW_MS + 1_500)),
        (json!({"expires_in": "soon"}), None),
        (json!({"expires_at": 1_800_000_060}), Some(NOW_MS + 60_000)),
        (json!({"expires_at": 1_800_000_060_000_i64}), Some(NOW_MS + 60_000)),
        (json!({"expires_at": "1800000060"}), Some(NOW_MS + 60_000)),
        (
            json!({"expires_at": "2030-01-01T00:00:00Z", "expires_in": 5}),
            Some(1_893_456_000_000),
        ),
        (
            json!({"expires_at": "2030-01-01T01:00:00+01:00"}),
            Some(1_893_456_000_000),
        ),
        (json!({"expires_at": "2030-01-01T00:00:00"}), Some(1_893_456_000_000)),
        (json!({"expires_at": "1:02:03"}), Some(NOW_MS + (26 * 60 + 3) * 60_000)),
        (json!({"expires_at": "nonsense", "expires_in": 5}), Some(NOW_MS + 5_000)),
        (json!({"expires_at": null, "expires_in": 5}), Some(NOW_MS + 5_000)),
    ] {
        let mut answer = fields.clone();
        answer["access_token"] = json!("a");
        let fresh = read(json!({}), &oauth2(), answer).unwrap();
        assert_eq!(fresh.expires_at_ms(), expected, "{fields}");
    }
}

#[test]
fn nonsensical_ends_are_no_panic() {
    for value in [
        json!(1e300),
        json!(-1e300),
        json!(i64::MAX),
        json!(u64::MAX),
        json!("99999999999:23:59"),
        json!("NaN"),
    ] {
        for key in ["expires_in", "expires_at"] {
            let answer = json!({"access_token": "a", key: value});
            assert!(read(json!({}), &oauth2(), answer).is_ok(), "{key} {value}");
        }
    }
}

#[test]
fn tokens_may_be_deeper_in_the_answer() {
    let entry = json!({"alternate_access_token_response_path": "authed_user"});
    let nested =
        json!({"ok": true, "authed_user": {"access_token": "xoxp", "refresh_token": "xoxe", "expires_in": 60}});
    let fresh = read(entry.clone(), &oauth2(), nested).unwrap();
    assert_eq!(public(&fresh)["access_token"], "xoxp");
    assert_eq!(public(&fresh)["refresh_token"], "xoxe");
    assert_eq!(fresh.expires_at_ms(), Some(NOW_MS + 60_000));
    let plain = read(
        entry,
        &oauth2(),
        json!({"access_token": "xoxb", "authed_user": {"id": "U"}}),
    )
    .unwrap();
    assert_eq!(public(&plain)["access_token"], "xoxb");
}

#[test]
fn client_credentials_tokens_have_other_places_and_always_an_end() {
    let credentials = json!({"type": "OAUTH2_CC", "client_id": "c", "client_secret": "s"});
    for answer in [
        json!({"access_token": "t"}),
        json!({"data": {"token": "t"}}),
        json!({"jwt": "t"}),
    ] {
        let fresh = read(json!({}), &credentials, answer).unwrap();
        let shown = public(&fresh);
        assert_eq!((&shown["token"], &shown["client_secret"]), (&json!("t"), &json!("s")));
        assert_eq!(fresh.expires_at_ms(), Some(NOW_MS + CLIENT_CREDENTIALS_LIFETIME_MS));
    }
    let answer = json!({"access_token": "t", "expires_in": 60_000});
    let fresh = read(json!({"expires_in_unit": "milliseconds"}), &credentials, answer).unwrap();
    assert_eq!(fresh.expires_at_ms(), Some(NOW_MS + 60_000));
}

#[test]
fn an_answer_without_a_token_is_a_refusal_in_the_providers_words() {
    let answer = json!({"error": "bad_refresh_token", "error_description": "It was used", "ok": false});
    let error = read(json!({}), &oauth2(), answer).unwrap_err().to_string();
    assert_eq!(
        error,
        "the token endpoint gave no token: bad_refresh_token (It was used)"
    );
    let error = read(json!({}), &oauth2(), json!({"access_token": 5}))
        .unwrap_err()
        .to_string();
    assert_eq!(error, "the token endpoint gave no token");
    let long = "x".repeat(crate::credentials::TOKEN_CHARS_MAX + 1);
    let unusable = read(json!({}), &oauth2(), json!({"access_token": long})).unwrap();
    let error = readable(&unusable).unwrap_err();
    assert!(matches!(error, RefreshError::Unusable(_)), "{error}");
}

#[test]
fn providers_may_have_names_of_their_own() {
    let paths =
        json!({"token": "data.token", "refresh_token": "data.refreshToken", "token_expiration": "data.validUntil"});
    let entry = json!({"token_response": paths, "token_expires_in_ms": 60_000});
    let answer = json!({"data": {"token": "t", "refreshToken": "r", "validUntil": 1_800_000_120}});
    let fresh = read(entry.clone(), &oauth2(), answer).unwrap();
    let shown = public(&fresh);
    assert_eq!(
        (&shown["access_token"], &shown["refresh_token"]),
        (&json!("t"), &json!("r"))
    );
    assert_eq!(fresh.expires_at_ms(), Some(NOW_MS + 120_000));
    // What it does not name is where the standard has it, and the old refresh token stays.
    let fresh = read(entry.clone(), &oauth2(), json!({"access_token": "t", "expires_in": 30})).unwrap();
    assert_eq!(public(&fresh)["refresh_token"], "old-refresh");
    assert_eq!(fresh.expires_at_ms(), Some(NOW_MS + 30_000));
    let refused = read(entry, &oauth2(), json!({"data": {"error": "no"}}));
    assert!(matches!(refused, Err(RefreshError::NoToken { .. })));
    let lifetime = json!({"token_response": {"token_expiration": "ttl", "token_expiration_strategy": "expireIn"}});
    let fresh = read(lifetime, &oauth2(), json!({"access_token": "t", "ttl": "2h"})).unwrap();
    assert_eq!(fresh.expires_at_ms(), Some(NOW_MS + 7_200_000));
}

#[test]
fn a_fixed_lifetime_is_for_answers_that_say_nothing() {
    let entry = |lifetime_ms: i64| json!({"token_expires_in_ms": lifetime_ms});
    for (lifetime_ms, answer, expected) in [
        (3_600_000, json!({"access_token": "t"}), Some(NOW_MS + 3_600_000)),
        (
            3_600_000,
            json!({"access_token": "t", "expires_in": null}),
            Some(NOW_MS + 3_600_000),
        ),
        (
            3_600_000,
            json!({"access_token": "t", "expires_in": 60}),
            Some(NOW_MS + 60_000),
        ),
        (3_600_000, json!({"access_token": "t", "expires_in": 0}), None),
        (0, json!({"access_token": "t"}), None),
    ] {
        let fresh = read(entry(lifetime_ms), &oauth2(), answer.clone()).unwrap();
        assert_eq!(fresh.expires_at_ms(), expected, "{answer}");
    }
}

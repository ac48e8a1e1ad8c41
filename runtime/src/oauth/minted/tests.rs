//! Tokens as they are signed at a fixed time.

use serde_json::json;

use super::super::testing::{moment, target};
use super::*;
use crate::credentials::Credentials;

#[expect(clippy::needless_pass_by_value, reason = "calls read better with the value in place")]
fn of(signature: Value, token: Value, credentials: &Value) -> Target {
    let entry = json!({"auth_mode": "JWT", "signature": signature, "token": token});
    target(entry, credentials)
}

/// The parts of a token, read back.
fn read(token: &Secret<String>) -> (Value, Value) {
    let mut parts = token.expose().split('.').map(|part| {
        let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
        serde_json::from_slice(&json).unwrap_or(Value::Null)
    });
    (parts.next().unwrap(), parts.next().unwrap())
}

#[test]
fn a_token_is_signed_as_the_providers_data_say() {
    let credentials = json!({"type": "JWT", "id": "key-1", "secret": "00ff"});
    let token = json!({"signing_key": "${credentials.secret}", "expires_in_ms": 300_000,
        "header": {"alg": "HS256", "typ": "JWT", "kid": "${credentials.id}"},
        "payload": {"aud": "/admin/", "sub": "${credentials.nobody}"}});
    let target = of(json!({"protocol": "HMAC"}), token, &credentials);
    let minted = jwt(&target, moment()).unwrap();
    let (header, claims) = read(&minted.token);
    assert_eq!(header, json!({"alg": "HS256", "typ": "JWT", "kid": "key-1"}));
    let expected = json!({"aud": "/admin/", "iat": 1_800_000_000, "exp": 1_800_000_300});
    assert_eq!(claims, expected, "claims without a value are left out");
    assert_eq!(minted.expires_at_ms, 1_800_000_300_000);
    assert_eq!(minted.token.expose(), jwt(&target, moment()).unwrap().token.expose());
}

#[test]
fn keys_are_those_of_the_provider_and_what_is_missing_is_named() {
    let credentials = json!({"type": "JWT", "secret": "my words"});
    let token = json!({"signing_key": "${credentials.secret}", "header": {}, "payload": {}});
    let utf8 = of(
        json!({"protocol": "HMAC", "hmac_secret_encoding": "utf8"}),
        token.clone(),
        &credentials,
    );
    let minted = jwt(&utf8, moment()).unwrap();
    assert_eq!(read(&minted.token).0["alg"], "HS256");
    assert_eq!(minted.expires_at_ms, moment().now_ms + LIFETIME_MS);
    for (signature, part) in [
        (json!({"protocol": "HMAC"}), "cannot be signed"),
        (json!({"protocol": "RSA"}), "cannot be signed"),
        (
            json!({"protocol": "DSA"}),
            "`signature.protocol: DSA`, which is not supported",
        ),
    ] {
        let error = jwt(&of(signature, token.clone(), &credentials), moment())
            .err()
            .unwrap();
        assert!(error.to_string().contains(part), "{error}");
    }
    let nothing = of(json!({"protocol": "HMAC"}), token, &json!({"type": "JWT"}));
    let error = jwt(&nothing, moment()).err().unwrap().to_string();
    assert!(error.contains("`credentials.secret` has no value"), "{error}");
}

/// The digest was made with node's crypto.
#[test]
fn a_wsse_token_is_digested_in_hexadecimal_first() {
    let credentials = json!({"type": "SIGNATURE", "username": "acme001", "password": "s3cret"});
    let target = of(
        json!({"protocol": "WSSE"}),
        json!({"expires_in_ms": 60_000}),
        &credentials,
    );
    let minted = wsse(&target, moment()).unwrap();
    assert_eq!(
        minted.token.expose(),
        "UsernameToken Username=\"acme001\", PasswordDigest=\"MTBiZGVhMzljZWEyYTA4NGE2YmU5NWVjYjkxYzhmYWYwMTFmNWQ3NQ==\", \
         Nonce=\"07070707070707070707070707070707\", Created=\"2027-01-15T08:00:00.000Z\""
    );
    assert_eq!(minted.expires_at_ms, 1_800_000_060_000);
    assert!(matches!(target.credentials, Credentials::Session { .. }));
    let quoted = json!({"type": "SIGNATURE", "username": "a\", Nonce=\"", "password": "s3cret"});
    assert!(wsse(&of(json!({}), json!({}), &quoted), moment()).is_err());
}

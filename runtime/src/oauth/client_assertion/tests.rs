//! Assertions, as they are sent.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::super::request::build;
use super::super::testing::{moment, target};
use super::*;

/// Made for these tests, with node's crypto.
const JWK: &str = r#"{"kty":"EC","x":"NPJxddZmaQO3PoMZe-4fgCVmIdj566Eqndf0D_AXXYM","y":"AUzOtwNf4faf7-O0kwgUxFAO4C1Zk7dEx0OuJLNXhJY","crv":"P-256","d":"KQdhNktKLPg5N7ky6VOW28ojAMfp4Rs_XONviUM36QI","kid":"key-1"}"#;

#[test]
fn a_client_proves_itself_with_a_signed_token() {
    let entry = json!({"token_url": "https://auth.test/token", "token_request_auth_method": "private_key_jwt"});
    let with = |key: &str| {
        let credentials =
            json!({"type": "OAUTH2_CC", "client_id": "c-1", "client_secret": "", "client_private_key": key});
        build(&target(entry.clone(), &credentials), moment())
    };
    let request = with(JWK).unwrap();
    let form: JsonObject = url::form_urlencoded::parse(request.body.expose().as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
        .collect();
    assert_eq!(form["client_assertion_type"], TYPE);
    assert_eq!(
        (&form["grant_type"], &form["client_id"]),
        (&json!("client_credentials"), &json!("c-1"))
    );
    assert!(!form.contains_key("client_secret"));
    let mut parts = form["client_assertion"].as_str().unwrap().split('.').map(|part| {
        let bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
        serde_json::from_slice(&bytes).unwrap_or(Value::Null)
    });
    assert_eq!(
        parts.next().unwrap(),
        json!({"alg": "ES256", "kid": "key-1", "typ": "JWT"})
    );
    assert_eq!(
        parts.next().unwrap(),
        json!({"iss": "c-1", "sub": "c-1", "aud": "https://auth.test/token", "iat": 1_800_000_000, "exp": 1_800_000_300,
            "jti": "07070707-0707-4707-8707-070707070707"})
    );
    assert!(
        with("")
            .unwrap_err()
            .to_string()
            .contains("`credentials.client_private_key` has no value")
    );
    assert!(super::super::error::chain(&with("s3cret").unwrap_err()).contains("JSON Web Key"));
}

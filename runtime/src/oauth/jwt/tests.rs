//! Signatures that others make and verify.

use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::json;

use super::*;

/// Made for these tests, with OpenSSL.
pub(in crate::oauth) const EC_PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg/AbrL4mws3Nq3rvo\n\
    79o45DhnIR9DAtyfApTbZT0nTamhRANCAASMKZ2xCZNHDV9QEjkB4VkLZIM0NLZx\n\
    MWOJSAmnkvBkkYNROjhaThkWjT8oTfTxyrs8MsqG8ZN6lWhtjINWeezg\n\
    -----END PRIVATE KEY-----\n";
/// The point of [`EC_PEM`], which ends its DER.
const EC_POINT_BYTES: usize = 65;

fn object(mut value: Value) -> JsonObject {
    std::mem::take(value.as_object_mut().unwrap())
}

/// Whether an ES256 token is signed by the key with that public point.
fn verifies(token: &str, point: &[u8]) -> bool {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    key.verify(signed.as_bytes(), &signature).is_ok()
}

/// The same token was signed with node's crypto.
#[test]
fn hs256_is_what_others_make_of_it() {
    let secret = "00112233445566778899AABBccddeeff00112233445566778899aabbccddeeff";
    let key = SigningKey::from_text(Algorithm::Hs256, secret, SecretEncoding::Hex).unwrap();
    let header = object(json!({"typ": "JWT", "kid": "0123456789abcdef01234567"}));
    let claims = object(json!({"aud": "/admin/", "iat": 1_800_000_000, "exp": 1_800_000_300}));
    let token = key.sign(header, claims).unwrap();
    assert_eq!(
        token.expose(),
        "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2NyIsInR5cCI6IkpXVCJ9.\
         eyJhdWQiOiIvYWRtaW4vIiwiZXhwIjoxODAwMDAwMzAwLCJpYXQiOjE4MDAwMDAwMDB9.0bIylBEWyZ1tOt7bUaWWIR1aE3gip39q_4773OhySOg"
    );
}

#[test]
fn es256_verifies_whatever_form_the_key_comes_in() {
    let der = pem_der(EC_PEM).unwrap();
    let point = &der.expose()[der.expose().len() - EC_POINT_BYTES..];
    let one_line = EC_PEM.replace('\n', "\\n");
    let in_base64 = STANDARD.encode(EC_PEM);
    for text in [EC_PEM, &one_line, &in_base64] {
        let key = SigningKey::from_text(Algorithm::Es256, text, SecretEncoding::Hex).unwrap();
        let token = key
            .sign(object(json!({"kid": "k"})), object(json!({"iss": "i"})))
            .unwrap();
        assert!(verifies(token.expose(), point), "{}", token.expose());
        assert!(!verifies(&token.expose().replacen("ey", "eY", 1), point));
    }
}

#[test]
fn keys_that_do_not_fit_are_refused_without_being_shown() {
    let refused = |algorithm, text: &str| {
        let error = SigningKey::from_text(algorithm, text, SecretEncoding::Hex)
            .err()
            .unwrap();
        assert!(!error.to_string().contains("s3cret"), "{error}");
        error
    };
    assert_eq!(refused(Algorithm::Hs256, "s3cret"), JwtError::NotHex);
    assert_eq!(refused(Algorithm::Hs256, "abc"), JwtError::NotHex);
    assert_eq!(refused(Algorithm::Hs256, ""), JwtError::NotHex);
    assert_eq!(refused(Algorithm::Rs256, "s3cret"), JwtError::NotPem);
    assert_eq!(refused(Algorithm::Rs256, EC_PEM), JwtError::NotRsa);
    assert_eq!(
        refused(Algorithm::Es384, EC_PEM),
        JwtError::NotEc { algorithm: "ES384" }
    );
    assert!(matches!(Algorithm::named("none"), Err(JwtError::Algorithm { .. })));
    for jwk in [
        json!({}),
        json!({"kty": "EC", "crv": "P-256", "d": "AA"}),
        json!({"kty": "RSA"}),
    ] {
        assert_eq!(SigningKey::from_jwk(&object(jwk)).err(), Some(JwtError::NotJwk));
    }
}

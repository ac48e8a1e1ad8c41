//! Who may deploy what: Ed25519 signatures (RFC 8032) over the bytes of components, checked before anything else is done with them.

use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};

use crate::credentials::{Secret, pem_der};
use crate::model::DeployKey;

/// Why a component may not be deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error(
        "the component is not signed, and this server takes signed ones only (deploy_keys): sign it with --signing-key, whose public \
         key the operator must have named"
    )]
    Missing,
    #[error("the component's signature is of none of this server's deploy_keys, or of other bytes")]
    Wrong,
}

/// Takes what one of the keys has signed; everything when there are no keys.
///
/// # Errors
///
/// Nobody that may deploy has signed these bytes.
pub(super) fn check(keys: &[DeployKey], component: &[u8], signature: Option<&[u8]>) -> Result<(), SignatureError> {
    if keys.is_empty() {
        return Ok(());
    }
    let signature = signature.ok_or(SignatureError::Missing)?;
    let has_signed = |key: &DeployKey| {
        UnparsedPublicKey::new(&ED25519, key.0)
            .verify(component, signature)
            .is_ok()
    };
    if keys.iter().any(has_signed) {
        return Ok(());
    }
    Err(SignatureError::Wrong)
}

/// Signs a component with a private key in PEM (PKCS #8), as `openssl genpkey -algorithm ed25519` makes one. None when it is no such
/// key.
#[must_use]
pub fn sign(pem: &Secret<String>, component: &[u8]) -> Option<Vec<u8>> {
    let der = pem_der(pem.expose())?;
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.expose()).ok()?;
    Some(pair.sign(component).as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    // Made by `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout` for this test.
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIH41MgJqe8i1+64TNkcSQRk2QqPFmz0FP3z4Dnial1LD\n-----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "MCowBQYDK2VwAyEAiVdvqGNxzOYnbiLh/1ucFVtSN1jOmLXxXOoJcScrH3A=";

    fn key() -> Secret<String> {
        Secret::new(PRIVATE.to_owned())
    }

    #[test]
    fn takes_what_was_signed_and_nothing_else() {
        let keys = [DeployKey::parse(PUBLIC).unwrap()];
        let signature = sign(&key(), b"bytes").unwrap();
        assert_eq!(check(&keys, b"bytes", Some(&signature)), Ok(()));
        assert_eq!(check(&keys, b"other", Some(&signature)), Err(SignatureError::Wrong));
        assert_eq!(check(&keys, b"bytes", Some(b"short")), Err(SignatureError::Wrong));
        assert_eq!(check(&keys, b"bytes", None), Err(SignatureError::Missing));
        let others = [DeployKey([7; 32])];
        assert_eq!(check(&others, b"bytes", Some(&signature)), Err(SignatureError::Wrong));
        assert_eq!(check(&[], b"bytes", None), Ok(()));
    }

    #[test]
    fn keys_are_read_in_both_forms() {
        let spki = DeployKey::parse(PUBLIC).unwrap();
        assert_eq!(DeployKey::parse(&STANDARD.encode(spki.0)), Some(spki));
        assert_eq!(DeployKey::parse("AAAA"), None);
        assert_eq!(sign(&Secret::new("nope".to_owned()), b"bytes"), None);
    }
}

//! The certificate and the key by which a client shows who it is within TLS: RFC 8705.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};

use super::pem::pem_blocks;
use super::{Credentials, Secret, pem_der};

/// SHA-256 of a certificate and its key, as they were given.
pub type IdentityHash = [u8; 32];

/// A client certificate as it was given. Nothing of it has been looked at yet.
#[derive(Clone, Copy, Debug)]
pub struct ClientIdentity<'c> {
    certificate: &'c Secret<String>,
    private_key: &'c Secret<String>,
}

/// Why a client certificate cannot be used. Names the field of the credentials, and shows nothing of what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("the provider needs a client certificate, and `credentials.{field}` is missing; give it as PEM")]
    Missing { field: &'static str },
    #[error(
        "`credentials.client_certificate` is no certificate in PEM (`-----BEGIN CERTIFICATE-----` …), its own first and those of \
         authorities behind it"
    )]
    Certificate,
    #[error(
        "`credentials.client_private_key` is no private key in PEM (`-----BEGIN PRIVATE KEY-----` …) of RSA, ECDSA or Ed25519 without a \
         password"
    )]
    PrivateKey,
    #[error("`credentials.client_private_key` is not the key of `credentials.client_certificate`")]
    OtherKey,
}

impl Credentials {
    /// The client certificate that goes with every connection made for these credentials; none where none was given.
    ///
    /// # Errors
    /// [`IdentityError::Missing`], where the provider needs one, or where one of the two was given without the other.
    pub fn client_identity(&self, is_needed: bool) -> Result<Option<ClientIdentity<'_>>, IdentityError> {
        let (certificate, private_key) = match self {
            Self::OAuth2Cc {
                client_certificate,
                client_private_key,
                ..
            } => (client_certificate.as_ref(), client_private_key.as_ref()),
            _ => (None, None),
        };
        // A key without a certificate signs assertions.
        match (certificate, private_key) {
            (Some(certificate), Some(private_key)) => Ok(Some(ClientIdentity {
                certificate,
                private_key,
            })),
            (None, _) if !is_needed => Ok(None),
            (None, _) => Err(IdentityError::Missing {
                field: "client_certificate",
            }),
            (Some(_), None) => Err(IdentityError::Missing {
                field: "client_private_key",
            }),
        }
    }
}

impl ClientIdentity<'_> {
    /// By which it is told from others.
    #[must_use]
    pub fn hash(&self) -> IdentityHash {
        let certificate = self.certificate.expose().as_bytes();
        let mut hash = Sha256::new();
        // The length says where the key begins.
        hash.update((certificate.len() as u64).to_be_bytes());
        hash.update(certificate);
        hash.update(self.private_key.expose().as_bytes());
        hash.finalize().into()
    }

    /// As TLS has it.
    ///
    /// # Errors
    /// [`IdentityError`]: no certificate, no key, or a key of another certificate.
    pub fn certified(&self) -> Result<Arc<CertifiedKey>, IdentityError> {
        let chain = pem_blocks(self.certificate.expose(), "CERTIFICATE").ok_or(IdentityError::Certificate)?;
        let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
        if chain.is_empty() {
            return Err(IdentityError::Certificate);
        }
        let key = pem_der(self.private_key.expose()).ok_or(IdentityError::PrivateKey)?;
        let key = PrivateKeyDer::try_from(key.expose().clone()).map_err(|_| IdentityError::PrivateKey)?;
        let key = ring::sign::any_supported_type(&key).map_err(|_| IdentityError::PrivateKey)?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => Ok(Arc::new(certified)),
            Err(rustls::Error::InconsistentKeys(_)) => Err(IdentityError::OtherKey),
            Err(_) => Err(IdentityError::Certificate),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const CERTIFICATE: &str = include_str!("../egress/test_certificates/client.pem");
    const KEY: &str = include_str!("../egress/test_certificates/client.key");
    const OTHER_KEY: &str = include_str!("../egress/test_certificates/server.key");

    fn credentials(certificate: &Value, key: &Value) -> Credentials {
        Credentials::from_json(&json!({
            "type": "OAUTH2_CC", "client_id": "id", "client_secret": "secret",
            "client_certificate": certificate, "client_private_key": key,
        }))
        .unwrap()
    }

    fn outcome(certificate: &str, key: &str) -> Result<usize, IdentityError> {
        let credentials = credentials(&certificate.into(), &key.into());
        let identity = credentials.client_identity(true)?.unwrap();
        Ok(identity.certified()?.cert.len())
    }

    #[test]
    fn certificates_as_people_paste_them() {
        let authority = include_str!("../egress/test_certificates/ca.pem");
        assert_eq!(outcome(CERTIFICATE, KEY), Ok(1));
        assert_eq!(outcome(&format!("{CERTIFICATE}{authority}"), KEY), Ok(2));
        // Out of a form with one line, and out of JSON that was escaped twice.
        assert_eq!(outcome(&CERTIFICATE.replace('\n', " "), &KEY.replace('\n', " ")), Ok(1));
        assert_eq!(
            outcome(&CERTIFICATE.replace('\n', "\\n"), &KEY.replace('\n', "\\n")),
            Ok(1)
        );
    }

    #[test]
    fn what_is_wrong_is_named_and_not_shown() {
        for (certificate, key, expected) in [
            ("s3cret", KEY, IdentityError::Certificate),
            (KEY, KEY, IdentityError::Certificate),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
                KEY,
                IdentityError::Certificate,
            ),
            (CERTIFICATE, "s3cret", IdentityError::PrivateKey),
            (CERTIFICATE, CERTIFICATE, IdentityError::PrivateKey),
            (CERTIFICATE, OTHER_KEY, IdentityError::OtherKey),
        ] {
            assert_eq!(outcome(certificate, key), Err(expected), "{certificate} {key}");
        }
        let missing = |field| Some(IdentityError::Missing { field });
        let refusal = |credentials: &Credentials, is_needed| credentials.client_identity(is_needed).err();
        let alone = credentials(&Value::Null, &"jwk".into());
        assert_eq!(refusal(&alone, false), None);
        assert_eq!(refusal(&alone, true), missing("client_certificate"));
        let keyless = credentials(&CERTIFICATE.into(), &Value::Null);
        assert_eq!(refusal(&keyless, false), missing("client_private_key"));
        let whole = credentials(&CERTIFICATE.into(), &KEY.into());
        let shown = format!("{:?}", whole.client_identity(true));
        assert!(!shown.contains("BEGIN"), "{shown}");
    }
}

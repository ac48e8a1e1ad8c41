//! The functions of the language.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::signature::{Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::credentials::pem_der;

/// What `${name(…)}` computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `awsSigV4(access key, secret key, region, service[, host])`: the `authorization` of the request at hand.
    AwsSigV4,
    Base64,
    /// `ed25519Sign(message, PEM)`: the signature in base64.
    Ed25519Sign,
    /// `fingerprint(PEM)`: `SHA256:` and the digest of an RSA key's public half in base64.
    Fingerprint,
    /// `hmacSha1Hex(message, key)`
    HmacSha1Hex,
    Sha256Base64,
    Sha256Hex,
}

/// Why a function has no result. Never holds an argument: they are secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FunctionError {
    #[error("the key is no PEM text (`-----BEGIN PRIVATE KEY-----` …)")]
    NotPem,
    #[error("the key is no Ed25519 private key in PKCS #8 form")]
    NotEd25519,
    #[error("the key is no RSA private key of 2048 bits or more in PKCS #8 or PKCS #1 form")]
    NotRsa,
}

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "awsSigV4" => Self::AwsSigV4,
            "base64" => Self::Base64,
            "ed25519Sign" => Self::Ed25519Sign,
            "fingerprint" => Self::Fingerprint,
            "hmacSha1Hex" => Self::HmacSha1Hex,
            "sha256Base64" => Self::Sha256Base64,
            "sha256Hex" => Self::Sha256Hex,
            _ => return None,
        })
    }

    /// As many arguments as the parser has made sure of.
    pub(super) fn apply(self, arguments: &[Cow<'_, str>]) -> Result<String, FunctionError> {
        let argument = |index: usize| arguments.get(index).map_or("", AsRef::as_ref);
        match self {
            Self::Base64 => Ok(STANDARD.encode(argument(0))),
            Self::Sha256Hex => Ok(hex(&Sha256::digest(argument(0)))),
            Self::Sha256Base64 => Ok(STANDARD.encode(Sha256::digest(argument(0)))),
            Self::HmacSha1Hex => Ok(hex(&hmac_sha1(argument(1).as_bytes(), argument(0).as_bytes()))),
            Self::Ed25519Sign => ed25519(argument(0), argument(1)),
            Self::Fingerprint => fingerprint(argument(0)),
            // It needs the request, so the renderer asks for it elsewhere.
            Self::AwsSigV4 => Ok(String::new()),
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
            // Writing to a String does not fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

fn hmac_sha1(key: &[u8], message: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length.
    Hmac::<Sha1>::new_from_slice(key).map_or_else(
        |_| Vec::new(),
        |mut mac| {
            mac.update(message);
            mac.finalize().into_bytes().to_vec()
        },
    )
}

fn ed25519(message: &str, pem: &str) -> Result<String, FunctionError> {
    let der = pem_der(pem).ok_or(FunctionError::NotPem)?;
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.expose()).map_err(|_| FunctionError::NotEd25519)?;
    Ok(STANDARD.encode(key.sign(message.as_bytes())))
}

fn fingerprint(pem: &str) -> Result<String, FunctionError> {
    let der = pem_der(pem).ok_or(FunctionError::NotPem)?;
    let key = RsaKeyPair::from_pkcs8(der.expose())
        .or_else(|_| RsaKeyPair::from_der(der.expose()))
        .map_err(|_| FunctionError::NotRsa)?;
    let public = rsa_public_key_info(key.public_key().as_ref());
    Ok(format!("SHA256:{}", STANDARD.encode(Sha256::digest(public))))
}

/// A SubjectPublicKeyInfo (RFC 5280, 4.1) round an RSAPublicKey (RFC 8017, A.1.1).
fn rsa_public_key_info(public_key: &[u8]) -> Vec<u8> {
    // SEQUENCE { OBJECT IDENTIFIER 1.2.840.113549.1.1.1, NULL }
    const RSA_ENCRYPTION: [u8; 15] = [
        0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
    ];
    // The first byte of a bit string counts the bits that are not used.
    let bits = der(0x03, &[&[0], public_key].concat());
    der(0x30, &[&RSA_ENCRYPTION[..], &bits].concat())
}

/// Tag, length, content (X.690).
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut bytes = vec![tag];
    match *significant.as_slice() {
        [] => bytes.push(0),
        [short] if short < 0x80 => bytes.push(short),
        _ => {
            // At most eight bytes of length.
            bytes.push(0x80 | u8::try_from(significant.len()).unwrap_or(8));
            bytes.extend(significant);
        }
    }
    bytes.extend(content);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(function: Function, arguments: &[&str]) -> Result<String, FunctionError> {
        let arguments: Vec<Cow<'_, str>> = arguments.iter().map(|text| Cow::Borrowed(*text)).collect();
        function.apply(&arguments)
    }

    /// FIPS 180-2 and RFC 2202, case 2.
    #[test]
    fn published_digests() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(apply(Function::Sha256Hex, &["abc"]).as_deref(), Ok(abc));
        assert_eq!(
            apply(Function::Sha256Base64, &["abc"]).as_deref(),
            Ok("ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=")
        );
        assert_eq!(
            apply(Function::HmacSha1Hex, &["what do ya want for nothing?", "Jefe"]).as_deref(),
            Ok("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79")
        );
    }

    /// The key of RFC 8410, 10.3; RFC 8032 signatures are deterministic, so the public half verifies it.
    #[test]
    fn an_ed25519_signature_verifies() {
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
        let signature = STANDARD
            .decode(apply(Function::Ed25519Sign, &["message", pem]).unwrap())
            .unwrap();
        let der = pem_der(pem).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.expose()).unwrap();
        let public = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, pair.public_key());
        assert!(public.verify(b"message", &signature).is_ok());
        assert!(public.verify(b"another", &signature).is_err());
        let one_line = pem.replace('\n', "\\n");
        assert_eq!(
            apply(Function::Ed25519Sign, &["message", &one_line]).unwrap(),
            STANDARD.encode(&signature)
        );
    }

    #[test]
    fn keys_that_are_none_are_refused_without_being_shown() {
        assert_eq!(
            apply(Function::Ed25519Sign, &["m", "s3cret"]),
            Err(FunctionError::NotPem)
        );
        let other = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";
        assert_eq!(
            apply(Function::Ed25519Sign, &["m", other]),
            Err(FunctionError::NotEd25519)
        );
        assert_eq!(apply(Function::Fingerprint, &[other]), Err(FunctionError::NotRsa));
    }

    #[test]
    fn lengths_are_written_as_der_does() {
        assert_eq!(der(0x30, &[]), [0x30, 0]);
        assert_eq!(der(0x30, &[7; 127])[..2], [0x30, 127]);
        assert_eq!(der(0x30, &[7; 128])[..3], [0x30, 0x81, 128]);
        assert_eq!(der(0x30, &[7; 256])[..4], [0x30, 0x82, 1, 0]);
    }
}

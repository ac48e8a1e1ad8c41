//! JSON Web Tokens (RFC 7519), signed in compact form (RFC 7515) with the algorithms of RFC 7518 that providers ask for. Pure,
//! but for what ring draws: RSA's blinding, which does not show in the token, and the nonce of ECDSA.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use ring::{hmac, rsa};
use serde_json::Value;

use crate::credentials::{Secret, pem_der};
use crate::model::JsonObject;

/// Why a token cannot be signed. Never holds a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    #[error("`alg` {given:?} is none of HS256, HS384, HS512, RS256, RS384, RS512, PS256, ES256 and ES384")]
    Algorithm { given: String },
    #[error("the signing key is no PEM text (`-----BEGIN PRIVATE KEY-----` …), nor base64 of one")]
    NotPem,
    #[error("the signing key is no hexadecimal text")]
    NotHex,
    #[error("the signing key is no RSA private key of 2048 bits or more in PKCS #8 or PKCS #1 form")]
    NotRsa,
    #[error(
        "the signing key is no private key of the curve of {algorithm} in PKCS #8 form; `openssl pkcs8 -topk8 -nocrypt` makes \
         one of other forms"
    )]
    NotEc { algorithm: &'static str },
    #[error("the signing key is no JSON Web Key (RFC 7517) of type RSA or EC with its private values")]
    NotJwk,
    #[error("the token cannot be signed with this key")]
    Signing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Es256,
    Es384,
}

impl Algorithm {
    const ALL: [Self; 9] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Es256,
        Self::Es384,
    ];

    pub(super) fn named(name: &str) -> Result<Self, JwtError> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.name() == name);
        found.ok_or_else(|| JwtError::Algorithm {
            given: name.chars().take(64).collect(),
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
        }
    }
}

/// A key and what it signs with.
pub(super) struct SigningKey {
    algorithm: Algorithm,
    key: Key,
}

enum Key {
    Hmac(hmac::Key),
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    Ec(Box<EcdsaKeyPair>),
}

/// How the text of a secret for HMAC stands for its bytes: `hmac_secret_encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecretEncoding {
    Hex,
    Utf8,
}

impl SigningKey {
    /// A PEM text, or for HMAC a secret.
    pub(super) fn from_text(algorithm: Algorithm, text: &str, encoding: SecretEncoding) -> Result<Self, JwtError> {
        let key = match algorithm {
            Algorithm::Hs256 => Key::Hmac(hmac_key(hmac::HMAC_SHA256, text, encoding)?),
            Algorithm::Hs384 => Key::Hmac(hmac_key(hmac::HMAC_SHA384, text, encoding)?),
            Algorithm::Hs512 => Key::Hmac(hmac_key(hmac::HMAC_SHA512, text, encoding)?),
            Algorithm::Rs256 => Key::Rsa(rsa_pem(text)?, &RSA_PKCS1_SHA256),
            Algorithm::Rs384 => Key::Rsa(rsa_pem(text)?, &RSA_PKCS1_SHA384),
            Algorithm::Rs512 => Key::Rsa(rsa_pem(text)?, &RSA_PKCS1_SHA512),
            Algorithm::Ps256 => Key::Rsa(rsa_pem(text)?, &RSA_PSS_SHA256),
            Algorithm::Es256 => Key::Ec(ec_pem(algorithm, &ECDSA_P256_SHA256_FIXED_SIGNING, text)?),
            Algorithm::Es384 => Key::Ec(ec_pem(algorithm, &ECDSA_P384_SHA384_FIXED_SIGNING, text)?),
        };
        Ok(Self { algorithm, key })
    }

    /// A JSON Web Key (RFC 7517): of type RSA for RS256, or EC with P-256 or P-384.
    pub(super) fn from_jwk(jwk: &JsonObject) -> Result<Self, JwtError> {
        let word = |name: &str| jwk.get(name).and_then(Value::as_str).unwrap_or_default();
        match (word("kty"), word("crv")) {
            ("RSA", _) => Ok(Self {
                algorithm: Algorithm::Rs256,
                key: Key::Rsa(rsa_jwk(jwk)?, &RSA_PKCS1_SHA256),
            }),
            ("EC", "P-256") => Ok(Self {
                algorithm: Algorithm::Es256,
                key: Key::Ec(ec_jwk(&ECDSA_P256_SHA256_FIXED_SIGNING, jwk)?),
            }),
            ("EC", "P-384") => Ok(Self {
                algorithm: Algorithm::Es384,
                key: Key::Ec(ec_jwk(&ECDSA_P384_SHA384_FIXED_SIGNING, jwk)?),
            }),
            _ => Err(JwtError::NotJwk),
        }
    }

    /// The token. `alg` is put into the header.
    pub(super) fn sign(&self, mut header: JsonObject, claims: JsonObject) -> Result<Secret<String>, JwtError> {
        header.insert("alg".to_owned(), self.algorithm.name().into());
        let mut token = URL_SAFE_NO_PAD.encode(Value::Object(header).to_string());
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(Value::Object(claims).to_string()));
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(Secret::new(token))
    }

    /// The signature alone.
    pub(super) fn signature(&self, message: &[u8]) -> Result<Vec<u8>, JwtError> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Key::Rsa(key, encoding) => {
                let mut signature = vec![0; key.public().modulus_len()];
                let signed = key.sign(*encoding, &random, message, &mut signature);
                signed.map(|()| signature).map_err(|_| JwtError::Signing)
            }
            Key::Ec(key) => {
                let signed = key.sign(&random, message);
                signed
                    .map(|signature| signature.as_ref().to_vec())
                    .map_err(|_| JwtError::Signing)
            }
        }
    }
}

fn hmac_key(algorithm: hmac::Algorithm, text: &str, encoding: SecretEncoding) -> Result<hmac::Key, JwtError> {
    match encoding {
        SecretEncoding::Utf8 => Ok(hmac::Key::new(algorithm, text.as_bytes())),
        SecretEncoding::Hex => Ok(hmac::Key::new(algorithm, unhex(text)?.expose())),
    }
}

fn unhex(text: &str) -> Result<Secret<Vec<u8>>, JwtError> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = text.trim().as_bytes().chunks(2).map(|pair| match *pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    let bytes: Option<Vec<u8>> = bytes.collect();
    bytes
        .filter(|bytes| !bytes.is_empty())
        .map(Secret::new)
        .ok_or(JwtError::NotHex)
}

/// Some keep their PEM text in base64, because line ends get lost.
fn der(text: &str) -> Result<Secret<Vec<u8>>, JwtError> {
    let unpacked = || {
        let packed: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let bytes = STANDARD.decode(packed).ok()?;
        pem_der(&String::from_utf8(bytes).ok()?)
    };
    pem_der(text).or_else(unpacked).ok_or(JwtError::NotPem)
}

fn rsa_pem(text: &str) -> Result<Box<RsaKeyPair>, JwtError> {
    let der = der(text)?;
    let key = RsaKeyPair::from_pkcs8(der.expose()).or_else(|_| RsaKeyPair::from_der(der.expose()));
    key.map(Box::new).map_err(|_| JwtError::NotRsa)
}

fn ec_pem(
    algorithm: Algorithm,
    curve: &'static EcdsaSigningAlgorithm,
    text: &str,
) -> Result<Box<EcdsaKeyPair>, JwtError> {
    let key = EcdsaKeyPair::from_pkcs8(curve, der(text)?.expose(), &SystemRandom::new());
    key.map(Box::new).map_err(|_| JwtError::NotEc {
        algorithm: algorithm.name(),
    })
}

fn rsa_jwk(jwk: &JsonObject) -> Result<Box<RsaKeyPair>, JwtError> {
    let value = |name: &str| jwk_bytes(jwk, name);
    let (n, e, d) = (value("n")?, value("e")?, value("d")?);
    let (p, q, dp, dq, qi) = (value("p")?, value("q")?, value("dp")?, value("dq")?, value("qi")?);
    let components = rsa::KeyPairComponents {
        public_key: rsa::PublicKeyComponents {
            n: n.expose(),
            e: e.expose(),
        },
        d: d.expose(),
        p: p.expose(),
        q: q.expose(),
        dP: dp.expose(),
        dQ: dq.expose(),
        qInv: qi.expose(),
    };
    let key = RsaKeyPair::from_components(&components);
    key.map(Box::new).map_err(|_| JwtError::NotJwk)
}

fn ec_jwk(curve: &'static EcdsaSigningAlgorithm, jwk: &JsonObject) -> Result<Box<EcdsaKeyPair>, JwtError> {
    // An uncompressed point: SEC 1, section 2.3.3.
    let public = [
        &[4],
        &jwk_bytes(jwk, "x")?.expose()[..],
        &jwk_bytes(jwk, "y")?.expose()[..],
    ]
    .concat();
    let private = jwk_bytes(jwk, "d")?;
    let key = EcdsaKeyPair::from_private_key_and_public_key(curve, private.expose(), &public, &SystemRandom::new());
    key.map(Box::new).map_err(|_| JwtError::NotJwk)
}

fn jwk_bytes(jwk: &JsonObject, name: &str) -> Result<Secret<Vec<u8>>, JwtError> {
    let text = jwk.get(name).and_then(Value::as_str).ok_or(JwtError::NotJwk)?;
    URL_SAFE_NO_PAD
        .decode(text)
        .map(Secret::new)
        .map_err(|_| JwtError::NotJwk)
}

#[cfg(test)]
pub(super) mod tests;

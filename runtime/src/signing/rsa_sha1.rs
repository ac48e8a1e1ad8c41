//! RSASSA-PKCS1-v1_5 with SHA-1 (RFC 8017, section 8.2.1): the method RSA-SHA1 of OAuth 1.0a (RFC 5849, section 3.4.3), and nothing
//! else. ring verifies such signatures and makes none, so they are made here: with blinding, so that how long it takes says nothing of
//! the key; and none is given out that ring does not verify, because one that is wrong betrays the key.

use num_bigint::BigUint;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY as VERIFICATION, RsaPublicKeyComponents};
use sha1::{Digest as _, Sha1};

use crate::credentials::pem_der;

/// `DigestInfo` of a SHA-1 hash, up to the hash: RFC 8017, section 9.2, note 1.
const DIGEST_INFO: [u8; 15] = [
    0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14,
];
/// Modulus, in bits. Servers of that age come with keys that short; what is shorter can be factored.
const BITS_MIN: u64 = 1_024;
const BITS_MAX: u64 = 8_192;

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// Why nothing is signed. Never holds a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RsaSha1Error {
    #[error(
        "the integration's `client_secret` is no RSA private key of {BITS_MIN} to {BITS_MAX} bits in PEM form (`-----BEGIN PRIVATE KEY-----` or \
         `-----BEGIN RSA PRIVATE KEY-----`), and RSA-SHA1 signs with one"
    )]
    Key,
    #[error("the numbers of the RSA private key in `client_secret` do not belong together")]
    Inconsistent,
    #[error("the system gives no random numbers")]
    Random,
}

struct Key {
    n: BigUint,
    e: BigUint,
    d: BigUint,
}

/// The signature of a message with the private key of a PEM text.
pub(crate) fn sign(pem: &str, message: &[u8]) -> Result<Vec<u8>, RsaSha1Error> {
    let der = pem_der(pem).ok_or(RsaSha1Error::Key)?;
    let key = Key::of_der(der.expose()).ok_or(RsaSha1Error::Key)?;
    let length = usize::try_from(key.n.bits().div_ceil(8)).map_err(|_| RsaSha1Error::Key)?;
    let encoded = BigUint::from_bytes_be(&encoded(message, length));
    let signature = key.signature(&encoded)?.to_bytes_be();
    let mut whole = vec![0; length.saturating_sub(signature.len())];
    whole.extend(signature);
    let public = RsaPublicKeyComponents {
        n: key.n.to_bytes_be(),
        e: key.e.to_bytes_be(),
    };
    match public.verify(&VERIFICATION, message, &whole) {
        Ok(()) => Ok(whole),
        Err(_) => Err(RsaSha1Error::Inconsistent),
    }
}

/// EMSA-PKCS1-v1_5: RFC 8017, section 9.2.
fn encoded(message: &[u8], length: usize) -> Vec<u8> {
    let hash = Sha1::digest(message);
    let padding = length.saturating_sub(3 + DIGEST_INFO.len() + hash.len());
    let mut encoded = vec![0x00, 0x01];
    encoded.resize(2 + padding, 0xff);
    encoded.push(0x00);
    encoded.extend(DIGEST_INFO);
    encoded.extend(hash);
    encoded
}

impl Key {
    /// PKCS #1 (RFC 8017, A.1.2), by itself or within PKCS #8 (RFC 5208, section 5).
    fn of_der(der: &[u8]) -> Option<Self> {
        let mut outer = Der(Der(der).take(SEQUENCE)?);
        let version = outer.take(INTEGER)?;
        if let Some(_algorithm) = outer.take(SEQUENCE) {
            return Self::of_der(outer.take(OCTETS)?);
        }
        let mut number = || outer.take(INTEGER).map(BigUint::from_bytes_be);
        let key = Self {
            n: number()?,
            e: number()?,
            d: number()?,
        };
        let is_usable = version == [0] && (BITS_MIN..=BITS_MAX).contains(&key.n.bits()) && key.n.bit(0);
        is_usable.then_some(key)
    }

    /// RSASP1 (RFC 8017, section 5.2.1) of `encoded` times a random number to the power of `e`, which is taken out again.
    fn signature(&self, encoded: &BigUint) -> Result<BigUint, RsaSha1Error> {
        let mut random = vec![0; usize::try_from(self.n.bits() / 8).map_err(|_| RsaSha1Error::Key)?];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| RsaSha1Error::Random)?;
        let blind = BigUint::from_bytes_be(&random) % &self.n;
        let unblind = blind.modinv(&self.n).ok_or(RsaSha1Error::Inconsistent)?;
        let blinded = encoded * blind.modpow(&self.e, &self.n) % &self.n;
        Ok(blinded.modpow(&self.d, &self.n) * unblind % &self.n)
    }
}

/// What is left of values in DER (X.690).
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next value, if it is of that kind; else nothing is taken.
    fn take(&mut self, kind: u8) -> Option<&'a [u8]> {
        let (found, rest) = self.0.split_first()?;
        if *found != kind {
            return None;
        }
        let (length, rest) = rest.split_first()?;
        let (length, rest) = match *length {
            short @ 0..=0x7f => (usize::from(short), rest),
            // Two bytes for the length are enough for every key that is usable.
            long @ 0x81..=0x82 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
                (
                    bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
                    rest,
                )
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    /// Of `openssl genrsa -traditional 1024`; it has never been used for anything else.
    const PEM: &str = include_str!("test_keys/rsa-1024.pem");
    /// `openssl dgst -sha1 -sign rsa-1024.pem` of the same message.
    const SIGNED: &str = include_str!("test_keys/rsa-1024.signature");
    const MESSAGE: &[u8] = b"GET&https%3A%2F%2Fapi.test%2F&a%3Db";

    #[test]
    fn it_signs_as_openssl_does() {
        let signed = sign(PEM, MESSAGE).unwrap();
        assert_eq!(STANDARD.encode(signed), SIGNED.trim());
        // The same key in the other form, and with line ends that got lost.
        let pkcs8 = include_str!("test_keys/rsa-1024.pkcs8.pem");
        assert_eq!(STANDARD.encode(sign(pkcs8, MESSAGE).unwrap()), SIGNED.trim());
        assert_eq!(
            STANDARD.encode(sign(&pkcs8.replace('\n', "\\n"), MESSAGE).unwrap()),
            SIGNED.trim()
        );
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let der = pem_der(PEM).unwrap();
        let pem = |der: &[u8]| {
            format!(
                "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
                STANDARD.encode(der)
            )
        };
        let cut = &der.expose()[..der.expose().len() / 3];
        let ec = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----";
        for text in [
            "",
            "a-secret",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
            ec,
            &pem(cut),
        ] {
            assert_eq!(sign(text, MESSAGE), Err(RsaSha1Error::Key), "{text}");
        }
        // Its private exponent is another one: what it would sign betrays the factors.
        let mut wrong = der.expose().clone();
        let key = Key::of_der(&wrong).unwrap();
        let d = key.d.to_bytes_be();
        let at = wrong.windows(d.len()).position(|found| found == d).unwrap();
        wrong[at + d.len() - 1] ^= 2;
        assert_eq!(sign(&pem(&wrong), MESSAGE), Err(RsaSha1Error::Inconsistent));
    }
}

//! OAuth 1.0a (RFC 5849): the `authorization` header of one request.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Uri;
use sha1::Sha1;
use sha2::Sha256;

use super::query::{canonical, encode, encoded_pairs};
use super::rsa_sha1::{self, RsaSha1Error};
use crate::provider::SignatureMethod;

/// Who asks, and the two values that make the request unlike any other.
#[derive(Clone, Copy)]
pub(crate) struct OAuth1<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) client_secret: &'a str,
    /// None while there is none: in the request for temporary credentials (RFC 5849, 2.1).
    pub(crate) token: Option<&'a str>,
    /// Where the customer is to come back to; only in the request for temporary credentials.
    pub(crate) callback: Option<&'a str>,
    /// What the customer came back with; only in the request for the token (RFC 5849, 2.3).
    pub(crate) verifier: Option<&'a str>,
    pub(crate) token_secret: &'a str,
    pub(crate) signature_method: SignatureMethod,
    pub(crate) realm: Option<&'a str>,
    pub(crate) timestamp_s: i64,
    pub(crate) nonce: &'a str,
}

impl OAuth1<'_> {
    /// `form` is the body, when it is a form.
    ///
    /// # Errors
    /// With RSA-SHA1, when the client's secret is no private key.
    pub(crate) fn authorization(
        &self,
        method: &http::Method,
        uri: &Uri,
        form: Option<&str>,
    ) -> Result<String, RsaSha1Error> {
        let timestamp = self.timestamp_s.to_string();
        let optional = |name: &'static str, value: Option<_>| value.map(|value| (name, value));
        let protocol: Vec<(&str, &str)> = [
            optional("oauth_callback", self.callback),
            Some(("oauth_consumer_key", self.client_id)),
            Some(("oauth_nonce", self.nonce)),
            Some(("oauth_signature_method", self.signature_method_name())),
            Some(("oauth_timestamp", timestamp.as_str())),
            optional("oauth_token", self.token),
            optional("oauth_verifier", self.verifier),
            Some(("oauth_version", "1.0")),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut pairs = encoded_pairs(uri.query().unwrap_or_default());
        pairs.extend(form.map(encoded_pairs).unwrap_or_default());
        pairs.extend(protocol.iter().map(|(name, value)| (encode(name), encode(value))));
        let base = format!(
            "{}&{}&{}",
            encode(method.as_str()),
            encode(&base_uri(uri)),
            encode(&canonical(pairs))
        );
        let signature = self.signature(&base)?;
        let mut header = "OAuth ".to_owned();
        // Writing to a String does not fail.
        if let Some(realm) = self.realm {
            let _ = write!(header, "realm=\"{}\", ", encode(realm));
        }
        for (name, value) in &protocol {
            let _ = write!(header, "{name}=\"{}\", ", encode(value));
        }
        let _ = write!(header, "oauth_signature=\"{}\"", encode(&signature));
        Ok(header)
    }

    fn signature_method_name(&self) -> &'static str {
        match self.signature_method {
            SignatureMethod::HmacSha1 => "HMAC-SHA1",
            SignatureMethod::HmacSha256 => "HMAC-SHA256",
            SignatureMethod::RsaSha1 => "RSA-SHA1",
            SignatureMethod::Plaintext => "PLAINTEXT",
        }
    }

    /// RFC 5849, 3.4.2 to 3.4.4.
    fn signature(&self, base: &str) -> Result<String, RsaSha1Error> {
        let key = format!("{}&{}", encode(self.client_secret), encode(self.token_secret));
        Ok(match self.signature_method {
            SignatureMethod::HmacSha1 => STANDARD.encode(hmac_sha1(key.as_bytes(), base.as_bytes())),
            SignatureMethod::HmacSha256 => STANDARD.encode(hmac_sha256(key.as_bytes(), base.as_bytes())),
            // No secret of the token's takes part.
            SignatureMethod::RsaSha1 => STANDARD.encode(rsa_sha1::sign(self.client_secret, base.as_bytes())?),
            SignatureMethod::Plaintext => key,
        })
    }
}

/// Without query; the port only when it is not the scheme's (RFC 5849, 3.4.1.2).
fn base_uri(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("https");
    let host = uri.host().unwrap_or_default();
    let usual = if scheme == "http" { 80 } else { 443 };
    let path = uri.path();
    match uri.port_u16().filter(|port| *port != usual) {
        Some(port) => format!("{scheme}://{host}:{port}{path}"),
        None => format!("{scheme}://{host}{path}"),
    }
}

fn hmac_sha1(key: &[u8], message: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length.
    let mac = Hmac::<Sha1>::new_from_slice(key);
    mac.map_or_else(
        |_| Vec::new(),
        |mac| mac.chain_update(message).finalize().into_bytes().to_vec(),
    )
}

pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length.
    let mac = Hmac::<Sha256>::new_from_slice(key);
    mac.map_or_else(
        |_| Vec::new(),
        |mac| mac.chain_update(message).finalize().into_bytes().to_vec(),
    )
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn signature(header: &str) -> &str {
        let (_, rest) = header.split_once("oauth_signature=\"").unwrap();
        rest.trim_end_matches('"')
    }

    /// <https://developer.x.com/en/docs/authentication/oauth-1-0a/creating-a-signature>
    #[test]
    fn the_example_of_twitter() {
        let example = OAuth1 {
            client_id: "xvz1evFS4wEEPTGEFPHBog",
            client_secret: "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw",
            token: Some("370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb"),
            callback: None,
            verifier: None,
            token_secret: "LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE",
            signature_method: SignatureMethod::HmacSha1,
            realm: None,
            timestamp_s: 1_318_622_958,
            nonce: "kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg",
        };
        let uri = Uri::from_static("https://api.twitter.com/1.1/statuses/update.json?include_entities=true");
        let form = "status=Hello%20Ladies%20%2B%20Gentlemen%2C%20a%20signed%20OAuth%20request%21";
        let header = example.authorization(&Method::POST, &uri, Some(form)).unwrap();
        assert_eq!(
            header,
            "OAuth oauth_consumer_key=\"xvz1evFS4wEEPTGEFPHBog\", \
             oauth_nonce=\"kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg\", oauth_signature_method=\"HMAC-SHA1\", \
             oauth_timestamp=\"1318622958\", oauth_token=\"370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb\", \
             oauth_version=\"1.0\", oauth_signature=\"hCtSmYh%2BiHYCEqBWrE7C7hYmtUk%3D\""
        );
    }

    /// RFC 5849, 3.4.1.1, whose base string is printed there. It leaves `oauth_version` out, so the base string is compared
    /// without it.
    #[test]
    fn the_base_string_of_the_rfc() {
        let uri = Uri::from_static("http://example.com:80/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b");
        let mut pairs = encoded_pairs(uri.query().unwrap());
        pairs.extend(encoded_pairs("c2&a3=2+q"));
        pairs.extend(encoded_pairs(
            "oauth_consumer_key=9djdj82h48djs9d2&oauth_token=kkk9d7dh3k39sjv7&oauth_signature_method=HMAC-SHA1&\
             oauth_timestamp=137131201&oauth_nonce=7d8f3e4a",
        ));
        assert_eq!(
            format!("POST&{}&{}", encode(&base_uri(&uri)), encode(&canonical(pairs))),
            "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26\
             c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26\
             oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
        );
    }

    #[test]
    fn plaintext_is_both_secrets() {
        let plaintext = OAuth1 {
            client_id: "jd83jd92dhsh93js",
            client_secret: "ja893SD9&",
            token: Some("t"),
            callback: None,
            verifier: None,
            token_secret: "xyz4992k83j47x0b",
            signature_method: SignatureMethod::Plaintext,
            realm: None,
            timestamp_s: 1,
            nonce: "n",
        };
        let uri = Uri::from_static("https://api.test/");
        let header = plaintext.authorization(&Method::GET, &uri, None).unwrap();
        assert_eq!(signature(&header), "ja893SD9%2526%26xyz4992k83j47x0b");
    }

    /// <https://developer.x.com/en/docs/authentication/api-reference/request_token> leaves the token out and signs the callback.
    #[test]
    fn a_callback_is_signed_before_there_is_a_token() {
        let first = OAuth1 {
            client_id: "ck",
            client_secret: "cs",
            token: None,
            callback: Some("https://acme.test/oauth/callback?a=b"),
            verifier: None,
            token_secret: "",
            signature_method: SignatureMethod::HmacSha1,
            realm: None,
            timestamp_s: 1,
            nonce: "n",
        };
        let uri = Uri::from_static("https://api.test/oauth/request_token");
        let header = first.authorization(&Method::POST, &uri, None).unwrap();
        let begin =
            "OAuth oauth_callback=\"https%3A%2F%2Facme.test%2Foauth%2Fcallback%3Fa%3Db\", oauth_consumer_key=\"ck\"";
        assert!(header.starts_with(begin), "{header}");
        assert!(!header.contains("oauth_token"), "{header}");
        let elsewhere = OAuth1 {
            callback: Some("https://evil.test/"),
            ..first
        };
        let other = elsewhere.authorization(&Method::POST, &uri, None).unwrap();
        assert_ne!(signature(&header), signature(&other));
    }

    #[test]
    fn a_verifier_is_signed_with_the_temporary_token() {
        let last = OAuth1 {
            client_id: "ck",
            client_secret: "cs",
            token: Some("temporary"),
            callback: None,
            verifier: Some("473f82d3"),
            token_secret: "ts",
            signature_method: SignatureMethod::HmacSha256,
            realm: None,
            timestamp_s: 1,
            nonce: "n",
        };
        let uri = Uri::from_static("https://api.test/oauth/access_token");
        let header = last.authorization(&Method::POST, &uri, None).unwrap();
        assert!(
            header.contains("oauth_token=\"temporary\", oauth_verifier=\"473f82d3\", oauth_version"),
            "{header}"
        );
        let without = OAuth1 { verifier: None, ..last };
        assert_ne!(
            signature(&header),
            signature(&without.authorization(&Method::POST, &uri, None).unwrap())
        );
    }

    #[test]
    fn an_unusual_port_is_part_of_the_base_string() {
        assert_eq!(
            base_uri(&Uri::from_static("http://a.test:8080/x?y")),
            "http://a.test:8080/x"
        );
        assert_eq!(base_uri(&Uri::from_static("https://a.test:443/x")), "https://a.test/x");
    }
}

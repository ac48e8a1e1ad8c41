//! Whether the provider sent it: the signature, or the token, against the integration's secret. Pure. Bytes are compared in constant
//! time, and the body is taken as it came.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use jiff::Timestamp;
use ring::hmac;

use super::IngressError;
use super::request::Reader;
use crate::credentials::Secret;
use crate::provider::{
    HashAlgorithm, HmacScheme, Place, Scheme, SecretEncoding, SignatureEncoding, SignedPart, TimestampPlace,
    TimestampUnit, WebhookVerification,
};

/// Signatures that one webhook may have: more than one while the provider's secret is rotated.
const SIGNATURES_MAX: usize = 16;

/// Says that it is genuine, in one of the ways that the provider has. `url` is where the provider was told to send it.
pub(super) fn verify(
    rules: &WebhookVerification,
    reader: &Reader<'_>,
    url: &str,
    secret: &Secret<String>,
    now_ms: i64,
) -> Result<(), IngressError> {
    let Err(error) = verify_one(rules, reader, url, secret, now_ms) else {
        return Ok(());
    };
    let Some(or) = &rules.or else { return Err(error) };
    verify(or, reader, url, secret, now_ms).map_err(|other| {
        // What is wrong with a proof that is there says more than that there is no other; and one that is old was right.
        let is_old = matches!(error, IngressError::Stale { .. });
        if is_old || (is_missing(&other) && !is_missing(&error)) {
            error
        } else {
            other
        }
    })
}

fn is_missing(error: &IngressError) -> bool {
    matches!(
        error,
        IngressError::MissingSignature { .. } | IngressError::MissingToken { .. }
    )
}

fn verify_one(
    rules: &WebhookVerification,
    reader: &Reader<'_>,
    url: &str,
    secret: &Secret<String>,
    now_ms: i64,
) -> Result<(), IngressError> {
    let header = reader.at(&rules.proof);
    let proofs = proofs(rules, &header);
    match &rules.scheme {
        Scheme::Token => {
            if proofs.is_empty() {
                let place = name_of(&rules.proof);
                return Err(IngressError::MissingToken { place });
            }
            let key = key(rules, secret)?;
            // Keyed hashes of both are compared: how much of the token is right does not show in the time it takes.
            let hash = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
            let expected = hmac::sign(&hash, key.expose());
            let is_it = |given: &&str| hmac::verify(&hash, given.as_bytes(), expected.as_ref()).is_ok();
            if proofs.iter().any(is_it) {
                Ok(())
            } else {
                Err(IngressError::InvalidSignature)
            }
        }
        Scheme::Hmac(scheme) => signed(rules, scheme, reader, url, secret, &header, &proofs, now_ms),
    }
}

#[expect(clippy::too_many_arguments, reason = "all that a signature rests on")]
fn signed(
    rules: &WebhookVerification,
    scheme: &HmacScheme,
    reader: &Reader<'_>,
    url: &str,
    secret: &Secret<String>,
    header: &[String],
    proofs: &[&str],
    now_ms: i64,
) -> Result<(), IngressError> {
    let missing = |place: &Place| IngressError::MissingSignature { place: name_of(place) };
    let tags: Vec<Vec<u8>> = proofs
        .iter()
        .filter_map(|proof| decode(scheme.encoding, proof))
        .collect();
    if tags.is_empty() {
        return Err(missing(&rules.proof));
    }
    let timestamp = match &scheme.timestamp {
        None => None,
        Some(rule) => {
            let found = match &rule.at {
                TimestampPlace::Place(place) => reader.first(place).ok_or_else(|| missing(place))?,
                TimestampPlace::Pair(name) => pair(header, name)
                    .next()
                    .ok_or_else(|| missing(&rules.proof))?
                    .to_owned(),
            };
            Some((rule, found))
        }
    };
    let stamp = timestamp.as_ref().map_or("", |(_, stamp)| stamp.as_str());
    let content = content(scheme, reader, url, stamp);
    let algorithm = match scheme.algorithm {
        HashAlgorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        HashAlgorithm::Sha256 => hmac::HMAC_SHA256,
        HashAlgorithm::Sha512 => hmac::HMAC_SHA512,
    };
    let key = hmac::Key::new(algorithm, key(rules, secret)?.expose());
    if !tags.iter().any(|tag| hmac::verify(&key, &content, tag).is_ok()) {
        return Err(IngressError::InvalidSignature);
    }
    // Looked at last: what is said of the time is only worth something once it is known who said it.
    if let Some((rule, stamp)) = &timestamp {
        let at_ms = moment_ms(rule.unit, stamp).ok_or(IngressError::InvalidSignature)?;
        let age_s = now_ms.saturating_sub(at_ms) / 1_000;
        if age_s.saturating_abs() > rule.tolerance_s {
            return Err(IngressError::Stale {
                age_s,
                tolerance_s: rule.tolerance_s,
            });
        }
    }
    Ok(())
}

/// The key that the secret stands for.
pub(super) fn key(rules: &WebhookVerification, secret: &Secret<String>) -> Result<Secret<Vec<u8>>, IngressError> {
    let text = secret.expose().as_str();
    let text = text.strip_prefix(rules.secret_prefix.as_str()).unwrap_or(text);
    let unusable = |expected| IngressError::UnusableSecret { expected };
    let key = match rules.secret_encoding {
        SecretEncoding::Text => text.as_bytes().to_vec(),
        SecretEncoding::Hex => unhex(text).ok_or_else(|| unusable("hex"))?,
        SecretEncoding::Base64 => unbase64(text).ok_or_else(|| unusable("base64"))?,
    };
    Ok(Secret::new(key))
}

/// What is offered as proof: one, or those of the name in question of a list.
fn proofs<'h>(rules: &WebhookVerification, header: &'h [String]) -> Vec<&'h str> {
    let all: Vec<&str> = match &rules.pair {
        Some(name) => pair(header, name).take(SIGNATURES_MAX).collect(),
        None if matches!(rules.scheme, Scheme::Token) => header.iter().map(String::as_str).collect(),
        // As Standard Webhooks has it, there may be several in one header; no signature has a space in it.
        None => {
            let each = header.iter().flat_map(|line| line.split_ascii_whitespace());
            each.take(SIGNATURES_MAX).collect()
        }
    };
    let prefixed = all.into_iter();
    prefixed
        .filter_map(|proof| proof.strip_prefix(rules.prefix.as_str()))
        .collect()
}

/// Of `t=1,v1=a,v1=b` those of one name.
fn pair<'h>(header: &'h [String], name: &str) -> impl Iterator<Item = &'h str> {
    let pairs = header.iter().flat_map(|line| line.split(','));
    pairs.filter_map(move |pair| {
        let (found, value) = pair.split_once('=')?;
        (found.trim() == name).then_some(value.trim())
    })
}

fn content<'a>(scheme: &HmacScheme, reader: &'a Reader<'_>, url: &str, timestamp: &str) -> Cow<'a, [u8]> {
    let incoming = reader.incoming;
    if scheme.signed == [SignedPart::Body] {
        return Cow::Borrowed(&incoming.body);
    }
    let mut content = Vec::with_capacity(incoming.body.len() + 256);
    for part in &scheme.signed {
        match part {
            SignedPart::Text(text) => content.extend_from_slice(text.as_bytes()),
            SignedPart::Body => content.extend_from_slice(&incoming.body),
            SignedPart::Timestamp => content.extend_from_slice(timestamp.as_bytes()),
            SignedPart::Method => content.extend_from_slice(incoming.method.as_str().as_bytes()),
            SignedPart::Url => content.extend_from_slice(url.as_bytes()),
            SignedPart::Header(name) => {
                let value = incoming.headers.get(name).map_or(&b""[..], http::HeaderValue::as_bytes);
                content.extend_from_slice(value);
            }
            SignedPart::Form => {
                let mut form = reader.form();
                form.sort();
                form.dedup();
                for (name, value) in form {
                    content.extend_from_slice(name.as_bytes());
                    content.extend_from_slice(value.as_bytes());
                }
            }
        }
    }
    Cow::Owned(content)
}

fn moment_ms(unit: TimestampUnit, stamp: &str) -> Option<i64> {
    match unit {
        TimestampUnit::S => stamp.parse::<i64>().ok()?.checked_mul(1_000),
        TimestampUnit::Ms => stamp.parse().ok(),
        TimestampUnit::Iso => Some(stamp.parse::<Timestamp>().ok()?.as_millisecond()),
    }
}

fn decode(encoding: SignatureEncoding, text: &str) -> Option<Vec<u8>> {
    match encoding {
        SignatureEncoding::Hex => unhex(text),
        SignatureEncoding::Base64 => unbase64(text),
    }
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut pairs = text.as_bytes().chunks_exact(2);
    for pair in &mut pairs {
        let [high, low] = pair else { return None };
        bytes.push((digit(*high)? << 4) | digit(*low)?);
    }
    pairs.remainder().is_empty().then_some(bytes)
}

/// As provider data writes it.
fn name_of(place: &Place) -> String {
    match place {
        Place::Header(name) => format!("header.{name}"),
        Place::Query(name) => format!("query.{name}"),
        Place::Form(name) => format!("form.{name}"),
        Place::Body(_) => "body".to_owned(),
    }
}

#[cfg(test)]
mod tests;

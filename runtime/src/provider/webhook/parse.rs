//! The key `webhook` of an entry, from what is written to what is meant.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    ConnectionRule, Handshake, HandshakeAnswer, HashAlgorithm, HmacScheme, InstallationRule, Place, Scheme,
    SecretEncoding, SecretSource, SignatureEncoding, SignedPart, TimestampPlace, TimestampRule, TimestampUnit,
    WebhookSpec, WebhookVerification,
};
use crate::provider::entry::EntryError;
use crate::provider::template::Template;

/// What `tolerance_s` is when nothing is said: five minutes, as most providers recommend.
const TOLERANCE_S: u32 = 300;

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct Given {
    verification: GivenVerification,
    #[serde(default)]
    handshakes: Vec<GivenHandshake>,
    #[serde(default)]
    events: Vec<String>,
    #[serde(default)]
    connections: Vec<GivenRule>,
    installation: Option<GivenInstallation>,
    #[serde(default)]
    empty_answer: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenVerification {
    scheme: GivenScheme,
    algorithm: Option<HashAlgorithm>,
    #[serde(default)]
    encoding: SignatureEncoding,
    /// Where the signature or the token is.
    proof: String,
    #[serde(default)]
    prefix: String,
    pair: Option<String>,
    signed: Option<String>,
    timestamp: Option<String>,
    #[serde(default)]
    timestamp_unit: TimestampUnit,
    tolerance_s: Option<u32>,
    secret: Option<Vec<SecretSource>>,
    #[serde(default)]
    secret_prefix: String,
    #[serde(default)]
    secret_encoding: SecretEncoding,
    or: Option<Box<GivenVerification>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum GivenScheme {
    Hmac,
    Token,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenHandshake {
    when: String,
    is: Option<String>,
    #[serde(default = "yes")]
    signed: bool,
    keep: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    text: Option<String>,
    #[serde(default)]
    json: BTreeMap<String, String>,
    #[serde(default)]
    json_hmac: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenRule {
    from: String,
    equals: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenInstallation {
    when: BTreeMap<String, String>,
    by: String,
    awaited: String,
}

fn yes() -> bool {
    true
}

pub(in crate::provider) fn webhook(given: Given) -> Result<WebhookSpec, EntryError> {
    let handshakes = given.handshakes.into_iter().map(handshake);
    let events = given.events.iter().map(|text| place("webhook.events", text));
    let rules = given.connections.iter().map(|rule| {
        Ok(ConnectionRule {
            from: place("webhook.connections.from", &rule.from)?,
            equals: Template::parse(&rule.equals).map_err(|source| EntryError::Template {
                key: "webhook.connections.equals".to_owned(),
                source,
            })?,
        })
    });
    Ok(WebhookSpec {
        verification: verification(given.verification)?,
        handshakes: handshakes.collect::<Result<_, _>>()?,
        events: events.collect::<Result<_, _>>()?,
        connections: rules.collect::<Result<_, EntryError>>()?,
        installation: given.installation.map(installation).transpose()?,
        empty_answer: given.empty_answer,
    })
}

fn installation(given: GivenInstallation) -> Result<InstallationRule, EntryError> {
    const KEY: &str = "webhook.installation";
    let when = given.when.into_iter().map(|(text, is)| Ok((place(KEY, &text)?, is)));
    let when: Vec<_> = when.collect::<Result<_, EntryError>>()?;
    if when.is_empty() {
        return Err(wrong(
            KEY,
            "`when` says which webhooks tell of an installation; it is empty",
        ));
    }
    // What is in a query or a header is not signed everywhere.
    let by = place(KEY, &given.by)?;
    if !by.is_in_body() {
        return Err(wrong(KEY, "`by` is in the body, which is signed"));
    }
    Ok(InstallationRule {
        when,
        by,
        awaited: given.awaited,
    })
}

fn verification(mut given: GivenVerification) -> Result<WebhookVerification, EntryError> {
    let secrets = given.secret.take().unwrap_or(vec![SecretSource::WebhookSecret]);
    if secrets.is_empty() {
        return Err(wrong("webhook.verification.secret", "names no secret"));
    }
    let or = match given.or.take() {
        Some(or) if or.secret.is_some() => {
            let what = "another way is checked with the same secrets: `secret` stands beside `or`, not within";
            return Err(wrong("webhook.verification.or", what));
        }
        Some(or) => Some(Box::new(WebhookVerification {
            secrets: secrets.clone(),
            ..verification(*or)?
        })),
        None => None,
    };
    let scheme = match given.scheme {
        GivenScheme::Token => Scheme::Token,
        GivenScheme::Hmac => Scheme::Hmac(hmac(&given)?),
    };
    let is_plain_token = given.algorithm.is_none() && given.signed.is_none() && given.timestamp.is_none();
    if given.scheme == GivenScheme::Token && !is_plain_token {
        let what = "`token` compares the secret itself: `algorithm`, `signed` and `timestamp` are for `hmac`";
        return Err(wrong("webhook.verification.scheme", what));
    }
    Ok(WebhookVerification {
        scheme,
        proof: place("webhook.verification.proof", &given.proof)?,
        prefix: given.prefix,
        pair: given.pair,
        secrets,
        secret_prefix: given.secret_prefix,
        secret_encoding: given.secret_encoding,
        or,
    })
}

fn hmac(given: &GivenVerification) -> Result<HmacScheme, EntryError> {
    let signed = signed_parts(given.signed.as_deref().unwrap_or("${body}"))?;
    let timestamp = match &given.timestamp {
        None => None,
        Some(text) => Some(TimestampRule {
            at: match text.strip_prefix("pair.") {
                Some(name) if given.pair.is_some() => TimestampPlace::Pair(name.to_owned()),
                Some(_) | None => TimestampPlace::Place(place("webhook.verification.timestamp", text)?),
            },
            unit: given.timestamp_unit,
            tolerance_s: given.tolerance_s.unwrap_or(TOLERANCE_S).into(),
        }),
    };
    // Otherwise whoever recorded a request could send it again with another time.
    let is_covered = match &timestamp {
        None => !signed.contains(&SignedPart::Timestamp),
        Some(rule) => {
            let is_in_body = matches!(&rule.at, TimestampPlace::Place(place) if place.is_in_body());
            is_in_body || signed.contains(&SignedPart::Timestamp)
        }
    };
    if !is_covered {
        let what =
            "a timestamp is signed, as `${timestamp}` in `signed` or within the body, and `${timestamp}` needs one";
        return Err(wrong("webhook.verification.timestamp", what));
    }
    Ok(HmacScheme {
        algorithm: given.algorithm.unwrap_or(HashAlgorithm::Sha256),
        encoding: given.encoding,
        signed,
        timestamp,
    })
}

/// `v0:${timestamp}:${body}`
fn signed_parts(source: &str) -> Result<Vec<SignedPart>, EntryError> {
    const KEY: &str = "webhook.verification.signed";
    let mut parts = Vec::new();
    let mut rest = source;
    while let Some((text, after)) = rest.split_once("${") {
        if !text.is_empty() {
            parts.push(SignedPart::Text(text.to_owned()));
        }
        let Some((name, after)) = after.split_once('}') else {
            return Err(wrong(KEY, "a `${` has no `}`"));
        };
        parts.push(match name {
            "body" => SignedPart::Body,
            "timestamp" => SignedPart::Timestamp,
            "method" => SignedPart::Method,
            "url" => SignedPart::Url,
            "form" => SignedPart::Form,
            name => match name.strip_prefix("header.") {
                Some(header) => SignedPart::Header(header.to_ascii_lowercase()),
                None => {
                    return Err(wrong(
                        KEY,
                        "knows `body`, `timestamp`, `method`, `url`, `form` and `header.name`",
                    ));
                }
            },
        });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(SignedPart::Text(rest.to_owned()));
    }
    if !parts
        .iter()
        .any(|part| matches!(part, SignedPart::Body | SignedPart::Form))
    {
        return Err(wrong(
            KEY,
            "must hold the body: a signature that does not cover it says nothing of it",
        ));
    }
    Ok(parts)
}

fn handshake(given: GivenHandshake) -> Result<Handshake, EntryError> {
    const KEY: &str = "webhook.handshakes";
    let places = |given: BTreeMap<String, String>| -> Result<Vec<(String, Place)>, EntryError> {
        let places = given.into_iter();
        places.map(|(name, text)| Ok((name, place(KEY, &text)?))).collect()
    };
    let has_json = !given.json.is_empty() || !given.json_hmac.is_empty();
    let keep = given.keep.map(|text| place(KEY, &text)).transpose()?;
    if given.signed && keep.is_some() {
        return Err(wrong(
            KEY,
            "`keep` is for what nobody could sign yet; it needs `signed: false`",
        ));
    }
    let is_bare = given.text.is_none() && !has_json;
    if given
        .headers
        .keys()
        .any(|name| http::HeaderName::from_bytes(name.as_bytes()).is_err())
    {
        return Err(wrong(KEY, "`headers` has a name that no header has"));
    }
    let answer = match given.text {
        _ if is_bare && (keep.is_some() || !given.headers.is_empty()) => {
            HandshakeAnswer::Headers(places(given.headers)?)
        }
        Some(_) | None if !given.headers.is_empty() => {
            return Err(wrong(
                KEY,
                "`headers` are an answer without `text`, `json` and `json_hmac`",
            ));
        }
        Some(text) if !has_json => HandshakeAnswer::Text(place(KEY, &text)?),
        None if has_json => HandshakeAnswer::Json {
            plain: places(given.json)?,
            signed: places(given.json_hmac)?,
        },
        Some(_) | None => {
            return Err(wrong(
                KEY,
                "an answer is either `text`, or `json` and `json_hmac`, or `headers`",
            ));
        }
    };
    if !given.signed && matches!(&answer, HandshakeAnswer::Json { signed, .. } if !signed.is_empty()) {
        return Err(wrong(
            KEY,
            "`json_hmac` would sign whatever strangers ask for; it needs `signed: true`",
        ));
    }
    Ok(Handshake {
        when: place(KEY, &given.when)?,
        is: given.is,
        signed: given.signed,
        keep,
        answer,
    })
}

fn place(key: &'static str, text: &str) -> Result<Place, EntryError> {
    Place::parse(text).ok_or_else(|| EntryError::Place {
        key,
        value: text.to_owned(),
    })
}

fn wrong(key: &'static str, what: &'static str) -> EntryError {
    EntryError::Webhook { key, what }
}

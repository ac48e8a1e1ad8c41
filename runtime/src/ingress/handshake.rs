//! Requests that only want to hear whether somebody is there, and their answers.

use std::fmt::Write as _;

use ring::hmac;
use serde_json::{Map, Value};

use super::request::Reader;
use crate::credentials::Secret;
use crate::provider::{Handshake, HandshakeAnswer};

/// What the provider is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Its webhooks are not received: nothing was kept.
    NotReceived,
    /// It was taken.
    Taken,
    /// It was taken, and a connection was made of what it told.
    Installed,
    /// It was taken, and the provider wants no body.
    TakenWithoutBody,
    /// A handshake's answer: these headers and no body.
    Headers(Vec<(String, String)>),
    /// A handshake's answer, as plain text.
    Text(String),
    /// A handshake's answer.
    Json(Value),
}

/// The one of the handshakes that this is; `signed` says of which kind.
pub(super) fn find<'h>(handshakes: &'h [Handshake], reader: &Reader<'_>, signed: bool) -> Option<&'h Handshake> {
    let mut candidates = handshakes.iter().filter(|handshake| handshake.signed == signed);
    candidates.find(|handshake| {
        let found = reader.first(&handshake.when);
        found.is_some_and(|found| handshake.is.as_ref().is_none_or(|is| *is == found))
    })
}

pub(super) fn answer(handshake: &Handshake, reader: &Reader<'_>, key: Option<&Secret<Vec<u8>>>) -> Reply {
    match &handshake.answer {
        HandshakeAnswer::Headers(headers) => {
            let found = headers
                .iter()
                .filter_map(|(name, place)| Some((name.clone(), reader.first(place)?)));
            Reply::Headers(found.collect())
        }
        HandshakeAnswer::Text(place) => Reply::Text(reader.first(place).unwrap_or_default()),
        HandshakeAnswer::Json { plain, signed } => {
            let mut object = Map::new();
            for (name, place) in plain {
                object.insert(name.clone(), reader.first(place).into());
            }
            for (name, place) in signed {
                let value = reader.first(place).zip(key).map(|(value, key)| {
                    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
                    let mut hex = String::new();
                    for byte in hmac::sign(&key, value.as_bytes()).as_ref() {
                        // Writing to a string does not fail.
                        let _ = write!(hex, "{byte:02x}");
                    }
                    hex
                });
                object.insert(name.clone(), value.into());
            }
            Reply::Json(Value::Object(object))
        }
    }
}

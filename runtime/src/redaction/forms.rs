//! What a secret turns into that cannot be undone without knowing it.

use std::collections::BTreeSet;

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::credentials::{SECRET_BYTES_MIN, Secret};

/// All but RFC 3986's unreserved characters.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One spelling of one secret.
pub(super) struct Form {
    bytes: Secret<Vec<u8>>,
    is_base64: bool,
}

impl Form {
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.expose()
    }

    /// What to mask for a match from `start` to `end`. The characters next to a match in base64 hold bits of the secret
    /// and of its neighbours: they are left out of the form and masked here.
    pub(super) fn reach(&self, text: &[u8], start: usize, end: usize) -> (usize, usize) {
        if !self.is_base64 {
            return (start, end);
        }
        let is_base64 = |at: usize| {
            matches!(
                text.get(at),
                Some(b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'_')
            )
        };
        let start = start
            .checked_sub(1)
            .filter(|before| is_base64(*before))
            .unwrap_or(start);
        let end = if is_base64(end) { end + 1 } else { end };
        let padding = text.get(end..).unwrap_or_default().iter().take(2);
        (start, end + padding.take_while(|byte| **byte == b'=').count())
    }
}

/// All forms of all secrets, each once.
pub(super) fn of<'s>(secrets: impl Iterator<Item = &'s str>) -> Vec<Form> {
    let (mut plain, mut base64) = (BTreeSet::new(), BTreeSet::new());
    for secret in secrets {
        plain.insert(secret.as_bytes().to_vec());
        plain.insert(hex(secret, b"0123456789abcdef"));
        plain.insert(hex(secret, b"0123456789ABCDEF"));
        // What is put into base64 may have been encoded before: RFC 6749 §2.3.1 wants it so for Basic, and JSON web tokens
        // hold JSON.
        let percent = utf8_percent_encode(secret, UNRESERVED).to_string();
        let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        for text in BTreeSet::from([secret, json(secret).as_str(), percent.as_str(), form.as_str()]) {
            for offset in 0..3 {
                for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                    base64.extend(base64_at(&engine, offset, text));
                }
            }
        }
    }
    let form = |is_base64| {
        move |bytes| Form {
            bytes: Secret::new(bytes),
            is_base64,
        }
    };
    let plain = plain.into_iter().map(form(false));
    plain.chain(base64.into_iter().map(form(true))).collect()
}

fn hex(secret: &str, digits: &[u8; 16]) -> Vec<u8> {
    let digit = |nibble: u8| digits.get(usize::from(nibble)).copied().unwrap_or_default();
    secret
        .bytes()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// As JSON writes it between quotes.
fn json(secret: &str) -> String {
    let quoted = serde_json::Value::from(secret).to_string();
    quoted
        .get(1..quoted.len().saturating_sub(1))
        .unwrap_or(secret)
        .to_owned()
}

/// The base64 characters that a text alone determines when it stands `offset` bytes (modulo 3) behind the start.
fn base64_at(engine: &impl base64::Engine, offset: usize, text: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![0; offset];
    bytes.extend_from_slice(text.as_bytes());
    let first = (offset * 8).div_ceil(6);
    let end = bytes.len() * 8 / 6;
    let encoded = engine.encode(&bytes);
    let determined = encoded.get(first..end)?;
    (determined.len() >= SECRET_BYTES_MIN).then(|| determined.as_bytes().to_vec())
}

//! The body of a request or an answer in a recording: as text where it is text, so that people can read it and secrets in it are found.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Bytes as they were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    #[default]
    Empty,
    Text(String),
    Base64(String),
}

impl Body {
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::Empty;
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(BASE64.encode(bytes)),
        }
    }

    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Empty => Vec::new(),
            Self::Text(text) => text.clone().into_bytes(),
            // Written by `new`; what somebody broke by hand is empty, and the function will say what it misses.
            Self::Base64(text) => BASE64.decode(text).unwrap_or_default(),
        }
    }

    /// The same content, written differently: the order of members and white space of JSON do not count.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self == other
            || self
                .json()
                .is_some_and(|json| other.json().is_some_and(|other| other == json))
    }

    pub(super) fn json(&self) -> Option<Value> {
        match self {
            Self::Text(text) => serde_json::from_str(text).ok(),
            Self::Empty | Self::Base64(_) => None,
        }
    }
}

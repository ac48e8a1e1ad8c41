//! Looks for secrets in bytes, in whatever way they may have been written down: as they are, in JSON, percent-encoded, as hex, and
//! in base64 at any place of a longer text.

use std::collections::BTreeSet;
use std::path::Path;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

/// What `encodeURIComponent` encodes of ASCII.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');
/// What a query encodes at least.
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');
/// Shorter ones are found by chance.
const SECRET_BYTES_MIN: usize = 8;

/// Secrets, each with a name for messages.
#[derive(Debug, Default)]
pub struct Secrets {
    known: Vec<(String, Vec<u8>)>,
}

/// Something that finds them.
#[derive(Debug, Default)]
pub struct Finder {
    /// None finds nothing.
    automaton: Option<AhoCorasick>,
    /// What each pattern is a form of.
    of: Vec<(String, String)>,
}

impl Secrets {
    /// One more.
    ///
    /// # Panics
    ///
    /// When it is so short that it would be found by chance.
    pub fn add(&mut self, name: &str, secret: impl AsRef<[u8]>) {
        let secret = secret.as_ref();
        assert!(
            secret.len() >= SECRET_BYTES_MIN,
            "{name} is no secret: {:?}",
            String::from_utf8_lossy(secret)
        );
        if !self.known.iter().any(|(_, known)| known == secret) {
            self.known.push((name.to_owned(), secret.to_vec()));
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// # Panics
    ///
    /// When there are more than memory holds.
    #[must_use]
    pub fn finder(&self) -> Finder {
        if self.known.is_empty() {
            return Finder::default();
        }
        let mut of = Vec::new();
        let mut patterns = Vec::new();
        for (name, secret) in &self.known {
            for form in forms(secret) {
                of.push((name.clone(), String::from_utf8_lossy(&form).into_owned()));
                patterns.push(form);
            }
        }
        Finder {
            automaton: Some(AhoCorasick::new(patterns).expect("there are few secrets")),
            of,
        }
    }
}

impl Finder {
    /// Each secret that is in there, with the form that it was found in.
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> BTreeSet<(String, String)> {
        let found = self
            .automaton
            .iter()
            .flat_map(|automaton| automaton.find_overlapping_iter(bytes));
        found.map(|found| self.of[found.pattern().as_usize()].clone()).collect()
    }

    /// # Panics
    ///
    /// When a secret is in there.
    #[track_caller]
    pub fn none_in(&self, place: &str, bytes: &[u8]) {
        let found = self.find(bytes);
        if let Some((name, form)) = found.first() {
            let first = self.automaton.as_ref().and_then(|automaton| automaton.find(bytes));
            let at = first.map_or(0, |found| found.start());
            let around = &bytes[at.saturating_sub(300)..bytes.len().min(at + 200)];
            panic!(
                "{name} is in {place} as {form:?} ({} found in all), around: {}",
                found.len(),
                String::from_utf8_lossy(around)
            );
        }
    }

    /// Every file below a folder but those of that name.
    ///
    /// # Panics
    ///
    /// When a secret is in one of them.
    pub fn none_in_files(&self, folder: &Path, but: &str) {
        for entry in std::fs::read_dir(folder).expect("the folder can be listed") {
            let path = entry.expect("the folder can be listed").path();
            if path.is_dir() {
                self.none_in_files(&path, but);
            } else if path.file_name().is_some_and(|name| name != but) {
                // One that a server has deleted meanwhile holds nothing.
                let bytes = std::fs::read(&path).unwrap_or_default();
                self.none_in(&path.display().to_string(), &bytes);
            }
        }
    }
}

/// The ways in which a secret could be written down.
fn forms(secret: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut forms: BTreeSet<Vec<u8>> = BTreeSet::from([secret.to_vec()]);
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    forms.insert(hex.to_ascii_uppercase().into());
    forms.insert(hex.into());
    if let Ok(text) = std::str::from_utf8(secret) {
        let in_json = |text: &str| {
            let json = serde_json::to_string(text).expect("a text is JSON");
            json[1..json.len() - 1].to_owned()
        };
        forms.insert(in_json(text).into());
        forms.insert(in_json(&in_json(text)).into());
        for set in [NON_ALPHANUMERIC, COMPONENT, QUERY] {
            let encoded = utf8_percent_encode(text, set).to_string();
            forms.insert(encoded.replace("%20", "+").into());
            forms.insert(utf8_percent_encode(&encoded, set).to_string().into());
            forms.insert(encoded.into());
        }
    }
    for before in 0..3 {
        let text = [&[0; 3][..before], secret].concat();
        // Those characters that hold bits of the secret and of nothing beside it.
        let (first, end) = ((before * 8).div_ceil(6), text.len() * 8 / 6);
        for encoded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
            forms.insert(encoded[first..end].into());
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_found_anywhere() {
        let secret = "pä/ss+wörd of \"one\"&";
        let mut secrets = Secrets::default();
        secrets.add("it", secret);
        let finder = secrets.finder();
        let hex: String = secret.bytes().map(|byte| format!("{byte:02X}")).collect();
        let mut texts = vec![
            format!("x{secret}x"),
            serde_json::json!({ "a": secret }).to_string(),
            serde_json::json!(serde_json::json!({ "a": secret }).to_string()).to_string(),
            format!("a={}&b", utf8_percent_encode(secret, NON_ALPHANUMERIC)),
            format!("a={}&b", utf8_percent_encode(secret, COMPONENT)).replace("%20", "+"),
            hex,
        ];
        for before in ["", "u", "us", "user:", "user12:"] {
            for after in ["", "1", "12", "123"] {
                let text = format!("{before}{secret}{after}");
                texts.push(STANDARD_NO_PAD.encode(&text));
                texts.push(URL_SAFE_NO_PAD.encode(&text));
            }
        }
        for text in texts {
            assert_eq!(finder.find(text.as_bytes()).len(), 1, "{text}");
        }
        finder.none_in("a text without", b"nothing of that kind is in here");
    }
}

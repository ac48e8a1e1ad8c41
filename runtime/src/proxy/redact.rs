//! Masks secrets in what is logged: each secret of a connection as it is, percent-encoded, and in base64 at any offset. The
//! search is one pass over the text. It masks what is written down, never what is sent or answered.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::url::VALUE;
use super::values;
use crate::connections::Target;
use crate::credentials::Credentials;

/// What stands in the place of a secret.
pub(super) const MASK: &str = "REDACTED";

/// Shorter values are in half of all texts: masking them would hide everything and protect nothing.
const SECRET_BYTES_MIN: usize = 4;

/// Texts within a raw token answer are masked from this length on; shorter ones are words such as `bearer` and `repo`.
const RAW_SECRET_BYTES_MIN: usize = 16;

/// Maskers kept, one for each connection in use.
const MASKERS_MAX: usize = 1_024;

/// What JavaScript's `encodeURIComponent` leaves as it is.
const COMPONENT: &AsciiSet = &VALUE.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')');

/// Masks the secrets of one connection.
#[derive(Debug)]
pub(super) struct Masker(Option<AhoCorasick>);

impl Masker {
    pub(super) fn of(target: &Target) -> Self {
        let mut patterns = BTreeSet::new();
        for secret in secrets(target) {
            if secret.len() >= SECRET_BYTES_MIN {
                add_forms(&secret, &mut patterns);
            }
        }
        if patterns.is_empty() {
            return Self(None);
        }
        // Leftmost-longest: of a secret within a secret the longer one is masked. More patterns than the automaton takes
        // cannot come out of one connection; masking everything would be the answer then.
        Self(
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(patterns)
                .ok(),
        )
    }

    /// The text without secrets.
    pub(super) fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match &self.0 {
            Some(automaton) if automaton.is_match(text) => {
                let mut masked = String::with_capacity(text.len());
                automaton.replace_all_with(text, &mut masked, |_, _, into| {
                    into.push_str(MASK);
                    true
                });
                Cow::Owned(masked)
            }
            Some(_) | None => Cow::Borrowed(text),
        }
    }

    /// Headers as a JSON object; those that hold credentials by their name are masked whole.
    pub(super) fn headers(&self, headers: &HeaderMap) -> Value {
        const CREDENTIALS: [&str; 6] = [
            "authorization",
            "cookie",
            "proxy-authorization",
            "set-cookie",
            "www-authenticate",
            "x-api-key",
        ];
        let mut object = serde_json::Map::new();
        for (name, value) in headers {
            let text = if value.is_sensitive() || CREDENTIALS.contains(&name.as_str()) {
                MASK.to_owned()
            } else {
                self.mask(&String::from_utf8_lossy(value.as_bytes())).into_owned()
            };
            object.insert(name.as_str().to_owned(), Value::String(text));
        }
        Value::Object(object)
    }
}

/// Every secret of the target: its credentials, and the fields of connection and integration that are secret.
fn secrets(target: &Target) -> Vec<String> {
    let mut secrets = Vec::new();
    match &target.credentials {
        Credentials::ApiKey { api_key } => secrets.push(api_key.expose().clone()),
        Credentials::Basic { username, password } => {
            secrets.push(password.expose().clone());
            secrets.push(STANDARD.encode(format!("{username}:{}", password.expose())));
        }
        Credentials::OAuth2 {
            access_token,
            refresh_token,
            expires_at_ms: _,
            raw,
            config_override,
        } => {
            secrets.extend(
                config_override
                    .iter()
                    .map(|client| client.client_secret.expose().clone()),
            );
            secrets.push(access_token.expose().clone());
            secrets.extend(refresh_token.iter().map(|token| token.expose().clone()));
            for value in raw.expose().values() {
                add_long_texts(value, &mut secrets);
            }
        }
        Credentials::None => {}
        Credentials::OAuth2Cc { .. }
        | Credentials::OAuth1 { .. }
        | Credentials::Tba { .. }
        | Credentials::AwsSigV4(_)
        | Credentials::App { .. }
        | Credentials::Session { .. } => {
            let values = target.credentials.secret_values();
            secrets.extend(values.iter().map(|value| value.expose().clone()));
        }
    }
    let client = target.client.iter();
    secrets.extend(client.map(|client| client.client_secret.expose().clone()));
    let fields = target.provider.json.get("connection_config").and_then(Value::as_object);
    for (key, field) in fields.into_iter().flatten() {
        let marked = field.get("secret").is_some_and(|secret| secret == &Value::Bool(true));
        if marked || looks_secret(key) {
            secrets.extend(values::at(&target.connection_config, key).map(Cow::into_owned));
        }
    }
    for (key, value) in target.integration_config.iter().chain(&target.connection_config) {
        if looks_secret(key) {
            secrets.extend(value.as_str().map(str::to_owned));
        }
    }
    secrets
}

fn looks_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["secret", "password", "token", "private_key", "privatekey"]
        .iter()
        .any(|word| key.contains(word))
}

fn add_long_texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) if text.len() >= RAW_SECRET_BYTES_MIN && !text.starts_with("http") => {
            into.push(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| add_long_texts(item, into)),
        Value::Object(object) => object.values().for_each(|item| add_long_texts(item, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The spellings in which a secret turns up.
fn add_forms(secret: &str, into: &mut BTreeSet<String>) {
    into.insert(secret.to_owned());
    for set in [VALUE, COMPONENT, NON_ALPHANUMERIC] {
        let encoded = utf8_percent_encode(secret, set).to_string();
        into.insert(encoded.replace("%20", "+"));
        into.insert(lower_hex(&encoded));
        into.insert(encoded);
    }
    // Within a longer text, base64 of a secret depends on the secret's offset modulo 3. The characters that share bits
    // with its neighbours are left out.
    for before in ["", "-", "--"] {
        let offset = before.len();
        let padded = [before.as_bytes(), secret.as_bytes()].concat();
        let whole = padded.len() / 3 * 3;
        let skipped = (offset * 4).div_ceil(3);
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let encoded = engine.encode(padded.get(..whole).unwrap_or(&padded));
            if let Some(middle) = encoded
                .get(skipped..)
                .filter(|middle| middle.len() >= SECRET_BYTES_MIN * 2)
            {
                into.insert(utf8_percent_encode(middle, VALUE).to_string());
                into.insert(middle.to_owned());
            }
        }
    }
}

/// `%2F` as `%2f`.
fn lower_hex(encoded: &str) -> String {
    let mut left = 0_u8;
    encoded
        .chars()
        .map(|c| {
            if c == '%' {
                left = 2;
                c
            } else if left > 0 {
                left -= 1;
                c.to_ascii_lowercase()
            } else {
                c
            }
        })
        .collect()
}

/// The maskers of the connections in use: an automaton costs more to build than a request to send.
#[derive(Debug)]
pub(super) struct Maskers(quick_cache::sync::Cache<usize, (Weak<Target>, Arc<Masker>)>);

impl Maskers {
    pub(super) fn new() -> Self {
        Self(quick_cache::sync::Cache::new(MASKERS_MAX))
    }

    pub(super) fn of(&self, target: &Arc<Target>) -> Arc<Masker> {
        // The weak handle keeps the address from being used again while the entry is there.
        let address = Arc::as_ptr(target).addr();
        if let Some((known, masker)) = self.0.get(&address)
            && std::ptr::eq(known.as_ptr(), Arc::as_ptr(target))
        {
            return masker;
        }
        let masker = Arc::new(Masker::of(target));
        self.0.insert(address, (Arc::downgrade(target), masker.clone()));
        masker
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{api_key, bearer, provider, target};
    use super::*;

    const SECRET: &str = "s3cr3t/ké+y=&long enough";

    fn masker() -> Masker {
        Masker::of(&target(provider("https://api.test"), api_key(SECRET)))
    }

    #[test]
    fn every_spelling_is_masked_wherever_it_stands() {
        let masker = masker();
        let form: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        let encoded = utf8_percent_encode(SECRET, VALUE).to_string();
        let mut spellings = vec![SECRET.to_owned(), form, lower_hex(&encoded), encoded];
        for prefix in ["", "a", "ab", "user:", "user12:"] {
            let text = format!("{prefix}{SECRET}{prefix}");
            spellings.push(STANDARD.encode(&text));
            spellings.push(URL_SAFE_NO_PAD.encode(&text));
        }
        for spelling in spellings {
            let text = format!("https://api.test/x?key={spelling}&twice={spelling}");
            let masked = masker.mask(&text);
            assert_eq!(masked.matches(MASK).count(), 2, "{masked}");
            assert!(!masked.contains("s3cr3t") && !masked.contains(&spelling), "{masked}");
        }
    }

    #[test]
    fn other_text_is_left_alone() {
        let text = "https://api.test/repos?per_page=100";
        assert!(matches!(masker().mask(text), Cow::Borrowed(same) if same == text));
        let none = Masker::of(&target(provider("https://api.test"), Credentials::None));
        assert_eq!(none.mask(text), text);
    }

    #[test]
    fn nested_values_of_a_token_answer_are_secrets_and_words_are_not() {
        let mut target = target(provider("https://api.test"), bearer("access-token-value"));
        let raw = serde_json::json!({
            "token_type": "bearer", "scope": "repo", "authed_user": { "access_token": "xoxp-0123456789abcdef" }
        });
        if let Credentials::OAuth2 { raw: held, .. } = &mut target.credentials {
            *held = crate::credentials::Secret::new(raw.as_object().unwrap().clone());
        }
        let masker = Masker::of(&target);
        assert_eq!(masker.mask("/repos/xoxp-0123456789abcdef"), "/repos/REDACTED");
        assert_eq!(masker.mask("Bearer access-token-value"), "Bearer REDACTED");
    }

    #[test]
    fn headers_are_masked_by_name_mark_and_content() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer other".parse().unwrap());
        headers.insert("x-echo", "key s3cr3t-key".parse().unwrap());
        headers.insert("x-plain", "plain".parse().unwrap());
        let mut marked: http::HeaderValue = "marked".parse().unwrap();
        marked.set_sensitive(true);
        headers.insert("x-marked", marked);
        let masker = Masker::of(&target(provider("https://api.test"), api_key("s3cr3t-key")));
        assert_eq!(
            masker.headers(&headers),
            serde_json::json!({
                "authorization": MASK, "x-echo": "key REDACTED", "x-plain": "plain", "x-marked": MASK
            })
        );
    }

    #[test]
    fn a_masker_is_built_once_for_a_target() {
        let maskers = Maskers::new();
        let first = Arc::new(target(provider("https://api.test"), api_key("first-key")));
        let second = Arc::new(target(provider("https://api.test"), api_key("second-key")));
        assert!(Arc::ptr_eq(&maskers.of(&first), &maskers.of(&first)));
        assert_eq!(maskers.of(&second).mask("second-key"), MASK);
    }
}

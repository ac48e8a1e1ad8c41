//! Random secrets in random places, in every spelling that anybody is known to use.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::*;
use crate::clock::Entropy;

const ROUNDS: usize = 2_000;
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn masker(secrets: &[&str]) -> Masker {
    let secrets: Vec<_> = secrets.iter().map(|secret| Secret::new((*secret).to_owned())).collect();
    Masker::new(&secrets)
}

/// A number below `below`.
fn below(entropy: &Entropy, below: usize) -> usize {
    usize::try_from(u32::from_le_bytes(entropy.bytes())).unwrap() % below
}

fn text(entropy: &Entropy, alphabet: &str, length: usize) -> String {
    let alphabet: Vec<char> = alphabet.chars().collect();
    (0..length).map(|_| alphabet[below(entropy, alphabet.len())]).collect()
}

/// Percent-encodes at will: reserved characters always, others now and then, hex in either case.
fn percent(entropy: &Entropy, secret: &str, plus: bool) -> String {
    let mut encoded = String::new();
    for byte in secret.bytes() {
        if plus && byte == b' ' {
            encoded.push('+');
        } else if byte.is_ascii_alphanumeric() && below(entropy, 4) > 0 {
            encoded.push(char::from(byte));
        } else if below(entropy, 2) == 0 {
            encoded.push_str(&format!("%{byte:02X}"));
        } else {
            encoded.push_str(&format!("%{byte:02x}"));
        }
    }
    encoded
}

/// JSON as some write it: ASCII only, the slash escaped.
fn json_ascii(secret: &str) -> String {
    let quoted = serde_json::to_string(secret).unwrap();
    let mut escaped = String::new();
    for c in quoted[1..quoted.len() - 1].chars() {
        match c {
            '/' => escaped.push_str("\\/"),
            c if c.is_ascii() => escaped.push(c),
            c => c
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| escaped.push_str(&format!("\\u{unit:04X}"))),
        }
    }
    escaped
}

fn json_plain(secret: &str) -> String {
    let quoted = serde_json::to_string(secret).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}

/// The secret in one of its spellings, and a name for it.
fn spelling(entropy: &Entropy, secret: &str) -> (&'static str, String) {
    let base64 = |text: &str| match below(entropy, 4) {
        0 => STANDARD.encode(text),
        1 => STANDARD_NO_PAD.encode(text),
        2 => URL_SAFE.encode(text),
        _ => URL_SAFE_NO_PAD.encode(text),
    };
    match below(entropy, 13) {
        0 => ("plain", secret.to_owned()),
        1 => ("percent", percent(entropy, secret, false)),
        2 => ("form", percent(entropy, secret, true)),
        3 => (
            "percent twice",
            percent(entropy, &percent(entropy, secret, false), false),
        ),
        4 => ("json", json_plain(secret)),
        5 => ("json in ASCII", json_ascii(secret)),
        6 => ("json in json", json_plain(&json_plain(secret))),
        7 => ("json in a URL", percent(entropy, &json_ascii(secret), true)),
        8 => ("hex", secret.bytes().map(|byte| format!("{byte:02x}")).collect()),
        9 => ("HEX", secret.bytes().map(|byte| format!("{byte:02X}")).collect()),
        10 => ("base64", base64(secret)),
        11 => {
            let before = text(entropy, "user:xyz{\"", below(entropy, 8));
            let after = text(entropy, ":abc\"}", below(entropy, 5));
            let inner = match below(entropy, 4) {
                0 => json_plain(secret),
                1 => utf8_percent_encode(secret, UNRESERVED).to_string(),
                _ => secret.to_owned(),
            };
            ("base64 of a pair", base64(&format!("{before}{inner}{after}")))
        }
        _ => ("base64 in a URL", percent(entropy, &base64(secret), false)),
    }
}

#[test]
fn random_secrets_in_random_places_never_show() {
    for round in 0..ROUNDS {
        let entropy = Entropy::seeded(round as u64);
        let alphabet = match below(&entropy, 3) {
            0 => "abcdefXYZ0123456789",
            1 => "abcXYZ019-._~+/=",
            _ => "abcXYZ019 +/=&?#%\"\\{}<>'éß€😀\n",
        };
        let length = 4 + below(&entropy, 60);
        let secret = text(&entropy, alphabet, length);
        let other = text(&entropy, alphabet, 12);
        let masker = masker(&[&secret, &other]);
        let around = "kmpq=&?/:.,\"{}<> é";
        let (before, after) = (
            text(&entropy, around, below(&entropy, 20)),
            text(&entropy, around, below(&entropy, 20)),
        );
        let (name, spelled) = spelling(&entropy, &secret);
        let whole = format!("{before}{spelled}{after}{spelled}");
        let masked = masker.mask(&whole);
        assert!(
            masked.contains(MASK) && !masked.contains(&spelled),
            "round {round}, {name}: {secret:?} as {spelled:?} in {whole:?} gave {masked:?}"
        );
        // Nothing of the neighbourhood went but what shares a character of base64.
        let kept: String = before.chars().take(before.chars().count().saturating_sub(1)).collect();
        assert!(
            masked.starts_with(&kept),
            "round {round}, {name}: {whole:?} gave {masked:?}"
        );
        assert_eq!(masker.mask(&masked), masked, "round {round}, {name}");
    }
}

#[test]
fn other_text_is_left_alone() {
    let masker = masker(&["s3cr3t/key+=", "another one"]);
    for text in [
        "",
        "https://api.test/repos?per_page=100&q=a%20b+c",
        "{\"a\":\"b\\n\\u00e9\"}",
        "100% of é \\",
        "c2VjcmV0 of somebody else",
    ] {
        assert!(
            matches!(masker.mask(text), Cow::Borrowed(same) if same == text),
            "{text}"
        );
    }
    assert!(matches!(Masker::new([]).mask("anything"), Cow::Borrowed(_)));
}

#[test]
fn what_is_short_is_not_looked_for() {
    assert_eq!(masker(&["abc"]).mask("abc"), "abc");
    assert_eq!(masker(&["abcd"]).mask("abcd"), MASK);
}

#[test]
fn secrets_that_overlap_are_masked_to_the_last_character() {
    let masker = masker(&["abcd1234", "1234wxyz", "bcd1"]);
    assert_eq!(masker.mask("<abcd1234wxyz>"), "<REDACTED>");
    assert_eq!(masker.mask("<abcd1234><bcd1>"), "<REDACTED><REDACTED>");
}

#[test]
fn a_long_secret_is_masked_to_its_end_also_when_it_was_cut_off() {
    let secret = "0123456789abcdefghijklmnopqrstuvwxyz".repeat(50);
    let masker = masker(&[&secret]);
    assert_eq!(masker.mask(&format!("Bearer {secret}!")), "Bearer REDACTED!");
    assert_eq!(masker.mask(&format!("Bearer {}…", &secret[..40])), "Bearer REDACTED…");
}

#[test]
fn json_is_masked_wherever_a_text_is() {
    let mut value = json!({"a": ["x s3cr3t y", {"s3cr3t": true}], "n": 12345678, "null": null});
    masker(&["s3cr3t", "12345678"]).mask_json(&mut value);
    assert_eq!(
        value,
        json!({"a": ["x REDACTED y", {"REDACTED": true}], "n": MASK, "null": null})
    );
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", masker(&["s3cr3t"]));
    assert!(!shown.contains("s3cr3t"), "{shown}");
}

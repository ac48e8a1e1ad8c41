//! Query strings and forms in the one spelling that signatures are made over: decoded, percent-encoded anew by RFC 3986,
//! sorted.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What is encoded in a name or a value: everything but RFC 3986's unreserved characters.
pub(crate) const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Encodes everything but RFC 3986's unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, VALUE).to_string()
}

/// The pairs of a query string or form, decoded and encoded anew. A `+` is a space, as forms have it.
pub(crate) fn encoded_pairs(query: &str) -> Vec<(String, String)> {
    let recode = |text: &str| {
        let spaced = text.replace('+', " ");
        let decoded: Vec<u8> = percent_decode_str(&spaced).collect();
        percent_encoding::percent_encode(&decoded, VALUE).to_string()
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (recode(key), recode(value))
        })
        .collect()
}

/// `a=1&b=2`, sorted by name, then by value.
pub(crate) fn canonical(mut pairs: Vec<(String, String)>) -> String {
    pairs.sort();
    let mut text = String::new();
    for (key, value) in pairs {
        let separator = if text.is_empty() { "" } else { "&" };
        // Writing to a String does not fail.
        let _ = write!(text, "{separator}{key}={value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_recoded_and_sorted() {
        assert_eq!(
            canonical(encoded_pairs("b=2+3&a=%c3%a9&&b=1&c&d=a=b&A=x*y")),
            "A=x%2Ay&a=%C3%A9&b=1&b=2%203&c=&d=a%3Db"
        );
        assert_eq!(canonical(encoded_pairs("")), "");
    }
}

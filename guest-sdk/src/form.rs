//! Text as `application/x-www-form-urlencoded` writes it (WHATWG URL, 5.2).

use std::fmt::Write;

pub(crate) const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

/// Appends `name=value` to pairs joined by `&`.
pub(crate) fn push_pair(pairs: &mut String, name: &str, value: &str) {
    if !pairs.is_empty() {
        pairs.push('&');
    }
    push_encoded(pairs, name);
    pairs.push('=');
    push_encoded(pairs, value);
}

/// The pairs without those of that name.
pub(crate) fn without(pairs: &str, name: &str) -> String {
    let mut kept = String::with_capacity(pairs.len());
    for pair in pairs.split('&').filter(|pair| !pair.is_empty()) {
        let key = pair.split_once('=').map_or(pair, |(key, _)| key);
        if decoded(key) == name.as_bytes() {
            continue;
        }
        if !kept.is_empty() {
            kept.push('&');
        }
        kept.push_str(pair);
    }
    kept
}

/// What is no escape stays as it is.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escape = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = escape.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = match (first, escaped) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                tail.get(2..).unwrap_or_default()
            }
            (first, _) => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                tail
            }
        };
    }
    bytes
}

fn push_encoded(to: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => to.push(char::from(byte)),
            b' ' => to.push('+'),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(to, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_pairs() {
        let mut pairs = String::new();
        push_pair(&mut pairs, "a b", "c&d=é");
        push_pair(&mut pairs, "page[size]", "*-._~");
        assert_eq!(pairs, "a+b=c%26d%3D%C3%A9&page%5Bsize%5D=*-._%7E");
    }

    #[test]
    fn drops_pairs_in_either_spelling() {
        assert_eq!(without("a=1&page[size]=2&b=3", "page[size]"), "a=1&b=3");
        assert_eq!(without("page%5bsize%5d=2&&b", "page[size]"), "b");
        assert_eq!(
            without("cursors=1&Cursor=2&100%=3", "cursor"),
            "cursors=1&Cursor=2&100%=3"
        );
        assert_eq!(without("a+b=1&a%20b=2", "a b"), "");
    }
}

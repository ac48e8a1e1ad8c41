//! The hash by which a changed record is told from an unchanged one: SHA-256 of its JSON with keys sorted and white
//! space left out. Works on the text itself, so that numbers too large for any type keep all their digits. Strings that
//! are escaped in another way count as changed: the worst that comes of it is an update too many.

use sha2::{Digest, Sha256};

use super::DEPTH_MAX;
use crate::model::JsonObject;

/// The JSON is nested more than [`DEPTH_MAX`] deep.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooDeep;

/// A record, read once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hashed<'a> {
    /// Without the members that were skipped.
    pub(super) hash: [u8; 32],
    /// The JSON of its member `id`.
    pub(super) id: Option<&'a str>,
    pub(super) has_metadata: bool,
    /// Whether a key is escaped, or `id` or the metadata there twice: then somebody else must look for them.
    pub(super) is_odd: bool,
}

/// Hashes a valid JSON object without its member `_nango_metadata`, and finds the id on the way. `canonical` is room to work in; what it
/// holds does not matter.
pub(super) fn hash_record<'a>(json: &'a str, canonical: &mut Vec<u8>) -> Result<Hashed<'a>, TooDeep> {
    canonical.clear();
    let mut hashed = Hashed {
        hash: [0; 32],
        id: None,
        has_metadata: false,
        is_odd: false,
    };
    let mut look = |key: &[u8], value: &'a [u8]| match key {
        b"\"id\"" => {
            hashed.is_odd |= hashed.id.is_some();
            hashed.id = std::str::from_utf8(value).ok();
            true
        }
        b"\"_nango_metadata\"" => {
            hashed.is_odd |= hashed.has_metadata;
            hashed.has_metadata = true;
            false
        }
        _ => {
            hashed.is_odd |= key.contains(&b'\\');
            true
        }
    };
    let mut text = Text { rest: json.as_bytes() };
    text.object(canonical, DEPTH_MAX - 1, &mut look)?;
    hashed.hash = Sha256::digest(&*canonical).into();
    Ok(hashed)
}

/// Hashes valid JSON. `canonical` is room to work in; what it holds does not matter.
pub(super) fn hash(json: &str, canonical: &mut Vec<u8>) -> Result<[u8; 32], TooDeep> {
    canonical.clear();
    let mut text = Text { rest: json.as_bytes() };
    text.value(canonical, DEPTH_MAX)?;
    Ok(Sha256::digest(&*canonical).into())
}

/// The same for a parsed object.
pub(super) fn hash_object(object: &JsonObject) -> [u8; 32] {
    // Patches may be somewhat deeper than what can be saved; the text is as good then, since the parsed keys are
    // sorted.
    let Ok(json) = serde_json::to_string(object) else {
        return [0; 32];
    };
    hash(&json, &mut Vec::new()).unwrap_or_else(|TooDeep| Sha256::digest(&json).into())
}

/// Valid JSON that is read from left to right. On invalid JSON it stops somewhere, but does not fail.
struct Text<'a> {
    rest: &'a [u8],
}

impl<'a> Text<'a> {
    fn value(&mut self, out: &mut Vec<u8>, depth_left: usize) -> Result<(), TooDeep> {
        match self.next_token() {
            Some(b'{') => self.object(out, depth_left.checked_sub(1).ok_or(TooDeep)?, &mut |_, _| true),
            Some(b'[') => self.array(out, depth_left.checked_sub(1).ok_or(TooDeep)?),
            Some(b'"') => {
                out.extend_from_slice(self.string());
                Ok(())
            }
            Some(_) => {
                let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
                let len = self.rest.iter().position(ends).unwrap_or(self.rest.len());
                out.extend_from_slice(self.take(len));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn array(&mut self, out: &mut Vec<u8>, depth_left: usize) -> Result<(), TooDeep> {
        out.push(b'[');
        self.take(1);
        while let Some(token) = self.next_token() {
            match token {
                b']' => {
                    self.take(1);
                    break;
                }
                b',' => out.extend_from_slice(self.take(1)),
                _ => self.value(out, depth_left)?,
            }
        }
        out.push(b']');
        Ok(())
    }

    /// `keep` is told each key with its quotes, and its value; it says whether they are written.
    fn object(
        &mut self,
        out: &mut Vec<u8>,
        depth_left: usize,
        keep: &mut dyn FnMut(&'a [u8], &'a [u8]) -> bool,
    ) -> Result<(), TooDeep> {
        out.extend_from_slice(self.take(1));
        let start = out.len();
        // Each member is written where it stands, and moved afterwards if need be.
        let mut members: Vec<(&'a [u8], std::ops::Range<usize>)> = Vec::new();
        while let Some(token) = self.next_token() {
            match token {
                b'}' => {
                    self.take(1);
                    break;
                }
                b'"' => {
                    let begin = out.len();
                    let key = self.string();
                    out.extend_from_slice(key);
                    self.next_token();
                    out.extend_from_slice(self.take(1));
                    self.next_token();
                    let value = self.rest;
                    self.value(out, depth_left)?;
                    let (value, _) = value.split_at(value.len() - self.rest.len());
                    if keep(key, value) {
                        members.push((key, begin..out.len()));
                    } else {
                        out.truncate(begin);
                    }
                }
                _ => {
                    self.take(1);
                }
            }
        }
        if !members.is_sorted_by_key(|(key, _)| *key) {
            members.sort_by_key(|(key, _)| *key);
            let sorted: Vec<&[u8]> = members.iter().filter_map(|(_, range)| out.get(range.clone())).collect();
            let sorted = sorted.concat();
            out.truncate(start);
            out.extend_from_slice(&sorted);
        }
        // No commas: each member begins with the quote of its key, so what is hashed is unambiguous without.
        out.push(b'}');
        Ok(())
    }

    /// A string with its quotes.
    fn string(&mut self) -> &'a [u8] {
        let mut len = 1;
        while let Some(more) = self.rest.get(len..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
            len += more;
            if self.rest.get(len) == Some(&b'"') {
                return self.take(len + 1);
            }
            // Whatever is escaped is skipped.
            len += 2;
        }
        self.take(self.rest.len())
    }

    /// Skips white space and looks at what follows.
    fn next_token(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.first().copied()
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(json: &str) -> Result<[u8; 32], TooDeep> {
        hash(json, &mut Vec::new())
    }

    #[test]
    fn order_of_keys_and_white_space_do_not_matter() {
        let equal = [
            r#"{"id":"1","b":{"y":[1,2,{}],"x":null},"a\"}":"q\\"}"#,
            r#" { "b" : { "x" : null, "y":[ 1 , 2,{ }] }, "a\"}":"q\\" ,"id":"1" } "#,
        ];
        assert_eq!(hash_of(equal[0].trim()), hash_of(equal[1].trim()));
        let object: JsonObject = serde_json::from_str(equal[1]).unwrap();
        assert_eq!(hash_of(equal[0]).unwrap(), hash_object(&object));
    }

    #[test]
    fn everything_else_matters() {
        let different = [
            "{}",
            "[]",
            "\"\"",
            "null",
            "0",
            "1",
            "1.0",
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"{"a":[1]}"#,
            r#"{"a":{}}"#,
            r#"{"a":1,"b":2}"#,
            r#"{"a":2,"b":1}"#,
            "[1,2]",
            "[2,1]",
            "[12]",
            "[[1],2]",
            "[[1,2]]",
            r#"["1,2"]"#,
            "123456789012345678901",
            "123456789012345678902",
            r#"{"a":"\"b\":1"}"#,
            r#"{"a":"","b":1}"#,
            r#"["a",":","b"]"#,
        ];
        let hashes: std::collections::HashSet<_> = different.iter().map(|json| hash_of(json).unwrap()).collect();
        assert_eq!(hashes.len(), different.len());
    }

    #[test]
    fn a_record_is_hashed_without_metadata_and_its_id_is_found() {
        let given = r#"{ "b":{"id":7,"_nango_metadata":1}, "_nango_metadata" : {"cursor":"x"} , "id": "a\"" }"#;
        let hashed = hash_record(given, &mut Vec::new()).unwrap();
        assert_eq!(
            (hashed.id, hashed.has_metadata, hashed.is_odd),
            (Some(r#""a\"""#), true, false)
        );
        let without = r#"{"id":"a\"","b":{"id":7,"_nango_metadata":1}}"#;
        assert_eq!(hashed.hash, hash_of(without).unwrap());
        assert_eq!(
            hash_record(r#"{"a":1,"id":12}"#, &mut Vec::new()).unwrap().id,
            Some("12")
        );
        for odd in [r#"{"i\u0064":1}"#, r#"{"id":1,"id":2}"#] {
            assert!(hash_record(odd, &mut Vec::new()).unwrap().is_odd, "{odd}");
        }
    }

    #[test]
    fn depth_is_limited() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(hash_of(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(hash_of(&nested(DEPTH_MAX + 1)), Err(TooDeep));
        assert_eq!(hash_of(&nested(100_000)), Err(TooDeep));
    }
}

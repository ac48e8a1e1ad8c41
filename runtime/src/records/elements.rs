//! The elements of a JSON array one after the other: each as the text that it is and, parsed at the same time, as a value. Only what is too
//! much for a value is parsed again, to find its end. One value is in memory at a time.

use serde::de::{DeserializeOwned, Error as _, IgnoredAny};
use serde_json::Value;

/// What an array may have between its elements (RFC 8259, section 2).
const WHITE_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

pub(super) struct Elements<'a> {
    json: &'a str,
    rest: &'a str,
    is_first: bool,
    has_values: bool,
}

pub(super) struct Element<'a> {
    /// Valid JSON.
    pub(super) text: &'a str,
    /// None where nobody asked for values; an error where the JSON is valid and yet too much for one: nested too deeply, a number out of
    /// range.
    pub(super) value: Option<Result<Value, serde_json::Error>>,
}

impl<'a> Elements<'a> {
    /// `has_values`: whether elements come with their values.
    ///
    /// # Errors
    /// `json` does not begin as an array does.
    pub(super) fn of(json: &'a str, has_values: bool) -> Result<Self, serde_json::Error> {
        let inside = json.trim_start_matches(WHITE_SPACE).strip_prefix('[');
        Ok(Self {
            json,
            rest: inside.ok_or_else(|| malformed(json))?,
            is_first: true,
            has_values,
        })
    }

    /// None at the end of the array.
    ///
    /// # Errors
    /// This is no JSON array.
    pub(super) fn next(&mut self) -> Result<Option<Element<'a>>, serde_json::Error> {
        let rest = self.rest.trim_start_matches(WHITE_SPACE);
        if let Some(after) = rest.strip_prefix(']') {
            let is_end = after.trim_start_matches(WHITE_SPACE).is_empty();
            return if is_end { Ok(None) } else { Err(malformed(self.json)) };
        }
        let begin = if self.is_first {
            rest
        } else {
            let after = rest.strip_prefix(',').ok_or_else(|| malformed(self.json))?;
            after.trim_start_matches(WHITE_SPACE)
        };
        let (value, len) = if self.has_values {
            match first::<Value>(begin) {
                Some((Ok(value), len)) => (Some(Ok(value)), Some(len)),
                Some((Err(error), _)) => (Some(Err(error)), len(begin)),
                None => (None, None),
            }
        } else {
            (None, len(begin))
        };
        let (text, rest) = len
            .and_then(|len| begin.split_at_checked(len))
            .ok_or_else(|| malformed(self.json))?;
        self.rest = rest;
        self.is_first = false;
        Ok(Some(Element { text, value }))
    }
}

/// The JSON that a text begins with, and its length in bytes. None for an empty text.
fn first<T: DeserializeOwned>(text: &str) -> Option<(Result<T, serde_json::Error>, usize)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    let value = values.next()?;
    Some((value, values.byte_offset()))
}

/// The length of the JSON that a text begins with, whatever it is.
fn len(text: &str) -> Option<usize> {
    let (read, len) = first::<IgnoredAny>(text)?;
    read.ok().map(|IgnoredAny| len)
}

/// What is wrong with a text that is no array, and where.
fn malformed(json: &str) -> serde_json::Error {
    let read = serde_json::from_str::<Vec<IgnoredAny>>(json);
    read.err()
        .unwrap_or_else(|| serde_json::Error::custom("the elements cannot be told apart"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(json: &str, has_values: bool) -> Result<Vec<String>, serde_json::Error> {
        let mut elements = Elements::of(json, has_values)?;
        let mut texts = Vec::new();
        while let Some(element) = elements.next()? {
            if let Some(Ok(value)) = element.value {
                assert_eq!(value, serde_json::from_str::<Value>(element.text).unwrap());
            }
            texts.push(element.text.to_owned());
        }
        Ok(texts)
    }

    #[test]
    fn arrays_are_those_of_serde_json() {
        let arrays = [
            "[]",
            " [ ] ",
            "[1]",
            "\n[ 1 ,\t\"a,]\" , {\"b\" : [1, 2]},null,[ ] ]\r\n",
            r#"[-1.50e3,"\u00e9",true]"#,
            "[\"é\"]",
        ];
        let others = [
            "",
            " ",
            "{}",
            "1",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1]]",
            "[1] x",
            "[}",
            "[{]",
            "[tru]",
            "[\"a]",
            "[1x]",
            "[{}x]",
            "[01]",
            "\u{a0}[1]",
            "[1\u{b}]",
        ];
        for json in arrays.into_iter().chain(others) {
            let expected = serde_json::from_str::<Vec<&serde_json::value::RawValue>>(json);
            for has_values in [false, true] {
                match (&expected, texts(json, has_values)) {
                    (Ok(expected), Ok(texts)) => {
                        let expected: Vec<&str> = expected.iter().map(|raw| raw.get()).collect();
                        assert_eq!(texts, expected, "{json}");
                    }
                    (Err(_), Err(error)) => assert!(!error.to_string().contains("told apart"), "{json}"),
                    (expected, texts) => panic!("{json}: {expected:?}, {texts:?}"),
                }
            }
        }
        assert!(arrays.iter().all(|json| texts(json, true).is_ok()));
    }

    #[test]
    fn what_is_too_much_for_a_value_has_a_text_all_the_same() {
        let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
        let json = format!("[1e999, {deep}, 1]");
        let mut elements = Elements::of(&json, true).unwrap();
        for (text, is_value) in [("1e999", false), (&*deep, false), ("1", true)] {
            let element = elements.next().unwrap().unwrap();
            assert_eq!(element.text, text);
            assert_eq!(element.value.unwrap().is_ok(), is_value);
        }
        assert!(elements.next().unwrap().is_none());
    }
}

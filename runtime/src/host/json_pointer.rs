//! Finds the value at an RFC 6901 pointer without building the document: what is not on the way is skipped, so that a large
//! answer costs no memory, and what is found keeps its exact text (numbers lose no digit).

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::fault::Fault;

/// Steps of a pointer. JSON nested deeper than 128 levels is refused by the parser anyway.
const STEPS_MAX: usize = 128;

/// The value at `pointer`, none when nothing is there. The whole document is read: it must be JSON to its end.
pub(super) fn find<'a>(json: &'a [u8], pointer: &str) -> Result<Option<&'a RawValue>, Fault> {
    let steps = parse(pointer)?;
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    Step(&steps)
        .deserialize(&mut deserializer)
        .and_then(|found| deserializer.end().map(|()| found))
        .map_err(|error| Fault::new("invalid_json", format!("the body is no JSON: {error}")))
}

fn parse(pointer: &str) -> Result<Vec<String>, Fault> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let invalid = |reason: &str| Fault::new("invalid_pointer", format!("{pointer:?} is no JSON pointer: {reason}"));
    let steps = pointer
        .strip_prefix('/')
        .ok_or_else(|| invalid("it must be empty or begin with `/`"))?;
    let steps: Vec<String> = steps
        .split('/')
        .map(|step| step.replace("~1", "/").replace("~0", "~"))
        .collect();
    if steps.len() > STEPS_MAX {
        return Err(invalid("it has too many steps"));
    }
    Ok(steps)
}

struct Step<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.0.split_first() {
            None => serde::Deserialize::deserialize(deserializer).map(Some),
            Some((key, rest)) => deserializer.deserialize_any(Inside { key, rest }),
        }
    }
}

/// One level of the document on the way to the value.
struct Inside<'p> {
    key: &'p str,
    rest: &'p [String],
}

impl<'de> Visitor<'de> for Inside<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_wanted) = map.next_key_seed(KeyIs(self.key))? {
            if is_wanted {
                // Of a repeated name the last one counts, as with every JSON parser that keeps one.
                found = map.next_value_seed(Step(self.rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        // `01` is no index (RFC 6901), `-` names the element after the last.
        let wanted = self
            .key
            .parse::<usize>()
            .ok()
            .filter(|index| index.to_string() == self.key);
        let (mut found, mut index) = (None, 0_usize);
        loop {
            if Some(index) == wanted {
                match items.next_element_seed(Step(self.rest))? {
                    Some(value) => found = value,
                    None => return Ok(None),
                }
            } else if items.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            index = index.saturating_add(1);
        }
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Compares a key without keeping it.
struct KeyIs<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for KeyIs<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIs<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(json: &str, pointer: &str) -> Option<String> {
        find(json.as_bytes(), pointer)
            .unwrap()
            .map(|value| value.get().to_owned())
    }

    fn code(json: &str, pointer: &str) -> String {
        match find(json.as_bytes(), pointer) {
            Err(Fault::Error(error)) => error.code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn finds_what_is_there() {
        let json = r#"{"foo":["bar",{"x":1.50}],"":0,"a/b":1,"m~n":8,"big":123456789012345678901,"foo2":null}"#;
        assert_eq!(at(json, "").as_deref(), Some(json));
        assert_eq!(at(json, "/foo/0").as_deref(), Some("\"bar\""));
        assert_eq!(at(json, "/foo/1/x").as_deref(), Some("1.50"));
        assert_eq!(at(json, "/").as_deref(), Some("0"));
        assert_eq!(at(json, "/a~1b").as_deref(), Some("1"));
        assert_eq!(at(json, "/m~0n").as_deref(), Some("8"));
        assert_eq!(at(json, "/big").as_deref(), Some("123456789012345678901"));
        assert_eq!(at(json, "/foo2").as_deref(), Some("null"));
        assert_eq!(at(r#"{"a":1,"a":2}"#, "/a").as_deref(), Some("2"));
        assert_eq!(at(r#"{"k\u0065y":[1 , 2]}"#, "/key").as_deref(), Some("[1 , 2]"));
    }

    #[test]
    fn gives_none_for_what_is_not() {
        for pointer in ["/x", "/foo/2", "/foo/-", "/foo/01", "/s/0", "/n/x"] {
            assert_eq!(at(r#"{"foo":[1,2],"s":"text","n":1}"#, pointer), None, "{pointer}");
        }
    }

    #[test]
    fn refuses_what_is_no_json_and_no_pointer() {
        assert_eq!(code("{\"a\":1", "/a"), "invalid_json");
        assert_eq!(code("{\"a\":1} x", "/a"), "invalid_json");
        assert_eq!(code("<html>", ""), "invalid_json");
        assert_eq!(code("", ""), "invalid_json");
        assert_eq!(code("{}", "a"), "invalid_pointer");
    }
}

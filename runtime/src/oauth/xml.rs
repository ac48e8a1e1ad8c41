//! Bodies and answers of logins that are XML (`body_format: xml`): parameters become a document, a document becomes an object that
//! paths find things in. Pure.
//!
//! Both know the same spelling: an element is a member of its name, one that comes several times is a list, an attribute is a member of
//! its name with a `$` before it, and what holds nothing but text is that text.

use std::fmt::Write as _;

use roxmltree::{Document, Node};
use serde_json::{Map, Value};

use crate::model::JsonObject;

/// Elements within elements; what is deeper is no answer of a login.
const DEPTH_MAX: usize = 32;
/// The mark of an attribute.
const ATTRIBUTE: char = '$';

/// Why parameters are no document. Holds no value: it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    #[error("a document has one element that holds all others, and the parameters are {found}")]
    Root { found: usize },
    #[error("{name:?} is no name of an element or attribute")]
    Name { name: String },
    #[error("`{path}` holds a character that cannot stand there, not even escaped")]
    Character { path: String },
    #[error("`{path}` is an attribute, and attributes are text")]
    Attribute { path: String },
}

/// The document that the parameters stand for. Elements are in the order in which `order` has their paths (`a/b/c`): some who read them
/// expect one.
pub(super) fn document(parameters: &JsonObject, order: &[&str]) -> Result<String, XmlError> {
    let mut elements = parameters.iter();
    let (Some((name, value)), None) = (elements.next(), elements.next()) else {
        return Err(XmlError::Root {
            found: parameters.len(),
        });
    };
    let mut writer = Writer {
        order,
        text: r#"<?xml version="1.0" encoding="UTF-8"?>"#.to_owned(),
    };
    writer.element(name, name, value)?;
    Ok(writer.text)
}

struct Writer<'o> {
    order: &'o [&'o str],
    text: String,
}

impl Writer<'_> {
    fn element(&mut self, name: &str, path: &str, value: &Value) -> Result<(), XmlError> {
        let name = checked(name)?;
        if let Value::Array(items) = value {
            return items.iter().try_for_each(|item| self.element(name, path, item));
        }
        // Writing to a String does not fail.
        let _ = write!(self.text, "<{name}");
        match value {
            Value::Object(members) => {
                let mut elements = Vec::with_capacity(members.len());
                for (member, value) in members {
                    let path = format!("{path}/{member}");
                    match member.strip_prefix(ATTRIBUTE) {
                        Some(attribute) => self.attribute(attribute, &path, value)?,
                        None => elements.push((self.position(&path), member, path, value)),
                    }
                }
                self.text.push('>');
                elements.sort_by_key(|(position, ..)| *position);
                for (_, member, path, value) in elements {
                    self.element(member, &path, value)?;
                }
            }
            Value::Null => self.text.push('>'),
            other => {
                let text = super::values::text(other);
                self.text.push('>');
                escape(&text, path, &mut self.text)?;
            }
        }
        let _ = write!(self.text, "</{name}>");
        Ok(())
    }

    fn attribute(&mut self, name: &str, path: &str, value: &Value) -> Result<(), XmlError> {
        let name = checked(name)?;
        if value.is_object() || value.is_array() {
            return Err(XmlError::Attribute { path: path.to_owned() });
        }
        let _ = write!(self.text, " {name}=\"");
        escape(&super::values::text(value), path, &mut self.text)?;
        self.text.push('"');
        Ok(())
    }

    /// Those that nobody ordered come last, by their names.
    fn position(&self, path: &str) -> usize {
        let found = self.order.iter().position(|known| *known == path);
        found.unwrap_or(usize::MAX)
    }
}

fn checked(name: &str) -> Result<&str, XmlError> {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_rest = |c: char| is_letter(c) || c.is_ascii_digit() || matches!(c, '-' | '.' | ':');
    if name.starts_with(is_letter) && name.chars().all(is_rest) {
        return Ok(name);
    }
    Err(XmlError::Name { name: name.to_owned() })
}

/// XML 1.0, sections 2.2, 2.4 and 3.3.3; the same for texts and attributes.
pub(super) fn escape(text: &str, path: &str, into: &mut String) -> Result<(), XmlError> {
    for character in text.chars() {
        match character {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '"' => into.push_str("&quot;"),
            '\'' => into.push_str("&apos;"),
            // As they are, they would be read as spaces or line ends.
            '\t' | '\n' | '\r' => {
                let _ = write!(into, "&#{};", u32::from(character));
            }
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
                return Err(XmlError::Character { path: path.to_owned() });
            }
            other => into.push(other),
        }
    }
    Ok(())
}

/// The object that a document stands for; none of a text that is none. A document type is refused, and what is deeper than 32 elements.
pub(super) fn object(text: &str) -> Option<JsonObject> {
    let document = Document::parse(text).ok()?;
    let root = document.root_element();
    let value = value(root, DEPTH_MAX)?;
    Some(Map::from_iter([(root.tag_name().name().to_owned(), value)]))
}

fn value(node: Node<'_, '_>, depth_max: usize) -> Option<Value> {
    let depth_max = depth_max.checked_sub(1)?;
    let mut members = Map::new();
    for attribute in node.attributes() {
        members.insert(format!("{ATTRIBUTE}{}", attribute.name()), attribute.value().into());
    }
    for element in node.children().filter(Node::is_element) {
        let value = value(element, depth_max)?;
        match members.get_mut(element.tag_name().name()) {
            Some(Value::Array(several)) => several.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
            None => drop(members.insert(element.tag_name().name().to_owned(), value)),
        }
    }
    if !node.children().any(|child| child.is_element()) {
        let pieces = node.children().filter(Node::is_text).filter_map(|piece| piece.text());
        let text: String = pieces.collect();
        if members.is_empty() {
            return Some(text.trim().into());
        }
        members.insert("$text".to_owned(), text.trim().into());
    }
    Some(Value::Object(members))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(parameters: &Value, order: &[&str]) -> Result<String, XmlError> {
        let text = document(parameters.as_object().unwrap(), order)?;
        let (_, text) = text.split_once("?>").unwrap();
        Ok(text.to_owned())
    }

    #[test]
    fn elements_attributes_and_lists() {
        let parameters = json!({"request": {
            "control": {"senderid": "me", "uniqueid": false, "password": "p", "version": 3},
            "function": {"$controlid": "{{$guid}}", "getAPISession": ""},
            "item": ["a", {"b": null}],
        }});
        let order = [
            "request/item",
            "request/control",
            "request/control/version",
            "request/control/password",
        ];
        assert_eq!(
            written(&parameters, &order).unwrap(),
            "<request><item>a</item><item><b></b></item>\
             <control><version>3</version><password>p</password><senderid>me</senderid><uniqueid>false</uniqueid></control>\
             <function controlid=\"{{$guid}}\"><getAPISession></getAPISession></function></request>"
        );
    }

    /// Nobody gets an element in who may say a value.
    #[test]
    fn values_are_escaped_and_come_back_as_they_were() {
        let nasty = "a]]></password><admin>&amp;\"'\t\r\n é 😀";
        let parameters = json!({"request": {"$name": nasty, "password": nasty}});
        let text = document(parameters.as_object().unwrap(), &[]).unwrap();
        assert_eq!(text.matches("</password>").count(), 1, "{text}");
        let read = object(&text).unwrap();
        assert_eq!(read["request"]["$name"], nasty);
        assert_eq!(read["request"]["password"], nasty);
        assert_eq!(read["request"].as_object().unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for (parameters, expected) in [
            (json!({}), XmlError::Root { found: 0 }),
            (json!({"a": 1, "b": 2}), XmlError::Root { found: 2 }),
            (json!({"a b": 1}), XmlError::Name { name: "a b".into() }),
            (json!({"1a": 1}), XmlError::Name { name: "1a".into() }),
            (json!({"a": {"$": 1}}), XmlError::Name { name: String::new() }),
            (json!({"a": {"b": "\0"}}), XmlError::Character { path: "a/b".into() }),
            (
                json!({"a": {"b": "\u{1b}"}}),
                XmlError::Character { path: "a/b".into() },
            ),
            (json!({"a": {"$b": []}}), XmlError::Attribute { path: "a/$b".into() }),
        ] {
            assert_eq!(written(&parameters, &[]), Err(expected), "{parameters}");
        }
    }

    #[test]
    fn answers_are_read() {
        let answer = object(
            "<?xml version=\"1.0\"?>\n<response xmlns=\"urn:x\"><operation>\n<result id=\"1\"><data><api><sessionid> s&amp;1 </sessionid></api></data></result>\
             <error>a</error><error>b</error><empty/><named x=\"y\">z</named></operation></response>",
        );
        assert_eq!(
            Value::Object(answer.unwrap()),
            json!({"response": {"operation": {
                "result": {"$id": "1", "data": {"api": {"sessionid": "s&1"}}}, "error": ["a", "b"], "empty": "",
                "named": {"$x": "y", "$text": "z"},
            }}})
        );
        let deep = format!("{}{}", "<a>".repeat(33), "</a>".repeat(33));
        let bomb = "<!DOCTYPE a [<!ENTITY b \"bbbb\">]><a>&b;</a>";
        let outside = "<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>";
        for text in ["", "no", "<a>", "<a></b>", "{\"a\": 1}", &deep, bomb, outside] {
            assert_eq!(object(text), None, "{text}");
        }
    }
}

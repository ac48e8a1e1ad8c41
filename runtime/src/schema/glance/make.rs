//! Makes glances of schemas, of those of which it knows every keyword.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::{Bounds, EXACT_MAX, Glance, Id, Member, Members, Node, Rules, Words};

/// The dialect, with or without an empty fragment.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Members that an object may have to have: one bit each.
const REQUIRED_MAX: usize = 64;
/// Say nothing about whether a value fits.
const ANNOTATIONS: [&str; 11] = [
    "$schema",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "format",
    "readOnly",
];

/// None for a schema that has something in it that is not known here.
pub(super) fn glance(schema: &Value) -> Option<Glance> {
    if let Some(dialect) = schema.get("$schema")
        && dialect.as_str()?.trim_end_matches('#') != DIALECT
    {
        return None;
    }
    let mut maker = Maker {
        root: schema,
        nodes: Vec::new(),
        referenced: HashMap::new(),
        anything: None,
    };
    maker.node(schema)?;
    Some(Glance {
        nodes: maker.nodes,
        anything: maker.anything,
    })
}

struct Maker<'s> {
    root: &'s Value,
    nodes: Vec<Node>,
    referenced: HashMap<&'s str, Id>,
    anything: Option<Id>,
}

impl<'s> Maker<'s> {
    fn node(&mut self, schema: &'s Value) -> Option<Id> {
        let id = self.place();
        self.fill(id, schema)
    }

    /// Schemas may refer to what is not ready yet, themselves included.
    fn place(&mut self) -> Id {
        self.nodes.push(Node::Rules(Rules::default()));
        self.nodes.len() - 1
    }

    fn fill(&mut self, id: Id, schema: &'s Value) -> Option<Id> {
        let node = match schema {
            Value::Bool(true) => Node::Same(self.anything()),
            // A place fits nothing until it is filled.
            Value::Bool(false) => return Some(id),
            Value::Object(keywords) => self.keywords(keywords)?,
            _ => return None,
        };
        *self.nodes.get_mut(id)? = node;
        Some(id)
    }

    fn anything(&mut self) -> Id {
        if let Some(anything) = self.anything {
            return anything;
        }
        let id = self.place();
        self.anything = Some(id);
        if let Some(node) = self.nodes.get_mut(id) {
            *node = Node::Rules(Rules {
                null: true,
                boolean: true,
                number: Some(Bounds::default()),
                string: Some(Words::Any),
                array: Some(id),
                object: Some(Members {
                    known: Vec::new(),
                    required: 0,
                    others: id,
                }),
            });
        }
        id
    }

    fn keywords(&mut self, keywords: &'s Map<String, Value>) -> Option<Node> {
        let mut asserting = keywords.keys().filter(|name| !ANNOTATIONS.contains(&name.as_str()));
        match (asserting.next().map(String::as_str), asserting.next()) {
            (None, _) => Some(Node::Same(self.anything())),
            (Some("$ref"), None) => self.referenced(keywords.get("$ref")?.as_str()?).map(Node::Same),
            (Some(name @ ("anyOf" | "oneOf")), None) => {
                let schemas = keywords.get(name)?.as_array()?;
                let nodes: Option<Vec<Id>> = schemas.iter().map(|schema| self.node(schema)).collect();
                Some(Node::Alternatives {
                    nodes: nodes?,
                    exactly_one: name == "oneOf",
                })
            }
            _ => self.rules(keywords).map(Node::Rules),
        }
    }

    fn referenced(&mut self, to: &'s str) -> Option<Id> {
        if let Some(known) = self.referenced.get(to) {
            return Some(*known);
        }
        // Escapes of URIs, anchors and other documents are for somebody else.
        let pointer = to.strip_prefix('#').filter(|pointer| !pointer.contains('%'))?;
        let schema = self.root.pointer(pointer)?;
        if pointer.is_empty() {
            return Some(0);
        }
        let id = self.place();
        self.referenced.insert(to, id);
        self.fill(id, schema)
    }

    fn rules(&mut self, keywords: &'s Map<String, Value>) -> Option<Rules> {
        let types: Vec<&str> = match keywords.get("type") {
            None => vec!["null", "boolean", "number", "string", "array", "object"],
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(several)) => several.iter().map(Value::as_str).collect::<Option<_>>()?,
            Some(_) => return None,
        };
        let allows = |name: &str| types.contains(&name);
        let mut rules = Rules {
            null: allows("null"),
            boolean: allows("boolean"),
            number: (allows("number") || allows("integer")).then(|| Bounds {
                only_integers: !allows("number"),
                ..Bounds::default()
            }),
            string: allows("string").then_some(Words::Any),
            array: None,
            object: None,
        };
        for (name, value) in keywords {
            match (name.as_str(), &mut rules.number) {
                ("type" | "properties" | "required" | "additionalProperties" | "items" | "enum" | "const", _) => {}
                ("minimum" | "maximum", None) => {}
                ("minimum", Some(bounds)) => bounds.min = exact(value)?,
                ("maximum", Some(bounds)) => bounds.max = exact(value)?,
                (name, _) if ANNOTATIONS.contains(&name) => {}
                _ => return None,
            }
        }
        let values = match (keywords.get("enum"), keywords.get("const")) {
            (None, None) => None,
            (Some(values), None) => Some(values.as_array()?.as_slice()),
            (None, Some(value)) => Some(std::slice::from_ref(value)),
            (Some(_), Some(_)) => return None,
        };
        if let Some(values) = values {
            return rules.one_of(values);
        }
        if allows("array") {
            rules.array = Some(match keywords.get("items") {
                Some(items) => self.node(items)?,
                None => self.anything(),
            });
        }
        if allows("object") {
            rules.object = Some(self.members(keywords)?);
        }
        Some(rules)
    }

    fn members(&mut self, keywords: &'s Map<String, Value>) -> Option<Members> {
        let others = match keywords.get("additionalProperties") {
            Some(schema) => self.node(schema)?,
            None => self.anything(),
        };
        let mut known = BTreeMap::new();
        if let Some(properties) = keywords.get("properties") {
            for (name, schema) in properties.as_object()? {
                let node = self.node(schema)?;
                known.insert(name.as_str().into(), Member { node, bit: 0 });
            }
        }
        if let Some(required) = keywords.get("required") {
            let required = required.as_array().filter(|names| names.len() <= REQUIRED_MAX)?;
            for (bit, name) in (0..).zip(required) {
                let unknown = Member { node: others, bit: 0 };
                known.entry(name.as_str()?.into()).or_insert(unknown).bit = 1 << bit;
            }
        }
        Some(Members {
            required: known.values().fold(0, |all, member| all | member.bit),
            known: known.into_iter().collect(),
            others,
        })
    }
}

/// A bound that is the same number as a float.
fn exact(bound: &Value) -> Option<f64> {
    bound.as_f64().filter(|bound| bound.abs() < EXACT_MAX)
}

impl Rules {
    /// Only texts and null can be told apart here.
    fn one_of(mut self, values: &[Value]) -> Option<Self> {
        let mut words = Vec::new();
        let mut has_null = false;
        for value in values {
            match value {
                Value::String(word) => words.push(word.as_str().into()),
                Value::Null => has_null = true,
                _ => return None,
            }
        }
        self.null &= has_null;
        self.boolean = false;
        self.number = None;
        self.string = self.string.map(|_| Words::These(words));
        Some(self)
    }
}

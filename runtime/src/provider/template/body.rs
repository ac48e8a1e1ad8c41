//! Templates of request bodies: a JSON value whose texts are templates.

use serde_json::{Map, Value};

use super::{Template, TemplateError, Values};
use crate::model::JsonObject;

/// What a provider wants in every JSON or form body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyTemplate(Vec<(String, Node)>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Text(Template),
    Object(Vec<(String, Node)>),
    List(Vec<Node>),
    /// A number, flag or null.
    Literal(Value),
}

impl BodyTemplate {
    /// The error comes with the path of the text that is malformed, such as `auth.key`.
    pub fn parse(object: &JsonObject) -> Result<Self, (String, TemplateError)> {
        nodes(object).map(Self)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The object with all values filled in; texts whose values are missing are left out.
    pub fn render(&self, values: &dyn Values) -> Result<JsonObject, TemplateError> {
        object(&self.0, values)
    }
}

fn nodes(object: &JsonObject) -> Result<Vec<(String, Node)>, (String, TemplateError)> {
    let node = |(key, value): (&String, &Value)| match node(value) {
        Ok(node) => Ok((key.clone(), node)),
        Err((path, error)) if path.is_empty() => Err((key.clone(), error)),
        Err((path, error)) => Err((format!("{key}.{path}"), error)),
    };
    object.iter().map(node).collect()
}

fn node(value: &Value) -> Result<Node, (String, TemplateError)> {
    Ok(match value {
        Value::String(text) => Node::Text(Template::parse(text).map_err(|error| (String::new(), error))?),
        Value::Object(inner) => Node::Object(nodes(inner)?),
        Value::Array(items) => Node::List(items.iter().map(node).collect::<Result<_, _>>()?),
        Value::Null | Value::Bool(_) | Value::Number(_) => Node::Literal(value.clone()),
    })
}

fn object(nodes: &[(String, Node)], values: &dyn Values) -> Result<JsonObject, TemplateError> {
    let mut filled = Map::new();
    for (key, node) in nodes {
        if let Some(value) = value(node, values)? {
            filled.insert(key.clone(), value);
        }
    }
    Ok(filled)
}

fn value(node: &Node, values: &dyn Values) -> Result<Option<Value>, TemplateError> {
    match node {
        Node::Text(template) => match template.render(values) {
            Ok(text) => Ok(Some(Value::String(text.into_owned()))),
            Err(TemplateError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        },
        Node::Object(nodes) => Ok(Some(Value::Object(object(nodes, values)?))),
        Node::List(items) => {
            let mut filled = Vec::with_capacity(items.len());
            for item in items {
                filled.extend(value(item, values)?);
            }
            Ok(Some(Value::Array(filled)))
        }
        Node::Literal(value) => Ok(Some(value.clone())),
    }
}

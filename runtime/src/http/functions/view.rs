//! Functions as the API shows them: with one JSON Schema document for each, its types under `definitions`, by names that are unique
//! within an integration.

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::http::timestamp::ms_utc;
use crate::model::{CanaryShare, ConnectionEvent, Function, FunctionKind};

#[derive(Serialize, ToSchema)]
pub struct FunctionItem {
    pub name: String,
    description: String,
    /// What a customer's authorisation must cover; functions declare none.
    #[schema(value_type = Vec<String>)]
    scopes: [(); 0],
    r#type: &'static str,
    /// The definition an action's input must fit.
    input: Option<String>,
    /// The definition of an action's output, or the models of a sync.
    returns: Vec<String>,
    #[schema(value_type = Object)]
    json_schema: Value,
    /// How often a sync runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    runs: Option<String>,
    /// What an on-event function runs for.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'static str>,
    id: String,
    enabled: bool,
    last_deployed: String,
    source: &'static str,
    /// The version that runs.
    pub version: i64,
    /// What some connections try in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<CanaryShareItem>,
    /// SHA-256 of its component.
    digest: String,
}

/// Another version of a function, and how many connections try it.
#[derive(Serialize, ToSchema)]
pub struct CanaryShareItem {
    version: i64,
    /// Of the connections.
    percent: i64,
}

impl From<CanaryShare> for CanaryShareItem {
    fn from(share: CanaryShare) -> Self {
        Self {
            version: share.version,
            percent: share.percent,
        }
    }
}

/// One deployed version of a function.
#[derive(Serialize, ToSchema)]
pub struct VersionItem {
    version: i64,
    active: bool,
    digest: String,
    deployed_at: String,
}

impl From<&Function> for VersionItem {
    fn from(function: &Function) -> Self {
        Self {
            version: function.version,
            active: function.version == function.active_version,
            digest: function.digest.clone(),
            deployed_at: ms_utc(function.deployed_at_ms),
        }
    }
}

impl From<&Function> for FunctionItem {
    fn from(function: &Function) -> Self {
        let manifest = &function.manifest;
        let mut definitions = Map::new();
        let mut define = |name: String, schema: &Value| {
            definitions.insert(name.clone(), moved(schema, &format!("#/definitions/{name}")));
            name
        };
        let type_name = |what: &str| format!("{what}_{}_{}", function.provider_config_key, function.name);
        let input = manifest
            .input
            .as_ref()
            .map(|schema| define(type_name("ActionInput"), schema));
        let returns = match manifest.kind {
            FunctionKind::Action => {
                let output = manifest
                    .output
                    .as_ref()
                    .map(|schema| define(type_name("ActionOutput"), schema));
                output.into_iter().collect()
            }
            FunctionKind::Sync => {
                let models = manifest.models.iter();
                models.map(|(model, schema)| define(model.clone(), schema)).collect()
            }
            FunctionKind::OnEvent => Vec::new(),
        };
        Self {
            name: function.name.clone(),
            description: manifest.description.clone(),
            scopes: [],
            r#type: manifest.kind.as_str(),
            input,
            returns,
            json_schema: json!({"definitions": definitions}),
            runs: manifest.frequency.clone(),
            event: manifest.event.map(ConnectionEvent::as_str),
            id: format!("{}/{}", function.provider_config_key, function.name),
            enabled: function.is_enabled,
            last_deployed: ms_utc(function.deployed_at_ms),
            source: "repo",
            version: function.version,
            canary: function.canary.map(CanaryShareItem::from),
            digest: function.digest.clone(),
        }
    }
}

/// The schema with its references to itself put right for its new place in a document.
fn moved(schema: &Value, place: &str) -> Value {
    match schema {
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| {
                let value = match value {
                    Value::String(reference) if name == "$ref" && reference.starts_with('#') => {
                        Value::from(format!("{place}{}", reference.trim_start_matches('#')))
                    }
                    other => moved(other, place),
                };
                (name.clone(), value)
            });
            Value::Object(members.collect())
        }
        Value::Array(items) => items.iter().map(|item| moved(item, place)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => schema.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::functions::tests::function;

    #[test]
    fn an_action() {
        let mut noop = function("noop", FunctionKind::Action, 1);
        let manifest = std::sync::Arc::make_mut(&mut noop.manifest);
        manifest.input = Some(json!({"$ref": "#/$defs/N", "$defs": {"N": {"type": "number"}}}));
        manifest.output = Some(json!({"type": "object"}));
        assert_eq!(
            serde_json::to_value(FunctionItem::from(&noop)).unwrap(),
            json!({
                "name": "noop", "description": "Does noop", "scopes": [], "type": "action",
                "input": "ActionInput_github_noop", "returns": ["ActionOutput_github_noop"],
                "json_schema": {"definitions": {
                    "ActionInput_github_noop": {
                        "$ref": "#/definitions/ActionInput_github_noop/$defs/N", "$defs": {"N": {"type": "number"}},
                    },
                    "ActionOutput_github_noop": {"type": "object"},
                }},
                "id": "github/noop", "enabled": true, "last_deployed": "2026-11-22T11:29:40.925Z", "source": "repo",
                "version": 1, "digest": "abc",
            })
        );
    }

    #[test]
    fn a_sync() {
        let mut issues = function("issues", FunctionKind::Sync, 1);
        std::sync::Arc::make_mut(&mut issues.manifest).frequency = Some("every hour".into());
        std::sync::Arc::make_mut(&mut issues.manifest)
            .models
            .insert("Issue".into(), json!({"type": "object"}));
        let item = serde_json::to_value(FunctionItem::from(&issues)).unwrap();
        assert_eq!(item["type"], "sync");
        assert_eq!(item["runs"], "every hour");
        assert_eq!(item["input"], Value::Null);
        assert_eq!(item["returns"], json!(["Issue"]));
        assert_eq!(
            item["json_schema"],
            json!({"definitions": {"Issue": {"type": "object"}}})
        );
    }
}

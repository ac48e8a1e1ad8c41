//! Checks an action's input against the JSON Schema its function declares. Compiled validators are kept for each version of a
//! function; an action without a schema costs nothing.

use std::sync::Arc;

use jsonschema::Validator;
use quick_cache::sync::Cache;
use serde_json::Value;

use crate::model::{DeploymentId, Function};

/// Validators kept.
const VALIDATORS_MAX: usize = 1_000;
/// Faults one answer names.
const FAULTS_MAX: usize = 10;
/// Longest text of one fault, in bytes: faults quote the value they are about.
const FAULT_BYTES_MAX: usize = 300;

/// Validators by deployment and function: a deployment is immutable. Cheap to clone.
#[derive(Clone)]
pub struct SchemaCache(Arc<Cache<(DeploymentId, String), Arc<Validator>>>);

impl Default for SchemaCache {
    fn default() -> Self {
        Self::new()
    }
}

impl SchemaCache {
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Cache::new(VALIDATORS_MAX)))
    }

    /// Checks `input`, JSON text, for an action.
    ///
    /// # Errors
    ///
    /// What does not fit, each with the JSON pointer of its place; `(root)` for the input itself.
    pub fn check(&self, function: &Function, input: &str) -> Result<(), Vec<String>> {
        let Some(schema) = &function.manifest.input else {
            return Ok(());
        };
        let key = (function.deployment_id.clone(), function.name.clone());
        let validator = self
            .0
            .get_or_insert_with(&key, || compile(schema).map(Arc::new))
            .map_err(|reason| vec![format!("the schema of {:?} cannot be used: {reason}", function.name)])?;
        let input: Value = serde_json::from_str(input).map_err(|error| vec![format!("(root): is no JSON: {error}")])?;
        let faults: Vec<String> = validator
            .iter_errors(&input)
            .take(FAULTS_MAX)
            .map(|error| fault(&error))
            .collect();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

/// Compiles a schema. References to other documents are refused: nothing is fetched.
///
/// # Errors
///
/// What is wrong with the schema, with its place.
pub(crate) fn compile(schema: &Value) -> Result<Validator, String> {
    jsonschema::validator_for(schema).map_err(|error| fault(&error))
}

fn fault(error: &jsonschema::ValidationError<'_>) -> String {
    let place = error.instance_path().to_string();
    let mut text = format!("{}: {error}", if place.is_empty() { "(root)" } else { place.as_str() });
    if text.len() > FAULT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(FAULT_BYTES_MAX));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{FunctionKind, FunctionManifest};

    fn function(input: Option<Value>) -> Function {
        Function {
            environment_id: "env_1".into(),
            integration_id: "int_1".into(),
            provider_config_key: "github".to_owned(),
            name: "create-issue".to_owned(),
            version: 1,
            active_version: 1,
            deployment_id: "dep_1".into(),
            digest: String::new(),
            manifest: Arc::new(FunctionManifest {
                name: "create-issue".to_owned(),
                kind: FunctionKind::Action,
                description: String::new(),
                input,
                output: None,
                frequency: None,
                auto_start: true,
                models: std::collections::BTreeMap::new(),
                metadata: None,
                checkpoint: None,
            }),
            deployed_at_ms: 0,
        }
    }

    #[test]
    fn names_the_place_of_each_fault() {
        let schema = json!({
            "type": "object", "required": ["title"],
            "properties": {"title": {"type": "string"}, "labels": {"type": "array", "items": {"type": "string"}}},
        });
        let (cache, function) = (SchemaCache::new(), function(Some(schema)));
        assert_eq!(cache.check(&function, r#"{"title":"x","labels":["a"]}"#), Ok(()));
        let faults = cache.check(&function, r#"{"labels":["a",1]}"#).unwrap_err();
        assert!(
            faults.contains(&"(root): \"title\" is a required property".to_owned()),
            "{faults:?}"
        );
        assert!(
            faults.contains(&"/labels/1: 1 is not of type \"string\"".to_owned()),
            "{faults:?}"
        );
        assert_eq!(
            cache.check(&function, "null").unwrap_err(),
            ["(root): null is not of type \"object\""]
        );
        assert!(cache.check(&function, "{").unwrap_err()[0].starts_with("(root): is no JSON: "));
    }

    #[test]
    fn without_a_schema_everything_fits() {
        assert_eq!(SchemaCache::new().check(&function(None), "not even JSON"), Ok(()));
    }

    #[test]
    fn a_schema_that_is_none_is_refused() {
        assert!(compile(&json!({"type": 5})).is_err());
        assert!(compile(&json!({"$ref": "https://example.com/schema.json"})).is_err());
    }
}

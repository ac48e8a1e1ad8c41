//! `GET /scripts/config`: all deployed functions at once, as Nango's SDK lists them, or as the tools of a language model.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::json_response;
use super::error::{ApiError, ErrorEnvelope};
use super::functions::FunctionItem;
use super::query::Query;
use crate::model::{Function, FunctionKind};
use crate::runtime::Runtime;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Nango,
    Openai,
}

/// The functions of one integration.
#[derive(Serialize, ToSchema)]
pub struct ScriptsConfig {
    #[serde(rename = "providerConfigKey")]
    provider_config_key: String,
    provider: String,
    #[schema(value_type = Vec<Object>)]
    actions: Vec<Value>,
    #[schema(value_type = Vec<Object>)]
    syncs: Vec<Value>,
    #[serde(rename = "on-events")]
    #[schema(value_type = Vec<Object>)]
    on_events: Vec<Value>,
}

#[derive(Serialize)]
struct Tools {
    data: Vec<Tool>,
}

#[derive(Debug, Serialize)]
struct Tool {
    name: String,
    description: String,
    /// JSON Schema of an object.
    parameters: Value,
}

/// List all deployed functions.
#[utoipa::path(
    get, path = "/scripts/config", tag = "functions",
    params(("format" = Option<String>, Query, description = "nango (as below) or openai: `{data: [{name, description, parameters}]}`")),
    responses((status = 200, body = Vec<ScriptsConfig>), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn list(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::FunctionsList>,
    request: Request,
) -> Result<Response, ApiError> {
    let mut query = Query::parse(request.uri().query());
    let format: Option<Format> = query.word("format", &["nango", "openai"]);
    query.finish()?;
    let environment = caller.environment()?;
    let functions = runtime.functions(environment, None).await?;
    if format == Some(Format::Openai) {
        let actions = functions.iter().filter(|it| it.manifest.kind == FunctionKind::Action);
        let data = actions.map(Tool::from).collect();
        return Ok(json_response(StatusCode::OK, &Tools { data }));
    }
    let mut configs: Vec<ScriptsConfig> = Vec::new();
    for integration in runtime.integrations(environment).await? {
        let of_it = functions
            .iter()
            .filter(|function| function.provider_config_key == integration.unique_key);
        let config = config(&integration.unique_key, &integration.provider, of_it);
        // Integrations without functions have nothing to say here.
        if !config.actions.is_empty() || !config.syncs.is_empty() || !config.on_events.is_empty() {
            configs.push(config);
        }
    }
    Ok(json_response(StatusCode::OK, &configs))
}

fn config<'a>(unique_key: &str, provider: &str, functions: impl Iterator<Item = &'a Function>) -> ScriptsConfig {
    let mut config = ScriptsConfig {
        provider_config_key: unique_key.to_owned(),
        provider: provider.to_owned(),
        actions: Vec::new(),
        syncs: Vec::new(),
        on_events: Vec::new(),
    };
    for function in functions {
        let item = script(function);
        match function.manifest.kind {
            FunctionKind::Action => config.actions.push(item),
            FunctionKind::Sync => config.syncs.push(item),
            FunctionKind::OnEvent => config.on_events.push(item),
        }
    }
    config
}

/// What Nango has of a function beside what [`FunctionItem`] says of it.
fn script(function: &Function) -> Value {
    let mut item = serde_json::to_value(FunctionItem::from(function)).unwrap_or_default();
    let definitions = item.pointer("/json_schema/definitions").and_then(Value::as_object);
    let models = definitions.into_iter().flat_map(Map::keys);
    let models: Vec<Value> = models.map(|name| json!({"name": name, "fields": []})).collect();
    let more = json!({
        "version": function.version.to_string(), "attributes": {}, "endpoints": [], "webhookSubscriptions": function.manifest.webhook_subscriptions,
        "sdk_version": null, "models": models, "features": [],
    });
    let of_sync = json!({
        "sync_type": "incremental", "track_deletes": false, "auto_start": function.manifest.auto_start,
    });
    if let (FunctionKind::Sync, Some(item), Value::Object(of_sync)) =
        (function.manifest.kind, item.as_object_mut(), of_sync)
    {
        item.extend(of_sync);
    }
    if let (Some(item), Value::Object(more)) = (item.as_object_mut(), more) {
        item.extend(more);
    }
    item
}

impl From<&Function> for Tool {
    fn from(function: &Function) -> Self {
        Self {
            name: function.name.clone(),
            description: function.manifest.description.clone(),
            parameters: parameters(function.manifest.input.as_ref()),
        }
    }
}

/// An object schema, since tools take named parameters. Definitions that it refers to come along.
fn parameters(input: Option<&Value>) -> Value {
    let member = |name: &str| input.and_then(|input| input.get(name)).cloned();
    let mut parameters = Map::new();
    parameters.insert("type".to_owned(), "object".into());
    parameters.insert(
        "properties".to_owned(),
        member("properties").unwrap_or_else(|| json!({})),
    );
    parameters.insert("required".to_owned(), member("required").unwrap_or_else(|| json!([])));
    for definitions in ["$defs", "definitions"] {
        if let Some(found) = member(definitions) {
            parameters.insert(definitions.to_owned(), found);
        }
    }
    Value::Object(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::functions::tests::function;

    #[test]
    fn as_the_sdk_lists_them() {
        let functions = [
            function("noop", FunctionKind::Action, 2),
            function("items", FunctionKind::Sync, 1),
            function("check", FunctionKind::OnEvent, 1),
        ];
        let config = serde_json::to_value(config("github", "github", functions.iter())).unwrap();
        assert_eq!(config["providerConfigKey"], "github");
        assert_eq!(config["on-events"][0]["name"], "check");
        assert_eq!(config["actions"][0]["version"], "2");
        assert_eq!(config["syncs"][0]["track_deletes"], false);
        assert_eq!(config["syncs"][0]["name"], "items");
    }

    #[test]
    fn as_tools() {
        let input =
            json!({"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}, "$defs": {"N": {"type": "number"}}});
        assert_eq!(
            parameters(Some(&input)),
            json!({"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}, "required": [], "$defs": {"N": {"type": "number"}}})
        );
        assert_eq!(
            parameters(None),
            json!({"type": "object", "properties": {}, "required": []})
        );
    }
}

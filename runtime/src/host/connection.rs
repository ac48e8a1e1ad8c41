//! The interface `connection`: what a function may know of the connection it runs for. Credentials are not among it, nor what the
//! provider's schema calls secret.

use serde_json::Value;

use super::bindings::nango::functions::connection::Host;
use super::fault::Fault;
use super::state::GuestState;
use crate::connections::Target;
use crate::model::JsonObject;

/// Names under which `connection_config` may carry credentials of another system.
const CREDENTIALS: &str = "credentials";

impl GuestState {
    pub(super) async fn target(&mut self, import: &'static str) -> Result<std::sync::Arc<Target>, Fault> {
        let run = self.run(import)?;
        let ctx = run.ctx();
        let connections = &run.services.connections;
        Ok(connections
            .target(&ctx.environment_id, &ctx.provider_config_key, &ctx.connection_id)
            .await?)
    }

    async fn write_metadata(&mut self, json: &str, merge: bool) -> Result<(), Fault> {
        let metadata: JsonObject = serde_json::from_str(json)
            .map_err(|error| Fault::new("invalid_metadata", format!("metadata must be a JSON object: {error}")))?;
        let run = self.run("connection")?;
        let ctx = run.ctx();
        let ids = [ctx.connection_id.as_ref().to_owned()];
        let connections = &run.services.connections;
        connections
            .set_metadata(&ctx.environment_id, &ctx.provider_config_key, &ids, &metadata, merge)
            .await?;
        Ok(())
    }
}

impl Host for GuestState {
    fn connection_id(&mut self) -> wasmtime::Result<String> {
        Ok(self.facts()?.ctx().connection_id.as_ref().to_owned())
    }

    fn provider_config_key(&mut self) -> wasmtime::Result<String> {
        Ok(self.facts()?.ctx().provider_config_key.as_ref().to_owned())
    }

    fn provider(&mut self) -> wasmtime::Result<String> {
        Ok(self.facts()?.provider.as_ref().to_owned())
    }

    fn environment(&mut self) -> wasmtime::Result<String> {
        Ok(self.facts()?.environment_name.as_ref().to_owned())
    }

    async fn config(&mut self) -> Result<String, Fault> {
        let target = self.target("connection").await?;
        Ok(Value::Object(without_secrets(&target.connection_config, &target.provider.json)).to_string())
    }

    async fn metadata(&mut self) -> Result<String, Fault> {
        let target = self.target("connection").await?;
        Ok(Value::Object(target.connection.metadata.clone()).to_string())
    }

    async fn set_metadata(&mut self, json: String) -> Result<(), Fault> {
        self.write_metadata(&json, false).await
    }

    async fn update_metadata(&mut self, json: String) -> Result<(), Fault> {
        self.write_metadata(&json, true).await
    }
}

/// `connection_config` without the fields that the provider's schema marks `secret` or counts among the credentials, and without
/// nested credentials.
fn without_secrets(config: &JsonObject, provider: &Value) -> JsonObject {
    let schema_says_secret = |name: &str| {
        let is_secret =
            |section: &str| provider.pointer(&format!("/{section}/{}", name.replace('~', "~0").replace('/', "~1")));
        is_secret("connection_config")
            .and_then(|field| field.get("secret"))
            .and_then(Value::as_bool)
            == Some(true)
            || is_secret(CREDENTIALS).is_some()
    };
    config
        .iter()
        .filter(|(name, _)| name.as_str() != CREDENTIALS && !schema_says_secret(name))
        .map(|(name, value)| (name.clone(), without_credentials(value)))
        .collect()
}

/// Depth is bounded by the JSON parser the value came from.
fn without_credentials(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(name, _)| name.as_str() != CREDENTIALS)
                .map(|(name, value)| (name.clone(), without_credentials(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_credentials).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_stay_behind() {
        let provider = json!({
            "connection_config": {"subdomain": {"type": "string"}, "signingKey": {"type": "string", "secret": true}},
            "credentials": {"apiKey": {"type": "string"}},
        });
        let config = json!({
            "subdomain": "acme", "signingKey": "s1", "apiKey": "s2", "credentials": {"password": "s3"},
            "nested": {"list": [{"credentials": "s4", "id": 1}]},
        });
        let shown = without_secrets(config.as_object().unwrap(), &provider);
        assert_eq!(
            Value::Object(shown),
            json!({"subdomain": "acme", "nested": {"list": [{"id": 1}]}})
        );
    }
}

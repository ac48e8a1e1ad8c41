//! The interface `connection`: what a function may know of the connection it runs for. Credentials are not among it, nor what the
//! provider's schema calls secret.

use std::sync::Arc;

use serde_json::{Value, json};

use super::bindings::nango::functions::connection::Host;
use super::fault::Fault;
use super::kept::Kept;
use super::state::{GuestState, Services};
use crate::connections::{ConnectionsError, Target};
use crate::model::{ExecutionContext, JsonObject};
use crate::recording::import;
use crate::schema::Part;

const CONFIG: &str = "connection.config";
const INVALID_METADATA: &str = "invalid_metadata";
/// Names under which `connection_config` may carry credentials of another system.
const CREDENTIALS: &str = "credentials";

impl GuestState {
    async fn write_metadata(&mut self, import: &'static str, json: &str, merge: bool) -> Result<(), Fault> {
        let metadata: JsonObject = serde_json::from_str(json)
            .map_err(|error| Fault::new(INVALID_METADATA, format!("metadata must be a JSON object: {error}")))?;
        let run = self.run(import)?;
        let part = if merge { Part::MetadataPatch } else { Part::Metadata };
        let checked = run.schemas.check(part, json);
        checked.map_err(|faults| {
            Fault::unfit(
                INVALID_METADATA,
                "the metadata does not fit the function's schema",
                &faults,
            )
        })?;
        let ctx = run.ctx();
        let live = async |services: &Services| {
            let ids = [ctx.connection_id.as_ref().to_owned()];
            target(services, ctx).await?;
            let connections = &services.connections;
            connections
                .set_metadata(&ctx.environment_id, &ctx.provider_config_key, &ids, &metadata, merge)
                .await?;
            Ok(())
        };
        let keep = |kept: &mut Kept| {
            kept.set_metadata(&metadata, merge);
            Ok(())
        };
        let arguments = || json!({ "metadata": metadata });
        run.reach.change(import, arguments, live, keep).await
    }
}

/// The connection as it is now.
pub(super) async fn target(services: &Services, ctx: &ExecutionContext) -> Result<Arc<Target>, Fault> {
    let connections = &services.connections;
    let target = connections
        .target(&ctx.environment_id, &ctx.provider_config_key, &ctx.connection_id)
        .await?;
    if ctx.means(&target.connection.key) {
        return Ok(target);
    }
    // Deleted, and another one has its name.
    Err(Fault::from(ConnectionsError::UnknownConnection {
        provider_config_key: ctx.provider_config_key.as_ref().to_owned(),
        connection_id: ctx.connection_id.as_ref().to_owned(),
    }))
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
        let run = self.run(CONFIG)?;
        let live = async |services: &Services| {
            let target = target(services, run.ctx()).await?;
            Ok(Value::Object(without_secrets(&target.connection_config, &target.provider.json)).to_string())
        };
        run.reach.ask(CONFIG, || Value::Null, live, |_, found| found).await
    }

    async fn metadata(&mut self) -> Result<String, Fault> {
        let run = self.run(import::METADATA)?;
        let live = async |services: &Services| {
            let target = target(services, run.ctx()).await?;
            Ok(Value::Object(target.connection.metadata.clone()).to_string())
        };
        // Known from the beginning, whatever was asked.
        let over = |kept: &Kept, _| Some(kept.metadata());
        let found = run.reach.ask(import::METADATA, || Value::Null, live, over).await?;
        let checked = run.schemas.check(Part::Metadata, &found);
        checked.map_err(|faults| {
            let what =
                "the connection's metadata does not fit the function's schema; set it with PATCH /connections/metadata";
            Fault::unfit(INVALID_METADATA, what, &faults)
        })?;
        Ok(found)
    }

    async fn set_metadata(&mut self, json: String) -> Result<(), Fault> {
        self.write_metadata(import::SET_METADATA, &json, false).await
    }

    async fn update_metadata(&mut self, json: String) -> Result<(), Fault> {
        self.write_metadata(import::UPDATE_METADATA, &json, true).await
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

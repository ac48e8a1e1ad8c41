//! Deployed functions and what a component says of itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BASE_VARIANT, CanaryShare, DeploymentId, EnvironmentId, FetchHosts, IntegrationId};

/// Models one sync may declare.
pub const MODELS_MAX: usize = 64;

/// One uploaded component, immutable.
#[derive(Clone, Debug)]
pub struct Deployment {
    pub id: DeploymentId,
    pub environment_id: EnvironmentId,
    pub integration_id: IntegrationId,
    /// SHA-256 of the component's bytes, in lower-case hex.
    pub digest: String,
    pub component_bytes_len: i64,
    pub created_at_ms: i64,
}

/// A function of an integration in one of its versions.
#[derive(Clone, Debug)]
pub struct Function {
    pub environment_id: EnvironmentId,
    pub integration_id: IntegrationId,
    pub provider_config_key: String,
    pub name: String,
    /// Counts from 1 for each function; a deployment with the same digest makes no new version.
    pub version: i64,
    /// The version that is run; equals `version` for what `Store::active_function` gives.
    pub active_version: i64,
    /// What a canary tries in its place; none when none is running, or it is not about this function.
    pub canary: Option<CanaryShare>,
    pub deployment_id: DeploymentId,
    pub digest: String,
    pub manifest: Arc<FunctionManifest>,
    pub deployed_at_ms: i64,
    /// Of all its versions: one that is not is not run, whatever asks for it.
    pub is_enabled: bool,
}

impl Function {
    /// Whether it writes a model in one of its variants; stored models name the variant unless it is the base.
    #[must_use]
    pub fn writes(&self, model: &str, variant: &str) -> bool {
        let (name, of_variant) = model.split_once("::").unwrap_or((model, BASE_VARIANT));
        of_variant == variant && self.manifest.models.contains_key(name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FunctionKind {
    Action,
    Sync,
    OnEvent,
}

impl FunctionKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Sync => "sync",
            Self::OnEvent => "on-event",
        }
    }

    /// With its article, for messages.
    #[must_use]
    pub fn an(self) -> &'static str {
        match self {
            Self::Action => "an action",
            Self::Sync => "a sync",
            Self::OnEvent => "an on-event function",
        }
    }
}

/// What happens to a connection and functions may be run for. (Nango compatibility.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionEvent {
    /// Its credentials are stored, and it does not count as made before these functions take it.
    ValidateConnection,
    /// It was made.
    PostConnectionCreation,
    /// It is about to be deleted.
    PreConnectionDeletion,
}

impl ConnectionEvent {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ValidateConnection => "validate-connection",
            Self::PostConnectionCreation => "post-connection-creation",
            Self::PreConnectionDeletion => "pre-connection-deletion",
        }
    }
}

/// What the component's export `describe` gives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub functions: Vec<FunctionManifest>,
    #[serde(default)]
    pub sdk: Option<Sdk>,
}

impl Manifest {
    /// When some functions of the component say which hosts they fetch from, the others fetch from none; when none does, nothing is
    /// known of them.
    #[must_use]
    pub fn with_fetch_of_all(mut self) -> Self {
        if self.functions.iter().any(|function| function.fetch.is_some()) {
            for function in &mut self.functions {
                function.fetch.get_or_insert_with(FetchHosts::none);
            }
        }
        self
    }
}

/// The library a component was built with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sdk {
    pub name: String,
    pub version: String,
}

/// What a component says of one of its functions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FunctionManifest {
    pub name: String,
    pub kind: FunctionKind,
    #[serde(default)]
    pub description: String,
    /// JSON Schema of an action's input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// JSON Schema of an action's output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// What an on-event function runs for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<ConnectionEvent>,
    /// How often a sync runs, for example `every hour`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency: Option<String>,
    /// Whether a sync's schedule runs from the beginning; paused until it is started otherwise.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub auto_start: bool,
    /// JSON Schemas of the models a sync writes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, Value>,
    /// Events of the provider's webhooks that a sync handles; `*` is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub webhook_subscriptions: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Value>,
    /// The hosts that it may fetch from, if its component was given `fetch`. None: any public host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch: Option<FetchHosts>,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_yes(value: &bool) -> bool {
    *value
}

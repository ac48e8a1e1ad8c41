//! Running a function for real without writing what it writes; and playing what a run was recorded to have done.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{InvokeError, Runtime};
use crate::deploy::{Allow, DeployError};
use crate::executor::{ComponentError, DryRun, Mode, Occasion, PlayError, RunRequest, SyncRun, Urgency};
use crate::host::Chain;
use crate::ingress::{Incoming, IngressError, subscribes};
use crate::model::{
    DeploymentId, EnvironmentId, ExecutionContext, Function, FunctionKind, JsonObject, OperationId, Progress,
};
use crate::oauth::OAuthError;
use crate::recording::{Comparison, Position, Recording};
use crate::recordings::RecordingError;
use crate::schema::Part;
use crate::store::StoreError;

/// What to run dry, for whom.
#[derive(Debug)]
pub struct NewDryRun {
    pub provider_config_key: String,
    pub connection_id: String,
    pub function: String,
    /// Of a sync.
    pub variant: String,
    /// JSON text; `null` when there is none.
    pub input: String,
    /// A sync runs for this webhook, in the place of an input.
    pub webhook: Option<DryWebhook>,
    /// In the place of the connection's.
    pub metadata: Option<JsonObject>,
    /// In the place of the saved one; a JSON object.
    pub checkpoint: Option<JsonObject>,
    /// A component that is not deployed, in the place of the one that is.
    pub component: Option<Arc<[u8]>>,
    /// Ed25519 over its bytes, where only signed ones are run.
    pub signature: Option<Vec<u8>>,
    /// What that component may be given.
    pub allow: Allow,
}

/// A webhook that did not come.
#[derive(Debug)]
pub struct DryWebhook {
    pub incoming: Incoming,
    /// The events it brings, where the provider's data does not say.
    pub events: Vec<String>,
}

/// Why nothing was run.
#[derive(Debug, thiserror::Error)]
pub enum DryRunError {
    #[error(transparent)]
    Invoke(#[from] InvokeError),
    #[error(transparent)]
    Credentials(#[from] OAuthError),
    #[error(transparent)]
    Deploy(#[from] DeployError),
    #[error("the component has no function {function:?}; it has {has}")]
    NotInComponent { function: String, has: String },
    #[error(
        "{function:?} handles no webhooks: only a sync does, with `webhooks(…)` and `on_webhook = …` in its attribute"
    )]
    NoHandler { function: String },
    #[error(
        "{function:?} would not run for this webhook: it brings {brings}, and the sync handles {handles}; are the headers those of \
         the provider?"
    )]
    NotSubscribed {
        function: String,
        brings: String,
        handles: String,
    },
    #[error(transparent)]
    Ingress(#[from] IngressError),
    #[error("the run left no recording; the runtime's log says why")]
    NoRecording,
}

/// A recorded run and what came of playing it.
#[derive(Debug)]
pub struct Replay {
    pub before: Recording,
    pub after: Recording,
    pub comparison: Comparison,
    /// Calls that the recording has no answer for.
    pub misses: Vec<String>,
}

/// Why nothing was replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Recording(#[from] RecordingError),
    #[error("the component that ran then ({digest}) is not in the store any more: give one with --with")]
    ComponentGone { digest: String },
    /// It is not signed.
    #[error(transparent)]
    Component(#[from] DeployError),
    #[error(transparent)]
    Play(#[from] PlayError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Runtime {
    /// Runs a function against the provider and gives all that it did, without secrets. Records, checkpoint and metadata stay as they
    /// are. A run that fails is no error: its recording says how.
    ///
    /// # Errors
    /// [`DryRunError`]: what is unknown or does not fit.
    pub async fn dry_run(&self, environment: &EnvironmentId, new: NewDryRun) -> Result<Recording, DryRunError> {
        let parts = &self.0;
        let now_ms = parts.clock.now_ms();
        let target = parts
            .oauth
            .target(environment, &new.provider_config_key, &new.connection_id)
            .await?;
        let function = match &new.component {
            Some(component) => Arc::new(self.undeployed(environment, &new, component).await?),
            None => parts
                .functions
                .of_connection(
                    environment,
                    &new.provider_config_key,
                    &new.function,
                    &target.connection.key,
                    now_ms,
                )
                .await
                .map_err(InvokeError::from)?
                .ok_or_else(|| InvokeError::UnknownFunction {
                    provider_config_key: new.provider_config_key.clone(),
                    kind: "function",
                    function: new.function.clone(),
                })?,
        };
        let is_for_webhook = new.webhook.is_some();
        let input = match &new.webhook {
            Some(webhook) => self.webhook_input(environment, &new, webhook, &function).await?,
            None => new.input,
        };
        parts
            .schemas
            .check(&function.digest, &function.manifest, Part::Input, &input)
            .map_err(|faults| InvokeError::InvalidInput {
                function: new.function.clone(),
                faults,
            })?;
        let is_sync = function.manifest.kind == FunctionKind::Sync;
        let position = |json: JsonObject| Position {
            json: Some(serde_json::Value::Object(json).to_string()),
        };
        let outcome = parts
            .executor
            .run(RunRequest {
                ctx: ExecutionContext {
                    environment_id: environment.clone(),
                    provider_config_key: new.provider_config_key.as_str().into(),
                    connection_id: new.connection_id.as_str().into(),
                    connection_key: Some(target.connection.key.clone()),
                    // It has no row: nothing of it is to be found later but its operation.
                    run_id: None,
                    operation_id: OperationId::new(now_ms, parts.entropy.bytes()),
                },
                function,
                provider: target.provider.name.as_str().into(),
                environment_name: Arc::clone(&parts.environment_name),
                connection_key: target.connection.key.clone(),
                target,
                input,
                sync: is_sync.then(|| SyncRun {
                    occasion: if is_for_webhook {
                        Occasion::Webhook
                    } else {
                        Occasion::Fetch
                    },
                    variant: new.variant,
                    fence: None,
                    progress: Progress::default(),
                }),
                mode: Mode::Dry(DryRun {
                    component: new.component,
                    metadata: new.metadata,
                    checkpoint: new.checkpoint.map(position),
                }),
                urgency: Urgency::Blocking,
                is_kept: is_sync,
                cancel: None,
                chain: Chain::default(),
            })
            .await;
        outcome
            .recording
            .map(|recording| *recording)
            .ok_or(DryRunError::NoRecording)
    }

    /// The input of a run for a webhook that the function would run for.
    async fn webhook_input(
        &self,
        environment: &EnvironmentId,
        new: &NewDryRun,
        webhook: &DryWebhook,
        function: &Function,
    ) -> Result<String, DryRunError> {
        let parts = &self.0;
        let integration = parts
            .connections
            .integration(environment, &new.provider_config_key)
            .await;
        let integration = integration.map_err(InvokeError::from)?;
        let (events, input) = parts
            .ingress
            .preview(&integration, &webhook.incoming, &webhook.events)?;
        let subscriptions = &function.manifest.webhook_subscriptions;
        if subscriptions.is_empty() {
            return Err(DryRunError::NoHandler {
                function: new.function.clone(),
            });
        }
        if !subscribes(subscriptions, &events) {
            let brings = if events.is_empty() {
                "no event that is known".to_owned()
            } else {
                events.join(", ")
            };
            return Err(DryRunError::NotSubscribed {
                function: new.function.clone(),
                brings,
                handles: subscriptions.join(", "),
            });
        }
        Ok(input)
    }

    /// A function of a component as it would be if that were deployed.
    async fn undeployed(
        &self,
        environment: &EnvironmentId,
        new: &NewDryRun,
        component: &[u8],
    ) -> Result<Function, DryRunError> {
        let parts = &self.0;
        let integration = parts
            .connections
            .integration(environment, &new.provider_config_key)
            .await
            .map_err(InvokeError::from)?;
        let described = parts
            .deploy
            .describe_undeployed(component, new.signature.as_deref(), &new.allow);
        let described = described.await?;
        let digest = Sha256::digest(component);
        let has = || {
            described
                .functions
                .iter()
                .map(|it| it.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let manifest = described
            .functions
            .iter()
            .find(|function| function.name == new.function);
        let manifest = manifest.cloned().ok_or_else(|| DryRunError::NotInComponent {
            function: new.function.clone(),
            has: has(),
        })?;
        Ok(Function {
            environment_id: environment.clone(),
            integration_id: integration.id.clone(),
            provider_config_key: new.provider_config_key.clone(),
            name: new.function.clone(),
            version: 0,
            active_version: 0,
            canary: None,
            // Its own, so that no cache takes it for another's.
            deployment_id: DeploymentId::new(parts.clock.now_ms(), parts.entropy.bytes()),
            digest: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            manifest: Arc::new(manifest),
            deployed_at_ms: parts.clock.now_ms(),
            is_enabled: true,
        })
    }

    /// For whom a recorded run was: whoever wants to replay it needs to be allowed that.
    ///
    /// # Errors
    /// [`ReplayError::Recording`].
    pub async fn recording(&self, environment: &EnvironmentId, run_id: &str) -> Result<Recording, ReplayError> {
        Ok(self.0.recordings.open(environment, run_id).await?)
    }

    /// Runs a recorded run again, with the component of then or another, against what was recorded: nothing leaves this process, and
    /// nothing is written. Another one must be signed where only signed ones are run.
    ///
    /// # Errors
    /// [`ReplayError`]: a component that cannot be run. A run that fails is no error.
    pub async fn replay(
        &self,
        before: Recording,
        component: Option<Arc<[u8]>>,
        signature: Option<&[u8]>,
    ) -> Result<Replay, ReplayError> {
        let component = match component {
            Some(component) => {
                self.0.deploy.check_signature(&component, signature)?;
                component
            }
            None => {
                let digest = &before.subject.digest;
                let stored = self.0.store.component(digest).await?;
                let gone = || ReplayError::ComponentGone { digest: digest.clone() };
                stored.ok_or_else(gone)?.into()
            }
        };
        let played = self.0.executor.sandbox().play(&component, &before).await?;
        Ok(Replay {
            comparison: Comparison::of(&before, &played.recording),
            misses: played.misses,
            after: played.recording,
            before,
        })
    }
}

impl From<ComponentError> for DryRunError {
    fn from(error: ComponentError) -> Self {
        DeployError::from(error).into()
    }
}

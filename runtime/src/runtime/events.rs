//! On-event functions that somebody waits for: those that are asked about connections before they count, and those that run before
//! connections are deleted. Those of connections that were made wait in the queue of actions.

use std::sync::{Arc, Weak};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{Parts, Runtime};
use crate::connect::{Refusal, Validation};
use crate::connections::{ConnectionsError, Target};
use crate::executor::{Mode, RunRequest, Urgency};
use crate::host::Chain;
use crate::model::{ConnectionEvent, EnvironmentId, ExecutionContext, Function, OperationId, RunError, RunId};
use crate::store::ConnectionQuery;

/// Connections of an integration that is deleted: looked up at once, and with functions under way.
const DELETED_PAGE: i64 = 100;
const DELETED_AT_ONCE: usize = 8;

/// Answers questions about connections until nobody can ask any more.
pub(super) async fn validate_all(parts: Weak<Parts>, mut questions: mpsc::Receiver<Validation>) {
    while let Some(question) = questions.recv().await {
        let Some(parts) = parts.upgrade() else { return };
        tokio::spawn(validate(Runtime(parts), question));
    }
}

async fn validate(runtime: Runtime, question: Validation) {
    let Validation {
        target,
        functions,
        reply,
    } = question;
    let mut answer = Ok(());
    for function in functions {
        let name = function.name.clone();
        if let Err(error) = runtime.run_on_event(function, &target).await {
            let message = told(&error).unwrap_or_else(|| format!("the function {name:?} did not take the connection"));
            answer = Err(Refusal {
                function: name,
                message,
            });
            break;
        }
    }
    // Whoever asked may have ended meanwhile.
    let _ = reply.send(answer);
}

impl Runtime {
    /// Runs what is to run before the connection is deleted. What fails is in the log.
    pub(super) async fn before_deletion(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
    ) -> Result<(), ConnectionsError> {
        let functions = self.0.store.functions(environment, Some(provider_config_key)).await?;
        let functions: Vec<Function> = functions.into_iter().filter(is_before_deletion).collect();
        if functions.is_empty() {
            return Ok(());
        }
        let connections = &self.0.connections;
        let target = connections
            .target(environment, provider_config_key, connection_id)
            .await?;
        for function in functions {
            let name = function.name.clone();
            if let Err(error) = self.run_on_event(function, &target).await {
                tracing::warn!(
                    function = name, connection = connection_id, %error,
                    "The function {name:?} failed; the connection {connection_id:?} is deleted all the same: {error}"
                );
            }
        }
        Ok(())
    }

    /// Deletes the connections of an integration that is about to be deleted, if there is something to run before that: each as it would
    /// be deleted alone. Comes back when none is left that a function has not run for.
    pub(super) async fn delete_connections_of(
        &self,
        environment: &EnvironmentId,
        unique_key: &str,
    ) -> Result<(), ConnectionsError> {
        let functions = self.0.store.functions(environment, Some(unique_key)).await?;
        if !functions.iter().any(is_before_deletion) {
            return Ok(());
        }
        let query = ConnectionQuery {
            integration_ids: vec![unique_key.to_owned()],
            limit: DELETED_PAGE,
            ..ConnectionQuery::default()
        };
        loop {
            let connections = self.connections(environment, &query).await?;
            if connections.is_empty() {
                return Ok(());
            }
            let deleted = stream::iter(connections).map(|connection| async move {
                let deleted = self
                    .delete_connection(environment, unique_key, &connection.connection_id)
                    .await;
                match deleted {
                    // Somebody else was faster.
                    Err(ConnectionsError::UnknownConnection { .. }) => Ok(()),
                    deleted => deleted,
                }
            });
            deleted.buffer_unordered(DELETED_AT_ONCE).try_collect::<()>().await?;
        }
    }

    /// The error is without the connection's secrets.
    async fn run_on_event(&self, function: Function, target: &Arc<Target>) -> Result<(), RunError> {
        let parts = &self.0;
        let now_ms = parts.clock.now_ms();
        let connection = &target.connection;
        let request = RunRequest {
            ctx: ExecutionContext {
                environment_id: connection.environment_id.clone(),
                provider_config_key: connection.provider_config_key.as_str().into(),
                connection_id: connection.connection_id.as_str().into(),
                connection_key: Some(connection.key.clone()),
                run_id: Some(RunId::new(now_ms, parts.entropy.bytes())),
                operation_id: OperationId::new(now_ms, parts.entropy.bytes()),
            },
            function: self.version_of(function, target).await,
            provider: target.provider.name.as_str().into(),
            environment_name: Arc::clone(&parts.environment_name),
            connection_key: connection.key.clone(),
            target: Arc::clone(target),
            input: "null".to_owned(),
            sync: None,
            mode: Mode::Live,
            urgency: Urgency::Blocking,
            is_kept: true,
            cancel: None,
            chain: Chain::default(),
        };
        parts.executor.run(request).await.output.map(drop)
    }

    /// The version that the connection runs, if a canary is tried; the active one also when that cannot be told.
    async fn version_of(&self, active: Function, target: &Target) -> Arc<Function> {
        let connection = &target.connection;
        let key = &connection.provider_config_key;
        let tried = self
            .0
            .store
            .function_for(&connection.environment_id, key, &active.name, &connection.key)
            .await;
        match tried {
            Ok(Some(tried)) if tried.manifest.event == active.manifest.event => tried,
            Ok(_) | Err(_) => Arc::new(active),
        }
    }
}

fn is_before_deletion(function: &Function) -> bool {
    function.is_enabled && function.manifest.event == Some(ConnectionEvent::PreConnectionDeletion)
}

/// What the function says to whoever makes the connection. (Nango compatibility.)
fn told(error: &RunError) -> Option<String> {
    let payload: Value = serde_json::from_str(error.payload.as_ref()?.get()).ok()?;
    let text = |name: &str| payload.get(name)?.as_str().map(str::to_owned);
    let whole = payload.as_str().map(str::to_owned);
    whole.or_else(|| text("message")).or_else(|| text("error"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_functions_words() {
        let told = |payload: &str| {
            told(&RunError {
                code: "action_script_runtime_error".to_owned(),
                message: "m".to_owned(),
                payload: serde_json::value::RawValue::from_string(payload.to_owned()).ok(),
                upstream: None,
            })
        };
        assert_eq!(told(r#"{"message":"no","error":"bad"}"#).as_deref(), Some("no"));
        assert_eq!(told(r#"{"message":5,"error":"bad"}"#).as_deref(), Some("bad"));
        assert_eq!(told(r#"{"code":42}"#), None);
        assert_eq!(told(r#""no""#).as_deref(), Some("no"));
        assert_eq!(told("[]"), None);
    }
}

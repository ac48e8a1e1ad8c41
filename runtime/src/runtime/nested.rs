//! Functions that call functions: the other end of the host's queue of calls.

use std::sync::{Arc, Weak};

use tokio::sync::mpsc;

use super::{InvokeError, Parts, Runtime};
use crate::connections::ConnectionsError;
use crate::executor::{Cancel, Urgency};
use crate::host::{Chain, Invocation, InvocationCall, InvocationError};
use crate::model::RunError;

/// Answers calls until nobody can make one any more.
pub(super) async fn answer_all(parts: Weak<Parts>, mut calls: mpsc::Receiver<Invocation>) {
    while let Some(call) = calls.recv().await {
        let Some(parts) = parts.upgrade() else { return };
        tokio::spawn(answer(Runtime(parts), call));
    }
}

async fn answer(runtime: Runtime, invocation: Invocation) {
    let Invocation {
        by,
        provider_config_key,
        connection_id,
        function,
        call,
        mut reply,
    } = invocation;
    let environment = &by.environment_id;
    let replied = match call {
        InvocationCall::Action { input, chain } => {
            let cancel = Cancel::new();
            let run = runtime.invoke_nested(
                environment,
                (&provider_config_key, &connection_id, &function),
                input,
                chain,
                cancel.clone(),
            );
            tokio::pin!(run);
            tokio::select! {
                replied = &mut run => replied,
                // Whoever called has ended: nobody wants it any more.
                () = reply.closed() => {
                    cancel.cancel();
                    run.await
                }
            }
        }
        InvocationCall::Sync { variant } => {
            let names = [format!("{function}::{variant}")];
            let queued = runtime
                .trigger_syncs(environment, &provider_config_key, &names, Some(&connection_id))
                .await;
            queued.map(|_| String::new())
        }
    };
    // Whoever called may have ended meanwhile.
    let _ = reply.send(replied.map_err(in_terms_of_the_contract));
}

impl Runtime {
    async fn invoke_nested(
        &self,
        environment: &crate::model::EnvironmentId,
        (provider_config_key, connection_id, action): (&Arc<str>, &Arc<str>, &Arc<str>),
        input: String,
        chain: Chain,
        cancel: Cancel,
    ) -> Result<String, InvokeError> {
        let mut request = self
            .run_request(
                environment,
                provider_config_key,
                connection_id,
                action,
                input,
                Urgency::Blocking,
            )
            .await?;
        request.chain = chain;
        request.cancel = Some(cancel);
        Ok(self.0.executor.run(request).await.output?)
    }
}

fn in_terms_of_the_contract(error: InvokeError) -> InvocationError {
    let message = error.to_string();
    let code = match error {
        InvokeError::Run(error) => return of_run(error),
        InvokeError::Connections(ConnectionsError::UnknownIntegration { .. }) => "unknown_provider_config",
        InvokeError::Connections(ConnectionsError::UnknownConnection { .. }) => "unknown_connection",
        InvokeError::UnknownFunction { .. } | InvokeError::UnknownVariant { .. } => "not_found",
        InvokeError::Disabled { .. } => "disabled_resource",
        InvokeError::InvalidInput { .. } => "invalid_action_input",
        // What went wrong inside is for the operator's log.
        InvokeError::Connections(_) | InvokeError::Store(_) | InvokeError::Actions(_) => {
            tracing::error!(%message, "A function's call of another function failed: {message}");
            "internal_error"
        }
    };
    InvocationError {
        code: code.to_owned(),
        message: if code == "internal_error" {
            "the runtime could not start the function; its log says why".to_owned()
        } else {
            message
        },
        details: Vec::new(),
    }
}

fn of_run(error: RunError) -> InvocationError {
    let details = [("payload", error.payload), ("upstream", error.upstream)];
    let details = details
        .into_iter()
        .filter_map(|(name, json)| Some((name.to_owned(), json?.get().to_owned())));
    InvocationError {
        details: details.collect(),
        code: error.code,
        message: error.message,
    }
}

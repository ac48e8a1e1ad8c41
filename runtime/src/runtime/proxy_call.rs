//! A proxy call from outside, as the log sees it: an operation of its own, or more messages for one that is there. However
//! the call ends, by an answer, an error or a caller who leaves, there is an end in the log.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use http::StatusCode;

use super::Runtime;
use crate::logs::READ_WAIT_MS;
use crate::model::log::Source;
use crate::model::{
    EnvironmentId, ExecutionContext, Level, Message, Operation, OperationId, OperationKind, OperationState,
};
use crate::proxy::{ByteStream, ProxyError, ProxyRequest, ProxyResponse};

/// What a caller says of where its call comes from. Nothing of it changes what is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallOrigin {
    /// The operation of the log that the call is a part of. When the environment has none of that id, the call gets an
    /// operation of its own, which says so.
    pub operation_id: Option<OperationId>,
    pub is_dry_run: bool,
    pub is_sync: bool,
    pub is_function: bool,
}

impl CallOrigin {
    /// The marks for the operation's message.
    fn marks(&self) -> String {
        let marks = [
            (self.is_dry_run, "dry run"),
            (self.is_sync, "from a sync"),
            (self.is_function, "from a function"),
        ];
        let set: Vec<_> = marks
            .iter()
            .filter(|(is_set, _)| *is_set)
            .map(|(_, mark)| *mark)
            .collect();
        if set.is_empty() {
            String::new()
        } else {
            format!(" ({})", set.join(", "))
        }
    }
}

/// A call that is under way.
struct Pending<'a> {
    runtime: &'a Runtime,
    ctx: ExecutionContext,
    origin: CallOrigin,
    /// Whether the operation is the call's own.
    is_own: bool,
    started_at_ms: i64,
    started_us: u64,
    has_ended: bool,
}

impl Runtime {
    /// One authenticated request. It is a log operation of its own unless `origin` names one. An unknown connection is an
    /// error before anything is sent.
    ///
    /// # Errors
    /// [`ProxyError`]: why there is no answer. An answer is an answer whatever its status.
    pub async fn proxy(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
        request: ProxyRequest,
        origin: CallOrigin,
    ) -> Result<ProxyResponse, ProxyError> {
        let (started_at_ms, started_us) = (self.0.clock.now_ms(), self.0.clock.monotonic_us());
        let joined = match &origin.operation_id {
            Some(id) if self.has_operation(environment, id).await => Some(id.clone()),
            Some(_) | None => None,
        };
        let mut pending = Pending {
            runtime: self,
            is_own: joined.is_none(),
            ctx: ExecutionContext {
                environment_id: environment.clone(),
                provider_config_key: provider_config_key.into(),
                connection_id: connection_id.into(),
                connection_key: None,
                run_id: None,
                operation_id: joined.unwrap_or_else(|| OperationId::new(started_at_ms, self.0.entropy.bytes())),
            },
            origin,
            started_at_ms,
            started_us,
            has_ended: false,
        };
        let answer = self.0.proxy.send(&pending.ctx, request).await;
        pending.end(Some(answer.as_ref().map(|response| response.status)));
        answer.map(|response| self.watched(response, &pending.ctx.operation_id))
    }

    /// The answer, with a message in the log when its body breaks off.
    fn watched(&self, response: ProxyResponse, id: &OperationId) -> ProxyResponse {
        let (runtime, id) = (self.clone(), id.clone());
        let body = response.body.0.inspect_err(move |error| {
            let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
            let text = format!("The body of the answer broke off: {error}{cause}");
            runtime.log_to(&id, Level::Error, text);
        });
        ProxyResponse {
            body: ByteStream::new(body),
            ..response
        }
    }

    /// Whether the environment has this operation. The log is written behind everybody's back, so what was logged so far is
    /// waited for when it is not there yet. A database that fails is not the call's fault: then it is not there.
    async fn has_operation(&self, environment: &EnvironmentId, id: &OperationId) -> bool {
        let found = async || {
            let found = self.0.store.operation(environment, id).await;
            found.map_or_else(
                |error| {
                    tracing::warn!(%error, "Operation {id} cannot be looked up: {error}");
                    false
                },
                |operation| operation.is_some(),
            )
        };
        if found().await {
            return true;
        }
        self.0.logs.flush_within(READ_WAIT_MS).await;
        found().await
    }

    fn log_to(&self, operation_id: &OperationId, level: Level, text: String) {
        self.0.logs.message(Message {
            operation_id: operation_id.clone(),
            created_at_us: self.0.clock.now_us(),
            level,
            source: Source::Internal,
            text,
            fields: None,
        });
    }
}

impl Pending<'_> {
    /// Writes down how it ended; None when the caller left before.
    fn end(&mut self, outcome: Option<Result<StatusCode, &ProxyError>>) {
        self.has_ended = true;
        let marks = self.origin.marks();
        let text = match &outcome {
            Some(Ok(status)) => format!("Proxy call{marks} answered with {}", status.as_u16()),
            Some(Err(error)) => self.masked(&format!("Proxy call{marks} failed: {error}")),
            None => format!("Proxy call{marks} ended without an answer: the caller left"),
        };
        let id = &self.ctx.operation_id;
        if self.is_own {
            if let Some(unknown) = &self.origin.operation_id {
                let text = format!("The environment has no operation {unknown}: this call got one of its own");
                self.runtime.log_to(id, Level::Warn, text);
            }
            let success = matches!(&outcome, Some(Ok(status)) if status.is_success());
            self.runtime.0.logs.operation(self.operation(text, success));
            return;
        }
        // What an attempt has already said is not said again.
        let has_attempts = !matches!(&outcome, Some(Err(ProxyError::Connections(_))) | None);
        if !has_attempts {
            self.runtime.log_to(id, Level::Error, text);
        }
    }

    /// Without the connection's secrets. When it is not known there was nothing to build a request of.
    fn masked(&self, text: &str) -> String {
        let ctx = &self.ctx;
        let connections = &self.runtime.0.connections;
        let known = connections.known_target(&ctx.environment_id, &ctx.provider_config_key, &ctx.connection_id);
        match known {
            Some(target) => target.masker().mask(text).into_owned(),
            None => text.to_owned(),
        }
    }

    fn operation(&self, message: String, success: bool) -> Operation {
        let clock = &self.runtime.0.clock;
        let duration_us = clock.monotonic_us().saturating_sub(self.started_us);
        Operation {
            id: self.ctx.operation_id.clone(),
            environment_id: self.ctx.environment_id.clone(),
            kind: OperationKind::ProxyCall,
            state: if success {
                OperationState::Success
            } else {
                OperationState::Failed
            },
            provider_config_key: Some(Arc::clone(&self.ctx.provider_config_key)),
            connection_id: Some(Arc::clone(&self.ctx.connection_id)),
            function: None,
            run_id: None,
            message,
            started_at_ms: self.started_at_ms,
            ended_at_ms: Some(clock.now_ms()),
            duration_us: Some(i64::try_from(duration_us).unwrap_or(i64::MAX)),
            usage: None,
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.end(None);
        }
    }
}

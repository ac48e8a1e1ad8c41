//! Actions in the background and under idempotency keys: accepted, looked at, cancelled.

use sha2::{Digest, Sha256};

use super::{Caller, Denied, InvokeError, Runtime};
use crate::executor::{RunRequest, Urgency};
use crate::model::{Action, EnvironmentId, FunctionKind, Idempotency, RunState};
use crate::store::{ActionQuery, StoreError};

/// Attempts of an action in the background that may follow the first.
pub const RETRIES_MAX: u32 = 5;
/// Characters of an idempotency key.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;

/// How an action is to be run in the background.
#[derive(Clone, Debug, Default)]
pub struct BackgroundOptions {
    /// Attempts that may follow a failed one: [`RETRIES_MAX`] at most.
    pub retries: u32,
    /// A repetition of the call within 24 hours is the same action.
    pub idempotency_key: Option<String>,
}

/// Why there is nothing to say of an action.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    #[error("No action '{id}' found")]
    Unknown { id: String },
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Runtime {
    /// Accepts an action for the background; it is in the database when this returns.
    ///
    /// # Errors
    /// [`InvokeError`]: what is unknown, what does not fit, or that too many are queued.
    pub async fn invoke_in_background(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
        action: &str,
        input: String,
        options: BackgroundOptions,
    ) -> Result<Action, InvokeError> {
        let request = self
            .request(environment, provider_config_key, connection_id, action, input)
            .await?;
        let action = self.action_of(&request, options, RunState::Queued);
        Ok(self.0.actions.queue(action).await?)
    }

    /// As [`Runtime::invoke`]; the same call under the same key gives the same answer for 24 hours, errors of the run included.
    ///
    /// # Errors
    /// As there; and that the key is in use, or was used for another call.
    pub async fn invoke_once(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
        action: &str,
        input: String,
        idempotency_key: String,
    ) -> Result<String, InvokeError> {
        let request = self
            .request(environment, provider_config_key, connection_id, action, input)
            .await?;
        let options = BackgroundOptions {
            retries: 0,
            idempotency_key: Some(idempotency_key),
        };
        let action = self.action_of(&request, options, RunState::Running);
        Ok(self.0.actions.perform(action, request).await??)
    }

    /// An action in the background, or one that was asked for under an idempotency key.
    ///
    /// # Errors
    /// [`ActionError`]: it is unknown, another environment's, or not for this key.
    pub async fn action(&self, caller: &Caller, id: &str) -> Result<Action, ActionError> {
        let unknown = || ActionError::Unknown { id: id.to_owned() };
        let action = self.0.store.action(id).await?.ok_or_else(unknown)?;
        let environment = caller.connection(&action.provider_config_key, &action.connection_id)?;
        if *environment == action.environment_id {
            Ok(action)
        } else {
            Err(unknown())
        }
    }

    /// Asks for the end of an action and gives how it stands then. One that runs in this process ends at once, one of another
    /// process within seconds; one that has ended stays as it is.
    ///
    /// # Errors
    /// As [`Runtime::action`].
    pub async fn cancel_action(&self, caller: &Caller, id: &str) -> Result<Action, ActionError> {
        self.action(caller, id).await?;
        self.0.actions.cancel(id).await?;
        self.action(caller, id).await
    }

    /// Actions in the background, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn actions(&self, environment: &EnvironmentId, query: &ActionQuery) -> Result<Vec<Action>, StoreError> {
        self.0.store.actions(environment, query).await
    }

    fn action_of(&self, request: &RunRequest, options: BackgroundOptions, state: RunState) -> Action {
        let now_ms = self.0.clock.now_ms();
        let begins = state == RunState::Running;
        let id = uuid::Builder::from_random_bytes(self.0.entropy.bytes()).into_uuid();
        let idempotency = options.idempotency_key.map(|key| Idempotency {
            key,
            fingerprint: fingerprint(request, state, options.retries),
        });
        Action {
            id: id.to_string(),
            environment_id: request.ctx.environment_id.clone(),
            provider_config_key: request.ctx.provider_config_key.as_ref().to_owned(),
            connection_id: request.ctx.connection_id.as_ref().to_owned(),
            connection_key: request.connection_key.clone(),
            kind: FunctionKind::Action,
            function: request.function.name.clone(),
            // One that begins at once is never read again.
            input: if begins {
                "null".to_owned()
            } else {
                request.input.clone()
            },
            state,
            attempts: i64::from(begins),
            retries_max: options.retries.min(RETRIES_MAX).into(),
            due_at_ms: now_ms,
            created_at_ms: now_ms,
            started_at_ms: begins.then_some(now_ms),
            ended_at_ms: None,
            cancelled_at_ms: None,
            run_id: request.ctx.run_id.clone().filter(|_| begins),
            output: None,
            error: None,
            idempotency,
            is_background: !begins,
        }
    }
}

/// Of all that makes a call what it is. Each part is preceded by its length, so that no two calls read alike.
fn fingerprint(request: &RunRequest, state: RunState, retries: u32) -> Vec<u8> {
    let mode = if state == RunState::Running {
        "blocking"
    } else {
        "async"
    };
    let retries = retries.to_string();
    let parts = [
        mode,
        &retries,
        &request.ctx.provider_config_key,
        &request.ctx.connection_id,
        &request.function.name,
        &request.input,
    ];
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().to_vec()
}

impl Runtime {
    /// All that an action needs to run, without it running.
    async fn request(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
        action: &str,
        input: String,
    ) -> Result<RunRequest, InvokeError> {
        self.run_request(
            environment,
            provider_config_key,
            connection_id,
            action,
            input,
            Urgency::Blocking,
        )
        .await
    }
}

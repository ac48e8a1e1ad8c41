//! Asking functions about a connection before it counts. Running them is not this part's work: a question goes into a queue, whose
//! other end is above.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::record::Record;
use super::{Connect, CreateError, Parts};
use crate::clock::{Clock, Entropy};
use crate::connections::{ConnectionsError, Target};
use crate::model::{
    Action, Connection, ConnectionEvent, ConnectionKey, EnvironmentId, Function, FunctionKind, Made, RefreshFailure,
    RunState,
};
use crate::oauth::FAILING_DAYS_MAX;
use crate::store::{Store, StoreError};
use crate::webhooks::{Failure, Plan};

/// Connections that are asked about at the same time; more wait.
const QUESTIONS_MAX: usize = 1_024;
/// Added to the time that the functions have, for what is done around them.
const LEASE_MARGIN_MS: i64 = 60_000;
/// Lost validations that one tick ends.
const TICK_LOST_MAX: i64 = 100;
/// Processes that may die with a function of a connection that was made, before it is given up.
const PROCESSES_MAX: i64 = 5;

/// Whether functions take a connection.
#[derive(Debug)]
pub struct Validation {
    pub target: Arc<Target>,
    /// To be asked one after the other, until one refuses it.
    pub functions: Vec<Function>,
    /// What came of it; the function that refused it, and why.
    pub reply: oneshot::Sender<Result<(), Refusal>>,
}

/// Why a function does not take a connection, in words for whoever makes it.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub function: String,
    pub message: String,
}

/// Where questions go. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Validator(mpsc::Sender<Validation>);

/// Both ends of the queue of questions.
#[must_use]
pub fn validator() -> (Validator, mpsc::Receiver<Validation>) {
    let (sender, receiver) = mpsc::channel(QUESTIONS_MAX);
    (Validator(sender), receiver)
}

impl Validator {
    /// # Errors
    /// [`CreateError::Refused`], or that nobody answers any more.
    pub(super) async fn ask(&self, target: &Arc<Target>, functions: Vec<Function>) -> Result<(), CreateError> {
        let (reply, answer) = oneshot::channel();
        let question = Validation {
            target: Arc::clone(target),
            functions,
            reply,
        };
        self.0.send(question).await.map_err(|_| CreateError::Interrupted)?;
        let answer = answer.await.map_err(|_| CreateError::Interrupted)?;
        answer.map_err(CreateError::Refused)
    }
}

/// The on-event functions of an integration that have to do with the making of a connection, by name.
pub(super) struct OnEvent {
    pub(super) validating: Vec<Function>,
    after_creation: Vec<Function>,
}

impl OnEvent {
    pub(super) async fn of(
        store: &Store,
        environment_id: &EnvironmentId,
        unique_key: &str,
    ) -> Result<Self, StoreError> {
        let (mut validating, mut after_creation) = (Vec::new(), Vec::new());
        for function in store.functions(environment_id, Some(unique_key)).await? {
            if !function.is_enabled {
                continue;
            }
            match function.manifest.event {
                Some(ConnectionEvent::ValidateConnection) => validating.push(function),
                Some(ConnectionEvent::PostConnectionCreation) => after_creation.push(function),
                Some(ConnectionEvent::PreConnectionDeletion) | None => {}
            }
        }
        Ok(Self {
            validating,
            after_creation,
        })
    }

    /// When the last function has answered or is past its deadline; none when nobody is asked.
    pub(super) fn validation_until_ms(&self, now_ms: i64, function_ms_max: i64) -> Option<i64> {
        let count = i64::try_from(self.validating.len()).unwrap_or(i64::MAX);
        let takes_ms = function_ms_max.saturating_mul(count).saturating_add(LEASE_MARGIN_MS);
        (count > 0).then(|| now_ms.saturating_add(takes_ms))
    }

    /// What is queued once the connection is made.
    pub(super) fn queued(&self, connection: &Connection, made: Made, clock: &Clock, entropy: &Entropy) -> Vec<Action> {
        let functions = match made {
            Made::Creation => self.after_creation.iter(),
            Made::Override => [].iter(),
        };
        let now_ms = clock.now_ms();
        let action = |function: &Function| Action {
            id: uuid::Builder::from_random_bytes(entropy.bytes())
                .into_uuid()
                .to_string(),
            environment_id: connection.environment_id.clone(),
            provider_config_key: connection.provider_config_key.clone(),
            connection_id: connection.connection_id.clone(),
            connection_key: ConnectionKey::clone(&connection.key),
            kind: FunctionKind::OnEvent,
            function: function.name.clone(),
            input: "null".to_owned(),
            state: RunState::Queued,
            attempts: 0,
            retries_max: PROCESSES_MAX - 1,
            due_at_ms: now_ms,
            created_at_ms: now_ms,
            started_at_ms: None,
            ended_at_ms: None,
            cancelled_at_ms: None,
            run_id: None,
            output: None,
            error: None,
            idempotency: None,
            is_background: false,
        };
        functions.map(action).collect()
    }
}

impl Parts {
    /// What a connection comes to that is not taken: one that is new is removed, one that was there is marked.
    pub(super) async fn refuse(
        &self,
        target: &Target,
        record: &Record,
        plan: &Plan<'_>,
        error: &CreateError,
    ) -> Result<(), ConnectionsError> {
        let failure = RefreshFailure {
            failed_at_ms: self.clock.now_ms(),
            // Nothing but new credentials makes it good again.
            failing_days: FAILING_DAYS_MAX,
            operation_id: record.id(),
        };
        let told = Failure {
            kind: "connection_validation_failed".to_owned(),
            description: error.to_string(),
        };
        let connection = &target.connection;
        let announce =
            |made| plan.connection_refused(connection, target.provider.auth_mode_name(), Made::into(made), &told);
        self.connections.refuse(connection, &failure, announce).await?;
        self.webhooks.wake();
        Ok(())
    }
}

impl Connect {
    /// Ends validations whose process died: nobody was told that the connection was made, so it is as if it had been refused.
    pub(super) async fn end_lost(&self, now_ms: i64) -> Result<(), ConnectionsError> {
        let parts = &self.0;
        for connection in parts.connections.lost_validations(now_ms, TICK_LOST_MAX).await? {
            let (environment_id, key) = (&connection.environment_id, &connection.provider_config_key);
            let target = parts
                .connections
                .target_now(environment_id, key, &connection.connection_id)
                .await;
            let target = match target {
                Err(ConnectionsError::UnknownConnection { .. } | ConnectionsError::UnknownIntegration { .. }) => {
                    continue;
                }
                target => target?,
            };
            let record = Record::of_lost(parts, &target);
            let plan = parts.webhooks.plan(environment_id).await?;
            parts.refuse(&target, &record, &plan, &CreateError::Interrupted).await?;
            record.failed(&CreateError::Interrupted);
        }
        Ok(())
    }
}

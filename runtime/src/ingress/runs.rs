//! Runs syncs for the webhooks that they subscribe to. A run is claimed with a lease and a fence, so that a crash loses nothing: the lease
//! ends, and somebody claims it again. Beside the sync's own runs it is a run like any other: it writes under its own fence.

use std::sync::Arc;

use super::{Ingress, Parts};
use crate::claimer::Lease;
use crate::connections::{Connections, ConnectionsError, Target};
use crate::executor::{Cancel, Mode, Occasion, RunOutcome, RunRequest, SyncRun, Urgency};
use crate::model::{
    BASE_VARIANT, Checkpoint, Connection, ExecutionContext, Fence, Function, FunctionKind, Operation, OperationId,
    OperationKind, OperationState, Progress, Run, RunError, RunState, Trigger, Webhook, WebhookRun,
};
use crate::store::{ClaimedWebhookRun, StoreError};
use crate::webhooks::{Checkpoints, SyncEnd, SyncType};

const LEASE: Lease = Lease {
    lasts_ms: 30_000,
    renewal_ms: 5_000,
};
pub(super) const POLL_INTERVAL_MS: u64 = 1_000;
/// Claims of one run: a function that ends the process each time must not do so for ever.
const CLAIMS_MAX: i64 = 5;
/// Before a run is tried again for which there was no room.
const NO_ROOM_WAIT_MS: i64 = 1_000;
/// Codes of runs for which there was no room.
const NO_ROOM: [&str; 3] = ["too_many_request", "action_script_failure", "shutting_down"];
/// How often [`Ingress::maintain`] is to be called.
pub const MAINTENANCE_INTERVAL_MS: u64 = 600_000;
const DELETED_MAX: i64 = 1_000;

/// What a queued run is of.
struct Subject {
    connection: Connection,
    function: Arc<Function>,
}

/// A run that can be run.
struct Ready {
    request: RunRequest,
    /// Where it begins, JSON.
    checkpoint: Option<String>,
}

/// Why a queued run cannot be run at all.
#[derive(Debug, thiserror::Error)]
enum NotRunnable {
    #[error("the connection was deleted before the run began")]
    ConnectionGone,
    #[error("the integration has no sync {function:?} any more; deploy it again")]
    FunctionGone { function: String },
    #[error("what was kept of the webhook cannot be opened with the encryption keys there are")]
    Content,
    #[error("it was not begun within {wait_ms} ms (limits.webhook_run_wait_ms)")]
    Expired { wait_ms: u64 },
    #[error("it was begun {CLAIMS_MAX} times, and each time the process ended before it did")]
    EndsProcesses,
    #[error(transparent)]
    Connections(#[from] ConnectionsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl NotRunnable {
    /// Whether it may be better in a moment.
    fn passes(&self) -> bool {
        matches!(self, Self::Store(_) | Self::Connections(ConnectionsError::Store(_)))
    }
}

impl From<&NotRunnable> for RunError {
    fn from(error: &NotRunnable) -> Self {
        Self {
            code: "script_internal_error".into(),
            message: error.to_string(),
            payload: None,
            upstream: None,
        }
    }
}

impl Ingress {
    /// Claims as many queued runs as there are free slots and starts them. Gives how many it started.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tick(&self, now_ms: i64) -> Result<usize, StoreError> {
        let claim = |free| {
            let free = i64::try_from(free).unwrap_or(i64::MAX);
            self.0.store.claim_webhook_runs(now_ms, now_ms + LEASE.lasts_ms, free)
        };
        let work = |one| {
            let ingress = self.clone();
            async move { ingress.execute(one).await }
        };
        self.0.claimer.begin(claim, work).await
    }

    /// Ticks until the future is dropped.
    pub async fn run(&self) {
        self.0
            .claimer
            .run("runs for webhooks", |now_ms| self.tick(now_ms))
            .await;
    }

    /// Deletes what no run is left for. To be called every [`MAINTENANCE_INTERVAL_MS`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn maintain(&self, now_ms: i64) -> Result<(), StoreError> {
        self.0.store.delete_handled_webhooks(now_ms, DELETED_MAX).await?;
        Ok(())
    }

    /// Waits until no run for a webhook is under way in this process, at most `wait_ms`. True when it is so.
    pub async fn drain(&self, wait_ms: u64) -> bool {
        self.0.claimer.drain(wait_ms).await
    }

    async fn execute(&self, claimed: ClaimedWebhookRun) {
        let parts = &*self.0;
        let ClaimedWebhookRun { run, fence, .. } = &claimed;
        let cancel = Cancel::new();
        let started_at_ms = parts.clock.now_ms();
        let subject = match parts.subject(run).await {
            Ok(subject) => subject,
            Err(error) => return parts.refuse(run, *fence, &error, None, started_at_ms).await,
        };
        let Ready { request, checkpoint } = match parts.ready(&claimed, &subject, &cancel).await {
            Ok(ready) => ready,
            Err(error) => return parts.refuse(run, *fence, &error, Some(&subject), started_at_ms).await,
        };
        // Waits for the guest's end also when the lease is lost, so that nothing of it goes on unseen.
        let outcome = {
            let outcome = parts.executor.run(request);
            tokio::pin!(outcome);
            tokio::select! {
                outcome = &mut outcome => Some(outcome),
                () = parts.lease_lost(run, *fence) => {
                    cancel.cancel();
                    outcome.await;
                    None
                }
            }
        };
        let Some(outcome) = outcome else {
            tracing::info!(run.id = %run.id, "Run {} for a webhook was taken over by another process and stopped here", run.id);
            return;
        };
        let is_without_room =
            outcome.refused && matches!(&outcome.output, Err(error) if NO_ROOM.contains(&error.code.as_str()));
        if is_without_room || outcome.interrupted || is_shutdown(&outcome) {
            let due_at_ms = parts.clock.now_ms() + if is_without_room { NO_ROOM_WAIT_MS } else { 0 };
            parts.requeue(run, *fence, due_at_ms, !outcome.refused).await;
            return;
        }
        let end = End {
            run,
            fence: *fence,
            subject: &subject,
            checkpoint: checkpoint.as_deref(),
            outcome: &outcome,
            began: true,
            started_at_ms,
            ended_at_ms: parts.clock.now_ms(),
        };
        let ran = end.in_history();
        parts.finish(run, *fence, Some(&ran), || parts.announcement(&end)).await;
    }
}

/// The end of a run.
struct End<'a> {
    run: &'a WebhookRun,
    fence: i64,
    subject: &'a Subject,
    checkpoint: Option<&'a str>,
    outcome: &'a RunOutcome,
    /// False of a run that waited in vain: it says nothing of its function.
    began: bool,
    started_at_ms: i64,
    ended_at_ms: i64,
}

impl End<'_> {
    /// As the history of runs has it. It is none of the sync's own runs: its schedule knows nothing of it.
    fn in_history(&self) -> Run {
        let error = self.outcome.output.as_ref().err();
        let function = &self.subject.function;
        Run {
            id: self.run.id.clone(),
            environment_id: self.run.environment_id.clone(),
            integration_id: function.integration_id.clone(),
            connection_key: self.run.connection_key.clone(),
            function: function.name.clone(),
            kind: function.manifest.kind,
            version: function.version,
            sync_id: None,
            trigger: Trigger::Webhook,
            state: if error.is_none() {
                RunState::Succeeded
            } else {
                RunState::Failed
            },
            error: error.cloned(),
            result: self.outcome.result.clone(),
            created_at_ms: self.run.queued_at_ms,
            started_at_ms: self.began.then_some(self.started_at_ms),
            ended_at_ms: Some(self.ended_at_ms),
            duration_us: self.began.then_some(self.outcome.duration_us),
        }
    }
}

/// The runtime ended the function because it stops: after the next start it begins anew.
fn is_shutdown(outcome: &RunOutcome) -> bool {
    matches!(&outcome.output, Err(error) if error.code == "shutting_down")
}

impl Parts {
    async fn subject(&self, run: &WebhookRun) -> Result<Subject, NotRunnable> {
        let connection = self.store.connection_by_key(&run.connection_key).await?;
        let connection = connection.ok_or(NotRunnable::ConnectionGone)?;
        let function = self
            .store
            .function_for(
                &run.environment_id,
                &connection.provider_config_key,
                &run.function,
                &run.connection_key,
            )
            .await?
            .filter(|function| function.manifest.kind == FunctionKind::Sync)
            .ok_or_else(|| NotRunnable::FunctionGone {
                function: run.function.clone(),
            })?;
        Ok(Subject { connection, function })
    }

    async fn ready(
        &self,
        claimed: &ClaimedWebhookRun,
        subject: &Subject,
        cancel: &Cancel,
    ) -> Result<Ready, NotRunnable> {
        let ClaimedWebhookRun { run, content, fence } = claimed;
        let Subject { connection, function } = subject;
        let now_ms = self.clock.now_ms();
        let wait_ms = self.limits.webhook_run_wait_ms;
        if now_ms.saturating_sub(run.queued_at_ms) > i64::try_from(wait_ms).unwrap_or(i64::MAX) {
            return Err(NotRunnable::Expired { wait_ms });
        }
        if *fence > CLAIMS_MAX {
            return Err(NotRunnable::EndsProcesses);
        }
        let input = self.open(&run.incoming_id, content).ok_or(NotRunnable::Content)?;
        let target = target(&self.connections, connection).await?;
        let key = Checkpoint::webhook_key(&run.function, BASE_VARIANT);
        let checkpoint = self.store.checkpoint(&run.connection_key, &key).await?;
        let request = RunRequest {
            ctx: ExecutionContext {
                environment_id: run.environment_id.clone(),
                provider_config_key: connection.provider_config_key.as_str().into(),
                connection_id: connection.connection_id.as_str().into(),
                connection_key: Some(run.connection_key.clone()),
                run_id: Some(run.id.clone()),
                operation_id: OperationId::new(now_ms, self.entropy.bytes()),
            },
            function: Arc::clone(function),
            provider: target.provider.name.as_str().into(),
            environment_name: Arc::clone(&self.environment_name),
            connection_key: run.connection_key.clone(),
            target,
            input: input.expose().clone(),
            sync: Some(SyncRun {
                occasion: Occasion::Webhook,
                variant: BASE_VARIANT.to_owned(),
                fence: Some(Fence {
                    run_id: run.id.clone(),
                    number: *fence,
                }),
                progress: Progress::default(),
            }),
            mode: Mode::Live,
            urgency: Urgency::Background,
            is_kept: true,
            cancel: Some(cancel.clone()),
            chain: Default::default(),
        };
        Ok(Ready {
            request,
            checkpoint: checkpoint.map(|checkpoint| checkpoint.json),
        })
    }

    /// Puts back what may be run in a moment, and ends what cannot be run: as a failed run, unless there is nothing left that it could be
    /// one of.
    async fn refuse(&self, run: &WebhookRun, fence: i64, error: &NotRunnable, subject: Option<&Subject>, now_ms: i64) {
        if error.passes() {
            tracing::warn!(run.id = %run.id, %error, "Run {} for a webhook is tried again: {error}", run.id);
            self.requeue(run, fence, now_ms + NO_ROOM_WAIT_MS, false).await;
            return;
        }
        self.log_refusal(run, error, subject);
        let Some(subject) = subject else {
            self.finish(run, fence, None, || async { Ok(Vec::new()) }).await;
            return;
        };
        let outcome = RunOutcome::failed(error.into());
        let end = End {
            run,
            fence,
            subject,
            checkpoint: None,
            outcome: &outcome,
            began: matches!(error, NotRunnable::EndsProcesses),
            started_at_ms: now_ms,
            ended_at_ms: now_ms,
        };
        let ran = end.in_history();
        self.finish(run, fence, Some(&ran), || self.announcement(&end)).await;
    }

    /// Keeps the lease; comes back when it is lost.
    async fn lease_lost(&self, run: &WebhookRun, fence: i64) {
        let renew = |until_ms| self.store.renew_webhook_run(&run.id, fence, until_ms);
        self.claimer.lease_lost(LEASE, &format!("run {}", run.id), renew).await;
    }

    /// What the application is told: as of a sync's own runs, when records have changed or it failed.
    async fn announcement(&self, end: &End<'_>) -> Result<Vec<Webhook>, StoreError> {
        let key = Checkpoint::webhook_key(&end.run.function, BASE_VARIANT);
        let checkpoint = self.store.checkpoint(&end.run.connection_key, &key).await?;
        let plan = self.webhooks.plan(&end.run.environment_id).await?;
        let models = end.subject.function.manifest.models.keys();
        Ok(plan.sync_ended(&SyncEnd {
            connection: &end.subject.connection,
            sync: &end.run.function,
            variant: BASE_VARIANT,
            sync_type: SyncType::Webhook,
            models: models.map(String::as_str).collect(),
            counts: &end.outcome.result,
            resumed: end.fence > 1,
            checkpoints: Checkpoints::new(end.checkpoint, checkpoint.as_ref().map(|it| it.json.as_str())),
            started_at_ms: end.started_at_ms,
            ended_at_ms: end.ended_at_ms,
            error: end.outcome.output.as_ref().err(),
        }))
    }

    async fn finish<F>(&self, run: &WebhookRun, fence: i64, ran: Option<&Run>, announcement: impl Fn() -> F)
    where
        F: Future<Output = Result<Vec<Webhook>, StoreError>>,
    {
        let write = || async {
            let outbox = announcement().await?;
            self.store.finish_webhook_run(run, fence, ran, &outbox).await
        };
        match self
            .claimer
            .insist(&format!("run {} for a webhook", run.id), write)
            .await
        {
            Some(true) => self.webhooks.wake(),
            Some(false) => {
                tracing::warn!(run.id = %run.id, "Run {} for a webhook was taken over by another process; its end is not recorded here", run.id);
            }
            None => {}
        }
    }

    /// `began` says whether its function was called. When that fails, its lease ends and it is claimed again.
    async fn requeue(&self, run: &WebhookRun, fence: i64, due_at_ms: i64, began: bool) {
        let requeued = self.store.requeue_webhook_run(&run.id, fence, due_at_ms, began);
        if let Err(error) = requeued.await {
            tracing::warn!(run.id = %run.id, %error, "Run {} was not put back into the queue: {error}", run.id);
        }
    }

    /// A run that the executor never sees is an operation all the same.
    fn log_refusal(&self, run: &WebhookRun, error: &NotRunnable, subject: Option<&Subject>) {
        // What the connection was called is not known when it is gone.
        let connection = subject.map(|subject| &subject.connection);
        self.logs.operation(Operation {
            provider_config_key: connection.map(|connection| connection.provider_config_key.as_str().into()),
            connection_id: connection.map(|connection| connection.connection_id.as_str().into()),
            function: Some(run.function.as_str().into()),
            run_id: Some(run.id.clone()),
            ..Operation::at_once(
                self.clock.now_ms(),
                self.entropy.bytes(),
                run.environment_id.clone(),
                OperationKind::WebhookIncoming,
                OperationState::Failed,
                format!("The webhook was not handled: {error}"),
            )
        });
    }
}

async fn target(connections: &Connections, connection: &Connection) -> Result<Arc<Target>, ConnectionsError> {
    connections
        .target(
            &connection.environment_id,
            &connection.provider_config_key,
            &connection.connection_id,
        )
        .await
}

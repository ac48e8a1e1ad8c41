//! The outbox of webhooks: rows are written in the transaction of what they announce, claimed with a lease and a fence, and ended
//! under that fence. What is sent and when it is tried again is for others.

mod letters;
mod settings;

pub use letters::{WebhookQuery, WebhookResend};

use std::collections::{HashMap, HashSet};

use sha2::{Digest as _, Sha256};
use sqlx::any::AnyRow;
use sqlx::{Any, Transaction, query};

use super::columns::{Columns, Word as _, storable};
use super::sql::{Sql, chunks};
use super::{Store, StoreError};
use crate::model::{Sealed, Webhook, WebhookState};

/// Rows that are looked at for one claim.
const CANDIDATES_MAX: i64 = 256;

/// The columns of [`webhook`].
macro_rules! webhook_columns {
    () => {
        "id, event_id, environment_id, kind, slot, url, line, provider_config_key, connection_id, content, operation_id, state, \
         created_at_ms, queued_at_ms, attempts, due_at_ms, attempted_at_ms, problem, ended_at_ms"
    };
}
use webhook_columns;

/// A webhook and the token that proves whose it is.
#[derive(Clone, Debug)]
pub struct ClaimedWebhook {
    pub webhook: Webhook,
    pub fence: i64,
}

/// Which webhooks may be claimed.
#[derive(Clone, Debug)]
pub struct WebhookClaim {
    pub now_ms: i64,
    pub lease_until_ms: i64,
    /// At most 256.
    pub limit: usize,
    /// For one address.
    pub url_limit: usize,
    /// How many are on their way to which address already: they count against `url_limit`.
    pub under_way: HashMap<String, usize>,
    /// From so many failures in a row on, an address gets one webhook at a time.
    pub failures_max: i64,
    /// A webhook that was tried less often than this holds back the later ones of its line.
    pub holding_attempts: i64,
}

/// What came of an attempt.
#[derive(Clone, Debug)]
pub struct WebhookAttempt {
    pub attempted_at_ms: i64,
    pub state: WebhookState,
    /// When it is tried again.
    pub due_at_ms: i64,
    pub problem: Option<String>,
    pub target: TargetNote,
}

/// What an attempt says of the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetNote {
    /// It answers.
    Well,
    /// It failed; from `failures_max` failures in a row on nothing is sent there until `closed_until_ms`.
    Failed { failures_max: i64, closed_until_ms: i64 },
    /// It asks for time.
    Busy { until_ms: i64 },
    /// Nothing was learned.
    Unknown,
}

impl Store {
    /// Writes webhooks that announce nothing else in the database.
    ///
    /// # Errors
    /// [`StoreError::ParentGone`] when the environment was deleted.
    pub async fn insert_webhooks(&self, webhooks: &[Webhook]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        self.add_webhooks(&mut transaction, webhooks).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Writes webhooks in the transaction of what they announce.
    pub(super) async fn add_webhooks(
        &self,
        transaction: &mut Transaction<'static, Any>,
        webhooks: &[Webhook],
    ) -> Result<(), StoreError> {
        for chunk in chunks(webhooks) {
            let mut sql = Sql::new(
                self.dialect,
                concat!(
                    "INSERT INTO webhooks (",
                    webhook_columns!(),
                    ", target, lease_until_ms, fence) "
                ),
            );
            sql.values(chunk, |row, webhook| {
                row.bind(webhook.id.as_str())
                    .bind(webhook.event_id.as_str())
                    .bind(webhook.environment_id.as_str())
                    .bind(webhook.kind.word())
                    .bind(webhook.slot.word())
                    .bind(webhook.url.as_str())
                    .bind(webhook.line.as_str())
                    .bind(webhook.provider_config_key.as_deref())
                    .bind(webhook.connection_id.as_deref())
                    .bind(webhook.content.0.as_slice())
                    .bind(webhook.operation_id.as_str())
                    .bind(webhook.state.word())
                    .bind(webhook.created_at_ms)
                    .bind(webhook.queued_at_ms)
                    .bind(webhook.attempts)
                    .bind(webhook.due_at_ms)
                    .bind(webhook.attempted_at_ms)
                    .bind(webhook.problem.as_deref())
                    .bind(webhook.ended_at_ms)
                    .bind(target(&webhook.url))
                    .bind(0_i64)
                    .bind(0_i64);
            });
            sql.execute(&mut **transaction).await?;
        }
        Ok(())
    }

    /// Claims webhooks that are due, those that are so for longest first: not those to addresses that are closed, and none that an
    /// older one of its line holds back. Of several processes one gets each.
    pub async fn claim_webhooks(&self, claim: &WebhookClaim) -> Result<Vec<ClaimedWebhook>, StoreError> {
        let candidates = self.webhook_candidates(claim).await?;
        let mut taken: HashMap<String, usize> = HashMap::new();
        for (url, count) in &claim.under_way {
            taken.insert(target(url), *count);
        }
        let mut chosen = Vec::new();
        let mut probes: Vec<(String, i64)> = Vec::new();
        let mut targets_of_probes = HashSet::new();
        for candidate in candidates {
            if chosen.len() >= claim.limit {
                break;
            }
            let taken = taken.entry(candidate.target.clone()).or_default();
            let is_failing = candidate.failures >= claim.failures_max;
            let url_limit = if is_failing { 1 } else { claim.url_limit };
            if *taken >= url_limit {
                continue;
            }
            if is_failing && targets_of_probes.insert(candidate.target.clone()) {
                probes.push((candidate.target, candidate.closed_until_ms));
            }
            *taken += 1;
            chosen.push(candidate.id);
        }
        if chosen.is_empty() {
            return Ok(Vec::new());
        }
        self.take_webhooks(claim, &chosen, &probes).await
    }

    async fn webhook_candidates(&self, claim: &WebhookClaim) -> Result<Vec<Candidate>, StoreError> {
        let full = claim.under_way.iter().filter(|(_, count)| **count >= claim.url_limit);
        let full: Vec<String> = full.map(|(url, _)| target(url)).collect();
        let mut sql = Sql::new(
            self.dialect,
            "SELECT w.id, w.target, COALESCE(t.failures, 0), COALESCE(t.closed_until_ms, 0) FROM webhooks w \
             LEFT JOIN webhook_targets t ON t.target = w.target WHERE w.state = 'pending' AND w.due_at_ms <= ",
        );
        sql.bind(claim.now_ms)
            .push(" AND w.lease_until_ms <= ")
            .bind(claim.now_ms)
            .push(" AND (t.closed_until_ms IS NULL OR t.closed_until_ms <= ")
            .bind(claim.now_ms)
            .push(
                ") AND NOT EXISTS (SELECT 1 FROM webhooks o WHERE o.state = 'pending' AND o.line = w.line \
                 AND o.target = w.target AND o.id < w.id AND o.attempts < ",
            )
            .bind(claim.holding_attempts)
            .push(")");
        if !full.is_empty() {
            let full: Vec<&str> = full.iter().map(String::as_str).collect();
            sql.push(" AND w.target NOT IN ").list(&full);
        }
        sql.push(" ORDER BY w.due_at_ms, w.id LIMIT ").bind(CANDIDATES_MAX);
        let rows = sql.fetch_all(&self.reader).await?;
        let candidate = |row: &AnyRow| {
            let mut columns = Columns::new(row, "webhooks");
            Ok(Candidate {
                id: columns.get("id")?,
                target: columns.get("target")?,
                failures: columns.get("failures")?,
                closed_until_ms: columns.get("closed_until_ms")?,
            })
        };
        rows.iter().map(candidate).collect()
    }

    /// An address that fails is tried by whoever moves its time first.
    async fn take_webhooks(
        &self,
        claim: &WebhookClaim,
        ids: &[String],
        probes: &[(String, i64)],
    ) -> Result<Vec<ClaimedWebhook>, StoreError> {
        let mut transaction = self.begin().await?;
        let mut lost: Vec<&str> = Vec::new();
        for (target, closed_until_ms) in probes {
            let won = query(
                "UPDATE webhook_targets SET closed_until_ms = $3, changed_at_ms = $4 \
                 WHERE target = $1 AND closed_until_ms = $2",
            )
            .bind(target.as_str())
            .bind(*closed_until_ms)
            .bind(claim.lease_until_ms)
            .bind(claim.now_ms)
            .execute(&mut *transaction)
            .await?;
            if won.rows_affected() == 0 {
                lost.push(target);
            }
        }
        let mut claimed = Vec::with_capacity(ids.len());
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        for chunk in chunks(&ids) {
            let mut sql = Sql::new(self.dialect, "UPDATE webhooks SET fence = fence + 1, lease_until_ms = ");
            // The condition is there again: somebody else may have claimed it meanwhile.
            sql.bind(claim.lease_until_ms)
                .push(" WHERE state = 'pending' AND lease_until_ms <= ")
                .bind(claim.now_ms)
                .push(" AND due_at_ms <= ")
                .bind(claim.now_ms)
                .push(" AND id IN ")
                .list(chunk);
            if !lost.is_empty() {
                sql.push(" AND target NOT IN ").list(&lost);
            }
            sql.push(concat!(" RETURNING ", webhook_columns!(), ", fence"));
            for row in &sql.fetch_all(&mut *transaction).await? {
                let mut columns = Columns::new(row, "webhooks");
                claimed.push(ClaimedWebhook {
                    webhook: webhook(&mut columns)?,
                    fence: columns.get("fence")?,
                });
            }
        }
        transaction.commit().await?;
        claimed.sort_by(|a, b| (a.webhook.due_at_ms, &a.webhook.id).cmp(&(b.webhook.due_at_ms, &b.webhook.id)));
        Ok(claimed)
    }

    /// Writes what came of an attempt, and what it says of the address. False when the fence is stale, or somebody decided
    /// otherwise about the webhook meanwhile: then only the address is noted.
    pub async fn end_webhook_attempt(
        &self,
        claimed: &ClaimedWebhook,
        attempt: &WebhookAttempt,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let is_over = attempt.state != WebhookState::Pending;
        let written = query(
            "UPDATE webhooks SET state = $3, attempts = attempts + 1, due_at_ms = $4, lease_until_ms = 0, \
             attempted_at_ms = $5, problem = $6, ended_at_ms = $7 WHERE id = $1 AND fence = $2 AND state = 'pending'",
        )
        .bind(claimed.webhook.id.as_str())
        .bind(claimed.fence)
        .bind(attempt.state.word())
        .bind(attempt.due_at_ms)
        .bind(attempt.attempted_at_ms)
        .bind(attempt.problem.as_deref().map(storable).as_deref())
        .bind(is_over.then_some(attempt.attempted_at_ms))
        .execute(&mut *transaction)
        .await?;
        note_target(&mut transaction, &claimed.webhook.url, attempt).await?;
        transaction.commit().await?;
        Ok(written.rows_affected() == 1)
    }
}

/// A webhook that may be claimed, and how its address stands.
struct Candidate {
    id: String,
    target: String,
    failures: i64,
    closed_until_ms: i64,
}

async fn note_target(
    transaction: &mut Transaction<'static, Any>,
    url: &str,
    attempt: &WebhookAttempt,
) -> Result<(), StoreError> {
    let statement = match attempt.target {
        TargetNote::Unknown => return Ok(()),
        TargetNote::Well => query("DELETE FROM webhook_targets WHERE target = $1").bind(target(url)),
        TargetNote::Failed {
            failures_max,
            closed_until_ms,
        } => query(
            "INSERT INTO webhook_targets (target, failures, closed_until_ms, changed_at_ms) \
             VALUES ($1, 1, CASE WHEN $3 <= 1 THEN $4 ELSE 0 END, $2) \
             ON CONFLICT (target) DO UPDATE SET failures = webhook_targets.failures + 1, changed_at_ms = $2, \
             closed_until_ms = CASE WHEN webhook_targets.failures + 1 >= $3 THEN $4 \
             ELSE webhook_targets.closed_until_ms END",
        )
        .bind(target(url))
        .bind(attempt.attempted_at_ms)
        .bind(failures_max)
        .bind(closed_until_ms),
        TargetNote::Busy { until_ms } => query(
            "INSERT INTO webhook_targets (target, failures, closed_until_ms, changed_at_ms) VALUES ($1, 0, $3, $2) \
             ON CONFLICT (target) DO UPDATE SET failures = 0, changed_at_ms = $2, closed_until_ms = $3",
        )
        .bind(target(url))
        .bind(attempt.attempted_at_ms)
        .bind(until_ms),
    };
    statement.execute(&mut **transaction).await?;
    Ok(())
}

/// What an address is called in indexes.
fn target(url: &str) -> String {
    use std::fmt::Write as _;
    let hash = Sha256::digest(url.as_bytes());
    let mut text = String::with_capacity(32);
    for byte in hash.iter().take(16) {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Reads [`webhook_columns`].
fn webhook(columns: &mut Columns<'_>) -> Result<Webhook, StoreError> {
    Ok(Webhook {
        id: columns.id("id")?,
        event_id: columns.id("event_id")?,
        environment_id: columns.id("environment_id")?,
        kind: columns.word("kind")?,
        slot: columns.word("slot")?,
        url: columns.get("url")?,
        line: columns.get("line")?,
        provider_config_key: columns.get("provider_config_key")?,
        connection_id: columns.get("connection_id")?,
        content: Sealed(columns.get("content")?),
        operation_id: columns.id("operation_id")?,
        state: columns.word("state")?,
        created_at_ms: columns.get("created_at_ms")?,
        queued_at_ms: columns.get("queued_at_ms")?,
        attempts: columns.get("attempts")?,
        due_at_ms: columns.get("due_at_ms")?,
        attempted_at_ms: columns.get("attempted_at_ms")?,
        problem: columns.get("problem")?,
        ended_at_ms: columns.get("ended_at_ms")?,
    })
}

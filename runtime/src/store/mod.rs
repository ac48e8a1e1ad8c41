//! The database: SQLite by default, Postgres when several nodes share the work. SQL lives here and nowhere else, each
//! statement once for both. The store reads no clock and makes no ids, and decides nothing about the product: it keeps
//! rows whole, in order and consistent under concurrent writers.
//!
//! # Rules
//! 1. Columns are `TEXT`, `BIGINT` and `BLOB`. Times are `BIGINT` with their unit in the name, JSON is `TEXT` through
//!    serde, flags and states are words with a `CHECK`, ids are `TEXT` with a prefix and sort by time of creation.
//! 2. One tree of migrations; for Postgres the word `BLOB` becomes `BYTEA`. Besides, the dialect decides how a
//!    transaction that writes begins, how placeholders look in statements of variable shape ([`sql`]), how
//!    connections are set up, and whether unchanged records are looked for before they are sent.
//! 3. Only SQL that both accept: `INSERT … ON CONFLICT … DO UPDATE … WHERE … RETURNING`, `UPDATE … FROM (VALUES …)`
//!    with the names `column1` …, row values, partial indexes, keyset paging. No `ILIKE`, arrays, `now()`, JSON
//!    operators or row locks; sums and counts are cast to `BIGINT`. Where an order of names is promised, Rust sorts:
//!    collations differ.
//! 4. Work is claimed by compare-and-set, and a row that several may write is updated first in the transaction, which
//!    puts writers in line on Postgres (on SQLite there is one writer).
//! 5. Many rows are written by one statement ([`sql::chunks`]).
//! 6. Every test runs on both databases, see `tests`.
//!
//! Statements are prepared once for each connection and then reused: the driver caches by the text of the statement.

mod actions;
mod api_keys;
mod authorizations;
mod canaries;
mod checkpoints;
mod columns;
mod connect_sessions;
mod connections;
mod credential_reads;
mod deletions;
mod deployments;
mod encryption_keys;
mod environment_variables;
mod erasing;
mod error;
mod fence;
mod ingress;
mod integrations;
mod locks;
mod log_queries;
mod logs;
mod oauth_clients;
mod open;
mod probe;
mod purge;
mod recordings;
mod records;
mod refreshes;
mod revocations;
mod run_history;
mod runs;
mod schedules;
mod sealed;
mod sql;
mod sync_commands;
mod syncs;
#[cfg(test)]
pub(crate) mod tests;
mod times_ahead;
mod upkeep;
mod validations;
mod verifications;
mod webhook_addresses;
mod webhooks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};

use sqlx::AnyPool;

pub use actions::{
    ActionEnd, ActionInserted, ActionLease, ActionQuery, ActionRetry, ActionScope, Announce, ClaimedAction,
    RunningActions, WaitingAction,
};
pub use canaries::NewCanary;
pub use connect_sessions::StoredConnectSession;
pub use connections::{ConnectionPatch, ConnectionQuery};
pub use credential_reads::CredentialReadQuery;
pub use deletions::DeletedConnection;
pub use deployments::NewDeployment;
pub use error::StoreError;
pub use ingress::ClaimedWebhookRun;
pub use log_queries::{MessageQuery, OperationQuery};
pub use oauth_clients::{OAuthClientLease, StoredOAuthClient};
pub use purge::{PurgeScope, Purgeable};
pub use recordings::StoredRecording;
pub use records::{
    IdleSync, KeyedHash, MergedRecord, OthersChanges, PRUNE_RECORDS_MAX, Payload, Pruned, RecordKey, RecordPage,
    RecordWrite, RetentionBatch, Seal, Sealing, Unseen,
};
pub use refreshes::{DueQuery, RefreshWrite, UsersOwn};
pub use run_history::{NamedRun, RunQuery};
pub use runs::ClaimedRun;
pub use schedules::{CronSync, NextSlot, Retry, StaleSchedules};
pub use sealed::{SEALED_COLUMNS, SealedColumn, SealedCount, SealedValue};
pub use sync_commands::SyncData;
pub use upkeep::UpkeepLease;
pub use validations::Consequences;
pub use webhook_addresses::StoredWebhookAddress;
pub use webhooks::{ClaimedWebhook, TargetNote, WebhookAttempt, WebhookClaim, WebhookQuery, WebhookResend};

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    dialect: open::Dialect,
    /// The same as `writer` on Postgres.
    reader: AnyPool,
    /// On SQLite one connection.
    writer: AnyPool,
    prober: probe::Prober,
    /// The last sequence number given to a log message by this process.
    message_sequence: Arc<AtomicI64>,
    /// Whether something was removed that SQLite's log still holds. True at first: nobody knows what the process before did.
    erased: Arc<AtomicBool>,
    /// The run for which records and checkpoints are written; none for whoever is no run of a sync.
    fence: Option<Arc<crate::model::Fence>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The pools know the URL and with it a password.
        write!(f, "Store({:?})", self.dialect)
    }
}

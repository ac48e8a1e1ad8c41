//! What syncs keep fresh, and how far they have come.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::FunctionKind;

/// One record of one model of one connection. Its payload is JSON, or what the store has of it.
#[derive(Clone, Debug)]
pub struct Record<D = Box<RawValue>> {
    /// The id the function gave, as text.
    pub external_id: String,
    /// The record as the function saved it, a JSON object.
    pub data: D,
    /// Microseconds since 1970, as the pair that orders changes: (`modified_at_us`, `sequence`).
    pub first_seen_at_us: i64,
    pub modified_at_us: i64,
    pub deleted_at_us: Option<i64>,
    /// When its payload was emptied but for the id.
    pub pruned_at_us: Option<i64>,
    pub action: RecordAction,
    /// Opaque position of this change; reading on from it gives what came after.
    pub cursor: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordAction {
    Added,
    Updated,
    Deleted,
}

/// Which records to list. An empty `actions` means all.
#[derive(Clone, Debug, Default)]
pub struct RecordFilter {
    pub actions: Vec<RecordAction>,
    pub external_ids: Vec<String>,
    /// Inclusive.
    pub modified_after_us: Option<i64>,
    /// Exclusive.
    pub cursor: Option<String>,
    pub limit: i64,
    /// Payloads of one page, in bytes: fewer records than `limit` come when they would be larger together, but one always. 0: no
    /// limit.
    pub bytes_max: usize,
}

/// How many records a call or a run touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub added: u64,
    pub updated: u64,
    pub deleted: u64,
    #[serde(default)]
    pub unchanged: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.added += other.added;
        self.updated += other.updated;
        self.deleted += other.deleted;
        self.unchanged += other.unchanged;
    }
}

impl Checkpoint {
    /// What the positions of a function are kept under: `<kind>:<function>[:<variant>]`. Only syncs have variants.
    #[must_use]
    pub fn key(kind: FunctionKind, function: &str, variant: &str) -> String {
        match kind {
            FunctionKind::Action | FunctionKind::OnEvent => format!("{}:{function}", kind.as_str()),
            FunctionKind::Sync => format!("{}:{function}:{variant}", kind.as_str()),
        }
    }

    /// The same for the runs in which a sync handles webhooks: its own runs have another position.
    #[must_use]
    pub fn webhook_key(function: &str, variant: &str) -> String {
        format!("webhook:{function}:{variant}")
    }
}

/// A saved position. `version` counts saves, for optimistic concurrency.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// A flat JSON object.
    pub json: String,
    pub version: i64,
}

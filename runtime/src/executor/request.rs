//! What is asked of the executor, and what it gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Cancel, Mode};
use crate::connections::Target;
use crate::host::Chain;
use crate::model::{ConnectionKey, Counts, ExecutionContext, Fence, Function, Progress, RunError, Usage};
use crate::recording::Recording;

/// What to run.
#[derive(Debug)]
pub struct RunRequest {
    pub ctx: ExecutionContext,
    pub function: Arc<Function>,
    pub provider: Arc<str>,
    pub environment_name: Arc<str>,
    pub connection_key: ConnectionKey,
    /// The connection as it is at the beginning: its secrets are masked in what is logged.
    pub target: Arc<Target>,
    /// JSON text; `null` when there is none.
    pub input: String,
    /// For a sync.
    pub sync: Option<SyncRun>,
    pub mode: Mode,
    /// Whether somebody waits for the answer.
    pub urgency: Urgency,
    /// Whether what it gives is kept in the database: its error is told without the connection's secrets then.
    pub is_kept: bool,
    /// Ends the run early.
    pub cancel: Option<Cancel>,
    /// The functions that called one another until this one was called; empty unless a function did.
    pub chain: Chain,
}

/// Who comes first when there are more runs than slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody waits for the answer.
    Blocking,
    /// It was asked for in the background.
    Background,
}

#[derive(Clone, Debug)]
pub struct SyncRun {
    pub occasion: Occasion,
    pub variant: String,
    /// Of the claim under which it runs: what it writes is refused once the claim is lost. None when it writes nothing.
    pub fence: Option<Fence>,
    /// Where the run says what it did so far.
    pub progress: Progress,
}

/// Why a sync runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// To fetch what there is: its schedule, or somebody, says so.
    Fetch,
    /// A webhook of the provider came, which is the input.
    Webhook,
}

impl RunRequest {
    /// Whether a sync runs because a webhook came.
    #[must_use]
    pub fn is_for_webhook(&self) -> bool {
        let occasion = self.sync.as_ref().map(|sync| sync.occasion);
        occasion == Some(Occasion::Webhook)
    }
}

/// What came of it.
#[derive(Debug)]
pub struct RunOutcome {
    /// An action's output as JSON text.
    pub output: Result<String, RunError>,
    /// What a sync did, by model.
    pub result: BTreeMap<String, Counts>,
    /// The sync has not ended: it has to wait so long, in milliseconds, for its provider's rate limit.
    pub suspended_ms: Option<u64>,
    pub duration_us: i64,
    /// Of a dry run: all that it did and would have done, without secrets.
    pub recording: Option<Box<Recording>>,
    pub usage: Usage,
    /// The function was told to stop before its end and did: there is more to do.
    pub interrupted: bool,
    /// The function was never called: no slot was free, or its component cannot be run.
    pub refused: bool,
}

impl RunOutcome {
    /// Whether nothing went wrong so far.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.output.is_ok() || self.suspended_ms.is_some()
    }

    /// Of a run that never began.
    #[must_use]
    pub fn failed(error: RunError) -> Self {
        Self {
            output: Err(error),
            result: BTreeMap::new(),
            suspended_ms: None,
            duration_us: 0,
            recording: None,
            usage: Usage::default(),
            interrupted: false,
            refused: true,
        }
    }
}

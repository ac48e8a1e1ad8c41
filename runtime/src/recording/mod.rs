//! Recordings of runs: what a function asked its host, what it was told, and what came of it. A dry run, a test fixture and a replay are
//! all made of one: a [`Recording`] is what a run leaves when it is taped, and what a run is played from. Plain data and pure
//! functions; who tapes and who plays is `host`.
//!
//! A call is recorded where it leaves the guest, in the words of the contract, so that no credential is part of it: the proxy adds them
//! later. What an answer repeats of them is masked before a recording is shown or kept.

mod body;
mod compare;
mod effects;
mod fixture;
mod headers;
mod request;
mod webhook;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{FunctionKind, JsonObject, RunError};

pub use body::Body;
pub use compare::{CallDifference, Comparison, Difference};
pub use effects::{Effects, LogLine, ModelEffects, RequestLine};
pub use fixture::{Fixture, FixtureError, Verdict};
pub use request::{Book, Exchange, Request};

/// Names of imports that mean something here; every other call is kept and played as it is.
pub mod import {
    /// Any request to the provider, whatever function of `nango` made it.
    pub const REQUEST: &str = "nango.request";
    /// A request to any host: told as [`REQUEST`] is, with a URL for a path.
    pub const FETCH: &str = "fetch.send";
    pub const LOG: &str = "log.write";
    pub const METADATA: &str = "connection.metadata";
    pub const SET_METADATA: &str = "connection.set-metadata";
    pub const UPDATE_METADATA: &str = "connection.update-metadata";
    pub const CHECKPOINT: &str = "checkpoints.get";
    pub const SAVE_CHECKPOINT: &str = "checkpoints.save";
    pub const CLEAR_CHECKPOINT: &str = "checkpoints.clear";
    pub const TRIGGER_ACTION: &str = "invoke.trigger-action";
    pub const TRIGGER_SYNC: &str = "invoke.trigger-sync";
    pub const TRY_ACQUIRE: &str = "locks.try-acquire";
    pub const RELEASE: &str = "locks.release";
    pub const RELEASE_ALL: &str = "locks.release-all";
    /// Values are masked before they are told here.
    pub const VARIABLE: &str = "environment.get";
    pub const VARIABLES: &str = "environment.all";
    /// Secrets in it are masked before it is told here.
    pub const TOKEN: &str = "token.get";
    pub const REMAINING: &str = "lifecycle.remaining-ms";
    pub const STOP_REASON: &str = "lifecycle.stop-reason";
    pub const BATCH_SAVE: &str = "records.batch-save";
    pub const BATCH_UPDATE: &str = "records.batch-update";
    pub const BATCH_DELETE: &str = "records.batch-delete";
    pub const LIST_RECORDS: &str = "records.list-records";
    pub const SET_MERGING_STRATEGY: &str = "records.set-merging-strategy";
    pub const TRACK_DELETES_START: &str = "records.track-deletes-start";
    pub const TRACK_DELETES_END: &str = "records.track-deletes-end";
}

/// The form of recordings that this program writes; another number is not read.
pub const FORMAT: u32 = 1;

/// Which runs are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordRuns {
    #[default]
    Off,
    /// Every run is taped, and the tape thrown away unless it failed.
    Failed,
    All,
}

/// One run, from its trigger to its output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recording {
    pub format: u32,
    pub subject: Subject,
    /// In the order in which they began.
    pub calls: Vec<Call>,
    pub time: Time,
    /// Of the generator that the function's random bytes came from.
    pub seed: Seed,
    /// What the function gave, JSON text, or how the run failed.
    pub output: Result<String, RunError>,
    pub duration_us: i64,
    /// False when it was longer than a recording may be: what is missing is at its end.
    pub complete: bool,
}

/// What was run, why and for whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subject {
    pub function: String,
    pub kind: FunctionKind,
    /// SHA-256 of the component, empty when it is not known.
    #[serde(default)]
    pub digest: String,
    pub provider_config_key: String,
    pub connection_id: String,
    pub provider: String,
    pub environment: String,
    /// JSON text; `null` when there is none.
    pub input: String,
    /// Whether a sync ran because a webhook came, which is the input.
    #[serde(default)]
    pub for_webhook: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The connection's metadata when the run began.
    #[serde(default)]
    pub metadata: JsonObject,
    /// The checkpoint when the run began; none when the recording does not say, because nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Position>,
}

/// A checkpoint, JSON text, or that there was none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub json: Option<String>,
}

/// One call of an import.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    pub import: Cow<'static, str>,
    pub arguments: Value,
    /// None when the run ended before it did.
    pub result: Option<Outcome>,
    /// Since the run began.
    pub started_us: u64,
    pub took_us: u64,
}

/// What the guest was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok(Value),
    Error(HostError),
    /// It ended the run.
    Trap(String),
}

/// The contract's `error`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostError {
    pub code: String,
    pub message: String,
    #[serde(default)]
    pub details: Vec<(String, String)>,
}

/// What the function read from its clocks, in order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Time {
    /// When the run began, microseconds since 1970.
    pub began_us: i64,
    #[serde(default)]
    pub clock_us: Vec<i64>,
    #[serde(default)]
    pub monotonic_us: Vec<u64>,
}

/// Of a generator of random bytes, in hex.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub String);

impl Seed {
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// What is no seed counts as zeros: a fixture that names none is still the same every time.
    #[must_use]
    pub fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(self.0.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).unwrap_or("0");
            *byte = u8::from_str_radix(digits, 16).unwrap_or(0);
        }
        bytes
    }
}

impl Recording {
    /// Changes every text in it that came from the function, its caller or an upstream: for masking secrets. What is JSON stays JSON,
    /// of which only the texts are changed.
    pub fn mask(&mut self, mask_json: impl Fn(&mut Value), mask_text: impl Fn(&str) -> String) {
        let mask_document = |text: &mut String| {
            let masked = mask_text(text);
            if masked == *text {
                return;
            }
            *text = match serde_json::from_str::<Value>(text) {
                Ok(mut value) => {
                    mask_json(&mut value);
                    value.to_string()
                }
                Err(_) => masked,
            };
        };
        for call in &mut self.calls {
            mask_json(&mut call.arguments);
            match &mut call.result {
                Some(Outcome::Ok(value)) => mask_json(value),
                Some(Outcome::Error(error)) => {
                    error.message = mask_text(&error.message);
                    for (_, value) in &mut error.details {
                        *value = mask_text(value);
                    }
                }
                Some(Outcome::Trap(message)) => *message = mask_text(message),
                None => {}
            }
        }
        mask_document(&mut self.subject.input);
        if let Ok(output) = &mut self.output {
            mask_document(output);
        }
    }
}

/// What a call takes, as one line for people.
#[must_use]
pub fn describe(call: &Call) -> String {
    if matches!(call.import.as_ref(), import::REQUEST | import::FETCH)
        && let Ok(request) = serde_json::from_value::<Request>(call.arguments.clone())
    {
        return request.line();
    }
    let mut text = format!("{} {}", call.import, call.arguments);
    if text.chars().count() > DESCRIPTION_CHARS_MAX {
        text = text.chars().take(DESCRIPTION_CHARS_MAX).collect();
        text.push('…');
    }
    text
}

/// Characters of a call that a message repeats.
const DESCRIPTION_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests;

//! The log message of one attempt: what was asked, what came back, how long it took, and what happens next. Headers are
//! noted when an attempt failed; bodies never.

use std::error::Error;
use std::fmt::Write;

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::redact::Masker;
use super::retry::{Decision, Spent};
use super::{ProxyError, RETRIES_MAX};
use crate::model::log::Source;
use crate::model::{Level, Message, OperationId};

/// What is known of an attempt when it is over.
pub(super) struct Attempt<'a> {
    pub(super) operation_id: &'a OperationId,
    pub(super) method: &'a Method,
    /// The URL that was asked last; none when none could be built.
    pub(super) url: Option<&'a http::Uri>,
    pub(super) request_headers: Option<&'a HeaderMap>,
    pub(super) redirects: u32,
    pub(super) outcome: Result<(StatusCode, &'a HeaderMap), &'a ProxyError>,
    pub(super) decision: &'a Decision,
    /// Spent before the decision.
    pub(super) spent: Spent,
    pub(super) retries: u32,
    pub(super) started_at_us: i64,
    pub(super) duration_us: u64,
}

impl Attempt<'_> {
    pub(super) fn message(&self, masker: &Masker) -> Message {
        let url = self
            .url
            .map_or_else(String::new, |url| masker.mask(&url.to_string()).into_owned());
        let failed = !matches!(&self.outcome, Ok((status, _)) if status.as_u16() < 400);
        let duration_ms = self.duration_us / 1_000;
        let result = match &self.outcome {
            Ok((status, _)) => format!("{} in {duration_ms} ms", status.as_u16()),
            Err(error) => format!("{} after {duration_ms} ms", error.code()),
        };
        let mut text = format!("{} {url} → {result}", self.method);
        let mut request = json!({ "method": self.method.as_str(), "url": url });
        let mut fields = json!({ "type": "http", "duration_ms": duration_ms });
        let mut response = None;
        match &self.outcome {
            Ok((status, headers)) => {
                let mut answer = json!({ "code": status.as_u16() });
                if failed {
                    put(&mut answer, "headers", masker.headers(headers));
                }
                response = Some(answer);
            }
            Err(error) => put(&mut fields, "error", error_fields(error, masker)),
        }
        if failed && let Some(headers) = self.request_headers {
            put(&mut request, "headers", masker.headers(headers));
        }
        if self.redirects > 0 {
            put(&mut request, "redirects", json!(self.redirects));
        }
        put(&mut fields, "request", request);
        if let Some(response) = response {
            put(&mut fields, "response", response);
        }
        if failed || self.spent != Spent::default() {
            put(&mut fields, "retry", self.retry_fields(&mut text));
        }
        Message {
            operation_id: self.operation_id.clone(),
            created_at_us: self.started_at_us,
            level: match self.decision {
                _ if !failed => Level::Info,
                Decision::After { .. } => Level::Warn,
                Decision::Stop { .. } => Level::Error,
            },
            source: Source::Internal,
            text,
            fields: Some(fields),
        }
    }

    fn retry_fields(&self, text: &mut String) -> Value {
        let max = self.retries.min(RETRIES_MAX);
        let mut fields = json!({ "attempt": self.spent.attempts(), "max": max, "waited_ms": self.spent.waited_ms });
        match self.decision {
            Decision::After { wait_ms, reason, .. } => {
                // Writing to a String cannot fail.
                let _ = write!(text, "; trying again in {wait_ms} ms ({reason})");
                put(&mut fields, "wait_ms", json!(wait_ms));
                put(&mut fields, "reason", json!(reason));
            }
            Decision::Stop { reason } => put(&mut fields, "stopped", json!(reason)),
        }
        fields
    }
}

/// The error with the messages of its causes, which is where the system's own words are.
fn error_fields(error: &ProxyError, masker: &Masker) -> Value {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    json!({ "code": error.code(), "message": masker.mask(&text) })
}

fn put(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(object) = object {
        object.insert(key.to_owned(), value);
    }
}

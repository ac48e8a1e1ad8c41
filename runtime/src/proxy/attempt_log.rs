//! The log message of one attempt: what was asked, what came back, how long it took, and what happens next. Headers are
//! noted when an attempt failed; bodies never.
//!
//! On the path of a request an attempt is only noted; what it costs to mask secrets and to write JSON is paid by whoever
//! writes the log.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, Uri};
use serde::Serialize;
use serde_json::Value;

use super::retry::{Decision, Spent};
use super::{ProxyError, RETRIES_MAX};
use crate::connections::{RunMasker, Target};
use crate::model::log::Source;
use crate::model::{Level, Message, OperationId};
use crate::redaction::{MASK, Masker};

/// What a note of an attempt takes besides its URL and headers, about.
const NOTE_BYTES: usize = 512;

/// What is known of an attempt when it is over.
pub(super) struct Attempt {
    pub(super) operation_id: OperationId,
    /// Whose secrets are to be masked.
    pub(super) target: Arc<Target>,
    /// Of what else is to be masked.
    pub(super) masker: Option<RunMasker>,
    pub(super) method: Method,
    /// The URL that was asked last; none when none could be built.
    pub(super) url: Option<Uri>,
    pub(super) redirects: u32,
    pub(super) ended: Ended,
    pub(super) decision: Decision,
    /// Spent before the decision.
    pub(super) spent: Spent,
    pub(super) retries: u32,
    pub(super) started_at_us: i64,
    pub(super) duration_us: u64,
}

/// What is written down of a call.
pub(super) enum Note {
    Attempt(Box<Attempt>),
    /// It waits for its turn at a rate limit, or may not.
    Line(Message),
}

impl Note {
    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Attempt(attempt) => attempt.bytes(),
            Self::Line(message) => NOTE_BYTES + message.text.len(),
        }
    }

    pub(super) fn message(self) -> Message {
        match self {
            Self::Attempt(attempt) => attempt.message(),
            Self::Line(message) => message,
        }
    }
}

/// How an attempt ended.
pub(super) enum Ended {
    Success(StatusCode),
    /// With the headers of request and answer.
    Refused(StatusCode, Box<(HeaderMap, HeaderMap)>),
    Failed {
        code: &'static str,
        message: String,
        request_headers: Option<Box<HeaderMap>>,
    },
}

impl Ended {
    pub(super) fn of(
        outcome: Result<(StatusCode, &HeaderMap), &ProxyError>,
        request_headers: Option<&HeaderMap>,
    ) -> Self {
        match outcome {
            Ok((status, _)) if status.as_u16() < 400 => Self::Success(status),
            Ok((status, headers)) => {
                let asked = request_headers.cloned().unwrap_or_default();
                Self::Refused(status, Box::new((asked, headers.clone())))
            }
            Err(error) => Self::Failed {
                code: error.code(),
                message: with_causes(error),
                request_headers: request_headers.cloned().map(Box::new),
            },
        }
    }
}

impl Attempt {
    /// What the note takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        let url = self
            .url
            .as_ref()
            .map_or(0, |url| url.path().len() + url.query().map_or(0, str::len));
        let ended = match &self.ended {
            Ended::Success(_) => 0,
            Ended::Refused(_, headers) => size(&headers.0) + size(&headers.1),
            Ended::Failed {
                message,
                request_headers,
                ..
            } => message.len() + request_headers.as_deref().map_or(0, size),
        };
        NOTE_BYTES + url + ended
    }

    pub(super) fn message(&self) -> Message {
        let masker = Masks(self.target.masker(), self.masker.as_ref());
        let url = self.url.as_ref().map(ToString::to_string).unwrap_or_default();
        let url = masker.mask(&url);
        let duration_ms = self.duration_us / 1_000;
        let mut text = format!("{} {url} → ", self.method);
        // Writing to a String cannot fail.
        let _ = match &self.ended {
            Ended::Success(status) | Ended::Refused(status, _) => {
                write!(text, "{} in {duration_ms} ms", status.as_u16())
            }
            Ended::Failed { code, .. } => write!(text, "{code} after {duration_ms} ms"),
        };
        let (asked, response, error) = match &self.ended {
            Ended::Success(status) => (None, Some((*status, None)), None),
            Ended::Refused(status, shown) => (Some(&shown.0), Some((*status, Some(&shown.1))), None),
            Ended::Failed {
                code,
                message,
                request_headers,
            } => (request_headers.as_deref(), None, Some((*code, message))),
        };
        let failed = !matches!(self.ended, Ended::Success(_));
        let fields = Fields {
            duration_ms,
            error: error.map(|(code, message)| Failure {
                code,
                message: masker.mask(message),
            }),
            request: Asked {
                headers: asked.map(|asked| headers(&masker, asked)),
                method: self.method.as_str(),
                redirects: (self.redirects > 0).then_some(self.redirects),
                url: &url,
            },
            response: response.map(|(status, answered)| Answered {
                code: status.as_u16(),
                headers: answered.map(|answered| headers(&masker, answered)),
            }),
            retry: (failed || self.spent != Spent::default()).then(|| self.retry(&mut text)),
            r#type: "http",
        };
        Message {
            operation_id: self.operation_id.clone(),
            created_at_us: self.started_at_us,
            level: match self.decision {
                _ if !failed => Level::Info,
                Decision::After { .. } => Level::Warn,
                Decision::Stop { .. } => Level::Error,
            },
            source: Source::Internal,
            fields: Message::fields(&fields),
            text,
        }
    }

    fn retry(&self, text: &mut String) -> Retry {
        let (wait_ms, reason, stopped) = match self.decision {
            Decision::After { wait_ms, reason, .. } => {
                // Writing to a String cannot fail.
                let _ = write!(text, "; trying again in {wait_ms} ms ({reason})");
                (Some(wait_ms), Some(reason), None)
            }
            Decision::Stop { reason } => (None, None, Some(reason)),
        };
        Retry {
            attempt: self.spent.attempts(),
            max: self.retries.min(RETRIES_MAX),
            reason,
            stopped,
            wait_ms,
            waited_ms: self.spent.waited_ms,
        }
    }
}

/// The fields of the message. Written as text at once: a tree of values would cost more than all else of a message.
#[derive(Serialize)]
struct Fields<'a> {
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure<'a>>,
    request: Asked<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Answered>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<Retry>,
    r#type: &'static str,
}

#[derive(Serialize)]
struct Failure<'a> {
    code: &'static str,
    message: Cow<'a, str>,
}

#[derive(Serialize)]
struct Asked<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Value>,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    redirects: Option<u32>,
    url: &'a str,
}

#[derive(Serialize)]
struct Answered {
    code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Value>,
}

#[derive(Serialize)]
struct Retry {
    attempt: u32,
    max: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_ms: Option<u64>,
    waited_ms: u64,
}

/// The connection's secrets, and what else is to be masked.
struct Masks<'a>(&'a Masker, Option<&'a RunMasker>);

impl Masks<'_> {
    fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let masked = self.0.mask(text);
        match self.1.map(|more| more.mask(&masked)) {
            Some(Cow::Owned(more)) => Cow::Owned(more),
            Some(Cow::Borrowed(_)) | None => masked,
        }
    }
}

/// Headers as a JSON object; those that hold credentials by their name are masked whole.
fn headers(masker: &Masks<'_>, headers: &HeaderMap) -> Value {
    let shown = headers.iter().map(|(name, value)| {
        let text = if value.is_sensitive() || holds_credentials(name.as_str()) {
            MASK.to_owned()
        } else {
            masker.mask(&String::from_utf8_lossy(value.as_bytes())).into_owned()
        };
        (name.as_str().to_owned(), Value::String(text))
    });
    Value::Object(shown.collect())
}

fn holds_credentials(name: &str) -> bool {
    const NAMES: [&str; 5] = [
        "authorization",
        "cookie",
        "proxy-authorization",
        "set-cookie",
        "www-authenticate",
    ];
    const ENDINGS: [&str; 6] = ["-authorization", "-key", "-token", "-secret", "-signature", "-password"];
    NAMES.contains(&name) || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn size(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}

/// The error with the messages of its causes, which is where the system's own words are.
fn with_causes(error: &ProxyError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{api_key, provider, target};
    use super::*;

    #[test]
    fn headers_are_masked_by_name_mark_and_content() {
        let mut asked = HeaderMap::new();
        asked.insert("authorization", "Bearer other".parse().unwrap());
        asked.insert("x-api-key", "other".parse().unwrap());
        asked.insert("x-echo", "key s3cr3t-key".parse().unwrap());
        asked.insert("x-plain", "plain".parse().unwrap());
        asked.insert("x-ratelimit-remaining-tokens", "7".parse().unwrap());
        let mut marked: http::HeaderValue = "marked".parse().unwrap();
        marked.set_sensitive(true);
        asked.insert("x-marked", marked);
        asked.insert("x-more", "of-the-environment!".parse().unwrap());
        let target = target(provider("https://api.test"), api_key("s3cr3t-key"));
        let other = super::super::testing::target(provider("https://other.test"), api_key("of-the-environment"));
        let more = RunMasker::new(Arc::new(other), Default::default(), Default::default());
        assert_eq!(
            headers(&Masks(target.masker(), Some(&more)), &asked),
            json!({
                "authorization": MASK, "x-api-key": MASK, "x-echo": "key REDACTED", "x-plain": "plain", "x-more": "REDACTED!",
                "x-ratelimit-remaining-tokens": "7", "x-marked": MASK
            })
        );
    }
}

//! What a function returns when it fails, and how that is told to the host.

use std::error::Error as StdError;
use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::bindings::nango::functions::types;
use crate::error::{Error, HostError, HttpError, Place};
use crate::pagination::PaginationError;

/// What a sync returns when it fails; the same type as for an action.
pub type SyncError = ActionError;

/// How much of an upstream's error body is passed on to the caller, in bytes.
const BODY_BYTES_MAX: usize = 65_536;

/// What a function returns when it fails.
///
/// A function that refuses makes one with [`new`](Self::new); its payload reaches the caller as it is, one that is no object as
/// the `message` of one. Every other error
/// becomes one through `?`, whatever its type:
///
/// ```
/// # use nango_guest_sdk::prelude::*;
/// fn price(text: &str) -> Result<u32, ActionError> {
///     if text.is_empty() {
///         return Err(ActionError::new(json!({"field": "price", "message": "is missing"})));
///     }
///     Ok(text.parse::<u32>()?)
/// }
/// # assert!(price("12").is_ok() && price("").is_err() && price("x").is_err());
/// ```
///
/// Like `anyhow::Error`, it is not a [`std::error::Error`] itself.
pub struct ActionError {
    cause: Cause,
    place: Place,
}

enum Cause {
    /// The function refused; why, as JSON text.
    Refused(String),
    /// A call to the host failed.
    Call(Error),
    /// Something else in the function failed.
    Foreign(Box<dyn StdError + 'static>),
}

impl ActionError {
    /// The function refuses, and `payload` says why: a message, or any value that can be JSON.
    #[track_caller]
    #[must_use]
    pub fn new(payload: impl Serialize) -> Self {
        let payload = match serde_json::to_string(&payload) {
            Ok(json) => json,
            Err(error) => quoted(&error.to_string()),
        };
        Self {
            cause: Cause::Refused(payload),
            place: Place::here(),
        }
    }

    /// The payload of a refusal, as JSON text.
    #[must_use]
    pub fn payload(&self) -> Option<&str> {
        match &self.cause {
            Cause::Refused(payload) => Some(payload),
            Cause::Call(_) | Cause::Foreign(_) => None,
        }
    }

    /// The failed call to the host, if it was that.
    #[must_use]
    pub fn as_error(&self) -> Option<&Error> {
        match &self.cause {
            Cause::Call(error) => Some(error),
            Cause::Refused(_) | Cause::Foreign(_) => None,
        }
    }

    /// Where in the function's source it came from.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    pub(crate) fn into_wire(self) -> types::Error {
        let mut details = Details::default();
        details.push("place", &self.place.to_string());
        let (code, message) = match &self.cause {
            Cause::Refused(payload) => {
                details.push_json("payload", payload.clone());
                ("action_script_runtime_error", refusal_message(payload))
            }
            Cause::Call(Error::Http(error)) => {
                describe_answer(&mut details, error);
                ("script_http_error", format!("{self} (at {})", self.place))
            }
            Cause::Call(Error::Network { source, .. }) => {
                describe_host_error(&mut details, source);
                ("script_network_error", format!("{self} (at {})", self.place))
            }
            Cause::Call(Error::Host { source, .. }) => {
                describe_host_error(&mut details, source);
                let code = match source.code.as_str() {
                    // The runtime itself was asked too much at once, here or in the function that was called.
                    "too_many_request" | "script_api_rate_limit_error" => "script_api_rate_limit_error",
                    _ => "script_internal_error",
                };
                (code, format!("{self} (at {})", self.place))
            }
            Cause::Call(Error::Pagination { source, .. }) => {
                if let PaginationError::ForeignHost { source, .. } = &**source {
                    describe_host_error(&mut details, source);
                }
                ("script_internal_error", format!("{self} (at {})", self.place))
            }
            Cause::Call(Error::Json { .. }) | Cause::Foreign(_) => {
                ("script_internal_error", format!("{self} (at {})", self.place))
            }
        };
        types::Error {
            code: code.to_owned(),
            message,
            details: details.0,
        }
    }
}

/// Details of an error on their way to the host: names with JSON text.
#[derive(Default)]
struct Details(Vec<(String, String)>);

impl Details {
    fn push_json(&mut self, name: &str, json: String) {
        self.0.push((name.to_owned(), json));
    }

    fn push(&mut self, name: &str, text: &str) {
        self.push_json(name, quoted(text));
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    // Writing a string into memory cannot fail.
    serde_json::to_string(text).unwrap_or_default()
}

fn refusal_message(payload: &str) -> String {
    #[derive(Deserialize)]
    struct WithMessage {
        message: String,
    }
    if let Ok(text) = serde_json::from_slice::<String>(payload.as_bytes()) {
        return text;
    }
    match serde_json::from_slice::<WithMessage>(payload.as_bytes()) {
        Ok(WithMessage { message }) => message,
        Err(_) => "the function refused".to_owned(),
    }
}

fn describe_answer(details: &mut Details, error: &HttpError) {
    details.push("method", &error.method);
    details.push("path", &error.path);
    details.push_json("status", error.status.to_string());
    let headers: Vec<String> = error
        .headers
        .iter()
        .map(|(name, value)| format!("{}:{}", quoted(name), quoted(value)))
        .collect();
    details.push_json("headers", format!("{{{}}}", headers.join(",")));
    // A body that was cut is no JSON any more, so that it goes as a string.
    let shown = error.body.get(..BODY_BYTES_MAX).unwrap_or(&error.body);
    let text = String::from_utf8_lossy(shown);
    match serde_json::from_slice::<IgnoredAny>(text.as_bytes()) {
        Ok(_) => details.push_json("body", text.into_owned()),
        Err(_) => details.push("body", &text),
    }
}

fn describe_host_error(details: &mut Details, error: &HostError) {
    details.push("code", &error.code);
    for (name, json) in &error.details {
        details.push_json(name, json.clone());
    }
}

impl<E: StdError + 'static> From<E> for ActionError {
    #[track_caller]
    fn from(error: E) -> Self {
        let error: Box<dyn StdError + 'static> = Box::new(error);
        match error.downcast::<Error>() {
            Ok(error) => Self {
                place: error.place(),
                cause: Cause::Call(*error),
            },
            Err(error) => Self {
                cause: Cause::Foreign(error),
                place: Place::here(),
            },
        }
    }
}

impl fmt::Display for ActionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Refused(payload) => f.write_str(&refusal_message(payload)),
            Cause::Call(error) => error.fmt(f),
            Cause::Foreign(error) => {
                error.fmt(f)?;
                let mut source = error.source();
                while let Some(cause) = source {
                    write!(f, ": {cause}")?;
                    source = cause.source();
                }
                Ok(())
            }
        }
    }
}

impl fmt::Debug for ActionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} (at {})", self.place)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn detail<'a>(error: &'a types::Error, name: &str) -> Option<&'a str> {
        error
            .details
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, json)| json.as_str())
    }

    #[test]
    fn a_refusal_keeps_its_payload() {
        let wire = ActionError::new(json!({"code": 42, "message": "bad thing"})).into_wire();
        assert_eq!(wire.code, "action_script_runtime_error");
        assert_eq!(wire.message, "bad thing");
        assert_eq!(detail(&wire, "payload"), Some(r#"{"code":42,"message":"bad thing"}"#));
        assert_eq!(ActionError::new("no owner").into_wire().message, "no owner");
        assert_eq!(ActionError::new([1, 2]).into_wire().message, "the function refused");
    }

    #[test]
    fn an_error_status_carries_the_answer() {
        let place = Place::here();
        let error = Error::Http(Box::new(HttpError {
            method: "GET".to_owned(),
            path: "/user".to_owned(),
            status: 404,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: br#"{"error":"not found"}"#.to_vec(),
            place,
        }));
        let wire = ActionError::from(error).into_wire();
        assert_eq!(wire.code, "script_http_error");
        assert_eq!(wire.message, format!("GET /user was answered with 404 (at {place})"));
        assert_eq!(detail(&wire, "status"), Some("404"));
        assert_eq!(detail(&wire, "headers"), Some(r#"{"content-type":"application/json"}"#));
        assert_eq!(detail(&wire, "body"), Some(r#"{"error":"not found"}"#));
    }

    #[test]
    fn a_question_mark_marks_its_line() {
        fn parse() -> Result<u32, ActionError> {
            let number = "x".parse::<u32>()?;
            Ok(number)
        }
        let wire = parse().expect_err("x is no number").into_wire();
        assert_eq!(wire.code, "script_internal_error");
        assert!(
            wire.message.starts_with("invalid digit found in string (at "),
            "{}",
            wire.message
        );
        assert!(wire.message.contains("action_error.rs:"), "{}", wire.message);
    }
}

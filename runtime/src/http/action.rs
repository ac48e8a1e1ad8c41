//! `POST /action/trigger`: runs an action for a connection and answers with its output as it is, or accepts it for the background. The input is not parsed here and the
//! output is not parsed at all: both are JSON text on their way between caller and function.

use std::borrow::Cow;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::{json_response, parse, raw_json_response, read_json};
use super::error::{ApiError, ErrorEnvelope};
use super::fault::Fault;
use super::target::TargetHeaders;
use crate::connections::ConnectionsError;
use crate::runtime::{ActionsError, BackgroundOptions, IDEMPOTENCY_KEY_CHARS_MAX, InvokeError, RETRIES_MAX, Runtime};

/// When it is worth asking again with a queue that is full, in seconds.
const QUEUE_FULL_RETRY_AFTER_S: u64 = 1;

/// An action that was accepted for the background.
#[derive(Serialize, ToSchema)]
struct AcceptedAction {
    id: String,
    /// Where its result will be.
    #[serde(rename = "statusUrl")]
    status_url: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TriggerAction<'a> {
    #[serde(borrow)]
    action_name: Cow<'a, str>,
    /// What the action takes; `null` when absent.
    #[serde(borrow, default)]
    #[schema(value_type = Option<Object>)]
    input: Option<&'a RawValue>,
}

/// Run an action and get its output, or have it run in the background.
#[utoipa::path(
    post, path = "/action/trigger", tag = "actions", request_body = TriggerAction<'_>,
    params(
        ("Provider-Config-Key" = String, Header),
        ("Connection-Id" = String, Header),
        ("X-Async" = Option<bool>, Header, description = "Run it in the background"),
        ("X-Max-Retries" = Option<u32>, Header, description = "0 to 5: attempts in the background that may follow a failed one"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same call with the same key gives the same answer for 24 hours"),
    ),
    responses(
        (status = 202, description = "Accepted for the background", body = AcceptedAction),
        (status = 409, description = "The first call with this Idempotency-Key is under way", body = ErrorEnvelope),
        (status = 422, description = "The Idempotency-Key was used for another call", body = ErrorEnvelope),
        (status = 429, description = "Too many wait", body = ErrorEnvelope),
        (status = 200, description = "The action's output", body = serde_json::Value),
        (status = 400, body = ErrorEnvelope),
        (status = 404, description = "No such action", body = ErrorEnvelope),
        (status = 424, description = "The provider's API answered with an error", body = ErrorEnvelope),
        (status = 500, description = "The action failed", body = ErrorEnvelope),
    ),
)]
pub async fn trigger(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ActionsExecute>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let target = TargetHeaders::parse(&parts.headers)?;
    let mode = Mode::parse(&parts.headers)?;
    let body = read_json(&parts.headers, body, runtime.config().limits.request_body_bytes).await?;
    let TriggerAction { action_name, input } = parse(&body)?;
    let input = input.map_or("null", RawValue::get).to_owned();
    let TargetHeaders {
        provider_config_key,
        connection_id,
    } = target;
    let environment = caller.connection(provider_config_key, connection_id)?;
    let output = match mode {
        Mode {
            is_async: true,
            retries,
            idempotency_key,
        } => {
            let options = BackgroundOptions {
                retries,
                idempotency_key,
            };
            let accepted = runtime
                .invoke_in_background(
                    environment,
                    provider_config_key,
                    connection_id,
                    &action_name,
                    input,
                    options,
                )
                .await
                .map_err(schedule_error)?;
            return Ok(accepted_response(accepted.id));
        }
        // An action that is awaited is not retried, whatever `X-Max-Retries` says: so does Nango.
        Mode {
            idempotency_key: Some(key),
            ..
        } => {
            runtime
                .invoke_once(
                    environment,
                    provider_config_key,
                    connection_id,
                    &action_name,
                    input,
                    key,
                )
                .await
        }
        Mode { .. } => {
            runtime
                .invoke(environment, provider_config_key, connection_id, &action_name, input)
                .await
        }
    };
    Ok(raw_json_response(StatusCode::OK, output.map_err(trigger_error)?))
}

fn accepted_response(id: String) -> Response {
    let status_url = format!("/action/{id}");
    let location = HeaderValue::from_str(&status_url);
    let mut response = json_response(StatusCode::ACCEPTED, &AcceptedAction { id, status_url });
    // A UUID can be a header.
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// How the action is to be run, as the headers say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mode {
    is_async: bool,
    retries: u32,
    idempotency_key: Option<String>,
}

impl Mode {
    fn parse(headers: &HeaderMap) -> Result<Self, ApiError> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?").trim());
        let mut faults = Vec::new();
        let is_async = match text("x-async") {
            None => false,
            Some(word) => match word.to_ascii_lowercase().as_str() {
                "" | "false" | "0" | "no" | "off" | "n" | "disabled" => false,
                "true" | "1" | "yes" | "on" | "y" | "enabled" => true,
                _ => {
                    let message = "Invalid input: expected true or false";
                    faults.push(Fault::new("invalid_value", message, "x-async"));
                    false
                }
            },
        };
        let retries = match text("x-max-retries") {
            None | Some("") => 0,
            Some(number) => number.parse().unwrap_or(u32::MAX),
        };
        if retries > RETRIES_MAX {
            let message = format!("Invalid input: expected an integer from 0 to {RETRIES_MAX}");
            faults.push(Fault::new("invalid_type", message, "x-max-retries"));
        }
        let key = text("idempotency-key").map(unquoted);
        if key.is_some_and(|key| !(1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len())) {
            let message = format!("Invalid input: expected 1 to {IDEMPOTENCY_KEY_CHARS_MAX} characters");
            faults.push(Fault::new("invalid_format", message, "idempotency-key"));
        }
        if !faults.is_empty() {
            return Err(ApiError::faults("invalid_headers", faults));
        }
        Ok(Self {
            is_async,
            retries,
            idempotency_key: key.map(str::to_owned),
        })
    }
}

/// The draft of the header makes it a quoted string of structured fields (RFC 8941); most clients send it bare.
fn unquoted(key: &str) -> &str {
    key.strip_prefix('"')
        .and_then(|key| key.strip_suffix('"'))
        .unwrap_or(key)
}

fn trigger_error(error: InvokeError) -> ApiError {
    match error {
        InvokeError::Connections(error @ ConnectionsError::UnknownIntegration { .. }) => {
            ApiError::new(StatusCode::BAD_REQUEST, "unknown_provider", error.to_string())
        }
        other => other.into(),
    }
}

/// An action that cannot be queued is `action_failure` with 400, whatever the reason. (Nango compatibility.)
fn schedule_error(error: InvokeError) -> ApiError {
    let failed = |message: String| ApiError::new(StatusCode::BAD_REQUEST, "action_failure", message);
    match error {
        InvokeError::Actions(error @ ActionsError::QueueFull { .. }) => {
            failed(error.to_string()).retry_after(Some(QUEUE_FULL_RETRY_AFTER_S))
        }
        InvokeError::Actions(ActionsError::Store(error)) => {
            tracing::error!(%error, "An action was not queued: {error}");
            failed("the action was not queued: the database failed".to_owned())
        }
        other => trigger_error(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::tests::rendered;

    #[test]
    fn input_is_taken_as_it_is() {
        let body = br#"{"action_name":"no\u006fp","input":{"a": 1.0, "a":  12345678901234567890}}"#;
        let call: TriggerAction<'_> = parse(body).unwrap();
        assert_eq!(call.action_name, "noop");
        assert_eq!(call.input.unwrap().get(), r#"{"a": 1.0, "a":  12345678901234567890}"#);
        let call: TriggerAction<'_> = parse(br#"{"action_name":"noop"}"#).unwrap();
        assert!(call.input.is_none());
    }

    #[tokio::test]
    async fn bodies_that_are_none() {
        let refusal = async |body: &str| rendered(parse::<TriggerAction<'_>>(body.as_bytes()).err().unwrap()).await;
        assert!(refusal("").await.starts_with(r#"400 {"error":{"code":"invalid_json""#));
        assert!(refusal(r#"{"input":1}"#).await.contains(r#""path":["action_name"]"#));
        assert!(
            refusal(r#"{"action_name":"a","async":true}"#)
                .await
                .contains(r#""code":"unrecognized_keys""#)
        );
        assert!(
            refusal(r#"{"action_name":7}"#)
                .await
                .contains(r#""path":["action_name"]"#)
        );
    }

    #[tokio::test]
    async fn headers_say_how() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (http::HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            HeaderMap::from_iter(pairs.iter().map(pair))
        };
        let parsed = |pairs: &[_]| Mode::parse(&headers(pairs)).unwrap();
        assert_eq!(parsed(&[]), Mode::default());
        assert_eq!(parsed(&[("x-async", "false"), ("x-max-retries", "0")]), Mode::default());
        let mode = Mode {
            is_async: true,
            retries: 5,
            idempotency_key: Some("k 1".to_owned()),
        };
        assert_eq!(
            parsed(&[
                ("x-async", "True"),
                ("x-max-retries", "5"),
                ("idempotency-key", "\"k 1\"")
            ]),
            mode
        );
        for (name, value) in [
            ("x-async", "maybe"),
            ("x-max-retries", "6"),
            ("x-max-retries", "-1"),
            ("idempotency-key", ""),
        ] {
            let refusal = rendered(Mode::parse(&headers(&[(name, value)])).unwrap_err()).await;
            assert!(
                refusal.starts_with(r#"400 {"error":{"code":"invalid_headers""#) && refusal.contains(name),
                "{refusal}"
            );
        }
    }
}

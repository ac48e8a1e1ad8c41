//! `POST /action/trigger`: runs an action for a connection and answers with its output as it is. The input is not parsed here and the
//! output is not parsed at all: both are JSON text on their way between caller and function.

use std::borrow::Cow;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::{parse, raw_json_response, read_json};
use super::error::{ApiError, ErrorEnvelope};
use super::fault::Fault;
use super::target::TargetHeaders;
use crate::connections::ConnectionsError;
use crate::runtime::{InvokeError, Runtime};

/// Largest `X-Max-Retries`.
const ASYNC_RETRIES_MAX: u32 = 5;

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

/// Run an action and get its output.
#[utoipa::path(
    post, path = "/action/trigger", tag = "actions", request_body = TriggerAction<'_>,
    params(("Provider-Config-Key" = String, Header), ("Connection-Id" = String, Header)),
    responses(
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
    refuse_async(&parts.headers)?;
    let body = read_json(&parts.headers, body, runtime.config().limits.request_body_bytes).await?;
    let TriggerAction { action_name, input } = parse(&body)?;
    let input = input.map_or("null", RawValue::get).to_owned();
    let output = runtime
        .invoke(
            caller.connection(target.provider_config_key, target.connection_id)?,
            target.provider_config_key,
            target.connection_id,
            &action_name,
            input,
        )
        .await
        .map_err(trigger_error)?;
    Ok(raw_json_response(StatusCode::OK, output))
}

/// An action that is awaited has no retries, and one that is not awaited does not exist yet: to do as if would lose it.
fn refuse_async(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?").trim());
    let mut faults = Vec::new();
    let is_async = match text("x-async").map(str::to_ascii_lowercase).as_deref() {
        None | Some("" | "false" | "0" | "no" | "off" | "n" | "disabled") => false,
        Some("true" | "1" | "yes" | "on" | "y" | "enabled") => true,
        Some(_) => {
            faults.push(Fault::new(
                "invalid_value",
                "Invalid input: expected true or false",
                "x-async",
            ));
            false
        }
    };
    let retries = match text("x-max-retries") {
        None | Some("") => 0,
        Some(number) => number.parse().unwrap_or(u32::MAX),
    };
    if retries > ASYNC_RETRIES_MAX {
        let message = format!("Invalid input: expected an integer from 0 to {ASYNC_RETRIES_MAX}");
        faults.push(Fault::new("invalid_type", message, "x-max-retries"));
    }
    if !faults.is_empty() {
        return Err(ApiError::faults("invalid_headers", faults));
    }
    if is_async {
        return Err(ApiError::not_implemented(
            "The header X-Async: true (running an action in the background)",
        ));
    }
    if retries > 0 {
        return Err(ApiError::not_implemented(
            "The header X-Max-Retries (running a failed action again)",
        ));
    }
    Ok(())
}

fn trigger_error(error: InvokeError) -> ApiError {
    match error {
        InvokeError::Connections(error @ ConnectionsError::UnknownIntegration { .. }) => {
            ApiError::new(StatusCode::BAD_REQUEST, "unknown_provider", error.to_string())
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

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
    async fn asking_for_the_background_is_refused_loudly() {
        let headers = |name: &'static str, value| {
            HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static(value))])
        };
        assert!(refuse_async(&HeaderMap::new()).is_ok());
        assert!(refuse_async(&headers("x-async", "false")).is_ok());
        assert!(refuse_async(&headers("x-max-retries", "0")).is_ok());
        assert_eq!(
            rendered(refuse_async(&headers("x-async", "True")).unwrap_err()).await,
            r#"501 {"error":{"code":"not_implemented","message":"The header X-Async: true (running an action in the background) is not supported by this version of nango-runtime; send the request without it"}}"#
        );
        assert!(
            rendered(refuse_async(&headers("x-max-retries", "3")).unwrap_err())
                .await
                .starts_with("501 ")
        );
        assert!(
            rendered(refuse_async(&headers("x-max-retries", "6")).unwrap_err())
                .await
                .starts_with("400 ")
        );
        assert!(
            rendered(refuse_async(&headers("x-async", "maybe")).unwrap_err())
                .await
                .starts_with("400 ")
        );
    }
}

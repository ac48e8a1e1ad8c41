//! What the caller is told of a run: the error table of the public API. Pure: takes how a call ended, gives output or error.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use wasmtime::{Trap, WasmBacktrace};

use super::ComponentError;
use super::call::Ended;
use super::slots::SlotError;
use crate::config::Limits;
use crate::connections::RunMasker;
use crate::host::{Error, GuestState, Suspended};
use crate::model::{FunctionKind, RunError};
use crate::schema::Part;

/// Frames of a trap that its message names.
const FRAMES_MAX: usize = 6;
/// Codes the contract allows a function to fail with.
const GUEST_CODES: [&str; 5] = [
    "action_script_runtime_error",
    "script_http_error",
    "script_network_error",
    "script_api_rate_limit_error",
    INTERNAL,
];
/// Characters of a code that the contract does not know, to be shown.
const CODE_CHARS_MAX: usize = 64;
const INTERNAL: &str = "script_internal_error";
const HTTP_ERROR: &str = "script_http_error";
const OUTPUT_TOO_LARGE: &str = "script_output_too_large";

/// How long a call may take, and what says so.
#[derive(Clone, Copy, Debug)]
pub(in crate::executor) struct TimeLimit {
    pub ms: u64,
    pub setting: Option<&'static str>,
}

impl TimeLimit {
    /// Of a run.
    pub(super) fn of(limits: &Limits, kind: FunctionKind, is_for_webhook: bool) -> Self {
        let (ms, setting) = match kind {
            FunctionKind::Action => (limits.action_timeout_ms, "limits.action_timeout_ms"),
            FunctionKind::Sync if is_for_webhook => (limits.webhook_run_timeout_ms, "limits.webhook_run_timeout_ms"),
            FunctionKind::Sync => (limits.sync_timeout_ms, "limits.sync_timeout_ms"),
            FunctionKind::OnEvent => (limits.on_event_timeout_ms, "limits.on_event_timeout_ms"),
        };
        let setting = Some(setting);
        Self { ms, setting }
    }
}

pub(super) fn of_run(
    ended: Ended,
    state: &mut GuestState,
    kind: FunctionKind,
    time: TimeLimit,
    limits: &Limits,
) -> Result<String, RunError> {
    match ended {
        Ended::Returned(Ok(output)) => match kind {
            FunctionKind::Action => {
                let output = of_output(output, limits.action_output_bytes)?;
                match state.schemas().map(|schemas| schemas.check(Part::Output, &output)) {
                    None | Some(Ok(())) => Ok(output),
                    Some(Err(faults)) => Err(unfit_output(&faults)),
                }
            }
            // What these give is ignored: the output of a sync are its records, and nobody waits for one of an event.
            FunctionKind::Sync | FunctionKind::OnEvent => Ok("null".to_owned()),
        },
        Ended::Returned(Err(error)) => Err(of_error(error, limits.action_output_bytes)),
        Ended::Trapped(trap) => Err(of_trap(&trap, state, limits.action_output_bytes)),
        Ended::TimedOut => {
            let setting = time.setting.map_or_else(String::new, |setting| format!(" ({setting})"));
            let message = format!("the function did not end within {} ms{setting}", time.ms);
            Err(error("execution_timeout", message))
        }
        Ended::Stopped => Err(stopped()),
        Ended::Cancelled => Err(cancelled()),
    }
}

fn of_output(output: String, bytes_max: usize) -> Result<String, RunError> {
    if output.len() > bytes_max {
        let message = format!(
            "the output has {} bytes; at most {bytes_max} are allowed (limits.action_output_bytes)",
            output.len()
        );
        return Err(error(OUTPUT_TOO_LARGE, message));
    }
    match serde_json::from_str::<&RawValue>(&output) {
        Ok(_) => Ok(output),
        Err(fault) => Err(error(
            INTERNAL,
            format!("the function gave an output that is no JSON: {fault}"),
        )),
    }
}

/// With the faults as payload, each with its place.
fn unfit_output(faults: &[String]) -> RunError {
    let payload: Vec<Value> = faults.iter().map(|fault| json!({ "message": fault })).collect();
    RunError {
        code: "invalid_action_output".to_owned(),
        message: format!(
            "the output does not fit the schema that the function declares: {}",
            faults.join("; ")
        ),
        payload: raw(&Value::Array(payload)),
        upstream: None,
    }
}

/// An error the function returned.
fn of_error(guest: Error, payload_bytes_max: usize) -> RunError {
    let Error { code, message, details } = guest;
    if !GUEST_CODES.contains(&code.as_str()) {
        return of_unknown_error(&code, message);
    }
    let detail = |name: &str| {
        let (_, text) = details.iter().find(|(key, _)| key == name)?;
        if text.len() > payload_bytes_max {
            return Some(Value::String(format!("({name} of {} bytes left out)", text.len())));
        }
        // Details are JSON by contract; what is none is still worth showing.
        Some(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())))
    };
    if code == HTTP_ERROR {
        let body = detail("body").unwrap_or(Value::Null);
        let upstream = json!({
            "status": detail("status").unwrap_or(Value::Null),
            "headers": shown_headers(detail("headers")),
            "body": body,
        });
        // An upstream that wraps what it has to say in `payload` is taken at its word.
        let payload = match body.get("payload") {
            Some(payload) => payload.clone(),
            None => body,
        };
        return RunError {
            code,
            message,
            payload: raw(&payload),
            upstream: raw(&upstream),
        };
    }
    // What is no object is the message of one. (Nango compatibility.)
    let payload = match detail("payload") {
        Some(payload @ (Value::Object(_) | Value::Array(_))) => payload,
        Some(other) => json!({ "message": other }),
        None => json!({ "message": message }),
    };
    RunError {
        payload: raw(&payload),
        upstream: None,
        code,
        message,
    }
}

/// An error that the contract does not have: no function of the SDK gives one.
fn of_unknown_error(code: &str, message: String) -> RunError {
    if code.is_empty() && message.is_empty() {
        let message = "the function failed without saying why".to_owned();
        return error("unknown_empty_error", message);
    }
    let is_word = code.starts_with(|first: char| first.is_ascii_lowercase())
        && code.len() <= CODE_CHARS_MAX
        && code
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    if is_word {
        return error(&format!("unhandled_{code}"), message);
    }
    let shown: String = code.chars().take(CODE_CHARS_MAX).collect();
    error(
        "script_invalid_error",
        format!("the function failed with {shown:?}, which is no code: {message}"),
    )
}

/// Of the upstream's headers the caller gets the content type and the rate limits.
fn shown_headers(headers: Option<Value>) -> Value {
    let Some(Value::Object(headers)) = headers else {
        return Value::Object(Map::new());
    };
    let is_shown = |name: &str| {
        let name = name.to_ascii_lowercase();
        name == "content-type" || name.starts_with("x-rate")
    };
    Value::Object(headers.into_iter().filter(|(name, _)| is_shown(name)).collect())
}

fn of_trap(trap: &wasmtime::Error, state: &mut GuestState, output_bytes_max: usize) -> RunError {
    if let Some(suspended) = trap.downcast_ref::<Suspended>() {
        return error("execution_suspended", suspended.to_string());
    }
    let panic = state.log.take_panic();
    if let Some(refused_bytes) = state.limiter.refused_bytes() {
        let message = format!(
            "the function ran out of memory: it asked for {refused_bytes} bytes in all and may have {} (limits.run_memory_bytes)",
            state.limiter.bytes_max()
        );
        return error("function_runtime_out_of_memory", message);
    }
    let backtrace = trap.downcast_ref::<WasmBacktrace>();
    // wasmtime does not export the type of this error. Outside of the guest's code it can only be the output.
    let root = trap.root_cause().to_string();
    if root.contains("fuel allocated for hostcalls") {
        return match backtrace {
            Some(_) => error(
                INTERNAL,
                "the function passed too much to the host in one call".to_owned(),
            ),
            None => {
                let message =
                    format!("the output has far more than {output_bytes_max} bytes (limits.action_output_bytes)");
                error(OUTPUT_TOO_LARGE, message)
            }
        };
    }
    let reason = match (panic, trap.downcast_ref::<Trap>()) {
        (Some(panic), _) => format!("the function {panic}"),
        (None, Some(Trap::StackOverflow)) => {
            "the function's call stack is exhausted: it recurses too deeply".to_owned()
        }
        (None, Some(Trap::MemoryOutOfBounds)) => {
            // Compilers put a guest's own stack at the start of its memory, so that an overflow leaves the memory.
            "the function left its memory, as one does whose call stack is exhausted because it recurses too deeply"
                .to_owned()
        }
        (None, Some(Trap::UnreachableCodeReached)) => "the function aborted (`unreachable` was reached)".to_owned(),
        (None, Some(trap)) => format!("the function trapped: {trap}"),
        (None, None) => format!("the function was ended: {root}"),
    };
    let frames = backtrace.map(frames).unwrap_or_default();
    let message = if frames.is_empty() {
        reason
    } else {
        format!("{reason}, in {}", frames.join(" ← "))
    };
    error(INTERNAL, message)
}

/// Names of the innermost functions of the guest.
fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    let frames = backtrace.frames().iter().take(FRAMES_MAX);
    frames
        .map(|frame| match frame.func_name() {
            Some(name) => name.to_owned(),
            None => format!("function {}", frame.func_index()),
        })
        .collect()
}

pub(super) fn host_panicked() -> RunError {
    error(
        INTERNAL,
        "the runtime failed while it served the function; its log says why".to_owned(),
    )
}

pub(super) fn stopped() -> RunError {
    error(
        "script_aborted",
        "the runtime stopped before the function ended".to_owned(),
    )
}

pub(super) fn cancelled() -> RunError {
    error("script_aborted", "the run was cancelled".to_owned())
}

pub(super) fn no_slot(reason: &SlotError, kind: FunctionKind) -> RunError {
    let code = match reason {
        SlotError::TooManyWaiting { .. } | SlotError::NoneFree { .. } => "too_many_request",
        SlotError::Timeout { .. } => match kind {
            FunctionKind::Action | FunctionKind::Sync => "action_script_failure",
            FunctionKind::OnEvent => "on_event_script_failure",
        },
        SlotError::Stopping => "shutting_down",
        SlotError::Cancelled => "script_aborted",
    };
    error(code, reason.to_string())
}

pub(super) fn unavailable(reason: &ComponentError) -> RunError {
    tracing::error!(error = %reason, "A deployed component cannot be run: {reason}");
    error("function_runtime_other", reason.to_string())
}

/// The error without the secrets that an upstream may have echoed.
pub(super) fn masked(error: &RunError, masker: &RunMasker) -> RunError {
    let mask_json = |json: &Option<Box<RawValue>>| {
        let mut value: Value = serde_json::from_str(json.as_deref()?.get()).ok()?;
        masker.mask_json(&mut value);
        raw(&value)
    };
    RunError {
        code: error.code.clone(),
        message: masker.mask(&error.message).into_owned(),
        payload: mask_json(&error.payload),
        upstream: mask_json(&error.upstream),
    }
}

fn error(code: &str, message: String) -> RunError {
    RunError {
        code: code.to_owned(),
        payload: raw(&json!({ "message": message })),
        upstream: None,
        message,
    }
}

fn raw(value: &Value) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(code: &str, details: &[(&str, &str)]) -> RunError {
        let details = details
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let error = Error {
            code: code.to_owned(),
            message: "m".to_owned(),
            details,
        };
        of_error(error, 1_000)
    }

    fn text(value: Option<&RawValue>) -> &str {
        value.map_or("", RawValue::get)
    }

    #[test]
    fn a_refusal_keeps_its_payload() {
        let error = guest("action_script_runtime_error", &[("payload", r#"{"code":42}"#)]);
        assert_eq!(
            (error.code.as_str(), text(error.payload.as_deref())),
            ("action_script_runtime_error", r#"{"code":42}"#)
        );
        for (payload, told) in [
            (r#""no room""#, r#"{"message":"no room"}"#),
            ("7", r#"{"message":7}"#),
            ("null", r#"{"message":null}"#),
            ("[1]", "[1]"),
        ] {
            let error = guest("action_script_runtime_error", &[("payload", payload)]);
            assert_eq!(text(error.payload.as_deref()), told);
        }
        let bare = guest("script_network_error", &[]);
        assert_eq!(text(bare.payload.as_deref()), r#"{"message":"m"}"#);
    }

    #[test]
    fn an_upstream_error_shows_what_is_the_callers_business() {
        let headers = r#"{"content-type":"application/json","X-RateLimit-Limit":"1","set-cookie":"s"}"#;
        let error = guest(
            "script_http_error",
            &[
                ("status", "404"),
                ("headers", headers),
                ("body", r#"{"error":"not found"}"#),
            ],
        );
        assert_eq!(text(error.payload.as_deref()), r#"{"error":"not found"}"#);
        let upstream: Value = serde_json::from_str(text(error.upstream.as_deref())).unwrap();
        let expected = json!({
            "status": 404,
            "headers": {"content-type": "application/json", "X-RateLimit-Limit": "1"},
            "body": {"error": "not found"},
        });
        assert_eq!(upstream, expected);
        let wrapped = guest(
            "script_http_error",
            &[("status", "400"), ("body", r#"{"payload":[1]}"#)],
        );
        assert_eq!(text(wrapped.payload.as_deref()), "[1]");
    }

    #[test]
    fn unknown_codes_and_large_payloads_are_tamed() {
        let unknown = guest("my_code", &[]);
        assert_eq!(
            (unknown.code.as_str(), unknown.message.as_str()),
            ("unhandled_my_code", "m")
        );
        for code in ["", "My code", "a\n", &"a".repeat(CODE_CHARS_MAX + 1)] {
            assert_eq!(guest(code, &[]).code, "script_invalid_error", "{code:?}");
        }
        let large = guest("action_script_runtime_error", &[("payload", &"1".repeat(1_001))]);
        assert_eq!(
            text(large.payload.as_deref()),
            r#"{"message":"(payload of 1001 bytes left out)"}"#
        );
    }

    #[test]
    fn output_must_be_json_of_bounded_size() {
        assert_eq!(of_output("{\"a\": 1}".to_owned(), 8).unwrap(), "{\"a\": 1}");
        assert_eq!(
            of_output("{\"a\": 12}".to_owned(), 8).unwrap_err().code,
            OUTPUT_TOO_LARGE
        );
        assert_eq!(of_output("nope".to_owned(), 8).unwrap_err().code, INTERNAL);
        assert_eq!(of_output(String::new(), 8).unwrap_err().code, INTERNAL);
    }
}

//! Whether a failed attempt is made again, and when. Pure.

use serde_json::Value;

use crate::model::RunError;

/// Longest wait before an attempt.
const WAIT_MS_MAX: u64 = 600_000;

/// The wait before the next attempt; none when there is to be none. `attempts` were made. `random` spreads those that failed
/// together: half of the wait to all of it.
pub(super) fn wait_ms(
    error: &RunError,
    attempts: i64,
    retries_max: i64,
    first_wait_ms: u64,
    random: u8,
) -> Option<u64> {
    if attempts > retries_max || !may_go_away(error) {
        return None;
    }
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(30);
    let wait_ms = first_wait_ms.saturating_mul(1 << doublings).min(WAIT_MS_MAX);
    Some(wait_ms / 2 + (wait_ms / 2).saturating_mul(random.into()) / 255)
}

/// What the same input may not meet again. What the function refused, and what the provider refused for good, stays so.
fn may_go_away(error: &RunError) -> bool {
    match error.code.as_str() {
        "action_script_runtime_error"
        | "script_output_too_large"
        | "function_runtime_out_of_memory"
        | "invalid_action_input"
        | "invalid_action_output"
        | "unknown_connection"
        | "not_found" => false,
        "script_http_error" => upstream_status(error).is_none_or(|status| matches!(status, 408 | 425 | 429 | 500..)),
        _ => true,
    }
}

fn upstream_status(error: &RunError) -> Option<u64> {
    let upstream: Value = serde_json::from_str(error.upstream.as_deref()?.get()).ok()?;
    upstream.get("status")?.as_u64()
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn error(code: &str, status: Option<u16>) -> RunError {
        RunError {
            code: code.to_owned(),
            message: String::new(),
            payload: None,
            upstream: status.map(|status| RawValue::from_string(format!(r#"{{"status":{status}}}"#)).unwrap()),
        }
    }

    #[test]
    fn waits_double_and_end() {
        let network = error("script_network_error", None);
        let wait = |attempts, random| wait_ms(&network, attempts, 5, 1_000, random);
        assert_eq!(
            [wait(1, 255), wait(2, 255), wait(3, 255)],
            [Some(1_000), Some(2_000), Some(4_000)]
        );
        assert_eq!(wait(1, 0), Some(500));
        assert_eq!(wait(6, 0), None);
        assert_eq!(wait_ms(&network, 60, 99, 1_000, 255), Some(WAIT_MS_MAX));
        assert_eq!(wait_ms(&network, 1, 0, 1_000, 0), None);
    }

    #[test]
    fn what_stays_wrong_is_not_repeated() {
        let repeated = |code, status| wait_ms(&error(code, status), 1, 5, 1_000, 0).is_some();
        assert!(repeated("script_http_error", Some(503)));
        assert!(repeated("script_http_error", Some(429)));
        assert!(!repeated("script_http_error", Some(404)));
        assert!(!repeated("action_script_runtime_error", None));
        assert!(!repeated("script_output_too_large", None));
        assert!(repeated("execution_timeout", None));
        assert!(repeated("script_internal_error", None));
    }
}

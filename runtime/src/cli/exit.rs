//! Exit codes. They are documented in `--help` and scripts rely on them.

use super::client::ClientError;
use super::input::InputError;
use crate::config::ConfigError;
use crate::telemetry::TelemetryError;

/// The server, a function or a build says no, or the server cannot start.
pub const FAILED: u8 = 1;
/// Wrong arguments, settings or input; nothing was tried. What clap uses too.
pub const USAGE: u8 = 2;
/// No server answers.
pub const UNREACHABLE: u8 = 3;
/// No API key, or the server refuses it.
pub const UNAUTHORIZED: u8 = 4;

/// The exit code an error means.
#[must_use]
pub fn code(error: &anyhow::Error) -> u8 {
    if let Some(error) = error.downcast_ref::<ClientError>() {
        return match error {
            ClientError::Unreachable { .. } | ClientError::Interrupted { .. } => UNREACHABLE,
            ClientError::NoKey | ClientError::BadKey | ClientError::Unauthorized { .. } => UNAUTHORIZED,
            ClientError::BadHostport { .. } | ClientError::TooMuchInHostport | ClientError::BadHeader { .. } => USAGE,
            // The server knows which values of an option there are; it has read nothing but them.
            ClientError::Refused { code, .. }
                if ["invalid_query_params", "unknown_capability"].contains(&code.as_str()) =>
            {
                USAGE
            }
            ClientError::Setup(_)
            | ClientError::Refused { .. }
            | ClientError::NotOurs { .. }
            | ClientError::TooLarge => FAILED,
        };
    }
    if error.is::<ConfigError>() || error.is::<TelemetryError>() || error.is::<InputError>() {
        return USAGE;
    }
    FAILED
}

/// Whether whoever read our output went away: no error, as with `… | head`.
#[must_use]
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// What sets a hint apart from the message it belongs to.
const HINT: &str = "\nhint: ";

/// An error for people: what failed, why, and what to do.
#[must_use]
pub fn error_text(error: &anyhow::Error) -> String {
    let (message, hint) = split_hint(error);
    let mut text = format!("error: {message}\n");
    for cause in causes(error) {
        text.push_str(&format!("  cause: {cause}\n"));
    }
    if let Some(hint) = hint {
        text.push_str(&format!("hint: {hint}\n"));
    }
    text
}

/// An error for machines: one object in one line.
#[must_use]
pub fn error_json(error: &anyhow::Error, exit_code: u8) -> serde_json::Value {
    let (message, hint) = split_hint(error);
    let (status, answer) = match error.downcast_ref::<ClientError>() {
        Some(ClientError::Refused { status, answer, .. }) => (Some(status.as_u16()), Some(answer)),
        Some(_) | None => (None, None),
    };
    serde_json::json!({"error": {
        "message": message, "hint": hint, "causes": causes(error), "exit_code": exit_code,
        "status": status, "answer": answer,
    }})
}

fn split_hint(error: &anyhow::Error) -> (String, Option<String>) {
    let text = error.to_string();
    if let Some(ClientError::Refused { code, .. }) = error.downcast_ref::<ClientError>()
        && code == "connection_test_failed"
    {
        let hint = "to store credentials without trying them, start the server with NANGO_VERIFY_CONNECTIONS=false";
        return (text, Some(hint.to_owned()));
    }
    match text.split_once(HINT) {
        Some((message, hint)) => (message.to_owned(), Some(hint.to_owned())),
        None => (text, None),
    }
}

/// Causes that say something new.
fn causes(error: &anyhow::Error) -> Vec<String> {
    // Between "no server answers" and "connection refused" the HTTP client has three ways of saying "it failed".
    if error.is::<ClientError>() {
        return error
            .chain()
            .skip(1)
            .last()
            .map(ToString::to_string)
            .into_iter()
            .collect();
    }
    let mut last = error.to_string();
    let mut causes = Vec::new();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Many libraries repeat their cause in their own message.
        if !last.contains(&cause) {
            causes.push(cause.clone());
        }
        last = cause;
    }
    causes
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn codes_survive_context() {
        let check = |error: anyhow::Error, expected| assert_eq!(code(&error), expected, "{error:#}");
        check(anyhow::anyhow!("x"), FAILED);
        check(ClientError::NoKey.into(), UNAUTHORIZED);
        check(ClientError::TooLarge.into(), FAILED);
        check(ClientError::BadHostport { value: "x".into() }.into(), USAGE);
        let refused = |code: &str| ClientError::Refused {
            status: http::StatusCode::BAD_REQUEST,
            code: code.into(),
            message: "x".into(),
            answer: serde_json::Value::Null,
        };
        check(refused("invalid_query_params").into(), USAGE);
        check(refused("unknown_capability").into(), USAGE);
        check(refused("action_script_failure").into(), FAILED);
        check(InputError::Empty { what: "--token" }.into(), USAGE);
        let unknown = ConfigError::UnknownVariable {
            name: "NANGO_X".into(),
            suggestion: Some("NANGO_Y".into()),
        };
        check(Err::<(), _>(unknown).context("while starting").unwrap_err(), USAGE);
    }

    #[test]
    fn causes_are_shown_once() {
        let inner = std::io::Error::other("disk full");
        let error = anyhow::Error::new(inner)
            .context("cannot write x")
            .context("cannot build");
        assert_eq!(
            error_text(&error),
            "error: cannot build\n  cause: cannot write x\n  cause: disk full\n"
        );
        let error = anyhow::anyhow!("disk full").context("cannot write x: disk full");
        assert_eq!(error_text(&error), "error: cannot write x: disk full\n");
    }

    #[test]
    fn a_hint_comes_last() {
        let error = anyhow::anyhow!("in use").context("cannot listen\nhint: choose another");
        assert_eq!(
            error_text(&error),
            "error: cannot listen\n  cause: in use\nhint: choose another\n"
        );
        assert_eq!(error_json(&error, FAILED)["error"]["hint"], "choose another");
    }

    #[test]
    fn machines_get_the_answer_of_the_server() {
        let refused = ClientError::Refused {
            status: http::StatusCode::NOT_FOUND,
            code: "not_found".into(),
            message: "Action not found".into(),
            answer: serde_json::json!({"error": {"code": "not_found"}}),
        };
        let json = error_json(&refused.into(), FAILED);
        assert_eq!(json["error"]["status"], 404);
        assert_eq!(json["error"]["answer"]["error"]["code"], "not_found");
        assert_eq!(json["error"]["exit_code"], 1);
    }

    #[test]
    fn a_closed_pipe_is_recognised() {
        let error: anyhow::Error = std::io::Error::from(std::io::ErrorKind::BrokenPipe).into();
        assert!(is_broken_pipe(&error));
        assert!(!is_broken_pipe(&anyhow::anyhow!("x")));
    }
}

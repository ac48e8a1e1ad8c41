//! What functions may be called and may declare. Pure; the message names the function and says what to change.

use std::collections::HashSet;

use serde_json::Value;

use super::{DeployError, frequency};
use crate::model::{FunctionKind, FunctionManifest, MODELS_MAX, Manifest};
use crate::schema;

/// Functions of one component.
const FUNCTIONS_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 255;
/// Events of providers' webhooks that one sync handles by their names.
const SUBSCRIPTIONS_MAX: usize = 100;
const DESCRIPTION_CHARS_MAX: usize = 2_000;

pub(super) fn check(manifest: &Manifest) -> Result<(), DeployError> {
    let of_all = |message: String| fault("the component", message);
    match manifest.functions.len() {
        0 => {
            return Err(of_all(
                "it describes no function: export at least one action, sync or on-event function".to_owned(),
            ));
        }
        count if count > FUNCTIONS_MAX => {
            return Err(of_all(format!(
                "it describes {count} functions; at most {FUNCTIONS_MAX} are allowed"
            )));
        }
        _ => {}
    }
    let mut names = HashSet::new();
    for function in &manifest.functions {
        check_function(function)
            .map_err(|message| fault(&format!("{} {:?}", function.kind.as_str(), function.name), message))?;
        if !names.insert(function.name.as_str()) {
            return Err(fault(
                &format!("{:?}", function.name),
                "two functions of the component have this name".to_owned(),
            ));
        }
    }
    Ok(())
}

fn fault(function: &str, message: String) -> DeployError {
    DeployError::Manifest {
        function: function.to_owned(),
        message,
    }
}

fn check_function(function: &FunctionManifest) -> Result<(), String> {
    if !is_name(&function.name) || function.name.len() > NAME_BYTES_MAX {
        return Err(format!(
            "a function's name has 1 to {NAME_BYTES_MAX} letters, digits, `_` and `-`"
        ));
    }
    let chars = function.description.chars().count();
    if chars > DESCRIPTION_CHARS_MAX {
        return Err(format!(
            "the description has {chars} characters; at most {DESCRIPTION_CHARS_MAX} are allowed"
        ));
    }
    match function.kind {
        FunctionKind::Sync => check_sync(function)?,
        FunctionKind::Action => check_action(function)?,
        FunctionKind::OnEvent => check_on_event(function)?,
    }
    if function.event.is_some() && function.kind != FunctionKind::OnEvent {
        let an = function.kind.an();
        return Err(format!("{an} has no event: only on-event functions run for one"));
    }
    if let Some(hosts) = &function.fetch {
        hosts.check()?;
    }
    let schemas = [
        ("input", &function.input),
        ("output", &function.output),
        ("metadata", &function.metadata),
        ("checkpoint", &function.checkpoint),
    ];
    for (name, schema) in schemas {
        if let Some(schema) = schema {
            check_schema(name, schema)?;
        }
    }
    Ok(())
}

fn check_action(function: &FunctionManifest) -> Result<(), String> {
    if function.frequency.is_some() {
        return Err(
            "an action has no frequency: it runs when it is called; make it a sync, or leave it out".to_owned(),
        );
    }
    if !function.models.is_empty() {
        return Err("an action has no models: only syncs write records".to_owned());
    }
    if !function.webhook_subscriptions.is_empty() {
        return Err("an action has no webhook_subscriptions: only syncs handle webhooks".to_owned());
    }
    Ok(())
}

fn check_on_event(function: &FunctionManifest) -> Result<(), String> {
    if function.event.is_none() {
        return Err(
            "an on-event function needs an `event`: validate-connection, post-connection-creation or pre-connection-deletion"
                .to_owned(),
        );
    }
    if function.input.is_some() || function.output.is_some() {
        return Err(
            "an on-event function has no input and no output: nobody gives it one or reads the other".to_owned(),
        );
    }
    if function.frequency.is_some() {
        return Err("an on-event function has no frequency: it runs when its event happens".to_owned());
    }
    if !function.models.is_empty() {
        return Err("an on-event function has no models: only syncs write records".to_owned());
    }
    Ok(())
}

fn check_sync(function: &FunctionManifest) -> Result<(), String> {
    if let Some(text) = &function.frequency {
        frequency::parse(text).map(drop).map_err(|error| error.to_string())?;
    }
    check_subscriptions(&function.webhook_subscriptions)?;
    let count = function.models.len();
    if count > MODELS_MAX {
        return Err(format!("it declares {count} models; at most {MODELS_MAX} are allowed"));
    }
    for (model, schema) in &function.models {
        if !is_model(model) {
            return Err(format!(
                "the model {model:?}: a model's name begins with a capital letter, followed by letters, digits, `_` and `-` (at most \
                 {NAME_BYTES_MAX} in all)"
            ));
        }
        check_schema(&format!("model {model:?}"), schema)?;
    }
    Ok(())
}

fn check_subscriptions(events: &[String]) -> Result<(), String> {
    if events.len() > SUBSCRIPTIONS_MAX {
        return Err(format!(
            "it subscribes to {} events; at most {SUBSCRIPTIONS_MAX} are allowed, and `*` is all",
            events.len()
        ));
    }
    match events
        .iter()
        .find(|event| event.is_empty() || event.len() > NAME_BYTES_MAX)
    {
        Some(event) => Err(format!(
            "the event {:?} of webhook_subscriptions: an event's name has 1 to {NAME_BYTES_MAX} bytes",
            event.chars().take(64).collect::<String>()
        )),
        None => Ok(()),
    }
}

fn check_schema(name: &str, schema: &Value) -> Result<(), String> {
    schema::compile(schema)
        .map(drop)
        .map_err(|reason| format!("the JSON Schema of {name} cannot be used: {reason}"))
}

/// `^[a-zA-Z0-9_-]+$`
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// `^[A-Z][a-zA-Z0-9_-]+$`
fn is_model(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.len() > 1
        && name.len() <= NAME_BYTES_MAX
        && is_name(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(functions: &Value) -> String {
        let manifest: Manifest = serde_json::from_value(json!({ "functions": functions })).unwrap();
        check(&manifest).unwrap_err().to_string()
    }

    #[test]
    fn takes_a_good_one() {
        let functions = json!([
            {"name": "create-issue", "kind": "action", "input": {"type": "object"}, "output": true},
            {"name": "issues", "kind": "sync", "frequency": "every hour", "models": {"Issue": {"type": "object"}}},
            {"name": "greet", "kind": "on-event", "event": "post-connection-creation", "checkpoint": {"type": "object"}},
        ]);
        let manifest: Manifest = serde_json::from_value(json!({ "functions": functions })).unwrap();
        check(&manifest).unwrap();
    }

    #[test]
    fn names_function_and_fault() {
        assert_eq!(
            fault(&json!([])),
            "the component: it describes no function: export at least one action, sync or on-event function"
        );
        assert_eq!(
            fault(&json!([{"name": "a b", "kind": "action"}])),
            "action \"a b\": a function's name has 1 to 255 letters, digits, `_` and `-`"
        );
        assert_eq!(
            fault(&json!([{"name": "a", "kind": "action"}, {"name": "a", "kind": "sync"}])),
            "\"a\": two functions of the component have this name"
        );
        assert!(
            fault(&json!([{"name": "a", "kind": "action", "frequency": "every hour"}]))
                .contains("an action has no frequency")
        );
        assert_eq!(
            fault(&json!([{"name": "a", "kind": "sync", "frequency": "every 5s"}])),
            "sync \"a\": the frequency \"every 5s\" is too short: a sync runs every 30 seconds at most"
        );
        assert!(
            fault(&json!([{"name": "a", "kind": "sync", "models": {"issue": {}}}]))
                .contains("the model \"issue\": a model's name begins")
        );
        for (function, message) in [
            (
                json!({"name": "a", "kind": "on-event"}),
                "an on-event function needs an `event`",
            ),
            (
                json!({"name": "a", "kind": "action", "event": "validate-connection"}),
                "an action has no event",
            ),
            (
                json!({"name": "a", "kind": "on-event", "event": "validate-connection", "input": true}),
                "an on-event function has no input",
            ),
            (
                json!({"name": "a", "kind": "on-event", "event": "validate-connection", "models": {"Issue": {}}}),
                "an on-event function has no models",
            ),
        ] {
            let fault = fault(&json!([function]));
            assert!(fault.contains(message), "{fault}");
        }
        let bad_schema = fault(&json!([{"name": "a", "kind": "action", "input": {"type": 5}}]));
        assert!(
            bad_schema.starts_with("action \"a\": the JSON Schema of input cannot be used: "),
            "{bad_schema}"
        );
        let long = "x".repeat(2_001);
        assert!(
            fault(&json!([{"name": "a", "kind": "action", "description": long}]))
                .contains("the description has 2001 characters")
        );
    }
}

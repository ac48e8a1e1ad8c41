//! Calling other functions, locks, and ending in time.

use std::time::Duration;

use nango_guest_sdk::prelude::*;

#[derive(Deserialize, JsonSchema)]
pub struct Call {
    action: String,
    input: Value,
    /// Provider-config-key and connection-id.
    elsewhere: Option<(String, String)>,
}

/// Calls another action and gives what it gave, or the code of its error.
#[action]
pub fn call(nango: &Nango, input: Call) -> Result<Value, ActionError> {
    let called: Result<Value, Error> = match &input.elsewhere {
        Some((key, connection)) => nango
            .elsewhere(key, connection)
            .trigger_action(&input.action, &input.input),
        None => nango.trigger_action(&input.action, &input.input),
    };
    Ok(match called {
        Ok(output) => json!({"output": output}),
        Err(Error::Host { source, .. }) => json!({"code": source.code, "details": source.details}),
        Err(error) => return Err(error.into()),
    })
}

/// Calls another action, and fails when it does.
#[action]
pub fn call_through(nango: &Nango, input: Call) -> Result<Value, ActionError> {
    let output: Value = match &input.elsewhere {
        Some((key, connection)) => nango
            .elsewhere(key, connection)
            .trigger_action(&input.action, &input.input)?,
        None => nango.trigger_action(&input.action, &input.input)?,
    };
    Ok(output)
}

#[derive(Deserialize, JsonSchema)]
pub struct Sync {
    sync: String,
}

/// Has a sync run.
#[action]
pub fn call_sync(nango: &Nango, input: Sync) -> Result<(), ActionError> {
    Ok(nango.trigger_sync(&input.sync)?)
}

#[derive(Deserialize, JsonSchema)]
pub struct Lock {
    key: String,
    ttl_ms: u64,
    hold_ms: u64,
    release: bool,
}

/// Tries to take a lock and holds it for a while.
#[action]
pub fn lock(nango: &Nango, input: Lock) -> Result<Value, ActionError> {
    let taken = nango.try_lock(&input.key, Duration::from_millis(input.ttl_ms))?;
    nango.sleep(Duration::from_millis(input.hold_ms));
    let released = input.release.then(|| nango.release_lock(&input.key)).transpose()?;
    Ok(json!({"taken": taken, "released": released}))
}

#[derive(Deserialize, JsonSchema)]
pub struct Rest {
    ms: u64,
}

/// Does nothing for a while.
#[action]
pub fn rest(nango: &Nango, input: Rest) -> Result<Value, ActionError> {
    nango.sleep(Duration::from_millis(input.ms));
    Ok(json!({"rested": input.ms}))
}

/// Works until it is told to stop, and says why and how much time was left.
#[action]
pub fn until_told(nango: &Nango) -> Result<Value, ActionError> {
    loop {
        if let Some(reason) = nango.stop_reason() {
            return Ok(json!({"reason": reason, "left_ms": nango.remaining().as_millis() as u64}));
        }
        nango.sleep(Duration::from_millis(5));
    }
}

/// Gives nothing.
#[action]
pub fn nothing(_nango: &Nango) -> Result<(), ActionError> {
    Ok(())
}

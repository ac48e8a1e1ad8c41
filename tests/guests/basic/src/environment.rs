//! The environment's variables.

use nango_guest_sdk::prelude::*;

#[derive(Deserialize, JsonSchema)]
pub struct Ask {
    /// All of them when none.
    name: Option<String>,
    /// Tells the values to the log.
    #[serde(default)]
    log: bool,
    /// Sends the value in the query and a header of a request to this path.
    send_to: Option<String>,
    /// Fails with the value in the message.
    #[serde(default)]
    fail: bool,
}

/// Gives variables, and says them wherever it is told to.
#[action]
pub fn variables(nango: &Nango, input: Ask) -> Result<Value, ActionError> {
    let Some(name) = &input.name else {
        let all = nango.environment_variables()?;
        if input.log {
            nango.log(Level::Info, format!("all: {all:?}"), &[("all", json!(all))]);
        }
        return Ok(json!(all));
    };
    let value = nango.environment_variable(name)?;
    let text = value.clone().unwrap_or_default();
    if input.log {
        nango.log(Level::Info, format!("{name} is {text}"), &[("value", json!(text))]);
    }
    if let Some(path) = &input.send_to {
        nango.get(path).query("value", &text).header("x-value", &text).send()?;
    }
    if input.fail {
        return Err(ActionError::new(json!({"message": format!("{name} is {text}")})));
    }
    Ok(json!({"value": value}))
}

//! Checkpoints, allowed ones and others.

use nango_guest_sdk::prelude::*;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Get,
    Save(Value),
    Clear,
}

/// Does its steps and gives the checkpoint there is at the end.
#[action]
pub fn checkpoint(nango: &Nango, input: Vec<Step>) -> Result<Option<Value>, ActionError> {
    for step in input {
        match step {
            Step::Get => drop(nango.checkpoint::<Value>()?),
            Step::Save(value) => nango.save_checkpoint(&value)?,
            Step::Clear => nango.clear_checkpoint()?,
        }
    }
    Ok(nango.checkpoint()?)
}

/// Saves more than a checkpoint can be.
#[action]
pub fn big_checkpoint(nango: &Nango) -> Result<(), ActionError> {
    nango.save_checkpoint(&json!({"position": "x".repeat(5_000)}))?;
    Ok(())
}

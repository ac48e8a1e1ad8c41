//! The smallest action: what a run costs beside the work of the function.

use nango_guest_sdk::prelude::*;

/// Answers at once.
#[action]
fn noop(_nango: &Nango) -> Result<Value, ActionError> {
    Ok(json!({"ok": true}))
}

nango_guest_sdk::functions!(noop);

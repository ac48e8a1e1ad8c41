//! {{name}}: one action, to begin with.

use nango_guest_sdk::prelude::*;

/// What the caller gives.
#[derive(Deserialize, JsonSchema)]
struct Input {
    /// Which item.
    id: String,
}

/// What the caller gets.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Item {
    id: String,
    name: String,
}

/// Gets one item.
#[action]
fn {{ident}}(nango: &Nango, input: Input) -> Result<Item, ActionError> {
    if input.id.is_empty() {
        return Err(ActionError::new("which item? `id` is empty"));
    }
    // The host adds the connection's credentials to the request, and asks again when the provider fails for a moment.
    let answer = nango.get(format!("/items/{}", input.id)).retries(3).send()?;
    Ok(answer.json()?)
}

nango_guest_sdk::functions!({{ident}});

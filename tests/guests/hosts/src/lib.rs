//! Actions that say which hosts they fetch from, and one that says nothing.

use nango_guest_sdk::prelude::*;

#[derive(Deserialize, JsonSchema)]
struct Ask {
    url: String,
}

fn fetch(nango: &Nango, url: &str) -> Result<Value, ActionError> {
    match nango.fetch(url).send_any() {
        Ok(answer) => Ok(json!({"status": answer.status(), "body": answer.text()?})),
        Err(Error::Network { source, .. }) => Ok(json!({"code": source.code, "message": source.message})),
        Err(error) => Err(error.into()),
    }
}

/// Fetches from the host that it names, and below another.
#[action(fetch("127.0.0.1", "*.example.org"))]
fn named(nango: &Nango, input: Ask) -> Result<Value, ActionError> {
    fetch(nango, &input.url)
}

/// Says nothing of hosts, in a component in which others do.
#[action]
fn unnamed(nango: &Nango, input: Ask) -> Result<Value, ActionError> {
    fetch(nango, &input.url)
}

nango_guest_sdk::functions!(named, unnamed);

//! What a component has to be given at its deploy, and what else it may know of connection and integration.

use std::collections::BTreeMap;

use nango_guest_sdk::prelude::*;

#[derive(Deserialize, JsonSchema)]
struct Tell {
    /// Tells the token to the log.
    #[serde(default)]
    log: bool,
    /// Sends it in the query and a header of a request to this path.
    send_to: Option<String>,
    /// Fetches this URL with it in the query.
    fetch: Option<String>,
    /// Fails with it in the message.
    #[serde(default)]
    fail: bool,
    /// Asks so often.
    times: Option<u32>,
}

/// Gives the connection's token, and says it wherever it is told to.
#[action]
fn reveal(nango: &Nango, input: Tell) -> Result<Value, ActionError> {
    for _ in 1..input.times.unwrap_or(1) {
        let _: Value = nango.token()?;
    }
    let token: Value = nango.token()?;
    let text = token.as_str().map_or_else(|| token.to_string(), str::to_owned);
    if input.log {
        nango.log(Level::Info, format!("the token is {text}"), &[("token", token.clone())]);
    }
    if let Some(path) = &input.send_to {
        nango.get(path).query("value", &text).header("x-value", &text).send()?;
    }
    if let Some(url) = &input.fetch {
        nango.fetch(url).query("value", &text).header("x-value", &text).send()?;
    }
    if input.fail {
        return Err(ActionError::new(json!({"message": format!("the token is {text}")})));
    }
    Ok(token)
}

/// Gives what another connection's `reveal` gives, and tells it to the log.
#[action]
fn reveal_elsewhere(nango: &Nango, input: Value) -> Result<Value, ActionError> {
    let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
    let (integration, connection) = (text("integration"), text("connection"));
    let elsewhere = nango.elsewhere(&integration, &connection);
    let token: Value = elsewhere.trigger_action("reveal", &json!({}))?;
    nango.info(format!("the other token is {token}"));
    Ok(token)
}

#[derive(Deserialize, JsonSchema)]
struct Ask {
    url: String,
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    query: BTreeMap<String, String>,
    json: Option<Value>,
}

/// Fetches a URL and gives what came back.
#[action]
fn fetch_url(nango: &Nango, input: Ask) -> Result<Value, ActionError> {
    let mut request = nango.fetch(&input.url).method(input.method.as_deref().unwrap_or("GET"));
    for (name, value) in &input.headers {
        request = request.header(name, value);
    }
    for (name, value) in &input.query {
        request = request.query(name, value);
    }
    if let Some(body) = &input.json {
        request = request.json(body)?;
    }
    match request.send_any() {
        Ok(answer) => Ok(json!({
            "status": answer.status(), "body": answer.text()?, "type": answer.header("content-type"),
        })),
        Err(Error::Network { source, .. }) => Ok(json!({"code": source.code, "message": source.message})),
        Err(error) => Err(error.into()),
    }
}

/// What the function may know of its integration and its connection.
#[action]
fn about(nango: &Nango) -> Result<Value, ActionError> {
    let integration: Value = nango.integration()?;
    let connection: Value = nango.connection().details()?;
    Ok(json!({"integration": integration, "connection": connection}))
}

nango_guest_sdk::functions!(reveal, reveal_elsewhere, fetch_url, about);

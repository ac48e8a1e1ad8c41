//! One function or two for each thing that happens to a connection. The upstream decides what they make of it.

use nango_guest_sdk::prelude::*;

/// Refuses what the upstream tells it to.
fn check(nango: &Nango, path: &str) -> Result<(), ActionError> {
    let answer: Value = nango.get(path).send()?.json()?;
    match answer.get("refuse") {
        Some(payload) => Err(ActionError::new(payload.clone())),
        None => Ok(()),
    }
}

/// Is asked second: names decide, not places.
#[on_event(validate_connection)]
fn b_check(nango: &Nango) -> Result<(), ActionError> {
    check(nango, "/check/b")
}

/// Is asked first.
#[on_event(validate_connection)]
fn a_check(nango: &Nango) -> Result<(), ActionError> {
    check(nango, "/check/a")
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Greetings {
    count: u32,
}

/// Greets whoever was connected, and keeps that it did.
#[on_event(post_connection_creation, checkpoint = Greetings)]
fn greet(nango: &Nango) -> Result<(), ActionError> {
    nango.get("/greet").send()?;
    let before = nango.checkpoint::<Greetings>()?.map_or(0, |greetings| greetings.count);
    nango.save_checkpoint(&Greetings { count: before + 1 })?;
    nango.connection().update_metadata(&json!({"greetings": before + 1}))?;
    Ok(())
}

/// Says goodbye.
#[on_event(pre_connection_deletion)]
fn say_goodbye(nango: &Nango) -> Result<(), ActionError> {
    nango.get("/goodbye").send()?;
    Ok(())
}

nango_guest_sdk::functions!(b_check, a_check, greet, say_goodbye);

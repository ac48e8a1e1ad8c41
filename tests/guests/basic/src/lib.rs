//! One function for each thing a function can do, driven by its input.

mod bodies;
mod bounds;
mod calls;
mod checkpoints;
mod environment;
mod lists;
mod mirrors;
mod requests;
mod syncs;
mod tracking;

use nango_guest_sdk::prelude::*;

use bodies::{send_body, transfer};
use bounds::{bounded_output, bounded_records};
use calls::{call, call_sync, call_through, lock, nothing, rest, until_told};
use checkpoints::{big_checkpoint, checkpoint};
use environment::variables;
use lists::{list, list_items};
use mirrors::mirror;
use requests::{fetch, fetch_many, http_error, repeat, start_wait};
use syncs::{bad_record, items, pages, patient_items};
use tracking::{all_things, slow_things};

/// Answers at once.
#[action]
fn noop(_nango: &Nango) -> Result<Value, ActionError> {
    Ok(json!({"ok": true}))
}

/// Answers with its input.
#[action]
fn echo(_nango: &Nango, input: Value) -> Result<Value, ActionError> {
    Ok(input)
}

#[derive(Deserialize, JsonSchema)]
struct Greeting {
    name: String,
    times: Option<u32>,
}

/// Has an input with a schema.
#[action]
fn greet(_nango: &Nango, input: Greeting) -> Result<String, ActionError> {
    Ok(format!("hello {}", input.name).repeat(input.times.unwrap_or(1) as usize))
}

/// Fails with a payload.
#[action]
fn refuse(_nango: &Nango) -> Result<(), ActionError> {
    Err(ActionError::new(json!({"code": 42, "message": "bad thing"})))
}

/// Panics.
#[action]
fn panics(_nango: &Nango, input: Value) -> Result<(), ActionError> {
    panic!("no idea what to do with {input}");
}

/// Merges its input into the connection's metadata and gives all of it.
#[action]
fn metadata(nango: &Nango, input: Value) -> Result<Value, ActionError> {
    if input.is_object() {
        nango.connection().update_metadata(&input)?;
    }
    Ok(nango.connection().metadata()?)
}

/// Says which connection it runs for.
#[action]
fn context(nango: &Nango) -> Result<Value, ActionError> {
    let connection = nango.connection();
    Ok(json!({
        "connection_id": connection.id(),
        "provider_config_key": connection.provider_config_key(),
        "provider": connection.provider(),
        "environment": connection.environment(),
        "config": connection.config::<Value>()?,
    }))
}

#[derive(Deserialize, JsonSchema)]
struct Lines {
    n: u32,
}

/// Writes `n` lines of each level.
#[action]
fn log_lines(nango: &Nango, input: Lines) -> Result<(), ActionError> {
    for line in 0..input.n {
        for level in [Level::Debug, Level::Info, Level::Warn, Level::Error] {
            nango.log(level, format!("line {line}"), &[("line", json!(line))]);
        }
    }
    Ok(())
}

/// Time, randomness and waiting.
#[action]
fn surroundings(nango: &Nango) -> Result<Value, ActionError> {
    let before = nango.monotonic();
    nango.sleep(std::time::Duration::from_millis(20));
    let slept_ms = (nango.monotonic() - before).as_millis() as u64;
    Ok(json!({"now_ms": nango.now_ms(), "slept_ms": slept_ms, "random": nango.random_bytes(16)}))
}

nango_guest_sdk::functions!(
    noop,
    echo,
    greet,
    refuse,
    panics,
    metadata,
    context,
    log_lines,
    surroundings,
    fetch,
    fetch_many,
    start_wait,
    http_error,
    send_body,
    transfer,
    list,
    list_items,
    repeat,
    checkpoint,
    big_checkpoint,
    items,
    pages,
    patient_items,
    all_things,
    slow_things,
    mirror,
    bad_record,
    bounded_output,
    bounded_records,
    call,
    call_through,
    call_sync,
    lock,
    rest,
    until_told,
    nothing,
    variables,
);

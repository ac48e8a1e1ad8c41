//! Functions that misbehave; each must hurt only its own run.

use std::hint::black_box;
use std::time::Duration;

use nango_guest_sdk::prelude::*;

/// Loops without end.
#[action]
fn spin(_nango: &Nango) -> Result<(), ActionError> {
    let mut rounds = 0_u64;
    loop {
        rounds = black_box(rounds.wrapping_add(1));
    }
}

/// Allocates without end.
#[action]
fn allocate(_nango: &Nango) -> Result<(), ActionError> {
    let mut blocks = Vec::new();
    loop {
        blocks.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Recurses without end.
#[action]
fn recurse(_nango: &Nango) -> Result<u64, ActionError> {
    #[expect(unconditional_recursion, reason = "what this is about")]
    fn deeper(depth: u64) -> u64 {
        let frame = black_box([depth; 64]);
        black_box(deeper(frame[7].wrapping_add(1))).wrapping_add(frame[3])
    }
    Ok(deeper(black_box(0)))
}

/// Traps without a word.
#[action]
fn trap(_nango: &Nango) -> Result<(), ActionError> {
    // The only way to `unreachable` that the panic hook does not see.
    std::process::abort()
}

/// Writes a million lines.
#[action]
fn log_million(nango: &Nango) -> Result<(), ActionError> {
    for line in 0..1_000_000 {
        nango.info(format!("line {line}"));
    }
    Ok(())
}

#[derive(Deserialize, JsonSchema)]
struct Size {
    bytes: usize,
}

/// Gives an output of that size.
#[action]
fn return_bytes(_nango: &Nango, input: Size) -> Result<String, ActionError> {
    Ok("x".repeat(input.bytes))
}

/// Tries to give an output of one gigabyte.
#[action]
fn return_gigabyte(_nango: &Nango) -> Result<String, ActionError> {
    Ok("x".repeat(1 << 30))
}

#[derive(Deserialize, JsonSchema)]
struct Target {
    path: String,
}

/// Keeps every answer without end.
#[action]
fn many_handles(nango: &Nango, input: Target) -> Result<(), ActionError> {
    let mut answers = Vec::new();
    loop {
        answers.push(nango.get(input.path.as_str()).send_any()?);
    }
}

/// Starts requests without end and waits for none.
#[action]
fn many_pending(nango: &Nango, input: Target) -> Result<(), ActionError> {
    let mut requests = Vec::new();
    loop {
        requests.push(nango.start(nango.get(input.path.as_str())));
    }
}

/// Waits for a year.
#[action]
fn sleep_forever(nango: &Nango) -> Result<(), ActionError> {
    nango.sleep(Duration::from_secs(365 * 86_400));
    Ok(())
}

/// Asks for more randomness than there is at once.
#[action]
fn greedy_random(nango: &Nango) -> Result<usize, ActionError> {
    Ok(nango.random_bytes(u32::MAX).len())
}

nango_guest_sdk::functions!(
    spin,
    allocate,
    recurse,
    trap,
    log_million,
    return_bytes,
    return_gigabyte,
    many_handles,
    many_pending,
    sleep_forever,
    greedy_random,
);

//! Guests that misbehave, as component text: each must cost its own call only and leave an error that says what it did.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::clock::{Clock, Entropy};
use crate::config::Limits;
use crate::engine::{Engine, EngineOptions, MemoryLimiter};
use crate::executor::outcome::{self, TimeLimit};
use crate::host::{self, RunLog};
use crate::model::{FunctionKind, RunError};

const MEMORY_BYTES: usize = 4 << 20;
const OUTPUT_BYTES: usize = 1_000;

/// A component whose `run` does `body`, which leaves the address of a result on the stack: 0 is `{"ok":true}`, 32 is an error.
fn component(body: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
        (import "nango:functions/types@1.0.0" (instance $types
            (type $error (record (field "code" string) (field "message" string) (field "details" (list (tuple string string)))))
            (export "error" (type (eq $error)))))
        (alias export $types "error" (type $error))
        (import "nango:functions/log@1.0.0" (instance $log
            (export "write" (func (param "level" string) (param "message" string) (param "fields" (list (tuple string string)))))))
        (import "nango:functions/random@1.0.0" (instance $random
            (export "bytes" (func (param "length" u32) (result (list u8))))))
        (import "nango:functions/sleep@1.0.0" (instance $sleep
            (export "sleep-ms" (func (param "duration" u64)))))
        (import "nango:functions/connection@1.0.0" (instance $connection
            (export "connection-id" (func (result string)))))
        (core module $libc
            (memory (export "memory") 1)
            (global $next (mut i32) (i32.const 8192))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                global.get $next
                (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7)) (i32.const -8)))))
        (core instance $libc (instantiate $libc))
        (core func $write (canon lower (func $log "write") (memory $libc "memory")))
        (core func $bytes (canon lower (func $random "bytes") (memory $libc "memory") (realloc (func $libc "realloc"))))
        (core func $sleep (canon lower (func $sleep "sleep-ms")))
        (core func $id (canon lower (func $connection "connection-id") (memory $libc "memory") (realloc (func $libc "realloc"))))
        (core module $guest
            (import "host" "write" (func $write (param i32 i32 i32 i32 i32 i32)))
            (import "host" "bytes" (func $bytes (param i32 i32)))
            (import "host" "sleep" (func $sleep (param i64)))
            (import "host" "id" (func $id (param i32)))
            (import "libc" "memory" (memory 1))
            (data (i32.const 0) "\00\00\00\00\00\01\00\00\0b\00\00\00")
            (data (i32.const 32) "\01\00\00\00\10\01\00\00\1b\00\00\00\40\01\00\00\03\00\00\00\00\00\00\00\00\00\00\00")
            (data (i32.const 256) "{{\"ok\":true}}")
            (data (i32.const 272) "action_script_runtime_error")
            (data (i32.const 320) "bad")
            (data (i32.const 384) "error")
            (data (i32.const 400) "panicked at src/lib.rs:7:5: boom")
            (func $recurse (param i32) (result i32) (i32.add (i32.const 1) (call $recurse (local.get 0))))
            (func (export "describe") (result i32) {body} drop (i32.const 4))
            (func (export "run") (param i32 i32 i32 i32) (result i32) {body}))
        (core instance $guest (instantiate $guest
            (with "libc" (instance $libc))
            (with "host" (instance
                (export "write" (func $write)) (export "bytes" (func $bytes)) (export "sleep" (func $sleep)) (export "id" (func $id))))))
        (func (export "describe") (result string) (canon lift (core func $guest "describe") (memory $libc "memory")))
        (func (export "run") (param "function" string) (param "trigger" (list (tuple string string))) (result (result string (error $error)))
            (canon lift (core func $guest "run") (memory $libc "memory") (realloc (func $libc "realloc"))))
        )"#
    );
    wat::parse_str(text).unwrap()
}

struct Bench {
    engine: Engine,
    clock: Clock,
    stop: Arc<AtomicBool>,
    timeout_ms: u64,
}

impl Bench {
    fn new() -> Self {
        let options = EngineOptions {
            concurrent_runs: 4,
            run_memory_bytes: MEMORY_BYTES,
        };
        Self {
            engine: Engine::new(&options).unwrap(),
            clock: Clock::system(),
            stop: Arc::new(AtomicBool::new(false)),
            timeout_ms: 5_000,
        }
    }

    async fn run(&self, body: &str) -> Result<String, RunError> {
        let trigger = vec![
            ("kind".to_owned(), "action".to_owned()),
            ("input".to_owned(), "null".to_owned()),
        ];
        let export = Export::Run { function: "f", trigger };
        self.call(body, export).await
    }

    async fn call(&self, body: &str, export: Export<'_>) -> Result<String, RunError> {
        let component = component(body);
        crate::engine::check(&component, 1 << 20).unwrap();
        let component = self.engine.compile(&component).unwrap();
        let linked = host::linker(self.engine.wasmtime())
            .unwrap()
            .instantiate_pre(&component)
            .unwrap();
        let state = GuestState::new(
            None,
            RunLog::silent(),
            MemoryLimiter::new(MEMORY_BYTES),
            self.clock.clone(),
            Entropy::seeded(1),
            self.timeout_ms,
        );
        let Called { ended, mut state, .. } = call(Call {
            prepared: &FunctionPre::new(linked).unwrap(),
            state,
            export,
            timeout_ms: self.timeout_ms,
            stop: &self.stop,
            cancel: None,
            hostcall_bytes_max: OUTPUT_BYTES,
        })
        .await;
        let limits = limits(self.timeout_ms);
        let time = TimeLimit::of(&limits, FunctionKind::Action, false);
        outcome::of_run(ended, &mut state, FunctionKind::Action, time, &limits)
    }

    async fn fails(&self, body: &str) -> (String, String) {
        let error = self.run(body).await.unwrap_err();
        (error.code, error.message)
    }
}

fn limits(timeout_ms: u64) -> Limits {
    Limits {
        concurrent_runs: 4,
        run_memory_bytes: MEMORY_BYTES,
        action_timeout_ms: timeout_ms,
        sync_timeout_ms: timeout_ms,
        on_event_timeout_ms: timeout_ms,
        action_output_bytes: OUTPUT_BYTES,
        response_body_bytes: 1 << 20,
        request_body_bytes: 1 << 20,
        component_bytes: 1 << 20,
        run_log_messages: 10,
        run_log_bytes: 10_000,
        ..Limits::default()
    }
}

#[tokio::test]
async fn gives_output_and_error() {
    let bench = Bench::new();
    assert_eq!(bench.run("i32.const 0").await.unwrap(), "{\"ok\":true}");
    let (code, message) = bench.fails("i32.const 32").await;
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("action_script_runtime_error", "bad")
    );
    // The export gives the address of pointer and length, which are at 4.
    assert_eq!(
        bench.call("i32.const 0", Export::Describe).await.unwrap(),
        "{\"ok\":true}"
    );
}

#[tokio::test]
async fn a_loop_ends_at_the_deadline() {
    let bench = Bench {
        timeout_ms: 50,
        ..Bench::new()
    };
    let (code, message) = bench.fails("(loop $l br $l) unreachable").await;
    assert_eq!(code, "execution_timeout");
    assert_eq!(
        message,
        "the function did not end within 50 ms (limits.action_timeout_ms)"
    );
}

#[tokio::test]
async fn a_sleep_ends_at_the_deadline() {
    let bench = Bench {
        timeout_ms: 50,
        ..Bench::new()
    };
    let (code, _) = bench
        .fails("(call $sleep (i64.const 86400000)) (loop $l br $l) unreachable")
        .await;
    assert_eq!(code, "execution_timeout");
}

#[tokio::test]
async fn a_stopping_runtime_ends_a_loop() {
    let bench = Bench::new();
    bench.stop.store(true, Ordering::Release);
    assert_eq!(bench.fails("(loop $l br $l) unreachable").await.0, "script_aborted");
}

#[tokio::test]
async fn memory_without_end_is_refused() {
    let (code, message) = Bench::new()
        .fails("(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable")
        .await;
    assert_eq!(code, "function_runtime_out_of_memory");
    assert!(
        message.starts_with("the function ran out of memory: it asked for 4259840 bytes in all and may have 4194304"),
        "{message}"
    );
}

#[tokio::test]
async fn a_refused_growth_alone_is_no_failure() {
    let output = Bench::new()
        .run("(drop (memory.grow (i32.const 1000))) i32.const 0")
        .await;
    assert_eq!(output.unwrap(), "{\"ok\":true}");
}

#[tokio::test]
async fn recursion_and_traps_name_the_functions() {
    let bench = Bench::new();
    let (code, message) = bench.fails("(call $recurse (i32.const 0))").await;
    assert_eq!(code, "script_internal_error");
    assert!(
        message.starts_with("the function's call stack is exhausted: it recurses too deeply, in recurse ← recurse"),
        "{message}"
    );
    let (code, message) = bench.fails("unreachable").await;
    assert_eq!(code, "script_internal_error");
    assert!(
        message.starts_with("the function aborted (`unreachable` was reached), in "),
        "{message}"
    );
    let (_, message) = bench.fails("(i32.div_u (i32.const 1) (i32.const 0))").await;
    assert!(
        message.starts_with("the function trapped: wasm trap: integer divide by zero, in "),
        "{message}"
    );
}

#[tokio::test]
async fn a_panic_is_told_with_its_place() {
    let write = "(call $write (i32.const 384) (i32.const 5) (i32.const 400) (i32.const 32) (i32.const 0) (i32.const 0)) unreachable";
    let (code, message) = Bench::new().fails(write).await;
    assert_eq!(code, "script_internal_error");
    assert!(
        message.starts_with("the function panicked at src/lib.rs:7:5: boom, in "),
        "{message}"
    );
}

#[tokio::test]
async fn a_host_call_that_is_refused_says_why() {
    let bench = Bench::new();
    let (code, message) = bench
        .fails("(call $bytes (i32.const 65537) (i32.const 1024)) i32.const 0")
        .await;
    assert_eq!(code, "script_internal_error");
    assert!(
        message.contains("65537 random bytes at once: at most 65536 are allowed"),
        "{message}"
    );
    let (_, message) = bench.fails("(call $id (i32.const 1024)) i32.const 0").await;
    assert!(message.contains("`describe` asked for its connection"), "{message}");
}

#[tokio::test]
async fn an_output_beyond_the_limits_is_refused() {
    let bench = Bench::new();
    // 2,000 bytes of what is at 256.
    let (code, message) = bench
        .fails("(i32.store (i32.const 8) (i32.const 2000)) i32.const 0")
        .await;
    assert_eq!(code, "script_output_too_large");
    assert!(
        message.starts_with("the output has 2000 bytes; at most 1000 are allowed"),
        "{message}"
    );
    // A gigabyte that is not there.
    let (code, message) = bench
        .fails("(i32.store (i32.const 8) (i32.const 1073741824)) i32.const 0")
        .await;
    assert_eq!(code, "script_internal_error", "{message}");
}

#[tokio::test]
async fn guests_that_spin_let_others_run() {
    let bench = Bench {
        timeout_ms: 300,
        ..Bench::new()
    };
    // One thread: if the loop did not yield at each epoch, the other guest would wait for its deadline.
    let spin = bench.run("(loop $l br $l) unreachable");
    let quick = bench.run("i32.const 0");
    let (spun, quick) = tokio::join!(biased; spin, quick);
    assert_eq!(spun.unwrap_err().code, "execution_timeout");
    assert_eq!(quick.unwrap(), "{\"ok\":true}");
}

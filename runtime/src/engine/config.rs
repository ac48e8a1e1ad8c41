//! The one place that configures wasmtime: serve, deploy and tests run the same code under the same rules. Each knob says
//! why it is where it is. It does not decide between pooling and allocation on demand: [`super::Engine::new`] tries.

use std::num::NonZeroUsize;
use std::sync::Arc;

use wasmtime::{Config, Enabled, PoolingAllocationConfig, WasmBacktraceDetails};

use super::function_cache::FunctionCache;

/// What an engine is sized from.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    /// Runs at the same time. The pool is sized from this number alone.
    pub concurrent_runs: u32,
    /// The largest linear memory, in bytes. What all memories of a run may take together is kept by
    /// [`super::MemoryLimiter`].
    pub run_memory_bytes: usize,
}

/// How instances get their memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allocation {
    /// From a pool reserved at the start: an instance costs microseconds.
    Pooling,
    /// Mapped for each instance, with room for the whole 32-bit address space, so that compiled code needs no bounds checks.
    OnDemand,
    /// Mapped for each instance and no larger than needed, with bounds checks: for hosts with a small address space.
    OnDemandSmall,
}

/// The whole 32-bit address space of one linear memory: with it and the guard, a load needs no bounds check.
const FULL_RESERVATION_BYTES: u64 = 4 << 30;
/// Reserved for a memory where the address space is small; memories that grow beyond it move.
const SMALL_RESERVATION_BYTES: u64 = 16 << 20;
/// Kept in each free slot of the pool and reset by `memset` instead of `madvise`: most guests touch less.
const MEMORY_KEEP_RESIDENT_BYTES: usize = 1 << 20;
const TABLE_KEEP_RESIDENT_BYTES: usize = 64 << 10;
/// Free slots that keep their pages and their image. Bounds what an idle process holds to this many times
/// [`MEMORY_KEEP_RESIDENT_BYTES`]; the ones used last are taken first.
const WARM_SLOTS_MAX: u32 = 32;
/// Frames of a trap's backtrace.
const BACKTRACE_FRAMES_MAX: usize = 32;
/// Native stack of a guest, in bytes. The rest of the fiber's stack is for host calls.
const GUEST_STACK_BYTES: usize = 512 << 10;
const FIBER_STACK_BYTES: usize = 2 << 20;

/// Core instances of one component: interpreters that are linked dynamically bring two dozen.
const CORE_INSTANCES_PER_COMPONENT_MAX: u32 = 200;
const MEMORIES_PER_COMPONENT_MAX: u32 = 8;
const TABLES_PER_COMPONENT_MAX: u32 = 64;
const TABLE_ELEMENTS_MAX: usize = 100_000;
/// Metadata of one instance; allocated as needed, the default of 1 MiB is too small for large modules.
const INSTANCE_BYTES_MAX: usize = 10 << 20;

/// Compiled functions are looked for in `functions` and kept there.
pub(super) fn config(
    options: &EngineOptions,
    allocation: Allocation,
    functions: &Arc<FunctionCache>,
) -> wasmtime::Result<Config> {
    let mut config = Config::new();

    // Interruption: epochs cost a load and a compare for each loop and call. Fuel on top would cost as much again.
    config.epoch_interruption(true).consume_fuel(false);

    // The contract has no async types; without them their implementation is no attack surface.
    config.concurrency_support(false);
    // Proposals no toolchain of ours needs. Multi-memory must stay on: fused adapters between core modules use it.
    config
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_threads(false)
        .wasm_tail_call(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_wide_arithmetic(false)
        .wasm_stack_switching(false)
        .wasm_custom_page_sizes(false)
        .wasm_shared_everything_threads(false);

    config
        .max_wasm_stack(GUEST_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES);

    // A trap names the functions it went through. Lines would need DWARF, which deployed components rarely carry and which is
    // dear to parse.
    config
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES_MAX))
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    // Nor is it said where in a function: the map of addresses would be a ninth of all that compiled code takes, in memory and on disk.
    config.generate_address_map(false);
    // Registering unwind tables of many modules takes quadratic time, and only a native debugger would read them.
    config.native_unwind_info(false);

    // Deploying a component again compiles what changed.
    config.enable_incremental_compilation(Arc::<FunctionCache>::clone(functions))?;

    // Snapshots of language runtimes are larger than the default of 16 MiB and should still be mapped copy-on-write.
    config
        .memory_init_cow(true)
        .memory_guaranteed_dense_image_size(64 << 20);

    match allocation {
        Allocation::Pooling => {
            config.memory_reservation(FULL_RESERVATION_BYTES);
            config.allocation_strategy(pool(options));
        }
        Allocation::OnDemand => {
            config.memory_reservation(FULL_RESERVATION_BYTES);
        }
        Allocation::OnDemandSmall => {
            config
                .memory_reservation(SMALL_RESERVATION_BYTES)
                .memory_guard_size(64 << 10)
                .memory_reservation_for_growth(SMALL_RESERVATION_BYTES);
        }
    }
    Ok(config)
}

/// A pool in which `concurrent_runs` components always find room: whoever has a slot of the executor's semaphore is never
/// refused here.
fn pool(options: &EngineOptions) -> PoolingAllocationConfig {
    let runs = options.concurrent_runs.max(1);
    let mut pool = PoolingAllocationConfig::new();
    // The counts are ceilings; only memories, tables and stacks reserve address space. Two memories a run: the guest's own,
    // and the one of an adapter.
    pool.total_component_instances(runs)
        .total_core_instances(runs.saturating_mul(32))
        .total_memories(runs.saturating_mul(2))
        .total_tables(runs.saturating_mul(4))
        // A run that was given up may still hold its stack for a moment.
        .total_stacks(runs.saturating_mul(2));
    pool.max_component_instance_size(INSTANCE_BYTES_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT_MAX)
        .max_memories_per_component(MEMORIES_PER_COMPONENT_MAX)
        .max_tables_per_component(TABLES_PER_COMPONENT_MAX)
        .max_memories_per_module(2)
        .max_tables_per_module(4)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(options.run_memory_bytes);
    // Asking the kernel which pages were touched (Linux 6.7 and newer) makes a reset cost what the guest dirtied. Without that,
    // a `memset` of all that is kept would cost more than it saves for small guests, so that nothing is kept then.
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT_BYTES)
            .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES);
    }
    pool.max_unused_warm_slots(WARM_SLOTS_MAX.min(runs));
    pool
}

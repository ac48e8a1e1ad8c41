//! One call of one export in a fresh instance, with everything that bounds it: deadline, memory, what it may pass to the host. It
//! knows nothing of runs, rows or codes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wasmtime::{Store, StoreContextMut, Trap, UpdateDeadline};

use crate::host::{Error, FunctionPre, GuestState};

/// Bytes a guest may pass to the host in one call: request bodies, records, its output.
const HOSTCALL_BYTES_MAX: usize = 64 << 20;
/// Component-model handles of one run.
const GUEST_HANDLES_MAX: usize = 2_000;

/// What to call and how.
pub(super) struct Call<'a> {
    pub(super) prepared: &'a FunctionPre<GuestState>,
    pub(super) state: GuestState,
    pub(super) export: Export<'a>,
    pub(super) timeout_ms: u64,
    /// Ends the call when set.
    pub(super) stop: &'a Arc<AtomicBool>,
    /// Ends this call alone.
    pub(super) stop_one: Option<CancellationToken>,
    /// At least this much may be passed to the host.
    pub(super) hostcall_bytes_max: usize,
}

pub(super) enum Export<'a> {
    Describe,
    Run {
        function: &'a str,
        trigger: Vec<(String, String)>,
    },
}

pub(super) struct Called {
    pub(super) ended: Ended,
    pub(super) state: GuestState,
}

pub(super) enum Ended {
    Returned(Result<String, Error>),
    Trapped(wasmtime::Error),
    TimedOut,
    /// The runtime is stopping.
    Stopped,
}

pub(super) async fn call(call: Call<'_>) -> Called {
    let timeout = Duration::from_millis(call.timeout_ms);
    let stop_one = call.stop_one.clone();
    let mut store = store(
        call.prepared.engine(),
        call.state,
        call.stop,
        call.stop_one,
        call.hostcall_bytes_max,
    );
    // The timeout ends waits on the host, the epoch ends loops in the guest. It registers no timer unless the call waits.
    let invoked = tokio::time::timeout(timeout, invoke(&mut store, call.prepared, call.export));
    let ended = match &stop_one {
        Some(stop) => stop.run_until_cancelled(invoked).await,
        None => Some(invoked.await),
    };
    let Some(ended) = ended else {
        return Called {
            ended: Ended::Stopped,
            state: store.into_data(),
        };
    };
    let state = store.into_data();
    let ended = match ended {
        Ok(Ok(returned)) => Ended::Returned(returned),
        Ok(Err(error)) if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) => {
            if state.past_deadline() {
                Ended::TimedOut
            } else {
                Ended::Stopped
            }
        }
        Ok(Err(error)) => Ended::Trapped(error),
        Err(_elapsed) => Ended::TimedOut,
    };
    Called { ended, state }
}

fn store(
    engine: &wasmtime::Engine,
    state: GuestState,
    stop: &Arc<AtomicBool>,
    stop_one: Option<CancellationToken>,
    hostcall_bytes_max: usize,
) -> Store<GuestState> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(HOSTCALL_BYTES_MAX.max(hostcall_bytes_max.saturating_mul(2)));
    store.set_max_component_handles(GUEST_HANDLES_MAX);
    store.set_epoch_deadline(1);
    let stop = Arc::clone(stop);
    // Touches nothing but the store's data: an instance may be interrupted half-way through a bulk operation.
    store.epoch_deadline_callback(move |store: StoreContextMut<'_, GuestState>| {
        let is_stopped = stop_one.as_ref().is_some_and(CancellationToken::is_cancelled);
        if is_stopped || stop.load(Ordering::Acquire) || store.data().past_deadline() {
            return Ok(UpdateDeadline::Interrupt);
        }
        // tokio's own yield goes to the end of the queue; wasmtime's would be polled again before other guests.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    store
}

async fn invoke(
    store: &mut Store<GuestState>,
    prepared: &FunctionPre<GuestState>,
    export: Export<'_>,
) -> wasmtime::Result<Result<String, Error>> {
    let instance = prepared.instantiate_async(&mut *store).await?;
    match export {
        Export::Describe => instance.call_describe(store).await.map(Ok),
        Export::Run { function, trigger } => instance.call_run(store, function, &trigger).await,
    }
}

#[cfg(test)]
mod tests;

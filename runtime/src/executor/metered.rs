//! Processor time of a future.

use std::pin::pin;

use rustix::time::{ClockId, clock_gettime};

/// Adds to `cpu_us` the processor time that threads spend on the future, whichever they are. Time it waits is not counted, nor is
/// what other tasks do for it: a request's connection, the database.
pub(super) async fn metered<F: Future>(future: F, cpu_us: &mut u64) -> F::Output {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        let before_us = thread_us();
        let polled = future.as_mut().poll(context);
        *cpu_us = cpu_us.saturating_add(thread_us().saturating_sub(before_us));
        polled
    })
    .await
}

/// Processor time of this thread so far (clock_getres(2), CLOCK_THREAD_CPUTIME_ID).
fn thread_us() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds_us = u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000);
    seconds_us.saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn work_counts_and_waiting_does_not() {
        let mut waited_us = 0;
        metered(tokio::time::sleep(Duration::from_millis(60)), &mut waited_us).await;
        assert!(waited_us < 30_000, "{waited_us}");
        let mut worked_us = 0;
        let work = async {
            let until_us = thread_us() + 20_000;
            while thread_us() < until_us {
                std::hint::black_box(0);
            }
        };
        metered(work, &mut worked_us).await;
        assert!(worked_us >= 20_000, "{worked_us}");
    }
}

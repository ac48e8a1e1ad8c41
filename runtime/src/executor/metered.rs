//! Processor time of a future.

use std::pin::pin;

use rustix::time::{ClockId, clock_gettime};

/// Adds to `cpu_us` the processor time that threads spend on the future, whichever they are. Time it waits is not counted, nor is
/// what other tasks do for it: a request's connection, the database.
///
/// The first poll is measured by the clock on the wall. Asking the kernel for a thread's time takes up to a microsecond, and twice that
/// is much of what a short function takes, which ends in its first poll. The two clocks differ only while the thread has to
/// share its processor, and not for long: a guest ends its poll at the next tick of the epoch.
pub(super) async fn metered<F: Future>(future: F, cpu_us: &mut u64) -> F::Output {
    let mut future = pin!(future);
    let mut clock = ClockId::Monotonic;
    std::future::poll_fn(|context| {
        let before_us = read_us(clock);
        let polled = future.as_mut().poll(context);
        *cpu_us = cpu_us.saturating_add(read_us(clock).saturating_sub(before_us));
        clock = ClockId::ThreadCPUTime;
        polled
    })
    .await
}

/// Microseconds on a clock of this thread or of the machine (clock_getres(2)).
fn read_us(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
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
        for polls in [1, 2] {
            let mut worked_us = 0;
            let work = async {
                for _ in 1..polls {
                    tokio::task::yield_now().await;
                }
                let until_us = read_us(ClockId::ThreadCPUTime) + 20_000;
                while read_us(ClockId::ThreadCPUTime) < until_us {
                    std::hint::black_box(0);
                }
            };
            metered(work, &mut worked_us).await;
            assert!(worked_us >= 20_000, "{worked_us} in {polls} polls");
        }
    }
}

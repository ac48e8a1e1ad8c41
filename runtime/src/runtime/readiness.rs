//! Whether the database answers, for those who decide where requests go. Anybody may ask, as often as he likes: the database is asked
//! once a second at most.

use tokio::sync::Mutex;

use super::Runtime;

/// How long one look at the database is told again.
const LOOK_KEPT_US: u64 = 1_000_000;

/// The last look; held while the next one is made.
#[derive(Default)]
pub(super) struct Readiness(Mutex<Option<Look>>);

#[derive(Clone, Copy)]
struct Look {
    ended_at_us: u64,
    answered: bool,
}

impl Runtime {
    /// Whether the database answers: now, or less than a second ago. The log of the process says why it does not, once when that
    /// begins, and when it ends. Whether the database can be written is in [`Runtime::log_status`].
    ///
    /// It answers within some 2 s, however many ask.
    pub async fn is_ready(&self) -> bool {
        let runtime = self.clone();
        // Whoever asked and left does not have the next one begin again.
        tokio::spawn(async move { runtime.look().await }).await.unwrap_or(false)
    }

    async fn look(&self) -> bool {
        let mut last = self.0.readiness.0.lock().await;
        if let Some(look) = *last
            && self.0.clock.monotonic_us().saturating_sub(look.ended_at_us) < LOOK_KEPT_US
        {
            return look.answered;
        }
        let probed = self.0.store.probe().await;
        let answered_before = last.is_none_or(|look| look.answered);
        match &probed {
            Err(error) if answered_before => {
                tracing::warn!(%error, "The database does not answer, so this server is not ready: {error}");
            }
            Ok(()) if !answered_before => tracing::info!("The database answers again; this server is ready"),
            Ok(()) | Err(_) => {}
        }
        let answered = probed.is_ok();
        *last = Some(Look {
            // After the wait, so that those in line behind it do not wait again.
            ended_at_us: self.0.clock.monotonic_us(),
            answered,
        });
        answered
    }
}

//! The interface `locks`: rows of the database, so that they hold across processes. The owner is the run.

use super::bindings::nango::functions::locks::Host;
use super::fault::Fault;
use super::state::{GuestState, RunFacts};

/// Characters of a key.
const KEY_CHARS_MAX: usize = 255;
/// A day.
const TTL_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

impl RunFacts {
    /// A run of a function always has an id; without one there is nobody to own a lock.
    fn owner(&self) -> Result<&str, Fault> {
        let run_id = self.ctx().run_id.as_ref();
        run_id
            .map(crate::model::RunId::as_str)
            .ok_or_else(|| Fault::trap("a run without an id asked for a lock"))
    }

    pub(super) async fn release_locks(&mut self) {
        self.holds_locks = false;
        let Ok(owner) = self.owner() else { return };
        if let Err(error) = self.services.store.release_locks(owner).await {
            tracing::warn!(run.id = owner, %error, "The locks of run {owner} were not released and end by themselves: {error}");
        }
    }
}

impl Host for GuestState {
    async fn try_acquire(&mut self, key: String, ttl_ms: u64) -> Result<bool, Fault> {
        let now_ms = self.clock.now_ms();
        let run = self.run("locks.try-acquire")?;
        check(&key)?;
        if ttl_ms == 0 || ttl_ms > TTL_MS_MAX {
            let message = format!("a lock lasts from 1 to {TTL_MS_MAX} ms, not {ttl_ms}");
            return Err(Fault::new("invalid_lock", message));
        }
        // Before it is taken: should the answer be lost, the lock is released all the same.
        run.holds_locks = true;
        let until_ms = now_ms.saturating_add(i64::try_from(ttl_ms).unwrap_or(i64::MAX));
        let environment_id = &run.ctx().environment_id;
        let store = &run.services.store;
        Ok(store
            .acquire_lock(environment_id, &key, run.owner()?, now_ms, until_ms)
            .await?)
    }

    async fn release(&mut self, key: String) -> Result<bool, Fault> {
        let now_ms = self.clock.now_ms();
        let run = self.run("locks.release")?;
        check(&key)?;
        let environment_id = &run.ctx().environment_id;
        let store = &run.services.store;
        Ok(store.release_lock(environment_id, &key, run.owner()?, now_ms).await?)
    }

    async fn release_all(&mut self) -> Result<(), Fault> {
        let run = self.run("locks.release-all")?;
        run.services.store.release_locks(run.owner()?).await?;
        run.holds_locks = false;
        Ok(())
    }
}

fn check(key: &str) -> Result<(), Fault> {
    let chars = key.chars().count();
    if chars == 0 || chars > KEY_CHARS_MAX || key.contains('\0') {
        let message = format!("the key of a lock has 1 to {KEY_CHARS_MAX} characters and no NUL; this one has {chars}");
        return Err(Fault::new("invalid_lock", message));
    }
    Ok(())
}

//! The interface `locks`: rows of the database, so that they hold across processes. The owner is the run.

use serde_json::{Value, json};

use super::bindings::nango::functions::locks::Host;
use super::fault::Fault;
use super::kept::Kept;
use super::state::{GuestState, RunFacts, Services};
use crate::model::{EnvironmentId, ExecutionContext, RunId};
use crate::recording::import;

/// Characters of a key.
const KEY_CHARS_MAX: usize = 255;
/// A day.
const TTL_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

impl Host for GuestState {
    async fn try_acquire(&mut self, key: String, ttl_ms: u64) -> Result<bool, Fault> {
        let now_ms = self.clock.now_ms();
        let run = self.run(import::TRY_ACQUIRE)?;
        check(&key)?;
        if ttl_ms == 0 || ttl_ms > TTL_MS_MAX {
            let message = format!("a lock lasts from 1 to {TTL_MS_MAX} ms, not {ttl_ms}");
            return Err(Fault::new("invalid_lock", message));
        }
        let until_ms = now_ms.saturating_add(i64::try_from(ttl_ms).unwrap_or(i64::MAX));
        let RunFacts {
            reach,
            sender,
            holds_locks,
            ..
        } = run;
        let live = async |services: &Services| {
            let (environment_id, owner) = owner(sender.ctx())?;
            // Before it is taken: should the answer be lost, the lock is released all the same.
            *holds_locks = true;
            let store = &services.store;
            Ok(store
                .acquire_lock(environment_id, &key, owner.as_str(), now_ms, until_ms)
                .await?)
        };
        let keep = |kept: &mut Kept| {
            kept.take_lock(&key);
            Ok(true)
        };
        let arguments = || json!({ "key": key, "ttl_ms": ttl_ms });
        reach.change(import::TRY_ACQUIRE, arguments, live, keep).await
    }

    async fn release(&mut self, key: String) -> Result<bool, Fault> {
        let now_ms = self.clock.now_ms();
        let run = self.run(import::RELEASE)?;
        check(&key)?;
        let live = async |services: &Services| {
            let (environment_id, owner) = owner(run.ctx())?;
            let store = &services.store;
            Ok(store.release_lock(environment_id, &key, owner.as_str(), now_ms).await?)
        };
        let keep = |kept: &mut Kept| Ok(kept.release_lock(&key));
        let arguments = || json!({ "key": key });
        run.reach.change(import::RELEASE, arguments, live, keep).await
    }

    async fn release_all(&mut self) -> Result<(), Fault> {
        let run = self.run(import::RELEASE_ALL)?;
        let RunFacts {
            reach,
            sender,
            holds_locks,
            ..
        } = run;
        let live = async |services: &Services| {
            let (_, owner) = owner(sender.ctx())?;
            services.store.release_locks(owner.as_str()).await?;
            *holds_locks = false;
            Ok(())
        };
        let keep = |kept: &mut Kept| {
            kept.release_locks();
            Ok(())
        };
        reach.change(import::RELEASE_ALL, || Value::Null, live, keep).await
    }
}

/// A run of a function always has an id; without one there is nobody to own a lock.
fn owner(ctx: &ExecutionContext) -> Result<(&EnvironmentId, &RunId), Fault> {
    let run_id = ctx.run_id.as_ref();
    let run_id = run_id.ok_or_else(|| Fault::trap("a run without an id asked for a lock"))?;
    Ok((&ctx.environment_id, run_id))
}

fn check(key: &str) -> Result<(), Fault> {
    let chars = key.chars().count();
    if chars == 0 || chars > KEY_CHARS_MAX || key.contains('\0') {
        let message = format!("the key of a lock has 1 to {KEY_CHARS_MAX} characters and no NUL; this one has {chars}");
        return Err(Fault::new("invalid_lock", message));
    }
    Ok(())
}

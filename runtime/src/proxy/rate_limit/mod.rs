//! Rate limits, shared. All requests of one connection, of functions and of the REST API, see one limiter, which learns from
//! the provider's answers: who must not go yet waits in line instead of asking in vain. Where the provider's data says that
//! the limit is the application's, all connections of an integration share one.
//!
//! `retry::told` reads what answers say, `gate` knows how many may go, `line` who is next, `limiter` puts the two together.
//! A connection whose limit nobody has met has no limiter: it costs one lookup. Limiters live in this process only; several
//! processes learn each for itself. Their number is bounded, and [`RateLimits::tick`] forgets those not heard of any more.

mod gate;
mod limiter;
mod line;

#[cfg(test)]
mod gate_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, StatusCode};
use quick_cache::sync::Cache;

use super::retry::told;
use super::{ProxyError, ProxyOptions};
use crate::clock::Clock;
use crate::connections::Target;
use crate::metrics::Metrics;
use crate::model::{Connection, ExecutionContext, Integration};
use crate::provider::{RateLimitScope, RetrySpec};
use gate::Sent;
use limiter::Limiter;

pub(super) use gate::Quota;
pub(super) use limiter::{Entry, Pass, Refusal};

/// Limits known at the same time; beyond it, one that was not used lately is forgotten.
const LIMITERS_MAX: usize = 10_000;
/// A count of what is left is worth watching from here on: more requests are never under way.
const WATCHED_REMAINING_MAX: u64 = 2_048;

/// All limiters of this process.
pub(super) struct RateLimits {
    limiters: Cache<Arc<str>, Arc<Limiter>>,
    arrivals: AtomicU64,
    clock: Clock,
    queue_max: usize,
    wait_ms_max: u64,
    metrics: Metrics,
}

impl RateLimits {
    pub(super) fn new(clock: Clock, options: &ProxyOptions, metrics: Metrics) -> Self {
        Self {
            limiters: Cache::new(LIMITERS_MAX),
            arrivals: AtomicU64::new(1),
            clock,
            queue_max: options.rate_limit_queue_max,
            wait_ms_max: options.retry_wait_ms_max,
            metrics,
        }
    }

    /// A number for a call: who has the lower one came first.
    pub(super) fn arrival(&self) -> u64 {
        self.arrivals.fetch_add(1, Ordering::Relaxed)
    }

    /// Lets a call through or into the line. None when there is no limit to keep.
    pub(super) fn enter(
        &self,
        target: &Target,
        ctx: &ExecutionContext,
        arrival: u64,
        budget_ms: u64,
    ) -> Result<Option<Entry>, ProxyError> {
        let Some(limiter) = key(target).and_then(|key| self.limiters.get(key)) else {
            return Ok(None);
        };
        limiter
            .enter(ctx.run_id.clone(), arrival, budget_ms)
            .map(Some)
            .map_err(|refusal| self.refuse(refusal, &limiter.of, budget_ms))
    }

    /// How long nobody goes, in milliseconds.
    pub(super) fn held_back_ms(&self, target: &Target) -> Option<u64> {
        self.limiters.get(key(target)?)?.held_back_ms()
    }

    /// The error for a caller who may not wait.
    pub(super) fn refuse(&self, refusal: Refusal, of: &str, budget_ms: u64) -> ProxyError {
        let of = of.to_owned();
        let error = match refusal {
            Refusal::TooLong { wait_ms } => ProxyError::RateLimited { of, wait_ms, budget_ms },
            Refusal::QueueFull { queue_max, wait_ms } => ProxyError::RateLimitQueueFull { of, queue_max, wait_ms },
        };
        self.metrics.rate_limit_refused(error.code());
        error
    }

    /// Learns from an answer. `told_ms`: the wait it asks for. For a refusal, gives how long the line does not move now.
    pub(super) fn learn(
        &self,
        target: &Target,
        pass: Option<&Pass>,
        status: StatusCode,
        headers: &HeaderMap,
        told_ms: Option<u64>,
    ) -> Option<u64> {
        let key = key(target)?;
        let no_spec = RetrySpec::default();
        let spec = target.provider.proxy.as_ref().map_or(&no_spec, |proxy| &proxy.retry);
        let remaining = told::remaining(spec, headers);
        // Some providers refuse with 403, and say so by what is left.
        let is_refusal =
            status == StatusCode::TOO_MANY_REQUESTS || (status == StatusCode::FORBIDDEN && remaining == Some(0));
        let quota = if is_refusal || remaining.is_none() {
            None
        } else {
            told::quota(spec, headers, self.clock.now_ms())
        };
        let known = pass
            .map(|pass| Arc::clone(&pass.limiter))
            .or_else(|| self.limiters.get(key));
        let limiter = match known {
            Some(limiter) => limiter,
            None if is_refusal || quota.is_some_and(|quota| quota.remaining <= WATCHED_REMAINING_MAX) => {
                self.insert(key, target)
            }
            None => return None,
        };
        let sent = pass.map_or_else(Sent::default, |pass| pass.sent);
        if is_refusal {
            Some(limiter.refused(sent, told_ms, remaining))
        } else {
            limiter.passed(sent, quota);
            None
        }
    }

    /// Forgets limits not heard of for some minutes.
    pub(super) fn tick(&self) {
        self.limiters.retain(|_, limiter| !limiter.is_forgettable());
    }

    fn insert(&self, key: &Arc<str>, target: &Target) -> Arc<Limiter> {
        let new = || {
            let of = of(target);
            let (clock, metrics) = (self.clock.clone(), self.metrics.clone());
            Ok::<_, std::convert::Infallible>(Arc::new(Limiter::new(
                of,
                clock,
                self.queue_max,
                self.wait_ms_max,
                metrics,
            )))
        };
        match self.limiters.get_or_insert_with(key, new) {
            Ok(limiter) => limiter,
            Err(never) => match never {},
        }
    }
}

fn scope(target: &Target) -> RateLimitScope {
    let spec = target.provider.proxy.as_ref();
    spec.map_or(RateLimitScope::default(), |proxy| proxy.rate_limit)
}

/// What has the limit. Ids of connections and integrations differ in their prefixes.
fn key(target: &Target) -> Option<&Arc<str>> {
    match scope(target) {
        RateLimitScope::Connection => Some(&target.connection.key.0),
        RateLimitScope::Integration => Some(&target.integration.id.0),
        RateLimitScope::None => None,
    }
}

/// The same for people.
fn of(target: &Target) -> String {
    let Integration { unique_key, .. } = target.integration.as_ref();
    let Connection { connection_id, .. } = target.connection.as_ref();
    match scope(target) {
        RateLimitScope::Integration => format!("integration {unique_key:?}"),
        RateLimitScope::Connection | RateLimitScope::None => format!("connection {connection_id:?}"),
    }
}

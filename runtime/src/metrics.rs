//! What the process counts, for `GET /metrics`. Counting is an atomic addition and never fails. No label holds the name of a
//! customer, an integration or a function: their number has no bound.

use std::sync::Arc;

use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::model::FunctionKind;

/// The content type of [`Metrics::render`].
pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// Upper ends of the histogram's buckets.
const WAIT_SECONDS: [f64; 10] = [0.01, 0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0];

/// All counters of one process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Counters>);

struct Counters {
    registry: Registry,
    proxy_requests: Family<Outcome, Counter>,
    proxy_retries: Family<Reason, Counter>,
    rate_limit_wait: Histogram,
    rate_limit_queue: Gauge,
    rate_limit_refusals: Family<Reason, Counter>,
    runs: Family<RunLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    kind: &'static str,
    outcome: &'static str,
}

/// Reads a number that another part counts.
struct Dropped(Box<dyn Fn() -> u64 + Send + Sync>);

impl std::fmt::Debug for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dropped")
    }
}

impl Collector for Dropped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Log entries dropped because more was logged than the database takes";
        let name = "log_entries_dropped";
        let encoder = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new((self.0)()).encode(encoder)
    }
}

impl Metrics {
    /// `dropped`: the log entries dropped so far, asked for when somebody looks.
    pub fn new(dropped: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let mut registry = Registry::with_prefix("nango");
        let proxy_requests = Family::default();
        registry.register(
            "proxy_requests",
            "Requests of functions and the REST API to providers, by the class of the answer or the code of the error",
            proxy_requests.clone(),
        );
        let proxy_retries = Family::default();
        registry.register(
            "proxy_retries",
            "Attempts after the first, by the reason of the wait before",
            proxy_retries.clone(),
        );
        let rate_limit_wait = Histogram::new(WAIT_SECONDS);
        registry.register(
            "rate_limit_wait_seconds",
            "Time that requests waited in line for a rate limit",
            rate_limit_wait.clone(),
        );
        let rate_limit_queue = Gauge::default();
        registry.register(
            "rate_limit_queue_length",
            "Requests that wait in line for a rate limit now",
            rate_limit_queue.clone(),
        );
        let rate_limit_refusals = Family::default();
        registry.register(
            "rate_limit_refusals",
            "Requests that were not sent because they would have waited too long, or too many waited",
            rate_limit_refusals.clone(),
        );
        let runs = Family::default();
        registry.register("runs", "Runs that ended, by kind of function and outcome", runs.clone());
        registry.register_collector(Box::new(Dropped(Box::new(dropped))));
        Self(Arc::new(Counters {
            registry,
            proxy_requests,
            proxy_retries,
            rate_limit_wait,
            rate_limit_queue,
            rate_limit_refusals,
            runs,
        }))
    }

    /// A request to a provider is over: with the status of its answer, or the code of its error.
    pub fn proxy_request(&self, outcome: Result<StatusCode, &'static str>) {
        let outcome = match outcome {
            Ok(status) => class(status),
            Err(code) => code,
        };
        self.0.proxy_requests.get_or_create(&Outcome { outcome }).inc();
    }

    pub fn proxy_retry(&self, reason: &'static str) {
        self.0.proxy_retries.get_or_create(&Reason { reason }).inc();
    }

    /// One more waits in line.
    pub fn rate_limit_queued(&self) {
        self.0.rate_limit_queue.inc();
    }

    /// One waits no more.
    pub fn rate_limit_left(&self) {
        self.0.rate_limit_queue.dec();
    }

    /// How long one waited.
    pub fn rate_limit_waited(&self, waited_ms: u64) {
        let waited = std::time::Duration::from_millis(waited_ms);
        self.0.rate_limit_wait.observe(waited.as_secs_f64());
    }

    pub fn rate_limit_refused(&self, reason: &'static str) {
        self.0.rate_limit_refusals.get_or_create(&Reason { reason }).inc();
    }

    pub fn run_ended(&self, kind: FunctionKind, is_success: bool) {
        let labels = RunLabels {
            kind: kind.as_str(),
            outcome: if is_success { "success" } else { "failed" },
        };
        self.0.runs.get_or_create(&labels).inc();
    }

    /// All of it in Prometheus' text format, version 0.0.4 (see [`CONTENT_TYPE`]).
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = prometheus_text::encode(&mut text, &self.0.registry);
        text
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_shown() {
        let metrics = Metrics::new(|| 7);
        metrics.proxy_request(Ok(StatusCode::CREATED));
        metrics.proxy_request(Ok(StatusCode::OK));
        metrics.proxy_request(Err("upstream_timeout"));
        metrics.proxy_retry("retry_after");
        metrics.rate_limit_queued();
        metrics.rate_limit_queued();
        metrics.rate_limit_left();
        metrics.rate_limit_waited(1_500);
        metrics.rate_limit_refused("rate_limited");
        metrics.run_ended(FunctionKind::Sync, false);
        let text = metrics.render();
        for line in [
            "# TYPE nango_proxy_requests_total counter",
            "nango_proxy_requests_total{outcome=\"2xx\"} 2",
            "nango_proxy_requests_total{outcome=\"upstream_timeout\"} 1",
            "nango_proxy_retries_total{reason=\"retry_after\"} 1",
            "# TYPE nango_rate_limit_queue_length gauge",
            "nango_rate_limit_queue_length 1",
            "nango_rate_limit_wait_seconds_sum 1.5",
            "nango_rate_limit_wait_seconds_count 1",
            "nango_rate_limit_wait_seconds_bucket{le=\"2.5\"} 1",
            "nango_rate_limit_refusals_total{reason=\"rate_limited\"} 1",
            "nango_runs_total{kind=\"sync\",outcome=\"failed\"} 1",
            "nango_log_entries_dropped_total 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}

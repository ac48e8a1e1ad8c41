//! The rules of retrying, rule by rule.

use super::*;
use crate::provider::{InBody, WaitStrategy};

const NOW_MS: i64 = 1_800_000_000_000;

struct Case {
    retries: u32,
    retry_on: Vec<u16>,
    retry_header: RetryHeader,
    spec: RetrySpec,
    replayable: bool,
    idempotent: bool,
    spent: Spent,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            retries: 0,
            retry_on: Vec::new(),
            retry_header: RetryHeader::default(),
            spec: RetrySpec::default(),
            replayable: true,
            idempotent: true,
            spent: Spent::default(),
        }
    }
}

impl Case {
    fn outcome(&self, outcome: Outcome<'_>) -> Decision {
        let policy = Policy {
            retries: self.retries,
            retry_on: &self.retry_on,
            spec: &self.spec,
            replayable: self.replayable,
            idempotent: self.idempotent,
            rate_limit_retries_max: 3,
            wait_ms_max: 60_000,
        };
        decide(&policy, self.spent, outcome, 0.5)
    }

    fn status(&self, status: u16, headers: &[(&'static str, &str)]) -> Decision {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        let status = StatusCode::from_u16(status).unwrap();
        self.outcome(Outcome::Answer {
            status,
            headers: &headers,
            told: told::by_headers(&self.retry_header, &self.spec, status, &headers, NOW_MS),
        })
    }
}

fn wait(decision: &Decision) -> Option<(u64, &'static str)> {
    match decision {
        Decision::After { wait_ms, reason, .. } => Some((*wait_ms, *reason)),
        Decision::Stop { .. } => None,
    }
}

fn asked(retries: u32) -> Case {
    Case {
        retries,
        ..Case::default()
    }
}

#[test]
fn nothing_but_429_is_retried_unasked() {
    let case = Case::default();
    for status in [200, 304, 400, 401, 403, 404, 500, 503] {
        assert_eq!(wait(&case.status(status, &[])), None, "{status}");
    }
    assert_eq!(wait(&case.outcome(Outcome::NotSent)), None);
    assert_eq!(wait(&case.status(429, &[])), Some((3_000, "rate_limited")));
}

#[test]
fn asked_retries_cover_server_errors_and_the_network() {
    let case = asked(1);
    for status in [500, 502, 503, 599] {
        assert_eq!(wait(&case.status(status, &[])), Some((3_000, "status")), "{status}");
    }
    for status in [200, 304, 400, 401, 404] {
        assert_eq!(wait(&case.status(status, &[])), None, "{status}");
    }
    assert_eq!(wait(&case.outcome(Outcome::NotSent)), Some((3_000, "network_error")));
    assert_eq!(wait(&case.outcome(Outcome::MaybeSent)), Some((3_000, "network_error")));
    assert_eq!(wait(&case.outcome(Outcome::Final)), None);
}

#[test]
fn a_post_that_may_have_arrived_is_not_sent_twice() {
    let case = Case {
        idempotent: false,
        ..asked(3)
    };
    assert_eq!(wait(&case.outcome(Outcome::MaybeSent)), None);
    assert_eq!(wait(&case.outcome(Outcome::NotSent)), Some((3_000, "network_error")));
    assert_eq!(wait(&case.status(502, &[])), Some((3_000, "status")));
}

#[test]
fn a_streamed_body_is_never_sent_again() {
    let case = Case {
        replayable: false,
        ..asked(3)
    };
    assert_eq!(wait(&case.status(429, &[])), None);
    assert_eq!(wait(&case.outcome(Outcome::NotSent)), None);
}

#[test]
fn the_wait_doubles_and_the_budget_cuts_it() {
    let mut case = asked(20);
    let mut waits = Vec::new();
    while let Decision::After { wait_ms, spent, .. } = case.status(500, &[]) {
        waits.push(wait_ms);
        case.spent = spent;
    }
    assert_eq!(waits, [3_000, 6_000, 12_000, 24_000, 15_000]);
}

#[test]
fn attempts_are_capped() {
    let mut case = asked(1_000);
    let mut attempts = 0;
    while let Decision::After { spent, .. } = case.status(500, &[("retry-after", "0")]) {
        attempts += 1;
        case.spent = spent;
    }
    assert_eq!(attempts, RETRIES_MAX);
}

#[test]
fn rate_limits_are_waited_for_three_times_and_then_within_retries() {
    for (retries, expected) in [(0, 3), (2, 5)] {
        let mut case = asked(retries);
        let mut attempts = 0;
        while let Decision::After { spent, .. } = case.status(429, &[("retry-after", "1")]) {
            attempts += 1;
            case.spent = spent;
        }
        assert_eq!(attempts, expected, "retries {retries}");
    }
}

#[test]
fn a_provider_that_asks_for_too_much_is_not_waited_for() {
    let case = asked(5);
    assert_eq!(wait(&case.status(429, &[("retry-after", "61")])), None);
    assert_eq!(
        wait(&case.status(429, &[("retry-after", "60")])),
        Some((60_000, "retry_after"))
    );
}

#[test]
fn retry_after_is_read_in_every_form() {
    let case = Case::default();
    for (value, expected) in [
        ("0", Some((0, "retry_after"))),
        ("1.5", Some((1_500, "retry_after"))),
        ("Fri, 15 Jan 2027 08:00:05 GMT", Some((5_000, "retry_after"))),
        ("Fri, 15 Jan 2027 07:00:00 GMT", Some((0, "retry_after"))),
        ("soon", Some((3_000, "rate_limited"))),
        ("-1", Some((3_000, "rate_limited"))),
        ("1e300", None),
    ] {
        assert_eq!(wait(&case.status(429, &[("retry-after", value)])), expected, "{value}");
    }
}

#[test]
fn provider_headers_tell_the_wait() {
    let case = Case {
        spec: RetrySpec {
            at: vec!["x-ratelimit-reset".into(), "x-other-reset".into()],
            ..RetrySpec::default()
        },
        ..Case::default()
    };
    for (value, expected) in [
        ("1800000007", Some((7_000, "provider_at"))),
        ("1800000007000", Some((7_000, "provider_at"))),
        ("2027-01-15T08:00:07Z", Some((7_000, "provider_at"))),
        ("1799999999", Some((3_000, "rate_limited"))),
    ] {
        assert_eq!(
            wait(&case.status(429, &[("x-ratelimit-reset", value)])),
            expected,
            "{value}"
        );
    }
    let both = [("x-ratelimit-reset", "1800000002"), ("x-other-reset", "1800000009")];
    assert_eq!(wait(&case.status(429, &both)), Some((9_000, "provider_at")));
}

#[test]
fn provider_codes_replace_the_defaults_and_retry_on_adds() {
    let case = Case {
        retry_on: vec![418],
        spec: RetrySpec {
            error_code: vec!["403".into(), "500-501".into(), "401".into()],
            ..RetrySpec::default()
        },
        ..asked(1)
    };
    for (status, retried) in [
        (403, true),
        (500, true),
        (502, false),
        (418, true),
        (401, false),
        (404, false),
    ] {
        assert_eq!(wait(&case.status(status, &[])).is_some(), retried, "{status}");
    }
    let class = Case {
        spec: RetrySpec {
            error_code: vec!["4xx".into()],
            ..RetrySpec::default()
        },
        ..asked(1)
    };
    assert!(wait(&class.status(404, &[])).is_some());
    assert!(wait(&class.status(500, &[])).is_none());
}

#[test]
fn a_used_up_budget_makes_an_error_retryable() {
    let case = Case {
        spec: RetrySpec {
            remaining: Some("x-ratelimit-remaining".into()),
            at: vec!["x-ratelimit-reset".into()],
            ..RetrySpec::default()
        },
        ..asked(1)
    };
    let used_up = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1800000004")];
    assert_eq!(wait(&case.status(403, &used_up)), Some((4_000, "provider_at")));
    // The end of the window comes with every answer; neither a fault of the server nor another limit waits for it.
    assert_eq!(wait(&case.status(502, &used_up)), Some((3_000, "status")));
    let left = [("x-ratelimit-remaining", "7"), ("x-ratelimit-reset", "1800000004")];
    assert_eq!(wait(&case.status(429, &left)), Some((3_000, "rate_limited")));
    let told = [
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "1800000004"),
        ("retry-after", "1"),
    ];
    assert_eq!(wait(&case.status(429, &told)), Some((1_000, "retry_after")));
    assert_eq!(wait(&case.status(403, &[("x-ratelimit-remaining", "1")])), None);
}

#[test]
fn the_callers_headers_come_first() {
    let mut case = Case {
        retry_header: RetryHeader {
            at: vec![HeaderName::from_static("x-free-at")],
            after: vec![HeaderName::from_static("x-free-in")],
        },
        spec: RetrySpec {
            after: vec!["x-provider".into()],
            ..RetrySpec::default()
        },
        ..asked(1)
    };
    let all = [
        ("x-free-at", "1800000009"),
        ("x-free-in", "8"),
        ("x-provider", "7"),
        ("retry-after", "6"),
    ];
    assert_eq!(wait(&case.status(429, &all)), Some((8_000, "custom_after")));
    assert_eq!(wait(&case.status(429, &all[2..])), Some((7_000, "provider_after")));
    assert_eq!(wait(&case.status(429, &all[3..])), Some((6_000, "retry_after")));
    case.retry_header.after.clear();
    assert_eq!(wait(&case.status(429, &all)), Some((9_000, "custom_at")));
    // Whoever names a header means it for every answer that is retried.
    assert_eq!(wait(&case.status(503, &all)), Some((9_000, "custom_at")));
    assert_eq!(wait(&case.status(503, &[("x-free-at", "1")])), Some((3_000, "status")));
}

#[test]
fn common_headers_tell_the_end_of_the_window() {
    let case = asked(1);
    for (headers, expected) in [
        ([("ratelimit-remaining", "0"), ("ratelimit-reset", "5")], 5_000),
        (
            [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1800000004")],
            4_000,
        ),
        (
            [
                ("x-rate-limit-remaining", "-1"),
                ("x-rate-limit-reset", "2027-01-15T08:00:03Z"),
            ],
            3_000,
        ),
    ] {
        assert_eq!(
            wait(&case.status(429, &headers)),
            Some((expected, "rate_limit_reset")),
            "{headers:?}"
        );
        assert_eq!(
            wait(&case.status(503, &headers)),
            Some((3_000, "status")),
            "{headers:?}"
        );
        assert_eq!(
            wait(&case.status(403, &headers)),
            None,
            "only where the provider's data says so"
        );
    }
    let left = [("ratelimit-remaining", "2"), ("ratelimit-reset", "50")];
    assert_eq!(wait(&case.status(429, &left)), Some((3_000, "rate_limited")));
}

#[test]
fn the_body_is_wanted_only_where_it_can_matter() {
    let in_body = InBody::new("error.message", "/Retry after (.+)/", WaitStrategy::At).unwrap();
    let spec = RetrySpec {
        in_body: Some(in_body),
        ..RetrySpec::default()
    };
    let wants = |retries, status: u16, told| {
        let policy = Policy {
            retries,
            retry_on: &[],
            spec: &spec,
            replayable: true,
            idempotent: true,
            rate_limit_retries_max: 3,
            wait_ms_max: 60_000,
        };
        let outcome = Outcome::Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: &HeaderMap::new(),
            told,
        };
        wants_body(&policy, Spent::default(), outcome)
    };
    assert!(wants(0, 429, None) && wants(1, 503, None));
    assert!(!wants(0, 429, Some((1, "retry_after"))), "the headers say it");
    assert!(!wants(0, 503, None) && !wants(1, 404, None) && !wants(1, 200, None));
}

#[test]
fn a_body_tells_the_wait() {
    let in_body = |strategy| InBody::new("error.errors.0.message", r"/retry (?:after|in) (\S+)/i", strategy).unwrap();
    let body = |text: &str| serde_json::json!({"error": {"errors": [{"message": text}]}}).to_string();
    for (text, strategy, expected) in [
        (
            "Limit exceeded. Retry after 2027-01-15T08:00:07.500Z",
            WaitStrategy::At,
            Some((7_500, "provider_body_at")),
        ),
        (
            "Retry in 2.5 seconds",
            WaitStrategy::After,
            Some((2_500, "provider_body_after")),
        ),
        ("Retry after 2020-01-01T00:00:00Z", WaitStrategy::At, None),
        ("Some other text", WaitStrategy::At, None),
        ("Retry after soon", WaitStrategy::At, None),
    ] {
        assert_eq!(
            told::by_body(&in_body(strategy), body(text).as_bytes(), NOW_MS),
            expected,
            "{text}"
        );
    }
    for body in ["", "no JSON", "{}", "[1]", r#"{"error":{"errors":[{"message":7}]}}"#] {
        assert_eq!(
            told::by_body(&in_body(WaitStrategy::At), body.as_bytes(), NOW_MS),
            None,
            "{body}"
        );
    }
}

#[test]
fn what_is_left_is_read_with_the_time_it_is_for() {
    let quota = |spec: &RetrySpec, headers: &[(&'static str, &str)]| {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        told::quota(spec, &headers, NOW_MS).map(|quota| (quota.remaining, quota.resets_in_ms))
    };
    let spec = RetrySpec {
        remaining: Some("x-left".into()),
        at: vec!["x-until".into()],
        ..RetrySpec::default()
    };
    assert_eq!(
        quota(&spec, &[("x-left", "3"), ("x-until", "1800000010")]),
        Some((3, 10_000))
    );
    assert_eq!(
        quota(&spec, &[("x-left", "3"), ("x-until", "1799999999")]),
        None,
        "over"
    );
    assert_eq!(quota(&spec, &[("x-left", "3")]), None);
    assert_eq!(
        quota(&spec, &[("ratelimit-remaining", "3"), ("ratelimit-reset", "5")]),
        None
    );
    let none = RetrySpec::default();
    assert_eq!(
        quota(
            &none,
            &[("x-ratelimit-remaining", "4999"), ("x-ratelimit-reset", "1800003600")]
        ),
        Some((4_999, 3_600_000))
    );
    assert_eq!(
        quota(&none, &[("ratelimit-remaining", "0.0"), ("ratelimit-reset", "0.5")]),
        Some((0, 500))
    );
    for odd in ["", "many", "NaN", "inf"] {
        assert_eq!(
            quota(&none, &[("ratelimit-remaining", odd), ("ratelimit-reset", "5")]),
            None,
            "{odd}"
        );
    }
}

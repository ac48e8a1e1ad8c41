//! Names that lie: what a resolver may answer, and what is connected to then. The names of these tests exist nowhere else.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::super::Resolve;
use super::*;

/// A resolver that gives these answers in order, and the last one ever after; and how often it was asked.
fn answering(answers: &[&[&str]]) -> (Resolve, Arc<AtomicUsize>) {
    let parsed = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
    let script: VecDeque<Vec<IpAddr>> = answers.iter().map(parsed).collect();
    let (script, asked) = (Mutex::new(script), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    let resolve = Resolve::with(move |_name| {
        count.fetch_add(1, Ordering::Relaxed);
        let mut script = script.lock().unwrap();
        let answer = if script.len() > 1 {
            script.pop_front()
        } else {
            script.front().cloned()
        };
        std::future::ready(Ok(answer.unwrap_or_default()))
    });
    (resolve, asked)
}

fn resolving(allow: &[&str], resolve: Resolve) -> Harness {
    Harness::new(ProxyOptions {
        egress_allow: allow.iter().map(|net| net.parse().unwrap()).collect(),
        resolve,
        ..options()
    })
}

async fn get(harness: &Harness, port: u16) -> Result<ProxyResponse, ProxyError> {
    let target = target(provider(&format!("http://api.test:{port}")), bearer("tok"));
    harness.send(target, request("/")).await
}

fn denied_address(outcome: Result<ProxyResponse, ProxyError>) -> String {
    match outcome {
        Err(ProxyError::EgressDenied(denied)) => denied.address.to_string(),
        other => panic!("expected a denial, got {other:?}"),
    }
}

#[tokio::test]
async fn a_name_is_resolved_once_and_what_was_checked_is_connected_to() {
    let upstream = Upstream::start(vec![reply("200 OK", "connection: close\r\n", "one")]).await;
    // Had the connector asked again after the check, it would have got the second answer.
    let (resolve, asked) = answering(&[&["127.0.0.1"], &["10.0.0.1"]]);
    let harness = resolving(&["127.0.0.1/32"], resolve);
    assert_eq!(text(get(&harness, upstream.port).await.unwrap()).await, "one");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(denied_address(get(&harness, upstream.port).await), "10.0.0.1");
    assert_eq!(asked.load(Ordering::Relaxed), 2, "a denial is final");
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_name_that_turns_to_loopback_is_refused() {
    let upstream = Upstream::start(vec![reply("200 OK", "", "never")]).await;
    for turned in [
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "::127.0.0.1",
        "169.254.169.254",
    ] {
        let (resolve, _) = answering(&[&[turned]]);
        let outcome = get(&resolving(&[], resolve), upstream.port).await;
        let denied: IpAddr = denied_address(outcome).parse().unwrap();
        assert_eq!(denied, turned.parse::<IpAddr>().unwrap().to_canonical());
    }
    assert_eq!(upstream.seen().len(), 0, "nobody connected");
}

#[tokio::test]
async fn of_a_mixed_answer_only_what_passes_is_connected_to() {
    // Both listen on the same port, each on an address of its own.
    let allowed = Upstream::start(vec![reply("200 OK", "", "allowed")]).await;
    let other = TcpListener::bind(("127.0.0.2", allowed.port)).await.unwrap();
    let (resolve, _) = answering(&[&["127.0.0.2", "127.0.0.1", "::1"]]);
    let harness = resolving(&["127.0.0.1/32"], resolve);
    assert_eq!(text(get(&harness, allowed.port).await.unwrap()).await, "allowed");
    let silence = tokio::time::timeout(Duration::from_millis(50), other.accept()).await;
    assert!(silence.is_err(), "the address that is not allowed was connected to");
}

#[tokio::test]
async fn a_redirect_to_a_name_of_loopback_is_refused() {
    let secret = Upstream::start(vec![reply("200 OK", "", "metadata")]).await;
    let location = format!("location: http://metadata.test:{}/\r\n", secret.port);
    let upstream = Upstream::start(vec![reply("302 Found", &location, "")]).await;
    let resolve = Resolve::with(|name| {
        let address = if name == "api.test" { "127.0.0.1" } else { "127.0.0.2" };
        std::future::ready(Ok(vec![address.parse().unwrap()]))
    });
    let harness = resolving(&["127.0.0.1/32"], resolve);
    assert_eq!(denied_address(get(&harness, upstream.port).await), "127.0.0.2");
    assert_eq!(secret.seen().len(), 0);
}

#[tokio::test]
async fn a_name_without_addresses_and_a_failing_resolver_are_named() {
    let (resolve, _) = answering(&[&[]]);
    let failing = Resolve::with(|_name| std::future::ready(Err(std::io::Error::other("no server"))));
    for resolve in [resolve, failing] {
        let error = get(&resolving(&[], resolve), 80).await.unwrap_err();
        assert_eq!(error.code(), "upstream_dns_failed");
        assert_eq!(error.to_string(), "the host name \"api.test\" cannot be resolved");
    }
}

//! Two server processes on one Postgres refresh a token once, however many ask them both: one that has expired, and one that
//! the provider's API refuses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nango_runtime_tests::oidc::{Oidc, Tokens};
use nango_runtime_tests::{Client, Database, Reply, Server, TestRuntime, Upstream};
use serde_json::{Value, json};

use crate::fixture::CONNECTION;
use crate::refresh::{serving, shown};

const HOUR_MS: i64 = 60 * 60 * 1_000;
/// Callers of each of the two processes.
const CALLERS: usize = 500;

/// Two processes, and a connection whose token ends `in_ms` from now.
async fn nodes(database: &Database, oidc: &Oidc, api: &str, tokens: &Tokens, in_ms: i64) -> [(Server, Client); 2] {
    let first = serving(database.serve(TestRuntime::new()), oidc, api).await;
    let second = serving(database.serve(TestRuntime::new()), oidc, api).await;
    let credentials = tokens.credentials(in_ms);
    let _ = first.1.import_connection("oidc", CONNECTION, credentials).await.ok();
    [first, second]
}

/// An API that tells with what it was asked, and refuses the tokens that are named.
async fn telling(refused: Arc<Mutex<Vec<String>>>) -> Upstream {
    Upstream::handling(move |request| {
        let sent = request.header("authorization").trim_start_matches("Bearer ").to_owned();
        let refused = refused.lock().expect("no handler panics").contains(&sent);
        Reply::json(if refused { 401 } else { 200 }, &json!({"token": sent}))
    })
    .await
}

/// [`CALLERS`] calls of each process at once. Gives how often each token was told.
async fn call(nodes: &[(Server, Client); 2]) -> BTreeMap<String, usize> {
    let calls: Vec<_> = (0..2 * CALLERS)
        .map(|number| {
            let client = nodes[number % 2].1.clone();
            tokio::spawn(async move { client.proxy_get("oidc", CONNECTION, "/x").await.ok() })
        })
        .collect();
    let mut told = BTreeMap::new();
    for call in calls {
        let answer = call.await.expect("a caller ends");
        *told.entry(text(&answer["token"])).or_default() += 1;
    }
    told
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What both processes show, which is the same.
async fn both_show(nodes: &[(Server, Client); 2]) -> Value {
    let first = shown(&nodes[0].1, "&refresh_token=true").await["credentials"].clone();
    assert_eq!(shown(&nodes[1].1, "&refresh_token=true").await["credentials"], first);
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_callers_of_two_processes_cause_one_refresh() {
    let database = Database::postgres().await;
    let oidc = Oidc::start();
    let tokens = oidc.authorize().await;
    let api = telling(Arc::default()).await;
    let nodes = nodes(&database, &oidc, &api.url(), &tokens, -1_000).await;
    // Long enough for all of them to meet.
    oidc.hold(0, 500).await;
    let told = call(&nodes).await;
    let stats = oidc.stats().await;
    assert_eq!((&stats["refresh_token"], &stats["errors"]), (&json!(1), &json!(0)));
    let now = both_show(&nodes).await;
    assert_eq!(now["refresh_token"], stats["newest_refresh_token"]);
    assert_ne!(now["access_token"], tokens.access_token.as_str());
    assert_eq!(told, BTreeMap::from([(text(&now["access_token"]), 2 * CALLERS)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_is_replaced_once_by_two_processes() {
    let database = Database::postgres().await;
    let oidc = Oidc::start();
    let tokens = oidc.authorize().await;
    let refused = Arc::new(Mutex::new(Vec::new()));
    let api = telling(Arc::clone(&refused)).await;
    let nodes = nodes(&database, &oidc, &api.url(), &tokens, HOUR_MS).await;
    // Both have it in their caches.
    let told = call(&nodes).await;
    assert_eq!(told, BTreeMap::from([(tokens.access_token.clone(), 2 * CALLERS)]));
    refused
        .lock()
        .expect("no handler panics")
        .push(tokens.access_token.clone());
    oidc.hold(0, 300).await;
    let told = call(&nodes).await;
    let stats = oidc.stats().await;
    assert_eq!((&stats["refresh_token"], &stats["errors"]), (&json!(1), &json!(0)));
    let now = both_show(&nodes).await;
    assert_eq!(now["refresh_token"], stats["newest_refresh_token"]);
    assert_eq!(told, BTreeMap::from([(text(&now["access_token"]), 2 * CALLERS)]));
}

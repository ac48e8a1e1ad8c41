//! `kill -9` around refreshes: what anybody has used is stored, a request that was never answered is made again, and the lease
//! of a dead process holds nobody up.

use std::time::{Duration, Instant};

use nango_runtime_tests::oidc::Oidc;
use nango_runtime_tests::{Client, Database, Server, TestRuntime, for_each_database, soak};
use serde_json::json;

use crate::fixture::CONNECTION;
use crate::refresh::{serving, shown};

const CALLERS: usize = 50;
/// A restarted server waits for no lease of its former self.
const SOON: Duration = Duration::from_secs(15);

for_each_database!(a_refresh_token_whose_access_token_was_used_is_never_lost);

async fn start(database: &Database, oidc: &Oidc) -> (Server, Client) {
    serving(database.serve(TestRuntime::new()), oidc, &oidc.url).await
}

async fn a_refresh_token_whose_access_token_was_used_is_never_lost(database: Database) {
    let oidc = Oidc::start();
    let mut tokens = oidc.authorize().await;
    let rounds = soak::rounds(3, 200);
    let (mut server, mut client) = start(&database, &oidc).await;
    for round in soak::repeat("a_refresh_token_whose_access_token_was_used_is_never_lost", 3, 200) {
        let _ = client
            .import_connection("oidc", CONNECTION, tokens.credentials(-1_000))
            .await
            .ok();
        let (used, mut first_use) = tokio::sync::mpsc::channel(CALLERS);
        let calls: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (client, used) = (client.clone(), used.clone());
                tokio::spawn(async move {
                    let request = client.proxy(http::Method::GET, "oidc", CONNECTION, "/me");
                    if request.send().await.is_ok_and(|answer| answer.status() == 200) {
                        let _ = used.send(()).await;
                    }
                })
            })
            .collect();
        drop(used);
        first_use.recv().await.expect("a caller succeeds");
        server.process().kill();
        for call in calls {
            call.await.expect("a caller ends");
        }
        (server, client) = start(&database, &oidc).await;
        let stored = shown(&client, "&refresh_token=true").await;
        let stats = oidc.stats().await;
        assert_eq!(
            stored["credentials"]["refresh_token"], stats["newest_refresh_token"],
            "round {round}"
        );
        assert_eq!(stats["errors"], 0, "round {round}");
        tokens.access_token = stored["credentials"]["access_token"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        tokens.refresh_token = stored["credentials"]["refresh_token"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let _ = client.proxy_get("oidc", CONNECTION, "/me").await.ok();
    }
    assert_eq!(oidc.stats().await["refresh_token"], rounds);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_was_not_answered_is_made_again_at_once() {
    let database = Database::sqlite();
    let oidc = Oidc::start();
    let tokens = oidc.authorize().await;
    let (mut server, client) = start(&database, &oidc).await;
    let _ = client
        .import_connection("oidc", CONNECTION, tokens.credentials(-1_000))
        .await
        .ok();
    // The request reaches the server, which has not begun to work on it when the process dies, and never will: it looks for
    // its caller first.
    oidc.hold(600_000, 0).await;
    let request = client.proxy(http::Method::GET, "oidc", CONNECTION, "/me");
    let call = tokio::spawn(async move { request.send().await.is_ok() });
    while oidc.stats().await["waiting"] != 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.process().kill();
    assert!(!call.await.expect("the caller ends"), "nobody answered");
    oidc.hold(0, 0).await;
    let (_server, client) = start(&database, &oidc).await;
    let began = Instant::now();
    let answer = client.proxy_get("oidc", CONNECTION, "/me").await;
    assert_eq!(answer.ok(), json!({"sub": "user-1"}));
    assert!(began.elapsed() < SOON, "the call took {:?}", began.elapsed());
}

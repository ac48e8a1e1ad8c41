//! `kill -9` in the middle of a sync: what was acknowledged is there after a restart, and the sync goes on from its
//! checkpoint instead of from the beginning.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use nango_runtime_tests::upstream::Received;
use nango_runtime_tests::{Reply, Server, TestRuntime, Upstream, guest};
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, INTEGRATION, prepared, providers};

const PAGES: usize = 12;
const PAGE_RECORDS: usize = 25;

/// How often the server is killed; more in a soak.
fn kills() -> usize {
    if std::env::var_os("NANGO_SOAK").is_some() {
        50
    } else {
        3
    }
}

/// Pages of numbered records; the guest's sync `pages` follows them with a checkpoint after each.
fn page(request: &Received) -> Reply {
    let number: usize = request
        .target
        .rsplit('=')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0);
    let records: Vec<Value> = (0..PAGE_RECORDS)
        .map(|index| json!({"id": format!("{}", number * PAGE_RECORDS + index)}))
        .collect();
    let next = (number + 1 < PAGES).then_some(number + 1);
    Reply::json(200, &json!({"records": records, "next": next})).after(Duration::from_millis(25))
}

fn start(data: &Path, base_url: &str) -> Server {
    TestRuntime::new()
        .egress_loopback()
        .data(data)
        .provider_yaml(&providers(base_url))
        .start()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_goes_on_from_its_checkpoint() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let upstream = Upstream::handling(page).await;
    let runtime = TestRuntime::new().egress_loopback().data(folder.path());
    let (mut server, client) = prepared(runtime, &upstream.url()).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let _ = client.trigger_sync(INTEGRATION, CONNECTION, "pages").await.ok();
    for kill in 0..kills() {
        let enough = (kill + 1) * PAGES / (kills() + 1);
        let mut saved = Value::Null;
        while upstream.received().len() < enough {
            saved = server.client().sync_status(INTEGRATION, CONNECTION, "pages").await["checkpoint"].clone();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.process().kill();
        let before = upstream.received().len();
        server = start(folder.path(), &upstream.url());
        let _ = server
            .client()
            .trigger_sync(INTEGRATION, CONNECTION, "pages")
            .await
            .ok();
        // The first request after a restart asks for what the checkpoint said, or for what came after it.
        while upstream.received().len() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let first = upstream.received()[before].target.clone();
        let page: u64 = first
            .rsplit('=')
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or(0);
        assert!(
            page >= saved["page"].as_u64().unwrap_or(0),
            "{first} goes back behind the checkpoint {saved}"
        );
    }
    let client = server.client();
    let done = client
        .wait_for_sync(INTEGRATION, CONNECTION, "pages", |status| status["status"] == "SUCCESS")
        .await;
    assert_eq!(done["recordCount"], json!({"Page": PAGES * PAGE_RECORDS}), "{done}");
    let requests: BTreeSet<String> = upstream.received().into_iter().map(|request| request.target).collect();
    assert_eq!(requests.len(), PAGES, "each page was asked for");
    let repeated = upstream.received().len() - PAGES;
    assert!(
        repeated <= 2 * kills(),
        "{repeated} pages were fetched again after {} kills",
        kills()
    );
}

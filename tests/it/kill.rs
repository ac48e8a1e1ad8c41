//! `kill -9` in the middle of a sync: what was acknowledged is there after a restart, and the sync goes on from its
//! checkpoint instead of from the beginning.

use std::path::Path;
use std::time::Duration;

use nango_runtime_tests::{Client, Server, TestRuntime, guest, soak};
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, INTEGRATION, prepared, providers};

const PAGE_RECORDS: u64 = 20;
/// For each kill: it does up to two hundred while the server is started and asked.
const KILL_PAGES: u64 = 400;
const TOO_FEW_PAGES: &str = "the sync ended before it could be killed or looked at; KILL_PAGES must be raised";
/// Between two looks at a running sync.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// How often the server is killed; more in a soak.
fn kills() -> u64 {
    u64::from(soak::rounds(3, 20))
}

fn pages() -> u64 {
    KILL_PAGES * kills()
}

fn start(data: &Path) -> Server {
    TestRuntime::new()
        .egress_loopback()
        .data(data)
        .provider_yaml(&providers("http://127.0.0.1:9"))
        .start()
}

/// The page that the sync's checkpoint names, and the sync's status.
async fn position(client: &Client) -> (u64, String) {
    let status = client.sync_status(INTEGRATION, CONNECTION, "items").await;
    (
        status["checkpoint"]["page"].as_u64().unwrap_or(0),
        status["latestExecutionStatus"].as_str().unwrap_or_default().to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_goes_on_from_its_checkpoint() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let runtime = TestRuntime::new().egress_loopback().data(folder.path());
    let (mut server, client) = prepared(runtime, "http://127.0.0.1:9").await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let metadata = json!({"pages": pages(), "records": PAGE_RECORDS, "value": 7});
    let _ = client.set_metadata(INTEGRATION, CONNECTION, metadata).await.ok();
    let _ = client.trigger_sync(INTEGRATION, CONNECTION, "items").await.ok();
    let watch = soak::Watch::start("a_sync_goes_on_from_its_checkpoint");
    let mut reached = 0;
    let mut before_kill = 0;
    for kill in 1..=kills() {
        watch.check();
        let client = server.client();
        // The last kill leaves half of the pages, so that the sync does not end before one looks at it again.
        let wanted = pages() * kill / (2 * kills() + 8);
        loop {
            let (page, status) = position(&client).await;
            assert_ne!(status, "SUCCESS", "{TOO_FEW_PAGES}");
            assert!(page >= reached, "the sync fell back from page {reached} to {page}");
            reached = page;
            if page >= wanted {
                before_kill = page;
                break;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        server.process().kill();
        server = start(folder.path());
        let client = server.client();
        // It goes on by itself.
        let (page, status) = position(&client).await;
        assert_ne!(status, "SUCCESS", "{TOO_FEW_PAGES}");
        assert!(
            page >= reached,
            "page {reached} was acknowledged, {page} is there after the restart ({status})"
        );
        reached = page;
    }
    let ended = |status: &Value| status["latestExecutionStatus"] == "SUCCESS" && status["checkpoint"] == Value::Null;
    let done = server
        .client()
        .wait_for_sync(INTEGRATION, CONNECTION, "items", ended)
        .await;
    assert_eq!(done["recordCount"], json!({"Item": pages() * PAGE_RECORDS}), "{done}");
    let added = done["latestResult"]["Item"]["added"].as_u64().unwrap_or(u64::MAX);
    assert!(
        added <= (pages() - before_kill) * PAGE_RECORDS,
        "the last run added {added}, {before_kill} pages were there before"
    );
}

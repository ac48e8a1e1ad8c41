//! A database that is away, or takes nothing: requests that need it are answered with 503 for as long as that lasts, and no longer.

use std::time::{Duration, Instant};

use nango_runtime::clock::{Clock, Entropy};
use nango_runtime_tests::{Answer, Client, Database, TestRuntime, embedded};
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, INTEGRATION, prepared};

const NOW_MS: i64 = 1_795_346_513_000;
/// Room for the schema and a little more.
const DISK_BYTES: u64 = 2 << 20;
const PATIENCE: Duration = Duration::from_secs(30);
/// How many ask at once whether a server is ready.
const CROWD: usize = 100;

/// Checks that an answer tells of an outage, when to ask again, and nothing else.
#[track_caller]
fn assert_outage(answer: &Answer) {
    let expected = json!({"error": {
        "code": "database_unavailable",
        "message": "The server's database cannot be reached or written at the moment; ask again in a few seconds",
    }});
    assert_eq!(answer.snapshot(), json!({"status": 503, "body": expected}));
    assert_eq!(answer.headers["retry-after"], "5");
}

async fn wait_until_ready(client: &Client, wanted: bool) -> Answer {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = client.get("/health/ready").await;
        if (answer.status == 200) == wanted {
            return answer;
        }
        assert!(Instant::now() < deadline, "{}", answer.text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_away_is_no_fault_of_the_request_nor_of_the_server() {
    let database = Database::postgres().await;
    let (server, client) = prepared(database.serve(TestRuntime::new()), "http://127.0.0.1:9").await;
    assert_eq!(client.get("/health/ready").await.ok(), json!({"result": "ok"}));
    let open = client.with_key(None);

    database.go_away().await;
    for path in ["/integrations", "/logs/operations", "/encryption-keys"] {
        assert_outage(&client.get(path).await);
    }
    let other = client.create_integration("other", "bearer").await;
    assert_outage(&other);
    assert_outage(&wait_until_ready(&open, false).await);
    let health = open.get("/health").await;
    assert_eq!((health.status, &health.ok()["result"]), (200, &json!("ok")));
    assert_eq!(client.get("/no-such-route").await.status, 404);

    database.come_back().await;
    let _ = wait_until_ready(&open, true).await.ok();
    assert_eq!(client.create_integration("other", "bearer").await.status, 200);
    let log = server.log();
    let id = other.headers["x-request-id"].to_str().expect("an id is text");
    assert!(
        log.lines()
            .any(|line| line.contains(id) && line.contains("not currently accepting connections")),
        "the log does not say why {id} was refused: {log}"
    );
    let not_ready = log.matches("so this server is not ready").count();
    assert_eq!(not_ready, 1, "{log}");
    assert_eq!(log.matches("this server is ready").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_asked_once_a_second_whoever_wants_to_know() {
    let database = Database::postgres().await;
    let (clock, hand) = Clock::manual(NOW_MS);
    let settings = |config: &mut nango_runtime::config::Config| config.database_url = Some(database.url());
    let (runtime, _folder) = embedded::start_with(settings, clock, Entropy::system()).await;
    let crowd = async || {
        let asking = (0..CROWD).map(|_| {
            let runtime = runtime.clone();
            tokio::spawn(async move { runtime.is_ready().await })
        });
        let mut ready = 0;
        for asked in asking.collect::<Vec<_>>() {
            ready += usize::from(asked.await.expect("it is told"));
        }
        ready
    };
    assert_eq!(crowd().await, CROWD);
    database.go_away().await;
    hand.advance_ms(999);
    assert_eq!(crowd().await, CROWD, "what was seen less than a second ago");
    hand.advance_ms(1);
    assert_eq!(crowd().await, 0);
    database.come_back().await;
    assert_eq!(crowd().await, 0);
    hand.advance_ms(1_000);
    assert_eq!(crowd().await, CROWD);
}

async fn set_variable(client: &Client, number: usize) -> Answer {
    let path = format!("/environment-variables/V{}", number % 50);
    let value = format!("{number:016000}");
    client.json(Method::PUT, &path, &json!({ "value": value })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_what_is_to_be_written_and_nothing_else() {
    let runtime = TestRuntime::new().full_disk(DISK_BYTES);
    let (server, client) = prepared(runtime, "http://127.0.0.1:9").await;
    let mut written = 0;
    let refused = loop {
        let answer = set_variable(&client, written).await;
        if answer.status != 200 {
            break answer;
        }
        written += 1;
        assert!(written < 1_000, "the disk is not full after {written} values");
    };
    assert_outage(&refused);
    let list = client.get("/environment-variables?names_only=true").await.ok();
    assert!(list.as_array().is_some_and(|names| !names.is_empty()), "{list}");
    assert_eq!(client.get("/health/ready").await.status, 200, "it can be read");
    // Showing credentials is written down first, so they are not shown.
    let path = format!("/connections/{CONNECTION}?provider_config_key={INTEGRATION}");
    let mut shown = client.get(&path).await;
    // There may be room for a few small entries.
    while shown.status == 200 {
        shown = client.get(&path).await;
    }
    assert_outage(&shown);
    // What is wrong with a request stays so.
    let unknown = client.get("/integrations/nope").await;
    assert_eq!((unknown.status, unknown.error_code()), (404, "not_found".into()));

    server.free_disk();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = set_variable(&client, written).await;
        if answer.status == 200 {
            break;
        }
        assert_outage(&answer);
        assert!(Instant::now() < deadline, "{}", server.log());
    }
    let answer: Value = client.get("/health/ready").await.ok();
    assert_eq!(answer["result"], "ok");
}

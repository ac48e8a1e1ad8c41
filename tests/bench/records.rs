//! Records through a sync that asks a server on loopback for page after page: into SQLite, once more without a change, and read back
//! with `GET /records`; and the same on Postgres, where one is named. All of it shares the cores: the server with the pages, the
//! reader and the database do not get others.

use std::time::{Duration, Instant};

use nango_runtime_tests::client::for_connection;
use nango_runtime_tests::{Client, Database, TestRuntime, guest};
use reqwest::Method;
use serde_json::{Value, json};

use crate::Effort;
use crate::peer::{self, PAGE_CONTACTS};
use crate::report::{Figure, Target, median};

const INTEGRATION: &str = "bench";
const CONNECTION: &str = "conn";
/// One whose sync never ran.
const EMPTY: &str = "empty";
const SYNC: &str = "contacts";
const MODEL: &str = "Contact";

const SAVED_A_SECOND_MIN: f64 = 40_000.0;
const READ_A_SECOND_MIN: f64 = 100_000.0;
/// The second pass, which changes nothing, against the first.
const UNCHANGED_MIN: f64 = 1.5;
const RESIDENT_MIB_MAX: f64 = 120.0;
/// What is to be reached on Postgres of what is on SQLite.
const POSTGRES_MIN: f64 = 0.5;
/// `GET /sync/status` with all records there against none.
const STATUS_MAX: f64 = 1.5;
/// Calls of it; the median counts.
const STATUS_CALLS: usize = 101;
/// Records of one `GET /records`.
const READ_PAGE: u32 = 10_000;
/// Between two looks whether the sync is done.
const LOOK: Duration = Duration::from_millis(20);
/// How long a pass may take.
const PASS_MAX: Duration = Duration::from_secs(600);

/// A pass over all records.
struct Pass {
    a_second: f64,
    /// CPU time of the server, the database in it included, in microseconds.
    cpu_us: f64,
}

impl Pass {
    fn detail(&self) -> String {
        format!("{:.0} records/s, {:.1} us of CPU each", self.a_second, self.cpu_us)
    }
}

/// What one database did.
struct Measured {
    saved: Pass,
    unchanged: Pass,
    read: Pass,
    /// At its highest, of the server.
    resident_mib: f64,
    /// Of `GET /sync/status` where there are no records, and where there are all.
    status_us: (f64, f64),
}

pub async fn measure(effort: Effort) -> Vec<Figure> {
    let records = effort.record_pages * PAGE_CONTACTS;
    let sqlite = on(&Database::sqlite(), effort).await;
    let mut figures = vec![
        Figure {
            name: "records saved".to_owned(),
            unit: "/s",
            value: sqlite.saved.a_second,
            target: Target::AtLeast(SAVED_A_SECOND_MIN),
            detail: format!(
                "{records} of 500 bytes in pages of {PAGE_CONTACTS}, SQLite, {:.1} us of CPU each",
                sqlite.saved.cpu_us
            ),
        },
        Figure {
            name: "second pass without changes : first".to_owned(),
            unit: "x",
            value: sqlite.unchanged.a_second / sqlite.saved.a_second,
            target: Target::AtLeast(UNCHANGED_MIN),
            detail: sqlite.unchanged.detail(),
        },
        Figure {
            name: "memory of a sync of many records".to_owned(),
            unit: "MiB",
            value: sqlite.resident_mib,
            target: Target::AtMost(RESIDENT_MIB_MAX),
            detail: "the whole server at its highest, in both passes and while they are read".to_owned(),
        },
        Figure {
            name: "GET /sync/status with many records : without".to_owned(),
            unit: "x",
            value: sqlite.status_us.1 / sqlite.status_us.0,
            target: Target::AtMost(STATUS_MAX),
            detail: format!(
                "{:.0} us with {records} : {:.0} us",
                sqlite.status_us.1, sqlite.status_us.0
            ),
        },
        Figure {
            name: "GET /records".to_owned(),
            unit: "/s",
            value: sqlite.read.a_second,
            target: Target::AtLeast(READ_A_SECOND_MIN),
            detail: format!(
                "pages of {READ_PAGE}, one reader that follows the cursor, {:.1} us of CPU each",
                sqlite.read.cpu_us
            ),
        },
    ];
    if std::env::var_os("NANGO_TEST_POSTGRES_URL").is_none() {
        eprintln!("records on Postgres are not measured: NANGO_TEST_POSTGRES_URL names none");
        return figures;
    }
    let postgres = on(&Database::postgres().await, effort).await;
    let figure = |name: &str, ours: &Pass, target: f64| Figure {
        name: format!("{name}, Postgres"),
        unit: "/s",
        value: ours.a_second,
        target: Target::AtLeast(target * POSTGRES_MIN),
        detail: format!("{:.1} us of CPU each, without the database's", ours.cpu_us),
    };
    figures.push(figure("records saved", &postgres.saved, SAVED_A_SECOND_MIN));
    figures.push(figure(
        "second pass without changes",
        &postgres.unchanged,
        SAVED_A_SECOND_MIN * UNCHANGED_MIN,
    ));
    figures.push(figure("GET /records", &postgres.read, READ_A_SECOND_MIN));
    figures
}

async fn on(database: &Database, effort: Effort) -> Measured {
    let upstream = peer::with_pages(effort.record_pages);
    let provider = format!(
        "upstream:\n  display_name: Upstream\n  auth_mode: NONE\n  proxy:\n    base_url: {}\n",
        upstream.url
    );
    let server = database
        .serve(TestRuntime::new())
        .egress_loopback()
        .provider_yaml(&provider)
        .environment("NANGO_LOG", "warn")
        .start();
    let client = server.client();
    let _ = client.create_integration(INTEGRATION, "upstream").await.ok();
    for connection in [CONNECTION, EMPTY] {
        let _ = client
            .import_connection(INTEGRATION, connection, json!({"type": "NONE"}))
            .await
            .ok();
    }
    let _ = client.deploy(INTEGRATION, guest::component("pages")).await.ok();

    let records = effort.record_pages * PAGE_CONTACTS;
    // The compiler is no part of a sync.
    server.forget_peak();
    let measured = async |pass: std::pin::Pin<Box<dyn Future<Output = f64>>>| {
        let before = server.cpu_seconds();
        let a_second = pass.await;
        Pass {
            a_second,
            cpu_us: (server.cpu_seconds() - before) * 1e6 / f64::from(records),
        }
    };
    let saved = measured(Box::pin(pass(client.clone(), records))).await;
    let unchanged = measured(Box::pin(pass(client.clone(), records))).await;
    let status_us = status_us(&client).await;
    let read = measured(Box::pin(read(client.clone(), records))).await;
    let resident_kib = u32::try_from(server.peak_resident_bytes() >> 10).unwrap_or(u32::MAX);
    Measured {
        saved,
        unchanged,
        read,
        resident_mib: f64::from(resident_kib) / 1024.0,
        status_us,
    }
}

/// The median times to ask how the sync is doing that never ran, and the one with all records, in turns.
async fn status_us(client: &Client) -> (f64, f64) {
    let mut times_us = [Vec::new(), Vec::new()];
    for _ in 0..STATUS_CALLS {
        for (times_us, connection) in times_us.iter_mut().zip([EMPTY, CONNECTION]) {
            let started = Instant::now();
            let _ = client.sync_status(INTEGRATION, connection, SYNC).await;
            times_us.push(started.elapsed().as_secs_f64() * 1e6);
        }
    }
    let [without, with] = times_us.map(median);
    (without, with)
}

/// Has the sync run to its end; gives records a second. Looks at the log for that, which knows the run by its own id.
async fn pass(client: Client, records: u32) -> f64 {
    let last = async || {
        let operations = client.get("/logs/operations?limit=1").await.ok();
        operations["data"][0].clone()
    };
    let before = last().await["id"].clone();
    let started = Instant::now();
    let _ = client.trigger_sync(INTEGRATION, CONNECTION, SYNC).await.ok();
    loop {
        tokio::time::sleep(LOOK).await;
        let operation = last().await;
        if operation["id"] != before && operation["state"] != "running" {
            let elapsed = started.elapsed();
            let status = client.sync_status(INTEGRATION, CONNECTION, SYNC).await;
            assert_eq!(status["recordCount"], json!({ MODEL: records }), "{status}");
            return f64::from(records) / elapsed.as_secs_f64();
        }
        assert!(started.elapsed() < PASS_MAX, "the sync does not end: {operation}");
    }
}

/// Follows the cursor to the end; gives records a second. Whether all came is seen afterwards: reading JSON is the reader's work, and
/// would share the cores with the server.
async fn read(client: Client, records: u32) -> f64 {
    let (mut query, mut bytes) = (format!("&limit={READ_PAGE}"), 0);
    let started = Instant::now();
    loop {
        let path = format!("/records?model={MODEL}{query}");
        let request = for_connection(client.request(Method::GET, &path), INTEGRATION, CONNECTION);
        let mut answer = request.send().await.expect("the server answers");
        assert_eq!(answer.status().as_u16(), 200);
        let first = answer.chunk().await.expect("a body").expect("it is not empty");
        bytes += first.len();
        while let Some(more) = answer.chunk().await.expect("the body goes on") {
            bytes += more.len();
        }
        // The cursor is at the beginning of the answer.
        let head = String::from_utf8_lossy(first.get(..300).unwrap_or(&first)).into_owned();
        let cursor = head
            .strip_prefix(r#"{"next_cursor":""#)
            .and_then(|rest| rest.split_once('"'))
            .map(|(cursor, _)| cursor.to_owned());
        let Some(cursor) = cursor else { break };
        query = format!("&limit={READ_PAGE}&cursor={cursor}");
    }
    let elapsed = started.elapsed();
    // Nobody could write it so short.
    assert!(bytes > records as usize * 400, "{bytes} bytes");
    let last = client.records(INTEGRATION, CONNECTION, MODEL, &query).await.json();
    assert!(last["next_cursor"] == Value::Null, "the end is the end");
    f64::from(records) / elapsed.as_secs_f64()
}

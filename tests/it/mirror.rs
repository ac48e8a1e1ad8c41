//! A sync of a paginated upstream that changes while it is read, left alone and killed at random moments: in the end the records
//! are the upstream's state, the application was told of each run once, and the schedule is where it was.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Method;
use nango_runtime::clock::Entropy;
use nango_runtime_tests::guest;
use nango_runtime_tests::upstream::Received;
use nango_runtime_tests::{Client, Database, Reply, Server, TestRuntime, Upstream, for_each_database, soak};
use serde_json::{Value, json};

use crate::fixture::{API_KEY, INTEGRATION, prepared, providers};

const SYNC: &str = "mirror";
/// Of the sync; its slots lie on a grid of so much.
const FREQUENCY_MS: i64 = 30_000;
const ITEMS: u64 = 400;
/// What one page of the upstream takes.
const PAGE_DELAY: Duration = Duration::from_millis(4);
/// The last moment after a trigger at which a kill comes: by then the run has ended.
const KILL_US_MAX: u64 = 500_000;
const WAIT: Duration = Duration::from_secs(120);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

for_each_database! {
    a_sync_of_an_upstream_that_changes_ends_with_its_state,
    and_so_it_does_with_sealed_records,
    killed_at_random_moments_everything_is_there_and_told_once,
}

/// A list in pages by offset, which changes with every request until it is told to be quiet.
struct Moving {
    random: Entropy,
    items: BTreeMap<u64, u64>,
    deleted: BTreeSet<u64>,
    is_quiet: bool,
    /// Executions in the order of their first request, by connection.
    executions: HashMap<String, Vec<String>>,
}

impl Moving {
    fn new(random: &Entropy) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            random: Entropy::seeded(u64::from_le_bytes(random.bytes())),
            items: (0..ITEMS).map(|id| (id, 0)).collect(),
            deleted: BTreeSet::new(),
            is_quiet: false,
            executions: HashMap::new(),
        }))
    }

    fn below(&self, end: u64) -> u64 {
        u64::from_le_bytes(self.random.bytes()) % end
    }

    fn change(&mut self) {
        // Twice the ids there are, so that about half of them are deleted.
        let id = self.below(2 * ITEMS);
        if self.below(3) == 0 {
            if self.items.remove(&id).is_some() {
                self.deleted.insert(id);
            }
        } else {
            let value = self.below(1_000);
            self.items.insert(id, value);
            self.deleted.remove(&id);
        }
    }

    fn answer(&mut self, request: &Received) -> Reply {
        self.note_execution(request);
        if !self.is_quiet {
            for _ in 0..self.below(4) {
                self.change();
            }
        }
        if request.target == "/deleted" {
            let deleted: Vec<String> = self.deleted.iter().map(u64::to_string).collect();
            return Reply::json(200, &json!(deleted));
        }
        let number = |name: &str| {
            let (_, query) = request.target.split_once('?')?;
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name)?.1.parse::<usize>().ok()
        };
        let (offset, limit) = (number("offset").expect("an offset"), number("limit").expect("a limit"));
        let page = self.items.iter().skip(offset).take(limit);
        let page: Vec<Value> = page
            .map(|(id, value)| json!({"id": id.to_string(), "value": value}))
            .collect();
        Reply::json(200, &json!(page)).after(PAGE_DELAY)
    }

    /// One execution of a connection's sync comes after the other.
    fn note_execution(&mut self, request: &Received) {
        let connection = request.header("authorization").to_owned();
        let execution = request.header("x-execution").to_owned();
        let before = self.executions.entry(connection).or_default();
        if before.last() != Some(&execution) {
            assert!(!before.contains(&execution), "two runs of one sync at the same time");
            before.push(execution);
        }
    }

    fn records(&self) -> BTreeMap<String, u64> {
        self.items.iter().map(|(id, value)| (id.to_string(), *value)).collect()
    }
}

// Held for an answer, and never across an await. Poisoned by an assertion above, which the test then meets.
fn lock(moving: &Mutex<Moving>) -> MutexGuard<'_, Moving> {
    moving.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn upstream(moving: &Arc<Mutex<Moving>>) -> Upstream {
    let moving = Arc::clone(moving);
    Upstream::handling(move |request| moving.lock().expect("no assertion failed").answer(request)).await
}

fn of(connection: &str) -> Value {
    json!({"provider_config_key": INTEGRATION, "connection_id": connection, "syncs": [SYNC]})
}

/// What is not deleted.
async fn records(client: &Client, connection: &str) -> BTreeMap<String, u64> {
    let (mut records, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let query = format!("&limit=150&filter=added,updated{cursor}");
        let page = client.records(INTEGRATION, connection, "Item", &query).await.ok();
        for record in page["records"].as_array().expect("records") {
            let id = record["id"].as_str().expect("an id").to_owned();
            let twice = records.insert(id, record["value"].as_u64().expect("a value"));
            assert_eq!(twice, None, "{record} comes twice");
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return records,
        }
    }
}

async fn a_sync_of_an_upstream_that_changes_ends_with_its_state(database: Database) {
    let test = "a_sync_of_an_upstream_that_changes_ends_with_its_state";
    ends_with_its_state(test, database, TestRuntime::new(), (8, 400)).await;
}

async fn and_so_it_does_with_sealed_records(database: Database) {
    let runtime = TestRuntime::new().environment("NANGO_RECORD_ENCRYPTION", "on");
    ends_with_its_state("and_so_it_does_with_sealed_records", database, runtime, (3, 40)).await;
}

async fn ends_with_its_state(test: &str, database: Database, runtime: TestRuntime, (few, many): (u32, u32)) {
    let random = soak::random(test);
    let moving = Moving::new(&random);
    let upstream = upstream(&moving).await;
    let runtime = database.serve(runtime).egress_loopback();
    let (_server, client) = prepared(runtime, &upstream.url()).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let connection = crate::fixture::CONNECTION;
    for _ in soak::repeat(test, few, many) {
        let status = client.run_sync(INTEGRATION, connection, SYNC).await;
        assert_eq!(status["latestExecutionStatus"], "SUCCESS", "{status}");
    }
    let during = records(&client, connection).await;
    lock(&moving).is_quiet = true;
    let status = client.run_sync(INTEGRATION, connection, SYNC).await;
    let expected = lock(&moving).records();
    assert_eq!(records(&client, connection).await, expected, "{status}");
    assert_ne!(during, expected, "the upstream did not change while it was read");
    let again = client.run_sync(INTEGRATION, connection, SYNC).await;
    let nothing = json!({"added": 0, "updated": 0, "deleted": 0});
    assert_eq!(again["latestResult"]["Item"], nothing, "all is there: {again}");
}

fn start(database: &Database, url: &str) -> Server {
    let runtime = database.serve(TestRuntime::new()).egress_loopback();
    runtime.provider_yaml(&providers(url)).start()
}

/// The phase of each connection's next slot on the grid of [`FREQUENCY_MS`].
async fn phase(client: &Client, connection: &str) -> i64 {
    let status = client.sync_status(INTEGRATION, connection, SYNC).await;
    let next = status["nextScheduledSyncAt"].as_str().unwrap_or_default();
    let next: jiff::Timestamp = next
        .parse()
        .unwrap_or_else(|_| panic!("there is no next slot: {status}"));
    next.as_millisecond().rem_euclid(FREQUENCY_MS)
}

async fn killed_at_random_moments_everything_is_there_and_told_once(database: Database) {
    let test = "killed_at_random_moments_everything_is_there_and_told_once";
    let random = soak::random(test);
    let moving = Moving::new(&random);
    let upstream = upstream(&moving).await;
    let application = Upstream::replying([Reply::status(200)]).await;
    let runtime = database.serve(TestRuntime::new()).egress_loopback();
    let (mut server, client) = prepared(runtime, &upstream.url()).await;
    let wanted =
        json!({"primary_url": application.url(), "on_auth_creation": false, "on_sync_completion_always": true});
    let _ = client.json(Method::PATCH, "/environment/webhooks", &wanted).await.ok();
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    // On Postgres a dead process is believed to live until its leases end: more connections have more going on meanwhile.
    let connections: Vec<String> = (0..soak::rounds(4, 40))
        .map(|number| format!("customer-{number}"))
        .collect();
    let mut phases = BTreeMap::new();
    for connection in &connections {
        let credentials = json!({"type": "API_KEY", "apiKey": format!("{API_KEY}-{connection}")});
        let _ = client
            .import_connection(INTEGRATION, connection, credentials)
            .await
            .ok();
        let _ = client.post("/sync/start", &of(connection)).await.ok();
        // Its first slot is now.
        let first = |status: &Value| status["status"] != "RUNNING" && status["finishedAt"].is_string();
        let _ = client.wait_for_sync(INTEGRATION, connection, SYNC, first).await;
        phases.insert(connection, phase(&client, connection).await);
    }
    for round in soak::repeat(test, 5, 200) {
        let client = server.client();
        let connection = &connections[round as usize % connections.len()];
        let triggered = client.trigger_sync(INTEGRATION, connection, SYNC).await;
        assert!([200, 409].contains(&triggered.status), "{}", triggered.text());
        tokio::time::sleep(Duration::from_micros(soak::micros(&random, 0..KILL_US_MAX))).await;
        server.process().kill();
        server = start(&database, &upstream.url());
    }
    lock(&moving).is_quiet = true;
    let client = server.client();
    let expected = lock(&moving).records();
    for connection in &connections {
        let status = client.run_sync(INTEGRATION, connection, SYNC).await;
        assert_eq!(status["latestExecutionStatus"], "SUCCESS", "{status}");
        assert_eq!(records(&client, connection).await, expected, "{connection}: {status}");
        assert_eq!(
            phase(&client, connection).await,
            phases[connection],
            "{connection} left its grid"
        );
        let _ = client.post("/sync/pause", &of(connection)).await.ok();
    }
    for connection in &connections {
        let idle = |status: &Value| status["latestExecutionStatus"] != "RUNNING" && status["status"] == "PAUSED";
        let _ = client.wait_for_sync(INTEGRATION, connection, SYNC, idle).await;
    }
    let syncs =
        database.value("SELECT CAST(COUNT(*) AS TEXT) FROM syncs WHERE function = 'mirror' AND variant = 'base'");
    // And the connection that every server of these tests begins with.
    assert_eq!(
        syncs.await,
        (connections.len() + 1).to_string(),
        "each has one schedule"
    );
    assert_told_once(&database, &application).await;
}

/// Each run that ended is announced, by one webhook that says the same however often it came.
async fn assert_told_once(database: &Database, application: &Upstream) {
    let ended =
        "SELECT CAST(COUNT(*) AS TEXT) FROM runs WHERE function = 'mirror' AND state IN ('succeeded', 'failed')";
    let ended: usize = database.value(ended).await.parse().expect("a number");
    let waiting = "SELECT CAST(COUNT(*) AS TEXT) FROM webhooks WHERE state <> 'delivered'";
    let deadline = Instant::now() + WAIT;
    while database.value(waiting).await != "0" {
        assert!(Instant::now() < deadline, "webhooks are left");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    let mut told = HashMap::new();
    for received in application.received() {
        let id = received.header("x-nango-webhook-id").to_owned();
        let body = received.body.clone();
        let first = told.entry(id).or_insert_with(|| body.clone());
        assert_eq!(*first, body, "one webhook says two things");
    }
    assert_eq!(told.len(), ended, "runs that ended, and what the application was told");
    let mut runs = BTreeSet::new();
    for body in told.values() {
        let body: Value = serde_json::from_slice(body).expect("a webhook is JSON");
        assert_eq!(
            (&body["type"], &body["syncName"]),
            (&json!("sync"), &json!(SYNC)),
            "{body}"
        );
        assert_eq!(body["success"], true, "{body}");
        let run = format!("{} {}", body["connectionId"], body["queryTimeStamp"]);
        assert!(runs.insert(run), "a run is announced twice: {body}");
    }
}

//! An encryption key is changed while two processes serve from one Postgres: both read and write at every moment, the old key
//! goes, and whoever has only that one does not start and destroys nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nango_runtime_tests::command::Cli;
use nango_runtime_tests::database::Cell;
use nango_runtime_tests::{Client, Database, Server, TestRuntime};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const KEY_FILE: &str = "encryption.key";
const CONNECTIONS: usize = 150;
/// Keys settle for 45 s before they may go, and processes look for news every 5 s.
const PATIENCE: Duration = Duration::from_secs(100);
/// What servers write by themselves, and what a look at something writes.
const RESTLESS: [&str; 8] = [
    "api_keys",
    "credential_reads",
    "encryption_key_holders",
    "log_changes",
    "log_writers",
    "messages",
    "operations",
    "runs",
];

struct Node {
    server: Server,
    client: Client,
    data: PathBuf,
}

impl Node {
    fn start(database: &Database, name: &str) -> Self {
        let data = database.folder().join(name);
        let server = runtime(database, &data).start();
        let client = server.client();
        Self { server, client, data }
    }

    fn keys(&self) -> Vec<u8> {
        keys(&self.data)
    }

    async fn states(&self) -> Vec<String> {
        let status = self.client.get("/encryption-keys").await.ok();
        let keys = status["data"].as_array().expect("a list of keys");
        let state = |key: &Value| key["state"].as_str().unwrap_or_default().to_owned();
        keys.iter().map(state).collect()
    }
}

fn runtime(database: &Database, data: &Path) -> TestRuntime {
    database.serve_with_own_keys(TestRuntime::new().data(data))
}

fn keys(data: &Path) -> Vec<u8> {
    std::fs::read(data.join(KEY_FILE)).expect("there is a key file")
}

fn with_keys(database: &Database, name: &str, keys: &[u8]) -> PathBuf {
    let data = database.folder().join(name);
    std::fs::create_dir_all(&data).expect("a folder can be made");
    put_keys(&data, keys);
    data
}

/// For its owner only, else it is refused.
fn put_keys(data: &Path, keys: &[u8]) {
    let file = data.join(KEY_FILE);
    let mut options = std::fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create(true).truncate(true), 0o600);
    let mut file = options.open(file).expect("a key file can be made");
    std::io::Write::write_all(&mut file, keys).expect("a key file can be written");
}

async fn import(client: &Client, id: &str) {
    let key = json!({"type": "API_KEY", "apiKey": format!("secret-of-{id}")});
    let _ = client.import_connection("keys", id, key).await.ok();
}

async fn reads(client: &Client, id: &str) {
    let shown = client.get(&format!("/connections/{id}?provider_config_key=keys")).await;
    assert_eq!(shown.ok()["credentials"]["apiKey"], format!("secret-of-{id}"));
}

/// Reads what was there and writes something that the other process reads, again and again until it is told to stop. Gives
/// what it wrote.
fn busy(by: &Node, read_by: &Node, stop: &Arc<AtomicBool>, rounds: &Arc<AtomicUsize>) -> JoinHandle<Vec<String>> {
    let (client, other) = (by.client.clone(), read_by.client.clone());
    let (stop, rounds) = (Arc::clone(stop), Arc::clone(rounds));
    let name = by
        .data
        .file_name()
        .expect("a folder has a name")
        .to_string_lossy()
        .into_owned();
    tokio::spawn(async move {
        let mut written = Vec::new();
        for round in 0_usize.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            reads(&client, &format!("c{}", round % CONNECTIONS)).await;
            if round % 4 == 0 {
                let id = format!("{name}-{round}");
                import(&client, &id).await;
                reads(&other, &id).await;
                written.push(id);
            }
            rounds.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        written
    })
}

/// Waits until the condition holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// All that a process which does not start must leave as it is.
async fn at_rest(database: &Database) -> BTreeSet<(String, String, Vec<u8>)> {
    let cells = database.dump().await.into_iter();
    let settled = cells.filter(|cell| !RESTLESS.contains(&cell.table.as_str()) && cell.column != "last_fetched_at_ms");
    settled
        .map(|Cell { table, column, bytes }| (table, column, bytes))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_while_two_processes_serve() {
    let database = Database::postgres().await;
    let first = Node::start(&database, "first");
    let old = first.keys();
    with_keys(&database, "second", &old);
    let second = Node::start(&database, "second");
    let _ = first.client.create_integration("keys", "private-api-bearer").await.ok();
    for number in 0..CONNECTIONS {
        import(&first.client, &format!("c{number}")).await;
    }
    let (stop, rounds) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
    let busy = [
        busy(&first, &second, &stop, &rounds),
        busy(&second, &first, &stop, &rounds),
    ];

    // The new key waits for the second process, which gets it by hand.
    let mut rotated = Cli::of(&first.server, &["keys", "rotate"]).start();
    until("a key waits", async || first.states().await == ["sealing", "waiting"]).await;
    let after = rounds.load(Ordering::Relaxed) + 50;
    until("both go on", async || rounds.load(Ordering::Relaxed) > after).await;
    assert_eq!(second.states().await, ["sealing", "waiting"]);
    // Who has the old key only is refused already, and holds nobody up.
    let third = with_keys(&database, "third", &old);
    let before = first.keys();
    assert!(before.starts_with(&old[..40]), "the old key stays where it is");
    refused(&database, &third, "(version 2) is missing here");
    put_keys(&second.data, &before);
    until("the new key seals", async || {
        second.states().await == ["opening", "sealing"]
    })
    .await;
    until("all is moved", async || {
        first.client.get("/encryption-keys").await.ok()["remaining"] == 0
    })
    .await;
    assert!(rotated.wait().success(), "{}", rotated.text(None));

    until("the old key goes", async || {
        let retired = Cli::of(&second.server, &["keys", "retire", "1"]).run();
        assert!(
            retired.code == Some(0) || retired.stderr.contains("again in") || retired.stderr.contains("wait until"),
            "{}",
            retired.stderr
        );
        retired.code == Some(0)
    })
    .await;
    until("both let go of it", async || {
        first.keys().len() == old.len() && second.keys().len() == old.len()
    })
    .await;
    let new = first.keys();
    assert_eq!(second.keys(), new);
    assert_ne!(new, old);
    let after = rounds.load(Ordering::Relaxed) + 50;
    until("both go on", async || rounds.load(Ordering::Relaxed) > after).await;
    stop.store(true, Ordering::Relaxed);
    let mut written: Vec<String> = (0..CONNECTIONS).map(|number| format!("c{number}")).collect();
    for busy in busy {
        written.extend(busy.await.expect("a reader never fails"));
    }

    // The old key alone, and no key at all.
    let before = at_rest(&database).await;
    refused(&database, &third, "sealed with the encryption key");
    assert_eq!(keys(&third), old, "a key file is left as it is");
    refused(
        &database,
        &database.folder().join("fourth"),
        "there is no encryption key, and the database is sealed with the key",
    );
    let after = at_rest(&database).await;
    let changed: Vec<_> = before.symmetric_difference(&after).collect();
    assert!(
        changed.is_empty(),
        "changed by processes that did not start: {changed:?}"
    );
    for id in &written {
        reads(&first.client, id).await;
        reads(&second.client, id).await;
    }
    // With the new one it starts, from nothing but that.
    with_keys(&database, "third", &new);
    let third = Node::start(&database, "third");
    reads(&third.client, &written[written.len() - 1]).await;
}

/// A process on that data folder does not start, and says why.
#[track_caller]
fn refused(database: &Database, data: &Path, why: &str) {
    let (code, told) = runtime(database, data).fail();
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains(why), "{told}");
}

//! Records whose payloads are sealed: read, merged, pruned and compared like others, whoever has the database alone learns nothing of
//! them, and neither the setting nor the encryption key makes a record look changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use nango_runtime::clock::{Clock, Entropy};
use nango_runtime::credentials::Secret;
use nango_runtime::encryption::{KeyId, KeySource, Keyring};
use nango_runtime::model::{Counts, RecordFilter};
use nango_runtime::records::{Batch, Records, SEALING_STEPS_MAX, SealingPlace};
use nango_runtime::rotation::Rotation;
use nango_runtime::store::{RecordKey, Store};
use nango_runtime_tests::command::Cli;
use nango_runtime_tests::database::{Cell, ENCRYPTION_KEY};
use nango_runtime_tests::{Client, Database, Server, TestRuntime, client, for_each_database, guest, soak};
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, INTEGRATION, prepared, providers};

const MODEL: &str = "Item";
const NEEDLE: &str = "needle-in-a-haystack";
const NOW_MS: i64 = 1_795_346_513_000;
const SECOND_KEY: &str = "c2Vjb25kIGtleSBvZiBzZXJ2ZXJzIGluIHRlc3RzISE=";
const WAIT: Duration = Duration::from_secs(60);

for_each_database! {
    payloads_are_in_no_table_and_are_read_as_ever,
    a_payload_in_another_row_is_not_shown,
    the_setting_changes_no_record,
    settings_keys_and_prunes_make_no_change_that_a_model_has_not,
    a_wrong_key_and_none_are_refused_and_harm_nothing,
    a_pass_goes_on_while_records_are_sealed,
}

fn source(keys: &str) -> KeySource {
    KeySource::Given(Secret::new(keys.to_owned()))
}

/// That of servers in tests, and a second one that opens.
pub fn keyring() -> Keyring {
    let keys = source(&format!("{SECOND_KEY},{ENCRYPTION_KEY}"));
    let mut keys = keys.load().expect("they are keys");
    let newest = keys.pop().expect("there are two");
    Keyring::with_older(newest, keys, Entropy::seeded(7))
}

pub async fn open(store: &Store, keyring: &Keyring, clock: Clock, seals: bool) -> Records {
    let entropy = Entropy::seeded(8);
    let opened = Records::open(store.clone(), keyring.clone(), clock, &entropy, seals).await;
    opened.expect("the key is that of the database")
}

fn start(database: &Database, setting: &str) -> Server {
    let runtime = TestRuntime::new().environment("NANGO_RECORD_ENCRYPTION", setting);
    let runtime = database.serve(runtime).provider_yaml(&providers("http://127.0.0.1:9"));
    runtime.start()
}

async fn key(database: &Database) -> RecordKey {
    let connection_key = database.value("SELECT connection_key FROM connections").await;
    RecordKey {
        connection_key: connection_key.as_str().into(),
        model: MODEL.to_owned(),
    }
}

fn items(ids: std::ops::Range<usize>) -> String {
    let item = |id| json!({"id": format!("i{id}"), "deep": {"text": format!("{NEEDLE}-{id}")}, "n": id});
    json!(ids.map(item).collect::<Vec<_>>()).to_string()
}

fn batch(json: &str) -> Batch<'_> {
    Batch::parse(json).expect("the batch is right")
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

async fn payloads_are_in_no_table_and_are_read_as_ever(database: Database) {
    let runtime = TestRuntime::new().environment("NANGO_RECORD_ENCRYPTION", "on");
    let (server, client) = prepared(database.serve(runtime), "http://127.0.0.1:9").await;
    let key = key(&database).await;
    let store = Store::open(&database.url()).await.expect("the database is there");
    let records = open(&store, &keyring(), Clock::manual(NOW_MS).0, true).await;
    let saved = items(0..600);
    assert_eq!(records.save(&key, &batch(&saved), None).await.unwrap().added, 600);
    let again = records.save(&key, &batch(&saved), None).await.unwrap();
    assert_eq!((again.updated, again.unchanged), (0, 600));
    let patch = json!([{"id": "i1", "deep": {"more": format!("{NEEDLE}-more")}}, {"id": "unknown"}]).to_string();
    let updated = records.update(&key, &batch(&patch), None).await.unwrap();
    assert_eq!((updated.updated, updated.unchanged), (1, 0));
    records.delete(&key, &batch(r#"[{"id":"i2"}]"#), None).await.unwrap();

    let page = client.records(INTEGRATION, CONNECTION, MODEL, "&limit=1000").await.ok();
    let shown = page["records"].as_array().expect("records");
    assert_eq!(shown.len(), 600);
    assert_eq!(shown[0], {
        let mut wanted = json!({"id": "i0", "deep": {"text": format!("{NEEDLE}-0")}, "n": 0});
        wanted["_nango_metadata"] = shown[0]["_nango_metadata"].clone();
        wanted
    });
    let (merged, deleted) = (&shown[598], &shown[599]);
    let both = json!({"text": format!("{NEEDLE}-1"), "more": format!("{NEEDLE}-more")});
    assert_eq!((&merged["id"], &merged["deep"]), (&json!("i1"), &both));
    assert_eq!(deleted["n"], 2, "the last payload stays: {deleted}");
    let export = client.request(Method::GET, &format!("/records/export?model={MODEL}&filter=updated"));
    let export = client::send(client::for_connection(export, INTEGRATION, CONNECTION)).await;
    assert!(export.text().contains(&format!("{NEEDLE}-more")), "{}", export.text());
    let found = records.by_ids(&key, &["i5".to_owned()]).await.unwrap();
    assert!(found.contains(&format!("{NEEDLE}-5")), "{found}");

    let until = &shown[9]["_nango_metadata"]["cursor"];
    let prune = client.request(Method::PATCH, "/records/prune");
    let prune = client::for_connection(prune, INTEGRATION, CONNECTION);
    let prune = client::json_body(prune, &json!({"model": MODEL, "until_cursor": until}));
    assert_eq!(client::send(prune).await.ok(), json!({"count": 10, "has_more": false}));
    let pruned = client.records(INTEGRATION, CONNECTION, MODEL, "&limit=1").await.ok();
    let pruned = &pruned["records"][0];
    assert_eq!((&pruned["id"], &pruned["n"]), (&json!("i0"), &Value::Null));
    let again = records.save(&key, &batch(&items(0..1)), None).await.unwrap();
    assert_eq!(again.unchanged, 1, "what was pruned is not taken for changed");

    // Neither in a table nor in a file; with what they were saved as, one could tell.
    let cells = database.dump().await;
    let told = cells.iter().find(|cell| contains(&cell.bytes, NEEDLE));
    assert!(told.is_none(), "{told:?}");
    let hashes = |cells: &[Cell]| -> Vec<Vec<u8>> {
        let hashes = cells
            .iter()
            .filter(|cell| (&*cell.table, &*cell.column) == ("records", "hash"));
        hashes.map(|cell| cell.bytes.clone()).collect()
    };
    let keyed = hashes(&cells);
    drop(server);
    if !database.is_postgres() {
        for file in std::fs::read_dir(database.data()).expect("a data folder") {
            let path = file.expect("an entry").path();
            if path.is_file() {
                assert!(
                    !contains(&std::fs::read(&path).expect("a file"), NEEDLE),
                    "{}",
                    path.display()
                );
            }
        }
    }
    // The same in clear, for comparison: another hash, and the text.
    let open_key = RecordKey {
        model: "Open".to_owned(),
        ..key.clone()
    };
    let in_clear = open(&store, &keyring(), Clock::manual(NOW_MS).0, false).await;
    in_clear.save(&open_key, &batch(&saved), None).await.unwrap();
    let cells = database.dump().await;
    assert!(cells.iter().any(|cell| contains(&cell.bytes, NEEDLE)));
    let open_hashes: Vec<Vec<u8>> = hashes(&cells)
        .into_iter()
        .filter(|hash| !keyed.contains(hash))
        .collect();
    assert_eq!((keyed.len(), open_hashes.len()), (600, 600));
    store.close().await;
}

async fn a_payload_in_another_row_is_not_shown(database: Database) {
    let runtime = TestRuntime::new().environment("NANGO_RECORD_ENCRYPTION", "on");
    let (_server, client) = prepared(database.serve(runtime), "http://127.0.0.1:9").await;
    let key = key(&database).await;
    let store = Store::open(&database.url()).await.expect("the database is there");
    let records = open(&store, &keyring(), Clock::manual(NOW_MS).0, true).await;
    records.save(&key, &batch(&items(0..2)), None).await.unwrap();
    let moved = "UPDATE records SET sealed = (SELECT other.sealed FROM records other WHERE other.external_id = 'i1') \
                 WHERE external_id = 'i0'";
    assert_eq!(database.execute(moved).await, 1);
    let shown = client.records(INTEGRATION, CONNECTION, MODEL, "").await;
    assert_eq!(shown.status, 500, "{}", shown.text());
    assert!(!shown.text().contains(NEEDLE), "{}", shown.text());
    let rest = client.records(INTEGRATION, CONNECTION, MODEL, "&ids=i1").await.ok();
    assert_eq!(rest["records"][0]["n"], 1);
    store.close().await;
}

async fn none_in_clear(database: &Database) {
    let deadline = Instant::now() + WAIT;
    let left = "SELECT CAST(COUNT(*) AS TEXT) FROM record_models WHERE payloads <> 'sealed'";
    while database.value(left).await != "0" {
        assert!(Instant::now() < deadline, "records are left in clear");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn the_setting_changes_no_record(database: Database) {
    const SYNC: &str = "items";
    let nothing = json!({"added": 0, "updated": 0, "deleted": 0});
    let (server, client) = prepared(database.serve(TestRuntime::new()), "http://127.0.0.1:9").await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let metadata = |value: u64| json!({"pages": 2, "records": 300, "value": value});
    let _ = client.set_metadata(INTEGRATION, CONNECTION, metadata(1)).await.ok();
    let first = client.run_sync(INTEGRATION, CONNECTION, SYNC).await;
    assert_eq!(first["latestResult"]["Item"]["added"], 600, "{first}");
    let shown = async |client: &Client| {
        let page = client.records(INTEGRATION, CONNECTION, MODEL, "&limit=1000").await.ok();
        page["records"].clone()
    };
    let before = shown(&client).await;
    let in_clear = async |server: &Server| {
        let status = Cli::of(server, &["keys", "status"]).run();
        assert_eq!(status.code, Some(0), "{}", status.stderr);
        let answer = server.client().get("/encryption-keys").await.ok();
        assert_eq!(
            answer["records_in_clear"],
            status.stderr.contains("stored in clear"),
            "{answer}"
        );
        answer["records_in_clear"] == true
    };
    assert!(in_clear(&server).await);
    drop(server);

    // On: those that are there are sealed, and are what they were.
    let server = start(&database, "on");
    let client = server.client();
    none_in_clear(&database).await;
    assert_eq!(
        database
            .value("SELECT CAST(COUNT(*) AS TEXT) FROM records WHERE length(sealed) > 0")
            .await,
        "600"
    );
    assert_eq!(shown(&client).await, before);
    let again = client.run_sync(INTEGRATION, CONNECTION, SYNC).await;
    assert_eq!(again["latestResult"]["Item"], nothing, "{again}");
    let keys = client.get("/encryption-keys").await.ok().to_string();
    assert!(keys.contains("records.sealed"), "{keys}");
    assert!(!in_clear(&server).await);
    drop(server);

    // Off: they stay so until they change.
    let server = start(&database, "off");
    let client = server.client();
    assert_eq!(shown(&client).await, before);
    let again = client.run_sync(INTEGRATION, CONNECTION, SYNC).await;
    assert_eq!(again["latestResult"]["Item"], nothing, "{again}");
    let _ = client.set_metadata(INTEGRATION, CONNECTION, metadata(2)).await.ok();
    let changed = client.run_sync(INTEGRATION, CONNECTION, SYNC).await;
    assert_eq!(changed["latestResult"]["Item"]["updated"], 600, "{changed}");
    assert_eq!(
        database
            .value("SELECT CAST(COUNT(*) AS TEXT) FROM records WHERE sealed IS NULL")
            .await,
        "600"
    );
    let after = shown(&client).await;
    assert!(
        after
            .as_array()
            .is_some_and(|records| records.iter().all(|record| record["value"] == 2)),
        "{after}"
    );
}

async fn seal_stored(records: &Records) {
    let mut place = SealingPlace::default();
    let done = records.seal_stored(&mut place, SEALING_STEPS_MAX).await.unwrap();
    assert!(!done.more);
}

async fn a_wrong_key_and_none_are_refused_and_harm_nothing(database: Database) {
    let runtime = TestRuntime::new().environment("NANGO_RECORD_ENCRYPTION", "on");
    let (server, client) = prepared(database.serve(runtime), "http://127.0.0.1:9").await;
    let key = key(&database).await;
    let store = Store::open(&database.url()).await.expect("the database is there");
    let records = open(&store, &keyring(), Clock::manual(NOW_MS).0, true).await;
    records.save(&key, &batch(&items(0..3)), None).await.unwrap();
    store.close().await;
    let before = client.records(INTEGRATION, CONNECTION, MODEL, "").await.ok();
    drop(server);
    let cells = database.dump().await;

    let refused = |runtime: TestRuntime| {
        let runtime = database.serve_with_own_keys(runtime);
        let (code, told) = runtime.environment("NANGO_RECORD_ENCRYPTION", "on").fail();
        assert_eq!(code, Some(1), "{told}");
        assert!(!told.contains(SECOND_KEY) && !told.contains(ENCRYPTION_KEY), "{told}");
        told
    };
    let wrong = refused(TestRuntime::new().environment("NANGO_ENCRYPTION_KEY", SECOND_KEY));
    assert!(
        wrong.contains("start with the key that belongs to this database"),
        "{wrong}"
    );
    let id = KeyId::of(&source(ENCRYPTION_KEY).load().expect("it is a key")[0]).to_string();
    assert!(wrong.contains(&id), "{wrong}");
    let none = refused(TestRuntime::new());
    let wanted =
        format!("there is no encryption key, and the database is sealed with the key {id}: put its key file back");
    assert!(none.contains(&wanted), "{none}");
    if !database.is_postgres() {
        assert!(!database.data().join("encryption.key").exists(), "another one was made");
    }
    let rows = |cells: &[Cell]| -> Vec<Cell> {
        let records = cells.iter().filter(|cell| cell.table.starts_with("record"));
        records.cloned().collect()
    };
    assert_eq!(rows(&database.dump().await), rows(&cells));

    let server = start(&database, "on");
    let after = server.client().records(INTEGRATION, CONNECTION, MODEL, "").await.ok();
    assert_eq!(after, before);
}

async fn a_pass_goes_on_while_records_are_sealed(database: Database) {
    let (server, _) = prepared(database.serve(TestRuntime::new()), "http://127.0.0.1:9").await;
    let key = key(&database).await;
    drop(server);
    let store = Store::open(&database.url()).await.expect("the database is there");
    let (clock, hand) = Clock::manual(NOW_MS);
    let in_clear = open(&store, &keyring(), clock.clone(), false).await;
    let sealed = open(&store, &keyring(), clock, true).await;
    in_clear.save(&key, &batch(&items(0..600)), None).await.unwrap();
    hand.advance_ms(1);
    in_clear.start_tracking(&key).await.unwrap();
    // As they were, in clear: seen without a change.
    in_clear.save(&key, &batch(&items(0..100)), None).await.unwrap();
    seal_stored(&sealed).await;
    assert_eq!(in_clear.unseen(&key).await.unwrap().external_ids.len(), 500);
    // The same while they are sealed; one that changes; one that is new.
    let again = sealed.save(&key, &batch(&items(100..200)), None).await.unwrap();
    assert_eq!(again.unchanged, 100);
    let patch = json!([{"id": "i200", "n": -1}, {"id": "i201"}]).to_string();
    sealed.update(&key, &batch(&patch), None).await.unwrap();
    sealed.save(&key, &batch(&items(600..601)), None).await.unwrap();
    let ended = sealed.end_tracking(&key, "sync:items:base").await.unwrap();
    assert_eq!(ended.deleted, 600 - 202);
    let gone = list(&sealed, &key).await;
    assert_eq!(gone.len(), 601);
    // The last payload of what is gone can be read, and what is seen again is there again.
    let back = sealed.save(&key, &batch(&items(300..301)), None).await.unwrap();
    assert_eq!(back.added, 1);
    sealed.start_tracking(&key).await.unwrap();
    assert_eq!(sealed.end_tracking(&key, "sync:items:base").await.unwrap().deleted, 204);
    store.close().await;
}

/// What there should be of one id.
#[derive(Clone, Debug, PartialEq)]
struct Expected {
    /// What it was last saved as, which decides whether it changes.
    saved: Value,
    /// What is left of that after a prune.
    shown: Value,
    deleted: bool,
}

async fn settings_keys_and_prunes_make_no_change_that_a_model_has_not(database: Database) {
    const STEPS: u32 = 250;
    let name = "settings_keys_and_prunes_make_no_change_that_a_model_has_not";
    let random = soak::random(name);
    let below = |end: u64| u64::from_le_bytes(random.bytes()) % end;
    let (server, _) = prepared(database.serve(TestRuntime::new()), "http://127.0.0.1:9").await;
    let key = key(&database).await;
    // It lacks the second key.
    drop(server);
    let store = Store::open(&database.url()).await.expect("the database is there");
    let (clock, hand) = Clock::manual(NOW_MS);
    let keyring = keyring();
    let both = [
        open(&store, &keyring, clock.clone(), false).await,
        open(&store, &keyring, clock.clone(), true).await,
    ];
    let (keys, entropy) = (source(&format!("{ENCRYPTION_KEY},{SECOND_KEY}")), Entropy::seeded(9));
    let rotation = Rotation::start(store.clone(), keyring.clone(), keys, Clock::system(), entropy, true).await;
    let rotation = rotation.expect("all keys are there");
    let mut model: BTreeMap<String, Expected> = BTreeMap::new();
    let mut cursors: Vec<String> = Vec::new();
    // While a pass is on.
    let mut seen: Option<BTreeSet<String>> = None;
    for step in 0..STEPS {
        hand.advance_ms(1);
        // A node of a cluster whose setting is being changed.
        let records = &both[usize::try_from(below(2)).unwrap_or(0)];
        let mut ids: Vec<String> = (0..=below(30)).map(|_| format!("i{}", below(60))).collect();
        ids.sort();
        ids.dedup();
        let mut wanted = Counts::default();
        let counted = match below(14) {
            0..=4 => {
                let mut saved = Vec::new();
                for id in &ids {
                    let record = json!({"id": id, "text": NEEDLE, "v": below(3)});
                    match model.get(id) {
                        Some(known) if !known.deleted && known.saved == record => wanted.unchanged += 1,
                        known => {
                            match known {
                                Some(known) if !known.deleted => wanted.updated += 1,
                                _ => wanted.added += 1,
                            }
                            let expected = Expected {
                                saved: record.clone(),
                                shown: record.clone(),
                                deleted: false,
                            };
                            model.insert(id.clone(), expected);
                        }
                    }
                    if let Some(seen) = &mut seen {
                        seen.insert(id.clone());
                    }
                    saved.push(record);
                }
                records
                    .save(&key, &batch(&json!(saved).to_string()), None)
                    .await
                    .unwrap()
            }
            5 | 6 => {
                let mut patches = Vec::new();
                for id in &ids {
                    let patch = below(2);
                    patches.push(json!({"id": id, "patch": {"p": patch}}));
                    let Some(known) = model.get_mut(id).filter(|known| !known.deleted) else {
                        continue;
                    };
                    if let Some(seen) = &mut seen {
                        seen.insert(id.clone());
                    }
                    let mut merged = known.shown.clone();
                    merged["patch"]["p"] = patch.into();
                    if merged == known.saved {
                        wanted.unchanged += 1;
                    } else {
                        (known.saved, known.shown) = (merged.clone(), merged);
                        wanted.updated += 1;
                    }
                }
                records
                    .update(&key, &batch(&json!(patches).to_string()), None)
                    .await
                    .unwrap()
            }
            7 => {
                for id in &ids {
                    if let Some(known) = model.get_mut(id).filter(|known| !known.deleted) {
                        known.deleted = true;
                        wanted.deleted += 1;
                    }
                }
                let deleted: Vec<Value> = ids.iter().map(|id| json!({"id": id})).collect();
                records
                    .delete(&key, &batch(&json!(deleted).to_string()), None)
                    .await
                    .unwrap()
            }
            8 => {
                if let Some(cursor) = cursors.get(usize::try_from(below(20)).unwrap_or(0)) {
                    let pruned = records.prune(&key, cursor, 7).await.unwrap();
                    assert!(pruned.count <= 7);
                    for record in list(records, &key).await.iter().filter(|(_, is_pruned)| *is_pruned) {
                        let id = record.0["id"].as_str().expect("an id");
                        let known = model.get_mut(id).expect("it is known");
                        known.shown = json!({"id": id});
                    }
                }
                Counts::default()
            }
            11 => {
                records.start_tracking(&key).await.unwrap();
                seen.get_or_insert_default();
                Counts::default()
            }
            12 => match seen.take() {
                None => Counts::default(),
                Some(seen) => {
                    let living = model.iter_mut().filter(|(_, known)| !known.deleted);
                    for (_, unseen) in living.filter(|(id, _)| !seen.contains(*id)) {
                        unseen.deleted = true;
                        wanted.deleted += 1;
                    }
                    records.end_tracking(&key, "sync:items:base").await.unwrap()
                }
            },
            9 => {
                seal_stored(records).await;
                Counts::default()
            }
            10 => {
                // The second rotation is refused for want of a third key; the first moves what is sealed.
                let _ = rotation.rotate(None).await;
                rotation.tick().await.unwrap();
                assert_eq!(rotation.status().await.unwrap().remaining(), 0);
                Counts::default()
            }
            _ => {
                let page = records.list(&key, &filter()).await.unwrap();
                cursors = page
                    .records
                    .iter()
                    .take(20)
                    .map(|record| record.cursor.clone())
                    .collect();
                Counts::default()
            }
        };
        assert_eq!(counted, wanted, "step {step}");
        if step % 10 == 0 {
            for records in &both {
                let listed = list(records, &key).await;
                let shown = listed
                    .into_iter()
                    .map(|(record, _)| (record["id"].as_str().unwrap_or_default().to_owned(), record));
                let wanted = model.iter().map(|(id, known)| (id.clone(), known.shown.clone()));
                assert_eq!(
                    shown.collect::<BTreeMap<_, _>>(),
                    wanted.collect::<BTreeMap<_, _>>(),
                    "step {step}"
                );
            }
        }
    }
    // In the end all is sealed, with the second key, and nothing changed by that.
    seal_stored(&both[1]).await;
    let _ = rotation.rotate(None).await;
    rotation.tick().await.unwrap();
    assert_eq!(rotation.status().await.unwrap().remaining(), 0);
    let cells = database.dump().await;
    assert!(
        !cells.iter().any(|cell| contains(&cell.bytes, NEEDLE)),
        "something is left in clear"
    );
    let living = model.values().filter(|known| !known.deleted);
    let living: Vec<&Value> = living.map(|known| &known.saved).collect();
    assert!(living.len() > 10);
    for records in &both {
        let again = records
            .save(&key, &batch(&json!(living).to_string()), None)
            .await
            .unwrap();
        let unchanged = u64::try_from(living.len()).unwrap_or(0);
        assert_eq!(
            again,
            Counts {
                unchanged,
                ..Counts::default()
            }
        );
    }
    store.close().await;
}

fn filter() -> RecordFilter {
    RecordFilter {
        limit: 10_000,
        ..RecordFilter::default()
    }
}

/// Payloads, and whether they were pruned.
async fn list(records: &Records, key: &RecordKey) -> Vec<(Value, bool)> {
    let page = records.list(key, &filter()).await.unwrap();
    let records = page.records.iter().map(|record| {
        let json = serde_json::from_str(record.data.get()).expect("a payload is JSON");
        (json, record.pruned_at_us.is_some())
    });
    records.collect()
}

//! Readers who follow cursors beside writers: each ends with exactly what is there, whatever the size of its pages and whatever it
//! filters, and is shown no change twice. The writers are compared with a model, count by count.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nango_runtime::clock::{Clock, Entropy};
use nango_runtime::model::Counts;
use nango_runtime::records::{Batch, Records};
use nango_runtime::store::{RecordKey, Store};
use nango_runtime_tests::{Client, Database, TestRuntime, client, for_each_database, soak};
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, INTEGRATION, prepared};
use crate::sealed_records;

const MODEL: &str = "Item";
const WRITERS: u64 = 4;
/// Ids of each writer.
const IDS: u64 = 500;
const BATCH_MAX: u64 = 250;
const NOW_MS: i64 = 1_795_346_513_000;

for_each_database! {
    readers_of_cursors_end_with_what_is_there,
    readers_of_sealed_records_end_with_what_is_there,
}

/// What there is of one writer's ids: the payload, and whether it is deleted.
type Model = BTreeMap<String, (Value, bool)>;

struct Writer {
    records: Records,
    key: RecordKey,
    random: Entropy,
    number: u64,
    clock: nango_runtime::clock::ManualClock,
    model: Model,
}

impl Writer {
    fn below(&self, end: u64) -> u64 {
        u64::from_le_bytes(self.random.bytes()) % end
    }

    /// Ids in an order of its own, each once.
    fn some_ids(&self) -> Vec<String> {
        let mut seen = HashSet::new();
        let ids = (0..=self.below(BATCH_MAX)).map(|_| format!("{}-{}", self.number, self.below(IDS)));
        ids.filter(|id| seen.insert(id.clone())).collect()
    }

    /// One call, checked against the model. Gives how many records it changed.
    async fn write(&mut self) -> u64 {
        // The clocks of processes differ, and are corrected.
        self.clock.advance_ms(i64::try_from(self.below(100)).unwrap_or(0) - 49);
        let ids = self.some_ids();
        let (expected, counted) = match self.below(10) {
            0..=5 => self.save(&ids).await,
            6 | 7 => self.update(&ids).await,
            _ => self.delete(&ids).await,
        };
        assert_eq!(counted, expected, "writer {}", self.number);
        counted.added + counted.updated + counted.deleted
    }

    async fn save(&mut self, ids: &[String]) -> (Counts, Counts) {
        let mut expected = Counts::default();
        let mut batch = Vec::new();
        for id in ids {
            let record = json!({"id": id, "v": self.below(4), "text": "x".repeat(40)});
            match self.model.insert(id.clone(), (record.clone(), false)) {
                Some((before, false)) if before == record => expected.unchanged += 1,
                Some((_, false)) => expected.updated += 1,
                Some((_, true)) | None => expected.added += 1,
            }
            batch.push(record);
        }
        let saved = self
            .records
            .save(&self.key, &read(&json!(batch).to_string()), None)
            .await;
        (expected, saved.expect("records are saved"))
    }

    async fn update(&mut self, ids: &[String]) -> (Counts, Counts) {
        let mut expected = Counts::default();
        let mut batch = Vec::new();
        for id in ids {
            let patch = self.below(3);
            batch.push(json!({"id": id, "patch": {"p": patch}}));
            let Some((record, false)) = self.model.get_mut(id) else {
                continue;
            };
            let before = record.clone();
            record["patch"]["p"] = patch.into();
            if *record == before {
                expected.unchanged += 1;
            } else {
                expected.updated += 1;
            }
        }
        let updated = self
            .records
            .update(&self.key, &read(&json!(batch).to_string()), None)
            .await;
        (expected, updated.expect("records are updated"))
    }

    async fn delete(&mut self, ids: &[String]) -> (Counts, Counts) {
        let mut expected = Counts::default();
        for id in ids {
            if let Some((_, deleted @ false)) = self.model.get_mut(id) {
                *deleted = true;
                expected.deleted += 1;
            }
        }
        let batch: Vec<Value> = ids.iter().map(|id| json!({"id": id})).collect();
        let deleted = self
            .records
            .delete(&self.key, &read(&json!(batch).to_string()), None)
            .await;
        (expected, deleted.expect("records are deleted"))
    }
}

fn read(json: &str) -> Batch<'_> {
    Batch::parse(json).expect("the batch is right")
}

/// Somebody who follows the cursor.
struct Reader {
    client: Client,
    /// Of `GET /records` besides the cursor; with `export`, of `GET /records/export`.
    query: &'static str,
    export: bool,
    cursor: Option<String>,
    cursors: HashSet<String>,
    modified_at: String,
    /// The last payload and whether it was deleted then, by id.
    replica: Model,
}

impl Reader {
    fn new(client: &Client, query: &'static str, export: bool) -> Self {
        Self {
            client: client.clone(),
            query,
            export,
            cursor: None,
            cursors: HashSet::new(),
            modified_at: String::new(),
            replica: Model::new(),
        }
    }

    /// Reads on until there is nothing more, and until all writers have finished.
    async fn follow(mut self, writing: Arc<AtomicUsize>) -> (&'static str, Model) {
        let watch = soak::Watch::start(&format!("a reader with {:?}", self.query));
        loop {
            watch.check();
            // Looked at before the page is read: what is written after that is for the next page.
            let finished = writing.load(Ordering::SeqCst) == 0;
            let records = self.page().await;
            if records.is_empty() && finished {
                return (self.query, self.replica);
            }
            if !finished {
                // The writers have the processor; who has read less catches up when they have finished.
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            for record in records {
                self.take(record);
            }
        }
    }

    async fn page(&self) -> Vec<Value> {
        let after = self.cursor.iter().map(|cursor| format!("&cursor={cursor}"));
        let query = format!("{}{}", self.query, after.collect::<String>());
        if self.export {
            let path = format!("/records/export?model={MODEL}{query}");
            let request = client::for_connection(self.client.request(Method::GET, &path), INTEGRATION, CONNECTION);
            let lines = client::send(request).await;
            assert_eq!(lines.status, 200, "{}", lines.text());
            let lines = lines.text();
            return lines
                .lines()
                .map(|line| serde_json::from_str(line).expect("a line is a record"))
                .collect();
        }
        let page = self.client.records(INTEGRATION, CONNECTION, MODEL, &query).await.ok();
        let records = page["records"].as_array().expect("records").clone();
        if let (Some(next), Some(last)) = (page["next_cursor"].as_str(), records.last()) {
            assert_eq!(last["_nango_metadata"]["cursor"], next, "it goes on after the last");
        }
        records
    }

    fn take(&mut self, mut record: Value) {
        let metadata = record
            .as_object_mut()
            .and_then(|record| record.remove("_nango_metadata"))
            .expect("a record has metadata");
        let text = |name: &str| metadata[name].as_str().unwrap_or_default().to_owned();
        let (cursor, modified_at) = (text("cursor"), text("last_modified_at"));
        assert!(
            self.cursors.insert(cursor.clone()),
            "a change is shown twice: {record} {metadata}"
        );
        assert!(
            modified_at >= self.modified_at,
            "time went back from {} to {modified_at}",
            self.modified_at
        );
        let is_deleted = !metadata["deleted_at"].is_null();
        let action = text("last_action");
        assert_eq!(action == "DELETED", is_deleted, "{metadata}");
        if let Some(filter) = self.query.split_once("filter=").map(|(_, filter)| filter) {
            assert!(filter.contains(&action.to_ascii_lowercase()), "{action} with {filter}");
        }
        let id = record["id"].as_str().expect("an id").to_owned();
        self.replica.insert(id, (record, is_deleted));
        (self.cursor, self.modified_at) = (Some(cursor), modified_at);
    }
}

async fn readers_of_cursors_end_with_what_is_there(database: Database) {
    let changes = u64::from(soak::rounds(12_000, 1_000_000));
    end_with_what_is_there("readers_of_cursors_end_with_what_is_there", database, changes, false).await;
}

async fn readers_of_sealed_records_end_with_what_is_there(database: Database) {
    let changes = u64::from(soak::rounds(4_000, 100_000));
    end_with_what_is_there(
        "readers_of_sealed_records_end_with_what_is_there",
        database,
        changes,
        true,
    )
    .await;
}

async fn end_with_what_is_there(test: &str, database: Database, changes: u64, sealed: bool) {
    let random = soak::random(test);
    let watch = soak::Watch::start(test);
    // A page of the largest readers ends by its bytes.
    let runtime = TestRuntime::new()
        .environment("NANGO_LIMITS_RECORDS_PAGE_BYTES", "40000")
        .environment("NANGO_RECORD_ENCRYPTION", if sealed { "on" } else { "off" });
    let (_server, client) = prepared(database.serve(runtime), "http://127.0.0.1:9").await;
    let key = RecordKey {
        connection_key: database
            .value("SELECT connection_key FROM connections")
            .await
            .as_str()
            .into(),
        model: MODEL.to_owned(),
    };
    let store = Store::open(&database.url()).await.expect("the database is there");
    let writing = Arc::new(AtomicUsize::new(usize::try_from(WRITERS).expect("a small number")));
    let mut clocks = Vec::new();
    for _ in 0..WRITERS {
        let (clock, hand) = Clock::manual(NOW_MS);
        clocks.push((
            sealed_records::open(&store, &sealed_records::keyring(), clock, sealed).await,
            hand,
        ));
    }
    let writers = (0..WRITERS).zip(clocks).map(|(number, (records, hand))| {
        let mut writer = Writer {
            records,
            key: key.clone(),
            random: Entropy::seeded(u64::from_le_bytes(random.bytes())),
            number,
            clock: hand,
            model: Model::new(),
        };
        let writing = Arc::clone(&writing);
        tokio::spawn(async move {
            let (mut changed, watch) = (0, soak::Watch::start(&format!("writer {number}")));
            while changed < changes / WRITERS {
                watch.check();
                changed += writer.write().await;
            }
            writing.fetch_sub(1, Ordering::SeqCst);
            writer.model
        })
    });
    let writers: Vec<_> = writers.collect();
    let readers = [
        ("&limit=1000", false),
        ("&limit=13", false),
        ("&limit=200&filter=deleted", false),
        ("&limit=77&filter=added,updated", false),
        ("", true),
    ];
    let readers = readers.map(|(query, export)| {
        let reader = Reader::new(&client, query, export);
        tokio::spawn(reader.follow(Arc::clone(&writing)))
    });
    let mut model = Model::new();
    for writer in writers {
        model.extend(writer.await.expect("a writer ends well"));
    }
    for reader in readers {
        let (query, replica) = reader.await.expect("a reader ends well");
        let wanted = |deleted: bool| match query.split_once("filter=") {
            Some((_, filter)) => (filter == "deleted") == deleted,
            None => true,
        };
        let of_interest: HashMap<&String, &(Value, bool)> =
            model.iter().filter(|(_, (_, deleted))| wanted(*deleted)).collect();
        for (id, state) in &of_interest {
            assert_eq!(replica.get(*id), Some(*state), "{id}, read with {query:?}");
        }
        if !query.contains("filter") {
            assert_eq!(replica.len(), model.len(), "{query:?}");
        }
    }
    assert!(model.values().any(|(_, deleted)| *deleted) && model.values().any(|(_, deleted)| !*deleted));
    // One more look at it all, from the beginning.
    let (_, all) = Reader::new(&client, "&limit=10000", false)
        .follow(Arc::new(AtomicUsize::new(0)))
        .await;
    assert_eq!(all, model);
    watch.check();
    store.close().await;
}

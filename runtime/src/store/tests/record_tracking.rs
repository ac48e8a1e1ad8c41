//! Passes over records against a simple model, and writers beside others, on both databases.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::model::{Counts, RecordFilter};
use crate::store::{MergedRecord, OthersChanges, Payload, RecordKey, RecordWrite, StoreError, SyncData, Unseen};

for_each_db! {
    passes_delete_what_a_simple_model_says,
    the_end_of_a_pass_is_one_change_for_readers,
    nothing_is_deleted_without_a_pass,
    the_end_of_a_pass_clears_the_checkpoint,
    own_changes_are_written_over_and_others_are_not,
}

const CHECKPOINT: &str = "sync:issues:base";

/// Each record is `{"v": value}`.
async fn save(
    store: &Store,
    key: &RecordKey,
    records: &[(&str, u32)],
    others: Option<&mut OthersChanges>,
    now_us: i64,
) -> Counts {
    let json = |value: u32| format!("{{\"v\":{value}}}");
    let owned: Vec<(&str, u32, String)> = records.iter().map(|(id, value)| (*id, *value, json(*value))).collect();
    let writes: Vec<RecordWrite<'_>> = owned
        .iter()
        .map(|(external_id, value, json)| RecordWrite {
            external_id,
            hash: [u8::try_from(*value).unwrap(); 32],
            json,
        })
        .collect();
    store
        .save_records(key, &writes, &in_clear(), others, now_us)
        .await
        .unwrap()
}

/// Updates those that are there to `{"v": value}`.
async fn overwrite(
    store: &Store,
    key: &RecordKey,
    ids: &[&str],
    value: u8,
    others: Option<&mut OthersChanges>,
    now_us: i64,
) -> Counts {
    let merge = |stored: HashMap<String, Payload>| {
        let merged = stored.into_keys().map(|external_id| MergedRecord {
            external_id,
            hash: [value; 32],
            json: format!("{{\"v\":{value}}}"),
        });
        Ok::<_, StoreError>(merged.collect())
    };
    let sealing = in_clear();
    store
        .update_records(key, ids, merge, &sealing, others, now_us)
        .await
        .unwrap()
}

/// Values of those that are not deleted, and cursors of all in order.
async fn stored(store: &Store, key: &RecordKey) -> (BTreeMap<String, u32>, Vec<String>) {
    let filter = RecordFilter {
        limit: 10_000,
        ..RecordFilter::default()
    };
    let records = store.records(key, &filter).await.unwrap().records;
    let cursors = records.iter().map(|record| record.cursor.clone()).collect();
    let living = records.iter().filter(|record| record.deleted_at_us.is_none());
    let value = |json: &str| {
        json.trim_start_matches("{\"v\":")
            .trim_end_matches('}')
            .parse()
            .unwrap()
    };
    let values = living.map(|record| (record.external_id.clone(), value(text(&record.data))));
    (values.collect(), cursors)
}

/// How many there are as the store tells it.
async fn counted(store: &Store, key: &RecordKey) -> usize {
    let counts = store.record_counts(&key.connection_key).await.unwrap();
    let count = counts.iter().find(|(model, _)| *model == key.model);
    count.map_or(0, |(_, count)| usize::try_from(*count).unwrap())
}

async fn model(fixture: &Fixture, name: &str) -> RecordKey {
    RecordKey {
        connection_key: fixture.insert_connection("a").await,
        model: name.to_owned(),
    }
}

/// What is stored, and what a pass has seen while one is on.
#[derive(Default)]
struct Simple {
    values: BTreeMap<String, u32>,
    seen: Option<BTreeSet<String>>,
}

async fn passes_delete_what_a_simple_model_says(store: Store) {
    let fixture = Fixture::new(&store).await;
    let keys = [
        model(&fixture, "Issue").await,
        RecordKey {
            connection_key: fixture.insert_connection("b").await,
            model: "Issue::eu".to_owned(),
        },
    ];
    let mut syncs = Vec::new();
    for key in &keys {
        syncs.push(fixture.insert_sync(&key.connection_key, "issues").await);
    }
    let mut random = StdRng::seed_from_u64(41);
    let mut models = [Simple::default(), Simple::default()];
    let mut deleted_in_all = 0;
    for step in 0..400_u64 {
        let which = random.random_range(0..2);
        let (key, simple) = (&keys[which], &mut models[which]);
        // A clock that jumps.
        let now_us = NOW_US + random.random_range(-50..50);
        let mut ids: Vec<String> = (0..random.random_range(1..25))
            .map(|_| random.random_range(0..60).to_string())
            .collect();
        ids.sort();
        ids.dedup();
        let borrowed: Vec<&str> = ids.iter().map(String::as_str).collect();
        match random.random_range(0..10) {
            // As every run does that begins or goes on after an interruption.
            0 | 1 => {
                store.start_tracking(key, now_us).await.unwrap();
                simple.seen.get_or_insert_default();
            }
            2 => {
                let deleted = store
                    .delete_records(key, &borrowed, None, now_us)
                    .await
                    .unwrap()
                    .deleted;
                let before = simple.values.len();
                simple.values.retain(|id, _| !ids.contains(id));
                assert_eq!(deleted, u64::try_from(before - simple.values.len()).unwrap());
            }
            3 => {
                overwrite(&store, key, &borrowed, 1, None, now_us).await;
                for id in &ids {
                    if let Some(value) = simple.values.get_mut(id) {
                        *value = 1;
                        if let Some(seen) = &mut simple.seen {
                            seen.insert(id.clone());
                        }
                    }
                }
            }
            4 => {
                let foreseen = store.unseen_records(key).await.unwrap();
                let ended = store.end_tracking(key, CHECKPOINT, now_us).await.unwrap();
                let seen = simple.seen.take();
                assert_eq!(foreseen.is_tracking, seen.is_some(), "step {step}");
                assert_eq!(ended.is_some(), seen.is_some(), "step {step}");
                if let (Some(seen), Some(counts)) = (seen, ended) {
                    let before = simple.values.len();
                    simple.values.retain(|id, _| seen.contains(id));
                    let gone = before - simple.values.len();
                    assert_eq!(counts.deleted, u64::try_from(gone).unwrap(), "step {step}");
                    assert_eq!(foreseen.external_ids.len(), gone, "step {step}");
                    deleted_in_all += gone;
                }
            }
            5 if random.random_bool(0.2) => {
                let data = SyncData {
                    checkpoint_key: "sync:issues:base".to_owned(),
                    models: vec![key.model.clone()],
                    with_records: true,
                };
                let run = fixture.sync_run(&syncs[which], step);
                store.reset_sync(&syncs[which], &data, &run, NOW_MS).await.unwrap();
                *simple = Simple::default();
            }
            _ => {
                let value = random.random_range(0..3);
                let records: Vec<(&str, u32)> = borrowed.iter().map(|id| (*id, value)).collect();
                save(&store, key, &records, None, now_us).await;
                for id in &ids {
                    simple.values.insert(id.clone(), value);
                    if let Some(seen) = &mut simple.seen {
                        seen.insert(id.clone());
                    }
                }
            }
        }
        assert_eq!(counted(&store, key).await, simple.values.len(), "step {step}");
        if step % 20 == 0 {
            assert_eq!(stored(&store, key).await.0, simple.values, "step {step}");
        }
    }
    for (key, simple) in keys.iter().zip(&models) {
        assert_eq!(stored(&store, key).await.0, simple.values);
    }
    assert!(deleted_in_all > 50, "{deleted_in_all}");
}

async fn the_end_of_a_pass_is_one_change_for_readers(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = model(&fixture, "Issue").await;
    save(&store, &key, &[("1", 1), ("2", 1), ("3", 1), ("4", 1)], None, NOW_US).await;
    let (_, before) = stored(&store, &key).await;
    store.start_tracking(&key, NOW_US).await.unwrap();
    save(&store, &key, &[("3", 1)], None, NOW_US).await;
    assert_eq!(
        store
            .end_tracking(&key, CHECKPOINT, NOW_US)
            .await
            .unwrap()
            .unwrap()
            .deleted,
        3
    );
    let filter = RecordFilter {
        limit: 2,
        cursor: before.last().cloned(),
        ..RecordFilter::default()
    };
    let page = store.records(&key, &filter).await.unwrap();
    let ids: Vec<&str> = page.records.iter().map(|record| record.external_id.as_str()).collect();
    assert_eq!(ids, ["1", "2"]);
    let filter = RecordFilter {
        cursor: page.next_cursor,
        ..filter
    };
    let page = store.records(&key, &filter).await.unwrap();
    assert_eq!((page.records.len(), page.records[0].external_id.as_str()), (1, "4"));
    let moment = page.records[0].deleted_at_us;
    assert!(moment.is_some() && moment == Some(page.records[0].modified_at_us));
}

async fn nothing_is_deleted_without_a_pass(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = model(&fixture, "Issue").await;
    assert_eq!(store.end_tracking(&key, CHECKPOINT, NOW_US).await.unwrap(), None);
    assert_eq!(store.unseen_records(&key).await.unwrap(), Unseen::default());
    save(&store, &key, &[("1", 1)], None, NOW_US).await;
    assert_eq!(store.end_tracking(&key, CHECKPOINT, NOW_US).await.unwrap(), None);
    store.start_tracking(&key, NOW_US).await.unwrap();
    assert_eq!(
        store
            .end_tracking(&key, CHECKPOINT, NOW_US)
            .await
            .unwrap()
            .unwrap()
            .deleted,
        1
    );
    assert_eq!(
        store.end_tracking(&key, CHECKPOINT, NOW_US).await.unwrap(),
        None,
        "it has ended"
    );
}

async fn the_end_of_a_pass_clears_the_checkpoint(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = model(&fixture, "Issue").await;
    let save = async |seen_version| {
        let saved = store.save_checkpoint(&key.connection_key, CHECKPOINT, "{}", seen_version, NOW_MS);
        saved.await.unwrap().expect("nobody else saves it")
    };
    let there = async || {
        store
            .checkpoint(&key.connection_key, CHECKPOINT)
            .await
            .unwrap()
            .is_some()
    };
    let version = save(0).await;
    assert_eq!(store.end_tracking(&key, CHECKPOINT, NOW_US).await.unwrap(), None);
    assert!(there().await, "no pass has ended");
    store.start_tracking(&key, NOW_US).await.unwrap();
    assert!(store.end_tracking(&key, CHECKPOINT, NOW_US).await.unwrap().is_some());
    assert!(!there().await);
    assert!(save(0).await > version, "versions go on counting");
}

async fn own_changes_are_written_over_and_others_are_not(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = model(&fixture, "Issue").await;
    save(&store, &key, &[("1", 1), ("2", 1), ("3", 1)], None, NOW_US).await;
    let mut others = OthersChanges::after(store.last_record_change_us(&key).await.unwrap());
    save(&store, &key, &[("2", 2)], None, NOW_US).await;
    // A page that does not hold what others changed must not make it look like known.
    let counts = save(&store, &key, &[("1", 3)], Some(&mut others), NOW_US).await;
    assert_eq!((counts.updated, counts.unchanged), (1, 0));
    store.delete_records(&key, &["3"], None, NOW_US).await.unwrap();
    let counts = save(&store, &key, &[("1", 4), ("2", 4), ("3", 4)], Some(&mut others), NOW_US).await;
    assert_eq!((counts.added, counts.updated, counts.unchanged), (0, 1, 2));
    let deleted = store
        .delete_records(&key, &["1", "2"], Some(&mut others), NOW_US)
        .await
        .unwrap();
    assert_eq!(deleted.deleted, 1);
    let updated = overwrite(&store, &key, &["2"], 9, Some(&mut others), NOW_US).await;
    assert_eq!(updated.updated, 0);
    assert_eq!(stored(&store, &key).await.0, BTreeMap::from([("2".to_owned(), 2)]));
}

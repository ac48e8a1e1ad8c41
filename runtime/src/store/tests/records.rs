//! Records and the readers that follow them, on both databases.

use std::collections::HashMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value as JsonValue;

use super::*;
use crate::model::{Counts, Record, RecordAction, RecordFilter};
use crate::store::{MergedRecord, Payload, RecordKey, RecordWrite, StoreError, SyncData};

/// Stands in for the real hash: equal for equal text.
fn hash(json: &str) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(json).into()
}

/// Merges members of members, as far as these tests need it.
async fn update(store: &Store, key: &RecordKey, patches: &[(&str, &str)], now_us: i64) -> Counts {
    let ids: Vec<&str> = patches.iter().map(|(id, _)| *id).collect();
    let merge = |stored: HashMap<String, Payload>| {
        let patches = patches.iter().filter(|(id, _)| stored.contains_key(*id));
        let merged = patches.map(|(id, patch)| {
            let mut object = object(text(&stored[*id]));
            for (name, value) in self::object(patch) {
                match (object.get_mut(&name), value) {
                    (Some(JsonValue::Object(into)), JsonValue::Object(patch)) => into.extend(patch),
                    (_, value) => {
                        object.insert(name, value);
                    }
                }
            }
            let json = serde_json::to_string(&object).unwrap();
            MergedRecord {
                external_id: (*id).to_owned(),
                hash: hash(&json),
                json,
            }
        });
        Ok::<_, StoreError>(merged.collect())
    };
    let sealing = in_clear();
    store
        .update_records(key, &ids, merge, &sealing, None, now_us)
        .await
        .unwrap()
}

async fn model(fixture: &Fixture, name: &str) -> RecordKey {
    RecordKey {
        connection_key: fixture.insert_connection("a").await,
        model: name.to_owned(),
    }
}

async fn save(store: &Store, key: &RecordKey, records: &[(&str, &str)], now_us: i64) -> Counts {
    let writes: Vec<RecordWrite<'_>> = records
        .iter()
        .map(|(id, json)| RecordWrite {
            external_id: id,
            hash: hash(json),
            json,
        })
        .collect();
    store
        .save_records(key, &writes, &in_clear(), None, now_us)
        .await
        .unwrap()
}

fn counts(added: u64, updated: u64, deleted: u64, unchanged: u64) -> Counts {
    Counts {
        added,
        updated,
        deleted,
        unchanged,
    }
}

fn page(limit: i64) -> RecordFilter {
    RecordFilter {
        limit,
        ..RecordFilter::default()
    }
}

fn seen(records: &[Record<Payload>]) -> Vec<(&str, RecordAction)> {
    records
        .iter()
        .map(|record| (record.external_id.as_str(), record.action))
        .collect()
}

use RecordAction::{Added, Deleted, Updated};

for_each_db! {
    saving_tells_added_updated_and_unchanged,
    a_deleted_record_keeps_its_payload_and_can_be_added_again,
    updates_merge_into_what_is_there,
    filters_combine,
    pages_hold_each_record_once,
    pages_keep_to_their_bytes,
    pruning_empties_payloads_and_keeps_changes_apart,
    a_reader_who_follows_the_cursor_misses_nothing,
    who_writes_beside_a_reset_is_counted,
    a_row_this_program_did_not_write_is_named,
}

async fn pages_keep_to_their_bytes(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = model(&fixture, "Issue").await;
    let large = format!(r#"{{"id":"1","text":"{}"}}"#, "x".repeat(1_000));
    save(
        &store,
        &key,
        &[("1", &large), ("2", &large), ("3", &large), ("4", "{}")],
        NOW_US,
    )
    .await;
    let filter = |bytes_max, cursor| RecordFilter {
        bytes_max,
        cursor,
        ..page(100)
    };
    let first = store.records(&key, &filter(2_500, None)).await.unwrap();
    assert_eq!(first.records.len(), 2);
    let rest = store.records(&key, &filter(2_500, first.next_cursor)).await.unwrap();
    assert_eq!(seen(&rest.records), [("3", Added), ("4", Added)]);
    assert_eq!(rest.next_cursor, None);
    let one = store.records(&key, &filter(10, None)).await.unwrap();
    assert_eq!(one.records.len(), 1, "one at least");
    assert!(one.next_cursor.is_some());
}

async fn pruning_empties_payloads_and_keeps_changes_apart(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = model(&fixture, "Issue").await;
    let records = [
        ("1", r#"{"id":1,"v":"a"}"#),
        ("2", r#"{ "v":"b", "id":"2" }"#),
        ("3", r#"{"v":"c"}"#),
        ("4", r#"{"id":"4"}"#),
    ];
    save(&store, &key, &records, NOW_US).await;
    let before = store.records(&key, &page(100)).await.unwrap().records;
    let prune = async |index: usize, limit: i64| {
        let cursor = &before[index].cursor;
        let pruned = store.prune_records(&key, cursor, limit, NOW_US + 5).await.unwrap();
        (pruned.count, pruned.has_more)
    };
    assert_eq!(prune(2, 2).await, (2, true));
    assert_eq!(prune(2, 2).await, (1, false));
    assert_eq!(prune(2, 2).await, (0, false), "each once");

    let after = store.records(&key, &page(100)).await.unwrap().records;
    let payloads: Vec<&str> = after.iter().map(|record| text(&record.data)).collect();
    assert_eq!(
        payloads,
        [r#"{"id":1}"#, r#"{"id":"2"}"#, r#"{"id":"3"}"#, r#"{"id":"4"}"#]
    );
    let pruned: Vec<bool> = after.iter().map(|record| record.pruned_at_us.is_some()).collect();
    assert_eq!(pruned, [true, true, true, false]);
    let cursors = |records: &[Record<Payload>]| records.iter().map(|record| record.cursor.clone()).collect::<Vec<_>>();
    assert_eq!(cursors(&after), cursors(&before), "no change to be read");

    // What is saved again as it was is no change, what is saved otherwise is whole again.
    let changed = save(&store, &key, &[records[0], ("2", r#"{"id":"2","v":"z"}"#)], NOW_US + 9).await;
    assert_eq!(changed, counts(0, 1, 0, 1));
    let last = store.records(&key, &page(100)).await.unwrap().records.pop().unwrap();
    assert_eq!((last.external_id.as_str(), last.pruned_at_us), ("2", None));
    assert!(matches!(
        store.prune_records(&key, "nonsense", 1, NOW_US).await.unwrap_err(),
        StoreError::Cursor { .. }
    ));
}

async fn saving_tells_added_updated_and_unchanged(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = model(&fixture, "Issue").await;
    // Spaces, unordered keys, large numbers and NUL: the payload comes back to the byte.
    let odd = r#"{ "z":1, "id": "1","a":123456789012345678901234567890,"nul":"\u0000 ü" }"#;
    assert_eq!(
        save(&store, &key, &[("1", odd), ("2", "{}"), ("3", "{}")], NOW_US).await,
        counts(3, 0, 0, 0)
    );
    assert_eq!(
        save(&store, &key, &[("1", odd), ("2", r#"{"v":2}"#), ("4", "{}")], NOW_US).await,
        counts(1, 1, 0, 1)
    );
    assert_eq!(save(&store, &key, &[], NOW_US).await, counts(0, 0, 0, 0));

    let all = store.records(&key, &page(100)).await.unwrap();
    assert_eq!(
        seen(&all.records),
        [("1", Added), ("3", Added), ("2", Updated), ("4", Added)]
    );
    assert_eq!(text(&all.records[0].data), odd);
    assert_eq!(all.next_cursor, None);
    assert_eq!(
        (all.records[0].first_seen_at_us, all.records[0].modified_at_us),
        (NOW_US, NOW_US)
    );
    assert_eq!(all.records[2].first_seen_at_us, NOW_US);
    assert!(
        all.records[2].modified_at_us > NOW_US,
        "later than the change before, though the clock stood still"
    );

    let many: Vec<(String, String)> = (0..1_000)
        .map(|n| (format!("m{n}"), format!("{{\"n\":{n}}}")))
        .collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(id, json)| (id.as_str(), json.as_str())).collect();
    assert_eq!(save(&store, &key, &many, NOW_US).await, counts(1_000, 0, 0, 0));
    assert_eq!(save(&store, &key, &many, NOW_US).await, counts(0, 0, 0, 1_000));
    assert_eq!(
        store.record_counts(&key.connection_key).await.unwrap(),
        [("Issue".to_owned(), 1_004)]
    );
}

async fn a_deleted_record_keeps_its_payload_and_can_be_added_again(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = model(&fixture, "Issue").await;
    save(&store, &key, &[("1", r#"{"v":1}"#), ("2", "{}")], NOW_US).await;
    let delete = async |ids: &[&str], now_us| store.delete_records(&key, ids, None, now_us).await.unwrap();
    assert_eq!(delete(&["1", "unknown", "1"], NOW_US + 10).await, counts(0, 0, 1, 0));
    assert_eq!(
        delete(&["1"], NOW_US + 20).await,
        counts(0, 0, 0, 0),
        "it is deleted already"
    );
    assert_eq!(delete(&[], NOW_US).await, counts(0, 0, 0, 0));

    let deleted = store.records_by_ids(&key, &["1", "unknown"]).await.unwrap().remove(0);
    assert_eq!(
        (deleted.action, text(&deleted.data), deleted.deleted_at_us),
        (Deleted, r#"{"v":1}"#, Some(NOW_US + 10))
    );
    assert_eq!(
        store.record_counts(&key.connection_key).await.unwrap(),
        [("Issue".to_owned(), 1)]
    );

    assert_eq!(
        save(&store, &key, &[("1", r#"{"v":1}"#)], NOW_US + 30).await,
        counts(1, 0, 0, 0)
    );
    let again = store.records_by_ids(&key, &["1"]).await.unwrap().remove(0);
    assert_eq!(
        (again.action, again.first_seen_at_us, again.deleted_at_us),
        (Added, NOW_US + 30, None)
    );
}

async fn updates_merge_into_what_is_there(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = model(&fixture, "Issue").await;
    save(
        &store,
        &key,
        &[("1", r#"{"id":"1","a":{"x":1}}"#), ("2", r#"{"id":"2"}"#), ("3", "{}")],
        NOW_US,
    )
    .await;
    store.delete_records(&key, &["3"], None, NOW_US).await.unwrap();
    let patches = [
        ("1", r#"{"a":{"y":2}}"#),
        ("2", r#"{"id":"2"}"#),
        ("3", r#"{"v":1}"#),
        ("unknown", r#"{"v":1}"#),
    ];
    assert_eq!(update(&store, &key, &patches, NOW_US).await, counts(0, 1, 0, 1));
    assert_eq!(update(&store, &key, &patches, NOW_US).await, counts(0, 0, 0, 2));
    let merged = store.records_by_ids(&key, &["1"]).await.unwrap().remove(0);
    let merged: JsonObject = serde_json::from_str(text(&merged.data)).unwrap();
    assert_eq!(merged, object(r#"{"id":"1","a":{"x":1,"y":2}}"#));
    assert_eq!(store.records_by_ids(&key, &["unknown"]).await.unwrap().len(), 0);
}

async fn filters_combine(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = model(&fixture, "Issue").await;
    save(&store, &key, &[("a", "{}"), ("u", "{}"), ("d", "{}")], NOW_US).await;
    save(&store, &key, &[("u", r#"{"v":2}"#)], NOW_US + 10).await;
    store.delete_records(&key, &["d"], None, NOW_US + 20).await.unwrap();
    let list = async |filter: RecordFilter| {
        let records = store
            .records(&key, &RecordFilter { limit: 10, ..filter })
            .await
            .unwrap()
            .records;
        seen(&records)
            .into_iter()
            .map(|(id, _)| id.to_owned())
            .collect::<String>()
    };
    let of = |actions: &[RecordAction]| RecordFilter {
        actions: actions.to_vec(),
        ..Default::default()
    };
    assert_eq!(list(of(&[])).await, "aud");
    assert_eq!(list(of(&[Added])).await, "a");
    assert_eq!(list(of(&[Updated])).await, "u");
    assert_eq!(list(of(&[Deleted])).await, "d");
    assert_eq!(list(of(&[Added, Deleted])).await, "ad");
    assert_eq!(list(of(&[Deleted, Updated, Added])).await, "aud");
    assert_eq!(
        list(RecordFilter {
            modified_after_us: Some(NOW_US + 10),
            ..of(&[])
        })
        .await,
        "ud",
        "inclusive"
    );
    assert_eq!(
        list(RecordFilter {
            modified_after_us: Some(NOW_US + 11),
            ..of(&[Updated, Deleted])
        })
        .await,
        "d"
    );
    assert_eq!(
        list(RecordFilter {
            external_ids: vec!["a".into(), "u".into(), "x".into()],
            ..of(&[Updated])
        })
        .await,
        "u"
    );
    let cursor = store.records(&key, &page(1)).await.unwrap().next_cursor;
    assert_eq!(
        list(RecordFilter {
            cursor,
            ..of(&[Added, Deleted])
        })
        .await,
        "d"
    );

    let other = RecordKey {
        model: "Other".to_owned(),
        ..key.clone()
    };
    assert!(store.records(&other, &page(10)).await.unwrap().records.is_empty());
    let error = store
        .records(
            &key,
            &RecordFilter {
                cursor: Some("x".into()),
                ..page(1)
            },
        )
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Cursor { .. }), "{error}");
}

async fn pages_hold_each_record_once(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = model(&fixture, "Issue").await;
    let ids: Vec<String> = (0..25).map(|n| format!("{n:02}")).collect();
    let records: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), "{}")).collect();
    save(&store, &key, &records, NOW_US).await;
    for limit in [1, 5, 7, 24, 25, 26] {
        let mut filter = page(limit);
        let mut listed = Vec::new();
        loop {
            let page = store.records(&key, &filter).await.unwrap();
            assert!(page.records.len() <= usize::try_from(limit).unwrap());
            listed.extend(page.records.iter().map(|record| record.external_id.clone()));
            if page.next_cursor.is_none() {
                break;
            }
            filter.cursor = page.next_cursor;
        }
        assert_eq!(listed, ids, "pages of {limit}");
    }
}

/// Writers change records at random; a reader who follows the cursor must end up with exactly what is stored, and never
/// see time go back.
async fn a_reader_who_follows_the_cursor_misses_nothing(store: Store) {
    const WRITERS: u64 = 4;
    const WRITES: u64 = 60;
    let fixture = Fixture::new(&store).await;
    let key = model(&fixture, "Issue").await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|seed| tokio::spawn(write_at_random(store.clone(), key.clone(), seed, WRITES)))
        .collect();

    let mut replica: HashMap<String, (String, bool)> = HashMap::new();
    let mut cursor = None;
    let mut last = (0, String::new());
    loop {
        // Looked at before the read: what is written after it is for the next round.
        let finished = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let page = store
            .records(
                &key,
                &RecordFilter {
                    cursor: cursor.clone(),
                    ..page(50)
                },
            )
            .await
            .unwrap();
        for record in &page.records {
            assert!(record.modified_at_us >= last.0, "time went back");
            assert_ne!(record.cursor, last.1);
            last = (record.modified_at_us, record.cursor.clone());
            replica.insert(
                record.external_id.clone(),
                (text(&record.data).to_owned(), record.deleted_at_us.is_some()),
            );
            cursor = Some(record.cursor.clone());
        }
        if finished && page.records.is_empty() {
            break;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let mut stored = HashMap::new();
    for record in store.records(&key, &page(10_000)).await.unwrap().records {
        stored.insert(
            record.external_id,
            (text(&record.data).to_owned(), record.deleted_at_us.is_some()),
        );
    }
    assert_eq!(replica, stored);
    assert!(stored.len() > 50);
    let living = stored.values().filter(|(_, is_deleted)| !is_deleted).count();
    assert_eq!(counted(&store, &key).await, living);
}

/// How many there are as the store tells it.
async fn counted(store: &Store, key: &RecordKey) -> usize {
    let counts = store.record_counts(&key.connection_key).await.unwrap();
    counts.first().map_or(0, |(_, count)| usize::try_from(*count).unwrap())
}

async fn who_writes_beside_a_reset_is_counted(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = model(&fixture, "Issue").await;
    let sync = fixture.insert_sync(&key.connection_key, "issues").await;
    let writers: Vec<_> = (0..3)
        .map(|seed| tokio::spawn(write_at_random(store.clone(), key.clone(), seed, 40)))
        .collect();
    let data = SyncData {
        checkpoint_key: "sync:issues:base".to_owned(),
        models: vec![key.model.clone()],
        with_records: true,
    };
    let mut resets = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        resets += 1;
        let run = fixture.sync_run(&sync, resets);
        store.reset_sync(&sync, &data, &run, NOW_MS).await.unwrap();
    }
    for writer in writers {
        writer.await.unwrap();
    }
    save(&store, &key, &[("last", "{}")], NOW_US).await;
    let stored = store.records(&key, &page(10_000)).await.unwrap().records;
    let living = stored.iter().filter(|record| record.deleted_at_us.is_none()).count();
    assert_eq!(counted(&store, &key).await, living);
}

async fn a_row_this_program_did_not_write_is_named(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = model(&fixture, "Issue").await;
    save(&store, &key, &[("1", "{}")], NOW_US).await;
    sqlx::query("UPDATE records SET data = '{broken'")
        .execute(&store.writer)
        .await
        .unwrap();
    let error = store.records_by_ids(&key, &["1"]).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("records.data of row \"1\" holds something"),
        "{error}"
    );
}

/// A few thousand changes in all, with a clock that jumps back and forth.
async fn write_at_random(store: Store, key: RecordKey, seed: u64, writes: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..writes {
        let now_us = NOW_US + random.random_range(-50..50);
        let mut ids: Vec<String> = (0..random.random_range(1..20))
            .map(|_| random.random_range(0..80).to_string())
            .collect();
        ids.sort();
        ids.dedup();
        if random.random_bool(0.2) {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            store.delete_records(&key, &ids, None, now_us).await.unwrap();
        } else {
            let json: Vec<String> = ids
                .iter()
                .map(|_| format!("{{\"v\":{}}}", random.random_range(0..5)))
                .collect();
            let records: Vec<(&str, &str)> = ids
                .iter()
                .zip(&json)
                .map(|(id, json)| (id.as_str(), json.as_str()))
                .collect();
            save(&store, &key, &records, now_us).await;
        }
    }
}

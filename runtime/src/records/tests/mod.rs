//! Records in a real database: what goes in comes back, sealed or not.

mod retention;

use super::*;
use crate::credentials::Secret;
use crate::encryption::KEY_BYTES;
use crate::store::tests::{Fixture, NOW_MS, for_each_db};

for_each_db! {
    records_go_in_and_come_back,
    sealed_records_go_in_and_come_back,
    another_key_is_refused,
    a_bad_record_spoils_the_batch,
}

async fn open(store: Store, clock: Clock, seals: bool) -> Records {
    let entropy = Entropy::seeded(1);
    let keyring = Keyring::new(Secret::new([1; KEY_BYTES]), entropy.clone());
    Records::open(store, keyring, clock, &entropy, seals).await.unwrap()
}

async fn save(records: &Records, key: &RecordKey, json: &str) -> Result<Counts, RecordsError> {
    records.save(key, &Batch::parse(json)?, None).await
}

async fn records_go_in_and_come_back(store: Store) {
    go_in_and_come_back(store, false).await;
}

async fn sealed_records_go_in_and_come_back(store: Store) {
    go_in_and_come_back(store, true).await;
}

async fn another_key_is_refused(store: Store) {
    let _ = open(store.clone(), Clock::manual(NOW_MS).0, true).await;
    let entropy = Entropy::seeded(2);
    let other = Keyring::new(Secret::new([2; KEY_BYTES]), entropy.clone());
    let refused = Records::open(store, other, Clock::manual(NOW_MS).0, &entropy, true).await;
    assert!(matches!(
        refused.err(),
        Some(RecordsError::Encryption(EncryptionError::WrongKey { .. }))
    ));
}

async fn go_in_and_come_back(store: Store, seals: bool) {
    let fixture = Fixture::new(&store).await;
    let key = RecordKey {
        connection_key: fixture.insert_connection("a").await,
        model: "Issue".to_owned(),
    };
    let (clock, manual) = Clock::manual(NOW_MS);
    let records = open(store, clock, seals).await;
    let counts = |added, updated, deleted, unchanged| Counts {
        added,
        updated,
        deleted,
        unchanged,
    };

    assert_eq!(save(&records, &key, "[]").await.unwrap(), Counts::default());
    let batch = r#"[{"id":1,"b":[1, {"y":2,"x":"\u0000"}]}, {"id":"2\u0000"}, {"id":"1","lost":true}]"#;
    assert_eq!(save(&records, &key, batch).await.unwrap(), counts(2, 0, 0, 1));
    let reordered = r#"[{"b":[1,{"x":"\u0000","y":2}],"id":1,"_nango_metadata":{"cursor":"x"}},{"id":"2","v":1}]"#;
    manual.advance_ms(1);
    assert_eq!(save(&records, &key, reordered).await.unwrap(), counts(0, 1, 0, 1));
    assert_eq!(
        records
            .update(
                &key,
                &Batch::parse(r#"[{"id":2,"w":{"k":1}},{"id":"9"}]"#).unwrap(),
                None
            )
            .await
            .unwrap(),
        counts(0, 1, 0, 0)
    );
    assert_eq!(
        records
            .delete(&key, &Batch::parse(r#"[{"id":"1"},{"id":"9"}]"#).unwrap(), None)
            .await
            .unwrap(),
        counts(0, 0, 1, 0)
    );

    let ids = ["1".to_owned(), "2\0".to_owned(), "2".to_owned(), "9".to_owned()];
    let by_id: serde_json::Value = serde_json::from_str(&records.by_ids(&key, &ids).await.unwrap()).unwrap();
    assert_eq!(by_id.as_object().unwrap().len(), 2);
    assert_eq!(by_id["2"]["w"]["k"], 1);
    assert_eq!(by_id["2"]["_nango_metadata"]["last_action"], "UPDATED");
    assert_eq!(by_id["1"]["_nango_metadata"]["last_action"], "DELETED");
    assert_eq!(by_id["1"]["b"][1]["x"], "\0");
    assert_eq!(
        records
            .list(
                &key,
                &RecordFilter {
                    limit: 10,
                    ..Default::default()
                }
            )
            .await
            .unwrap()
            .records
            .len(),
        2
    );
}

async fn a_bad_record_spoils_the_batch(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = RecordKey {
        connection_key: fixture.insert_connection("a").await,
        model: "Issue".to_owned(),
    };
    let records = open(store, Clock::manual(NOW_MS).0, false).await;
    let error = save(&records, &key, r#"[{"id":1},{"name":"x"}]"#).await.unwrap_err();
    assert!(matches!(error, RecordsError::MissingId { index: 1 }), "{error}");
    assert_eq!(records.by_ids(&key, &["1".to_owned()]).await.unwrap(), "{}");
}

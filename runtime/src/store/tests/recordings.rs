//! Recordings, on both databases.

use super::*;
use crate::store::StoredRecording;

for_each_db! {
    a_recording_is_found_in_its_environment_until_it_is_old,
    a_recording_goes_with_its_connection,
}

fn recording(fixture: &Fixture, run_id: &str, connection_key: ConnectionKey, created_at_ms: i64) -> StoredRecording {
    StoredRecording {
        run_id: run_id.into(),
        environment_id: fixture.environment.id.clone(),
        connection_key,
        sealed: Sealed(vec![0, 1, 255]),
        created_at_ms,
    }
}

async fn a_recording_is_found_in_its_environment_until_it_is_old(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    for (run_id, created_at_ms) in [("run_1", NOW_MS), ("run_2", NOW_MS + 1)] {
        let recording = recording(&fixture, run_id, key.clone(), created_at_ms);
        store.insert_recording(&recording).await.unwrap();
        store.insert_recording(&recording).await.unwrap();
    }
    let environment = &fixture.environment.id;
    let found = store.recording(environment, "run_1").await.unwrap().unwrap();
    assert_eq!((found.sealed, found.connection_key), (Sealed(vec![0, 1, 255]), key));
    assert!(store.recording(&"env_other".into(), "run_1").await.unwrap().is_none());
    assert_eq!(store.delete_recordings_before(NOW_MS + 1).await.unwrap(), 1);
    assert!(store.recording(environment, "run_1").await.unwrap().is_none());
    assert!(store.recording(environment, "run_2").await.unwrap().is_some());
}

async fn a_recording_goes_with_its_connection(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    let of_nobody = recording(&fixture, "run_1", "con_none".into(), NOW_MS);
    assert!(
        store.insert_recording(&of_nobody).await.is_err(),
        "of a connection that is gone"
    );
    let kept = recording(&fixture, "run_1", key.clone(), NOW_MS);
    store.insert_recording(&kept).await.unwrap();
    assert!(store.delete_connection(&key, NOW_MS).await.unwrap());
    assert!(
        store
            .recording(&fixture.environment.id, "run_1")
            .await
            .unwrap()
            .is_none()
    );
}

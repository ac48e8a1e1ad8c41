//! Rotation on both databases, with two processes where there can be two.

use std::path::Path;

use super::*;
use crate::encryption::{KEY_BYTES, KEY_FILE_NAME};
use crate::store::SEALED_COLUMNS;
use crate::store::tests::for_each_db;

for_each_db!(
    values_move_and_the_old_key_goes,
    a_key_waits_for_every_process,
    a_process_without_a_key_does_not_start,
    a_retired_key_stays_while_something_is_sealed_with_it,
);

async fn start(store: &Store, folder: &Path, seed: u64) -> Result<(Rotation, Keyring), RotationError> {
    start_at(store, folder, seed, Clock::system()).await
}

async fn start_at(store: &Store, folder: &Path, seed: u64, clock: Clock) -> Result<(Rotation, Keyring), RotationError> {
    let entropy = Entropy::seeded(seed);
    let source = KeySource::new(folder, None);
    let mut keys = source.load_or_create(&entropy)?;
    let newest = keys.pop().unwrap();
    let keyring = Keyring::with_older(newest, keys, entropy.clone());
    let started = Rotation::start(store.clone(), keyring.clone(), source, clock, entropy, false).await;
    started.map(|rotation| (rotation, keyring))
}

/// A keyring that seals with one of the keys in a folder.
fn keyring_of(folder: &Path, id: KeyId) -> Keyring {
    let mut keys = KeySource::new(folder, None).load().unwrap();
    keys.retain(|key| KeyId::of(key) == id);
    Keyring::new(keys.remove(0), Entropy::seeded(9))
}

fn copy_keys(from: &Path, to: &Path) {
    std::fs::copy(from.join(KEY_FILE_NAME), to.join(KEY_FILE_NAME)).unwrap();
}

async fn values_move_and_the_old_key_goes(store: Store) {
    let folder = tempfile::tempdir().unwrap();
    let (clock, hand) = Clock::manual(1_000_000);
    let (rotation, keyring) = start_at(&store, folder.path(), 1, clock).await.unwrap();
    let old = keyring.sealing_with();
    assert!(matches!(rotation.retire(1).await, Err(RotationError::Current { .. })));
    rotation.rotate(None).await.unwrap();
    assert_ne!(keyring.sealing_with(), old, "one process has the key at once");
    assert_eq!(rotation.status().await.unwrap().remaining(), 1);
    rotation.tick().await.unwrap();
    let status = rotation.status().await.unwrap();
    assert_eq!(status.remaining(), 0);
    assert!(status.keys[0].key.emptied_at_ms.is_some());
    let error = rotation.retire(1).await.unwrap_err().to_string();
    assert!(error.ends_with("try again in 45 s"), "{error}");
    // What comes late, from a writer that had sealed before, is moved.
    let (check, late) = (&SEALED_COLUMNS[0], keyring_of(folder.path(), old).check_value());
    let now = store
        .values_sealed_otherwise(check, &old.prefix(), "")
        .await
        .unwrap()
        .remove(0);
    assert!(store.replace_sealed(check, &now.key, &now.sealed, &late).await.unwrap());
    assert_eq!(rotation.status().await.unwrap().remaining(), 1);
    hand.advance_ms(SETTLE_MS);
    rotation.retire(1).await.unwrap();
    assert_eq!(rotation.status().await.unwrap().remaining(), 0);
    assert_eq!(keyring.ids(), [keyring.sealing_with()]);
    assert_eq!(KeySource::new(folder.path(), None).load().unwrap().len(), 1);
    // And it starts again with the key that is left.
    let (_, keyring) = start(&store, folder.path(), 2).await.unwrap();
    assert_ne!(keyring.sealing_with(), old);
    assert!(matches!(rotation.retire(7).await, Err(RotationError::Unknown { .. })));
}

async fn a_key_waits_for_every_process(store: Store) {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (first, first_ring) = start(&store, folders[0].path(), 1).await.unwrap();
    copy_keys(folders[0].path(), folders[1].path());
    let (second, second_ring) = start(&store, folders[1].path(), 2).await.unwrap();
    let old = first_ring.sealing_with();
    first.rotate(Some(EncryptionKey::new([8; KEY_BYTES]))).await.unwrap();
    assert!(matches!(
        first.rotate(None).await,
        Err(RotationError::Waiting { version: 2 })
    ));
    // The second process does not have it: nobody seals with it, and it says what it lacks.
    assert!(matches!(
        second.tick().await,
        Err(RotationError::Missing { version: 2, .. })
    ));
    first.tick().await.unwrap();
    assert_eq!(first_ring.sealing_with(), old);
    copy_keys(folders[0].path(), folders[1].path());
    second.tick().await.unwrap();
    first.tick().await.unwrap();
    let new = first_ring.sealing_with();
    assert_ne!(new, old);
    assert!(second_ring.has(new));
    second.tick().await.unwrap();
    assert_eq!(second_ring.sealing_with(), new);
    assert!(matches!(
        first.rotate(Some(EncryptionKey::new([8; KEY_BYTES]))).await,
        Err(RotationError::Used)
    ));
    // A process that has ended is not waited for.
    second.end().await.unwrap();
    first.rotate(None).await.unwrap();
    assert_ne!(first_ring.sealing_with(), new);
}

async fn a_process_without_a_key_does_not_start(store: Store) {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (first, _) = start(&store, folders[0].path(), 1).await.unwrap();
    copy_keys(folders[0].path(), folders[1].path());
    first.rotate(None).await.unwrap();
    let error = start(&store, folders[1].path(), 2).await.err().unwrap().to_string();
    assert!(error.contains("(version 2) is missing here"), "{error}");
    // Nor did its try hold anybody up.
    first.tick().await.unwrap();
    first.rotate(None).await.unwrap();
    assert_eq!(first.status().await.unwrap().processes.len(), 1);
}

async fn a_retired_key_stays_while_something_is_sealed_with_it(store: Store) {
    let folder = tempfile::tempdir().unwrap();
    let (clock, hand) = Clock::manual(1_000_000);
    let (rotation, keyring) = start_at(&store, folder.path(), 1, clock).await.unwrap();
    let old = keyring.sealing_with();
    let stray = keyring_of(folder.path(), old).check_value();
    rotation.rotate(None).await.unwrap();
    rotation.tick().await.unwrap();
    hand.advance_ms(SETTLE_MS);
    // The database says retired, the process was killed before it knew, and another one came back and wrote.
    assert!(store.retire_encryption_key(1).await.unwrap());
    let check = &SEALED_COLUMNS[0];
    let now = store
        .values_sealed_otherwise(check, &old.prefix(), "")
        .await
        .unwrap()
        .remove(0);
    assert!(
        store
            .replace_sealed(check, &now.key, &now.sealed, &stray)
            .await
            .unwrap()
    );
    let (rotation, keyring) = start(&store, folder.path(), 2).await.unwrap();
    assert!(keyring.has(old));
    assert_eq!(KeySource::new(folder.path(), None).load().unwrap().len(), 2);
    rotation.tick().await.unwrap();
    assert!(
        store
            .values_sealed_otherwise(check, &keyring.sealing_with().prefix(), "")
            .await
            .unwrap()
            .is_empty()
    );
    rotation.tick().await.unwrap();
    assert!(!keyring.has(old));
    assert_eq!(KeySource::new(folder.path(), None).load().unwrap().len(), 1);
}

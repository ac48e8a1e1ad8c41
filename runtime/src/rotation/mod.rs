//! The encryption keys of an installation over its life and over all its processes: which one seals, who has which, moving values
//! from older keys to the one that seals, and letting go of keys that nothing needs.
//!
//! A key never travels: it is in each process' own key file or setting. In the database is its id, and what each process has. A
//! new key waits until every process that lives has it; only then it seals, and a background pass moves what older keys sealed,
//! each value by compare-and-set. All of it stands in the database at every moment, so a process that dies leaves nothing to
//! repair: the next pass goes on.

mod error;
mod moving;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use error::RotationError;

use crate::clock::{Clock, Entropy};
use crate::encryption::{EncryptionKey, KeyId, KeySource, Keyring};
use crate::model::{EncryptionKeyState, KeyHolder, Sealed, StoredEncryptionKey};
use crate::store::Store;

/// How often a process looks for keys, and says which it has.
pub const ROTATION_INTERVAL_MS: u64 = 5_000;
/// A process that said nothing for so long is not waited for.
pub const HOLDER_DEAD_AFTER_MS: i64 = 60_000;
/// How long a key is kept after the last value was moved away from it: as long as a value that was sealed before may wait for its
/// turn to be written (30 s for a connection, 10 s for SQLite's lock).
pub const SETTLE_MS: i64 = 45_000;
/// The sealed constant that tells a wrong key, in the settings.
const ENCRYPTION_CHECK: &str = "encryption_check";

/// Cheap to clone.
#[derive(Clone)]
pub struct Rotation(Arc<Parts>);

struct Parts {
    store: Store,
    keyring: Keyring,
    source: KeySource,
    clock: Clock,
    entropy: Entropy,
    process: String,
    /// One step at a time; a pass over all values is one.
    turn: tokio::sync::Mutex<()>,
}

/// How the keys stand.
#[derive(Clone, Debug)]
pub struct RotationStatus {
    pub keys: Vec<KeyStatus>,
    /// Whether payloads of records are stored in clear, of which no rotation moves anything.
    pub records_in_clear: bool,
    /// Those that live.
    pub processes: Vec<KeyHolder>,
}

#[derive(Clone, Debug)]
pub struct KeyStatus {
    pub key: StoredEncryptionKey,
    /// How many values are sealed with it, by `table.column`; places without any are left out.
    pub values: Vec<(String, i64)>,
}

impl KeyStatus {
    #[must_use]
    pub fn values_total(&self) -> i64 {
        self.values.iter().map(|(_, count)| count).sum()
    }
}

impl RotationStatus {
    /// Values that are not sealed with the key that seals.
    #[must_use]
    pub fn remaining(&self) -> i64 {
        let others = self
            .keys
            .iter()
            .filter(|key| key.key.state != EncryptionKeyState::Sealing);
        others.map(KeyStatus::values_total).sum()
    }
}

/// The keys of this process, the newest last; at least one. The first one is made for a database that nothing was sealed in yet, and
/// for no other: beside one that is lost it would look like the one that is looked for.
///
/// # Errors
/// [`RotationError::Lost`] when there is no key and the database needs one; a key that cannot be read.
pub async fn load_keys(
    store: &Store,
    source: &KeySource,
    entropy: &Entropy,
) -> Result<Vec<EncryptionKey>, RotationError> {
    if let (Some(path), Some(check)) = (source.missing_file(), store.setting(ENCRYPTION_CHECK).await?) {
        let key_id = KeyId::of_sealed(&check).map_or_else(String::new, |id| id.to_string());
        return Err(RotationError::Lost { path, key_id });
    }
    Ok(source.load_or_create(entropy)?)
}

impl Rotation {
    /// Checks that this process has every key that the database needs, and has the right one seal. `alone` says that no other
    /// process can be using the database.
    ///
    /// # Errors
    /// A wrong or missing key. Nothing was changed then.
    pub async fn start(
        store: Store,
        keyring: Keyring,
        source: KeySource,
        clock: Clock,
        entropy: Entropy,
        alone: bool,
    ) -> Result<Self, RotationError> {
        let check = store.insert_setting(ENCRYPTION_CHECK, &keyring.check_value().0).await?;
        keyring.verify(&Sealed(check.clone()))?;
        let process = uuid::Builder::from_random_bytes(entropy.bytes())
            .into_uuid()
            .to_string();
        let rotation = Self(Arc::new(Parts {
            store,
            keyring,
            source,
            clock,
            entropy,
            process,
            turn: tokio::sync::Mutex::new(()),
        }));
        let parts = &rotation.0;
        if alone {
            parts.store.forget_key_holders(None, i64::MAX).await?;
        }
        if parts.store.encryption_keys().await?.is_empty() {
            // The key of the first value there is.
            let first = KeyId::of_sealed(&check).unwrap_or_else(|| parts.keyring.sealing_with());
            parts
                .store
                .insert_encryption_key(&first.to_string(), parts.clock.now_ms())
                .await?;
        }
        // Before the keys are read: a key that is made to wait after that is not promoted without this process.
        rotation.say_what_is_held().await?;
        let adopted = rotation.adopt().await;
        if adopted.is_err() {
            parts.store.forget_key_holders(Some(&parts.process), 0).await?;
        }
        adopted?;
        rotation.say_what_is_held().await?;
        Ok(rotation)
    }

    /// Looks for new keys, says which there are, has the one that waits seal if everybody has it, and moves values. To be called
    /// every [`ROTATION_INTERVAL_MS`].
    ///
    /// # Errors
    /// When the key file or the database cannot be read. The next call tries again.
    pub async fn tick(&self) -> Result<(), RotationError> {
        let _turn = self.0.turn.lock().await;
        self.step().await?;
        self.move_values().await
    }

    /// Has a new key seal as soon as every process has it: the one that is given, else one that this process has and that was
    /// never used, else a random one.
    ///
    /// # Errors
    /// [`RotationError::Waiting`] while another one waits, [`RotationError::Used`] for a key that was used before, and
    /// [`crate::encryption::KeyError`] when the key cannot be written down. Nothing was changed then.
    pub async fn rotate(&self, given: Option<EncryptionKey>) -> Result<(), RotationError> {
        let _turn = self.0.turn.lock().await;
        let parts = &self.0;
        let stored = parts.store.encryption_keys().await?;
        let is_known = |id: KeyId| stored.iter().any(|key| key.key_id == id.to_string());
        if let Some(waiting) = stored.iter().find(|key| key.state == EncryptionKeyState::Waiting) {
            return Err(RotationError::Waiting {
                version: waiting.version,
            });
        }
        let id = match given {
            Some(key) if is_known(KeyId::of(&key)) => return Err(RotationError::Used),
            Some(key) => self.add(&key)?,
            None => match self.load()?.iter().map(KeyId::of).rfind(|id| !is_known(*id)) {
                Some(spare) => spare,
                None => self.add(&EncryptionKey::new(parts.entropy.bytes()))?,
            },
        };
        let now_ms = parts.clock.now_ms();
        self.say_what_is_held().await?;
        if !parts.store.insert_encryption_key(&id.to_string(), now_ms).await? {
            return Err(RotationError::Raced);
        }
        self.step().await
    }

    /// Lets go of a key that nothing is sealed with, [`SETTLE_MS`] after the last value was moved.
    ///
    /// # Errors
    /// [`RotationError::Settling`] before that. [`RotationError::InUse`] says how many values are sealed with it and where. Nothing was changed then.
    pub async fn retire(&self, version: i64) -> Result<(), RotationError> {
        let _turn = self.0.turn.lock().await;
        // What came in behind the last pass.
        self.move_all().await?;
        let status = self.status().await?;
        let Some(key) = status.keys.iter().find(|key| key.key.version == version) else {
            return Err(RotationError::Unknown { version });
        };
        match key.key.state {
            EncryptionKeyState::Opening => {}
            EncryptionKeyState::Retired => return Ok(()),
            EncryptionKeyState::Sealing | EncryptionKeyState::Waiting => {
                return Err(RotationError::Current { version });
            }
        }
        if let Some(process) = status
            .processes
            .iter()
            .find(|process| process.sealing_with == key.key.key_id)
        {
            return Err(RotationError::StillSealing {
                version,
                process: process.process.clone(),
            });
        }
        if key.values_total() > 0 {
            return Err(RotationError::InUse {
                version,
                values: key.values.clone(),
            });
        }
        let now_ms = self.0.clock.now_ms();
        let emptied_at_ms = key.key.emptied_at_ms.unwrap_or(now_ms);
        let wait_ms = emptied_at_ms.saturating_add(SETTLE_MS).saturating_sub(now_ms);
        if wait_ms > 0 {
            return Err(RotationError::Settling { version, wait_ms });
        }
        self.0.store.retire_encryption_key(version).await?;
        self.step().await
    }

    /// # Errors
    /// When the database fails.
    pub async fn status(&self) -> Result<RotationStatus, RotationError> {
        let parts = &self.0;
        let mut keys: Vec<KeyStatus> = parts
            .store
            .encryption_keys()
            .await?
            .into_iter()
            .map(|key| KeyStatus {
                key,
                values: Vec::new(),
            })
            .collect();
        for count in parts.store.sealed_counts().await? {
            let id = KeyId::of_sealed(&count.prefix).map(|id| id.to_string());
            let key = keys.iter_mut().find(|key| Some(&key.key.key_id) == id.as_ref());
            if let Some(key) = key {
                key.values
                    .push((format!("{}.{}", count.table, count.column), count.values));
            }
        }
        let mut processes = parts.store.key_holders().await?;
        let since_ms = self.living_since_ms();
        processes.retain(|process| process.seen_at_ms >= since_ms);
        Ok(RotationStatus {
            keys,
            records_in_clear: parts.store.next_model_in_clear(None).await?.is_some(),
            processes,
        })
    }

    /// Says that this process has ended.
    ///
    /// # Errors
    /// When the database fails; it is not waited for after [`HOLDER_DEAD_AFTER_MS`] then.
    pub async fn end(&self) -> Result<(), RotationError> {
        Ok(self.0.store.forget_key_holders(Some(&self.0.process), 0).await?)
    }

    /// One step but the moving of values.
    async fn step(&self) -> Result<(), RotationError> {
        let stored = self.0.store.encryption_keys().await?;
        let is_retired = |id: KeyId| {
            let mut retired = stored.iter().filter(|key| key.state == EncryptionKeyState::Retired);
            retired.any(|key| key.key_id == id.to_string())
        };
        for key in self.load()? {
            // Where keys come from a setting, retired ones may be there for long.
            if !is_retired(KeyId::of(&key)) {
                self.0.keyring.add(&key);
            }
        }
        self.say_what_is_held().await?;
        self.0.store.promote_encryption_key(self.living_since_ms()).await?;
        self.adopt().await?;
        self.say_what_is_held().await
    }

    fn load(&self) -> Result<Vec<EncryptionKey>, RotationError> {
        Ok(self.0.source.load()?)
    }

    fn add(&self, key: &EncryptionKey) -> Result<KeyId, RotationError> {
        // On disk first: what is sealed with it must be readable after a crash.
        self.0.source.add(key, &self.0.entropy)?;
        self.0.keyring.add(key);
        Ok(KeyId::of(key))
    }

    /// Does what the database says of the keys: one seals, retired ones go.
    async fn adopt(&self) -> Result<(), RotationError> {
        let Parts {
            store, keyring, source, ..
        } = &*self.0;
        let ids = keyring.ids();
        let held = |key: &StoredEncryptionKey| ids.iter().copied().find(|id| id.to_string() == key.key_id);
        let mut retired = Vec::new();
        for key in store.encryption_keys().await? {
            match (key.state, held(&key)) {
                (EncryptionKeyState::Retired, Some(id)) => retired.push(id),
                (EncryptionKeyState::Retired, None) => {}
                (_, None) => {
                    return Err(RotationError::Missing {
                        version: key.version,
                        key_id: key.key_id,
                    });
                }
                (EncryptionKeyState::Sealing, Some(id)) => {
                    // It is held.
                    let _ = keyring.seal_with(id);
                }
                (EncryptionKeyState::Waiting | EncryptionKeyState::Opening, Some(_)) => {}
            }
        }
        if !retired.is_empty() {
            // A process that was taken for dead may have come back and sealed with one of them: it is moved first.
            let needed = self.still_needed().await?;
            retired.retain(|id| !needed.contains(id));
            source.remove(&retired, &self.0.entropy)?;
            retired.into_iter().for_each(|id| keyring.forget(id));
        }
        Ok(())
    }

    /// The keys that values are sealed with.
    async fn still_needed(&self) -> Result<Vec<KeyId>, RotationError> {
        let counts = self.0.store.sealed_counts().await?;
        let needed = counts.iter().filter_map(|count| KeyId::of_sealed(&count.prefix));
        Ok(needed.collect())
    }

    async fn say_what_is_held(&self) -> Result<(), RotationError> {
        let parts = &self.0;
        let holder = KeyHolder {
            process: parts.process.clone(),
            key_ids: parts.keyring.ids().iter().map(KeyId::to_string).collect(),
            sealing_with: parts.keyring.sealing_with().to_string(),
            seen_at_ms: parts.clock.now_ms(),
        };
        Ok(parts.store.note_key_holder(&holder).await?)
    }

    fn living_since_ms(&self) -> i64 {
        self.0.clock.now_ms().saturating_sub(HOLDER_DEAD_AFTER_MS)
    }
}

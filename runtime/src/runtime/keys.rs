//! API keys: which there are, who they stand for, making and revoking them. Held in memory, so that no request waits for the
//! database to learn who sent it; what other processes did is seen after [`KEYS_RELOAD_INTERVAL_MS`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Runtime;
use super::caller::{Caller, Denied, KnownKey};
use crate::clock::{Clock, Entropy};
use crate::credentials::Secret;
use crate::model::{ApiKey, ApiKeyId, Environment, EnvironmentId, KeyLimits, Scopes, is_plain_path};
use crate::store::{Store, StoreError};

/// The environment every installation begins with.
pub const DEFAULT_ENVIRONMENT: &str = "dev";
/// API keys that an environment may have (Nango compatibility).
pub const KEYS_MAX: i64 = 50;
/// How soon keys that another process made or revoked are known here, in milliseconds.
pub const KEYS_RELOAD_INTERVAL_MS: u64 = 5_000;
/// How often the times of last use are written down, in milliseconds.
pub(super) const KEYS_USED_INTERVAL_MS: u64 = 60_000;
const NAME_CHARS_MAX: usize = 255;
/// Entries that one list of a key may have: scopes, integrations and so on.
const LIST_MAX: usize = 256;
const ENTRY_BYTES_MAX: usize = 1_024;

/// A key to make.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    pub name: String,
    pub scopes: Scopes,
    pub limits: KeyLimits,
}

/// Why a key is not made or not revoked.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("{message}")]
    Invalid { field: &'static str, message: String },
    #[error("the environment has {KEYS_MAX} API keys, which is the most it may have; revoke one that is not used")]
    TooMany,
    #[error("there is no API key {id:?}; `nango-runtime keys list` shows all")]
    Unknown { id: String },
    #[error("an API key cannot revoke itself; use another key")]
    Own,
    #[error(transparent)]
    Store(#[from] StoreError),
}

type ByHash = HashMap<[u8; 32], Caller>;

pub(super) struct Keys {
    store: Store,
    // A std lock: held for one look-up and never across an await.
    callers: RwLock<ByHash>,
    /// Held by whoever changes keys or reads them all: what was read before a change must not be put in after it.
    changes: tokio::sync::Mutex<()>,
    pub default_environment: Arc<Environment>,
    pub new_key: std::sync::Mutex<Option<Secret<String>>>,
}

impl Keys {
    /// Loads all keys. `given` becomes a key of the default environment; the very first start generates one when none is given.
    pub async fn load(
        store: &Store,
        clock: &Clock,
        entropy: &Entropy,
        given: Option<&Secret<String>>,
    ) -> Result<Self, StoreError> {
        let now_ms = clock.now_ms();
        let default_environment = Arc::new(default_environment(store, now_ms, entropy).await?);
        let known = store.api_keys().await?;
        let mut new_key = None;
        let key = match given {
            Some(given) => Some(given.expose().to_ascii_lowercase()),
            None if known.is_empty() => {
                let generated = generated(entropy);
                new_key = Some(Secret::new(generated.clone()));
                Some(generated)
            }
            None => None,
        };
        if let Some(key) = key {
            let sha256 = hash(&key);
            if !known.iter().any(|known| known.sha256 == sha256) {
                let key = ApiKey {
                    id: ApiKeyId::new(now_ms, entropy.bytes()),
                    environment_id: default_environment.id.clone(),
                    name: "default".into(),
                    sha256,
                    scopes: Scopes::everything(),
                    limits: KeyLimits::default(),
                    created_at_ms: now_ms,
                    last_used_at_ms: None,
                };
                // The operator's own key is never one too many.
                store.insert_api_key(&key, i64::MAX).await?;
            }
        }
        let keys = Self {
            store: store.clone(),
            callers: RwLock::default(),
            changes: tokio::sync::Mutex::new(()),
            default_environment,
            new_key: std::sync::Mutex::new(new_key),
        };
        keys.reload().await?;
        Ok(keys)
    }

    /// Sees what other processes made and revoked.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let _changes = self.changes.lock().await;
        let environments: HashMap<EnvironmentId, Arc<Environment>> = self
            .store
            .environments()
            .await?
            .into_iter()
            .map(|it| (it.id.clone(), Arc::new(it)))
            .collect();
        let keys = self.store.api_keys().await?;
        let mut callers = self.callers.write().unwrap_or_else(PoisonError::into_inner);
        let loaded = keys.into_iter().filter_map(|key| {
            // One that is known has been used since.
            let known = callers.get(&key.sha256).filter(|caller| *caller.key_id() == key.id);
            let caller = match known {
                Some(caller) => {
                    caller.used(key.last_used_at_ms.unwrap_or(0));
                    caller.clone()
                }
                None => caller(Arc::clone(environments.get(&key.environment_id)?), key.clone()),
            };
            Some((key.sha256, caller))
        });
        let loaded: ByHash = loaded.collect();
        *callers = loaded;
        Ok(())
    }

    /// Looked up by hash, so that the time it takes says nothing about the key.
    pub fn authenticate(&self, key: &str, now_ms: i64) -> Option<Caller> {
        // Keys are UUIDs, which may be written in either case.
        let key = Uuid::try_parse(key).ok()?;
        let mut text = Uuid::encode_buffer();
        let sha256 = hash(key.hyphenated().encode_lower(&mut text));
        let caller = self
            .callers
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&sha256)
            .cloned()?;
        caller.used(now_ms);
        Some(caller)
    }

    async fn insert(&self, key: ApiKey, environment: Arc<Environment>) -> Result<(), KeysError> {
        let _changes = self.changes.lock().await;
        if !self.store.insert_api_key(&key, KEYS_MAX).await? {
            return Err(KeysError::TooMany);
        }
        let mut callers = self.callers.write().unwrap_or_else(PoisonError::into_inner);
        callers.insert(key.sha256, caller(environment, key));
        Ok(())
    }

    async fn remove(&self, environment: &EnvironmentId, id: &ApiKeyId) -> Result<(), KeysError> {
        let _changes = self.changes.lock().await;
        let deleted = self.store.delete_api_key(environment, id).await?;
        let mut callers = self.callers.write().unwrap_or_else(PoisonError::into_inner);
        callers.retain(|_, caller| caller.key_id() != id || caller.0.environment.id != *environment);
        if deleted {
            Ok(())
        } else {
            Err(KeysError::Unknown { id: id.to_string() })
        }
    }

    /// Of one environment, oldest first, with times of last use as this process knows them.
    fn list(&self, environment: &EnvironmentId) -> Vec<ApiKey> {
        let callers = self.callers.read().unwrap_or_else(PoisonError::into_inner);
        let mut keys: Vec<ApiKey> = callers
            .values()
            .filter(|caller| caller.0.environment.id == *environment)
            .map(|caller| ApiKey {
                last_used_at_ms: last_used(caller),
                ..caller.0.key.clone()
            })
            .collect();
        keys.sort_by(|a, b| (a.created_at_ms, &a.id).cmp(&(b.created_at_ms, &b.id)));
        keys
    }

    /// Writes down when keys were last used, where that was after `since_ms`.
    pub async fn write_uses(&self, since_ms: i64) -> Result<(), StoreError> {
        let uses: Vec<(ApiKeyId, i64)> = {
            let callers = self.callers.read().unwrap_or_else(PoisonError::into_inner);
            let used = callers
                .values()
                .filter_map(|caller| Some((caller.key_id().clone(), last_used(caller)?)));
            used.filter(|(_, used_at_ms)| *used_at_ms > since_ms).collect()
        };
        if uses.is_empty() {
            return Ok(());
        }
        self.store.set_api_keys_used(&uses).await
    }
}

/// API keys. All of this is for callers without limits.
impl Runtime {
    /// The keys of the caller's environment, oldest first.
    ///
    /// # Errors
    /// [`Denied::Limited`].
    pub async fn api_keys(&self, caller: &Caller) -> Result<Vec<ApiKey>, KeysError> {
        let environment = caller.environment()?;
        if self.0.config.database_url.is_some() {
            self.0.keys.reload().await?;
        }
        Ok(self.0.keys.list(environment))
    }

    /// Makes a key in the caller's environment, and gives it with its secret, which is nowhere else from then on.
    ///
    /// # Errors
    /// [`KeysError`]: something that is no scope or limit, a scope that the caller does not have, too many keys.
    pub async fn create_api_key(&self, caller: &Caller, new: NewApiKey) -> Result<(ApiKey, Secret<String>), KeysError> {
        caller.environment()?;
        new.check()?;
        if let Some(scope) = caller.scopes().lacks_of(&new.scopes) {
            caller.require(scope)?;
        }
        let now_ms = self.0.clock.now_ms();
        let secret = generated(&self.0.entropy);
        let environment = Arc::clone(&caller.0.environment);
        let key = ApiKey {
            id: ApiKeyId::new(now_ms, self.0.entropy.bytes()),
            environment_id: environment.id.clone(),
            name: new.name,
            sha256: hash(&secret),
            scopes: new.scopes,
            limits: new.limits,
            created_at_ms: now_ms,
            last_used_at_ms: None,
        };
        self.0.keys.insert(key.clone(), environment).await?;
        Ok((key, Secret::new(secret)))
    }

    /// From then on the key is unknown: at once in this process, after [`KEYS_RELOAD_INTERVAL_MS`] in others. Requests that
    /// are under way go on.
    ///
    /// # Errors
    /// [`KeysError`]: there is none of that id, or it is the caller's own.
    pub async fn revoke_api_key(&self, caller: &Caller, id: &ApiKeyId) -> Result<(), KeysError> {
        let environment = caller.environment()?;
        // So a key that can make others is always left.
        if caller.key_id() == id {
            return Err(KeysError::Own);
        }
        self.0.keys.remove(environment, id).await
    }
}

impl NewApiKey {
    fn check(&self) -> Result<(), KeysError> {
        let invalid = |field, message: &str| {
            Err(KeysError::Invalid {
                field,
                message: message.to_owned(),
            })
        };
        let chars = self.name.chars().count();
        if !(1..=NAME_CHARS_MAX).contains(&chars) || self.name.chars().any(char::is_control) {
            return invalid("name", "a name has 1 to 255 characters and no control characters");
        }
        if let Some(unknown) = self.scopes.unknown() {
            let all: Vec<&str> = crate::model::Scope::ALL.iter().map(|scope| scope.name()).collect();
            let message = format!(
                "{unknown:?} is no scope; scopes are environment:* (all), a prefix that ends in :*, and {}",
                all.join(", ")
            );
            return invalid("scopes", &message);
        }
        let limits = &self.limits;
        let lists = [
            ("scopes", Some(self.scopes.names())),
            ("limits.integrations", limits.integrations.as_deref()),
            ("limits.connections", limits.connections.as_deref()),
            ("limits.methods", limits.methods.as_deref()),
            ("limits.path_prefixes", limits.path_prefixes.as_deref()),
        ];
        for (field, list) in lists {
            let Some(list) = list else { continue };
            let fits = |entry: &String| (1..=ENTRY_BYTES_MAX).contains(&entry.len());
            if !(1..=LIST_MAX).contains(&list.len()) || !list.iter().all(fits) {
                return invalid(
                    field,
                    "a list has 1 to 256 entries of 1 to 1024 bytes; leave it out for no limit",
                );
            }
        }
        let is_method = |method: &String| method.bytes().all(|byte| byte.is_ascii_uppercase());
        if !limits.methods.iter().flatten().all(is_method) {
            return invalid("limits.methods", "methods are written in capitals, like GET");
        }
        let is_prefix = |prefix: &String| is_plain_path(prefix) && !prefix.contains(['?', '#', '%']);
        if !limits.path_prefixes.iter().flatten().all(is_prefix) {
            let message =
                "a path prefix begins with / and has no query, no percent-encoding, no dots and no empty segments";
            return invalid("limits.path_prefixes", message);
        }
        if limits.limits_requests() && !self.scopes.is_only(crate::model::Scope::Proxy) {
            let message = "a key that is limited to methods or paths may have the scope environment:proxy only: others lead around such limits";
            return invalid("scopes", message);
        }
        Ok(())
    }
}

fn caller(environment: Arc<Environment>, key: ApiKey) -> Caller {
    let last_used_at_ms = AtomicI64::new(key.last_used_at_ms.unwrap_or(0));
    Caller(Arc::new(KnownKey {
        key,
        environment,
        last_used_at_ms,
    }))
}

fn last_used(caller: &Caller) -> Option<i64> {
    let last = caller.0.last_used_at_ms.load(Ordering::Relaxed);
    (last > 0).then_some(last)
}

/// A UUID of version 4.
fn generated(entropy: &Entropy) -> String {
    uuid::Builder::from_random_bytes(entropy.bytes())
        .into_uuid()
        .to_string()
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

async fn default_environment(store: &Store, now_ms: i64, entropy: &Entropy) -> Result<Environment, StoreError> {
    if let Some(environment) = store.environment_by_name(DEFAULT_ENVIRONMENT).await? {
        return Ok(environment);
    }
    let environment = Environment {
        id: EnvironmentId::new(now_ms, entropy.bytes()),
        name: DEFAULT_ENVIRONMENT.into(),
        created_at_ms: now_ms,
    };
    store.insert_environment(&environment).await?;
    Ok(environment)
}

//! Who calls: bearer keys and the environments they stand for. Held in memory, so that no request waits for the database to
//! learn who sent it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::clock::{Clock, Entropy};
use crate::credentials::Secret;
use crate::model::{ApiKey, ApiKeyId, Environment, EnvironmentId};
use crate::store::{Store, StoreError};

/// The environment every installation begins with.
pub const DEFAULT_ENVIRONMENT: &str = "dev";

/// For whom the API is called: what a bearer key stands for.
#[derive(Clone, Debug)]
pub struct Caller {
    pub environment: Arc<Environment>,
}

pub(super) struct Keys {
    // A std lock: held for one look-up and never across an await.
    callers: RwLock<HashMap<[u8; 32], Caller>>,
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
        let mut keys = store.api_keys().await?;
        let mut new_key = None;
        let key = match given {
            Some(given) => Some(given.expose().to_ascii_lowercase()),
            None if keys.is_empty() => {
                let generated = uuid::Builder::from_random_bytes(entropy.bytes())
                    .into_uuid()
                    .to_string();
                new_key = Some(Secret::new(generated.clone()));
                Some(generated)
            }
            None => None,
        };
        if let Some(key) = key {
            let sha256 = hash(&key);
            if !keys.iter().any(|known| known.sha256 == sha256) {
                let key = ApiKey {
                    id: ApiKeyId::new(now_ms, entropy.bytes()),
                    environment_id: default_environment.id.clone(),
                    name: "default".into(),
                    sha256,
                    created_at_ms: now_ms,
                };
                store.insert_api_key(&key).await?;
                keys.push(key);
            }
        }
        let environments: HashMap<EnvironmentId, Arc<Environment>> = store
            .environments()
            .await?
            .into_iter()
            .map(|it| (it.id.clone(), Arc::new(it)))
            .collect();
        let callers = keys
            .into_iter()
            .filter_map(|key| {
                let environment = Arc::clone(environments.get(&key.environment_id)?);
                Some((key.sha256, Caller { environment }))
            })
            .collect();
        Ok(Self {
            callers: RwLock::new(callers),
            default_environment,
            new_key: std::sync::Mutex::new(new_key),
        })
    }

    /// Looked up by hash, so that the time it takes says nothing about the key.
    pub fn authenticate(&self, key: &str) -> Option<Caller> {
        // Keys are UUIDs, which may be written in either case.
        let key = Uuid::try_parse(key).ok()?;
        let mut text = Uuid::encode_buffer();
        let sha256 = hash(key.hyphenated().encode_lower(&mut text));
        self.callers
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&sha256)
            .cloned()
    }
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

//! Components ready to be instantiated, by digest: in memory, else compiled code on disk, else compiled from the stored bytes. Each
//! digest is prepared once, however many runs wait for it.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use wasmtime::component::{Component, Linker};

use super::{ComponentError, ExecutorError};
use crate::clock::Clock;
use crate::engine::{CodeCache, Engine, hex};
use crate::host::{self, FunctionPre, GuestState};
use crate::store::Store;

/// Code of components kept ready, in bytes; what was not used lately goes first. One that uses the SDK takes about 1 MiB, a language
/// runtime some 30 MiB.
const PREPARED_BYTES_MAX: u64 = 512 << 20;
/// Few enough that the cache is one: in parts, each would have a part of the bytes, and a component larger than that would never be kept.
const PREPARED_ESTIMATE: usize = 32;

pub(super) type Prepared = Arc<FunctionPre<GuestState>>;

pub(super) struct Components {
    prepared: Cache<String, Prepared, CodeBytes>,
    loader: Arc<Loader>,
}

#[derive(Clone)]
struct CodeBytes;

impl Weighter<String, Prepared> for CodeBytes {
    fn weight(&self, _digest: &String, prepared: &Prepared) -> u64 {
        let image = prepared.instance_pre().component().image_range();
        // What weighs nothing would never go.
        (image.end.addr().saturating_sub(image.start.addr()) as u64).max(1)
    }
}

struct Loader {
    engine: Engine,
    code_cache: CodeCache,
    linker: Linker<GuestState>,
    clock: Clock,
}

impl Components {
    pub(super) fn new(engine: Engine, code_cache: CodeCache, clock: Clock) -> Result<Self, ExecutorError> {
        Self::holding(PREPARED_BYTES_MAX, engine, code_cache, clock)
    }

    fn holding(bytes_max: u64, engine: Engine, code_cache: CodeCache, clock: Clock) -> Result<Self, ExecutorError> {
        let linker = host::linker(engine.wasmtime()).map_err(|error| ExecutorError::Linker {
            reason: format!("{error:#}"),
        })?;
        Ok(Self {
            prepared: Cache::with_weighter(PREPARED_ESTIMATE, bytes_max, CodeBytes),
            loader: Arc::new(Loader {
                engine,
                code_cache,
                linker,
                clock,
            }),
        })
    }

    /// Whether a run would find it without waiting.
    pub(super) fn is_ready(&self, digest: &str) -> bool {
        self.prepared.contains_key(digest)
    }

    /// Drops it from memory; compiled code on disk stays.
    pub(super) fn forget(&self, digest: &str) {
        self.prepared.remove(digest);
    }

    /// A component that was deployed.
    pub(super) async fn of_digest(&self, digest: &str, store: &Store) -> Result<Prepared, ComponentError> {
        if let Some(prepared) = self.prepared.get(digest) {
            return Ok(prepared);
        }
        let load = async {
            let unavailable = |reason: String| ComponentError::Unavailable {
                digest: digest.to_owned(),
                reason,
            };
            if let Some(prepared) = self.loader.on_blocking_thread(digest, Loader::load).await? {
                return Ok(prepared);
            }
            let component = store
                .component(digest)
                .await
                .map_err(|error| unavailable(error.to_string()))?;
            let component = component.ok_or_else(|| ComponentError::Missing {
                digest: digest.to_owned(),
            })?;
            if hex(&Sha256::digest(&component)) != digest {
                return Err(unavailable(
                    "the stored bytes do not have this digest; deploy it again".to_owned(),
                ));
            }
            self.loader
                .on_blocking_thread(digest, move |loader, digest| loader.compile(digest, &component))
                .await
        };
        self.prepared.get_or_insert_async(digest, load).await
    }

    /// A component that is about to be deployed.
    pub(super) async fn of_bytes(&self, digest: &str, component: Arc<[u8]>) -> Result<Prepared, ComponentError> {
        let compile = self
            .loader
            .on_blocking_thread(digest, move |loader, digest| match loader.load(digest)? {
                Some(prepared) => Ok(prepared),
                None => loader.compile(digest, &component),
            });
        self.prepared.get_or_insert_async(digest, compile).await
    }
}

impl Loader {
    /// From compiled code on disk.
    fn load(&self, digest: &str) -> Result<Option<Prepared>, ComponentError> {
        let component = self.engine.load(&self.code_cache, digest, self.clock.now_ms());
        component.map(|component| self.prepare(&component)).transpose()
    }

    fn compile(&self, digest: &str, component: &[u8]) -> Result<Prepared, ComponentError> {
        let component = self.engine.compile(component)?;
        let prepared = self.prepare(&component)?;
        self.engine
            .save(&self.code_cache, digest, &component, self.clock.now_ms());
        Ok(prepared)
    }

    /// Checks imports and exports against the world, once for all runs.
    fn prepare(&self, component: &Component) -> Result<Prepared, ComponentError> {
        let wrong = |error: wasmtime::Error| ComponentError::WrongTypes {
            reason: format!("{error:#}"),
        };
        let linked = self.linker.instantiate_pre(component).map_err(wrong)?;
        Ok(Arc::new(FunctionPre::new(linked).map_err(wrong)?))
    }

    /// Compiling and reading files would keep a worker from its guests.
    async fn on_blocking_thread<T: Send + 'static>(
        self: &Arc<Self>,
        digest: &str,
        work: impl FnOnce(&Self, &str) -> Result<T, ComponentError> + Send + 'static,
    ) -> Result<T, ComponentError> {
        let (loader, digest) = (Arc::clone(self), digest.to_owned());
        let unavailable_digest = digest.clone();
        let worked = tokio::task::spawn_blocking(move || work(&loader, &digest)).await;
        worked.unwrap_or_else(|error| {
            Err(ComponentError::Unavailable {
                digest: unavailable_digest,
                reason: format!("compiling it ended early: {error}"),
            })
        })
    }
}

#[cfg(test)]
pub(in crate::executor) mod tests {
    use super::*;
    use crate::engine::EngineOptions;

    /// A component with an action of that name, of eight letters.
    pub(in crate::executor) fn component(action: &str) -> Arc<[u8]> {
        let text = include_str!("../../../tests/guests/wat/first-version.wat");
        let named = text.replace(r#"\"name\":\"metadata\""#, &format!(r#"\"name\":\"{action}\""#));
        assert!(named.contains(action) && action.len() == 8, "{action}");
        wat::parse_str(named).unwrap().into()
    }

    pub(in crate::executor) fn engine() -> Engine {
        let options = EngineOptions {
            concurrent_runs: 2,
            run_memory_bytes: 4 << 20,
        };
        Engine::new(&options).unwrap()
    }

    fn holding(bytes_max: u64, folder: &tempfile::TempDir) -> Components {
        let code_cache = CodeCache::new(folder.path().to_owned(), [7; 32]);
        Components::holding(bytes_max, engine(), code_cache, Clock::system()).unwrap()
    }

    async fn prepare(components: &Components, action: &str) -> (String, u64) {
        let component = component(action);
        let digest = hex(&Sha256::digest(&component));
        let prepared = components.of_bytes(&digest, component).await.unwrap();
        let bytes = CodeBytes.weight(&digest, &prepared);
        (digest, bytes)
    }

    #[tokio::test]
    async fn code_is_kept_up_to_a_number_of_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (_, one_bytes) = prepare(&holding(PREPARED_BYTES_MAX, &folder), "metadata").await;
        assert!(one_bytes > 1_000, "what wasmtime made of it: {one_bytes}");

        let components = holding(2 * one_bytes + one_bytes / 2, &folder);
        let mut digests = Vec::new();
        for number in 0..20 {
            let (digest, bytes) = prepare(&components, &format!("action{number:02}")).await;
            assert_eq!(bytes, one_bytes, "they differ in nothing but a name");
            digests.push(digest);
        }
        let ready = digests.iter().filter(|digest| components.is_ready(digest)).count();
        assert_eq!(ready, 2);
    }

    #[tokio::test]
    async fn one_component_may_have_all_the_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let components = holding(PREPARED_BYTES_MAX, &folder);
        assert_eq!(components.prepared.shard_capacity(), PREPARED_BYTES_MAX);
        let (digest, _) = prepare(&components, "metadata").await;
        assert!(components.is_ready(&digest));
        components.forget(&digest);
        assert!(!components.is_ready(&digest));
    }
}

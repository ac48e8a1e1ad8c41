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
/// About what one takes.
const PREPARED_BYTES: u64 = 2 << 20;

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
        let linker = host::linker(engine.wasmtime()).map_err(|error| ExecutorError::Linker {
            reason: format!("{error:#}"),
        })?;
        let items = usize::try_from(PREPARED_BYTES_MAX / PREPARED_BYTES).unwrap_or(usize::MAX);
        Ok(Self {
            prepared: Cache::with_weighter(items, PREPARED_BYTES_MAX, CodeBytes),
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

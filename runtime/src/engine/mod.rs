//! wasmtime, set up once for everybody: configuration, pool, interruption, compiled code, checks of what is to be deployed.
//!
//! It knows components and nothing of connections, requests or runs; it never reads the database. Loading bytes is the
//! executor's work, what a guest may call is the work of `host`.

mod check;
mod code_cache;
mod config;
mod function_cache;
mod imports;
mod memory_limiter;
mod ticker;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::{Memory, MemoryType, Store};

pub use check::{ComponentError, Surface, check};
pub use code_cache::{CodeCache, CodeCacheError};
pub use config::EngineOptions;
use config::{Allocation, config};
use function_cache::FunctionCache;
pub use imports::imported_functions;
pub use memory_limiter::MemoryLimiter;
pub use ticker::TICK_MS;
use ticker::Ticker;

/// Counts changes of what compiled code expects of the host beside wasmtime itself. Part of the key of compiled code on disk.
const ABI: u32 = 1;

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("wasmtime cannot run on this machine: {reason}")]
    Unsupported { reason: String },
    #[error("no thread for the epoch ticker")]
    Ticker(#[source] std::io::Error),
}

/// The engine of this process. Cheap to clone; the ticker stops with the last clone.
#[derive(Clone)]
pub struct Engine {
    wasmtime: wasmtime::Engine,
    pooling: bool,
    /// Names this engine's compiled code: exact wasmtime version, processor features, configuration, our ABI.
    compatibility: [u8; 32],
    _ticker: Arc<Ticker>,
}

impl Engine {
    /// Builds the engine with a pool, or without one where the address space is too small: that is said loudly, because every
    /// run then costs several times as much.
    ///
    /// # Errors
    ///
    /// When wasmtime supports neither, or no thread can be started.
    pub fn new(options: &EngineOptions) -> Result<Self, EngineError> {
        let functions = Arc::new(FunctionCache::new());
        let (wasmtime, pooling) = match configured(options, Allocation::Pooling, &functions) {
            Ok(engine) => (engine, true),
            Err(reason) => {
                let engine = on_demand(options, &functions)?;
                tracing::warn!(
                    concurrent_runs = options.concurrent_runs,
                    reason = %format_args!("{reason:#}"),
                    "No address space for a pool of {} runs: instances are mapped on demand, and each run costs several times \
                     as much. Lower limits.concurrent_runs, or raise the limit of virtual memory (ulimit -v)",
                    options.concurrent_runs,
                );
                (engine, false)
            }
        };
        let mut hasher = Sha256Hasher(Sha256::new());
        ABI.hash(&mut hasher);
        wasmtime.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            _ticker: Arc::new(Ticker::start(wasmtime.weak()).map_err(EngineError::Ticker)?),
            compatibility: hasher.0.finalize().into(),
            pooling,
            wasmtime,
        })
    }

    /// Whether instances come from the pool.
    #[must_use]
    pub fn pooling(&self) -> bool {
        self.pooling
    }

    #[must_use]
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    /// Compiles a component that passed [`check`]. Takes seconds for a large one: call it where blocking is fine.
    ///
    /// # Errors
    ///
    /// When the component is not valid or needs more than the engine's limits allow.
    pub fn compile(&self, component: &[u8]) -> Result<Component, ComponentError> {
        Component::from_binary(&self.wasmtime, component).map_err(|reason| ComponentError::Invalid {
            reason: format!("{reason:#}"),
        })
    }

    /// Compiled code from the cache. Damaged or unreadable code counts as absent, with a warning. Reads files: call it where
    /// blocking is fine.
    #[must_use]
    pub fn load(&self, cache: &CodeCache, digest: &str, now_ms: i64) -> Option<Component> {
        let key = self.code_key(digest);
        let compiled = match cache.load(&key, now_ms) {
            Ok(compiled) => compiled?,
            Err(error) => {
                tracing::warn!(digest, error = %error, "Compiled code cannot be used and is compiled again: {error}");
                return None;
            }
        };
        #[expect(
            unsafe_code,
            reason = "the bytes carry a MAC under a key of this installation: they are what `save` wrote"
        )]
        let component = unsafe { Component::deserialize(&self.wasmtime, compiled) };
        match component {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(digest, error = %format_args!("{error:#}"), "Compiled code does not load and is compiled again");
                None
            }
        }
    }

    /// Puts compiled code into the cache. A failure costs the next start a compilation and is only logged.
    pub fn save(&self, cache: &CodeCache, digest: &str, component: &Component, now_ms: i64) {
        let saved = match component.serialize() {
            Ok(compiled) => cache
                .save(&self.code_key(digest), &compiled, now_ms)
                .map_err(|error| error.to_string()),
            Err(error) => Err(format!("{error:#}")),
        };
        if let Err(error) = saved {
            tracing::warn!(
                digest,
                error,
                "Compiled code was not kept and will be compiled again at the next start: {error}"
            );
        }
    }

    /// Names compiled code of a component: another component, wasmtime, processor, configuration or ABI is another name.
    fn code_key(&self, digest: &str) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.compatibility);
        hasher.update(digest.as_bytes());
        hex(&hasher.finalize())
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("pooling", &self.pooling)
            .finish_non_exhaustive()
    }
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// Without a pool; without 4 GiB for each memory too where even one such reservation fails.
fn on_demand(options: &EngineOptions, functions: &Arc<FunctionCache>) -> Result<wasmtime::Engine, EngineError> {
    let unsupported = |reason: wasmtime::Error| EngineError::Unsupported {
        reason: format!("{reason:#}"),
    };
    let engine = configured(options, Allocation::OnDemand, functions).map_err(unsupported)?;
    if Memory::new(Store::new(&engine, ()), MemoryType::new(1, None)).is_ok() {
        return Ok(engine);
    }
    tracing::warn!(
        "Not even 4 GiB of address space for one memory: guests run with bounds checks, which slows them down"
    );
    configured(options, Allocation::OnDemandSmall, functions).map_err(unsupported)
}

fn configured(
    options: &EngineOptions,
    allocation: Allocation,
    functions: &Arc<FunctionCache>,
) -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&config(options, allocation, functions)?)
}

/// Lets `Hash` feed SHA-256, so that the key does not depend on 64 bits of a hash meant for tables.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest
            .iter()
            .take(8)
            .fold(0, |value, byte| (value << 8) | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENT: &str = "(component)";

    fn options(concurrent_runs: u32) -> EngineOptions {
        EngineOptions {
            concurrent_runs,
            run_memory_bytes: 16 << 20,
        }
    }

    #[test]
    fn a_pool_that_does_not_fit_is_given_up() {
        let small = Engine::new(&options(2)).unwrap();
        // 2 × 2^20 memories of 4 GiB need 2^53 bytes; processors address 2^47 or 2^57 at most, kernels give 2^47.
        let huge = Engine::new(&options(1 << 20)).unwrap();
        assert!(small.pooling());
        assert!(!huge.pooling());
        huge.compile(&wat::parse_str(COMPONENT).unwrap()).unwrap();
    }

    #[test]
    fn compiled_code_is_found_again_and_damage_is_noticed() {
        let dir = std::env::temp_dir().join(format!("nango-engine-{}", std::process::id()));
        let engine = Engine::new(&options(2)).unwrap();
        let cache = CodeCache::new(dir.clone(), [7; 32]);
        let component = engine.compile(&wat::parse_str(COMPONENT).unwrap()).unwrap();

        assert!(engine.load(&cache, "d1", 0).is_none());
        engine.save(&cache, "d1", &component, 0);
        assert!(engine.load(&cache, "d1", 0).is_some());
        assert!(engine.load(&cache, "d2", 0).is_none());
        assert!(
            engine.load(&CodeCache::new(dir.clone(), [8; 32]), "d1", 0).is_none(),
            "another key"
        );

        let file = std::fs::read_dir(&dir).unwrap().next().unwrap().unwrap().path();
        let mut bytes = std::fs::read(&file).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert!(engine.load(&cache, "d1", 0).is_none(), "one bit flipped");
        engine.save(&cache, "d1", &component, 0);
        assert!(engine.load(&cache, "d1", 0).is_some(), "replaced");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn only_functions_that_changed_are_compiled_again() {
        let functions = Arc::new(FunctionCache::new());
        let engine = configured(&options(2), Allocation::Pooling, &functions).unwrap();
        let compiled = |number: u32| {
            let text = format!(
                "(component (core module \
                 (func (export \"same\") (param i32) (result i32) local.get 0 i32.const 5 i32.add) \
                 (func (export \"other\") (result i32) i32.const {number})))"
            );
            Component::from_binary(&engine, &wat::parse_str(text).unwrap()).unwrap();
            functions.len()
        };
        // Trampolines count as functions, too.
        let first = compiled(1);
        assert!(first > 1);
        let second = compiled(2);
        assert!(
            (first + 1..2 * first).contains(&second),
            "{first}, then {second}: what stayed the same is found, and nothing else"
        );
    }

    #[test]
    fn compiled_code_has_no_map_of_addresses() {
        let component =
            wat::parse_str("(component (core module (func (export \"f\") (result i32) i32.const 1)))").unwrap();
        let has = |engine: &wasmtime::Engine| {
            let compiled = Component::from_binary(engine, &component).unwrap().serialize().unwrap();
            let section = b".wasmtime.addrmap";
            compiled.windows(section.len()).any(|bytes| bytes == section)
        };
        assert!(has(&wasmtime::Engine::default()));
        assert!(!has(Engine::new(&options(2)).unwrap().wasmtime()));
    }

    #[test]
    fn hex_is_lower_case() {
        assert_eq!(hex(&[0, 0x1f, 0xab]), "001fab");
    }
}

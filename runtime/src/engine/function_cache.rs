//! Machine code of single WebAssembly functions, in memory: a component that is deployed again after a change is compiled where it
//! differs, which leaves out the libraries that make most of it. Cranelift names a function by a hash over its body and all that
//! shapes its code, so that what is found is what compiling would give.

use std::borrow::Cow;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use wasmtime::CacheStore;

/// Bytes of code kept, with its relocations: some hundred components of the SDK's, which share most, or one language runtime.
const BYTES_MAX: u64 = 16 << 20;
/// About what one function takes.
const FUNCTION_BYTES: u64 = 2 << 10;
/// What an entry takes besides its code: key and bookkeeping.
const ENTRY_BYTES: u64 = 100;

/// Holds at most [`BYTES_MAX`]; what was not used lately goes first.
pub(super) struct FunctionCache {
    functions: Cache<Box<[u8]>, Arc<[u8]>, Bytes>,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Box<[u8]>, Arc<[u8]>> for Bytes {
    fn weight(&self, _key: &Box<[u8]>, code: &Arc<[u8]>) -> u64 {
        ENTRY_BYTES.saturating_add(code.len() as u64)
    }
}

impl FunctionCache {
    pub(super) fn new() -> Self {
        let items = usize::try_from(BYTES_MAX / FUNCTION_BYTES).unwrap_or(usize::MAX);
        Self {
            functions: Cache::with_weighter(items, BYTES_MAX, Bytes),
        }
    }

    /// How many functions are kept.
    pub(super) fn len(&self) -> usize {
        self.functions.len()
    }
}

impl CacheStore for FunctionCache {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.functions.get(key).map(|code| Cow::Owned(code.to_vec()))
    }

    fn insert(&self, key: &[u8], code: Vec<u8>) -> bool {
        self.functions.insert(key.into(), code.into());
        true
    }
}

impl std::fmt::Debug for FunctionCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FunctionCache")
            .field("functions", &self.len())
            .finish_non_exhaustive()
    }
}

//! What one run may take in linear memory and tables, summed over all of them: wasmtime's own limits count for each memory, so
//! that a component with eight memories would get eight times as much.

use wasmtime::ResourceLimiter;

/// A table element is a pointer.
const TABLE_ELEMENT_BYTES: usize = size_of::<usize>();
/// Core instances, tables and memories of one run; what the pool holds for one run is less or about the same.
const INSTANCES_MAX: usize = 256;
const TABLES_MAX: usize = 64;
const MEMORIES_MAX: usize = 8;

/// Sums what a store takes. A refused growth gives the guest `-1`, as a machine out of memory would, and is remembered so that
/// the trap which usually follows can be told from others.
#[derive(Debug)]
pub struct MemoryLimiter {
    bytes_max: usize,
    bytes: usize,
    refused_bytes: Option<usize>,
}

impl MemoryLimiter {
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            bytes: 0,
            refused_bytes: None,
        }
    }

    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// What the run has taken. Memories and tables never shrink, so this is its peak.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the run would have taken if its last refused growth had been granted.
    #[must_use]
    pub fn refused_bytes(&self) -> Option<usize> {
        self.refused_bytes
    }

    // A growth that is granted and then fails in the operating system stays counted: wasmtime does not say which it was, and
    // counting too much only brings the limit nearer.
    fn grow(&mut self, by_bytes: usize) -> bool {
        let bytes = self.bytes.saturating_add(by_bytes);
        if bytes > self.bytes_max {
            self.refused_bytes = Some(bytes);
            return false;
        }
        self.bytes = bytes;
        true
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let elements = desired.saturating_sub(current);
        Ok(self.grow(elements.saturating_mul(TABLE_ELEMENT_BYTES)))
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_and_tables_share_one_limit() {
        let mut limiter = MemoryLimiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(0, 30, None).unwrap(), "a second memory");
        assert!(!limiter.table_growing(0, 2, None).unwrap(), "16 bytes more");
        assert_eq!(limiter.refused_bytes(), Some(106));
        assert!(limiter.memory_growing(60, 70, None).unwrap(), "what still fits");
    }
}

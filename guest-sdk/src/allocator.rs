//! The global allocator: a dlmalloc that first takes what is left of the initial linear memory.
//!
//! A host keeps a pool of memories at their initial size. An allocator that begins with `memory.grow` leaves that part
//! unused and makes every run change the mapping; one that begins behind the static data costs nothing. It pays when the
//! linker leaves room: `-zstack-size=262144` and `--initial-memory=1048576`, which the build tools of nango-runtime give
//! it. Without them it merely works.

use dlmalloc::GlobalDlmalloc;

#[global_allocator]
static HEAP: GlobalDlmalloc = GlobalDlmalloc;

//! Keyed tables: a columnar write-back cache over the database.
//!
//! ```text
//!   MapTable · SliceTable · MultiMapTable · SortedTable      handles that operators hold
//!        └─▶ Cache      hash table ─▶ slot ─▶ chunk (keys, typed columns, copy-on-write)
//!              │        bits per slot: dirty, absent, pinned, …
//!              ├─ room.rs    makes room: evicts clean entries, spills dirty ones
//!              ├─ at_rest.rs knows what the database cannot have
//!              └─ budget.rs  what all tables of the process may use
//! ```
//!
//! # Invariants
//! 1. An entry that is neither dirty nor frozen is in the database with the same value, or absent in both.
//! 2. A pinned slot keeps its place until the end of the epoch.
//! 3. While a cache is complete, a key that it does not hold has no entry anywhere.
//! 4. Nor has one that the filter of what is at rest (`at_rest.rs`) does not know, once it has seen everything.

mod accounting;
mod at_rest;
mod bits;
mod budget;
mod cache;
mod chunk;
mod columns;
mod context;
mod forget;
mod lists;
mod map;
mod multimap;
mod ordered;
mod probe;
mod registry;
mod rest;
mod room;
mod scratch;
mod slices;
mod sorted;

pub(crate) use bits::Bits;
pub(crate) use budget::Budget;
pub use budget::HeldMemory;
pub(crate) use cache::{Cache, CacheRef};
pub(crate) use chunk::{CHUNK_SLOTS, Chunk, ChunkLayout};
pub use columns::Columns;
pub(crate) use context::TableContext;
pub use map::MapTable;
pub(crate) use map::take_key;
pub use multimap::{Matches, MultiMapTable, ProbeCursor};
pub(crate) use registry::Registry;
pub use rest::{Piece, RestCursor};
pub(crate) use room::Keep;
pub use scratch::Scratch;
pub use slices::SliceTable;
pub(crate) use slices::{Slices, stored_slices};
pub use sorted::{ByteRows, EachRange, Entries, RangeCursor, SortBound, SortedRange, SortedTable};

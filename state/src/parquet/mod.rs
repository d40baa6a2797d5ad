//! Parquet files of state tables: written and read as a stream, row group by row group.
//!
//! ```text
//!   Arrow columns ──shred──▶ leaves: levels + values ──▶ one page a column chunk, zstd ──▶ row group … footer
//!   Arrow columns ◀─assemble─ leaves ◀──────────────────────────────────────────────────── row group
//! ```
//!
//! The format is Apache Parquet 1.0 as any reader opens it; of its many options exactly one of each is used
//! (`docs/formats/savepoint.md`): data pages of version 1, PLAIN values, RLE levels, ZSTD, statistics in the footer. The
//! reader reads what the writer writes, and says so of any other file.
//!
//! Why not the `parquet` crate: it turns on a feature of a hash library below Arrow, so that Arrow and all of DataFusion
//! compile anew for everybody, and the subset that a savepoint needs is small (`docs/decisions/0006-parquet.md`).
//!
//! # Invariants
//! 1. A row group holds at most [`GROUP_ROWS_MAX`] rows and about [`GROUP_BYTES_MAX`] bytes: that is the memory of either side.
//! 2. What is read back has the declared type and the same values, bit for bit.
//! 3. Damaged bytes are an error, never a panic.

mod assemble;
mod levels;
mod read;
mod schema;
mod shred;
mod thrift;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use read::FileReader;
pub(crate) use schema::{FileColumn, check_type};
pub(crate) use write::FileWriter;

/// Rows of one row group.
pub(crate) const GROUP_ROWS_MAX: usize = 64 << 10;
/// Bytes of values after which a row group ends.
pub(crate) const GROUP_BYTES_MAX: usize = 8 << 20;

//! Sources, sinks and formats. A connector is asked for by the options of a table; it knows nothing of workers.
//!
//! ```text
//!   TableRequest ──▶ check_table    every mistake in the options, without I/O
//!                ──▶ open_source ──▶ Source ─┬ splits()  ─▶ Dealer   one a split: chunks of whole records, in order
//!                                            └ decoder() ─▶ Decoder  one a worker: chunk ─▶ batches
//!                ──▶ open_sink ────▶ Sink ───┬ writer()  ─▶ SinkWriter     one a worker
//!                                            └ committer() ▶ SinkCommitter the coordinator's
//! ```
//!
//! Reading order: [`registry`](connectors) says what there is; `framing` cuts bytes into records, `format` turns
//! records into columns and back; `filesystem`, `stdin`, `socket`, `datagen`, `print` and `blackhole` are the
//! transports. `docs/connectors` is made from the descriptions in this crate.
//!
//! # Invariants
//! 1. What a source gives depends on its input alone, not on how it is cut into chunks or where it was resumed.
//! 2. Bad input is an [`Error`] with its place, never a panic, and never silently dropped.
//! 3. `prepare` answers when what it lists is on disk; every call of a committer may come twice.
//!
//! # Example
//! ```
//! use std::collections::BTreeMap;
//! use weir_connectors::{Deal, TableRequest, open_source};
//! use weir_types::{Column, DataType};
//!
//! let option = |key: &str, value: &str| (key.to_owned(), value.to_owned());
//! let column = Column::new("id", DataType::Int64);
//! let source = open_source(TableRequest {
//!     table: "numbers".to_owned(),
//!     options: BTreeMap::from([
//!         option("connector", "datagen"),
//!         option("rows", "3"),
//!         option("fields.id.kind", "sequence"),
//!     ]),
//!     columns: vec![column.clone()],
//!     declared: vec![column],
//!     ..TableRequest::default()
//! })?;
//! let splits = source.splits(&BTreeMap::new())?.splits;
//! let Deal::Chunk(chunk) = source.dealer(&splits[0], None)?.deal(1 << 20, u64::MAX)? else { panic!("rows are due") };
//! assert_eq!(source.decoder()?.decode(&chunk)?.batches[0].rows.num_rows(), 3);
//! # Ok::<(), weir_connectors::Error>(())
//! ```

mod blackhole;
mod check;
mod datagen;
mod error;
mod filesystem;
mod format;
mod framing;
mod handed;
mod infer;
mod live;
mod nexmark;
mod numbered;
mod options;
mod parquet;
mod print;
mod registry;
mod sink;
mod socket;
mod source;
mod stdin;
mod table;
mod words;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod testing;

pub use blackhole::{DiscardingWriter, NothingToCommit};
pub use check::check_table;
pub use error::{Error, RecordError, Result};
pub use format::json_rows;
pub use format::{
    FORMATS, FormatInfo, Op, PrintFormat, RowEncoder, ops_of, plain_texts, row_encoder,
};
pub use handed::HandedRows;
pub use infer::{Asked, FileKind, Inferred, infer_files, infer_text};
pub use options::{Form, OptionInfo};
pub use parquet::ParquetRows;
pub use registry::{
    ConnectorInfo, MetadataInfo, can_be_read_again, connectors, dead_letter_columns, has_an_end,
    keeps_times, metadata_type, on_error, open_sink, open_source, sink_accepts_retractions,
    source_traits,
};
pub use sink::{Sink, SinkCommitter, SinkEnvironment, SinkWriter, Visibility};
pub use source::{
    BATCH_ROWS, Beginning, Chunk, Deal, Dealer, Decoded, DecodedBatch, Decoder, Payload, Position,
    Source, SplitListing,
};
pub use stdin::sample_stdin;
pub use table::{OnError, Role, SourceTraits, TableRequest};

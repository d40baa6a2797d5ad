//! Sources, sinks and formats. A connector is asked for by the options of a table; it knows nothing of workers.
//!
//! ```text
//!   TableRequest ──▶ registry::open_source ──▶ Source ── splits() ──▶ Dealer (one a split: chunks in order)
//!                                                      └─ decoder() ─▶ Decoder (one a worker: chunk → RecordBatch)
//!                ──▶ registry::open_sink ────▶ Sink ─── writer() ───▶ SinkWriter (one a worker)
//!                                                      └─ committer() ▶ SinkCommitter (the coordinator's)
//! ```
// INTERFACE between connectors and engine (signatures agreed; the implementer moves parts to modules).
mod api;
pub use api::*;

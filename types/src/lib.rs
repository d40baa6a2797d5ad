//! The words that every crate of Weir shares: identifiers, event time, data types, change batches, key
//! groups, source spans and diagnostics.
//!
//! This crate does no I/O, spawns nothing and depends on little. A type lives here when two crates need it.
//!
//! # Invariants
//! 1. [`hash`] and [`KeyGroup`] are a persisted format: the same key is in the same key group for ever.
//! 2. A [`ChangeBatch`] without a retraction bitmap is append-only.

mod batch;
mod data_type;
mod diagnostic;
pub mod failpoint;
pub mod hash;
mod id;
mod scalar;
mod sort;
mod span;
mod time;

pub use batch::ChangeBatch;
pub use data_type::{Column, DataType, Schema, TimeUnit};
pub use diagnostic::{Code, Diagnostic, Diagnostics, Label, Severity};
pub use id::{
    CheckpointId, EpochId, Generation, KeyGroup, KeyGroupRange, OperatorId, SplitId, WorkerId,
};
pub use scalar::Scalar;
pub use sort::SortColumn;
pub use span::{Location, Span};
pub use time::{EventTime, ProcessingTime, Watermark};

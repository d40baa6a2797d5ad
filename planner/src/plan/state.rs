//! What an operator keeps: its tables, what bounds them, how long a key lives.

use serde::{Deserialize, Serialize};
use weir_types::{Schema, SortColumn};

/// How long an operator keeps the state of a key that gets no rows.
///
/// By event time the last column of each of its inputs is the event time of the rows. It is there for this alone: neither
/// what the operator keeps nor what it gives has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateTtl {
    /// In microseconds; greater than zero.
    pub micros: i64,
    /// By which time.
    pub time: TtlTime,
}

/// The time that a TTL goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TtlTime {
    /// That of the rows and of the watermark.
    Event,
    /// The epoch's processing time.
    Processing,
}

/// A state table that an operator keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateTable {
    /// Name within the operator: `groups`, `left`, `right`, `position`, `rows`, ….
    pub name: String,
    /// How it is laid out.
    pub layout: StateLayout,
    /// Key columns, ordered by canonical name.
    pub key: Schema,
    /// Value columns, called by their canonical expression.
    pub value: Schema,
    /// What bounds it.
    pub bound: StateBound,
    /// In a table of layout `sorted`: the value columns that come first in the order of a key's rows; the others follow,
    /// ascending, NULLs last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<SortColumn>,
}

/// The layout of a state table; see `docs/formats/keys.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateLayout {
    /// One value for each key.
    Map,
    /// One value for each key and time slice; a slice is dropped whole.
    Slices,
    /// A multiset of rows for each key.
    MultiMap,
    /// A multiset of rows for each key, in an order.
    Sorted,
    /// Kept by the coordinator, not in keyed state (a source's position).
    Position,
}

/// What keeps a state table from growing for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateBound {
    /// The watermark drops what is over.
    Watermark,
    /// Processing time drops what is over.
    Clock,
    /// As many entries as there are keys.
    Keys,
    /// Constant size.
    Constant,
    /// The state of a key that gets no rows is dropped after a time.
    Ttl,
    /// All inputs end, so that what is kept of them does too.
    BoundedInput,
    /// Nothing: it grows with the input.
    Nothing,
}

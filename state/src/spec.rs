//! What a state table is: its operator, its name, its layout and its columns.

use serde::{Deserialize, Serialize};
use weir_types::{DataType, OperatorId, Schema, SortColumn};

use crate::{Error, Result};

/// Where state is kept at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendKind {
    /// One RocksDB per worker: state may be larger than memory.
    Rocksdb,
    /// Ordered maps in memory: for small state and for tests.
    Memory,
}

/// Layout of a table: the same as in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Key to one value.
    Map,
    /// (Slice end, key) to one value; a slice is dropped whole.
    Slices,
    /// Key to a multiset of rows.
    MultiMap,
    /// Key to a multiset of rows in an order.
    Sorted,
}

/// A state table as it is declared, and as a manifest records it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableSpec {
    /// Whose table it is.
    pub operator: OperatorId,
    /// Its name within the operator.
    pub table: String,
    /// How it is laid out.
    pub layout: Layout,
    /// The key columns, in the order of the encoded key.
    pub key: Schema,
    /// The value columns, in the order of the encoded row.
    pub value: Schema,
    /// In a table of layout `Sorted`: the value columns that come first in the order of a key's rows. The other value
    /// columns follow, ascending, NULLs last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<SortColumn>,
}

impl TableSpec {
    /// The name of its column family: safe for any backend, and unique within a job. The operator's folder name
    /// holds no `@`, so the two parts cannot run into each other.
    pub(crate) fn family(&self) -> String {
        format!("{}@{}", self.operator.folder_name(), self.table)
    }

    /// Whether state of a table that was called otherwise can be read as this one: columns are what they are by their
    /// places.
    pub(crate) fn check_fits_as(&self, stored: &Self) -> Result<()> {
        let types = |columns: &Schema| -> Vec<DataType> {
            columns.iter().map(|c| c.data_type.clone()).collect()
        };
        let form = |spec: &Self| {
            (
                spec.layout,
                spec.order.clone(),
                types(&spec.key),
                types(&spec.value),
            )
        };
        if form(self) == form(stored) {
            return Ok(());
        }
        self.check_fits(stored)
    }

    /// Whether state written by `stored` can be read as this table.
    pub(crate) fn check_fits(&self, stored: &Self) -> Result<()> {
        let name = format!("table '{}' of operator {}", self.table, self.operator);
        if self.layout != stored.layout {
            return Err(Error::Incompatible(format!(
                "{name} was stored as {:?} and is {:?} now: start again with --fresh, or go back to the query \
                 that wrote the checkpoint",
                stored.layout, self.layout
            )));
        }
        if self.order != stored.order {
            return Err(Error::Incompatible(format!(
                "{name}: its rows were stored in another order than the query asks for now: start again with --fresh, or \
                 go back to the query that wrote the checkpoint"
            )));
        }
        check_columns(&name, "key", &stored.key, &self.key)?;
        check_columns(&name, "value", &stored.value, &self.value)
    }
}

/// Names and types must be equal; whether NULL can occur and how a column is spelled outside changes no byte.
fn check_columns(table: &str, part: &str, stored: &Schema, now: &Schema) -> Result<()> {
    let text = |columns: &Schema| {
        let columns: Vec<String> = columns
            .iter()
            .map(|c| format!("{} {}", c.name, c.data_type))
            .collect();
        format!("({})", columns.join(", "))
    };
    let same = stored.len() == now.len()
        && stored
            .iter()
            .zip(now)
            .all(|(a, b)| a.name == b.name && a.data_type == b.data_type);
    if same {
        return Ok(());
    }
    Err(Error::Incompatible(format!(
        "{table}: its {part} columns were stored as {} and are {} now: start again with --fresh, or go back to \
         the query that wrote the checkpoint",
        text(stored),
        text(now)
    )))
}

/// How the cache keeps a value column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    I64,
    F64,
    I128,
    Bytes,
}

impl Storage {
    pub(crate) fn of(data_type: &DataType) -> Self {
        match data_type {
            _ if is_integer(data_type) => Self::I64,
            DataType::Float32 | DataType::Float64 => Self::F64,
            DataType::Decimal(precision, _) if *precision <= 38 => Self::I128,
            _ => Self::Bytes,
        }
    }
}

/// Types whose values are an i64 in keys, rows and the cache.
pub(crate) fn is_integer(data_type: &DataType) -> bool {
    use DataType::*;
    matches!(
        data_type,
        Boolean
            | Int8
            | Int16
            | Int32
            | Int64
            | UInt8
            | UInt16
            | UInt32
            | UInt64
            | Date
            | Time
            | Timestamp(_)
            | TimestampLtz(_)
    )
}

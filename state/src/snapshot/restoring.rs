//! Where each table of a start comes from.
//!
//! ```text
//!   tables of the start      groups ─▶ Kept     source 0, its table 3
//!                            left   ─▶ Changed  source 0, its table 4, column by column
//!                            rows   ─▶ Kept     source 1 (a replay's checkpoint)
//!                            right  ─▶ Empty    filled by an operator before the first row is read
//! ```

use std::sync::Arc;

use arrow::array::ArrayRef;

use super::RestoreFrom;
use crate::{Error, Result, TableSpec};

/// Checkpoints, and for each table of a start which of their tables it takes over.
#[derive(Clone)]
pub struct Restoring {
    /// The first one is the job's own: its files are in the job's storage.
    pub sources: Vec<RestoreFrom>,
    /// One for each table of the start, in their order.
    pub tables: Vec<TableFrom>,
}

/// What a table begins with.
#[derive(Clone)]
pub enum TableFrom {
    /// Nothing.
    Empty,
    /// The entries of a stored table, as they are.
    Kept {
        /// Which of the sources.
        source: usize,
        /// Which of its tables.
        stored: usize,
    },
    /// The entries of a stored table, changed on the way. No two of them may become one.
    Changed {
        /// Which of the sources.
        source: usize,
        /// Which of its tables.
        stored: usize,
        /// Whether keys change, so that entries may belong to other key groups than before.
        regroups: bool,
        /// What happens to its rows.
        change: TableChange,
    },
}

/// Begins a pass over the entries of a part of a table, which come in the order of key groups and keys.
pub type TableChange = Arc<dyn Fn() -> RowsChange + Send + Sync>;

/// Changes rows of the stored table into rows of the new one; an error is the user's to read.
pub type RowsChange = Box<dyn FnMut(Rows) -> std::result::Result<Rows, String>>;

/// Rows of a state table: `[slice end] │ key columns │ value columns │ [count]`.
#[derive(Clone, Debug)]
pub struct Rows {
    /// One array for each column.
    pub columns: Vec<ArrayRef>,
    /// How many there are, should there be no column.
    pub rows: usize,
}

impl TableFrom {
    pub(crate) fn source(&self) -> Option<usize> {
        match self {
            Self::Empty => None,
            Self::Kept { source, .. } | Self::Changed { source, .. } => Some(*source),
        }
    }

    pub(crate) fn regroups(&self) -> bool {
        matches!(self, Self::Changed { regroups: true, .. })
    }
}

impl Restoring {
    /// Every table as it was: neither more nor fewer than the checkpoint has.
    ///
    /// # Errors
    /// `Incompatible` if the tables are not those of the checkpoint.
    pub fn unchanged(from: &RestoreFrom, tables: &[TableSpec]) -> Result<Self> {
        let find = |all: &'_ [TableSpec], wanted: &TableSpec| {
            all.iter()
                .position(|spec| (&spec.operator, &spec.table) == (&wanted.operator, &wanted.table))
        };
        let mut places = Vec::new();
        for spec in tables {
            let stored = find(&from.tables, spec).ok_or_else(|| {
                Error::Incompatible(format!(
                    "the checkpoint has no table '{}' of operator {}: start again with --fresh, or go back to the query \
                     that wrote it",
                    spec.table, spec.operator
                ))
            })?;
            spec.check_fits(&from.tables[stored])?;
            places.push(TableFrom::Kept { source: 0, stored });
        }
        match from
            .tables
            .iter()
            .find(|stored| find(tables, stored).is_none())
        {
            None => Ok(Self {
                sources: vec![from.clone()],
                tables: places,
            }),
            Some(stored) => Err(Error::Incompatible(format!(
                "the checkpoint has a table '{}' of operator {} that the query does not have: start again with --fresh, or \
                 go back to the query that wrote it",
                stored.table, stored.operator
            ))),
        }
    }
}

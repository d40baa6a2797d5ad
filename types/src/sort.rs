//! The order of rows by one column.

use serde::{Deserialize, Serialize};

/// One column of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SortColumn {
    /// Index of the column in the rows that are ordered.
    pub column: usize,
    /// The greatest value first.
    pub descending: bool,
    /// NULL before every value instead of after it, whatever the direction.
    pub nulls_first: bool,
}

impl SortColumn {
    /// Ascending, NULLs last.
    pub fn ascending(column: usize) -> Self {
        Self {
            column,
            descending: false,
            nulls_first: false,
        }
    }
}

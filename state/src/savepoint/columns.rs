//! The columns that a state table has in a savepoint, and how they are called.
//!
//! ```text
//!   _key_group │ [_slice_end] │ key columns │ value columns │ [_count]
//! ```
//!
//! A value column keeps the name that the state schema gives it, and so does a key column, unless a value column has that
//! name too: the key columns of a join are among its columns. Such a key column is called `key.NAME`. What is not the
//! user's begins with an underscore. A name that would still be there twice gets `#2`, `#3`, ….

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use weir_types::{DataType, TimeUnit};

use crate::parquet::FileColumn;
use crate::{Layout, TableSpec};

/// What a column of a savepoint's file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnRole {
    /// The key group of the row; files are in its order.
    KeyGroup,
    /// The end of the slice of time, in a table that expires by time.
    SliceEnd,
    /// A column of the key.
    Key,
    /// A column of the value.
    Value,
    /// How often the row is there, in a table that holds multisets of rows.
    Count,
}

/// A column of a savepoint's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedColumn {
    /// Its name in the file.
    pub name: String,
    /// What it is.
    pub role: ColumnRole,
    /// Its SQL type.
    #[serde(rename = "type")]
    pub data_type: DataType,
}

impl SavedColumn {
    pub(crate) fn in_file(&self) -> FileColumn {
        FileColumn {
            name: self.name.clone(),
            data_type: self.data_type.clone(),
            required: matches!(
                self.role,
                ColumnRole::KeyGroup | ColumnRole::SliceEnd | ColumnRole::Count
            ),
        }
    }
}

/// The columns of a table, in the order of its files.
pub fn saved_columns(table: &TableSpec) -> Vec<SavedColumn> {
    let values: HashSet<&str> = table.value.iter().map(|c| c.name.as_str()).collect();
    let own =
        |name: &str, role: ColumnRole, data_type: DataType| (name.to_owned(), role, data_type);
    let mut wanted = vec![own("_key_group", ColumnRole::KeyGroup, DataType::Int32)];
    if table.layout == Layout::Slices {
        let micros = DataType::Timestamp(TimeUnit::Micro);
        wanted.push(own("_slice_end", ColumnRole::SliceEnd, micros));
    }
    for column in &table.key {
        let name = if values.contains(column.name.as_str()) {
            format!("key.{}", column.name)
        } else {
            column.name.clone()
        };
        wanted.push((name, ColumnRole::Key, column.data_type.clone()));
    }
    for column in &table.value {
        wanted.push(own(
            &column.name,
            ColumnRole::Value,
            column.data_type.clone(),
        ));
    }
    if has_count(table.layout) {
        wanted.push(own("_count", ColumnRole::Count, DataType::Int64));
    }
    // The user's names come first; ours step aside.
    let is_ours = |role: ColumnRole| !matches!(role, ColumnRole::Key | ColumnRole::Value);
    let mut taken = HashSet::new();
    let mut names = vec![String::new(); wanted.len()];
    for ours in [false, true] {
        for (place, (name, role, _)) in wanted.iter().enumerate() {
            if is_ours(*role) == ours {
                names[place] = free_name(name, &mut taken);
            }
        }
    }
    wanted
        .into_iter()
        .zip(names)
        .map(|((_, role, data_type), name)| SavedColumn {
            name,
            role,
            data_type,
        })
        .collect()
}

/// Whether a row of this layout is there a number of times.
pub(crate) fn has_count(layout: Layout) -> bool {
    matches!(layout, Layout::MultiMap | Layout::Sorted)
}

/// Readers that fold case must find each name once, too.
fn free_name(name: &str, taken: &mut HashSet<String>) -> String {
    let mut free = name.to_owned();
    let mut number = 1;
    while !taken.insert(free.to_lowercase()) {
        number += 1;
        free = format!("{name}#{number}");
    }
    free
}

#[cfg(test)]
mod tests {
    use weir_types::{Column, OperatorId};

    use super::*;

    fn names(layout: Layout, key: &[&str], value: &[&str]) -> Vec<String> {
        let columns = |names: &[&str]| {
            names
                .iter()
                .map(|name| Column::new(*name, DataType::Int64))
                .collect()
        };
        let table = TableSpec {
            operator: OperatorId::new("o/join"),
            table: "t".to_owned(),
            layout,
            key: columns(key),
            value: columns(value),
            order: Vec::new(),
        };
        saved_columns(&table).into_iter().map(|c| c.name).collect()
    }

    #[test]
    fn columns_keep_their_names_and_key_columns_that_are_among_the_values_say_so() {
        assert_eq!(
            names(Layout::Map, &["k"], &["sum(v)"]),
            ["_key_group", "k", "sum(v)"]
        );
        assert_eq!(
            names(Layout::MultiMap, &["k"], &["k", "v"]),
            ["_key_group", "key.k", "k", "v", "_count"]
        );
        assert_eq!(
            names(Layout::Slices, &[], &[]),
            ["_key_group", "_slice_end"]
        );
    }

    #[test]
    fn no_name_is_there_twice_and_ours_step_aside() {
        assert_eq!(
            names(Layout::Sorted, &["a", "a"], &["_count", "A"]),
            ["_key_group", "a", "a#2", "_count", "A#3", "_count#2"]
        );
    }
}

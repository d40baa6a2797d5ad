//! The current result of an updating query: what changes give, in an order that stays.
//!
//! Rows are kept encoded, one after another by the query's key (or by all columns), and are made into text only where
//! they are shown: a result of a million rows costs what its bytes cost.
//!
//! # Invariants
//! 1. After each epoch the rows are exactly the result over a prefix of every input.
//! 2. A row that is taken back before it is there (two workers, one epoch) is not shown, and cancels out.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use arrow::compute::SortOptions;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use weir_connectors::plain_texts;
use weir_types::{ChangeBatch, Column, DataType};

use super::screen::{Cell, one_line};

/// Rows by key.
pub(super) struct CurrentResult {
    columns: Vec<Column>,
    key: Vec<usize>,
    keys: RowConverter,
    rows: RowConverter,
    /// Encoded key, then encoded row.
    entries: BTreeMap<(Box<[u8]>, Box<[u8]>), Entry>,
    /// Rows with their repetitions.
    count: i64,
}

struct Entry {
    count: i64,
    /// When it came, and which cells were not so before; empty: all.
    since: Instant,
    changed: Vec<bool>,
}

impl CurrentResult {
    pub(super) fn new(columns: &[Column], key: Option<&[usize]>) -> Result<Self, ArrowError> {
        let options = SortOptions {
            descending: false,
            nulls_first: false,
        };
        let field =
            |column: &Column| SortField::new_with_options(column.data_type.to_arrow(), options);
        let key: Vec<usize> = match key {
            Some(key) => key.to_vec(),
            None => (0..columns.len()).collect(),
        };
        Ok(Self {
            keys: RowConverter::new(key.iter().map(|&at| field(&columns[at])).collect())?,
            rows: RowConverter::new(columns.iter().map(field).collect())?,
            columns: columns.to_vec(),
            key,
            entries: BTreeMap::new(),
            count: 0,
        })
    }

    /// Takes the changes of an epoch in.
    pub(super) fn apply(&mut self, epoch: &ChangeBatch, now: Instant) -> Result<(), ArrowError> {
        let columns = epoch.rows.columns();
        let rows = self.rows.convert_columns(columns)?;
        let key_columns: Vec<_> = self.key.iter().map(|&at| columns[at].clone()).collect();
        // A result without a key has one row at most, or is keyed by all columns.
        let keys: Vec<Box<[u8]>> = if key_columns.is_empty() {
            vec![Box::default(); epoch.num_rows()]
        } else {
            let keys = self.keys.convert_columns(&key_columns)?;
            keys.iter().map(|key| key.as_ref().into()).collect()
        };
        // What each key had before, to see what has changed.
        let mut before: HashMap<&[u8], usize> = HashMap::new();
        for row in (0..epoch.num_rows()).filter(|row| epoch.is_retracted(*row)) {
            before.insert(&keys[row], row);
        }
        for (row, key) in keys.iter().enumerate() {
            let weight = epoch.weight(row);
            let changed = match before.get(&**key) {
                Some(&old) if weight > 0 => columns
                    .iter()
                    .map(|column| column.slice(old, 1).to_data() != column.slice(row, 1).to_data())
                    .collect(),
                _ => Vec::new(),
            };
            let place = (key.clone(), rows.row(row).as_ref().into());
            let entry = self.entries.entry(place.clone()).or_insert(Entry {
                count: 0,
                since: now,
                changed: Vec::new(),
            });
            entry.count += weight;
            if weight > 0 {
                entry.since = now;
                entry.changed = changed;
            }
            self.count += weight;
            if entry.count == 0 {
                self.entries.remove(&place);
            }
        }
        Ok(())
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        usize::try_from(self.count).unwrap_or(0)
    }

    /// Some rows as they are shown; a cell that changed after `fresh` is marked.
    pub(super) fn cells(
        &self,
        top: usize,
        most: usize,
        fresh: Option<Instant>,
    ) -> Result<Vec<Vec<Cell>>, ArrowError> {
        let shown: Vec<(&[u8], &Entry)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.count > 0)
            .flat_map(|((_, row), entry)| {
                std::iter::repeat_n((&**row, entry), entry.count as usize)
            })
            .skip(top)
            .take(most)
            .collect();
        if shown.is_empty() {
            return Ok(Vec::new());
        }
        let parser = self.rows.parser();
        let arrays = self
            .rows
            .convert_rows(shown.iter().map(|(row, _)| parser.parse(row)))?;
        let mut cells: Vec<Vec<Cell>> = vec![Vec::new(); shown.len()];
        for (at, (array, column)) in arrays.iter().zip(&self.columns).enumerate() {
            for (row, text) in plain_texts(array, column).into_iter().enumerate() {
                let entry = shown[row].1;
                let is_fresh = fresh.is_some_and(|fresh| entry.since > fresh);
                cells[row].push(Cell {
                    text: text.map_or_else(|| "NULL".to_owned(), one_line),
                    changed: is_fresh && entry.changed.get(at).copied().unwrap_or(true),
                });
            }
        }
        Ok(cells)
    }

    pub(super) fn header(&self) -> Vec<String> {
        self.columns
            .iter()
            .map(|column| one_line(column.external().to_owned()))
            .collect()
    }

    /// Which columns are numbers.
    pub(super) fn right(&self) -> Vec<bool> {
        self.columns
            .iter()
            .map(|column| {
                column.data_type.to_arrow().is_numeric()
                    || matches!(column.data_type, DataType::Decimal(..))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};

    use super::*;

    fn changes(rows: &[(i64, &str, i64)]) -> ChangeBatch {
        let keys: ArrayRef = Arc::new(StringViewArray::from_iter_values(
            rows.iter().map(|row| row.1),
        ));
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2)));
        let mut batch = ChangeBatch::append_only(
            RecordBatch::try_from_iter([("k", keys), ("n", values)]).unwrap(),
        );
        batch.retracted = Some(
            rows.iter()
                .map(|row| row.0 < 0)
                .collect::<Vec<bool>>()
                .into(),
        );
        batch
    }

    fn shown(result: &CurrentResult, fresh: Option<Instant>) -> Vec<String> {
        let cells = result.cells(0, 10, fresh).unwrap();
        let text = |cell: &Cell| {
            if cell.changed {
                format!("[{}]", cell.text)
            } else {
                cell.text.clone()
            }
        };
        cells
            .iter()
            .map(|row| row.iter().map(text).collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn the_result_is_what_the_changes_leave_and_changed_cells_are_marked() {
        let columns = [
            Column::new("k", DataType::String),
            Column::new("n", DataType::Int64),
        ];
        let mut result = CurrentResult::new(&columns, Some(&[0])).unwrap();
        let start = Instant::now();
        result
            .apply(&changes(&[(1, "b", 1), (1, "a", 5)]), start)
            .unwrap();
        assert_eq!(shown(&result, None), ["a 5", "b 1"]);
        let later = start + Duration::from_secs(5);
        // The insertion may stand before the retraction.
        result
            .apply(&changes(&[(1, "b", 2), (-1, "b", 1), (1, "c", 3)]), later)
            .unwrap();
        assert_eq!(shown(&result, Some(start)), ["a 5", "b [2]", "[c] [3]"]);
        result.apply(&changes(&[(-1, "a", 5)]), later).unwrap();
        assert_eq!(
            (shown(&result, None), result.len()),
            (vec!["b 2".to_owned(), "c 3".to_owned()], 2)
        );
    }

    #[test]
    fn a_result_without_a_key_may_have_equal_rows() {
        let columns = [
            Column::new("k", DataType::String),
            Column::new("n", DataType::Int64),
        ];
        let mut result = CurrentResult::new(&columns, None).unwrap();
        result
            .apply(&changes(&[(1, "a", 1), (1, "a", 1)]), Instant::now())
            .unwrap();
        result
            .apply(&changes(&[(-1, "z", 1)]), Instant::now())
            .unwrap();
        assert_eq!(shown(&result, None), ["a 1", "a 1"]);
        result
            .apply(&changes(&[(1, "z", 1)]), Instant::now())
            .unwrap();
        assert_eq!(result.len(), 2);
    }
}

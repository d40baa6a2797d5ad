//! The four row kinds `+I -U +U -D`: they exist in changelog formats and in print, nowhere else.

use std::collections::HashMap;

use arrow::array::AsArray;
use weir_types::{ChangeBatch, hash};

use super::RowEncoder;

/// The field of a record that holds the kind.
pub(crate) const OP: &str = "op";

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `+I`: a row.
    Insert,
    /// `-U`: the row that an update takes back.
    UpdateBefore,
    /// `+U`: the row that an update puts in its place.
    UpdateAfter,
    /// `-D`: a row is taken back.
    Delete,
}

impl Op {
    /// The kind as it is written.
    pub fn text(self) -> &'static str {
        match self {
            Self::Insert => "+I",
            Self::UpdateBefore => "-U",
            Self::UpdateAfter => "+U",
            Self::Delete => "-D",
        }
    }
}

/// The kinds of a batch's changes. With a unique key, a retraction and an insertion of one key in this batch are an
/// update, `-U` and `+U`; without one there are only `+I` and `-D`.
pub fn ops_of(changes: &ChangeBatch, unique_key: Option<&[usize]>) -> Vec<Op> {
    let plain = |row| {
        if changes.is_retracted(row) {
            Op::Delete
        } else {
            Op::Insert
        }
    };
    let mut ops: Vec<Op> = (0..changes.num_rows()).map(plain).collect();
    let (Some(key), true) = (unique_key, changes.retracted.is_some()) else {
        return ops;
    };
    let columns: Vec<_> = key
        .iter()
        .map(|column| changes.rows.column(*column).clone())
        .collect();
    let hashes = hash::hash_columns(&columns, changes.num_rows());
    let Ok(same) = columns
        .iter()
        .map(|column| arrow::array::make_comparator(column, column, Default::default()))
        .collect::<Result<Vec<_>, _>>()
    else {
        return ops; // A key of a type without an order: its changes stay `+I` and `-D`.
    };
    let mut retracted: HashMap<u64, Vec<usize>> = HashMap::new();
    for row in (0..ops.len()).filter(|row| changes.is_retracted(*row)) {
        retracted.entry(hashes[row]).or_default().push(row);
    }
    for row in 0..hashes.len() {
        if changes.is_retracted(row) {
            continue;
        }
        let Some(candidates) = retracted.get_mut(&hashes[row]) else {
            continue;
        };
        let is_same = |before: &usize| same.iter().all(|compare| compare(*before, row).is_eq());
        if let Some(place) = candidates.iter().position(is_same) {
            // An update is shown as such only in the order that it has: the old row first.
            let before = candidates.remove(place);
            if before < row {
                (ops[before], ops[row]) = (Op::UpdateBefore, Op::UpdateAfter);
            }
        }
    }
    ops
}

/// Writes the one column of a table of lines.
#[derive(Debug)]
pub(crate) struct TextEncoder;

impl RowEncoder for TextEncoder {
    fn encode(&mut self, changes: &ChangeBatch, _ops: &[Op], each: &mut dyn FnMut(usize, &[u8])) {
        let column = changes.rows.column(0);
        let lines = column.as_string_view();
        let mut line = Vec::new();
        for (row, text) in lines.iter().enumerate() {
            line.clear();
            line.extend_from_slice(text.unwrap_or_default().as_bytes());
            line.push(b'\n');
            each(row, &line);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch, StringViewArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn a_pair_of_one_key_is_an_update_and_the_rest_is_not() {
        let schema = Schema::new(vec![
            Field::new("k", DataType::Utf8View, true),
            Field::new("n", DataType::Int64, true),
        ]);
        let keys =
            StringViewArray::from(vec![Some("a"), Some("a"), Some("b"), Some("c"), None, None]);
        let numbers = Int64Array::from(vec![1, 2, 3, 4, 5, 6]);
        let rows = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(keys), Arc::new(numbers)])
            .unwrap();
        let retracted = Some(vec![true, false, true, false, true, false].into());
        let changes = ChangeBatch {
            rows,
            retracted,
            own_watermark: None,
        };
        let texts = |key| {
            ops_of(&changes, key)
                .into_iter()
                .map(Op::text)
                .collect::<Vec<_>>()
        };
        assert_eq!(texts(Some(&[0][..])), ["-U", "+U", "-D", "+I", "-U", "+U"]);
        assert_eq!(texts(None), ["-D", "+I", "-D", "+I", "-D", "+I"]);
    }
}

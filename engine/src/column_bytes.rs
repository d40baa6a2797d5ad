//! What the rows of a column take, of buffers that they may share with other rows; and columns without the texts of others.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{BinaryViewType, ByteViewType, DataType, StringViewType};

/// Buffers of a column of texts may be so much longer than what its rows use of them.
const SLACK_BYTES: usize = 4096;

/// What the rows of a column use, of buffers that others may have a part of.
pub(crate) fn column_bytes(column: &ArrayRef) -> usize {
    match column.data_type() {
        DataType::Utf8View => view_bytes::<StringViewType>(column).1,
        DataType::BinaryView => view_bytes::<BinaryViewType>(column).1,
        _ => column
            .to_data()
            .get_slice_memory_size()
            .unwrap_or_else(|_| column.get_array_memory_size()),
    }
}

/// Bytes of a column's buffers of texts, and bytes of the column with its own part of them.
fn view_bytes<T: ByteViewType>(column: &ArrayRef) -> (usize, usize) {
    let views = column.as_byte_view::<T>();
    let buffers = views.data_buffers().iter().map(|buffer| buffer.len());
    // The length of a view is its low 32 bits; what is longer than 12 bytes stands elsewhere.
    let lengths = views.views().iter().map(|view| *view as u32 as usize);
    let used = lengths.filter(|&length| length > 12).sum::<usize>();
    (buffers.sum(), used + 16 * views.len())
}

/// The same rows, without the texts of rows that are not among them.
pub(crate) fn compact(rows: RecordBatch) -> RecordBatch {
    fn compacted<T: ByteViewType>(column: &ArrayRef) -> Option<ArrayRef> {
        let (buffers, used) = view_bytes::<T>(column);
        (buffers > 2 * used + SLACK_BYTES)
            .then(|| Arc::new(column.as_byte_view::<T>().gc()) as ArrayRef)
    }
    let columns: Vec<Option<ArrayRef>> = rows
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Utf8View => compacted::<StringViewType>(column),
            DataType::BinaryView => compacted::<BinaryViewType>(column),
            _ => None,
        })
        .collect();
    if columns.iter().all(Option::is_none) {
        return rows;
    }
    let kept = columns.into_iter().zip(rows.columns());
    let columns = kept.map(|(compacted, column)| compacted.unwrap_or_else(|| column.clone()));
    // Only views were copied: the types are the same.
    RecordBatch::try_new(rows.schema(), columns.collect()).unwrap_or(rows)
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;
    use arrow::datatypes::{Field, Schema};

    use super::*;

    #[test]
    fn texts_of_other_rows_are_let_go() {
        let texts: StringViewArray = (0..100).map(|row| Some(format!("{row:0>1000}"))).collect();
        let schema = Schema::new(vec![Field::new("s", DataType::Utf8View, true)]);
        let all = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(texts)]).unwrap();
        let held = |rows: &RecordBatch| view_bytes::<StringViewType>(rows.column(0)).0;
        let few = compact(all.slice(40, 2));
        assert_eq!(few, all.slice(40, 2));
        assert_eq!(held(&few), 2000);
        assert_eq!(held(&compact(all.slice(0, 80))), 100_000);
    }
}

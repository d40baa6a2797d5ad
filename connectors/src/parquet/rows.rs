//! Rows as one Parquet file that goes where its bytes are wanted: to a pipe, to a file.

use ::parquet::arrow::ArrowWriter;
use arrow::array::RecordBatch;
use weir_types::{Column, DataType};

use super::write::ParquetForm;
use crate::error::{Error, Result};

/// Encoded bytes of a row group, about; and so much memory at most is held before one is written.
const GROUP_BYTES_MAX: usize = 32 << 20;

/// A Parquet file in the making: it gives its bytes as they are known, and the last ones with its end.
pub struct ParquetRows {
    form: ParquetForm,
    writer: ArrowWriter<Vec<u8>>,
}

impl ParquetRows {
    /// Begins a file with these columns.
    ///
    /// # Errors
    /// If a column has a type that Parquet does not have.
    pub fn new(columns: &[Column]) -> Result<Self> {
        let unknown =
            |column: &&Column| matches!(column.data_type, DataType::Interval | DataType::Null);
        if let Some(column) = columns.iter().find(unknown) {
            return Err(Error::Inconsistent(format!(
                "[R0102] column `{}` is of type {}, which a Parquet file cannot have: CAST it, for example to STRING",
                column.external(),
                column.data_type
            )));
        }
        let mut names: Vec<&str> = columns.iter().map(Column::external).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::Inconsistent(format!(
                "[R0102] two columns are called `{}`, and readers of Parquet find columns by their names: give one another name with AS",
                twice[0]
            )));
        }
        let form = ParquetForm::new(columns);
        let writer = form.begin_in(Vec::new()).map_err(|error| failed(&error))?;
        Ok(Self { form, writer })
    }

    /// Takes rows; the bytes that are known by now.
    ///
    /// # Errors
    /// If the rows are not those of the columns.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<Vec<u8>> {
        let rows = self.form.rows(rows)?;
        self.writer.write(&rows).map_err(|error| failed(&error))?;
        if self.writer.memory_size() > GROUP_BYTES_MAX {
            self.writer.flush().map_err(|error| failed(&error))?;
        }
        // What is written is never looked at again: places in the file are counted apart.
        Ok(std::mem::take(self.writer.inner_mut()))
    }

    /// The rest of the file.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn finish(self) -> Result<Vec<u8>> {
        self.writer.into_inner().map_err(|error| failed(&error))
    }
}

fn failed(error: &::parquet::errors::ParquetError) -> Error {
    Error::Inconsistent(format!("the rows cannot be written as Parquet: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    #[test]
    fn pieces_put_together_are_one_file() {
        let columns = [Column::new("n", DataType::Int64)];
        let mut rows = ParquetRows::new(&columns).unwrap();
        let mut bytes = Vec::new();
        for batch in 0..3i64 {
            let numbers: ArrayRef =
                Arc::new(Int64Array::from_iter_values(batch * 10..batch * 10 + 10));
            let batch =
                RecordBatch::try_new(DataType::arrow_schema(&columns), vec![numbers]).unwrap();
            bytes.extend(rows.write(&batch).unwrap());
            // As if memory were full.
            rows.writer.flush().unwrap();
        }
        bytes.extend(rows.finish().unwrap());
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap();
        assert_eq!(reader.metadata().num_row_groups(), 3);
        let read: usize = reader
            .build()
            .unwrap()
            .map(|batch| batch.unwrap().num_rows())
            .sum();
        assert_eq!(read, 30);
    }

    #[test]
    fn what_a_parquet_file_cannot_have_is_told() {
        let columns = [Column::new("how long", DataType::Interval)];
        let error = ParquetRows::new(&columns).err().unwrap().to_string();
        assert!(
            error.contains("R0102") && error.contains("`how long`"),
            "{error}"
        );
        let twice = [
            Column::new("n", DataType::Int64),
            Column::new("n", DataType::String),
        ];
        let error = ParquetRows::new(&twice).err().unwrap().to_string();
        assert!(error.contains("R0102") && error.contains("`n`"), "{error}");
    }
}

//! A part in Parquet: rows are gathered in columns, and go to the file a row group at a time.
//!
//! ```text
//!   batches ─▶ columns, encoded ── enough of them ─▶ row group ─▶ file        close ─▶ footer
//! ```
//!
//! # Invariants
//! 1. What is in memory is bounded: a row group ends when it has its bytes, whatever the checkpoint interval is.
//! 2. A file without its footer is no file: only a part that was closed is ever listed or published.
//! 3. What other programs read is standard: no Arrow schema rides along, and a TIMESTAMP(0), which Parquet does not know, has
//!    milliseconds.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::arrow::arrow_writer::ArrowWriterOptions;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::file::properties::WriterProperties;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef, TimeUnit};
use weir_types::Column;

use crate::error::{Error, IoContext, Result};

/// Encoded bytes of a row group, about.
const GROUP_BYTES_MAX: usize = 32 << 20;
/// Memory of all parts of a writer together: with many partitions each has less.
const WRITER_BYTES_MAX: usize = 64 << 20;

/// The columns of a table as its Parquet files have them.
pub(crate) struct ParquetForm {
    schema: SchemaRef,
}

impl ParquetForm {
    pub(crate) fn new(columns: &[Column]) -> Self {
        let field = |column: &Column| {
            let stored = stored_type(&column.data_type.to_arrow());
            Field::new(column.external(), stored, true)
        };
        let fields: Vec<Field> = columns.iter().map(field).collect();
        Self {
            schema: Arc::new(Schema::new(fields)),
        }
    }

    /// The rows under the names and types of the file.
    pub(crate) fn rows(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let columns = rows.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(array, field)| -> Result<ArrayRef> {
            if array.data_type() == field.data_type() {
                return Ok(array.clone());
            }
            arrow::compute::cast(array, field.data_type()).map_err(|error| wrong(&error))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new(self.schema.clone(), columns).map_err(|error| wrong(&error))
    }

    /// Begins a file.
    pub(crate) fn begin(&self, file: File, path: &Path) -> Result<ParquetPart> {
        let writer = self.begin_in(file).map_err(|error| failed(path, error))?;
        Ok(ParquetPart { writer })
    }

    /// Begins a file wherever its bytes go.
    pub(super) fn begin_in<W: Write + Send>(
        &self,
        to: W,
    ) -> std::result::Result<ArrowWriter<W>, ::parquet::errors::ParquetError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(format!("weir {}", env!("CARGO_PKG_VERSION")))
            .set_max_row_group_bytes(Some(GROUP_BYTES_MAX))
            .build();
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_skip_arrow_metadata(true);
        ArrowWriter::try_new_with_options(to, self.schema.clone(), options)
    }
}

/// How a type is stored.
fn stored_type(data_type: &ArrowType) -> ArrowType {
    let stored = |field: &Field| {
        let inner = stored_type(field.data_type());
        Arc::new(field.clone().with_data_type(inner))
    };
    match data_type {
        ArrowType::Timestamp(TimeUnit::Second, zone) => {
            ArrowType::Timestamp(TimeUnit::Millisecond, zone.clone())
        }
        ArrowType::List(item) => ArrowType::List(stored(item)),
        ArrowType::Map(entries, sorted) => ArrowType::Map(stored(entries), *sorted),
        ArrowType::Struct(fields) => {
            ArrowType::Struct(fields.iter().map(|field| stored(field)).collect())
        }
        other => other.clone(),
    }
}

/// A file that is being written.
pub(crate) struct ParquetPart {
    writer: ArrowWriter<File>,
}

impl ParquetPart {
    /// Takes rows; `open_parts` share the memory.
    pub(crate) fn write(
        &mut self,
        rows: &RecordBatch,
        open_parts: usize,
        path: &Path,
    ) -> Result<()> {
        self.writer
            .write(rows)
            .map_err(|error| failed(path, error))?;
        if self.writer.memory_size() > WRITER_BYTES_MAX / open_parts.max(1) {
            self.writer.flush().map_err(|error| failed(path, error))?;
        }
        Ok(())
    }

    /// Writes what is left and the footer; the file, to be synced, and its bytes.
    pub(crate) fn close(self, path: &Path) -> Result<(File, u64)> {
        let file = self
            .writer
            .into_inner()
            .map_err(|error| failed(path, error))?;
        let bytes = file
            .metadata()
            .context(|| format!("cannot look at {}", path.display()))?
            .len();
        Ok((file, bytes))
    }
}

/// What the disk said, as it said it: whether it may pass hangs on that.
fn failed(path: &Path, error: ::parquet::errors::ParquetError) -> Error {
    let context = format!("cannot write {}", path.display());
    match error {
        ::parquet::errors::ParquetError::External(source) => {
            match source.downcast::<std::io::Error>() {
                Ok(source) => Error::Io {
                    context,
                    source: *source,
                },
                Err(source) => Error::Inconsistent(format!("{context}: {source}")),
            }
        }
        other => Error::Inconsistent(format!("{context}: {other}")),
    }
}

fn wrong(error: &arrow::error::ArrowError) -> Error {
    Error::Inconsistent(format!(
        "the sink's columns are not those of its plan: {error}"
    ))
}

#[cfg(test)]
mod tests {
    use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use arrow::array::{Int64Array, StringViewArray, TimestampSecondArray};
    use weir_types::{DataType, TimeUnit as Unit};

    use super::*;

    #[test]
    fn row_groups_end_with_their_memory_and_the_file_is_whole() {
        let columns = [
            Column::new("n", DataType::Int64),
            Column::new("text", DataType::String),
            Column::new("at", DataType::Timestamp(Unit::Second)),
        ];
        let form = ParquetForm::new(&columns);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part.parquet");
        let file = File::create(&path).unwrap();
        let mut part = form.begin(file, &path).unwrap();
        for batch in 0..20_i64 {
            let numbers: Vec<i64> = (0..5000).map(|row| batch * 5000 + row).collect();
            // Texts that no compression makes small.
            let texts = numbers.iter().map(|n| {
                let mixed =
                    (0..4).map(|i| format!("{:x}", weir_types::hash::mix((n * 4 + i) as u64)));
                Some(mixed.collect::<String>())
            });
            let arrays: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from(numbers.clone())),
                Arc::new(texts.collect::<StringViewArray>()),
                Arc::new(TimestampSecondArray::from(vec![1_700_000_000; 5000])),
            ];
            let rows = RecordBatch::try_new(DataType::arrow_schema(&columns), arrays).unwrap();
            // As if sixty-four parts were open.
            part.write(&form.rows(&rows).unwrap(), 64, &path).unwrap();
        }
        let (file, bytes) = part.close(&path).unwrap();
        drop(file);
        assert_eq!(bytes, std::fs::metadata(&path).unwrap().len());
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
        assert!(reader.metadata().num_row_groups() > 3, "groups are bounded");
        assert_eq!(
            reader.schema().field(2).data_type(),
            &ArrowType::Timestamp(TimeUnit::Millisecond, None)
        );
        let rows: usize = reader
            .build()
            .unwrap()
            .map(|batch| batch.unwrap().num_rows())
            .sum();
        assert_eq!(rows, 100_000);
    }
}

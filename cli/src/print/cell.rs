//! One value as text, for tables and CSV.

use arrow::array::Array;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// How dates and times look everywhere: ISO 8601, with as many digits of the second as there are.
const OPTIONS: FormatOptions<'static> = FormatOptions::new()
    .with_display_error(false)
    .with_null("")
    .with_date_format(Some("%Y-%m-%d"))
    .with_datetime_format(Some("%Y-%m-%d %H:%M:%S%.f"))
    .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
    .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.fZ"))
    .with_time_format(Some("%H:%M:%S%.f"));

/// The texts of a column; `None` is NULL.
pub(crate) fn texts(column: &dyn Array) -> Result<Vec<Option<String>>, ArrowError> {
    let formatter = ArrayFormatter::try_new(column, &OPTIONS)?;
    (0..column.len())
        .map(|row| {
            if column.is_null(row) || column.data_type() == &DataType::Null {
                return Ok(None);
            }
            formatter.value(row).try_to_string().map(Some)
        })
        .collect()
}

/// Whether values of the type are aligned to the right.
pub(crate) fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

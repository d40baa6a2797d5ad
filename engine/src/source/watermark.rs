//! The watermark of a split: the running maximum of the declared expression, row by row in split order.
//!
//! ```text
//!   chunk k:   start = prefix[k]      row   event time   expression   running maximum before it
//!                                      0       10            5             start
//!                                      1        3           -2             max(start, 5)  → 3 < 5: behind
//!              prefix[k+1] = max(start, 5, -2)
//! ```
//!
//! A row that is older than the running maximum before it is *behind* and carries that maximum as its own watermark;
//! whether it is late is for each operator to say.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{
    DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};

/// A timestamp column in microseconds; nanoseconds are rounded down. `None`: not a timestamp.
pub(crate) fn micros(array: &ArrayRef) -> Option<Int64Array> {
    Some(match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => array
            .as_primitive::<TimestampSecondType>()
            .unary(|value| value.saturating_mul(1_000_000)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => array
            .as_primitive::<TimestampMillisecondType>()
            .unary(|value| value.saturating_mul(1_000)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let array = array.as_primitive::<TimestampMicrosecondType>();
            Int64Array::new(array.values().clone(), array.nulls().cloned())
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => array
            .as_primitive::<TimestampNanosecondType>()
            .unary(|value| value.div_euclid(1_000)),
        _ => return None,
    })
}

/// The greatest value, `i64::MIN` if there is none.
pub(crate) fn greatest(values: &Int64Array) -> i64 {
    arrow::compute::max(values).unwrap_or(i64::MIN)
}

/// The own watermark of every row that is behind, `None` if no row is; and the running maximum after the last row.
///
/// A row without event time (it will be left out) is never behind; a NULL of the expression promises nothing.
pub(crate) fn own_watermarks(
    times: &Int64Array,
    expression: &Int64Array,
    start: i64,
) -> (Option<Int64Array>, i64) {
    let mut maximum = start;
    let mut own: Option<Vec<Option<i64>>> = None;
    for (row, &time) in times.values().iter().enumerate() {
        if time < maximum && times.is_valid(row) {
            own.get_or_insert_with(|| vec![None; times.len()])[row] = Some(maximum);
        }
        if expression.is_valid(row) {
            maximum = maximum.max(expression.value(row));
        }
    }
    (own.map(Int64Array::from), maximum)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{TimestampMillisecondArray, TimestampNanosecondArray};

    use super::*;

    #[test]
    fn a_row_older_than_the_maximum_before_it_carries_that_maximum() {
        let times = Int64Array::from(vec![10, 3, 20, 14, 15]);
        let expression = Int64Array::from(vec![5, -2, 15, 9, 10]);
        let (own, end) = own_watermarks(&times, &expression, 4);
        let own = own.unwrap();
        let own: Vec<_> = own.iter().collect();
        assert_eq!(own, [None, Some(5), None, Some(15), None]);
        assert_eq!(end, 15);
        assert!(own_watermarks(&times, &expression, i64::MIN).1 == 15);
        assert!(
            own_watermarks(
                &Int64Array::from(vec![1, 2]),
                &Int64Array::from(vec![0, 1]),
                0
            )
            .0
            .is_none()
        );
    }

    #[test]
    fn cutting_a_chunk_anywhere_gives_the_same_own_watermarks() {
        let times: Vec<i64> = (0..50).map(|i| (i * 37) % 23 + i).collect();
        let expression: Vec<i64> = times.iter().map(|time| time - 4).collect();
        let whole = own_watermarks(&times.clone().into(), &expression.clone().into(), 2);
        for cut in 0..times.len() {
            let (first, middle) = own_watermarks(
                &times[..cut].to_vec().into(),
                &expression[..cut].to_vec().into(),
                2,
            );
            let (second, end) = own_watermarks(
                &times[cut..].to_vec().into(),
                &expression[cut..].to_vec().into(),
                middle,
            );
            let values = |own: Option<Int64Array>, len: usize| -> Vec<Option<i64>> {
                own.map_or(vec![None; len], |own| own.iter().collect())
            };
            let mut both = values(first, cut);
            both.extend(values(second, times.len() - cut));
            assert_eq!(both, values(whole.0.clone(), times.len()));
            assert_eq!(end, whole.1);
        }
    }

    #[test]
    fn every_unit_becomes_microseconds() {
        let millis: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![-1, 2]));
        assert_eq!(micros(&millis).unwrap().values(), &[-1000, 2000]);
        let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![-1, 2999]));
        assert_eq!(micros(&nanos).unwrap().values(), &[-1, 2]);
    }
}

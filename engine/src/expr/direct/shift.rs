//! A point in time plus or minus a fixed interval, as most watermarks are: one addition a row.
//!
//! The library makes a date of the calendar out of every timestamp and adds to that, because an interval may have months.
//! One of days, hours and less is a number of the timestamp's units, for a time without a zone and for UTC. Values near
//! the ends of what a timestamp can hold, where the library has something to say of overflow, are left to it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::datatypes::{
    DataType, Schema, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use datafusion_common::ScalarValue;
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Literal;
use weir_planner::functions::per_second;

/// Timestamps further than so many seconds from 1970 (30,000 years) are the library's, and so are longer intervals.
const SECONDS_MAX: i64 = 1_000_000_000_000;

/// The interval that is added.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shift {
    /// In units of the operand's type.
    delta: i64,
    unit: TimeUnit,
}

impl Shift {
    /// That of `left operator right`, if it is one.
    pub(super) fn of(
        left: &Arc<dyn PhysicalExpr>,
        operator: &Operator,
        right: &Arc<dyn PhysicalExpr>,
        schema: &Schema,
    ) -> Option<Self> {
        let DataType::Timestamp(unit, zone) = left.data_type(schema).ok()? else {
            return None;
        };
        if zone.is_some_and(|zone| zone.as_ref() != "+00:00") {
            return None;
        }
        let literal = right.downcast_ref::<Literal>()?;
        let ScalarValue::IntervalMonthDayNano(Some(interval)) = literal.value() else {
            return None;
        };
        let sign = match operator {
            Operator::Plus => 1,
            Operator::Minus => -1,
            _ => return None,
        };
        let nanos =
            i128::from(interval.days) * 86_400_000_000_000 + i128::from(interval.nanoseconds);
        let unit_nanos = i128::from(1_000_000_000 / per_second(unit));
        if interval.months != 0 || nanos % unit_nanos != 0 {
            return None;
        }
        let delta = i64::try_from(sign * nanos / unit_nanos).ok()?;
        (delta.unsigned_abs() <= greatest(unit)).then_some(Self { delta, unit })
    }

    /// `None`: some value is for the library.
    pub(super) fn apply(self, times: &ArrayRef) -> Option<ArrayRef> {
        match self.unit {
            TimeUnit::Second => self.shift::<TimestampSecondType>(times),
            TimeUnit::Millisecond => self.shift::<TimestampMillisecondType>(times),
            TimeUnit::Microsecond => self.shift::<TimestampMicrosecondType>(times),
            TimeUnit::Nanosecond => self.shift::<TimestampNanosecondType>(times),
        }
    }

    fn shift<T: ArrowPrimitiveType<Native = i64>>(self, array: &ArrayRef) -> Option<ArrayRef> {
        let greatest = greatest(self.unit);
        let times = array.as_primitive_opt::<T>()?;
        let far = times
            .values()
            .iter()
            .fold(false, |far, value| far | (value.unsigned_abs() > greatest));
        if far {
            return None;
        }
        let moved = times.unary::<_, T>(|value| value.wrapping_add(self.delta));
        Some(Arc::new(moved.with_data_type(array.data_type().clone())))
    }
}

/// Two values up to this can be added.
fn greatest(unit: TimeUnit) -> u64 {
    SECONDS_MAX
        .checked_mul(per_second(unit))
        .map_or(i64::MAX / 2, |most| most.min(i64::MAX / 2)) as u64
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Int64Array, RecordBatch, TimestampMicrosecondArray, TimestampMillisecondArray,
        TimestampNanosecondArray, TimestampSecondArray,
    };
    use arrow::datatypes::{Field, IntervalMonthDayNano};
    use datafusion_physical_expr::expressions::{BinaryExpr, Column};

    use super::super::{Direct, shifted};
    use super::*;

    /// The library's expression and ours, if there is one.
    fn both(
        times: &ArrayRef,
        operator: Operator,
        interval: IntervalMonthDayNano,
    ) -> (RecordBatch, Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>) {
        let schema = Arc::new(Schema::new(vec![Field::new(
            "t",
            times.data_type().clone(),
            true,
        )]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::clone(times)]).unwrap();
        let left: Arc<dyn PhysicalExpr> = Arc::new(Column::new("t", 0));
        let value = ScalarValue::IntervalMonthDayNano(Some(interval));
        let right: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(value));
        let general: Arc<dyn PhysicalExpr> = Arc::new(
            BinaryExpr::new(Arc::clone(&left), operator, Arc::clone(&right))
                .with_fail_on_overflow(true),
        );
        let ours = shifted(&left, &operator, &right, &schema, Arc::clone(&general));
        (batch, general, ours)
    }

    #[test]
    fn it_gives_what_the_library_gives() {
        let values = || {
            let near = [0, 1, -1, 1_700_000_000_123, -62_135_596_800_000];
            Int64Array::from_iter(near.into_iter().map(Some).chain([None]))
        };
        let arrays: [ArrayRef; 5] = [
            Arc::new(TimestampSecondArray::from(vec![Some(5), None, Some(-5)])),
            Arc::new(values().reinterpret_cast::<TimestampMillisecondType>()),
            Arc::new(
                values()
                    .reinterpret_cast::<TimestampMillisecondType>()
                    .with_timezone("+00:00"),
            ),
            Arc::new(TimestampMicrosecondArray::from(vec![7, -7])),
            Arc::new(TimestampNanosecondArray::from(vec![i64::MAX / 4, 3])),
        ];
        let intervals = [
            IntervalMonthDayNano::new(0, 0, 4_000_000_000),
            IntervalMonthDayNano::new(0, 3, -1_500_000_000),
            IntervalMonthDayNano::new(1, 0, 0),
            IntervalMonthDayNano::new(0, 0, 1),
        ];
        for array in &arrays {
            for interval in intervals {
                for operator in [Operator::Plus, Operator::Minus] {
                    let (batch, general, ours) = both(array, operator, interval);
                    let value = |expr: &Arc<dyn PhysicalExpr>| {
                        let value = expr.evaluate(&batch).unwrap();
                        value.into_array(batch.num_rows()).unwrap()
                    };
                    assert_eq!(&value(&general), &value(&ours), "{array:?} {interval:?}");
                }
            }
        }
    }

    #[test]
    fn only_a_whole_number_of_units_has_the_short_form() {
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1]));
        let is_short = |months, nanos| {
            let interval = IntervalMonthDayNano::new(months, 0, nanos);
            let (_, _, ours) = both(&times, Operator::Plus, interval);
            ours.is::<Direct>()
        };
        assert!(is_short(0, 1_000_000));
        assert!(!is_short(0, 1_000_001));
        assert!(!is_short(1, 0));
    }

    #[test]
    fn an_overflow_is_the_librarys_to_tell() {
        let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![i64::MAX - 1]));
        let interval = IntervalMonthDayNano::new(0, 0, 1_000);
        let (batch, general, ours) = both(&times, Operator::Plus, interval);
        assert!(ours.is::<Direct>());
        let (theirs, ours) = (general.evaluate(&batch), ours.evaluate(&batch));
        assert_eq!(theirs.is_err(), ours.is_err());
        assert!(ours.is_err());
    }
}

//! From state columns to results: what a reader of the aggregate sees.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int64Array,
};
use arrow::compute::cast;
use arrow::datatypes::DataType as ArrowType;
use weir_types::{DataType, Span};

use super::sum::{FloatSum, Specials};
use super::values;

type Outcome<T> = Result<T, (usize, String)>;

/// The result of one aggregate.
pub(super) struct Output {
    pub(super) kind: Kind,
    pub(super) arrow_type: ArrowType,
    pub(super) span: Span,
}

/// How state columns become the result; every number is a column.
pub(super) enum Kind {
    /// The counter.
    Count(usize),
    /// The column as it is.
    Value(usize),
    /// The column; NULL where the counter is zero.
    CountedValue { sum: usize, count: usize },
    /// Sum and compensation, specials beside them; divided by the count for an average.
    Float {
        sum: usize,
        compensation: usize,
        specials: Option<Specials>,
        count: Option<usize>,
        average: bool,
    },
    /// The sum, of that scale, divided by the counter.
    DecimalAverage { sum: usize, count: usize, scale: i8 },
    /// The sum of integers, 128 bits wide; NULL where the counter is zero.
    Wide { sum: usize, count: Option<usize> },
    /// The sum of decimals; checked against the result's precision.
    Decimal { sum: usize, count: Option<usize> },
    /// Variances, covariances and the like.
    Moments {
        function: String,
        columns: Vec<usize>,
    },
    /// What the code of a program makes of it.
    Registered(super::registered::Registered),
    /// Whether all (or any) of the counted values are true.
    Truth {
        true_count: usize,
        count: usize,
        all: bool,
    },
}

impl Kind {
    /// The result of sum(x) and avg(x): `more` are the columns after the sum, `count` the counter of values.
    pub(super) fn sum(
        average: bool,
        data_type: &DataType,
        sum: usize,
        more: &[usize],
        count: Option<usize>,
    ) -> Option<Self> {
        Some(match (data_type, average, count) {
            (DataType::Float64, ..) => {
                let (compensation, specials) = (*more.first()?, FloatSum::specials(more));
                Self::Float {
                    sum,
                    compensation,
                    specials,
                    count,
                    average,
                }
            }
            (DataType::Decimal(_, scale), true, Some(count)) => Self::DecimalAverage {
                sum,
                count,
                scale: *scale,
            },
            (_, false, count) => Self::Decimal { sum, count },
            _ => return None,
        })
    }
}

impl Output {
    /// The results of the groups whose state columns these are.
    pub(super) fn finish(&self, columns: &[ArrayRef]) -> Outcome<ArrayRef> {
        let result: ArrayRef = match &self.kind {
            Kind::Count(column) => Arc::new(without_nulls(&values::integers(&columns[*column])?)),
            Kind::Value(column) => columns[*column].clone(),
            Kind::CountedValue { sum, count } => {
                let none = none_counted(&columns[*count])?;
                arrow::compute::nullif(&columns[*sum], &none)
                    .map_err(|error| (0, error.to_string()))?
            }
            Kind::Wide { sum, count } => {
                let counts = count.map(|count| &columns[count]);
                super::wide::finish(&columns[*sum], counts, &self.arrow_type)?
            }
            Kind::Decimal { sum, count } => {
                if let ArrowType::Decimal128(precision, _) = self.arrow_type {
                    super::sum::checked(&columns[*sum], precision)?;
                }
                match count {
                    Some(count) => {
                        let none = none_counted(&columns[*count])?;
                        arrow::compute::nullif(&columns[*sum], &none)
                            .map_err(|error| (0, error.to_string()))?
                    }
                    None => columns[*sum].clone(),
                }
            }
            Kind::Moments {
                function,
                columns: of,
            } => super::moments::finish(function, of, columns)?,
            Kind::Registered(function) => function.finish(columns)?,
            Kind::Float { .. } => self.float(columns)?,
            Kind::DecimalAverage { sum, count, scale } => {
                self.decimal_average(&columns[*sum], &columns[*count], *scale)?
            }
            Kind::Truth {
                true_count,
                count,
                all,
            } => truth(&columns[*true_count], &columns[*count], *all)?,
        };
        if result.data_type() == &self.arrow_type {
            return Ok(result);
        }
        cast(&result, &self.arrow_type).map_err(|error| (0, error.to_string()))
    }

    fn float(&self, columns: &[ArrayRef]) -> Outcome<ArrayRef> {
        let Kind::Float {
            sum,
            compensation,
            specials,
            count,
            average,
        } = &self.kind
        else {
            return Err((0, "not a float".to_owned()));
        };
        let (sums, compensations) = (
            columns[*sum].as_primitive(),
            columns[*compensation].as_primitive(),
        );
        let counts = count
            .map(|count| values::integers(&columns[count]))
            .transpose()?;
        let specials = specials
            .map(|specials| {
                let columns = [
                    specials.nans,
                    specials.infinities,
                    specials.negative_infinities,
                ]
                .map(|column| values::integers(&columns[column]));
                let [nans, infinities, negatives] = columns;
                Ok::<_, (usize, String)>((nans?, infinities?, negatives?))
            })
            .transpose()?;
        let value = |row: usize| {
            let sums: &Float64Array = sums;
            let compensations: &Float64Array = compensations;
            let count = counts.as_ref().map(|counts| number(counts, row));
            if sums.is_null(row) || count == Some(0) {
                return None;
            }
            let special = specials.as_ref().and_then(|(nans, infinities, negatives)| {
                special_value(
                    number(nans, row),
                    number(infinities, row),
                    number(negatives, row),
                )
            });
            let total = special.unwrap_or(sums.value(row) + compensations.value(row));
            Some(if *average {
                total / count.unwrap_or(1) as f64
            } else {
                total
            })
        };
        Ok(Arc::new(
            (0..sums.len()).map(value).collect::<Float64Array>(),
        ))
    }

    /// Divided like the library does it: towards zero, at the scale of the result.
    fn decimal_average(&self, sums: &ArrayRef, counts: &ArrayRef, scale: i8) -> Outcome<ArrayRef> {
        let ArrowType::Decimal128(precision, target_scale) = self.arrow_type else {
            return Err((
                0,
                format!("an average of type {} is not possible yet", self.arrow_type),
            ));
        };
        let (totals, counts) = (values::decimals(sums)?, values::integers(counts)?);
        let factor = u32::try_from(target_scale - scale)
            .ok()
            .and_then(|digits| 10i128.checked_pow(digits));
        let limit = 10i128.pow(u32::from(precision)).unsigned_abs();
        let average = |row: usize| {
            let count = number(&counts, row);
            if sums.is_null(row) || count == 0 {
                return Ok(None);
            }
            let scaled = factor.and_then(|factor| totals[row].checked_mul(factor));
            let average = scaled.map(|scaled| scaled / i128::from(count));
            let average = average.filter(|average| average.unsigned_abs() < limit);
            average
                .map(Some)
                .ok_or((row, "the average overflows its type".to_owned()))
        };
        let averages = (0..totals.len())
            .map(average)
            .collect::<Outcome<Decimal128Array>>()?;
        let averages = averages.with_precision_and_scale(precision, target_scale);
        Ok(Arc::new(averages.map_err(|error| (0, error.to_string()))?))
    }
}

fn number(counts: &Int64Array, row: usize) -> i64 {
    if counts.is_null(row) {
        0
    } else {
        counts.value(row)
    }
}

fn without_nulls(counts: &Int64Array) -> Int64Array {
    if counts.null_count() == 0 {
        counts.clone()
    } else {
        counts
            .iter()
            .map(|count| Some(count.unwrap_or(0)))
            .collect()
    }
}

fn none_counted(counts: &ArrayRef) -> Outcome<BooleanArray> {
    let counts = values::integers(counts)?;
    Ok((0..counts.len())
        .map(|row| Some(number(&counts, row) == 0))
        .collect())
}

/// What NaNs and infinities make of a sum.
fn special_value(nans: i64, infinities: i64, negatives: i64) -> Option<f64> {
    if nans > 0 || (infinities > 0 && negatives > 0) {
        Some(f64::NAN)
    } else if infinities > 0 {
        Some(f64::INFINITY)
    } else if negatives > 0 {
        Some(f64::NEG_INFINITY)
    } else {
        None
    }
}

fn truth(true_counts: &ArrayRef, counts: &ArrayRef, all: bool) -> Outcome<ArrayRef> {
    let (true_counts, counts) = (values::integers(true_counts)?, values::integers(counts)?);
    let value = |row: usize| {
        let (trues, count) = (number(&true_counts, row), number(&counts, row));
        (count > 0).then_some(if all { trues == count } else { trues > 0 })
    };
    Ok(Arc::new(
        (0..counts.len()).map(value).collect::<BooleanArray>(),
    ))
}

//! Moments: sums of values, of their squares and of their products, from which variances and correlations follow.
//!
//! A variance is the small difference of two great sums. Each sum is therefore kept as two floats, the rounded value and
//! what rounding took from it (Dekker, 1971), about 106 bits together, and squares and products go in exactly. So a row
//! that is taken back leaves what was there before it came, and no order of rows shows in the result.
//!
//! Values that are not finite, or too great to be squared, are counted beside the sums: while there is one, every result
//! is NaN.
//!
//! # Invariants
//! 1. The columns are: count, not finite, then (high, low) of each sum.
//! 2. |low| is at most half a unit in the last place of high.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Float64Type;
use weir_state::Columns;

use super::{Accumulator, Argument, values};

type Outcome<T> = Result<T, (usize, String)>;

/// A greater value is not squared.
const MAGNITUDE_MAX: f64 = 1e150;

/// A number as the sum of two floats that do not overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Double {
    high: f64,
    low: f64,
}

impl Double {
    fn of(value: f64) -> Self {
        Self {
            high: value,
            low: 0.0,
        }
    }

    /// The exact product.
    fn product(a: f64, b: f64) -> Self {
        let high = a * b;
        Self {
            high,
            low: a.mul_add(b, -high),
        }
    }

    fn negated(self) -> Self {
        Self {
            high: -self.high,
            low: -self.low,
        }
    }

    fn plus(self, other: Self) -> Self {
        let (high, error) = two_sum(self.high, other.high);
        let (low, rest) = two_sum(self.low, other.low);
        let sum = quick_sum(high, error + low);
        quick_sum(sum.high, sum.low + rest)
    }

    fn minus(self, other: Self) -> Self {
        self.plus(other.negated())
    }

    fn times(self, other: Self) -> Self {
        let product = Self::product(self.high, other.high);
        let crossed = self.high * other.low + self.low * other.high;
        quick_sum(product.high, product.low + crossed)
    }

    fn value(self) -> f64 {
        self.high + self.low
    }
}

/// The rounded sum, and what was rounded off.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

/// The same if |a| is at least |b|.
fn quick_sum(a: f64, b: f64) -> Double {
    let sum = a + b;
    Double {
        high: sum,
        low: b - (sum - a),
    }
}

/// Keeps the moments of one argument, or of two.
pub(super) struct Moments {
    columns: Vec<usize>,
}

impl Moments {
    /// `None`: not the columns that moments have.
    pub(super) fn new(columns: &[usize]) -> Option<Self> {
        matches!(columns.len(), 6 | 12).then(|| Self {
            columns: columns.to_vec(),
        })
    }

    fn count(&self, state: &mut Columns<'_>, slot: u32, column: usize, delta: i64) {
        let column = self.columns[column];
        let before = if state.is_null(column, slot) {
            0
        } else {
            state.i64(column, slot)
        };
        state.set_i64(column, slot, before + delta);
    }

    fn add(&self, state: &mut Columns<'_>, slot: u32, sum: usize, value: Double) {
        let (high, low) = (self.columns[2 + 2 * sum], self.columns[3 + 2 * sum]);
        let before = if state.is_null(high, slot) {
            Double::default()
        } else {
            Double {
                high: state.f64(high, slot),
                low: state.f64(low, slot),
            }
        };
        let after = before.plus(value);
        state.set_f64(high, slot, after.high);
        state.set_f64(low, slot, after.low);
    }

    /// Adds a row, or takes it back.
    fn step(&self, state: &mut Columns<'_>, slot: u32, row: &[f64], weight: i64) {
        self.count(state, slot, 0, weight);
        let is_great = |value: &f64| !value.is_finite() || value.abs() > MAGNITUDE_MAX;
        if row.iter().any(is_great) {
            return self.count(state, slot, 1, weight);
        }
        let mut add = |sum: usize, value: Double| {
            let value = if weight < 0 { value.negated() } else { value };
            self.add(state, slot, sum, value);
        };
        match *row {
            [x] => {
                add(0, Double::of(x));
                add(1, Double::product(x, x));
            }
            [first, second] => {
                add(0, Double::of(first));
                add(1, Double::of(second));
                add(2, Double::product(first, first));
                add(3, Double::product(second, second));
                add(4, Double::product(first, second));
            }
            _ => {}
        }
    }
}

impl Accumulator for Moments {
    fn update(
        &self,
        state: &mut Columns<'_>,
        slots: &[u32],
        input: &Argument,
        retracted: Option<&BooleanBuffer>,
    ) -> Outcome<()> {
        let arrays: Vec<Float64Array> = input
            .values
            .iter()
            .map(values::floats)
            .collect::<Outcome<_>>()?;
        let mut row_values = Vec::with_capacity(arrays.len());
        input.for_each_active(|row| {
            row_values.clear();
            row_values.extend(arrays.iter().map(|array| array.value(row)));
            let is_retracted = retracted.is_some_and(|retracted| retracted.value(row));
            self.step(
                state,
                slots[row],
                &row_values,
                if is_retracted { -1 } else { 1 },
            );
            Ok(())
        })
    }

    fn merge(&self, state: &mut Columns<'_>, slots: &[u32], columns: &[ArrayRef]) -> Outcome<()> {
        for counter in 0..2 {
            let counts = values::integers(&columns[self.columns[counter]])?;
            for (slot, count) in slots.iter().zip(counts.iter()) {
                self.count(state, *slot, counter, count.unwrap_or(0));
            }
        }
        for sum in 0..(self.columns.len() - 2) / 2 {
            let pairs = sums(columns, &self.columns, sum)?;
            for (row, &slot) in slots.iter().enumerate() {
                if let Some(value) = pairs.get(row) {
                    self.add(state, slot, sum, value);
                }
            }
        }
        Ok(())
    }
}

/// One of the sums, for all groups.
struct Sums<'a> {
    high: &'a Float64Array,
    low: &'a Float64Array,
}

impl Sums<'_> {
    fn get(&self, row: usize) -> Option<Double> {
        self.high.is_valid(row).then(|| Double {
            high: self.high.value(row),
            low: self.low.value(row),
        })
    }
}

fn sums<'a>(columns: &'a [ArrayRef], of: &[usize], sum: usize) -> Outcome<Sums<'a>> {
    let float = |column: usize| {
        let array = &columns[of[column]];
        array
            .as_primitive_opt::<Float64Type>()
            .ok_or_else(|| values::mismatch(array))
    };
    Ok(Sums {
        high: float(2 + 2 * sum)?,
        low: float(3 + 2 * sum)?,
    })
}

/// The moments of one group.
struct Group {
    count: f64,
    sums: Vec<Double>,
    is_finite: bool,
}

impl Group {
    /// n · Σab − Σa · Σb, zero where nothing but rounding is left.
    fn spread(&self, a: usize, b: usize, products: usize) -> f64 {
        let scaled = self.sums[products].times(Double::of(self.count));
        let spread = scaled.minus(self.sums[a].times(self.sums[b])).value();
        let noise = scaled.value().abs().max(1e-300) * 2f64.powi(-98);
        if spread.abs() <= noise { 0.0 } else { spread }
    }

    /// The sum of squared distances from the mean, of one argument.
    fn single(&self) -> f64 {
        self.spread(0, 0, 1).max(0.0) / self.count
    }

    /// Sxx, Syy, Sxy of (y, x).
    fn paired(&self) -> (f64, f64, f64) {
        let (y, x) = (0, 1);
        (
            self.spread(x, x, 3).max(0.0) / self.count,
            self.spread(y, y, 2).max(0.0) / self.count,
            self.spread(y, x, 4) / self.count,
        )
    }

    fn mean(&self, sum: usize) -> f64 {
        self.sums[sum].value() / self.count
    }
}

/// The function's value; `None` is NULL.
fn value_of(function: &str, group: &Group) -> Option<f64> {
    let count = group.count;
    let at_least = |least: f64| (count >= least).then_some(());
    match function {
        "var_pop" => at_least(1.0).map(|()| group.single() / count),
        "var_samp" => at_least(2.0).map(|()| group.single() / (count - 1.0)),
        "stddev_pop" => at_least(1.0).map(|()| (group.single() / count).sqrt()),
        "stddev_samp" => at_least(2.0).map(|()| (group.single() / (count - 1.0)).sqrt()),
        _ => {
            at_least(1.0)?;
            let (xx, yy, xy) = group.paired();
            let slope = (xx > 0.0).then(|| xy / xx);
            match function {
                "covar_pop" => Some(xy / count),
                "covar_samp" => at_least(2.0).map(|()| xy / (count - 1.0)),
                "corr" => {
                    (xx > 0.0 && yy > 0.0).then(|| (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0))
                }
                "regr_avgx" => Some(group.mean(1)),
                "regr_avgy" => Some(group.mean(0)),
                "regr_sxx" => Some(xx),
                "regr_syy" => Some(yy),
                "regr_sxy" => Some(xy),
                "regr_slope" => slope,
                "regr_intercept" => slope.map(|slope| group.mean(0) - slope * group.mean(1)),
                // A horizontal line fits perfectly; over one x nothing can be said.
                "regr_r2" if xx == 0.0 => None,
                "regr_r2" if yy == 0.0 => Some(1.0),
                "regr_r2" => Some((xy * xy / (xx * yy)).min(1.0)),
                _ => None,
            }
        }
    }
}

/// The results of groups, given by their state columns.
pub(super) fn finish(function: &str, of: &[usize], columns: &[ArrayRef]) -> Outcome<ArrayRef> {
    let counts = values::integers(&columns[of[0]])?;
    if function == "regr_count" {
        let counts: Int64Array = counts
            .iter()
            .map(|count| Some(count.unwrap_or(0)))
            .collect();
        return Ok(std::sync::Arc::new(counts));
    }
    let not_finite = values::integers(&columns[of[1]])?;
    let all = (0..(of.len() - 2) / 2)
        .map(|sum| sums(columns, of, sum))
        .collect::<Outcome<Vec<_>>>()?;
    let number = |counts: &Int64Array, row: usize| {
        if counts.is_null(row) {
            0
        } else {
            counts.value(row)
        }
    };
    let value = |row: usize| {
        let group = Group {
            count: number(&counts, row) as f64,
            sums: all
                .iter()
                .map(|sum| sum.get(row).unwrap_or_default())
                .collect(),
            is_finite: number(&not_finite, row) == 0,
        };
        if group.is_finite {
            return value_of(function, &group);
        }
        // As many values as the function needs, but nothing can be said of them.
        let needs_two = matches!(function, "var_samp" | "stddev_samp" | "covar_samp");
        (group.count >= if needs_two { 2.0 } else { 1.0 }).then_some(f64::NAN)
    };
    let values: Float64Array = (0..counts.len()).map(value).collect();
    Ok(std::sync::Arc::new(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(values: &[f64]) -> Group {
        let mut sums = vec![Double::default(); 2];
        for &value in values {
            sums[0] = sums[0].plus(Double::of(value));
            sums[1] = sums[1].plus(Double::product(value, value));
        }
        Group {
            count: values.len() as f64,
            sums,
            is_finite: true,
        }
    }

    #[test]
    fn a_variance_far_from_zero_keeps_its_digits() {
        let near: Vec<f64> = [1.0, 2.0, 3.0, 4.0].to_vec();
        let far: Vec<f64> = near.iter().map(|value| value + 1e12).collect();
        assert_eq!(value_of("var_samp", &group(&near)), Some(5.0 / 3.0));
        assert_eq!(value_of("var_samp", &group(&far)), Some(5.0 / 3.0));
    }

    #[test]
    fn equal_values_have_no_variance() {
        for value in [0.1, 1e-30, 1.0 / 3.0, 7e20] {
            assert_eq!(value_of("var_pop", &group(&[value; 7])), Some(0.0));
        }
    }

    #[test]
    fn one_value_has_a_population_variance_only() {
        assert_eq!(value_of("var_pop", &group(&[3.5])), Some(0.0));
        assert_eq!(value_of("var_samp", &group(&[3.5])), None);
        assert_eq!(value_of("var_pop", &group(&[])), None);
    }
}

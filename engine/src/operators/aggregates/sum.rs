//! Sums: of decimals, of floats (compensated). A decimal sum is checked against its precision when it is given, so that
//! only the result can overflow; 128 bits leave room for that, but for sums beyond 1.7 · 10³⁸ units.
//!
//! A float sum is Neumaier's: beside the sum goes the rounding error of every addition, so that taking a value back
//! gives what was there before, to within a few units in the last place. NaN and the infinities would poison the sum
//! for ever; where rows can be taken back they are counted beside it instead.

use arrow::array::{Array, ArrayRef};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use weir_state::Columns;

use super::{Accumulator, Argument, values};

type Outcome = Result<(), (usize, String)>;

fn overflow(row: usize) -> (usize, String) {
    (row, "the sum overflows its type".to_owned())
}

/// All rows of merged columns that are not NULL, as an accumulator's input.
fn merged(values: &ArrayRef) -> Argument {
    let active = values
        .nulls()
        .filter(|nulls: &&NullBuffer| nulls.null_count() > 0)
        .cloned();
    Argument {
        active,
        values: vec![values.clone()],
        rows: values.len(),
    }
}

/// The sum of decimals, unscaled, in 128 bits.
pub(super) struct DecimalSum {
    pub(super) column: usize,
}

/// The sums, checked against their type's precision.
pub(super) fn checked(sums: &ArrayRef, precision: u8) -> Outcome {
    let limit = 10u128.pow(u32::from(precision));
    let unscaled = values::decimals(sums)?;
    match (0..sums.len()).find(|&row| sums.is_valid(row) && unscaled[row].unsigned_abs() >= limit) {
        Some(row) => Err(overflow(row)),
        None => Ok(()),
    }
}

impl DecimalSum {
    #[inline]
    fn step(
        &self,
        state: &mut Columns<'_>,
        row: usize,
        slot: u32,
        value: i128,
        retract: bool,
    ) -> Outcome {
        let sum = if state.is_null(self.column, slot) {
            0
        } else {
            state.i128(self.column, slot)
        };
        let sum = if retract {
            sum.checked_sub(value)
        } else {
            sum.checked_add(value)
        };
        let sum = sum.ok_or_else(|| overflow(row))?;
        state.set_i128(self.column, slot, sum);
        Ok(())
    }
}

impl Accumulator for DecimalSum {
    fn update(
        &self,
        state: &mut Columns<'_>,
        slots: &[u32],
        input: &Argument,
        retracted: Option<&BooleanBuffer>,
    ) -> Outcome {
        let numbers = values::decimals(input.first()?)?;
        input.for_each_active(|row| {
            let retract = retracted.is_some_and(|retracted| retracted.value(row));
            self.step(state, row, slots[row], numbers[row], retract)
        })
    }

    fn merge(&self, state: &mut Columns<'_>, slots: &[u32], values: &[ArrayRef]) -> Outcome {
        self.update(state, slots, &merged(&values[self.column]), None)
    }
}

/// The columns that count what a float sum cannot take back.
#[derive(Clone, Copy)]
pub(super) struct Specials {
    pub(super) nans: usize,
    pub(super) infinities: usize,
    pub(super) negative_infinities: usize,
}

/// The sum of floats.
pub(super) struct FloatSum {
    sum: usize,
    compensation: usize,
    specials: Option<Specials>,
}

impl FloatSum {
    /// `more`: compensation, then NaNs and infinities where rows can be taken back, then perhaps a count.
    pub(super) fn new(sum: usize, more: &[usize]) -> Option<Self> {
        let specials = Self::specials(more);
        Some(Self {
            sum,
            compensation: *more.first()?,
            specials,
        })
    }

    /// The counters among the columns after the sum.
    pub(super) fn specials(more: &[usize]) -> Option<Specials> {
        match *more {
            [_, nans, infinities, negative_infinities, ..] => Some(Specials {
                nans,
                infinities,
                negative_infinities,
            }),
            _ => None,
        }
    }

    #[inline]
    fn step(&self, state: &mut Columns<'_>, slot: u32, value: f64, retract: bool) {
        if !value.is_finite()
            && let Some(specials) = self.specials
        {
            self.count_special(state, slot, specials, value, if retract { -1 } else { 1 });
            return self.touch(state, slot);
        }
        let value = if retract { -value } else { value };
        let (sum, compensation) = self.load(state, slot);
        let total = sum + value;
        let compensation = if !total.is_finite() {
            0.0
        } else if sum.abs() >= value.abs() {
            compensation + ((sum - total) + value)
        } else {
            compensation + ((value - total) + sum)
        };
        state.set_f64(self.sum, slot, total);
        state.set_f64(self.compensation, slot, compensation);
    }

    fn load(&self, state: &Columns<'_>, slot: u32) -> (f64, f64) {
        if state.is_null(self.sum, slot) {
            (0.0, 0.0)
        } else {
            (
                state.f64(self.sum, slot),
                state.f64(self.compensation, slot),
            )
        }
    }

    /// Makes the sum something other than NULL: a value has come.
    fn touch(&self, state: &mut Columns<'_>, slot: u32) {
        if state.is_null(self.sum, slot) {
            state.set_f64(self.sum, slot, 0.0);
            state.set_f64(self.compensation, slot, 0.0);
        }
    }

    fn count_special(
        &self,
        state: &mut Columns<'_>,
        slot: u32,
        specials: Specials,
        value: f64,
        delta: i64,
    ) {
        let column = if value.is_nan() {
            specials.nans
        } else if value > 0.0 {
            specials.infinities
        } else {
            specials.negative_infinities
        };
        let count = if state.is_null(column, slot) {
            0
        } else {
            state.i64(column, slot)
        };
        state.set_i64(column, slot, count + delta);
    }
}

impl Accumulator for FloatSum {
    fn update(
        &self,
        state: &mut Columns<'_>,
        slots: &[u32],
        input: &Argument,
        retracted: Option<&BooleanBuffer>,
    ) -> Outcome {
        let array = values::floats(input.first()?)?;
        let numbers = array.values();
        input.for_each_active(|row| {
            let retract = retracted.is_some_and(|retracted| retracted.value(row));
            self.step(state, slots[row], numbers[row], retract);
            Ok(())
        })
    }

    fn merge(&self, state: &mut Columns<'_>, slots: &[u32], values: &[ArrayRef]) -> Outcome {
        let sums = values::floats(&values[self.sum])?;
        let compensations = values::floats(&values[self.compensation])?;
        for (row, &slot) in slots
            .iter()
            .enumerate()
            .filter(|(row, _)| sums.is_valid(*row))
        {
            self.step(state, slot, sums.value(row), false);
            if sums.value(row).is_finite() {
                self.step(state, slot, compensations.value(row), false);
            }
        }
        if let Some(specials) = self.specials {
            for column in [
                specials.nans,
                specials.infinities,
                specials.negative_infinities,
            ] {
                let counts = values::integers(&values[column])?;
                for (slot, count) in slots.iter().zip(counts.iter()) {
                    let before = if state.is_null(column, *slot) {
                        0
                    } else {
                        state.i64(column, *slot)
                    };
                    state.set_i64(column, *slot, before + count.unwrap_or(0));
                }
            }
        }
        Ok(())
    }
}

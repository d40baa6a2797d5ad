//! Sums of integers: 128 bits wide, so that a sum overflows where its result does, whatever the order of the rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt64Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{DataType as ArrowType, Decimal128Type};
use weir_state::Columns;

use super::{Accumulator, Argument, values};

type Outcome<T> = Result<T, (usize, String)>;

/// The sum of integers.
pub(super) struct WideSum {
    pub(super) column: usize,
}

impl WideSum {
    /// No number of 64-bit values that a job can read overflows 128 bits.
    #[inline]
    fn add(&self, state: &mut Columns<'_>, slot: u32, value: i128) {
        let sum = if state.is_null(self.column, slot) {
            0
        } else {
            state.i128(self.column, slot)
        };
        state.set_i128(self.column, slot, sum.wrapping_add(value));
    }
}

impl Accumulator for WideSum {
    fn update(
        &self,
        state: &mut Columns<'_>,
        slots: &[u32],
        input: &Argument,
        retracted: Option<&BooleanBuffer>,
    ) -> Outcome<()> {
        let argument = input.first()?;
        let is_unsigned = argument.data_type() == &ArrowType::UInt64;
        let array = values::integers(argument)?;
        let numbers = array.values();
        input.for_each_active(|row| {
            let value = if is_unsigned {
                i128::from(numbers[row] as u64)
            } else {
                i128::from(numbers[row])
            };
            let is_retracted = retracted.is_some_and(|retracted| retracted.value(row));
            self.add(state, slots[row], if is_retracted { -value } else { value });
            Ok(())
        })
    }

    fn merge(&self, state: &mut Columns<'_>, slots: &[u32], columns: &[ArrayRef]) -> Outcome<()> {
        let column = &columns[self.column];
        let sums = values::decimals(column)?;
        let nulls: Option<&NullBuffer> = column.nulls();
        for (row, &slot) in slots.iter().enumerate() {
            if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
                self.add(state, slot, sums[row]);
            }
        }
        Ok(())
    }
}

/// The sums as the result's type; NULL where nothing was counted.
pub(super) fn finish(
    sums: &ArrayRef,
    counts: Option<&ArrayRef>,
    result: &ArrowType,
) -> Outcome<ArrayRef> {
    let wide = sums
        .as_primitive_opt::<Decimal128Type>()
        .ok_or_else(|| values::mismatch(sums))?;
    let counts = counts.map(values::integers).transpose()?;
    let is_null = |row: usize| {
        wide.is_null(row)
            || counts
                .as_ref()
                .is_some_and(|counts| counts.is_null(row) || counts.value(row) == 0)
    };
    let overflow = |row: usize| (row, "the sum overflows its type".to_owned());
    if result == &ArrowType::UInt64 {
        let sum = |row: usize| match is_null(row) {
            true => Ok(None),
            false => u64::try_from(wide.value(row))
                .map(Some)
                .map_err(|_| overflow(row)),
        };
        let sums: UInt64Array = (0..wide.len()).map(sum).collect::<Outcome<_>>()?;
        return Ok(Arc::new(sums));
    }
    let sum = |row: usize| match is_null(row) {
        true => Ok(None),
        false => i64::try_from(wide.value(row))
            .map(Some)
            .map_err(|_| overflow(row)),
    };
    let sums: Int64Array = (0..wide.len()).map(sum).collect::<Outcome<_>>()?;
    Ok(Arc::new(sums))
}

//! Counts: of rows, of values, of true values.

use arrow::array::{ArrayRef, AsArray};
use arrow::buffer::BooleanBuffer;
use weir_state::Columns;

use super::{Accumulator, Argument, values};

/// `count(*)`, `count(x)`.
pub(super) struct Count {
    pub(super) column: usize,
}

/// How many values are true.
pub(super) struct CountTrue {
    pub(super) column: usize,
}

/// Adds to a counter; a counter of a new group starts at zero.
#[inline]
fn add(state: &mut Columns<'_>, column: usize, slot: u32, delta: i64) {
    let count = if state.is_null(column, slot) {
        0
    } else {
        state.i64(column, slot)
    };
    state.set_i64(column, slot, count + delta);
}

/// Counts the rows for which `counts` is true. The others add zero, so that no count stays NULL.
#[inline]
fn count_rows(
    state: &mut Columns<'_>,
    column: usize,
    slots: &[u32],
    retracted: Option<&BooleanBuffer>,
    counts: impl Fn(usize) -> bool,
) {
    match retracted {
        None => {
            for (row, &slot) in slots.iter().enumerate() {
                add(state, column, slot, i64::from(counts(row)));
            }
        }
        Some(retracted) => {
            for (row, &slot) in slots.iter().enumerate() {
                let weight = 1 - 2 * i64::from(retracted.value(row));
                add(state, column, slot, weight * i64::from(counts(row)));
            }
        }
    }
}

fn merge_counts(
    state: &mut Columns<'_>,
    column: usize,
    slots: &[u32],
    columns: &[ArrayRef],
) -> Result<(), (usize, String)> {
    let counts = values::integers(&columns[column])?;
    for (slot, count) in slots.iter().zip(counts.iter()) {
        add(state, column, *slot, count.unwrap_or(0));
    }
    Ok(())
}

impl Accumulator for Count {
    fn update(
        &self,
        state: &mut Columns<'_>,
        slots: &[u32],
        input: &Argument,
        retracted: Option<&BooleanBuffer>,
    ) -> Result<(), (usize, String)> {
        match &input.active {
            None => count_rows(state, self.column, slots, retracted, |_| true),
            Some(active) => count_rows(state, self.column, slots, retracted, |row| {
                active.is_valid(row)
            }),
        }
        Ok(())
    }

    fn merge(
        &self,
        state: &mut Columns<'_>,
        slots: &[u32],
        values: &[ArrayRef],
    ) -> Result<(), (usize, String)> {
        merge_counts(state, self.column, slots, values)
    }
}

impl Accumulator for CountTrue {
    fn update(
        &self,
        state: &mut Columns<'_>,
        slots: &[u32],
        input: &Argument,
        retracted: Option<&BooleanBuffer>,
    ) -> Result<(), (usize, String)> {
        let Some(truths) = input
            .values
            .first()
            .and_then(|values| values.as_boolean_opt())
        else {
            // The argument is a bare NULL: no value is true.
            count_rows(state, self.column, slots, retracted, |_| false);
            return Ok(());
        };
        let truths = truths.values();
        count_rows(state, self.column, slots, retracted, |row| {
            truths.value(row) && input.is_active(row)
        });
        Ok(())
    }

    fn merge(
        &self,
        state: &mut Columns<'_>,
        slots: &[u32],
        values: &[ArrayRef],
    ) -> Result<(), (usize, String)> {
        merge_counts(state, self.column, slots, values)
    }
}

//! The least and the greatest value: over input that is never taken back.
//!
//! Floats are ordered totally, NaN above everything, so that neither arrival order nor batch cuts matter.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use weir_state::Columns;
use weir_types::DataType;

use super::values::{self, with_bytes};
use super::{Accumulator, Argument};

type Outcome = Result<(), (usize, String)>;

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// min.
    Least,
    /// max.
    Greatest,
}

/// How state has the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Representation {
    Signed,
    Unsigned,
    Float,
    Decimal,
    Bytes,
}

/// min(x), max(x).
pub(super) struct Extreme {
    column: usize,
    order: Order,
    representation: Representation,
}

impl Extreme {
    /// `None`: values of that type have no order here.
    pub(super) fn new(column: usize, order: Order, data_type: &DataType) -> Option<Self> {
        let representation = match data_type {
            DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32
            | DataType::Date
            | DataType::Time
            | DataType::Timestamp(_)
            | DataType::TimestampLtz(_) => Representation::Signed,
            DataType::UInt64 => Representation::Unsigned,
            DataType::Float32 | DataType::Float64 => Representation::Float,
            DataType::Decimal(precision, _) if *precision <= 38 => Representation::Decimal,
            DataType::String | DataType::Bytes => Representation::Bytes,
            _ => return None,
        };
        Some(Self {
            column,
            order,
            representation,
        })
    }

    /// Whether a value that compares to the kept one like this takes its place.
    #[inline]
    fn wins(&self, ordering: Ordering) -> bool {
        match self.order {
            Order::Least => ordering == Ordering::Less,
            Order::Greatest => ordering == Ordering::Greater,
        }
    }

    fn absorb(&self, state: &mut Columns<'_>, slots: &[u32], input: &Argument) -> Outcome {
        let array = input.first()?;
        let column = self.column;
        match self.representation {
            Representation::Signed | Representation::Unsigned => {
                let array = values::integers(array)?;
                let (numbers, signed) = (
                    array.values(),
                    self.representation == Representation::Signed,
                );
                input.for_each_active(|row| {
                    let (slot, value) = (slots[row], numbers[row]);
                    let kept = state.i64(column, slot);
                    let ordering = if signed {
                        value.cmp(&kept)
                    } else {
                        (value as u64).cmp(&(kept as u64))
                    };
                    if state.is_null(column, slot) || self.wins(ordering) {
                        state.set_i64(column, slot, value);
                    }
                    Ok(())
                })
            }
            Representation::Float => {
                let array = values::floats(array)?;
                let numbers = array.values();
                input.for_each_active(|row| {
                    let (slot, value) = (slots[row], numbers[row]);
                    if state.is_null(column, slot)
                        || self.wins(compare(value, state.f64(column, slot)))
                    {
                        state.set_f64(column, slot, value);
                    }
                    Ok(())
                })
            }
            Representation::Decimal => {
                let numbers = values::decimals(array)?;
                input.for_each_active(|row| {
                    let (slot, value) = (slots[row], numbers[row]);
                    if state.is_null(column, slot)
                        || self.wins(value.cmp(&state.i128(column, slot)))
                    {
                        state.set_i128(column, slot, value);
                    }
                    Ok(())
                })
            }
            Representation::Bytes => with_bytes!(array, |value| input.for_each_active(|row| {
                let (slot, value) = (slots[row], value(row));
                if state.is_null(column, slot) || self.wins(value.cmp(state.bytes(column, slot))) {
                    state.set_bytes(column, slot, value);
                }
                Ok(())
            })),
        }
    }
}

/// A total order: NaN is greatest, whatever its sign.
fn compare(left: f64, right: f64) -> Ordering {
    match (left.is_nan(), right.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => left.total_cmp(&right),
    }
}

impl Accumulator for Extreme {
    fn update(
        &self,
        state: &mut Columns<'_>,
        slots: &[u32],
        input: &Argument,
        retracted: Option<&BooleanBuffer>,
    ) -> Outcome {
        if let Some(row) = retracted.and_then(|retracted| retracted.set_indices().next()) {
            return Err((row, "min and max cannot take a row back".to_owned()));
        }
        if input
            .values
            .iter()
            .any(|values| values.data_type() == &arrow::datatypes::DataType::Null)
        {
            return Ok(());
        }
        self.absorb(state, slots, input)
    }

    fn merge(&self, state: &mut Columns<'_>, slots: &[u32], values: &[ArrayRef]) -> Outcome {
        let values = &values[self.column];
        let active = values
            .nulls()
            .filter(|nulls: &&NullBuffer| nulls.null_count() > 0)
            .cloned();
        self.absorb(
            state,
            slots,
            &Argument {
                active,
                values: vec![values.clone()],
                rows: values.len(),
            },
        )
    }
}

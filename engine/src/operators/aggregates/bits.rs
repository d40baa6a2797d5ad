//! Bits: AND and OR of values that are never taken back, XOR of any.

use arrow::array::{Array, ArrayRef};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use weir_state::Columns;

use super::{Accumulator, Argument, values};

type Outcome = Result<(), (usize, String)>;

/// What two values become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    And,
    Or,
    /// Its own inverse: taking a value back is adding it again.
    Xor,
}

impl Operation {
    /// The operation of `bit_and`, `bit_or`, `bit_xor`.
    pub(super) fn of(function: &str) -> Option<Self> {
        match function {
            "bit_and" => Some(Self::And),
            "bit_or" => Some(Self::Or),
            "bit_xor" => Some(Self::Xor),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn apply(self, a: i64, b: i64) -> i64 {
        match self {
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
        }
    }
}

/// bit_and(x), bit_or(x), bit_xor(x).
pub(super) struct Bits {
    pub(super) column: usize,
    pub(super) operation: Operation,
}

impl Accumulator for Bits {
    fn update(
        &self,
        state: &mut Columns<'_>,
        slots: &[u32],
        input: &Argument,
        retracted: Option<&BooleanBuffer>,
    ) -> Outcome {
        if self.operation != Operation::Xor
            && let Some(row) = retracted.and_then(|retracted| retracted.set_indices().next())
        {
            return Err((row, "bit_and and bit_or cannot take a row back".to_owned()));
        }
        let array = values::integers(input.first()?)?;
        input.for_each_active(|row| {
            let (slot, value) = (slots[row], array.value(row));
            let value = if state.is_null(self.column, slot) {
                value
            } else {
                self.operation.apply(state.i64(self.column, slot), value)
            };
            state.set_i64(self.column, slot, value);
            Ok(())
        })
    }

    fn merge(&self, state: &mut Columns<'_>, slots: &[u32], columns: &[ArrayRef]) -> Outcome {
        let values = &columns[self.column];
        let active = values
            .nulls()
            .filter(|nulls: &&NullBuffer| nulls.null_count() > 0)
            .cloned();
        let input = Argument {
            active,
            values: vec![values.clone()],
            rows: values.len(),
        };
        self.update(state, slots, &input, None)
    }
}

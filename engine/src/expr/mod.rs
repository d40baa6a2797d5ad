//! Expressions at work: the plan's expressions lowered to the library's, and their evaluation with errors in rows.
//!
//! ```text
//!   plan::Expr ─ lower.rs ─▶ CompiledExpr ─ evaluate(batch) ─▶ canonical Arrow array
//!                                │ the batch fails
//!                                ▼
//!                      halves, down to rows that fail alone ─ row_errors.rs ─▶ who, where, why
//! ```
//!
//! # Invariants
//! 1. What a row gives never depends on the rows beside it: only rows that fail *alone* have failed, and AND, OR and
//!    CASE evaluate on a row what that row needs (`physical.rs`).
//! 2. The result has the canonical Arrow type of the expression's SQL type.
//! 3. Nothing is evaluated for a batch without rows.

mod direct;
mod fallible;
pub(crate) mod functions;
mod literal;
mod lower;
mod normal;
mod physical;
mod row_errors;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, new_empty_array, new_null_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType as ArrowType;
use datafusion_common::DataFusionError;
use weir_planner::plan::{Expr, StreamPlan};
use weir_types::{DataType, Diagnostic, Diagnostics, OperatorId, ProcessingTime, Schema};

use self::lower::{Lowered, Lowering, LoweringError};
use self::physical::EpochClock;
use crate::error::RowError;
use crate::{Error, Result};

pub(crate) use self::literal::scalar_array;
pub(crate) use self::row_errors::row_values;

/// What happens to a row on which an expression fails: `SET 'row.error'`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowErrorMode {
    /// The job stops and names the row.
    #[default]
    Fail,
    /// The expression is NULL for that row.
    Null,
    /// The row is left out, and counted.
    Skip,
    /// The same, and it goes to a table of the user's.
    DeadLetter,
}

impl RowErrorMode {
    /// What the plan's settings say.
    ///
    /// # Errors
    /// A value that this version does not know.
    pub fn of_plan(plan: &StreamPlan) -> Result<Self> {
        match plan.settings.get("row.error").map(String::as_str) {
            None | Some("fail") => Ok(Self::Fail),
            Some("null") => Ok(Self::Null),
            Some("skip") => Ok(Self::Skip),
            Some(value) if value.starts_with("dead-letter:") => Ok(Self::DeadLetter),
            Some(other) => Err(Error::Plan(Diagnostics::from(
                Diagnostic::error(
                    "E0201",
                    format!("'row.error' = '{other}' is not possible yet"),
                )
                .help("use 'fail' (the default), 'null' or 'skip'"),
            ))),
        }
    }
}

impl RowErrorMode {
    /// Whether rows that fail are left out.
    pub fn leaves_out(self) -> bool {
        matches!(self, Self::Skip | Self::DeadLetter)
    }
}

/// What an expression gave for a batch.
pub struct Evaluated {
    /// One value a row; NULL where it failed.
    pub values: ArrayRef,
    /// The rows that failed; `None` if none did (always so with [`RowErrorMode::Fail`]).
    pub failed: Option<BooleanBuffer>,
    /// With [`RowErrorMode::DeadLetter`] why each of them failed, with its place in the batch.
    pub errors: Vec<(usize, RowError)>,
}

/// An expression that is ready to run on one worker.
pub struct CompiledExpr {
    root: Lowered,
    arrow_type: ArrowType,
    schema: Schema,
    operator: OperatorId,
    clock: Arc<EpochClock>,
    mode: RowErrorMode,
}

impl CompiledExpr {
    /// Compiles an expression that stops the job where it fails; `schema`: the columns that `Expr::Column` refers to.
    ///
    /// # Errors
    /// The library cannot run it.
    pub fn compile(expr: &Expr, schema: &Schema, operator: &OperatorId) -> Result<Self> {
        Self::compile_with(expr, schema, operator, RowErrorMode::Fail)
    }

    /// Like [`CompiledExpr::compile`], with what is to happen to rows that fail.
    ///
    /// # Errors
    /// The library cannot run it.
    pub fn compile_with(
        expr: &Expr,
        schema: &Schema,
        operator: &OperatorId,
        mode: RowErrorMode,
    ) -> Result<Self> {
        let clock = Arc::new(EpochClock::default());
        let arrow_schema = DataType::arrow_schema(schema);
        let root = Lowering {
            schema: &arrow_schema,
            clock: &clock,
        }
        .lower(expr)
        .map_err(cannot_run)?;
        let (schema, operator) = (schema.clone(), operator.clone());
        Ok(Self {
            root,
            arrow_type: expr.data_type.to_arrow(),
            schema,
            operator,
            clock,
            mode,
        })
    }

    /// The canonical Arrow array of the result, one value a row (NULL where a row failed and the mode lets it).
    ///
    /// # Errors
    /// [`Error::Row`] for the first row that fails alone.
    pub fn evaluate(&self, rows: &RecordBatch, now: ProcessingTime) -> Result<ArrayRef> {
        Ok(self.evaluate_rows(rows, now)?.values)
    }

    /// The result as a filter: NULL is false, and so is a row that failed where the mode lets it.
    ///
    /// # Errors
    /// [`Error::Row`] for the first row that fails alone.
    pub fn evaluate_filter(&self, rows: &RecordBatch, now: ProcessingTime) -> Result<BooleanArray> {
        as_filter(&self.evaluate(rows, now)?)
    }

    /// Values, and which rows failed.
    ///
    /// # Errors
    /// [`Error::Row`] for the first row that fails alone, with [`RowErrorMode::Fail`].
    pub fn evaluate_rows(&self, rows: &RecordBatch, now: ProcessingTime) -> Result<Evaluated> {
        if rows.num_rows() == 0 {
            return Ok(Evaluated {
                values: new_empty_array(&self.arrow_type),
                failed: None,
                errors: Vec::new(),
            });
        }
        self.clock.set(now.0);
        match self.evaluate_batch(rows) {
            Ok(values) => Ok(Evaluated {
                values,
                failed: None,
                errors: Vec::new(),
            }),
            Err(error) => self.separate(rows, error),
        }
    }

    /// What happens to rows that fail.
    pub fn mode(&self) -> RowErrorMode {
        self.mode
    }

    fn evaluate_batch(&self, rows: &RecordBatch) -> Result<ArrayRef, DataFusionError> {
        self.root
            .physical
            .evaluate(rows)?
            .into_array(rows.num_rows())
    }

    /// The batch failed: finds the rows that fail alone, and evaluates the others.
    fn separate(&self, rows: &RecordBatch, error: DataFusionError) -> Result<Evaluated> {
        let mut pieces = Pieces {
            values: Vec::new(),
            failed: vec![false; rows.num_rows()],
            errors: Vec::new(),
        };
        self.separate_piece(rows, 0, error, &mut pieces)?;
        let values: Vec<&dyn Array> = pieces.values.iter().map(|piece| piece.as_ref()).collect();
        let values =
            arrow::compute::concat(&values).map_err(|error| self.internal(&error.to_string()))?;
        let failed = pieces.failed.contains(&true).then(|| pieces.failed.into());
        Ok(Evaluated {
            values,
            failed,
            errors: pieces.errors,
        })
    }

    /// Halves a failing piece until its failing rows stand alone. A piece that succeeds has no row that fails
    /// alone, because a batch evaluates at least what its rows would by themselves.
    fn separate_piece(
        &self,
        rows: &RecordBatch,
        offset: usize,
        error: DataFusionError,
        pieces: &mut Pieces,
    ) -> Result<()> {
        if row_errors::is_internal(&error) {
            return Err(self.refused(rows, error));
        }
        let count = rows.num_rows();
        if count == 1 {
            if matches!(self.mode, RowErrorMode::Fail | RowErrorMode::DeadLetter) {
                let error =
                    row_errors::describe(&self.root, rows, error, &self.schema, &self.operator);
                if self.mode == RowErrorMode::Fail {
                    return Err(Error::Row(Box::new(error)));
                }
                pieces.errors.push((offset, error));
            }
            pieces.failed[offset] = true;
            pieces.values.push(new_null_array(&self.arrow_type, 1));
            return Ok(());
        }
        let half = count / 2;
        for (start, length) in [(0, half), (half, count - half)] {
            let piece = rows.slice(start, length);
            match self.evaluate_batch(&piece) {
                Ok(values) => pieces.values.push(values),
                Err(error) => self.separate_piece(&piece, offset + start, error, pieces)?,
            }
        }
        Ok(())
    }

    /// What a function says of arguments that it does not take, whatever the row: an encoding of no such name.
    fn refused(&self, rows: &RecordBatch, error: DataFusionError) -> Error {
        let asked_for = matches!(
            error.find_root(),
            DataFusionError::Plan(_) | DataFusionError::NotImplemented(_)
        );
        if !asked_for || rows.num_rows() == 0 {
            return self.internal(&error.strip_backtrace());
        }
        let row = rows.slice(0, 1);
        let found = row_errors::describe(&self.root, &row, error, &self.schema, &self.operator);
        cannot_run(LoweringError {
            span: found.span,
            message: found.reason,
        })
    }

    fn internal(&self, message: &str) -> Error {
        Error::Internal {
            operator: self.operator.clone(),
            message: message.to_owned(),
        }
    }
}

struct Pieces {
    values: Vec<ArrayRef>,
    failed: Vec<bool>,
    errors: Vec<(usize, RowError)>,
}

/// NULL is false.
pub(crate) fn as_filter(values: &ArrayRef) -> Result<BooleanArray> {
    Ok(match values.as_boolean_opt() {
        Some(booleans) => match booleans.nulls() {
            Some(nulls) => BooleanArray::new(booleans.values() & nulls.inner(), None),
            None => booleans.clone(),
        },
        // A bare NULL as a condition.
        None => BooleanArray::new(BooleanBuffer::new_unset(values.len()), None),
    })
}

fn cannot_run(error: LoweringError) -> Error {
    let diagnostic =
        Diagnostic::error("E0202", "this expression cannot be run").at(error.span, error.message);
    Error::Plan(Diagnostics::from(diagnostic))
}

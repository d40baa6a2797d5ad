//! Lowering of the plan's expressions to DataFusion's physical expressions, and their evaluation with errors in rows.
#![allow(missing_docs, unused_variables, clippy::todo)]
use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use weir_planner::plan::Expr;
use weir_types::{OperatorId, ProcessingTime, Schema};

use crate::Result;

/// An expression that is ready to run on one worker.
pub struct CompiledExpr { /* … */ }
impl CompiledExpr {
    /// `schema`: the columns that `Expr::Column` refers to.
    pub fn compile(expr: &Expr, schema: &Schema, operator: &OperatorId) -> Result<Self> { todo!() }
    /// The canonical Arrow array of the result, one value a row.
    /// A failing batch is evaluated again row by row: only rows that fail alone have failed (`Error::Row`).
    pub fn evaluate(&self, rows: &RecordBatch, now: ProcessingTime) -> Result<ArrayRef> { todo!() }
    /// The result as a filter: NULL is false.
    pub fn evaluate_filter(&self, rows: &RecordBatch, now: ProcessingTime) -> Result<BooleanArray> { todo!() }
}

//! Functions of the program: what SQL calls like a built-in function, and the program computes.

use std::sync::Arc;

use weir_planner::AggregateSignature;

use super::Session;
use crate::{AggregateFunction, Result};

impl Session {
    /// Registers a scalar function: statements from now on call it like a built-in one. Its code gets a column of each argument,
    /// in the Arrow types of the signature's ([`weir_types::DataType::to_arrow`]), and gives one of as many values.
    ///
    /// A function and its version are one for the whole process; its version goes into plans and fingerprints. An error
    /// that it gives is looked for row by row, and is the row's.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use arrow::array::{ArrayRef, AsArray, Int64Array};
    /// use arrow::datatypes::Int64Type;
    /// use weir_engine::Session;
    /// use weir_planner::ScalarSignature;
    /// use weir_types::DataType;
    ///
    /// let mut session = Session::ephemeral();
    /// let fee = ScalarSignature::new("fee", vec![DataType::Int64], DataType::Int64);
    /// session.register_scalar(fee, |arguments| {
    ///     let prices = arguments[0].as_primitive::<Int64Type>();
    ///     let fees: Int64Array = prices.iter().map(|price| price.map(|price| price / 10)).collect();
    ///     Ok(Arc::new(fees) as ArrayRef)
    /// })?;
    /// let rows = futures::executor::block_on_stream(session.query("SELECT fee(70) AS f")?);
    /// let found = rows.map(|epoch| epoch.map(|epoch| epoch.rows)).next().expect("an epoch")?;
    /// assert_eq!(found.column(0).as_primitive::<Int64Type>().value(0), 7);
    /// # Ok::<(), weir_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// A name that is taken or cannot be called; the same version with other types.
    pub fn register_scalar(
        &mut self,
        function: weir_planner::ScalarSignature,
        code: impl Fn(&[arrow::array::ArrayRef]) -> std::result::Result<arrow::array::ArrayRef, String>
        + Send
        + Sync
        + 'static,
    ) -> Result<()> {
        crate::expr::functions::register(&function, Arc::new(code))?;
        self.program.add_function(function);
        Ok(())
    }

    /// Registers an aggregate function: statements from now on call it like a built-in one, in GROUP BY, over windows and frames, with
    /// DISTINCT and FILTER. What it keeps of a group is a row of declared columns in the state of the job: checkpoints and savepoints
    /// have them.
    ///
    /// A function and its version are one for the whole process; its version goes into plans and fingerprints, so that a job
    /// with another one is judged like an edited query.
    ///
    /// ```
    /// use arrow::array::AsArray;
    /// use arrow::datatypes::Float64Type;
    /// use weir_engine::{AggregateFunction, GroupState, Row, Session, Value};
    /// use weir_planner::AggregateSignature;
    /// use weir_types::{Column, DataType};
    ///
    /// /// The geometric mean: the sum of logarithms, and how many.
    /// struct Geomean;
    ///
    /// impl AggregateFunction for Geomean {
    ///     fn accumulate(&self, state: &mut GroupState<'_, '_>, row: Row<'_>) -> Result<(), String> {
    ///         let Some(value) = row.float(0)? else { return Ok(()) };
    ///         state.set_float(0, state.float(0)?.unwrap_or(0.0) + value.ln())?;
    ///         state.set_int(1, state.int(1)?.unwrap_or(0) + 1)
    ///     }
    ///     fn merge(&self, state: &mut GroupState<'_, '_>, other: Row<'_>) -> Result<(), String> {
    ///         let (Some(logs), Some(count)) = (other.float(0)?, other.int(1)?) else { return Ok(()) };
    ///         state.set_float(0, state.float(0)?.unwrap_or(0.0) + logs)?;
    ///         state.set_int(1, state.int(1)?.unwrap_or(0) + count)
    ///     }
    ///     fn result(&self, state: Row<'_>) -> Result<Value, String> {
    ///         Ok(match (state.float(0)?, state.int(1)?) {
    ///             (Some(logs), Some(count)) if count > 0 => Value::Float((logs / count as f64).exp()),
    ///             _ => Value::Null,
    ///         })
    ///     }
    /// }
    ///
    /// let mut session = Session::ephemeral();
    /// let state = vec![Column::new("logs", DataType::Float64), Column::new("count", DataType::Int64)];
    /// let geomean = AggregateSignature::new("geomean", vec![DataType::Float64], DataType::Float64, state);
    /// session.register_aggregate(geomean, Geomean)?;
    /// let query = session.query("SELECT geomean(x) AS g FROM (VALUES (2), (8)) AS t(x)")?;
    /// let last = futures::executor::block_on_stream(query).last().expect("an epoch")?;
    /// let found = last.rows.column(0).as_primitive::<Float64Type>().value(last.num_rows() - 1);
    /// assert!((found - 4.0).abs() < 1e-9);
    /// # Ok::<(), weir_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// A name that is taken or cannot be called; types or state that it cannot have; the same version with other types or state.
    pub fn register_aggregate(
        &mut self,
        function: AggregateSignature,
        code: impl AggregateFunction + 'static,
    ) -> Result<()> {
        crate::operators::register_aggregate(&function, Arc::new(code))?;
        self.program.add_aggregate(function);
        Ok(())
    }
}

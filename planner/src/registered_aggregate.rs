//! Aggregate functions of a program: what the planner knows of them. The code is the engine's.
//!
//! ```text
//!   Catalog::aggregate_functions ─▶ geomean(DOUBLE) → DOUBLE, version "1", state: logs DOUBLE, count BIGINT
//!   SELECT geomean(price) …      ─▶ plan: the aggregate `geomean@1`, its state among the columns of the group
//!   state tables                 ─▶ geomean@1(price) logs, geomean@1(price) count
//! ```
//!
//! # Invariants
//! 1. A plan says all that state needs: the columns, and whether rows can be taken back. Nobody has to know the function to read a
//!    savepoint.
//! 2. The version is part of the function's name in plans, and so of its columns in state and of fingerprints.

use std::hash::Hash;
use std::sync::Arc;

use arrow::datatypes::DataType as ArrowType;
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use weir_types::{Column, DataType, Diagnostic, Schema};

use crate::plan::RegisteredAggregate;
use crate::registered::check_name;

/// An aggregate function of a program, without its code.
///
/// ```
/// use weir_planner::AggregateSignature;
/// use weir_planner::types::{Column, DataType};
///
/// let state = vec![Column::new("logs", DataType::Float64), Column::new("count", DataType::Int64)];
/// let geomean = AggregateSignature::new("geomean", vec![DataType::Float64], DataType::Float64, state).retracts();
/// assert_eq!(geomean.name_in_plans(), "geomean@1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AggregateSignature {
    name: String,
    version: String,
    parameters: Vec<DataType>,
    returns: DataType,
    state: Schema,
    retracts: bool,
}

impl AggregateSignature {
    /// A function of that name and types, whose state for each group is one row of these columns. Its version is `1`.
    pub fn new(name: &str, parameters: Vec<DataType>, returns: DataType, state: Schema) -> Self {
        Self {
            name: name.to_owned(),
            version: "1".to_owned(),
            parameters,
            returns,
            state,
            retracts: false,
        }
    }

    /// The version of its code: another one is another function with other state.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.version = version.to_owned();
        self
    }

    /// Its code takes rows back. Without this, the values of a group are kept in a table of their own where rows can be taken back,
    /// and the result is made of them anew whenever they change.
    #[must_use]
    pub fn retracts(mut self) -> Self {
        self.retracts = true;
        self
    }

    /// As SQL calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The types of its arguments.
    pub fn parameters(&self) -> &[DataType] {
        &self.parameters
    }

    /// The type of its result.
    pub fn returns(&self) -> &DataType {
        &self.returns
    }

    /// What it keeps of a group.
    pub fn state(&self) -> &[Column] {
        &self.state
    }

    /// Whether its code takes rows back.
    pub fn takes_back(&self) -> bool {
        self.retracts
    }

    /// As plans call it: with its version.
    pub fn name_in_plans(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// What a plan says of it.
    pub fn in_plans(&self) -> RegisteredAggregate {
        RegisteredAggregate {
            state: self.state.clone(),
            retracts: self.retracts,
        }
    }

    /// What is wrong with it.
    ///
    /// # Errors
    /// A name that SQL cannot call without quotes, or that is taken; a version of odd characters; types that its code cannot
    /// get or give; state without columns, or with two of one name.
    pub fn check(&self) -> std::result::Result<(), Diagnostic> {
        check_name(&self.name, &self.version)?;
        let refused = |message: String, help: &str| {
            Err(Diagnostic::error("R0090", message).help(help.to_owned()))
        };
        let of_state = self.state.iter().map(|column| &column.data_type);
        let mut types = self
            .parameters
            .iter()
            .chain([&self.returns])
            .chain(of_state);
        if let Some(odd) = types.find(|data_type| !is_taken(data_type)) {
            return refused(
                format!(
                    "the aggregate function `{}` cannot have a value of type {odd}",
                    self.name
                ),
                "its arguments, state and result are numbers, BOOLEAN, STRING, BYTES, dates and times; BYTES hold anything",
            );
        }
        let mut names: Vec<&str> = self
            .state
            .iter()
            .map(|column| column.name.as_str())
            .collect();
        names.sort_unstable();
        if names.is_empty() || names.windows(2).any(|pair| pair[0] == pair[1]) {
            return refused(
                format!(
                    "the state of the aggregate function `{}` has no columns, or two of one name",
                    self.name
                ),
                "each column of the state has a name of its own: savepoints have it",
            );
        }
        if self.parameters.is_empty() && !self.retracts {
            return refused(
                format!(
                    "the aggregate function `{}` has no arguments and takes no row back",
                    self.name
                ),
                "without arguments there are no values to make the result of anew: declare it `retracts()`",
            );
        }
        Ok(())
    }

    /// A scalar function of the same arguments: by it the library finds out what a call's arguments are cast to.
    pub(crate) fn call(&self) -> ScalarUDF {
        let parameters: Vec<ArrowType> = self.parameters.iter().map(DataType::to_arrow).collect();
        ScalarUDF::new_from_impl(Call {
            name: self.name.clone(),
            signature: match parameters.is_empty() {
                true => Signature::nullary(Volatility::Immutable),
                false => Signature::exact(parameters, Volatility::Immutable),
            },
            returns: self.returns.to_arrow(),
        })
    }
}

/// Checks what a catalog has: each function by itself, and that no two have one name.
pub(crate) fn check_all(
    scalars: &[crate::ScalarSignature],
    aggregates: &[AggregateSignature],
) -> std::result::Result<(), Diagnostic> {
    scalars.iter().try_for_each(crate::ScalarSignature::check)?;
    aggregates.iter().try_for_each(AggregateSignature::check)?;
    let of_scalars = scalars.iter().map(crate::ScalarSignature::name);
    let mut names: Vec<&str> = of_scalars
        .chain(aggregates.iter().map(AggregateSignature::name))
        .collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Diagnostic::error(
            "R0057",
            format!("the program has two functions `{}`", pair[0]),
        )
        .help("a name is one function: scalar, or aggregate")),
    }
}

/// The types that code of a program gets and gives row by row.
fn is_taken(data_type: &DataType) -> bool {
    use DataType as T;
    match data_type {
        T::Null | T::Interval | T::Array(_) | T::Row(_) | T::Map(..) => false,
        T::Decimal(precision, _) => *precision <= 38,
        _ => true,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Call {
    name: String,
    signature: Signature,
    returns: ArrowType,
}

impl ScalarUDFImpl for Call {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[ArrowType]) -> Result<ArrowType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::Execution(format!(
            "{} is an aggregate",
            self.name
        )))
    }
}

/// The aggregate functions of a library, by name.
#[derive(Default)]
pub(crate) struct RegisteredAggregates {
    known: std::collections::HashMap<String, (AggregateSignature, Arc<ScalarUDF>)>,
}

impl RegisteredAggregates {
    pub(crate) fn new(functions: &[AggregateSignature]) -> Self {
        let entry = |function: &AggregateSignature| {
            let call = Arc::new(function.call());
            (function.name().to_owned(), (function.clone(), call))
        };
        Self {
            known: functions.iter().map(entry).collect(),
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<&AggregateSignature> {
        self.known.get(name).map(|(signature, _)| signature)
    }

    pub(crate) fn call(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.known.get(name).map(|(_, call)| Arc::clone(call))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.known.keys().map(String::as_str)
    }
}

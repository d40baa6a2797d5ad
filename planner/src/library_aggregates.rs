//! The library's aggregates, as far as the planner asks them: of which types arguments and result are.
//!
//! ```text
//!   Sum (signature, return type, accumulators …) ─▶ Typed<Sum> (signature, return type)
//! ```
//!
//! The engine has kernels of its own, so no accumulator of the library ever runs. [`Typed`] asks a function by its concrete type and
//! hands over no table of all of its methods: the accumulators, several megabytes of code, stay out of the program.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::function::AccumulatorArgs;
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature};
use datafusion_functions_aggregate::average::Avg;
use datafusion_functions_aggregate::bool_and_or::{BoolAnd, BoolOr};
use datafusion_functions_aggregate::count::Count;
use datafusion_functions_aggregate::min_max::{Max, Min};
use datafusion_functions_aggregate::sum::Sum;

/// Names of functions that need OVER. All of them are planned by us.
const WINDOW_FUNCTIONS: [&str; 11] = [
    "cume_dist",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
];

/// Whether the name is that of a function that needs OVER.
pub(crate) fn is_window_function(name: &str) -> bool {
    WINDOW_FUNCTIONS.contains(&name)
}

/// The aggregates whose types the library knows, by name.
pub(crate) fn typed() -> HashMap<String, Arc<AggregateUDF>> {
    let functions = [
        AggregateUDF::from(Typed(Count::new())),
        AggregateUDF::from(Typed(Sum::new())),
        AggregateUDF::from(Typed(Avg::new())),
        AggregateUDF::from(Typed(Min::new())),
        AggregateUDF::from(Typed(Max::new())),
        AggregateUDF::from(Typed(BoolAnd::default())),
        AggregateUDF::from(Typed(BoolOr::default())),
    ];
    functions
        .into_iter()
        .map(|function| (function.name().to_owned(), Arc::new(function)))
        .collect()
}

/// A function without its accumulators.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Typed<F>(F);

impl<F> AggregateUDFImpl for Typed<F>
where
    F: AggregateUDFImpl + PartialEq + Eq + std::hash::Hash,
{
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.0.return_type(arguments)
    }

    fn is_nullable(&self) -> bool {
        self.0.is_nullable()
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.0.coerce_types(arguments)
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Err(DataFusionError::Internal(format!(
            "{} is computed by the engine",
            self.0.name()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that the library gained, or that Weir does not plan, are no surprise: each is one of ours, or needs OVER.
    #[test]
    fn every_aggregate_and_window_function_of_the_library_has_a_name_here() {
        let ours = |name: &str| {
            crate::binder::aggregate_names::canonical_name(name).is_some()
                || is_window_function(name)
        };
        for function in datafusion_functions_aggregate::all_default_aggregate_functions() {
            assert!(ours(function.name()), "{}", function.name());
            let aliases = function.aliases().iter();
            let missing: Vec<&String> = aliases.filter(|alias| !ours(alias)).collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
        for function in datafusion_functions_window::all_default_window_functions() {
            assert!(ours(function.name()), "{}", function.name());
        }
    }

    #[test]
    fn a_function_without_accumulators_has_the_types_of_the_library() {
        let library = datafusion_functions_aggregate::all_default_aggregate_functions();
        for (name, mine) in typed() {
            let theirs = library
                .iter()
                .find(|function| function.name() == name)
                .unwrap();
            assert_eq!(mine.signature(), theirs.signature(), "{name}");
            assert_eq!(mine.is_nullable(), theirs.is_nullable(), "{name}");
            for argument in [
                DataType::Int64,
                DataType::UInt64,
                DataType::Float64,
                DataType::Boolean,
                DataType::Utf8View,
                DataType::Decimal128(10, 2),
            ] {
                let of = |function: &AggregateUDF| {
                    function.return_type(std::slice::from_ref(&argument)).ok()
                };
                assert_eq!(of(&mine), of(theirs), "{name}({argument})");
            }
        }
    }
}

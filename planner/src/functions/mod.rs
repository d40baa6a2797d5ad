//! Scalar functions of Weir's own, beside those of the library: what users of Flink SQL and PostgreSQL expect and the
//! library has not, or has under another meaning.
//!
//! ```text
//!   IF(a, b, c)       ── rewrite.rs ──▶ CASE WHEN a THEN b ELSE c END      another spelling of something that exists
//!   split_index(…)    ── all()      ──▶ a function                         text.rs, time.rs, calendar.rs, json.rs
//! ```
//!
//! # Invariants
//! 1. A function is a pure function of its arguments: the same on every machine, at any time.
//! 2. A function of ours stands before one of the library of the same name, in the planner and in the engine alike.
//! 3. A row that fails is an error of that row; a NULL among the arguments gives NULL unless the function says otherwise.

mod calendar;
mod intervals;
mod json;
mod pattern;
mod rewrite;
mod text;
mod time;
pub use time::per_second;
mod zone;

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType as ArrowType, IntervalUnit, TimeUnit};
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::by_name::{columns, is_its_name};

pub(crate) use self::rewrite::{is_spelling, rewritten, rewritten_operator};
pub(crate) use self::zone::{Zone, parse_zone};

/// Every scalar function of Weir's own, for the engine to run: a plan calls them by name.
pub fn own_functions() -> Vec<Arc<ScalarUDF>> {
    let groups = [
        text::functions(),
        time::functions(),
        json::functions(),
        zone::functions(),
        intervals::functions(),
    ];
    let functions = groups.into_iter().flatten();
    functions
        .map(|function| Arc::new(ScalarUDF::new_from_impl(function)))
        .collect()
}

/// What an argument has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parameter {
    Text,
    Integer,
    Interval,
    /// DATE, TIMESTAMP or TIMESTAMP_LTZ; a date becomes a timestamp.
    Time,
    /// An instant.
    Instant,
    /// TIMESTAMP without a zone.
    Local,
    Any,
}

/// The type of the result.
#[derive(Clone, Debug)]
enum Returns {
    Fixed(ArrowType),
    /// The type of the argument at that place.
    LikeArgument(usize),
    /// Follows from the types of the arguments.
    From(fn(&[ArrowType]) -> ArrowType),
}

/// Computes the column of results from the columns of arguments.
type Kernel = fn(&[ArrayRef]) -> Result<ArrayRef, String>;

/// One function.
struct Function {
    name: &'static str,
    /// The last `optional` ones may be left out.
    parameters: &'static [Parameter],
    optional: usize,
    /// The last parameter may be repeated.
    variadic: bool,
    returns: Returns,
    kernel: Kernel,
    signature: Signature,
}

impl Function {
    fn new(
        name: &'static str,
        parameters: &'static [Parameter],
        returns: Returns,
        kernel: Kernel,
    ) -> Self {
        Self {
            name,
            parameters,
            optional: 0,
            variadic: false,
            returns,
            kernel,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    fn optional(mut self, optional: usize) -> Self {
        self.optional = optional;
        self
    }

    fn variadic(mut self) -> Self {
        self.variadic = true;
        self
    }

    fn misuse(&self, why: &str) -> DataFusionError {
        DataFusionError::Plan(format!("{} {why}", self.name))
    }
}

is_its_name!(Function);

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[ArrowType]) -> Result<Vec<ArrowType>> {
        let (most, least) = (self.parameters.len(), self.parameters.len() - self.optional);
        if arguments.len() < least || (arguments.len() > most && !self.variadic) {
            let wanted = if self.variadic {
                format!("at least {least}")
            } else if least == most {
                most.to_string()
            } else {
                format!("{least} to {most}")
            };
            return Err(self.misuse(&format!(
                "takes {wanted} arguments, and there are {}",
                arguments.len()
            )));
        }
        arguments
            .iter()
            .enumerate()
            .map(|(i, argument)| {
                let parameter = self.parameters[i.min(most.saturating_sub(1))];
                coerced(parameter, argument).ok_or_else(|| {
                    self.misuse(&format!("cannot take {argument} as argument {}", i + 1))
                })
            })
            .collect()
    }

    fn return_type(&self, arguments: &[ArrowType]) -> Result<ArrowType> {
        Ok(match &self.returns {
            Returns::Fixed(fixed) => fixed.clone(),
            Returns::LikeArgument(place) => arguments[*place].clone(),
            Returns::From(rule) => rule(arguments),
        })
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let result = (self.kernel)(&columns(call)?);
        result
            .map(ColumnarValue::Array)
            .map_err(|why| DataFusionError::Execution(format!("{}: {why}", self.name)))
    }
}

/// The type in which the function takes an argument of that type; `None` if it does not.
fn coerced(parameter: Parameter, argument: &ArrowType) -> Option<ArrowType> {
    use ArrowType as A;
    let micros = A::Timestamp(TimeUnit::Microsecond, None);
    Some(match (parameter, argument) {
        (Parameter::Any, any) => any.clone(),
        (Parameter::Text, A::Utf8 | A::LargeUtf8 | A::Utf8View | A::Null) => A::Utf8View,
        (Parameter::Integer, integer) if integer.is_integer() || *integer == A::Null => A::Int64,
        (Parameter::Interval, A::Interval(_) | A::Null) => A::Interval(IntervalUnit::MonthDayNano),
        (Parameter::Time, A::Timestamp(unit, zone)) => A::Timestamp(*unit, zone.clone()),
        (Parameter::Time | Parameter::Local, A::Date32 | A::Null) => micros,
        (Parameter::Instant, A::Timestamp(unit, Some(zone))) => {
            A::Timestamp(*unit, Some(Arc::clone(zone)))
        }
        (Parameter::Instant, A::Null) => A::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        (Parameter::Local, A::Timestamp(unit, None)) => A::Timestamp(*unit, None),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;

//! Scalar functions of a program: what the planner knows of them. The code is the engine's.
//!
//! ```text
//!   Catalog::scalar_functions ─▶ fee(BIGINT) → BIGINT, version "2"
//!   SELECT fee(price) …       ─▶ plan: the function `fee@2`         explain, canonical texts and fingerprints have it too
//!   engine                    ─▶ runs what was registered as `fee@2`, or refuses the plan at that place
//! ```
//!
//! # Invariants
//! 1. A name in a plan says all: name, version, and whether it is volatile. A new version is another function.
//! 2. A function of the library, or of Weir's own, is never hidden by one of a program.

use std::sync::Arc;

use arrow::datatypes::DataType as ArrowType;
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use weir_types::{DataType, Diagnostic};

use crate::by_name::{columns, is_its_name};

/// Ends the name of a volatile function in a plan.
const VOLATILE: &str = "~volatile";

/// A scalar function of a program, without its code.
///
/// ```
/// use weir_planner::ScalarSignature;
/// use weir_planner::types::DataType;
///
/// let fee = ScalarSignature::new("fee", vec![DataType::Int64], DataType::Int64).version("2");
/// assert_eq!(fee.name_in_plans(), "fee@2");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScalarSignature {
    name: String,
    version: String,
    parameters: Vec<DataType>,
    returns: DataType,
    volatile: bool,
}

impl ScalarSignature {
    /// A function that gives the same for the same arguments, at any time. Its version is `1`.
    pub fn new(name: &str, parameters: Vec<DataType>, returns: DataType) -> Self {
        Self {
            name: name.to_owned(),
            version: "1".to_owned(),
            parameters,
            returns,
            volatile: false,
        }
    }

    /// The version of its code: another one is another function, and what was computed with the one before is judged like an
    /// edited query.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.version = version.to_owned();
        self
    }

    /// It may give another value for the same arguments: it is refused over rows that may be taken back.
    #[must_use]
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
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

    /// As plans call it: with its version.
    pub fn name_in_plans(&self) -> String {
        let end = if self.volatile { VOLATILE } else { "" };
        format!("{}@{}{end}", self.name, self.version)
    }

    /// What is wrong with it.
    ///
    /// # Errors
    /// A name that SQL cannot call without quotes, or that is taken; a version of odd characters.
    pub fn check(&self) -> std::result::Result<(), Diagnostic> {
        check_name(&self.name, &self.version)
    }

    /// The function with its code, for the library that runs expressions.
    pub fn with_code(&self, code: Arc<ScalarCode>) -> ScalarUDF {
        ScalarUDF::new_from_impl(Registered::new(self, Some(code)))
    }

    pub(crate) fn without_code(&self) -> ScalarUDF {
        ScalarUDF::new_from_impl(Registered::new(self, None))
    }
}

/// Whether a function of a program can have that name and version.
pub(crate) fn check_name(name: &str, version: &str) -> std::result::Result<(), Diagnostic> {
    let is_word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let refused = |message: String, help: &str| {
        Err(Diagnostic::error("R0057", message).help(help.to_owned()))
    };
    if !is_word(name) {
        return refused(
            format!("`{name}` cannot be the name of a function"),
            "lower-case letters, digits and underscores",
        );
    }
    if crate::binder::is_built_in(name) {
        return refused(
            format!("there is a function `{name}` already"),
            "give it another name: what SQL means does not change with a program",
        );
    }
    let odd = |c: char| !(c.is_ascii_alphanumeric() || "._-+".contains(c));
    if version.is_empty() || version.contains(odd) {
        return refused(
            format!("`{version}` cannot be the version of a function"),
            "letters, digits, and . _ - +",
        );
    }
    Ok(())
}

/// Whether the function that a plan calls by this name is a program's volatile one.
pub(crate) fn is_volatile_name(name: &str) -> bool {
    name.ends_with(VOLATILE)
}

/// Computes a column of results from columns of arguments, all of one length, in the Arrow types of the signature's.
pub type ScalarCode = dyn Fn(&[arrow::array::ArrayRef]) -> std::result::Result<arrow::array::ArrayRef, String>
    + Send
    + Sync;

struct Registered {
    name: String,
    signature: Signature,
    returns: ArrowType,
    code: Option<Arc<ScalarCode>>,
}

impl Registered {
    fn new(declared: &ScalarSignature, code: Option<Arc<ScalarCode>>) -> Self {
        let volatility = match declared.volatile {
            true => Volatility::Volatile,
            false => Volatility::Immutable,
        };
        let parameters: Vec<ArrowType> =
            declared.parameters.iter().map(DataType::to_arrow).collect();
        Self {
            name: declared.name_in_plans(),
            signature: match parameters.is_empty() {
                true => Signature::nullary(volatility),
                false => Signature::exact(parameters, volatility),
            },
            returns: declared.returns.to_arrow(),
            code,
        }
    }
}

is_its_name!(Registered);

impl ScalarUDFImpl for Registered {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[ArrowType]) -> Result<ArrowType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let failed = |why: String| DataFusionError::Execution(format!("{}: {why}", self.name));
        let Some(code) = &self.code else {
            return Err(failed("the planner has no code of it".to_owned()));
        };
        let rows = call.number_rows;
        let result = code(&columns(call)?).map_err(failed)?;
        if result.len() != rows || *result.data_type() != self.returns {
            return Err(failed(format!(
                "it gave {} values of {} for {rows} rows, and declares {}",
                result.len(),
                result.data_type(),
                self.returns
            )));
        }
        Ok(ColumnarValue::Array(result))
    }
}

//! What every function for the library's engine of expressions has in common: it is its name, and gets columns.

use arrow::array::ArrayRef;
use datafusion_common::Result;
use datafusion_expr::ScalarFunctionArgs;

/// The arguments of a call, each as a column of as many values as there are rows.
pub(crate) fn columns(call: ScalarFunctionArgs) -> Result<Vec<ArrayRef>> {
    let rows = call.number_rows;
    let arguments = call.args.into_iter();
    arguments
        .map(|argument| argument.into_array(rows))
        .collect()
}

/// Two functions of one `name` are one: the library compares and hashes them.
macro_rules! is_its_name {
    ($function:ty) => {
        impl std::fmt::Debug for $function {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.name)
            }
        }

        impl PartialEq for $function {
            fn eq(&self, other: &Self) -> bool {
                self.name == other.name
            }
        }

        impl Eq for $function {}

        impl std::hash::Hash for $function {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.name.hash(state);
            }
        }
    };
}
pub(crate) use is_its_name;

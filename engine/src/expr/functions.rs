//! The scalar functions that a plan may call, found by their canonical name or an alias.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use datafusion_common::config::ConfigOptions;
use datafusion_expr::ScalarUDF;
use weir_planner::{ScalarCode, ScalarSignature};

use crate::sync::lock;

/// Built once for the process: the library makes each function anew whenever it is asked for all of them.
static REGISTRY: LazyLock<HashMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let mut functions = HashMap::new();
    let all = datafusion_functions::all_default_functions()
        .into_iter()
        .chain(datafusion_functions_nested::all_default_nested_functions());
    for function in all {
        for alias in function.aliases() {
            functions
                .entry(alias.clone())
                .or_insert_with(|| Arc::clone(&function));
        }
        functions.insert(function.name().to_owned(), function);
    }
    // Ours stand before those of the library, here as in the planner.
    for function in weir_planner::functions::own_functions() {
        functions.insert(function.name().to_owned(), function);
    }
    functions
});

/// What functions are told of the session: everything is UTC.
static CONFIG: LazyLock<Arc<ConfigOptions>> = LazyLock::new(|| {
    let mut config = ConfigOptions::default();
    config.execution.time_zone = Some("+00:00".to_owned());
    Arc::new(config)
});

/// What programs have registered, by the name in plans: a name and a version are one function for the process.
static OF_PROGRAMS: Mutex<BTreeMap<String, (ScalarSignature, Arc<ScalarUDF>)>> =
    Mutex::new(BTreeMap::new());

/// Takes a function of the program in. One of that name and version that is there already stays: the version says that its code
/// is the same.
pub(crate) fn register(signature: &ScalarSignature, code: Arc<ScalarCode>) -> crate::Result<()> {
    signature
        .check()
        .map_err(|problem| crate::Error::Plan(problem.into()))?;
    let mut known = lock(&OF_PROGRAMS);
    let name = signature.name_in_plans();
    match known.get(&name) {
        Some((other, _)) if other != signature => Err(crate::Error::Job(format!(
            "[R0058] the function `{}` is registered already in this version with other types: give it another version",
            signature.name()
        ))),
        Some(_) => Ok(()),
        None => {
            let function = Arc::new(signature.with_code(code));
            known.insert(name, (signature.clone(), function));
            Ok(())
        }
    }
}

/// The function of that name.
pub(super) fn find(name: &str) -> Option<Arc<ScalarUDF>> {
    let registered = || {
        let known = lock(&OF_PROGRAMS);
        known.get(name).map(|(_, function)| function.clone())
    };
    REGISTRY.get(name).cloned().or_else(registered)
}

/// What to say of a function that is not there.
pub(super) fn missing(name: &str) -> String {
    match name.split_once('@') {
        Some((function, version)) => format!(
            "the program has not registered the function `{function}` in version `{}`: a job that calls it is run by a program that \
             has it (Session::register_scalar)",
            version.trim_end_matches("~volatile")
        ),
        None => format!("there is no function `{name}`"),
    }
}

/// Whether the function compares its arguments with each other.
pub(super) fn compares(name: &str) -> bool {
    matches!(name, "nullif" | "greatest" | "least")
}

/// The session that functions see.
pub(super) fn config() -> Arc<ConfigOptions> {
    Arc::clone(&CONFIG)
}

//! The scalar functions that a plan may call, found by their canonical name or an alias.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion_common::config::ConfigOptions;
use datafusion_expr::ScalarUDF;

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

/// The function of that name.
pub(super) fn find(name: &str) -> Option<Arc<ScalarUDF>> {
    REGISTRY.get(name).cloned()
}

/// Whether the function compares its arguments with each other.
pub(super) fn compares(name: &str) -> bool {
    matches!(name, "nullif" | "greatest" | "least")
}

/// The session that functions see.
pub(super) fn config() -> Arc<ConfigOptions> {
    Arc::clone(&CONFIG)
}

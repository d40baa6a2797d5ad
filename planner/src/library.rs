//! The library of functions: every scalar and aggregate function of DataFusion and of ours, and the binding of *one level* of an
//! expression with it.
//!
//! ```text
//!   a + upper(b)      our binder walks the tree, from the leaves up
//!   ├─ a      ─▶ bound: column 0, INT                   "?0" INT
//!   └─ upper  ─▶ bound: STRING                          "?1" STRING
//!   `?0 + ?1`  ─▶ SqlToRel + type coercion ─▶ DataFusion Expr over "?0", "?1" ─▶ our Expr (convert.rs)
//! ```
//!
//! The library therefore sees one operator or call at a time, over columns whose types are known. What a bigger
//! expression means follows from that alone, every level has its own span, and a mistake is found at the smallest
//! expression that has it.
//!
//! # Invariants
//! 1. Nothing is folded here: the library's `now()` never gets here (it is [`crate::plan::ExprKind::ProcessingTime`]).
//! 2. A literal stays a literal in the level that it is an argument of: several functions look at its value.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::datatypes::{DataType as ArrowType, Field, Schema as ArrowSchema};
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::TreeNode;
use datafusion_common::{DFSchema, DataFusionError, TableReference};
use datafusion_expr::planner::{ContextProvider, ExprPlanner};
use datafusion_expr::{AggregateUDF, Expr, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion_optimizer::analyzer::type_coercion::TypeCoercionRewriter;
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use sqlparser::ast;

use crate::registered::ScalarSignature;
use crate::registered_aggregate::{AggregateSignature, RegisteredAggregates};

thread_local! {
    /// Set while a text is planned that may call functions of a program.
    static CURRENT: Cell<Option<&'static Library>> = const { Cell::new(None) };
}

/// The functions, by name and alias.
pub(crate) struct Library {
    scalars: HashMap<String, Arc<ScalarUDF>>,
    aggregates: HashMap<String, Arc<AggregateUDF>>,
    registered: RegisteredAggregates,
    planners: Vec<Arc<dyn ExprPlanner>>,
    options: ConfigOptions,
}

impl Library {
    /// The library of the text that this thread plans; elsewhere the one without functions of a program.
    pub(crate) fn get() -> &'static Self {
        CURRENT.get().unwrap_or_else(Self::built_in)
    }

    /// The one library of the process without functions of a program.
    pub(crate) fn built_in() -> &'static Self {
        static LIBRARY: OnceLock<Library> = OnceLock::new();
        LIBRARY.get_or_init(|| Self::new(&[], &[]))
    }

    /// Plans with functions of a program beside the others. A library is made once for each set of functions, and kept: a
    /// process has as many as it has registered functions.
    pub(crate) fn with<T>(
        scalars: Vec<ScalarSignature>,
        aggregates: Vec<AggregateSignature>,
        plan: impl FnOnce() -> T,
    ) -> T {
        type Of = (Vec<ScalarSignature>, Vec<AggregateSignature>);
        static KNOWN: Mutex<Vec<(Of, &'static Library)>> = Mutex::new(Vec::new());
        let functions = (scalars, aggregates);
        let library = (functions != Of::default()).then(|| {
            let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
            match known.iter().find(|(of, _)| *of == functions) {
                Some((_, library)) => *library,
                None => {
                    let library: &'static Self =
                        Box::leak(Box::new(Self::new(&functions.0, &functions.1)));
                    known.push((functions, library));
                    library
                }
            }
        });
        /// Puts back what was there, whatever happens.
        struct Before(Option<&'static Library>);
        impl Drop for Before {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _before = Before(CURRENT.replace(library));
        plan()
    }

    fn new(registered: &[ScalarSignature], of_program: &[AggregateSignature]) -> Self {
        let mut scalars = HashMap::new();
        let nested = datafusion_functions_nested::all_default_nested_functions();
        for function in datafusion_functions::all_default_functions()
            .into_iter()
            .chain(nested)
        {
            for alias in function.aliases() {
                scalars.insert(alias.clone(), Arc::clone(&function));
            }
            scalars.insert(function.name().to_owned(), function);
        }
        // It tells the library's release: another one after an upgrade, over the same rows.
        scalars.remove("version");
        // Ours stand before those of the library.
        for function in crate::functions::own_functions() {
            scalars.insert(function.name().to_owned(), function);
        }
        // A level of an expression calls them by their name in SQL, a plan by that with the version.
        for function in registered {
            let known = Arc::new(function.without_code());
            scalars.insert(function.name().to_owned(), known);
        }
        let mut aggregates = crate::library_aggregates::typed();
        // SQL's own spelling of bool_and.
        if let Some(function) = aggregates.get("bool_and").cloned() {
            aggregates.entry("every".to_owned()).or_insert(function);
        }
        let planners: Vec<Arc<dyn ExprPlanner>> = vec![
            Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
            Arc::new(datafusion_functions_nested::planner::NestedFunctionPlanner),
            Arc::new(datafusion_functions_nested::planner::FieldAccessPlanner),
            Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
            Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
            Arc::new(datafusion_functions_aggregate::planner::AggregateFunctionPlanner),
        ];
        Self {
            scalars,
            aggregates,
            registered: RegisteredAggregates::new(of_program),
            planners,
            options: ConfigOptions::default(),
        }
    }

    /// The scalar function of that (folded) name.
    pub(crate) fn scalar(&self, name: &str) -> Option<&Arc<ScalarUDF>> {
        self.scalars.get(name)
    }

    /// The aggregate function of that (folded) name.
    pub(crate) fn aggregate(&self, name: &str) -> Option<&Arc<AggregateUDF>> {
        self.aggregates.get(name)
    }

    /// The aggregate function of the program of that (folded) name.
    pub(crate) fn registered_aggregate(&self, name: &str) -> Option<&AggregateSignature> {
        self.registered.find(name)
    }

    /// Whether the name is that of a function that needs OVER.
    pub(crate) fn is_window_function(&self, name: &str) -> bool {
        crate::library_aggregates::is_window_function(name)
    }

    /// Every name that a call can have, for "did you mean".
    pub(crate) fn function_names(&self) -> impl Iterator<Item = &str> {
        self.scalars
            .keys()
            .chain(self.aggregates.keys())
            .map(String::as_str)
            .chain(self.registered.names())
    }

    /// Binds one level over placeholder columns and makes its implicit casts explicit.
    ///
    /// # Errors
    /// Whatever the library finds wrong: a call's argument types, an operator's operands.
    pub(crate) fn bind_level(
        &self,
        level: ast::Expr,
        placeholders: &[(String, ArrowType, bool)],
    ) -> Result<(Expr, DFSchema), DataFusionError> {
        let fields: Vec<Field> = placeholders
            .iter()
            .map(|(name, kind, nullable)| Field::new(name, kind.clone(), *nullable))
            .collect();
        let schema = DFSchema::try_from(ArrowSchema::new(fields))?;
        let options = ParserOptions::new().with_map_string_types_to_utf8view(true);
        let planner = SqlToRel::new_with_options(self, options);
        let bound = planner.sql_to_expr(level, &schema, &mut PlannerContext::new())?;
        let coerced = bound.rewrite(&mut TypeCoercionRewriter::new(&schema))?.data;
        Ok((coerced, schema))
    }
}

impl ContextProvider for Library {
    fn get_table_source(
        &self,
        name: TableReference,
    ) -> datafusion_common::Result<Arc<dyn TableSource>> {
        // Relations are ours: an expression never names one here.
        Err(DataFusionError::Plan(format!(
            "no table {name} inside an expression"
        )))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let of_program = || self.registered.call(name);
        self.scalars.get(name).cloned().or_else(of_program)
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregates.get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        // Calls with OVER are ours.
        let _ = name;
        None
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<ArrowType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.scalars.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.aggregates.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}

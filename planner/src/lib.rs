//! From SQL text to a [`plan::StreamPlan`]: a library that does no I/O and starts no task.
//!
//! ```text
//!   text ─▶ syntax ─▶ binder ─▶ logical graph ─▶ lower ─▶ StreamPlan ─▶ explain
//!           (AST)     (names,    (all columns)    (columns that move,    (text)
//!                      types)                      state, fingerprints)
//! ```
//!
//! ```
//! use weir_planner::{AnyCatalog, explain, plan};
//!
//! let planned = plan(
//!     "CREATE TABLE bids (item STRING, price BIGINT) WITH ('connector' = 'datagen');
//!      SELECT item, sum(price) AS total FROM bids GROUP BY item;",
//!     &AnyCatalog,
//! )
//! .expect("the text has no mistake");
//! let ids: Vec<&str> = planned.plan.operators.iter().map(|operator| operator.id.as_str()).collect();
//! assert_eq!(ids, ["bids/source", "select/aggregate", "select/project", "select/output"]);
//! assert!(explain(&planned.plan).contains("sum(price)"));
//! ```

mod accumulator;
mod binder;
mod by_name;
mod canonical;
mod catalog;
mod clock;
pub mod codes;
pub mod compare;
mod convert;
mod explain;
mod expr_form;
mod expr_tree;
mod final_rank;
mod fingerprint;
pub mod format;
pub mod functions;
mod identity;
mod infer;
pub mod lexemes;
mod library;
mod library_aggregates;
mod literals;
mod logical;
mod lower;
mod names;
pub mod over;
pub mod plan;
mod ranks;
mod registered;
mod registered_aggregate;
mod retention;
mod row_cast;
pub mod settings;
mod settings_elsewhere;
mod similar;
mod state_schema;
pub mod syntax;
pub mod time_zone;
mod user_functions;
mod validate;
mod view_read;
pub mod zoned_days;

use std::collections::BTreeMap;

use weir_types::{DataType, Diagnostic, Diagnostics, Severity};

pub use accumulator::{AccumulatorLayout, Side, accumulator_layout, is_folded, is_moment};
pub use catalog::{ConnectorSchema, MemoryCatalog};
pub use clock::asks_the_clock;
pub use explain::{explain, explain_with};
pub use registered::{ScalarCode, ScalarSignature};
pub use registered_aggregate::AggregateSignature;
pub use retention::bounds_summary;
pub use settings::Setting;
pub use state_schema::keeps_result;
pub use syntax::{JobCommand, job_commands};
pub use view_read::{VIEW_KEY, WANTED_MAX, Wanted, is_by_key, wanted};

/// The words that plans and catalogs speak of: types, columns, diagnostics.
pub use weir_types as types;

use binder::Binder;

/// What the planner asks about connectors. The engine hands it one that knows them; the default knows none and
/// takes every option.
pub trait Catalog {
    /// Problems with a table's options in that role (names, values); positions by option.
    fn check_table(&self, table: &plan::TableDefinition, role: TableRole) -> Vec<Diagnostic> {
        let _ = (table, role);
        Vec::new()
    }

    /// What reading the table gives.
    fn source_traits(&self, options: &BTreeMap<String, String>) -> SourceTraits {
        let _ = options;
        SourceTraits {
            bounded: true,
            retractions: false,
        }
    }

    /// Whether the table, as a sink, takes retractions.
    fn sink_accepts_retractions(&self, options: &BTreeMap<String, String>) -> bool {
        let _ = options;
        true
    }

    /// Whether the rows of a table can be read again, the same ones in the same order.
    fn source_can_be_read_again(&self, options: &BTreeMap<String, String>) -> bool {
        let _ = options;
        true
    }

    /// Whether reading a table can begin at such a place; `Err`: why not, as the end of a sentence, and what else can be done.
    ///
    /// # Errors
    /// If it cannot.
    fn source_can_start_at(
        &self,
        table: &plan::TableDefinition,
        start: compare::StartAt,
    ) -> Result<(), String> {
        let _ = (table, start);
        Ok(())
    }

    /// Type of a metadata key of the connector, `None` if there is no such key.
    fn metadata_type(&self, options: &BTreeMap<String, String>, key: &str) -> Option<DataType> {
        let _ = (options, key);
        None
    }

    /// The scalar functions of the program, which SQL may call like built-in ones.
    fn scalar_functions(&self) -> Vec<ScalarSignature> {
        Vec::new()
    }

    /// Its aggregate functions.
    fn aggregate_functions(&self) -> Vec<AggregateSignature> {
        Vec::new()
    }
}

/// See [`Catalog::source_traits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceTraits {
    /// The input ends.
    pub bounded: bool,
    /// Rows may be taken back.
    pub retractions: bool,
}

/// What a table is used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableRole {
    /// It is read.
    Source,
    /// It is written.
    Sink,
}

/// A catalog that takes everything.
#[derive(Debug, Default)]
pub struct AnyCatalog;

impl Catalog for AnyCatalog {
    /// As if every connector were the file system: what it follows has no end.
    fn source_traits(&self, options: &BTreeMap<String, String>) -> SourceTraits {
        let follows = options.get("mode").is_some_and(|mode| mode == "continuous");
        SourceTraits {
            bounded: !follows,
            retractions: false,
        }
    }

    fn metadata_type(&self, _options: &BTreeMap<String, String>, key: &str) -> Option<DataType> {
        match key {
            "file" | "origin" => Some(DataType::String),
            "offset" | "line" => Some(DataType::Int64),
            _ => None,
        }
    }
}

/// A planned text: what to run, what to print first, what to warn about.
#[derive(Debug)]
pub struct Planned {
    /// The job: all INSERTs and bare SELECTs of the text. `operators` is empty if there are none.
    pub plan: plan::StreamPlan,
    /// What `EXPLAIN`, `SHOW` and `DESCRIBE` answer, in order.
    pub explains: Vec<String>,
    /// What to look at, though it runs.
    pub warnings: Vec<Diagnostic>,
}

/// What is answered before anything runs.
enum Answer {
    /// The plan below these nodes.
    Plan(Vec<usize>),
    Text(String),
}

/// Plans a text.
///
/// # Errors
/// Every mistake that can be found, each with its place and a way out.
pub fn plan(sql: &str, catalog: &dyn Catalog) -> Result<Planned, Diagnostics> {
    let (scalars, aggregates) = (catalog.scalar_functions(), catalog.aggregate_functions());
    registered_aggregate::check_all(&scalars, &aggregates)?;
    library::Library::with(scalars, aggregates, || plan_text(sql, catalog))
}

fn plan_text(sql: &str, catalog: &dyn Catalog) -> Result<Planned, Diagnostics> {
    let (mut script, unreadable) = syntax::parse_each(sql);
    let mut binder = Binder::new(catalog);
    let mut roots = Vec::new();
    let mut explained = Vec::new();
    for statement in &mut script.statements {
        let problems = binder.functions.expand_statement(statement);
        if !problems.is_empty() {
            binder.diagnostics.extend(problems);
            continue;
        }
        // A failed statement has reported its mistakes; the others still have theirs to tell.
        let Ok(bound) = binder.statement(statement) else {
            continue;
        };
        if let Some(text) = bound.text {
            explained.push(Answer::Text(text));
        } else if bound.explain {
            explained.push(Answer::Plan(bound.roots));
        } else {
            roots.extend(bound.roots);
        }
    }
    let explained_roots = explained.iter().flat_map(|answer| match answer {
        Answer::Plan(roots) => roots.as_slice(),
        Answer::Text(_) => &[],
    });
    let all_roots: Vec<usize> = explained_roots.chain(&roots).copied().collect();
    let problems = ranks::bound(&mut binder.graph, &all_roots);
    binder.diagnostics.extend(problems);
    if time_zone::is_set(&binder.settings) {
        let problems = std::mem::take(&mut binder.unless_utc);
        binder.diagnostics.extend(problems);
    }
    let problems = retention::resolve(&mut binder.graph, &binder.settings, &all_roots);
    binder.diagnostics.extend(problems);
    binder.check_dead_letters();
    binder.check_unused_tables();
    let (mut errors, mut warnings): (Vec<_>, Vec<_>) = std::mem::take(&mut binder.diagnostics)
        .into_iter()
        .partition(|found| found.severity == Severity::Error);
    if !unreadable.0.is_empty() {
        errors.extend(unreadable.0);
        errors.sort_by_key(|error| error.labels.first().map(|label| label.span.start));
    }
    if !errors.is_empty() {
        return Err(Diagnostics(errors.into_iter().chain(warnings).collect()));
    }
    let mut unbounded: Vec<Diagnostic> = Vec::new();
    let mut lowered = |roots: &[usize]| {
        let mut plan = lower::lower(
            &binder.graph,
            roots,
            &binder.tables,
            &binder.settings,
            binder.names.clone(),
        );
        time_zone::apply(&mut plan);
        for warning in retention::bounds(&mut plan, catalog) {
            // What is explained and run is the same operator.
            if unbounded
                .iter()
                .all(|known| known.message != warning.message)
            {
                unbounded.push(warning);
            }
        }
        plan
    };
    let plan = lowered(&roots);
    let mut refused = time_zone::refused_windows(&plan);
    refused.extend(time_zone::refused_joins(&plan));
    if !refused.is_empty() {
        return Err(Diagnostics(refused.into_iter().chain(warnings).collect()));
    }
    let explains = explained
        .iter()
        .map(|answer| match answer {
            Answer::Plan(roots) => explain(&lowered(roots)),
            Answer::Text(text) => text.clone(),
        })
        .collect();
    warnings.extend(unbounded);
    warnings.sort_by_key(|warning| warning.labels.first().map(|label| label.span.start));
    Ok(Planned {
        plan,
        explains,
        warnings,
    })
}

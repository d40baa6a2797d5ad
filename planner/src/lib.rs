//! From SQL text to a [`plan::StreamPlan`]: a library that does no I/O and starts no task.
// INTERFACE (bodies to be written by the binder's implementer).
pub mod codes;
pub mod plan;
pub mod syntax;

use weir_types::{Diagnostic, Diagnostics, Schema};
use std::collections::BTreeMap;

/// What the planner asks about connectors. The engine hands it one that knows them; the default knows none and
/// takes every option.
pub trait Catalog {
    /// Problems with a table's options in that role (names, values); positions by option.
    fn check_table(&self, table: &plan::TableDefinition, role: TableRole) -> Vec<Diagnostic> { let _ = (table, role); Vec::new() }
    /// What reading the table gives.
    fn source_traits(&self, options: &BTreeMap<String, String>) -> SourceTraits { let _ = options; SourceTraits { bounded: true, retractions: false } }
    /// Whether the table, as a sink, takes retractions.
    fn sink_accepts_retractions(&self, options: &BTreeMap<String, String>) -> bool { let _ = options; true }
    /// Type of a metadata key of the connector, `None` if there is no such key.
    fn metadata_type(&self, options: &BTreeMap<String, String>, key: &str) -> Option<weir_types::DataType> { let _ = (options, key); None }
}
/// See [`Catalog::source_traits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceTraits { pub bounded: bool, pub retractions: bool }
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableRole { Source, Sink }

/// A catalog that takes everything.
#[derive(Debug, Default)]
pub struct AnyCatalog;
impl Catalog for AnyCatalog {}

/// A planned text: what to run, what to print first, what to warn about.
pub struct Planned {
    /// The job: all INSERTs and bare SELECTs of the text. `operators` is empty if there are none.
    pub plan: plan::StreamPlan,
    /// `EXPLAIN` statements: their texts, in order.
    pub explains: Vec<String>,
    pub warnings: Vec<Diagnostic>,
}

/// Plans a text.
pub fn plan(sql: &str, catalog: &dyn Catalog) -> Result<Planned, Diagnostics> { let _ = (sql, catalog); todo!() }

/// The plan as a tree (EXPLAIN): for each operator its ID, inputs, changelog mode, key, watermark, state tables.
pub fn explain(plan: &plan::StreamPlan) -> String { let _ = plan; todo!() }

/// Settings (`SET`) with default, form and meaning; the reference page is generated from it.
pub struct Setting { pub key: &'static str, pub default: &'static str, pub help: &'static str }

/// The columns that the accumulators of an aggregate keep, shared by planner (state schema) and engine (execution).
/// Columns that two aggregates share (`count(x)` of avg(x) and count(x)) are kept once.
pub struct AccumulatorLayout {
    /// The value columns of the state table, by canonical name: `count(*)`, `sum(price)`, `count(price)`, `min(price)`.
    pub columns: Schema,
    /// For each aggregate the columns that it uses, in the order that its kernel expects.
    pub of_aggregate: Vec<Vec<usize>>,
    /// The column that counts the group's rows (`count(*)`), kept where the input carries retractions.
    pub rows: Option<usize>,
}
/// See [`AccumulatorLayout`].
pub fn accumulator_layout(aggregates: &[plan::Aggregate], input: &Schema, retractions: bool) -> AccumulatorLayout { let _ = (aggregates, input, retractions); todo!() }

//! Tables of the program: sources and sinks that a Rust program hands to its session.
//!
//! ```text
//!   session.source("t", spec, source) ─▶ CREATE TABLE t … WITH ('connector' = 'program', 'name' = 't')
//!                                         └ planned like any table; opened by name when a job starts
//! ```
//!
//! The planner sees a connector among others; nobody but a session can declare it, because nobody else has the names.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use weir_connectors::{Sink, SinkEnvironment, Source, TableRequest};
use weir_planner::plan::{MATERIALIZED_VIEW, TableDefinition};
use weir_planner::{AggregateSignature, Catalog, ScalarSignature, SourceTraits, TableRole};
use weir_types::{DataType, Diagnostic};

use super::table_rows::RowsTable;
use crate::sync::lock;
use crate::{ConnectorCatalog, Error, Result};

/// The connector of tables that a program hands over.
pub(super) const CONNECTOR: &str = "program";
pub(super) const NAME: &str = "name";
/// Of a materialized view that is read as a table: its name.
pub(super) const VIEW: &str = "view";

/// A source of a program.
pub trait ProgramSource: Send + Sync {
    /// Opens it for one job; the request says which columns are read.
    ///
    /// # Errors
    /// If it cannot be read (again).
    fn open(&self, request: TableRequest) -> weir_connectors::Result<Box<dyn Source>>;

    /// Whether it ends by itself, so that a query over it has final rows.
    fn bounded(&self) -> bool {
        false
    }

    /// Whether rows may be taken back.
    fn retractions(&self) -> bool {
        false
    }
}

/// A sink of a program.
pub trait ProgramSink: Send + Sync {
    /// Opens it for one job.
    ///
    /// # Errors
    /// If it cannot be written.
    fn open(
        &self,
        request: TableRequest,
        environment: &SinkEnvironment,
    ) -> weir_connectors::Result<Box<dyn Sink>>;

    /// Whether it takes rows back; else its query has to be append-only.
    fn accepts_retractions(&self) -> bool {
        true
    }
}

#[derive(Clone)]
enum Entry {
    Source(Arc<dyn ProgramSource>),
    Sink(Arc<dyn ProgramSink>),
}

/// The tables of a program by name; clones are the same. An empty one is what a job has that was started from a file.
#[derive(Clone, Default)]
pub struct ProgramTables {
    entries: Arc<Mutex<BTreeMap<String, Entry>>>,
    functions: Arc<Mutex<Functions>>,
}

#[derive(Default)]
struct Functions {
    scalars: Vec<ScalarSignature>,
    aggregates: Vec<AggregateSignature>,
}

impl std::fmt::Debug for ProgramTables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(lock(&self.entries).keys()).finish()
    }
}

impl ProgramTables {
    pub(super) fn add_source(&self, name: &str, source: Arc<dyn ProgramSource>) {
        lock(&self.entries).insert(name.to_owned(), Entry::Source(source));
    }

    pub(super) fn add_sink(&self, name: &str, sink: Arc<dyn ProgramSink>) {
        lock(&self.entries).insert(name.to_owned(), Entry::Sink(sink));
    }

    pub(super) fn remove(&self, name: &str) {
        lock(&self.entries).remove(name);
    }

    /// A function that statements may call from now on; one of that name is replaced.
    pub(super) fn add_function(&self, function: ScalarSignature) {
        let mut functions = lock(&self.functions);
        functions.forget(function.name());
        functions.scalars.push(function);
    }

    /// An aggregate function, in the same way.
    pub(super) fn add_aggregate(&self, function: AggregateSignature) {
        let mut functions = lock(&self.functions);
        functions.forget(function.name());
        functions.aggregates.push(function);
    }

    /// The same tables, to which others can be added.
    pub(super) fn apart(&self) -> Self {
        Self {
            entries: Arc::new(Mutex::new(lock(&self.entries).clone())),
            functions: self.functions.clone(),
        }
    }

    /// The rows of a materialized view, for one query.
    pub(super) fn add_view(&self, view: &str, rows: RowsTable) {
        let entry = Entry::Source(Arc::new(rows));
        lock(&self.entries).insert(view_key(view), entry);
    }

    fn entry(&self, options: &BTreeMap<String, String>) -> Option<Entry> {
        if is_view(options) {
            return lock(&self.entries)
                .get(&view_key(options.get(VIEW)?))
                .cloned();
        }
        if options.get("connector").map(String::as_str) != Some(CONNECTOR) {
            return None;
        }
        lock(&self.entries).get(options.get(NAME)?).cloned()
    }

    /// The source of a table, if it is a program's.
    pub(crate) fn source(&self, request: &TableRequest) -> Result<Option<Box<dyn Source>>> {
        match self.entry(&request.options) {
            Some(Entry::Source(source)) => Ok(Some(source.open(request.clone())?)),
            Some(Entry::Sink(_)) => Err(Error::Job(format!(
                "[R0015] table `{}` is a sink of the program: it cannot be read",
                request.table
            ))),
            None => Ok(None),
        }
    }

    /// The sink of a table, if it is a program's.
    pub(crate) fn sink(
        &self,
        request: &TableRequest,
        environment: &SinkEnvironment,
    ) -> Result<Option<Box<dyn Sink>>> {
        match self.entry(&request.options) {
            Some(Entry::Sink(sink)) => Ok(Some(sink.open(request.clone(), environment)?)),
            Some(Entry::Source(_)) => Err(Error::Job(format!(
                "[R0015] table `{}` is a source of the program: it cannot be written",
                request.table
            ))),
            None => Ok(None),
        }
    }
}

impl Functions {
    fn forget(&mut self, name: &str) {
        self.scalars.retain(|known| known.name() != name);
        self.aggregates.retain(|known| known.name() != name);
    }
}

/// No table of a program is called like this: its name would be quoted.
fn view_key(view: &str) -> String {
    format!("materialized view {view}")
}

fn is_view(options: &BTreeMap<String, String>) -> bool {
    options.get("connector").map(String::as_str) == Some(MATERIALIZED_VIEW)
}

/// What a session's planner knows: the connectors of this build, and the program's tables.
pub(super) struct SessionCatalog<'a>(pub(super) &'a ProgramTables);

impl Catalog for SessionCatalog<'_> {
    fn check_table(&self, table: &TableDefinition, role: TableRole) -> Vec<Diagnostic> {
        let refuse = |what: &str, help: &str| {
            vec![
                Diagnostic::error(
                    "R0015",
                    format!("table `{}` is {what} of the program", table.name),
                )
                .at(table.span, "declared by the program")
                .help(help),
            ]
        };
        match (self.0.entry(&table.options), role) {
            (Some(Entry::Source(_)), TableRole::Sink) => refuse(
                "a source",
                "the program writes it; INSERT INTO another table",
            ),
            (Some(Entry::Sink(_)), TableRole::Source) => {
                refuse("a sink", "the program reads it; SELECT from another table")
            }
            (Some(_), _) => Vec::new(),
            // Its rows are there when a query over it starts.
            (None, TableRole::Source) if is_view(&table.options) => Vec::new(),
            (None, _) => ConnectorCatalog.check_table(table, role),
        }
    }

    fn source_traits(&self, options: &BTreeMap<String, String>) -> SourceTraits {
        match self.0.entry(options) {
            _ if is_view(options) => SourceTraits {
                bounded: true,
                retractions: false,
            },
            Some(Entry::Source(source)) => SourceTraits {
                bounded: source.bounded(),
                retractions: source.retractions(),
            },
            _ => ConnectorCatalog.source_traits(options),
        }
    }

    fn sink_accepts_retractions(&self, options: &BTreeMap<String, String>) -> bool {
        match self.0.entry(options) {
            Some(Entry::Sink(sink)) => sink.accepts_retractions(),
            _ => ConnectorCatalog.sink_accepts_retractions(options),
        }
    }

    fn metadata_type(&self, options: &BTreeMap<String, String>, key: &str) -> Option<DataType> {
        ConnectorCatalog.metadata_type(options, key)
    }

    fn scalar_functions(&self) -> Vec<ScalarSignature> {
        lock(&self.0.functions).scalars.clone()
    }

    fn aggregate_functions(&self) -> Vec<AggregateSignature> {
        lock(&self.0.functions).aggregates.clone()
    }
}

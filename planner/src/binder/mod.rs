//! From statements to the graph: one SELECT block at a time, in the order of the text.
//!
//! ```text
//!   CREATE TABLE ─▶ table.rs    definition: types, computed columns, watermark
//!   CREATE VIEW  ─▶ view.rs     a named node, bound once
//!   INSERT       ─▶ insert.rs   query ─▶ assignment casts ─▶ Sink
//!   query        ─▶ query.rs    WITH, UNION ALL, blocks; sets.rs: DISTINCT, UNION, INTERSECT, EXCEPT
//!     block      ─▶ select.rs   from.rs, window.rs, subquery.rs ─▶ join.rs (conjuncts) ─▶ group.rs, grouped.rs ─▶ projection
//!     expression ─▶ expr.rs     one level at a time, by the library; column.rs, call.rs, aggregate.rs
//! ```
//!
//! # Invariants
//! 1. Every mistake is reported once: what reads something that failed stays silent ([`Failed`]).
//! 2. IDs of stateful operators are given in the order of the text, whatever is used later.
//! 3. What a block stores follows from the block's text alone; a named node with state is closed ([`Node::shared`]).

mod aggregate;
pub(crate) mod aggregate_names;
mod as_of;
mod call;
mod choices;
pub(crate) mod clock;
mod column;
mod distinct_on;
mod expr;
mod frame;
mod from;
mod group;
mod grouped;
mod grouping;
mod insert;
mod join;
mod levels;
mod lookup;
mod materialized;
mod nested;
mod over;
mod query;
mod rank;
mod registered_call;
pub(crate) mod scope;
mod select;
mod session;
mod sets;
mod statements;
mod subquery;
pub(crate) mod table;
mod temporal;
mod timed;
mod ttl;
mod types;
mod unnest;
mod values;
mod versions;
mod view;
mod window;
mod windowed;

use std::collections::{BTreeMap, BTreeSet};

use datafusion_common::DataFusionError;
use weir_types::{Diagnostic, OperatorId, Schema, Span};

use crate::Catalog;
use crate::codes;
use crate::logical::{Graph, Node, NodeId, NodeKind, Properties};
use crate::names::{Names, Path};
use crate::plan::{Expr, TableDefinition};
use crate::syntax::{Name, Statement};
use crate::user_functions::UserFunctions;

/// Something is wrong and has been reported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed;

/// Binds the statements of a text.
pub(crate) struct Binder<'a> {
    pub(crate) catalog: &'a dyn Catalog,
    pub(crate) graph: Graph,
    pub(crate) tables: BTreeMap<String, TableDefinition>,
    pub(crate) settings: BTreeMap<String, String>,
    /// Where each value stands.
    setting_spans: BTreeMap<String, Span>,
    pub(crate) names: Names,
    /// Errors and warnings, in the order in which they were found.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Where each table and view was declared; a failed one is here too.
    declared: BTreeMap<String, Span>,
    views: BTreeMap<String, Result<Relation, Failed>>,
    scans: BTreeMap<String, Result<NodeId, Failed>>,
    /// Tables that an INSERT writes to.
    written: BTreeSet<String>,
    /// Names of CTEs, derived tables and hinted blocks that were used in a path.
    locals: BTreeSet<(Path, String)>,
    /// Number of INSERTs with state into each target.
    stateful_inserts: BTreeSet<Path>,
    bare_selects: usize,
    /// Functions that the text has declared so far.
    pub(crate) functions: UserFunctions,
    /// Views that were dropped: their IDs are taken.
    dropped_views: BTreeSet<String>,
    /// What is wrong if the text sets another zone than UTC, before or after.
    pub(crate) unless_utc: Vec<Diagnostic>,
}

/// A bound relation: a node, and the names under which its columns are known here.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    pub(crate) node: NodeId,
    /// One for each column of the node.
    pub(crate) columns: Schema,
}

/// What a statement became.
pub(crate) struct Bound {
    /// Nodes that write somewhere.
    pub(crate) roots: Vec<NodeId>,
    /// Whether the text asks for its explanation only.
    pub(crate) explain: bool,
    /// What SHOW or DESCRIBE answers.
    pub(crate) text: Option<String>,
}

impl<'a> Binder<'a> {
    /// A binder that knows no table yet.
    pub(crate) fn new(catalog: &'a dyn Catalog) -> Self {
        Self {
            catalog,
            graph: Graph::default(),
            tables: BTreeMap::new(),
            settings: BTreeMap::new(),
            setting_spans: BTreeMap::new(),
            names: Names::default(),
            diagnostics: Vec::new(),
            declared: BTreeMap::new(),
            views: BTreeMap::new(),
            scans: BTreeMap::new(),
            written: BTreeSet::new(),
            locals: BTreeSet::new(),
            stateful_inserts: BTreeSet::new(),
            bare_selects: 0,
            functions: UserFunctions::default(),
            dropped_views: BTreeSet::new(),
            unless_utc: Vec::new(),
        }
    }

    /// Binds a statement. Its mistakes are in `diagnostics`.
    pub(crate) fn statement(&mut self, statement: &Statement) -> Result<Bound, Failed> {
        let mut bound = Bound {
            roots: Vec::new(),
            explain: false,
            text: None,
        };
        match statement {
            Statement::CreateTable(table)
                if table.if_not_exists && self.declared.contains_key(&table.name.value) => {}
            Statement::CreateTable(table) => match &table.query {
                Some(query) => bound.roots.push(self.create_table_as(table, query)?),
                None => self.create_table(table)?,
            },
            Statement::CreateFunction(function) => {
                let problems = self.functions.declare(function);
                if !problems.is_empty() {
                    self.diagnostics.extend(problems);
                    return Err(Failed);
                }
            }
            Statement::Drop {
                kind,
                name,
                if_exists,
                ..
            } => self.drop_object(*kind, name, *if_exists)?,
            Statement::Show { what, .. } => bound.text = Some(self.show(what)?),
            Statement::Describe { name, .. } => bound.text = Some(self.describe(name)?),
            Statement::Reset { key: Some(key), .. } => {
                self.settings.remove(key);
            }
            Statement::Reset { key: None, .. } => self.settings.clear(),
            Statement::CreateView {
                name,
                if_not_exists: true,
                ..
            } if self.declared.contains_key(&name.value) => {}
            Statement::CreateView {
                name,
                columns,
                query,
                materialized,
                span,
                ..
            } => {
                let kept = self.create_view(name, columns, query, *materialized, *span)?;
                bound.roots.extend(kept);
            }
            Statement::Insert {
                target,
                columns,
                query,
                hint,
                span,
            } => {
                bound
                    .roots
                    .push(self.insert(target, columns, query, hint.as_ref(), *span)?);
            }
            Statement::Select { query, span } => bound.roots.push(self.bare_select(query, *span)?),
            Statement::Set {
                key,
                value,
                value_span,
                ..
            } => {
                self.settings.insert(key.clone(), value.clone());
                self.setting_spans.insert(key.clone(), *value_span);
            }
            Statement::Explain { statement, .. } => {
                bound.roots = self.explained(statement)?;
                bound.explain = true;
            }
            Statement::Unreadable { declares } => {
                if let Some(name) = declares {
                    self.declare(name)?;
                }
                return Err(Failed);
            }
        }
        Ok(bound)
    }

    /// Binds a statement that is only explained: the names that it takes are given back, so that asking changes no ID.
    fn explained(&mut self, statement: &Statement) -> Result<Vec<NodeId>, Failed> {
        let (names, locals) = (self.names.clone(), self.locals.clone());
        let (inserts, selects) = (self.stateful_inserts.clone(), self.bare_selects);
        let bound = self.statement(statement);
        // What declares something stays declared, with its names.
        if !matches!(
            statement,
            Statement::CreateTable(_) | Statement::CreateView { .. }
        ) {
            (self.names, self.locals) = (names, locals);
            (self.stateful_inserts, self.bare_selects) = (inserts, selects);
        }
        bound.map(|bound| bound.roots)
    }

    /// Reports a mistake.
    pub(crate) fn fail<T>(&mut self, diagnostic: Diagnostic) -> Result<T, Failed> {
        self.diagnostics.push(diagnostic);
        Err(Failed)
    }

    /// Takes a name in the namespace of tables and views.
    pub(crate) fn declare(&mut self, name: &Name) -> Result<(), Failed> {
        if let Some(first) = self.declared.get(&name.value) {
            let diagnostic = Diagnostic::error(
                codes::DUPLICATE_NAME,
                format!("`{}` is there already", name.spelling),
            )
            .at(name.span, "the second of that name")
            .at(*first, "the first")
            .help("tables and views share their names: give one of the two another");
            return self.fail(diagnostic);
        }
        if self.dropped_views.contains(&name.value) {
            let message = format!("`{}` was a view of this text before", name.spelling);
            return self.fail(
                Diagnostic::error(codes::DUPLICATE_NAME, message)
                    .at(
                        name.span,
                        "state is found by names, and this one was given away",
                    )
                    .help("use another name, or remove the first view instead of dropping it"),
            );
        }
        self.declared.insert(name.value.clone(), name.span);
        Ok(())
    }

    /// Takes a local name (CTE, derived table, hint) in a node's namespace, and gives its path.
    pub(crate) fn local(&mut self, path: &Path, name: &Name) -> Result<Path, Failed> {
        if !self.locals.insert((path.clone(), name.value.clone())) {
            let diagnostic = Diagnostic::error(
                codes::DUPLICATE_NAME,
                format!("`{}` is there already", name.spelling),
            )
            .at(
                name.span,
                format!("the second of that name within `{}`", path.as_str()),
            )
            .help("CTEs and derived tables of one query share their names: rename one of them");
            return self.fail(diagnostic);
        }
        Ok(path.local(&name.value))
    }

    /// The ID of the next stateful operator of a block; an ordinal in it is worth a warning.
    pub(crate) fn take_id(&mut self, path: &Path, role: &str, span: Span) -> OperatorId {
        let named = self.names.take(path, role);
        if named.ordinal > 1 {
            let warning = Diagnostic::warning(
                codes::ORDINAL_ID,
                format!("the state of `{}` is found by counting", named.id),
            )
            .at(
                span,
                "another operator before it has the same name and role",
            )
            .help("name its block: /*+ ID('name') */ after SELECT, or an alias for the subquery");
            self.diagnostics.push(warning);
        }
        named.id
    }

    /// Adds a step on top of a relation.
    pub(crate) fn add(&mut self, node: Node) -> NodeId {
        self.graph.add(node)
    }

    /// Adds a filter; none for no condition.
    pub(crate) fn filter(&mut self, input: NodeId, predicate: Option<Expr>, path: &Path) -> NodeId {
        let Some(predicate) = predicate else {
            return input;
        };
        let (columns, properties, span) = (
            self.graph.nodes[input].columns.clone(),
            self.graph.nodes[input].properties.clone(),
            predicate.span,
        );
        self.add(Node {
            kind: NodeKind::Filter { predicate },
            inputs: vec![input],
            columns,
            properties,
            path: path.clone(),
            id: None,
            shared: false,
            span,
        })
    }

    /// Adds a projection.
    pub(crate) fn project(
        &mut self,
        input: NodeId,
        exprs: Vec<Expr>,
        columns: Schema,
        path: &Path,
        span: Span,
    ) -> NodeId {
        let properties = self.graph.nodes[input].properties.projected(&exprs);
        let inputs = vec![input];
        let kind = NodeKind::Project { exprs };
        self.add(Node {
            kind,
            inputs,
            columns,
            properties,
            path: path.clone(),
            id: None,
            shared: false,
            span,
        })
    }

    /// The properties of a node.
    pub(crate) fn properties(&self, node: NodeId) -> &Properties {
        &self.graph.nodes[node].properties
    }
}

/// The nearest of the known names, if one is near enough.
pub(crate) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let allowed = 1 + name.chars().count() / 4;
    known
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= allowed
                || (name.len() >= 3
                    && (candidate.starts_with(name) || name.starts_with(candidate))
                    && candidate.len() >= 3)
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// What the library says, in one line and without its prefixes.
pub(crate) fn library_message(error: &DataFusionError) -> String {
    let text = error.find_root().message();
    let line = text.lines().next().unwrap_or_default().trim();
    let line = line.strip_prefix("Error during planning: ").unwrap_or(line);
    let line = line.trim_end_matches('.');
    let mut chars = line.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => "not possible".to_owned(),
    }
}

/// `1 column`, `2 columns`.
/// Whether a call of that (folded) name is an aggregate.
pub(crate) fn is_aggregate(name: &str) -> bool {
    let library = crate::library::Library::get();
    aggregate_names::canonical_name(name).is_some()
        || library.aggregate(name).is_some()
        || library.registered_aggregate(name).is_some()
}

/// Whether a call of that (folded) name means something without a program's functions.
pub(crate) fn is_built_in(name: &str) -> bool {
    let library = crate::library::Library::built_in();
    library.scalar(name).is_some()
        || library.aggregate(name).is_some()
        || library.is_window_function(name)
        || aggregate_names::canonical_name(name).is_some()
        || crate::functions::is_spelling(name)
        || [
            "now",
            "current_timestamp",
            "proctime",
            "localtimestamp",
            "current_date",
            "current_time",
            "localtime",
            "current_watermark",
        ]
        .contains(&name)
}

pub(crate) fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

//! INSERT and bare SELECT: where a job's results go.

use sqlparser::ast;
use weir_types::{Column, DataType, Diagnostic, Scalar, Schema, Span};

use crate::TableRole;
use crate::codes;
use crate::convert::{CastKind, cast_to};
use crate::logical::{Node, NodeId, NodeKind};
use crate::names::Path;
use crate::plan::{Changelog, ColumnOrigin, Expr, ExprKind, TableDefinition};
use crate::state_schema::keeps_result;
use crate::syntax::{Name, span_of};

use super::{Binder, Failed, Relation};

/// Where an INSERT writes.
pub(super) struct Target<'t> {
    pub(super) name: &'t Name,
    pub(super) table: &'t TableDefinition,
    /// The table's columns that are filled, in the order of the query's.
    pub(super) columns: &'t [usize],
    /// Their names, if the INSERT lists them.
    pub(super) names: &'t [Name],
}

impl Binder<'_> {
    /// Binds INSERT INTO.
    pub(crate) fn insert(
        &mut self,
        target: &Name,
        columns: &[Name],
        query: &ast::Query,
        hint: Option<&Name>,
        span: Span,
    ) -> Result<NodeId, Failed> {
        let table = self.insert_target(target);
        let path = Path::global(&target.value);
        let path = match hint {
            Some(hint) => self.local(&path, hint)?,
            None => path,
        };
        let ids_before = self.graph.nodes.len();
        let relation = match (&table, super::values::only_values(query)) {
            (Ok(table), Some(values)) => {
                // What stands there literally is read as a value of the column's type.
                let targets = self.insert_columns(table, columns)?;
                let filled: Vec<Column> = targets
                    .iter()
                    .map(|&column| table.columns[column].column.clone())
                    .collect();
                self.values(values, &path, Some(&filled))
                    .map(|bound| bound.relation)
            }
            _ => self.root_query(query, &path),
        };
        let table = table?;
        let targets = self.insert_columns(&table, columns);
        let (relation, targets) = (relation?, targets?);
        let target = Target {
            name: target,
            table: &table,
            columns: &targets,
            names: columns,
        };
        self.write(&relation, &target, query, &path, ids_before, span)
    }

    /// The sink, and what stands between it and the query. `ids_before`: the number of nodes before the query's.
    pub(super) fn write(
        &mut self,
        relation: &Relation,
        target: &Target<'_>,
        query: &ast::Query,
        path: &Path,
        ids_before: usize,
        span: Span,
    ) -> Result<NodeId, Failed> {
        let Target {
            name,
            table,
            columns,
            names,
        } = *target;
        let input = self.assigned(relation, table, columns, names, query, path)?;
        self.check_retractions(input, table, name, span)?;
        self.check_second_insert(ids_before, path, table, name)?;
        // A second INSERT without state may be counted: there is nothing to find again.
        let id = Some(self.names.take(path, "sink").id);
        let schema = self.graph.nodes[input].columns.clone();
        let properties = self.properties(input).clone();
        let kind = NodeKind::Sink {
            table: table.name.clone(),
        };
        Ok(self.add(Node {
            kind,
            inputs: vec![input],
            columns: schema,
            properties,
            path: path.clone(),
            id,
            shared: true,
            span,
        }))
    }

    /// Binds a bare SELECT.
    pub(crate) fn bare_select(&mut self, query: &ast::Query, span: Span) -> Result<NodeId, Failed> {
        self.bare_selects += 1;
        let name = if self.bare_selects == 1 {
            "select".to_owned()
        } else {
            format!("select_{}", self.bare_selects)
        };
        let path = Path::global(&name);
        let relation = self.root_query(query, &path)?;
        let id = Some(self.names.take(&path, "output").id);
        let names = relation
            .columns
            .iter()
            .map(|column| column.external().to_owned())
            .collect();
        let properties = self.properties(relation.node).clone();
        let (kind, inputs, columns) = (
            NodeKind::Output { names },
            vec![relation.node],
            relation.columns,
        );
        Ok(self.add(Node {
            kind,
            inputs,
            columns,
            properties,
            path,
            id,
            shared: true,
            span,
        }))
    }

    fn insert_target(&mut self, target: &Name) -> Result<TableDefinition, Failed> {
        if let Some(table) = self.tables.get(&target.value).cloned() {
            if table.is_materialized_view() {
                return self.refuse_insert_into_view(target);
            }
            // A second INSERT into it would only repeat what the connector said.
            if self.written.insert(table.name.clone()) {
                self.check_options(&table, TableRole::Sink)?;
            }
            return Ok(table);
        }
        if self.views.contains_key(&target.value) {
            return self.refuse_insert_into_view(target);
        }
        if self.declared.contains_key(&target.value) {
            return Err(Failed);
        }
        self.unknown_table(target)
    }

    /// The table's columns that the INSERT fills, in the order of its list.
    fn insert_columns(
        &mut self,
        table: &TableDefinition,
        names: &[Name],
    ) -> Result<Vec<usize>, Failed> {
        let writable: Vec<usize> = physical(table);
        if writable.is_empty() {
            return self.fail(
                Diagnostic::error(
                    codes::INSERT_COLUMNS,
                    format!("`{}` has no column to write", table.name),
                )
                .at(table.span, "computed and metadata columns alone")
                .help("declare the columns of its records"),
            );
        }
        if names.is_empty() {
            return Ok(writable);
        }
        let (mut columns, mut failed) = (Vec::with_capacity(names.len()), false);
        for name in names {
            let found = table
                .columns
                .iter()
                .position(|column| column.column.name == name.value);
            let problem = match found {
                Some(index) if !writable.contains(&index) => Some(
                    Diagnostic::error(
                        codes::INSERT_COLUMNS,
                        format!("`{}` cannot be written", name.spelling),
                    )
                    .at(name.span, "a computed or metadata column")
                    .help("leave it out"),
                ),
                Some(index) if columns.contains(&index) => Some(
                    Diagnostic::error(
                        codes::INSERT_COLUMNS,
                        format!("`{}` is listed twice", name.spelling),
                    )
                    .at(name.span, "the second time"),
                ),
                Some(index) => {
                    columns.push(index);
                    None
                }
                None => {
                    let known = writable
                        .iter()
                        .map(|&index| table.columns[index].column.name.as_str());
                    let near = super::nearest(&name.value, known).map(str::to_owned);
                    Some(
                        Diagnostic::error(
                            codes::UNKNOWN_COLUMN,
                            format!("no column `{}`", name.spelling),
                        )
                        .at(name.span, format!("`{}` has no such column", table.name))
                        .nearest(near),
                    )
                }
            };
            failed |= problem.is_some();
            self.diagnostics.extend(problem);
        }
        if failed { Err(Failed) } else { Ok(columns) }
    }

    /// The query's columns as the table wants them: in its order, of its types, NULL where nothing is given.
    fn assigned(
        &mut self,
        relation: &Relation,
        table: &TableDefinition,
        targets: &[usize],
        names: &[Name],
        query: &ast::Query,
        path: &Path,
    ) -> Result<NodeId, Failed> {
        let (given, wanted) = (relation.columns.len(), targets.len());
        let span = span_of(query);
        if given != wanted {
            let list: Vec<&str> = targets
                .iter()
                .map(|&index| table.columns[index].column.name.as_str())
                .collect();
            let what = if names.is_empty() {
                format!("`{}` has", table.name)
            } else {
                "the list has".to_owned()
            };
            return self.fail(
                Diagnostic::error(
                    codes::INSERT_COLUMNS,
                    format!("{} for {wanted}", super::counted(given, "column")),
                )
                .at(span, format!("this query gives {given}, {what} {wanted}"))
                .help(format!("the columns to fill are {}", list.join(", ")))
                .help(format!(
                    "name fewer of them to leave the others NULL: INSERT INTO {} (…)",
                    table.name
                )),
            );
        }
        let literals = self.literal_columns(relation);
        let (mut exprs, mut columns, mut failed) = (Vec::new(), Schema::new(), false);
        for index in physical(table) {
            let to = &table.columns[index].column;
            let expr = match targets.iter().position(|&target| target == index) {
                Some(position) => {
                    let from = &relation.columns[position];
                    let place = self.item_span(relation, position, span);
                    let literal = literals[position].as_ref();
                    self.assign(position, from, to, literal, place)
                }
                None if !to.nullable => self.fail(
                    Diagnostic::error(
                        codes::INSERT_COLUMNS,
                        format!("`{}` cannot be NULL", to.name),
                    )
                    .at(span, "the query gives it no value")
                    .help(format!("add {} to the INSERT's columns", to.name)),
                ),
                None => Ok(Expr::literal(Scalar::Null, to.data_type.clone(), span)),
            };
            match expr {
                Ok(expr) => {
                    exprs.push(expr);
                    columns.push(to.clone());
                }
                Err(Failed) => failed = true,
            }
        }
        if failed {
            return Err(Failed);
        }
        Ok(self.project(relation.node, exprs, columns, path, span))
    }

    /// One value into one column.
    fn assign(
        &mut self,
        position: usize,
        from: &Column,
        to: &Column,
        literal: Option<&Expr>,
        span: Span,
    ) -> Result<Expr, Failed> {
        let value = Expr::column(position, from.data_type.clone(), span);
        if assignable(&from.data_type, &to.data_type) {
            return Ok(cast_to(value, to.data_type.clone(), CastKind::Fails, span));
        }
        if let Some(literal) = literal {
            let scope = super::scope::Scope::default();
            let aggregates = super::expr::Aggregates::NotIn("INSERT");
            let mut binder =
                super::expr::ExprBinder::new(&scope, aggregates, &mut self.diagnostics);
            return binder.cast(literal.clone(), to.data_type.clone(), CastKind::Fails, span);
        }
        self.fail(
            Diagnostic::error(
                codes::INSERT_TYPE,
                format!(
                    "{} does not go into `{}`, which is {}",
                    from.data_type, to.name, to.data_type
                ),
            )
            .at(span, format!("`{}` is {}", from.name, from.data_type))
            .help(format!(
                "CAST({} AS {}), where that is meant",
                from.name, to.data_type
            )),
        )
    }

    /// Which columns of the relation are literals: they are assigned by their value.
    fn literal_columns(&self, relation: &Relation) -> Vec<Option<Expr>> {
        let exprs = match &self.graph.nodes[relation.node].kind {
            NodeKind::Project { exprs } => exprs.as_slice(),
            _ => &[],
        };
        let literal = |index: usize| {
            exprs
                .get(index)
                .filter(|expr| matches!(expr.kind, ExprKind::Literal(_)))
                .cloned()
        };
        (0..relation.columns.len()).map(literal).collect()
    }

    /// Where a column of the relation is computed.
    fn item_span(&self, relation: &Relation, position: usize, otherwise: Span) -> Span {
        match &self.graph.nodes[relation.node].kind {
            NodeKind::Project { exprs } => exprs
                .get(position)
                .map(|expr| expr.span)
                .filter(|span| !span.is_empty()),
            _ => None,
        }
        .unwrap_or(otherwise)
    }

    // ------------------------------------------------------------------ what a sink can take

    fn check_retractions(
        &mut self,
        input: NodeId,
        table: &TableDefinition,
        target: &Name,
        span: Span,
    ) -> Result<(), Failed> {
        let updating = self.properties(input).changelog == Changelog::Retractions;
        if !updating || self.catalog.sink_accepts_retractions(&table.options) {
            return Ok(());
        }
        let message = format!(
            "`{}` cannot take rows back, and this query has to",
            target.spelling
        );
        let mut diagnostic = Diagnostic::error(codes::SINK_RETRACTIONS, message).at(
            if target.span.is_empty() {
                span
            } else {
                target.span
            },
            "takes inserted rows only",
        );
        if let Some((place, why)) = self.why_updating(input) {
            diagnostic = diagnostic.at(place, why);
        }
        if table
            .options
            .get("connector")
            .is_some_and(|connector| connector == "filesystem")
        {
            diagnostic = diagnostic
                .help("keep the changes: 'format' = 'changelog-json'")
                .help("or the current result as one file: 'mode' = 'snapshot'");
        }
        self.fail(
            diagnostic.help("or make the result final: group by a window, TUMBLE(…) or HOP(…)"),
        )
    }

    /// The step that makes the rows of a node updating.
    fn why_updating(&self, node: NodeId) -> Option<(Span, &'static str)> {
        let below = self.graph.below(node);
        let first = below
            .iter()
            .map(|&node| &self.graph.nodes[node])
            .find(|node| {
                node.properties.changelog == Changelog::Retractions
                    && node.inputs.iter().all(|&input| {
                        self.graph.nodes[input].properties.changelog == Changelog::AppendOnly
                    })
            });
        first.map(|node| match node.kind {
            NodeKind::Scan { .. } => (node.span, "this table's format carries retractions"),
            _ => (
                node.span,
                "a group's row changes whenever a row of the group comes",
            ),
        })
    }

    /// State is found by names: two stateful INSERTs into one table need one each.
    fn check_second_insert(
        &mut self,
        nodes_before: usize,
        path: &Path,
        table: &TableDefinition,
        target: &Name,
    ) -> Result<(), Failed> {
        let own = &self.graph.nodes[nodes_before..];
        let keeps_state = |node: &Node| {
            node.path == *path
                && matches!(
                    node.kind,
                    NodeKind::Aggregate { .. }
                        | NodeKind::Join { .. }
                        | NodeKind::TimedJoin { .. }
                        | NodeKind::LookupJoin { .. }
                        | NodeKind::Session { .. }
                        | NodeKind::TemporalFilter { .. }
                        | NodeKind::Over { .. }
                )
        };
        let stateful = own.iter().any(keeps_state) || keeps_result(table);
        if stateful && !self.stateful_inserts.insert(path.clone()) {
            return self.fail(
                Diagnostic::error(
                    codes::INSERT_NEEDS_HINT,
                    format!("a second INSERT with state into `{}`", target.spelling),
                )
                .at(target.span, "its state would be found by counting")
                .help("give it a name: INSERT /*+ ID('name') */ INTO …"),
            );
        }
        Ok(())
    }
}

/// The columns that a sink writes.
fn physical(table: &TableDefinition) -> Vec<usize> {
    let is_physical = |&index: &usize| table.columns[index].origin == ColumnOrigin::Physical;
    (0..table.columns.len()).filter(is_physical).collect()
}

/// Whether SQL assigns a value of one type to a column of the other without being asked to: only where nothing that
/// matters can be lost.
pub(super) fn assignable(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    if from == to || *from == T::Null {
        return true;
    }
    // The fields of rows within an array cannot be told by their places.
    if crate::row_cast::renames_within(from, to) {
        return false;
    }
    let integer = |data_type: &DataType| match data_type {
        T::Int8 => Some((8, true)),
        T::Int16 => Some((16, true)),
        T::Int32 => Some((32, true)),
        T::Int64 => Some((64, true)),
        T::UInt8 => Some((8, false)),
        T::UInt16 => Some((16, false)),
        T::UInt32 => Some((32, false)),
        T::UInt64 => Some((64, false)),
        _ => None,
    };
    // Decimal digits that the widest value of an integer type has.
    let digits = |bits: i32| match bits {
        8 => 3,
        16 => 5,
        32 => 10,
        _ => 20,
    };
    match (from, to) {
        (T::Float32, T::Float64) | (T::Decimal(..), T::Float64) => true,
        (T::Decimal(from_p, from_s), T::Decimal(to_p, to_s)) => {
            to_s >= from_s
                && i32::from(*to_p) - i32::from(*to_s) >= i32::from(*from_p) - i32::from(*from_s)
        }
        (T::Timestamp(_), T::Timestamp(_)) | (T::TimestampLtz(_), T::TimestampLtz(_)) => true,
        (T::Date, T::Timestamp(_)) => true,
        (T::Array(from), T::Array(to)) => assignable(from, to),
        (T::Map(from_key, from_value), T::Map(to_key, to_value)) => {
            assignable(from_key, to_key) && assignable(from_value, to_value)
        }
        (T::Row(from), T::Row(to)) => {
            from.len() == to.len()
                && from
                    .iter()
                    .zip(to)
                    .all(|(from, to)| assignable(&from.data_type, &to.data_type))
        }
        _ => match (integer(from), integer(to), to) {
            (Some((from_bits, from_signed)), Some((to_bits, to_signed)), _) => {
                if from_signed == to_signed {
                    from_bits <= to_bits
                } else {
                    to_signed && from_bits < to_bits
                }
            }
            (Some(_), None, T::Float32 | T::Float64) => true,
            (Some((bits, _)), None, T::Decimal(p, s)) => {
                i32::from(*p) - i32::from(*s) >= digits(bits)
            }
            _ => false,
        },
    }
}

//! VALUES, and SELECT without FROM: rows that stand in the text.
//!
//! ```text
//!   VALUES (1, 'a'), (2, 'b')  ─▶ a bounded source of the numbers 0, 1       path/source
//!                                 └▶ CASE row WHEN 0 THEN 1 ELSE 2 END, CASE row WHEN 0 THEN 'a' ELSE 'b' END
//!   SELECT 1                   ─▶ a source of one row, without columns
//! ```
//!
//! The source is a generator like any other, so that the rows are given once: its position is in the checkpoint.

use std::collections::BTreeMap;

use sqlparser::ast;
use weir_types::{Column, DataType, Diagnostic, Scalar, Schema, Span};

use crate::codes;
use crate::convert::{CastKind, cast_to};
use crate::logical::{Node, NodeId, NodeKind, Properties};
use crate::names::Path;
use crate::plan::{
    BinaryOp, Changelog, ColumnOrigin, Expr, ExprKind, TableColumn, TableDefinition,
};
use crate::syntax::span_of;

use super::expr::{Aggregates, ExprBinder};
use super::insert::assignable;
use super::query::{BoundQuery, common_type};
use super::scope::Scope;
use super::{Binder, Failed, Relation};

/// More rows belong into a file.
const ROWS_MAX: usize = 1000;

impl Binder<'_> {
    /// VALUES. `targets`: the columns that an INSERT fills with them, whose types literals take.
    pub(crate) fn values(
        &mut self,
        values: &ast::Values,
        path: &Path,
        targets: Option<&[Column]>,
    ) -> Result<BoundQuery, Failed> {
        let rows: Vec<&Vec<ast::Expr>> = values.rows.iter().map(|row| &row.content).collect();
        let span = values_span(values);
        if rows.len() > ROWS_MAX {
            return self.fail(
                Diagnostic::error(
                    codes::VALUES_FORM,
                    format!("VALUES with {} rows", rows.len()),
                )
                .at(span, format!("at most {ROWS_MAX} can stand in the text"))
                .help("put them into a file, and read it: 'connector' = 'filesystem'"),
            );
        }
        let mut bound = Vec::with_capacity(rows.len());
        let mut failed = false;
        for row in &rows {
            match self.values_row(row, rows[0].len(), targets) {
                Ok(row) => bound.push(row),
                Err(Failed) => failed = true,
            }
        }
        if failed {
            return Err(Failed);
        }
        let (mut exprs, mut columns) = (Vec::new(), Schema::new());
        for place in 0..rows[0].len() {
            let cells: Vec<Expr> = bound.iter().map(|row| row[place].clone()).collect();
            let data_type = self.common_cell_type(&cells, place)?;
            let cells = cells
                .into_iter()
                .map(|cell| {
                    let span = cell.span;
                    cast_to(cell, data_type.clone(), CastKind::Fails, span)
                })
                .collect();
            exprs.push(by_row(cells, span));
            columns.push(Column::new(format!("column{}", place + 1), data_type));
        }
        let source = self.rows_in_text(bound.len(), path, span)?;
        self.check_volatile(source, &exprs)?;
        let is_volatile = exprs.iter().any(|expr| expr.volatile_call().is_some());
        let node = self.project(source, exprs, columns.clone(), path, span);
        self.graph.nodes[node].shared = is_volatile;
        Ok(BoundQuery {
            relation: Relation { node, columns },
            stateful: false,
        })
    }

    fn values_row(
        &mut self,
        row: &[ast::Expr],
        width: usize,
        targets: Option<&[Column]>,
    ) -> Result<Vec<Expr>, Failed> {
        let span = row
            .iter()
            .fold(Span::default(), |all, cell| all.union(span_of(cell)));
        if row.len() != width {
            return self.fail(
                Diagnostic::error(
                    codes::VALUES_FORM,
                    "the rows of VALUES have different widths",
                )
                .at(
                    span,
                    format!(
                        "{} here, {width} in the first row",
                        super::counted(row.len(), "value")
                    ),
                )
                .help("write NULL for what is missing"),
            );
        }
        let scope = Scope::default();
        let mut cells = Vec::with_capacity(row.len());
        let mut failed = false;
        for (place, cell) in row.iter().enumerate() {
            let aggregates = Aggregates::NotIn("VALUES");
            let mut binder = ExprBinder::new(&scope, aggregates, &mut self.diagnostics);
            let target = targets.and_then(|targets| targets.get(place));
            let bound = binder.bind(cell).and_then(|cell| match target {
                // As an INSERT of one literal: it is read as a value of the column's type.
                Some(to)
                    if matches!(cell.kind, ExprKind::Literal(_))
                        && !assignable(&cell.data_type, &to.data_type) =>
                {
                    let span = cell.span;
                    binder.cast(cell, to.data_type.clone(), CastKind::Fails, span)
                }
                _ => Ok(cell),
            });
            match bound {
                Ok(cell) => cells.push(cell),
                Err(Failed) => failed = true,
            }
        }
        if failed { Err(Failed) } else { Ok(cells) }
    }

    /// The type into which all values of a column go.
    fn common_cell_type(&mut self, cells: &[Expr], place: usize) -> Result<DataType, Failed> {
        let mut common = cells[0].data_type.clone();
        for cell in &cells[1..] {
            let Some(wider) = common_type(&common, &cell.data_type) else {
                let message = format!(
                    "column {} of VALUES is {common} and {}",
                    place + 1,
                    cell.data_type
                );
                return self.fail(
                    Diagnostic::error(codes::VALUES_FORM, message)
                        .at(cell.span, format!("{} here", cell.data_type))
                        .help(format!("CAST(… AS {common}), where that is meant")),
                );
            };
            common = wider;
        }
        Ok(common)
    }

    /// One row without a column: what SELECT reads that has no FROM.
    pub(crate) fn one_row(&mut self, path: &Path, span: Span) -> Result<NodeId, Failed> {
        let source = self.rows_in_text(1, path, span)?;
        Ok(self.project(source, Vec::new(), Vec::new(), path, span))
    }

    /// A source of so many rows, numbered from 0.
    fn rows_in_text(&mut self, rows: usize, path: &Path, span: Span) -> Result<NodeId, Failed> {
        let id = self.take_id(path, "source", span);
        // No table that the user declares is called as an operator is; one with quotes would be a duplicate.
        let name = id.to_string();
        if let Some(first) = self.declared.get(&name).copied() {
            return self.fail(
                Diagnostic::error(codes::DUPLICATE_NAME, format!("`{name}` is there already"))
                    .at(first, "the rows of VALUES are called so")
                    .help("give the table another name"),
            );
        }
        self.declared.insert(name.clone(), span);
        let column = Column::new("row", DataType::Int64);
        let options = [
            ("connector", "datagen".to_owned()),
            ("rows", rows.to_string()),
        ];
        let definition = TableDefinition {
            name: name.clone(),
            columns: vec![TableColumn {
                column: column.clone(),
                origin: ColumnOrigin::Physical,
            }],
            watermark: None,
            primary_key: vec![0],
            partitioned_by: Vec::new(),
            options: options.map(|(key, value)| (key.to_owned(), value)).into(),
            option_spans: BTreeMap::new(),
            span,
        };
        self.tables.insert(name.clone(), definition);
        let properties = Properties {
            unique_key: Some(if rows == 1 { Vec::new() } else { vec![0] }),
            ..Properties::of(Changelog::AppendOnly)
        };
        let node = self.add(Node {
            kind: NodeKind::Scan {
                table: name.clone(),
            },
            inputs: Vec::new(),
            columns: vec![column],
            properties,
            path: path.clone(),
            id: Some(id),
            shared: false,
            span,
        });
        self.scans.insert(name, Ok(node));
        Ok(node)
    }
}

/// The value of the row's number: the first for row 0, and so on.
fn by_row(mut cells: Vec<Expr>, span: Span) -> Expr {
    if cells
        .iter()
        .all(|cell| cell.same(&cells[0]) && !cell.is_volatile())
    {
        return cells.swap_remove(0);
    }
    let data_type = cells[0].data_type.clone();
    let otherwise = cells.pop().map(Box::new);
    let branches = cells.into_iter().enumerate().map(|(row, cell)| {
        let number = Expr::literal(Scalar::Int(row as i64), DataType::Int64, span);
        let kind = ExprKind::Binary {
            op: BinaryOp::Eq,
            left: Box::new(Expr::column(0, DataType::Int64, span)),
            right: Box::new(number),
        };
        let condition = Expr {
            kind,
            data_type: DataType::Boolean,
            span,
        };
        (condition, cell)
    });
    Expr {
        kind: ExprKind::Case {
            branches: branches.collect(),
            otherwise,
        },
        data_type,
        span,
    }
}

fn values_span(values: &ast::Values) -> Span {
    let cells = values.rows.iter().flat_map(|row| &row.content);
    cells.fold(Span::default(), |all, cell| all.union(span_of(cell)))
}

/// The VALUES that a query consists of.
pub(super) fn only_values(query: &ast::Query) -> Option<&ast::Values> {
    let plain = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none();
    match &*query.body {
        ast::SetExpr::Values(values) if plain => Some(values),
        _ => None,
    }
}

//! Queries: WITH, UNION ALL and the blocks in them.

use std::collections::BTreeMap;
use std::rc::Rc;

use sqlparser::ast;
use weir_types::{Column, DataType, Diagnostic, Schema, Span};

use crate::codes;
use crate::convert::{CastKind, cast_to};
use crate::logical::{Node, NodeKind, Properties};
use crate::names::Path;
use crate::plan::Expr;
use crate::syntax::{Name, span_of};

use super::{Binder, Failed, Relation};

/// Where a query stands: its path and the CTEs that it can see.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) path: Path,
    ctes: Option<Rc<CteScope>>,
}

/// The CTEs of one WITH and of those around it.
#[derive(Debug)]
struct CteScope {
    ctes: BTreeMap<String, Result<Relation, Failed>>,
    outer: Option<Rc<CteScope>>,
}

/// A union with more steps than this below it is refused: unions of unions of the same view double with each level.
const UNION_STEPS_MAX: u64 = 10_000;

impl Context {
    /// The CTE of that name, the innermost first.
    pub(crate) fn cte(&self, name: &str) -> Option<&Result<Relation, Failed>> {
        let mut scope = self.ctes.as_deref();
        while let Some(current) = scope {
            if let Some(found) = current.ctes.get(name) {
                return Some(found);
            }
            scope = current.outer.as_deref();
        }
        None
    }

    /// Names of all CTEs in sight.
    pub(crate) fn cte_names(&self) -> Vec<String> {
        let (mut names, mut scope) = (Vec::new(), self.ctes.as_deref());
        while let Some(current) = scope {
            names.extend(current.ctes.keys().cloned());
            scope = current.outer.as_deref();
        }
        names
    }

    /// With one more relation in sight.
    pub(crate) fn with_relation(&self, name: String, relation: Relation) -> Self {
        Self {
            path: self.path.clone(),
            ctes: Some(Rc::new(CteScope {
                ctes: BTreeMap::from([(name, Ok(relation))]),
                outer: self.ctes.clone(),
            })),
        }
    }

    /// The same CTEs at another path.
    pub(crate) fn at(&self, path: Path) -> Self {
        Self {
            path,
            ctes: self.ctes.clone(),
        }
    }
}

/// A query's result, and whether a block of it (not of a named node inside) keeps state.
pub(crate) struct BoundQuery {
    pub(crate) relation: Relation,
    pub(crate) stateful: bool,
}

impl Binder<'_> {
    /// Binds the query of a named node. With state it becomes a wall: all of its columns are kept, whoever reads it.
    pub(crate) fn named_query(
        &mut self,
        query: &ast::Query,
        path: &Path,
        outer: Option<&Context>,
    ) -> Result<Relation, Failed> {
        let context = match outer {
            Some(outer) => outer.at(path.clone()),
            None => Context {
                path: path.clone(),
                ctes: None,
            },
        };
        let bound = self.query(query, &context)?;
        if bound.stateful {
            self.graph.nodes[bound.relation.node].shared = true;
        }
        Ok(bound.relation)
    }

    /// Binds the query of a statement that writes: it has one reader, which wants all of its columns.
    pub(crate) fn root_query(
        &mut self,
        query: &ast::Query,
        path: &Path,
    ) -> Result<Relation, Failed> {
        self.query(
            query,
            &Context {
                path: path.clone(),
                ctes: None,
            },
        )
        .map(|bound| bound.relation)
    }

    /// Binds a query.
    pub(crate) fn query(
        &mut self,
        query: &ast::Query,
        context: &Context,
    ) -> Result<BoundQuery, Failed> {
        let mut context = context.clone();
        if let Some(with) = &query.with {
            for cte in &with.cte_tables {
                let name = Name::from_ident(&cte.alias.name);
                let relation = self.cte(cte, &name, &context);
                let ctes = BTreeMap::from([(name.value, relation)]);
                context.ctes = Some(Rc::new(CteScope {
                    ctes,
                    outer: context.ctes.clone(),
                }));
            }
        }
        if let Some(ranked) = self.distinct_on(query)? {
            return self.query(&ranked, &context);
        }
        let Some(tail) = self.tail(query)? else {
            return self.set_expr(&query.body, &context);
        };
        // DISTINCT comes before LIMIT, so that its order is one of its result.
        if let ast::SetExpr::Select(select) = query.body.as_ref()
            && select.distinct.is_none()
        {
            return self.select(select, &context, Some(&tail));
        }
        let BoundQuery { relation, .. } = self.set_expr(&query.body, &context)?;
        let order = self.order_of_result(&tail, &relation.columns)?;
        let limited = self.limited(relation.node, order, &tail, &context.path);
        let node = self.first_columns(limited, &relation.columns, &context.path);
        Ok(BoundQuery {
            relation: Relation {
                node,
                columns: relation.columns,
            },
            stateful: true,
        })
    }

    fn cte(&mut self, cte: &ast::Cte, name: &Name, context: &Context) -> Result<Relation, Failed> {
        let path = self.local(&context.path, name)?;
        let relation = self.named_query(&cte.query, &path, Some(context))?;
        let columns: Vec<Name> = cte
            .alias
            .columns
            .iter()
            .map(|column| Name::from_ident(&column.name))
            .collect();
        self.renamed(relation, &columns)
    }

    pub(super) fn set_expr(
        &mut self,
        body: &ast::SetExpr,
        context: &Context,
    ) -> Result<BoundQuery, Failed> {
        match body {
            ast::SetExpr::Select(select) => self.select(select, context, None),
            ast::SetExpr::Query(query) => self.query(query, context),
            ast::SetExpr::Values(values) => self.values(values, &context.path, None),
            ast::SetExpr::SetOperation {
                op: ast::SetOperator::Union,
                set_quantifier: ast::SetQuantifier::All,
                ..
            } => self.union(body, context),
            ast::SetExpr::SetOperation { .. } => self.set_operation(body, context),
            other => self.fail(
                Diagnostic::error(codes::NOT_YET, "this kind of query is not there yet").at(
                    span_of(other),
                    "only SELECT, VALUES and set operations can be planned",
                ),
            ),
        }
    }

    /// UNION ALL. A chain of them is one operator.
    fn union(&mut self, body: &ast::SetExpr, context: &Context) -> Result<BoundQuery, Failed> {
        let mut branches = Vec::new();
        union_branches(body, &mut branches);
        self.union_of(&branches, context, span_of(body))
    }

    /// All rows of all branches.
    pub(super) fn union_of(
        &mut self,
        branches: &[&ast::SetExpr],
        context: &Context,
        span: Span,
    ) -> Result<BoundQuery, Failed> {
        let bound = self.branches(branches, context)?;
        let stateful = bound.iter().any(|(branch, _)| branch.stateful);
        let columns = self.union_columns(&bound)?;
        let mut inputs = Vec::with_capacity(bound.len());
        for (branch, span) in &bound {
            inputs.push(self.union_input(&branch.relation, &columns, &context.path, *span));
        }
        let branch_properties: Vec<&Properties> =
            inputs.iter().map(|&input| self.properties(input)).collect();
        let mut properties = Properties::united(&branch_properties);
        let mut times = inputs.iter().map(|&input| self.goes_by_clock(input));
        let first = times.next();
        if times.any(|time| Some(time) != first) {
            // The clock of some branches and the event time of others: no watermark speaks of both.
            (properties.event_time, properties.window) = (None, None);
        }
        let node = self.add(Node {
            kind: NodeKind::Union,
            inputs,
            columns: columns.clone(),
            properties,
            path: context.path.clone(),
            id: None,
            shared: false,
            span,
        });
        let steps = self.graph.planned_steps(node);
        if steps > UNION_STEPS_MAX {
            return self.fail(
                Diagnostic::error(codes::TOO_DEEP, "this UNION ALL reads too much too often")
                    .at(span, format!("{steps} steps, and at most {UNION_STEPS_MAX} can be planned"))
                    .help("it reads a relation twice that reads another twice, and so on: each level doubles the plan")
                    .help("aggregate in between: what has state is planned once"),
            );
        }
        Ok(BoundQuery {
            relation: Relation { node, columns },
            stateful,
        })
    }

    /// The columns of a union: names of the first branch, for each position the type that all branches fit into.
    pub(super) fn union_columns(
        &mut self,
        branches: &[(BoundQuery, Span)],
    ) -> Result<Schema, Failed> {
        let Some(((first, first_span), rest)) = branches.split_first() else {
            return Err(Failed);
        };
        let mut columns = first.relation.columns.clone();
        for (branch, span) in rest {
            let (width, expected) = (branch.relation.columns.len(), columns.len());
            if width != expected {
                return self.fail(
                    Diagnostic::error(
                        codes::UNION_MISMATCH,
                        "the branches of this set operation have different widths",
                    )
                    .at(*span, super::counted(width, "column"))
                    .at(*first_span, super::counted(expected, "column"))
                    .help("give every branch the same number of columns; NULL fills a gap"),
                );
            }
            for (i, column) in branch.relation.columns.iter().enumerate() {
                let Some(common) = common_type(&columns[i].data_type, &column.data_type) else {
                    let (name, left, right) =
                        (&columns[i].name, &columns[i].data_type, &column.data_type);
                    let message =
                        format!("column `{name}` of this set operation is {left} and {right}");
                    return self.fail(
                        Diagnostic::error(codes::UNION_MISMATCH, message)
                            .at(*span, format!("{right} here"))
                            .at(*first_span, format!("{left} here"))
                            .help(format!("CAST({} AS {left}) in the second one", column.name)),
                    );
                };
                columns[i].data_type = common;
                columns[i].nullable |= column.nullable;
            }
        }
        Ok(columns)
    }

    /// A branch with the union's types and names.
    pub(super) fn union_input(
        &mut self,
        branch: &Relation,
        columns: &Schema,
        path: &Path,
        span: Span,
    ) -> usize {
        let exprs: Vec<Expr> = branch
            .columns
            .iter()
            .zip(columns)
            .enumerate()
            .map(|(i, (from, to))| {
                let column = Expr::column(i, from.data_type.clone(), span);
                cast_to(column, to.data_type.clone(), CastKind::Fails, span)
            })
            .collect();
        self.project(branch.node, exprs, columns.clone(), path, span)
    }
}

fn union_branches<'q>(body: &'q ast::SetExpr, branches: &mut Vec<&'q ast::SetExpr>) {
    match body {
        ast::SetExpr::SetOperation {
            op: ast::SetOperator::Union,
            set_quantifier: ast::SetQuantifier::All,
            left,
            right,
        } => {
            union_branches(left, branches);
            union_branches(right, branches);
        }
        other => branches.push(other),
    }
}

/// The type into which values of both types go, as the library sees it.
pub(crate) fn common_type(left: &DataType, right: &DataType) -> Option<DataType> {
    if left == right {
        return Some(left.clone());
    }
    if *left == DataType::Null {
        return Some(right.clone());
    }
    if *right == DataType::Null {
        return Some(left.clone());
    }
    // A number next to a string is a mistake more often than a wish.
    if (*left == DataType::String) != (*right == DataType::String) {
        return None;
    }
    let common = datafusion_expr::type_coercion::binary::type_union_resolution(&[
        left.to_arrow(),
        right.to_arrow(),
    ]);
    common.and_then(|arrow| DataType::from_arrow(&arrow))
}

/// A name for an output column that has none: the column's, the function's, or its place.
pub(crate) fn implied_name(expr: &ast::Expr, position: usize) -> Column {
    let named = |name: &Name| super::table::named_column(name, DataType::Null, true);
    match expr {
        // What stands for a subquery has no name of a text.
        ast::Expr::Identifier(ident) if ident.value.starts_with('\u{1}') => {
            Column::new(format!("column{}", position + 1), DataType::Null)
        }
        ast::Expr::Identifier(ident) => named(&Name::from_ident(ident)),
        ast::Expr::CompoundIdentifier(idents) => match idents.last() {
            Some(ident) => named(&Name::from_ident(ident)),
            None => Column::new(format!("column{}", position + 1), DataType::Null),
        },
        ast::Expr::CompoundFieldAccess { root, access_chain } => match access_chain.last() {
            Some(ast::AccessExpr::Dot(ast::Expr::Identifier(ident))) => {
                named(&Name::from_ident(ident))
            }
            _ => implied_name(root, position),
        },
        ast::Expr::Function(call) => {
            Column::new(call.name.to_string().to_ascii_lowercase(), DataType::Null)
        }
        ast::Expr::Cast { expr, .. } | ast::Expr::Nested(expr) => implied_name(expr, position),
        ast::Expr::Case { .. } => Column::new("case", DataType::Null),
        ast::Expr::Extract { .. } => Column::new("extract", DataType::Null),
        _ => Column::new(format!("column{}", position + 1), DataType::Null),
    }
}

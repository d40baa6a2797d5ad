//! Subqueries in other words: which shape one has, and the parts of SQL of which the answers of EXISTS, IN, ANY and ALL are made.
//!
//! What is made here consists of the user's own expressions, with their places, and of glue that has none.

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    self, BinaryOperator, CaseWhen, Expr, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, GroupByExpr, Ident, LimitClause, ObjectName, Query, Select, SelectFlavor,
    SelectItem, SetExpr, TableFactor, TableWithJoins, Value,
};
use sqlparser::tokenizer::Span;

use crate::syntax::Name;

use super::super::is_aggregate;
use super::super::levels::operands_mut;

/// What a subquery gives, as far as its text says.
pub(super) enum Shape {
    /// A row for each row of FROM that WHERE lets pass.
    Rows(Box<Select>),
    /// One row, or none if a HAVING is false: it aggregates without GROUP BY.
    One(Box<Select>),
    /// Anything else: groups, sets, WITH, LIMIT.
    Other,
}

pub(super) fn shape(query: &Query) -> Shape {
    let Some(select) = plain_select(query) else {
        return Shape::Other;
    };
    if has_groups(select) || select.qualify.is_some() || has_window(select) {
        return Shape::Other;
    }
    let mut select = Box::new(select.clone());
    // Whether a row is there, or the same one twice, is all the same here.
    select.distinct = None;
    if select.having.is_some() || items(&select).any(has_aggregate) {
        Shape::One(select)
    } else {
        Shape::Rows(select)
    }
}

/// The only block of a query without WITH, set operations, ORDER BY and LIMIT.
pub(super) fn plain_select(query: &Query) -> Option<&Select> {
    let plain = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none();
    match query.body.as_ref() {
        SetExpr::Select(select)
            if plain && !matches!(select.distinct, Some(ast::Distinct::On(_))) =>
        {
            Some(select)
        }
        _ => None,
    }
}

/// The query as EXISTS sees it: an order says nothing, and neither does a LIMIT of at least one row.
pub(super) fn for_exists(query: &Query) -> Query {
    let mut query = query.clone();
    let at_least_one = match &query.limit_clause {
        None => true,
        Some(LimitClause::LimitOffset {
            limit: Some(Expr::Value(value)),
            offset: None,
            limit_by,
        }) => {
            limit_by.is_empty()
                && matches!(&value.value, Value::Number(digits, _) if digits.parse::<u64>().is_ok_and(|rows| rows > 0))
        }
        Some(_) => false,
    };
    if at_least_one && query.fetch.is_none() {
        (query.order_by, query.limit_clause) = (None, None);
    }
    query
}

pub(super) fn has_groups(select: &Select) -> bool {
    match &select.group_by {
        GroupByExpr::Expressions(exprs, _) => !exprs.is_empty(),
        GroupByExpr::All(_) => true,
    }
}

fn items(select: &Select) -> impl Iterator<Item = &Expr> {
    select.projection.iter().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    })
}

/// The only item of a block.
pub(super) fn only_item(select: &Select) -> Option<&Expr> {
    match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] => Some(expr),
        _ => None,
    }
}

/// Whether a block makes groups; `order` is its ORDER BY.
pub(in super::super) fn is_grouped_block(select: &Select, order: &[ast::OrderByExpr]) -> bool {
    has_groups(select)
        || select.having.is_some()
        || items(select)
            .chain(&select.qualify)
            .chain(order.iter().map(|item| &item.expr))
            .any(has_aggregate)
}

/// Whether an aggregate stands in the expression, subqueries in it aside.
pub(in super::super) fn has_aggregate(expr: &Expr) -> bool {
    fn found(expr: &mut Expr) -> bool {
        matches!(expr, Expr::Function(call) if is_aggregate_call(call))
            || parts_mut(expr).into_iter().any(found)
    }
    found(&mut expr.clone())
}

fn has_window(select: &Select) -> bool {
    fn found(expr: &mut Expr) -> bool {
        matches!(expr, Expr::Function(call) if call.over.is_some())
            || parts_mut(expr).into_iter().any(found)
    }
    items(select).any(|item| found(&mut item.clone()))
}

pub(super) fn is_aggregate_call(call: &ast::Function) -> bool {
    call.over.is_none()
        && matches!(call.name.0.as_slice(), [ast::ObjectNamePart::Identifier(name)]
            if is_aggregate(&Name::from_ident(name).value))
}

/// The expressions right below one, subqueries aside.
pub(super) fn parts_mut(expr: &mut Expr) -> Vec<&mut Expr> {
    let is_quantified = matches!(expr, Expr::AnyOp { right, .. } | Expr::AllOp { right, .. }
        if matches!(right.as_ref(), Expr::Subquery(_)));
    match expr {
        Expr::Nested(inner)
        | Expr::Cast { expr: inner, .. }
        | Expr::InSubquery { expr: inner, .. } => vec![inner],
        Expr::CompoundFieldAccess { root, .. } => vec![root],
        Expr::AtTimeZone { timestamp, .. } => vec![timestamp],
        other => {
            let mut parts = operands_mut(other).unwrap_or_default();
            if is_quantified {
                parts.truncate(1);
            }
            parts
        }
    }
}

// ---------------------------------------------------------------------- glue

pub(super) fn query_of(select: Select) -> Query {
    Query {
        with: None,
        body: Box::new(SetExpr::Select(Box::new(select))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// The name of the column of [`select_from`].
pub(super) const VALUE: &str = "value";

/// `SELECT value FROM relation`.
pub(super) fn select_from(relation: &str) -> Select {
    let factor = TableFactor::Table {
        name: ObjectName::from(vec![Ident::with_quote('"', relation)]),
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    };
    Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: vec![SelectItem::UnnamedExpr(Expr::Identifier(Ident::new(VALUE)))],
        exclude: None,
        into: None,
        from: vec![TableWithJoins {
            relation: factor,
            joins: Vec::new(),
        }],
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    }
}

/// `SELECT item`, from the same rows.
pub(super) fn selecting(mut select: Select, item: Expr) -> Query {
    select.projection = vec![SelectItem::UnnamedExpr(item)];
    query_of(select)
}

/// A call; without arguments `f(*)`.
pub(super) fn call(name: &str, argument: Option<&Expr>) -> Expr {
    let argument = match argument {
        Some(argument) => FunctionArgExpr::Expr(argument.clone()),
        None => FunctionArgExpr::Wildcard,
    };
    Expr::Function(ast::Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![FunctionArg::Unnamed(argument)],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

pub(super) fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::Nested(Box::new(Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }))
}

pub(super) fn not(expr: Expr) -> Expr {
    Expr::Nested(Box::new(Expr::UnaryOp {
        op: ast::UnaryOperator::Not,
        expr: Box::new(Expr::Nested(Box::new(expr))),
    }))
}

pub(super) fn value(value: Value) -> Expr {
    Expr::Value(value.with_span(Span::empty()))
}

pub(super) fn zero() -> Expr {
    value(Value::Number("0".to_owned(), false))
}

pub(super) fn truth(truth: bool) -> Expr {
    value(Value::Boolean(truth))
}

/// `CASE WHEN … THEN … ELSE … END`.
pub(super) fn case(branches: Vec<(Expr, Expr)>, otherwise: Expr) -> Expr {
    let conditions = branches
        .into_iter()
        .map(|(condition, result)| CaseWhen { condition, result });
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: conditions.collect(),
        else_result: Some(Box::new(otherwise)),
    }
}

//! `SELECT DISTINCT ON (k) … ORDER BY k, x`: the first row of each key, as a ranking.
//!
//! ```text
//!   SELECT DISTINCT ON (k) k, v FROM t ORDER BY k, x DESC
//!     ─▶ SELECT k, v FROM t QUALIFY row_number() OVER (PARTITION BY k ORDER BY x DESC) = 1
//! ```
//!
//! ORDER BY names the keys first, as in PostgreSQL, and then what says which row is the first one: without that the row would
//! be anybody's guess, and it is an error. With a LIMIT the order is that of the result as well.

use sqlparser::ast::{
    self, BinaryOperator, Distinct, Expr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, OrderByExpr, OrderByKind, Query, SelectItem, SetExpr, Value, WindowSpec,
    WindowType,
};
use sqlparser::tokenizer::Span;
use weir_types::Diagnostic;

use crate::codes;
use crate::syntax::{Name, span_of};

use super::{Binder, Failed};

impl Binder<'_> {
    /// The query as a ranking, if it is a DISTINCT ON.
    pub(super) fn distinct_on(&mut self, query: &Query) -> Result<Option<Query>, Failed> {
        let SetExpr::Select(select) = query.body.as_ref() else {
            return Ok(None);
        };
        let Some(Distinct::On(keys)) = &select.distinct else {
            return Ok(None);
        };
        let items = &select.projection;
        let keys: Vec<Expr> = keys.iter().map(|key| target(key, items)).collect();
        let order = match query.order_by.as_ref().map(|order| &order.kind) {
            Some(OrderByKind::Expressions(order)) => order.as_slice(),
            _ => &[],
        };
        let leading = order
            .iter()
            .take_while(|item| keys.contains(&target(&item.expr, items)))
            .count();
        let (first, rest) = order.split_at(leading);
        let is_named = |key: &Expr| first.iter().any(|item| target(&item.expr, items) == *key);
        let problem = if !keys.iter().all(is_named) && !order.is_empty() {
            Some("ORDER BY begins with something else than the keys")
        } else if rest.is_empty() {
            Some("nothing says which row of each key is the first")
        } else if select.qualify.is_some() {
            Some("QUALIFY would rank the same rows")
        } else {
            None
        };
        if let Some(problem) = problem {
            let span = keys.iter().map(span_of).reduce(|all, key| all.union(key));
            return self.fail(
                Diagnostic::error(codes::DISTINCT, "this DISTINCT ON does not say which rows stay")
                    .at(span.unwrap_or_else(|| span_of(query)), problem)
                    .help("name the keys first, then the order: SELECT DISTINCT ON (k) … ORDER BY k, x DESC")
                    .help("or rank the rows: QUALIFY row_number() OVER (PARTITION BY k ORDER BY x DESC) = 1"),
            );
        }
        let order = rest.iter().map(|item| OrderByExpr {
            expr: target(&item.expr, items),
            ..item.clone()
        });
        let mut select = select.clone();
        select.distinct = None;
        select.qualify = Some(is_first(keys, order.collect()));
        let is_limited = query.limit_clause.is_some() || query.fetch.is_some();
        Ok(Some(Query {
            // Its CTEs are in sight already.
            with: None,
            body: Box::new(SetExpr::Select(select)),
            order_by: query.order_by.clone().filter(|_| is_limited),
            ..query.clone()
        }))
    }
}

/// What a key or an item of ORDER BY stands for: a place in the SELECT list, the name of an item, or itself.
fn target(expr: &Expr, items: &[SelectItem]) -> Expr {
    let found = match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => {
                let place = digits.parse::<usize>().ok();
                place.and_then(|place| match items.get(place.checked_sub(1)?)? {
                    SelectItem::UnnamedExpr(item)
                    | SelectItem::ExprWithAlias { expr: item, .. } => Some(item),
                    _ => None,
                })
            }
            _ => None,
        },
        Expr::Identifier(ident) => items.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias }
                if Name::from_ident(alias).value == Name::from_ident(ident).value =>
            {
                Some(expr)
            }
            _ => None,
        }),
        _ => None,
    };
    found.unwrap_or(expr).clone()
}

/// `row_number() OVER (PARTITION BY … ORDER BY …) = 1`
fn is_first(partition_by: Vec<Expr>, order_by: Vec<OrderByExpr>) -> Expr {
    let number = Expr::Function(ast::Function {
        name: ObjectName::from(vec![Ident::new("row_number")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: Vec::new(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: Some(WindowType::WindowSpec(WindowSpec {
            window_name: None,
            partition_by,
            order_by,
            window_frame: None,
        })),
        within_group: Vec::new(),
    });
    let one = Value::Number("1".to_owned(), false).with_span(Span::empty());
    Expr::BinaryOp {
        left: Box::new(number),
        op: BinaryOperator::Eq,
        right: Box::new(Expr::Value(one)),
    }
}

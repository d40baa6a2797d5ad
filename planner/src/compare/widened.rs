//! Source columns whose type was widened, where that changes no value of any result.
//!
//! ```text
//!   old   orders.price:INT      ─┐  the same column, if every release of the query does nothing with it that hangs on
//!   new   orders.price:BIGINT   ─┘  its type: it is a key, is compared, is counted, summed up, or passed on
//! ```
//!
//! What is computed of a column may hang on its type: `price << 40` is something else of a wider number. So a column counts as
//! widened only if both plans use it as it is, in comparisons, and in aggregates that give the same of any integer.
//! And every value that is stored was held exactly: with `row.error` or `on.error` other than `fail`, a value that did not fit was
//! left out, or was NULL, and is not any more.

use std::collections::BTreeMap;

use weir_types::DataType;

use super::trace::{Trace, renamed, source_column};
use crate::plan::{
    Aggregate, BinaryOp, ColumnOrigin, Expr, ExprKind, OperatorKind, StreamPlan, TableDefinition,
};

/// Identities of columns by what they are called where their type is wider: old ─▶ new.
pub(super) type Widened = BTreeMap<String, String>;

/// Aggregates that give the same of any integer type.
const ANY_INTEGER: [&str; 5] = ["count", "sum", "avg", "min", "max"];

/// The columns that were widened and nothing else.
pub(super) fn widened(
    old: &StreamPlan,
    new: &StreamPlan,
    renames: &BTreeMap<String, String>,
) -> Widened {
    let candidates = candidates(old, new, renames);
    if candidates.is_empty() || !fails(old) || !fails(new) {
        return Widened::new();
    }
    let (none, nothing) = (BTreeMap::new(), Widened::new());
    let old = Trace::of(old, renames, &nothing);
    let new = Trace::of(new, &none, &nothing);
    let alone = |(before, after): &(String, String)| {
        hangs_on_no_type(&old, before) && hangs_on_no_type(&new, after)
    };
    candidates.into_iter().filter(alone).collect()
}

/// Whether a value that fits no type ends the job.
fn fails(plan: &StreamPlan) -> bool {
    plan.settings
        .get("row.error")
        .is_none_or(|value| value == "fail")
}

fn candidates(
    old: &StreamPlan,
    new: &StreamPlan,
    renames: &BTreeMap<String, String>,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for before in old.tables.values() {
        let name = renamed(&before.name, renames);
        let Some(after) = new.tables.get(&name) else {
            continue;
        };
        let strict = |table: &TableDefinition| {
            table
                .options
                .get("on.error")
                .is_none_or(|value| value == "fail")
        };
        if !strict(before) || !strict(after) {
            continue;
        }
        for (place, column) in before.columns.iter().enumerate() {
            let same = |now: &&crate::plan::TableColumn| now.column.name == column.column.name;
            let Some(now) = after.columns.iter().find(same) else {
                continue;
            };
            let wider = width(&column.column.data_type)
                .zip(width(&now.column.data_type))
                .is_some_and(|(before, after)| before < after);
            if !wider || column.origin != ColumnOrigin::Physical {
                continue;
            }
            // Nothing but its type may be another.
            let mut as_wide = before.clone();
            as_wide.columns[place].column.data_type = now.column.data_type.clone();
            let place_now = after.columns.iter().position(|other| same(&other));
            let new_identity = place_now.map(|place| source_column(after, place));
            if new_identity == Some(source_column(&as_wide, place)) {
                let of = |identity: String| format!("{name}.{identity}");
                found.push((
                    of(source_column(before, place)),
                    of(source_column(&as_wide, place)),
                ));
            }
        }
    }
    found
}

/// Bits of a signed integer type.
fn width(data_type: &DataType) -> Option<u8> {
    match data_type {
        DataType::Int8 => Some(8),
        DataType::Int16 => Some(16),
        DataType::Int32 => Some(32),
        DataType::Int64 => Some(64),
        _ => None,
    }
}

/// Whether no value of the plan hangs on the type of a column.
fn hangs_on_no_type(trace: &Trace<'_>, leaf: &str) -> bool {
    let operators = trace.plan.operators.iter().enumerate();
    let mut tables = trace.plan.tables.values();
    let in_tables = |table: &TableDefinition| {
        let all: Vec<String> = (0..table.columns.len())
            .map(|column| {
                format!(
                    "{}.{}",
                    trace.table(&table.name),
                    source_column(table, column)
                )
            })
            .collect();
        let computed = table
            .columns
            .iter()
            .filter_map(|column| match &column.origin {
                ColumnOrigin::Computed(expr) => Some(expr),
                _ => None,
            });
        let mut exprs = computed.chain(table.watermark.iter().map(|watermark| &watermark.expr));
        exprs.all(|expr| !reads(expr, &all, leaf))
    };
    tables.all(in_tables)
        && operators.into_iter().all(|(index, operator)| {
            let inputs: Vec<&[String]> = operator
                .inputs
                .iter()
                .map(|input| trace.nodes[input.from].columns.as_slice())
                .collect();
            let touched = || {
                inputs
                    .iter()
                    .flat_map(|input| input.iter())
                    .any(|c| holds(c, leaf))
            };
            match &operator.kind {
                OperatorKind::Source { table, filter, .. } => {
                    let all = trace.plan.tables.get(table).map(|table| {
                        (0..table.columns.len())
                            .map(|column| {
                                format!(
                                    "{}.{}",
                                    trace.table(&table.name),
                                    source_column(table, column)
                                )
                            })
                            .collect::<Vec<_>>()
                    });
                    let all = all.unwrap_or_default();
                    filter
                        .as_ref()
                        .is_none_or(|filter| is_plain(filter, &all, leaf))
                }
                OperatorKind::Filter { predicate } => is_plain(predicate, inputs[0], leaf),
                OperatorKind::Project { exprs } => {
                    exprs.iter().all(|expr| is_plain(expr, inputs[0], leaf))
                }
                OperatorKind::Join { residual, .. } => {
                    let both = inputs.concat();
                    residual
                        .as_ref()
                        .is_none_or(|residual| is_plain(residual, &both, leaf))
                }
                OperatorKind::Aggregate { aggregates, .. }
                | OperatorKind::WindowAggregate { aggregates, .. } => aggregates
                    .iter()
                    .all(|call| counts_alike(call, inputs[0], leaf)),
                OperatorKind::Rank { .. }
                | OperatorKind::Union
                | OperatorKind::Sink { .. }
                | OperatorKind::Output { .. } => true,
                _ => !touched() && !trace.nodes[index].columns.iter().any(|c| holds(c, leaf)),
            }
        })
}

/// Whether an identity is made of the column. One that was cut may be.
fn holds(identity: &str, leaf: &str) -> bool {
    identity.contains(leaf) || identity.contains("…#")
}

fn reads(expr: &Expr, columns: &[String], leaf: &str) -> bool {
    expr.columns()
        .into_iter()
        .any(|column| holds(&columns[column], leaf))
}

fn counts_alike(call: &Aggregate, input: &[String], leaf: &str) -> bool {
    let columns = call.arguments.iter().chain(&call.filter);
    let ordered = call.order_by.iter().map(|sort| &sort.column);
    let mut read = columns.chain(ordered).map(|&column| &input[column]);
    ANY_INTEGER.contains(&call.function.as_str()) || !read.any(|column| holds(column, leaf))
}

/// Whether an expression passes the column on, compares it, or does not look at it.
fn is_plain(expr: &Expr, columns: &[String], leaf: &str) -> bool {
    if !reads(expr, columns, leaf) {
        return true;
    }
    match &expr.kind {
        ExprKind::Column(_) => true,
        ExprKind::Cast { expr: inner, safe } => {
            !safe && inner.as_column().is_some() && width(&expr.data_type) == Some(64)
        }
        ExprKind::Binary { op, left, right } => {
            use BinaryOp::{
                And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or,
            };
            let compares = matches!(
                op,
                Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom | And | Or
            );
            compares && is_plain(left, columns, leaf) && is_plain(right, columns, leaf)
        }
        ExprKind::Not(inner) => is_plain(inner, columns, leaf),
        ExprKind::IsNull { expr: inner, .. } => is_plain(inner, columns, leaf),
        _ => false,
    }
}

/// Whether the identity of a source's column says this type.
pub(super) fn is_of_type(identity: &str, data_type: &DataType) -> bool {
    let written = identity.rsplit_once(':').map(|(_, written)| written);
    let written = written.map(|written| written.split('#').next().unwrap_or(written));
    written == Some(data_type.to_string().as_str())
}

/// A type as far as two widths of it differ in nothing that is stored under one identity.
pub(super) fn family(data_type: &DataType) -> String {
    match width(data_type) {
        Some(_) => "integer".to_owned(),
        None => data_type.to_string(),
    }
}

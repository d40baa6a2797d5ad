//! What of a materialized view a query wants: the values that its condition allows a column to have.
//!
//! ```text
//!   SELECT … FROM totals WHERE item IN ('a', 'b') AND total > 5
//!     source filter ─▶ item: 'a' or 'b' ─▶ whoever keeps the view reads these keys and no other row
//!                      (total > 5 is left to the query)
//! ```
//!
//! # Invariants
//! 1. Whatever is wanted is a condition that the filter implies: rows that it leaves out would not have passed. The query
//!    evaluates its filter all the same, so that a reader that ignores this gives the same answer.
//! 2. Only types whose equal values are equal bytes in state are looked up: no floats.

use serde::{Deserialize, Serialize};
use weir_types::{DataType, Scalar};

use crate::plan::{BinaryOp, Expr, ExprKind, TableDefinition};

/// The option of a view that is read as a table: its key columns, as a JSON array of names.
pub const VIEW_KEY: &str = "key";

/// So many values of one column, and so many keys in all: beyond it the whole view is read.
pub const WANTED_MAX: usize = 1000;

/// Rows whose column has one of these values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    /// The column's name.
    pub column: String,
    /// Its type.
    pub data_type: DataType,
    /// None of them NULL.
    pub values: Vec<Scalar>,
}

/// What a filter over a table's columns allows, by column, each once.
pub fn wanted(table: &TableDefinition, filter: Option<&Expr>) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    let conjuncts = filter.map_or_else(Vec::new, |filter| filter.clone().conjuncts());
    for (column, values) in conjuncts.iter().filter_map(values) {
        let Some(column) = table.columns.get(column).map(|column| &column.column) else {
            continue;
        };
        let known = all.iter().any(|wanted| wanted.column == column.name);
        if !known && values.len() <= WANTED_MAX && is_looked_up(&column.data_type) {
            all.push(Wanted {
                column: column.name.clone(),
                data_type: column.data_type.clone(),
                values,
            });
        }
    }
    all
}

/// How a view is read under a filter, for EXPLAIN; nothing where all of it is read.
pub(crate) fn explained(table: &TableDefinition, filter: Option<&Expr>) -> String {
    let wanted = wanted(table, filter);
    if wanted.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = wanted.iter().map(|wanted| wanted.column.as_str()).collect();
    let keys: usize = wanted.iter().map(|wanted| wanted.values.len()).product();
    match is_by_key(&key_of(table), &wanted) {
        true if keys == 1 => ", one key of the view".to_owned(),
        true => format!(", {keys} keys of the view"),
        false => format!(", searched for {} where the view is kept", names.join(", ")),
    }
}

/// The key columns that a view was declared with.
fn key_of(table: &TableDefinition) -> Vec<String> {
    let text = table.options.get(VIEW_KEY).map(String::as_str);
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

/// Whether all columns of a key have wanted values, and few enough.
pub fn is_by_key(key: &[String], wanted: &[Wanted]) -> bool {
    let of = |column: &String| wanted.iter().find(|wanted| wanted.column == *column);
    let keys = key.iter().try_fold(1usize, |keys, column| {
        keys.checked_mul(of(column)?.values.len())
    });
    !key.is_empty() && keys.is_some_and(|keys| keys <= WANTED_MAX)
}

/// `column = literal`, `column IN (literals)`, and the same with OR between them.
fn values(condition: &Expr) -> Option<(usize, Vec<Scalar>)> {
    match &condition.kind {
        ExprKind::Binary {
            op: BinaryOp::Eq,
            left,
            right,
        } => {
            let (column, value) = match (&left.kind, &right.kind) {
                (ExprKind::Column(column), ExprKind::Literal(value))
                | (ExprKind::Literal(value), ExprKind::Column(column)) => (*column, value),
                _ => return None,
            };
            (left.data_type == right.data_type).then(|| (column, not_null([value])))
        }
        ExprKind::Binary {
            op: BinaryOp::Or,
            left,
            right,
        } => {
            let ((left, mut all), (right, more)) = (values(left)?, values(right)?);
            all.extend(
                more.into_iter()
                    .filter(|value| !all.contains(value))
                    .collect::<Vec<_>>(),
            );
            (left == right).then_some((left, all))
        }
        ExprKind::InList {
            expr,
            list,
            negated: false,
        } => {
            let ExprKind::Column(column) = expr.kind else {
                return None;
            };
            let literals = list.iter().map(|item| match &item.kind {
                ExprKind::Literal(value) if item.data_type == expr.data_type => Some(value),
                _ => None,
            });
            Some((column, not_null(literals.collect::<Option<Vec<_>>>()?)))
        }
        _ => None,
    }
}

/// Nothing equals NULL.
fn not_null<'a>(values: impl IntoIterator<Item = &'a Scalar>) -> Vec<Scalar> {
    let mut all: Vec<Scalar> = Vec::new();
    for value in values {
        if *value != Scalar::Null && !all.contains(value) {
            all.push(value.clone());
        }
    }
    all
}

fn is_looked_up(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32
            | DataType::UInt64
            | DataType::Decimal(..)
            | DataType::String
            | DataType::Bytes
            | DataType::Date
            | DataType::Time
            | DataType::Timestamp(_)
            | DataType::TimestampLtz(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::OperatorKind;

    /// What is wanted of a view with the columns item, day, total and share, keyed by item and day; and what EXPLAIN says.
    fn read(condition: &str) -> (Vec<(String, usize)>, String) {
        let sql = format!(
            "CREATE TABLE v (item STRING, day DATE, total BIGINT, share DOUBLE)
             WITH ('connector' = 'materialized-view', 'key' = '[\"item\",\"day\"]');
             SELECT total FROM v WHERE {condition}"
        );
        let plan = crate::plan(&sql, &crate::AnyCatalog).unwrap().plan;
        let source = plan
            .operators
            .iter()
            .find_map(|operator| match &operator.kind {
                OperatorKind::Source { table, filter, .. } => Some((table, filter.as_ref())),
                _ => None,
            });
        let (table, filter) = source.unwrap();
        let found = wanted(&plan.tables[table], filter).into_iter();
        let found = found.map(|wanted| (wanted.column, wanted.values.len()));
        let text = crate::explain(&plan);
        let line = text.lines().find(|line| line.contains("Source v")).unwrap();
        (found.collect(), line.to_owned())
    }

    fn is(condition: &str, columns: &[(&str, usize)]) -> String {
        let (found, line) = read(condition);
        let columns: Vec<_> = columns
            .iter()
            .map(|(name, values)| ((*name).to_owned(), *values))
            .collect();
        assert_eq!(found, columns, "{condition}");
        line
    }

    #[test]
    fn equalities_and_lists_of_a_column_are_wanted_values_and_the_rest_is_left_to_the_query() {
        let line = is(
            "item = 'a' AND day = DATE '2024-01-02' AND total > 5",
            &[("item", 1), ("day", 1)],
        );
        assert!(line.ends_with(", one key of the view"), "{line}");
        let line = is(
            "item IN ('a', 'b', 'a') AND day IN (DATE '2024-01-02', DATE '2024-01-03')",
            &[("item", 2), ("day", 2)],
        );
        assert!(line.ends_with(", 4 keys of the view"), "{line}");
        let line = is("'a' = item OR item = 'b'", &[("item", 2)]);
        assert!(
            line.ends_with(", searched for item where the view is kept"),
            "{line}"
        );
        is("total = 5", &[("total", 1)]);
    }

    #[test]
    fn what_a_key_cannot_answer_reads_the_whole_view() {
        for condition in [
            "item > 'a'",
            "item <> 'a'",
            "item NOT IN ('a')",
            "item = 'a' OR total = 1",
            "upper(item) = 'A'",
            "share = 0.5",
            "item LIKE 'a'",
        ] {
            let line = is(condition, &[]);
            assert!(!line.contains("view"), "{line}");
        }
    }
}

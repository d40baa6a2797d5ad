//! Which fields of a source's ROW columns nobody reads, so that they need not be decoded.
//!
//! ```text
//!   source (event_type, bid ROW<auction, bidder, …, extra>) ─▶ filter ─▶ project get_field(bid, 'auction'), …
//!                                                                 └ every way from the source ends in a projection: what
//!                                                                   the expressions on the way name is read, no more
//! ```
//!
//! # Invariants
//! 1. A field is unread only if every use of its column, in the table itself and on every way that its rows take, is
//!    `get_field` of another field. Any other use reads the whole column.
//! 2. A column that goes into anything but a filter or a projection is read whole.

use weir_planner::plan::{ColumnOrigin, Expr, ExprKind, OperatorKind, StreamPlan, TableDefinition};
use weir_types::{DataType, Scalar};

/// Fields of the table's columns that nobody reads, as (place in `decoded`, field).
pub(super) fn unread_fields(
    plan: &StreamPlan,
    source: usize,
    table: &TableDefinition,
    decoded: &[usize],
) -> Vec<(usize, usize)> {
    let OperatorKind::Source {
        columns, filter, ..
    } = &plan.operators[source].kind
    else {
        return Vec::new();
    };
    let mut reads = Reads {
        table,
        whole: vec![false; table.columns.len()],
        fields: Vec::new(),
    };
    let own = table.watermark.iter().map(|watermark| &watermark.expr);
    let computed = table
        .columns
        .iter()
        .filter_map(|column| match &column.origin {
            ColumnOrigin::Computed(expr) => Some(expr),
            _ => None,
        });
    for expr in own.chain(computed).chain(filter) {
        reads.note(expr, &|column| Some(column));
    }
    reads.follow(plan, source, columns);
    let unread = decoded.iter().enumerate().flat_map(|(place, &column)| {
        let fields = match &table.columns[column].column.data_type {
            DataType::Row(fields) if !reads.whole[column] => fields.len(),
            _ => 0,
        };
        let reads = &reads;
        (0..fields)
            .filter(move |&field| !reads.fields.contains(&(column, field)))
            .map(move |field| (place, field))
    });
    unread.collect()
}

/// What is read of a table.
struct Reads<'a> {
    table: &'a TableDefinition,
    /// By column: all of it.
    whole: Vec<bool>,
    /// Columns and fields of them.
    fields: Vec<(usize, usize)>,
}

impl Reads<'_> {
    /// What an expression reads; `column_of` says which column of the table an index stands for.
    fn note(&mut self, expr: &Expr, column_of: &dyn Fn(usize) -> Option<usize>) {
        if let Some((column, name)) = field_of(expr)
            && let Some(column) = column_of(column)
            && let DataType::Row(fields) = &self.table.columns[column].column.data_type
            && let Some(field) = fields.iter().position(|field| field.name == name)
        {
            self.fields.push((column, field));
            return;
        }
        if let ExprKind::Column(column) = &expr.kind
            && let Some(column) = column_of(*column)
        {
            self.whole[column] = true;
        }
        for child in expr.children() {
            self.note(child, column_of);
        }
    }

    /// What those read that get an operator's rows, which are the source's.
    fn follow(&mut self, plan: &StreamPlan, from: usize, columns: &[usize]) {
        let mut any = false;
        let consumers = plan.operators.iter().enumerate();
        for (index, consumer) in consumers.filter(|(_, c)| c.inputs.iter().any(|i| i.from == from))
        {
            any = true;
            let column_of = |column: usize| columns.get(column).copied();
            match &consumer.kind {
                OperatorKind::Filter { predicate } => {
                    self.note(predicate, &column_of);
                    self.follow(plan, index, columns);
                }
                OperatorKind::Project { exprs } => {
                    exprs.iter().for_each(|expr| self.note(expr, &column_of));
                }
                _ => columns.iter().for_each(|&column| self.whole[column] = true),
            }
        }
        if !any {
            // Rows that leave the plan.
            columns.iter().for_each(|&column| self.whole[column] = true);
        }
    }
}

/// The column and the field that an expression takes out of it.
fn field_of(expr: &Expr) -> Option<(usize, &str)> {
    let ExprKind::Function { name, arguments } = &expr.kind else {
        return None;
    };
    match (name.as_str(), arguments.as_slice()) {
        ("get_field", [row, field]) => match (&row.kind, &field.kind) {
            (ExprKind::Column(column), ExprKind::Literal(Scalar::String(field))) => {
                Some((*column, field))
            }
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConnectorCatalog;

    /// The fields of `event` that a job with these statements leaves unread, by name.
    fn unread(statements: &str) -> Vec<String> {
        let sql = format!(
            "CREATE TABLE event (kind INT, bid ROW<auction BIGINT, price BIGINT, url STRING>, at TIMESTAMP(3), \
             double_price AS bid.price * 2, WATERMARK FOR at AS at) \
             WITH ('connector' = 'filesystem', 'path' = 'x', 'format' = 'json');\n{statements}"
        );
        let plan = weir_planner::plan(&sql, &ConnectorCatalog).unwrap().plan;
        let source = plan
            .operators
            .iter()
            .position(|operator| matches!(operator.kind, OperatorKind::Source { .. }))
            .unwrap();
        let table = &plan.tables["event"];
        let decoded: Vec<usize> = (0..3).collect();
        let names = unread_fields(&plan, source, table, &decoded)
            .into_iter()
            .map(
                |(place, field)| match &table.columns[place].column.data_type {
                    DataType::Row(fields) => fields[field].name.to_string(),
                    other => panic!("{other} has no fields"),
                },
            );
        names.collect()
    }

    const SINK: &str = "WITH ('connector' = 'blackhole') AS";

    #[test]
    fn a_field_that_only_other_fields_stand_beside_is_unread() {
        let sql = format!(
            "CREATE TABLE o {SINK} SELECT event.bid.auction AS a FROM event WHERE kind = 2;"
        );
        assert_eq!(unread(&sql), ["url"], "the computed column reads the price");
    }

    #[test]
    fn a_row_that_goes_on_as_a_whole_is_read_as_a_whole() {
        let sql =
            format!("CREATE TABLE o {SINK} SELECT bid FROM event WHERE event.bid.auction > 1;");
        assert!(unread(&sql).is_empty());
        let sql = format!("CREATE TABLE o {SINK} SELECT kind FROM event WHERE event.bid IS NULL;");
        assert!(unread(&sql).is_empty());
    }

    #[test]
    fn every_reader_counts() {
        let sql = format!(
            "CREATE TABLE o {SINK} SELECT event.bid.auction AS a FROM event WHERE kind = 2;\n\
             CREATE TABLE p {SINK} SELECT kind FROM event WHERE event.bid.url LIKE 'x%' OR kind = 1;"
        );
        assert!(unread(&sql).is_empty());
    }
}

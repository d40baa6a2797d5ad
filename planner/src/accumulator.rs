//! What the aggregates of a GROUP BY keep for each group: the one description that the planner (state schema) and the
//! engine (kernels) share.
//!
//! | function | columns while rows are only inserted | columns when rows can be taken back |
//! |---|---|---|
//! | `count(*)`, `count(x)` | count | count |
//! | `sum(x)`, integer or decimal | sum | sum, `count(x)` |
//! | `sum(x)`, float | sum, compensation | sum, compensation, NaNs, +infinities, −infinities, `count(x)` |
//! | `avg(x)`, decimal | sum, `count(x)` | sum, `count(x)` |
//! | `avg(x)`, float | sum, compensation, `count(x)` | like `sum(x)` |
//! | `min(x)`, `max(x)` | the value | refused by the planner |
//! | `bool_and(x)`, `bool_or(x)` | number of true values, `count(x)` | the same |
//!
//! The kernel of an aggregate gets its columns in the order of this table. Columns of one name are kept once:
//! `avg(x)` and `count(x)` share a count. Where rows can be taken back, `count(*)` counts the group's rows, because a
//! group without rows has to go; it is kept, too, where nothing else would be.
//!
//! A sum is NULL until a value that is not NULL was added; a count is never NULL once the group exists.

use weir_types::{Column, DataType, Schema};

use crate::plan::Aggregate;

/// The columns that the accumulators of an aggregate keep, shared by planner (state schema) and engine (execution).
/// Columns that two aggregates share (`count(x)` of avg(x) and count(x)) are kept once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccumulatorLayout {
    /// The value columns of the state table, by canonical name: `count(*)`, `sum(price)`, `count(price)`, `min(price)`.
    pub columns: Schema,
    /// For each aggregate the columns that it uses, in the order that its kernel expects.
    pub of_aggregate: Vec<Vec<usize>>,
    /// The column that counts the group's rows (`count(*)`), kept where the input carries retractions.
    pub rows: Option<usize>,
}

/// See the module's table. `input` is the schema that the aggregates' arguments point into; its names are the
/// canonical names of the arguments.
pub fn accumulator_layout(
    aggregates: &[Aggregate],
    input: &Schema,
    retractions: bool,
) -> AccumulatorLayout {
    let mut layout = AccumulatorLayout {
        columns: Vec::new(),
        of_aggregate: Vec::new(),
        rows: None,
    };
    for aggregate in aggregates {
        let columns = columns_of(aggregate, input, retractions);
        let indices = columns
            .into_iter()
            .map(|column| layout.keep(column))
            .collect();
        layout.of_aggregate.push(indices);
    }
    if retractions || layout.columns.is_empty() {
        layout.rows = Some(layout.keep(counter("count(*)".to_owned())));
    }
    layout
}

impl AccumulatorLayout {
    /// The index of the column, which is added if there is none of that name.
    fn keep(&mut self, column: Column) -> usize {
        self.columns
            .iter()
            .position(|kept| kept.name == column.name)
            .unwrap_or_else(|| {
                self.columns.push(column);
                self.columns.len() - 1
            })
    }
}

fn counter(name: String) -> Column {
    Column::new(name, DataType::Int64)
}

fn columns_of(aggregate: &Aggregate, input: &Schema, retractions: bool) -> Vec<Column> {
    let call = |function: &str| call_name(aggregate, input, function);
    let argument = aggregate
        .arguments
        .first()
        .map_or(DataType::Null, |&index| input[index].data_type.clone());
    match aggregate.function.as_str() {
        "count" => vec![counter(call("count"))],
        "sum" => {
            let mut columns = sum_columns(&call("sum"), aggregate.data_type.clone(), retractions);
            if retractions {
                columns.push(counter(call("count")));
            }
            columns
        }
        "avg" => {
            let mut columns = sum_columns(&call("sum"), sum_type(&argument), retractions);
            columns.push(counter(call("count")));
            columns
        }
        "bool_and" | "bool_or" => vec![counter(call("count_true")), counter(call("count"))],
        // min, max, and whatever else keeps one value of the result's type.
        function => vec![Column::new(call(function), aggregate.data_type.clone())],
    }
}

fn sum_columns(name: &str, data_type: DataType, retractions: bool) -> Vec<Column> {
    let is_float = data_type == DataType::Float64;
    let mut columns = vec![Column::new(name, data_type)];
    if is_float {
        columns.push(Column::new(
            format!("{name} compensation"),
            DataType::Float64,
        ));
        if retractions {
            let special = ["NaNs", "+infinities", "-infinities"];
            columns.extend(special.map(|what| counter(format!("{name} {what}"))));
        }
    }
    columns
}

/// The type in which values of `argument` are summed.
fn sum_type(argument: &DataType) -> DataType {
    match argument {
        DataType::Decimal(precision, scale) if *precision <= 38 => {
            DataType::Decimal(precision.saturating_add(10).min(38), *scale)
        }
        DataType::Decimal(precision, scale) => {
            DataType::Decimal(precision.saturating_add(10).min(76), *scale)
        }
        _ => DataType::Float64,
    }
}

/// The canonical text of `function` over the aggregate's arguments and filter.
fn call_name(aggregate: &Aggregate, input: &Schema, function: &str) -> String {
    let arguments: Vec<String> = aggregate
        .arguments
        .iter()
        .map(|&index| input[index].name.clone())
        .collect();
    let filter = aggregate.filter.map(|index| input[index].name.as_str());
    crate::canonical::aggregate(function, &arguments, aggregate.distinct, filter)
}

#[cfg(test)]
mod tests {
    use weir_types::Span;

    use super::*;

    fn aggregate(function: &str, arguments: Vec<usize>, data_type: DataType) -> Aggregate {
        let (name, distinct, filter, span) = (String::new(), false, None, Span::default());
        Aggregate {
            name,
            function: function.to_owned(),
            arguments,
            distinct,
            filter,
            data_type,
            span,
        }
    }

    fn names(layout: &AccumulatorLayout) -> Vec<&str> {
        layout
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .collect()
    }

    #[test]
    fn aggregates_share_the_columns_that_they_have_in_common() {
        let input = vec![Column::new("price", DataType::Float64)];
        let aggregates = [
            aggregate("avg", vec![0], DataType::Float64),
            aggregate("count", vec![0], DataType::Int64),
            aggregate("count", vec![], DataType::Int64),
        ];
        let layout = accumulator_layout(&aggregates, &input, false);
        assert_eq!(
            names(&layout),
            [
                "sum(price)",
                "sum(price) compensation",
                "count(price)",
                "count(*)"
            ]
        );
        assert_eq!(layout.of_aggregate, [vec![0, 1, 2], vec![2], vec![3]]);
        assert_eq!(layout.rows, None);
    }

    #[test]
    fn retractions_need_the_number_of_rows_and_of_values() {
        let input = vec![Column::new("n", DataType::Int64)];
        let layout =
            accumulator_layout(&[aggregate("sum", vec![0], DataType::Int64)], &input, true);
        assert_eq!(names(&layout), ["sum(n)", "count(n)", "count(*)"]);
        assert_eq!(layout.rows, Some(2));
    }

    #[test]
    fn a_group_by_without_aggregates_keeps_the_number_of_rows() {
        let layout = accumulator_layout(&[], &Vec::new(), false);
        assert_eq!((names(&layout), layout.rows), (vec!["count(*)"], Some(0)));
    }
}

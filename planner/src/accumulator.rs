//! What the aggregates of a GROUP BY keep for each group: the one description that the planner (state schema) and the
//! engine (kernels) share.
//!
//! | function | columns while rows are only inserted | columns when rows can be taken back |
//! |---|---|---|
//! | `count(*)`, `count(x)` | count | count |
//! | `sum(x)`, integer | sum, 128 bits wide | sum, `count(x)` |
//! | `sum(x)`, decimal | sum | sum, `count(x)` |
//! | `sum(x)`, float | sum, compensation | sum, compensation, NaNs, +infinities, −infinities, `count(x)` |
//! | `avg(x)`, decimal | sum, `count(x)` | sum, `count(x)` |
//! | `avg(x)`, float | sum, compensation, `count(x)` | like `sum(x)` |
//! | `min(x)`, `max(x)`, `bit_and(x)`, `bit_or(x)` | the value; of arrays and rows a side table | a side table |
//! | `bit_xor(x)` | the value, `count(x)` | the same |
//! | `bool_and(x)`, `bool_or(x)` | number of true values, `count(x)` | the same |
//! | `var_*(x)`, `stddev_*(x)` | moments of x (`moments.rs` of the engine) | the same |
//! | `covar_*`, `corr`, `regr_*` of (y, x) | moments of y and x | the same |
//! | of a program: `f@1(x)` | what it declares | the same, or a side table if it takes no row back |
//! | percentiles, `mode`, `string_agg`, `array_agg`, `first_value` … | a side table | a side table |
//!
//! The kernel of an aggregate gets its columns in the order of this table. Columns of one name are kept once:
//! `avg(x)` and `count(x)` share a count. Where rows can be taken back, `count(*)` counts the group's rows, because a
//! group without rows has to go; it is kept, too, where nothing else would be.
//!
//! A sum is NULL until a value that is not NULL was added; a count is never NULL once the group exists.
//!
//! **Side tables.** What cannot be said in a few columns is a table of its own: for each group the multiset of the values
//! that count, in order. `values(x)` holds the values that are not NULL, `rows(x ORDER BY t)` the NULLs too. Aggregates of the
//! same arguments, filter and order share one. A DISTINCT aggregate with a kernel (`sum(DISTINCT x)`) has both: the
//! side table says which values come or go, and only those changes reach the kernel.

use weir_types::{Column, DataType, Schema, SortColumn};

use crate::canonical::{self, CallText};
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
    /// The side tables.
    pub sides: Vec<Side>,
    /// For each aggregate the side table that it reads, or that feeds its kernel.
    pub side_of: Vec<Option<usize>>,
}

/// A side table: for each group the rows that count for some aggregates, in order, with their multiplicities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The table's name in state: its canonical text.
    pub name: String,
    /// The columns of the input that it holds, in the order in which they sort its rows.
    pub columns: Vec<SortColumn>,
    /// The columns of the input that are not NULL in a row that it holds.
    pub required: Vec<usize>,
    /// The column of the input that is true for a row that it holds.
    pub filter: Option<usize>,
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
        sides: Vec::new(),
        side_of: Vec::new(),
    };
    for aggregate in aggregates {
        let folded = is_folded(aggregate, retractions);
        let columns = if folded {
            Vec::new()
        } else {
            columns_of(aggregate, input, retractions)
        };
        let indices = columns
            .into_iter()
            .map(|column| layout.keep(column))
            .collect();
        layout.of_aggregate.push(indices);
        let side = (folded || aggregate.distinct).then(|| layout.side(side(aggregate, input)));
        layout.side_of.push(side);
    }
    if retractions || layout.columns.is_empty() {
        layout.rows = Some(layout.keep(counter("count(*)".to_owned())));
    }
    layout
}

/// Whether the result is made of the rows of a side table, and not of state columns.
pub fn is_folded(aggregate: &Aggregate, retractions: bool) -> bool {
    if let Some(registered) = &aggregate.registered {
        return retractions && !registered.retracts;
    }
    match aggregate.function.as_str() {
        // Of arrays and rows a kernel knows no order; the side table does.
        "min" | "max" => {
            retractions || matches!(aggregate.data_type, DataType::Array(_) | DataType::Row(_))
        }
        "bit_and" | "bit_or" => retractions,
        "percentile_cont" | "percentile_disc" | "mode" | "string_agg" | "array_agg"
        | "first_value" | "last_value" | "nth_value" => true,
        _ => false,
    }
}

/// Whether the aggregate looks at rows whose argument is NULL.
fn keeps_nulls(function: &str) -> bool {
    matches!(
        function,
        "array_agg" | "first_value" | "last_value" | "nth_value"
    )
}

/// The side table that the aggregate needs.
fn side(aggregate: &Aggregate, input: &Schema) -> Side {
    // Percentiles and modes are read from either end, so that their direction asks for no table of its own.
    let own_order = !matches!(
        aggregate.function.as_str(),
        "percentile_cont" | "percentile_disc" | "mode"
    );
    let mut columns: Vec<SortColumn> = Vec::new();
    let mut order = Vec::new();
    for item in aggregate.order_by.iter().filter(|_| own_order) {
        if columns.iter().any(|known| known.column == item.column) {
            continue;
        }
        let name = &input[item.column].name;
        order.push(canonical::order_item(
            name,
            item.descending,
            item.nulls_first,
        ));
        columns.push(*item);
    }
    for &argument in &aggregate.arguments {
        if columns.iter().all(|known| known.column != argument) {
            columns.push(SortColumn::ascending(argument));
        }
    }
    let required = match aggregate.function.as_str() {
        function if keeps_nulls(function) => Vec::new(),
        "string_agg" => aggregate.arguments.iter().copied().take(1).collect(),
        _ => aggregate.arguments.clone(),
    };
    let arguments: Vec<String> = aggregate
        .arguments
        .iter()
        .map(|&index| input[index].name.clone())
        .collect();
    let name = canonical::aggregate(&CallText {
        function: if required.is_empty() {
            "rows"
        } else {
            "values"
        },
        arguments: &arguments,
        parameters: &[],
        distinct: false,
        order: &order,
        filter: aggregate.filter.map(|index| input[index].name.as_str()),
    });
    Side {
        name,
        columns,
        required,
        filter: aggregate.filter,
    }
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

    /// The index of the side table, which is added if there is none like it.
    fn side(&mut self, side: Side) -> usize {
        self.sides
            .iter()
            .position(|kept| kept.name == side.name)
            .unwrap_or_else(|| {
                self.sides.push(side);
                self.sides.len() - 1
            })
    }
}

fn counter(name: String) -> Column {
    Column::new(name, DataType::Int64)
}

fn columns_of(aggregate: &Aggregate, input: &Schema, retractions: bool) -> Vec<Column> {
    let call = |function: &str| call_name(aggregate, input, function);
    if let Some(registered) = &aggregate.registered {
        let name = call(&aggregate.function);
        let column =
            |kept: &Column| Column::new(format!("{name} {}", kept.name), kept.data_type.clone());
        return registered.state.iter().map(column).collect();
    }
    let argument = aggregate
        .arguments
        .first()
        .map_or(DataType::Null, |&index| input[index].data_type.clone());
    match aggregate.function.as_str() {
        "count" => vec![counter(call("count"))],
        "sum" => {
            let kept = wide(&aggregate.data_type);
            let mut columns = sum_columns(&call("sum"), kept, retractions);
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
        "bit_xor" => vec![
            Column::new(call("bit_xor"), aggregate.data_type.clone()),
            counter(call("count")),
        ],
        function if is_moment(function) => moment_columns(aggregate, input),
        // min, max, and whatever else keeps one value of the result's type.
        function => vec![Column::new(call(function), aggregate.data_type.clone())],
    }
}

/// Whether the function is computed from sums of values, of their squares and of their products.
pub fn is_moment(function: &str) -> bool {
    function.starts_with("regr_")
        || matches!(
            function,
            "var_samp"
                | "var_pop"
                | "stddev_samp"
                | "stddev_pop"
                | "covar_samp"
                | "covar_pop"
                | "corr"
        )
}

/// The number of values (or pairs), how many of them are not finite, and for each sum two floats: the sum and what
/// the float cannot hold of it.
fn moment_columns(aggregate: &Aggregate, input: &Schema) -> Vec<Column> {
    let name = call_name(aggregate, input, "moments");
    let sums: &[&str] = match aggregate.arguments.len() {
        1 => &["sum", "squares"],
        _ => &["sum 1", "sum 2", "squares 1", "squares 2", "products"],
    };
    let mut columns = vec![
        counter(format!("{name} count")),
        counter(format!("{name} not finite")),
    ];
    for sum in sums {
        columns.push(Column::new(format!("{name} {sum}"), DataType::Float64));
        columns.push(Column::new(
            format!("{name} {sum} compensation"),
            DataType::Float64,
        ));
    }
    columns
}

/// The type in which a sum is kept: integers 128 bits wide, so that only the result can overflow, whatever the order of the
/// rows.
fn wide(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Int64 | DataType::UInt64 => DataType::Decimal(38, 0),
        other => other.clone(),
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
    canonical::aggregate(&CallText {
        function,
        arguments: &arguments,
        parameters: &[],
        distinct: aggregate.distinct,
        order: &[],
        filter,
    })
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
            order_by: Vec::new(),
            parameters: Vec::new(),
            registered: None,
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

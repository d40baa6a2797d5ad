//! The invariants of a plan, checked: after planning, after reading a stored plan, before running one.

use std::collections::BTreeSet;

use weir_types::DataType;

use crate::lower::unnest::element_types;
use crate::over::{OverCall, OverFunction};
use crate::plan::{
    Aggregate, Expr, GroupColumn, Operator, OperatorKind, PLAN_FORMAT_VERSION, Partitioning,
    RankTiming, StreamPlan,
};

impl StreamPlan {
    /// Checks every invariant of [`mod@crate::plan`].
    ///
    /// # Errors
    /// The first one that does not hold, with the operator's ID.
    pub fn validate(&self) -> Result<(), String> {
        if self.format_version > PLAN_FORMAT_VERSION {
            return Err(format!(
                "the plan has format version {}, and this Weir reads up to {PLAN_FORMAT_VERSION}",
                self.format_version
            ));
        }
        let mut ids = BTreeSet::new();
        for (index, operator) in self.operators.iter().enumerate() {
            let problem = |what: String| Err(format!("{}: {what}", operator.id));
            if !ids.insert(&operator.id) {
                return problem("the ID is there twice".to_owned());
            }
            if let Some(input) = operator.inputs.iter().find(|input| input.from >= index) {
                return problem(format!("its input {} does not stand before it", input.from));
            }
            self.check_operator(operator).or_else(problem)?;
        }
        Ok(())
    }

    fn check_operator(&self, operator: &Operator) -> Result<(), String> {
        let inputs: Vec<&Operator> = operator
            .inputs
            .iter()
            .map(|input| &self.operators[input.from])
            .collect();
        for (input, edge) in inputs.iter().zip(&operator.inputs) {
            if let Partitioning::Hash(columns) = &edge.partitioning {
                within("routing", columns, input.schema.len())?;
            }
        }
        let width = operator.schema.len();
        within("unique key", operator.unique_key.iter().flatten(), width)?;
        within("event time", &operator.event_time, width)?;
        within("event time", &operator.further_event_times, width)?;
        if let Some(window) = operator.window {
            let columns = window.start.iter().chain(&window.end).chain(&window.time);
            within("window", columns, width)?;
        }
        self.check_kind(operator, &inputs)
    }

    fn check_kind(&self, operator: &Operator, inputs: &[&Operator]) -> Result<(), String> {
        let expected = match &operator.kind {
            OperatorKind::Source { .. } => 0..=0,
            OperatorKind::Join { .. }
            | OperatorKind::TimedJoin { .. }
            | OperatorKind::LookupJoin { .. }
            | OperatorKind::SetOperation { .. } => 2..=2,
            OperatorKind::Union => 1..=usize::MAX,
            _ => 1..=1,
        };
        if !expected.contains(&inputs.len()) {
            return Err(format!("it has {} inputs", inputs.len()));
        }
        // What a TTL alone reads is no business of the operator's logic.
        let below = inputs
            .first()
            .map_or(&[][..], |input| operator.visible(&input.schema));
        if let Some(ttl) = operator.ttl
            && ttl.micros <= 0
        {
            return Err("a TTL that is over at once".to_owned());
        }
        match &operator.kind {
            OperatorKind::Source {
                table,
                columns,
                filter,
            } => {
                let table = self
                    .tables
                    .get(table)
                    .ok_or_else(|| format!("there is no table `{table}`"))?;
                within("columns", columns, table.columns.len())?;
                let types: Vec<DataType> = table
                    .columns
                    .iter()
                    .map(|c| c.column.data_type.clone())
                    .collect();
                filter
                    .iter()
                    .try_for_each(|filter| condition(filter, &types))?;
                same_width(columns.len(), operator)
            }
            OperatorKind::Filter { predicate } => {
                condition(predicate, &types_of(below))?;
                same_width(below.len(), operator)
            }
            OperatorKind::Project { exprs } => {
                let types = types_of(below);
                for (expr, column) in exprs.iter().zip(&operator.schema) {
                    check_expr(expr, &types)?;
                    if expr.data_type != column.data_type {
                        return Err(format!(
                            "column `{}` is {}, not {}",
                            column.name, column.data_type, expr.data_type
                        ));
                    }
                }
                same_width(exprs.len(), operator)
            }
            OperatorKind::Union | OperatorKind::SetOperation { .. } => {
                let fits = |input: &&Operator| {
                    types_of(operator.visible(&input.schema)) == types_of(&operator.schema)
                };
                if inputs.iter().all(fits) {
                    Ok(())
                } else {
                    Err("its inputs have different types".to_owned())
                }
            }
            OperatorKind::Arrival {
                partition, shown, ..
            } => {
                within("partition", partition, below.len())?;
                same_width(below.len() + usize::from(*shown), operator)
            }
            OperatorKind::TemporalFilter { enters, leaves } => {
                within("moments", enters.iter().chain(leaves), below.len())?;
                same_width(below.len(), operator)
            }
            OperatorKind::Clock { time } => {
                within("time", [time], below.len())?;
                same_width(below.len(), operator)
            }
            OperatorKind::Session { time, keys, .. } => {
                within("time", [time], below.len())?;
                within("keys", keys, below.len())?;
                same_width(below.len() + 3, operator)
            }
            OperatorKind::Unnest {
                column,
                keep,
                ordinality,
                ..
            } => {
                within("array", [column], below.len())?;
                within("kept columns", keep, below.len())?;
                let Some(parts) = element_types(&below[*column].data_type) else {
                    return Err("it unnests a column without elements".to_owned());
                };
                let width = keep.len() + parts.len() + usize::from(*ordinality);
                same_width(width, operator)?;
                let given = &operator.schema[keep.len()..];
                match given
                    .iter()
                    .zip(&parts)
                    .find(|(column, part)| column.data_type != **part)
                {
                    Some((column, part)) => Err(format!("column `{}` is not {part}", column.name)),
                    None => Ok(()),
                }
            }
            OperatorKind::WindowAssign { time, .. } => {
                within("time", [time], below.len())?;
                same_width(below.len() + 3, operator)
            }
            OperatorKind::WindowAggregate {
                time,
                keys,
                group_columns,
                aggregates,
                ..
            } => {
                within("time", [time], below.len())?;
                within("keys", keys, below.len())?;
                for group in group_columns {
                    if let GroupColumn::Key(key) = group {
                        within("group columns", [key], keys.len())?;
                    }
                }
                check_aggregates(aggregates, below.len())?;
                same_width(group_columns.len() + aggregates.len(), operator)
            }
            OperatorKind::Expand {
                keys,
                sets,
                numbered,
            } => {
                within("keys", keys, below.len())?;
                if sets.is_empty() || sets.iter().any(|set| set.len() != keys.len()) {
                    return Err("a grouping set does not speak of every key".to_owned());
                }
                same_width(
                    below.len() + 2 * keys.len() + usize::from(*numbered),
                    operator,
                )
            }
            OperatorKind::Aggregate {
                keys,
                aggregates,
                always,
            } => {
                if always.iter().any(|group| group.len() != keys.len()) {
                    return Err("a group that is always there lacks a key".to_owned());
                }
                within("keys", keys, below.len())?;
                check_aggregates(aggregates, below.len())?;
                same_width(keys.len() + aggregates.len(), operator)
            }
            OperatorKind::TimedJoin {
                timing,
                join,
                left_keys,
                right_keys,
                residual,
            } => {
                let (left, right) = (types_of(&inputs[0].schema), types_of(&inputs[1].schema));
                let (left_time, right_time) = timing.columns();
                within("left time", [&left_time], left.len())?;
                within("right time", [&right_time], right.len())?;
                within("left keys", left_keys, left.len())?;
                within("right keys", right_keys, right.len())?;
                let left_width = left.len();
                let both: Vec<DataType> = left.into_iter().chain(right).collect();
                residual
                    .iter()
                    .try_for_each(|residual| condition(residual, &both))?;
                let width = if join.gives_right() {
                    both.len()
                } else {
                    left_width
                };
                same_width(width, operator)
            }
            OperatorKind::Join {
                join,
                left_keys,
                right_keys,
                null_equal,
                residual,
            }
            | OperatorKind::LookupJoin {
                join,
                left_keys,
                right_keys,
                null_equal,
                residual,
                ..
            } => {
                let side = |input: usize| types_of(operator.visible(&inputs[input].schema));
                let (left, right) = (side(0), side(1));
                within("left keys", left_keys, left.len())?;
                within("right keys", right_keys, right.len())?;
                let same_type = |(l, r): (&usize, &usize)| left[*l] == right[*r];
                if left_keys.len() != right_keys.len()
                    || !left_keys.iter().zip(right_keys).all(same_type)
                {
                    return Err("its keys do not match".to_owned());
                }
                if !null_equal.is_empty() && null_equal.len() != left_keys.len() {
                    return Err("it does not say of each key whether NULLs are equal".to_owned());
                }
                let left_width = left.len();
                let both: Vec<DataType> = left.into_iter().chain(right).collect();
                residual
                    .iter()
                    .try_for_each(|residual| condition(residual, &both))?;
                let width = if join.gives_right() {
                    both.len()
                } else {
                    left_width
                };
                same_width(width, operator)
            }
            OperatorKind::Rank {
                partition,
                order,
                shown,
                bounds,
                ..
            } => {
                within("partition", partition, below.len())?;
                within("order", order.iter().map(|sort| &sort.column), below.len())?;
                if bounds.first == 0 {
                    return Err("rows are numbered from 1".to_owned());
                }
                same_width(below.len() + usize::from(*shown), operator)
            }
            OperatorKind::FinalRank {
                partition,
                order,
                shown,
                bounds,
                timing,
                ..
            } => {
                within("partition", partition, below.len())?;
                within("order", order.iter().map(|sort| &sort.column), below.len())?;
                let first = order.first().map(|sort| sort.column);
                let is_final = match timing {
                    RankTiming::Window { end } => partition.contains(end),
                    RankTiming::Order { time } => first == Some(*time),
                };
                if bounds.first == 0 || !is_final {
                    return Err("its numbers are not final".to_owned());
                }
                same_width(below.len() + usize::from(*shown), operator)
            }
            OperatorKind::Over {
                partition,
                order,
                time,
                calls,
            } => {
                within("partition", partition, below.len())?;
                within("order", order.iter().map(|sort| &sort.column), below.len())?;
                within("event time", time, below.len())?;
                check_over(calls, below.len())?;
                same_width(below.len() + calls.len(), operator)
            }
            OperatorKind::Sink { table } => {
                if !self.tables.contains_key(table) {
                    return Err(format!("there is no table `{table}`"));
                }
                same_width(below.len(), operator)
            }
            OperatorKind::Output { names } => {
                same_width(names.len(), operator)?;
                same_width(below.len(), operator)
            }
        }
    }
}

fn types_of(schema: &[weir_types::Column]) -> Vec<DataType> {
    schema
        .iter()
        .map(|column| column.data_type.clone())
        .collect()
}

fn within<'i>(
    what: &str,
    indices: impl IntoIterator<Item = &'i usize>,
    width: usize,
) -> Result<(), String> {
    match indices.into_iter().find(|&&index| index >= width) {
        Some(index) => Err(format!("{what}: there is no column {index} of {width}")),
        None => Ok(()),
    }
}

fn same_width(expected: usize, operator: &Operator) -> Result<(), String> {
    let width = operator.schema.len();
    if width == expected {
        Ok(())
    } else {
        Err(format!("it has {width} columns instead of {expected}"))
    }
}

fn check_aggregates(aggregates: &[Aggregate], width: usize) -> Result<(), String> {
    aggregates.iter().try_for_each(|aggregate| {
        within(
            &aggregate.name,
            aggregate
                .arguments
                .iter()
                .chain(&aggregate.filter)
                .chain(aggregate.order_by.iter().map(|item| &item.column)),
            width,
        )
    })
}

fn check_over(calls: &[OverCall], width: usize) -> Result<(), String> {
    calls.iter().try_for_each(|call| match &call.function {
        OverFunction::Aggregate(aggregate) => {
            check_aggregates(std::slice::from_ref(aggregate), width)
        }
        OverFunction::Shift { value, default, .. } => {
            within(&call.name, std::iter::once(value).chain(default), width)
        }
        OverFunction::Nth { value, place, .. } => {
            if *place == 0 {
                return Err("the rows of a frame are counted from 1".to_owned());
            }
            within(&call.name, [value], width)
        }
        OverFunction::Ntile(0) => Err("a partition is cut into one part at least".to_owned()),
        _ => Ok(()),
    })
}

fn condition(expr: &Expr, types: &[DataType]) -> Result<(), String> {
    check_expr(expr, types)?;
    match expr.data_type {
        DataType::Boolean => Ok(()),
        ref other => Err(format!("a condition is {other}")),
    }
}

/// Every column exists and has the type that the expression thinks it has.
fn check_expr(expr: &Expr, types: &[DataType]) -> Result<(), String> {
    if let Some(index) = expr.as_column() {
        within("expression", [&index], types.len())?;
        if types[index] != expr.data_type {
            return Err(format!(
                "column {index} is {}, not {}",
                types[index], expr.data_type
            ));
        }
    }
    expr.children()
        .into_iter()
        .try_for_each(|child| check_expr(child, types))
}

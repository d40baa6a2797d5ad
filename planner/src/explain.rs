//! EXPLAIN: the plan as a tree, sinks at the top, inputs below; an operator that several read is printed once.
//!
//! ```text
//! totals/sink: Sink into totals
//! │   retractions · key (item)
//! └─ totals/aggregate: Aggregate by item: sum(price)
//!    │   retractions · key (item)
//!    │   state groups (map, bounded by keys): item STRING → sum(price) BIGINT
//!    └─ bids/source: Source bids (item, price)
//!           append-only
//!           state position (position, constant): split STRING → position STRING
//! ```

use std::collections::BTreeSet;
use std::fmt::Write;

use weir_types::Schema;

use crate::canonical;
use crate::lower::rank::{bounds_text, order_text};
use crate::plan::{
    Changelog, Expr, JoinKind, JoinTiming, Operator, OperatorKind, Partitioning, StateBound,
    StateLayout, StateTable, StreamPlan,
};

/// The plan as a tree (EXPLAIN): for each operator its ID, inputs, changelog mode, key, watermark, state tables.
pub fn explain(plan: &StreamPlan) -> String {
    explain_with(plan, &|_| Vec::new())
}

/// As [`explain`], with further lines below each operator: what it did when it ran, say.
pub fn explain_with(plan: &StreamPlan, notes: &dyn Fn(usize) -> Vec<String>) -> String {
    let mut read = vec![false; plan.operators.len()];
    for input in plan.operators.iter().flat_map(|operator| &operator.inputs) {
        read[input.from] = true;
    }
    let mut printer = Printer {
        plan,
        notes,
        out: String::new(),
        printed: BTreeSet::new(),
    };
    let roots: Vec<usize> = (0..plan.operators.len())
        .filter(|&index| !read[index])
        .collect();
    for (i, root) in roots.into_iter().enumerate() {
        if i > 0 {
            printer.out.push('\n');
        }
        printer.operator(root, "", "", None);
    }
    printer.out
}

struct Printer<'a> {
    plan: &'a StreamPlan,
    /// Further lines of an operator.
    notes: &'a dyn Fn(usize) -> Vec<String>,
    out: String,
    printed: BTreeSet<usize>,
}

impl Printer<'_> {
    /// Prints an operator and what is below it; `first` and `rest` are what stands before its lines.
    fn operator(&mut self, index: usize, first: &str, rest: &str, edge: Option<&Partitioning>) {
        let plan = self.plan;
        let operator = &plan.operators[index];
        let routed = match edge {
            Some(Partitioning::Hash(columns)) if columns.is_empty() => {
                "  (to one worker)".to_owned()
            }
            Some(Partitioning::Hash(columns)) => {
                format!("  (by {})", names(&operator.schema, columns))
            }
            _ => String::new(),
        };
        if !self.printed.insert(index) {
            let _ = writeln!(self.out, "{first}{} (see above){routed}", operator.id);
            return;
        }
        let _ = writeln!(
            self.out,
            "{first}{}: {}{routed}",
            operator.id,
            self.what(operator)
        );
        let bar = if operator.inputs.is_empty() {
            " "
        } else {
            "│"
        };
        let notes = (self.notes)(index);
        for line in self.details(operator).into_iter().chain(notes) {
            let _ = writeln!(self.out, "{rest}{bar}   {line}");
        }
        for (i, input) in operator.inputs.iter().enumerate() {
            let last = i + 1 == operator.inputs.len();
            let (branch, below) = if last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            let (first, rest) = (format!("{rest}{branch}"), format!("{rest}{below}"));
            self.operator(input.from, &first, &rest, Some(&input.partitioning));
        }
    }

    /// What the operator does.
    fn what(&self, operator: &Operator) -> String {
        let visible: Vec<Schema> = operator
            .inputs
            .iter()
            .map(|input| {
                let given = &self.plan.operators[input.from].schema;
                operator.visible(given).to_vec()
            })
            .collect();
        let schemas: Vec<&Schema> = visible.iter().collect();
        let text = |expr: &Expr| canonical::text(expr, &|column| schemas[0][column].name.clone());
        match &operator.kind {
            OperatorKind::Source {
                table,
                columns,
                filter,
            } => {
                let declared = &self.plan.tables[table].columns;
                let name = |&column: &usize| declared[column].column.name.clone();
                let read: Vec<String> = columns.iter().map(name).collect();
                let definition = &self.plan.tables[table];
                let how = match definition.is_materialized_view() {
                    true => crate::view_read::explained(definition, filter.as_ref()),
                    false => String::new(),
                };
                let filter = filter.as_ref().map_or_else(String::new, |filter| {
                    format!(
                        " where {}",
                        canonical::text(filter, &|column| name(&column))
                    )
                });
                format!("Source {table} ({}){filter}{how}", read.join(", "))
            }
            OperatorKind::Filter { predicate } => format!("Filter {}", text(predicate)),
            OperatorKind::Project { exprs } => {
                let named = exprs.iter().zip(&operator.schema).map(|(expr, column)| {
                    let text = text(expr);
                    if text == column.name {
                        text
                    } else {
                        format!("{text} AS {}", column.name)
                    }
                });
                format!("Project {}", named.collect::<Vec<_>>().join(", "))
            }
            OperatorKind::Union => "Union".to_owned(),
            OperatorKind::SetOperation { operator, all } => {
                format!("{operator:?}{}", if *all { " all" } else { "" })
            }
            OperatorKind::Unnest {
                column,
                outer,
                ordinality,
                ..
            } => format!(
                "Unnest {}{}{}",
                schemas[0][*column].name,
                if *ordinality { " with ordinality" } else { "" },
                if *outer {
                    ", rows without elements too"
                } else {
                    ""
                }
            ),
            OperatorKind::WindowAssign { window, time } => {
                format!(
                    "WindowAssign {}",
                    canonical::window(window, &schemas[0][*time].name)
                )
            }
            OperatorKind::Arrival {
                partition,
                last,
                bounds,
                ..
            } => {
                let which = if *last {
                    "last".to_owned()
                } else {
                    format!("first: {}", bounds_text(bounds))
                };
                if partition.is_empty() {
                    format!("Arrival {which}")
                } else {
                    format!("Arrival of each {} {which}", names(schemas[0], partition))
                }
            }
            OperatorKind::TemporalFilter { enters, leaves } => {
                let side = |word: &str, columns: &[usize]| {
                    let name = |&column: &usize| format!("{word} {}", schemas[0][column].name);
                    columns.iter().map(name).collect::<Vec<_>>()
                };
                let mut parts = side("from", enters);
                parts.extend(side("until", leaves));
                format!("TemporalFilter {}", parts.join(", "))
            }
            OperatorKind::Clock { time } => format!("Clock {}", schemas[0][*time].name),
            OperatorKind::Session { gap, time, keys } => {
                let name = |&column: &usize| schemas[0][column].name.as_str();
                let keys: Vec<&str> = keys.iter().map(name).collect();
                canonical::session(*gap, name(time), &keys)
            }
            OperatorKind::WindowAggregate {
                window,
                time,
                keys,
                aggregates,
                ..
            } => {
                let window = canonical::window(window, &schemas[0][*time].name);
                let by = if keys.is_empty() {
                    window
                } else {
                    format!("{}, {window}", names(schemas[0], keys))
                };
                let calls: Vec<&str> = aggregates.iter().map(|call| call.name.as_str()).collect();
                format!("WindowAggregate by {by}{}", list(&calls))
            }
            OperatorKind::Expand { keys, sets, .. } => {
                let set = |set: &Vec<bool>| {
                    let grouped = keys.iter().zip(set).filter(|(_, grouped)| **grouped);
                    let grouped: Vec<usize> = grouped.map(|(key, _)| *key).collect();
                    format!("({})", names(schemas[0], &grouped))
                };
                let sets: Vec<String> = sets.iter().map(set).collect();
                format!("Expand to {}", sets.join(", "))
            }
            OperatorKind::Aggregate {
                keys, aggregates, ..
            } => {
                let by = if keys.is_empty() {
                    String::new()
                } else {
                    format!(" by {}", names(schemas[0], keys))
                };
                let calls: Vec<&str> = aggregates.iter().map(|call| call.name.as_str()).collect();
                format!("Aggregate{by}{}", list(&calls))
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
                let kind = join.word();
                let pairs = left_keys.iter().zip(right_keys).enumerate();
                let pairs: Vec<String> = pairs
                    .map(|(i, (&l, &r))| {
                        let equal = match null_equal.get(i) {
                            Some(true) => "IS NOT DISTINCT FROM",
                            _ => "=",
                        };
                        let (left, right) = (&schemas[0][l].name, &schemas[1][r].name);
                        format!("left.{left} {equal} right.{right}")
                    })
                    .collect();
                let residual = residual.as_ref().map_or_else(String::new, |residual| {
                    let width = schemas[0].len();
                    let name = |column: usize| match column.checked_sub(width) {
                        None => format!("left.{}", schemas[0][column].name),
                        Some(column) => format!("right.{}", schemas[1][column].name),
                    };
                    format!(" AND {}", canonical::text(residual, &name))
                });
                let what = match &operator.kind {
                    OperatorKind::LookupJoin { complete: true, .. } => {
                        "LookupJoin when the right has ended:"
                    }
                    OperatorKind::LookupJoin { .. } => "LookupJoin at the end of the epoch:",
                    _ => "Join",
                };
                format!("{what} {kind} on {}{residual}", pairs.join(" AND "))
            }
            OperatorKind::Rank {
                partition,
                order,
                function,
                bounds,
                ..
            }
            | OperatorKind::FinalRank {
                partition,
                order,
                function,
                bounds,
                ..
            } => {
                let mut text = format!("Rank by {}", function.name());
                if !partition.is_empty() {
                    text.push_str(&format!(" of each {}", names(schemas[0], partition)));
                }
                if !order.is_empty() {
                    let name = |column: usize| schemas[0][column].name.as_str();
                    text.push_str(&format!(" order by {}", order_text(order, &name)));
                }
                text.push_str(&format!(": {}", bounds_text(bounds)));
                if let OperatorKind::FinalRank { timing, .. } = &operator.kind {
                    text.push_str(timing.text());
                }
                text
            }
            OperatorKind::Over {
                partition,
                order,
                time,
                calls,
            } => crate::lower::over::explained(partition, order, *time, calls, schemas[0]),
            OperatorKind::TimedJoin {
                timing,
                join,
                left_keys,
                right_keys,
                residual,
            } => timed_join(
                timing,
                *join,
                [left_keys, right_keys],
                residual.as_ref(),
                &schemas,
            ),
            OperatorKind::Sink { table } => match self.plan.tables.get(table) {
                Some(kept) if kept.is_materialized_view() => {
                    format!("MaterializedView {table}, read with SELECT … FROM {table}")
                }
                _ => format!("Sink into {table}"),
            },
            OperatorKind::Output { names } => format!("Output ({})", names.join(", ")),
        }
    }

    /// What is known of its rows, and what it keeps.
    fn details(&self, operator: &Operator) -> Vec<String> {
        let mut facts = vec![
            match operator.changelog {
                Changelog::AppendOnly => "append-only",
                Changelog::Retractions => "retractions",
            }
            .to_owned(),
        ];
        match operator.unique_key.as_deref() {
            Some([]) => facts.push("at most one row".to_owned()),
            Some(key) => facts.push(format!("key ({})", names(&operator.schema, key))),
            None => {}
        }
        if let Some(time) = operator.event_time {
            let times: Vec<usize> = [time]
                .into_iter()
                .chain(operator.further_event_times.iter().copied())
                .collect();
            facts.push(format!("event time {}", names(&operator.schema, &times)));
        }
        if let OperatorKind::Source { table, .. } = &operator.kind
            && let Some(watermark) = &self.plan.tables[table].watermark
        {
            let columns = &self.plan.tables[table].columns;
            let text = canonical::text(&watermark.expr, &|column| {
                columns[column].column.name.clone()
            });
            facts.push(format!("watermark {text}"));
        }
        if let Some(ttl) = operator.ttl {
            facts.push(crate::retention::ttl_text(ttl));
        }
        let mut lines = vec![facts.join(" · ")];
        lines.extend(operator.state.iter().map(state));
        lines
    }
}

fn timed_join(
    timing: &JoinTiming,
    join: JoinKind,
    keys: [&[usize]; 2],
    residual: Option<&Expr>,
    schemas: &[&Schema],
) -> String {
    let width = schemas[0].len();
    let name = |column: usize| match column.checked_sub(width) {
        None => format!("left.{}", schemas[0][column].name),
        Some(column) => format!("right.{}", schemas[1][column].name),
    };
    let what = match timing {
        JoinTiming::Interval { .. } => "IntervalJoin",
        JoinTiming::Window { .. } => "WindowJoin",
        JoinTiming::AsOf { .. } => "AsOfJoin",
    };
    let pairs = keys[0].iter().zip(keys[1]);
    let mut conditions: Vec<String> = pairs
        .map(|(&l, &r)| format!("{} = {}", name(l), name(width + r)))
        .collect();
    if !matches!(timing, JoinTiming::Window { .. }) {
        let (left, right) = timing.columns();
        conditions.push(canonical::timing(timing, &name(left), &name(width + right)));
    }
    conditions.extend(residual.map(|residual| canonical::text(residual, &name)));
    format!("{what} {} on {}", join.word(), conditions.join(" AND "))
}

fn state(table: &StateTable) -> String {
    let layout = match table.layout {
        StateLayout::Map => "map",
        StateLayout::Slices => "slices",
        StateLayout::MultiMap => "multimap",
        StateLayout::Sorted => "sorted",
        StateLayout::Position => "position",
    };
    let bound = match table.bound {
        StateBound::Watermark => "bounded by the watermark",
        StateBound::Clock => "bounded by the clock",
        StateBound::Keys => "bounded by keys",
        StateBound::Constant => "constant",
        StateBound::Ttl => "bounded by its TTL",
        StateBound::BoundedInput => "bounded by its input, which ends",
        StateBound::Nothing => "bounded by nothing",
    };
    let columns = |schema: &Schema| {
        let typed = schema
            .iter()
            .map(|column| format!("{} {}", column.name, column.data_type));
        typed.collect::<Vec<_>>().join(", ")
    };
    let key = if table.key.is_empty() {
        "()".to_owned()
    } else {
        columns(&table.key)
    };
    format!(
        "state {} ({layout}, {bound}): {key} → {}",
        table.name,
        columns(&table.value)
    )
}

fn names(schema: &Schema, columns: &[usize]) -> String {
    columns
        .iter()
        .map(|&column| schema[column].name.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

fn list(calls: &[&str]) -> String {
    if calls.is_empty() {
        String::new()
    } else {
        format!(": {}", calls.join(", "))
    }
}

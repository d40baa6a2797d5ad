//! Rankings: the input is made to measure, so that what is stored is what the block reads, and ties break by identity.

use std::collections::BTreeMap;

use weir_types::{Column, DataType, SortColumn, Span};

use crate::binder::clock::is_arrival;
use crate::identity::Identity;
use crate::logical::{NodeId, NodeKind};
use crate::plan::{Expr, Input, OperatorKind, Partitioning, RankBounds, RankFunction};

use super::aggregate::{Fitting, deduplicated};
use super::{Columns, Emitted, Lowering, New, NewLogic};

impl RankFunction {
    /// The SQL name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RowNumber => "row_number",
            Self::Rank => "rank",
            Self::DenseRank => "dense_rank",
        }
    }
}

/// Bounds as a text: `3 to 10`, `from 4`, `to 10 without 5`.
pub(crate) fn bounds_text(bounds: &RankBounds) -> String {
    let mut text = match (bounds.first, bounds.last) {
        (1, None) => "all".to_owned(),
        (1, Some(last)) => format!("to {last}"),
        (first, None) => format!("from {first}"),
        (first, Some(last)) => format!("{first} to {last}"),
    };
    if bounds.skip > 0 {
        text.push_str(&format!(" without the first {}", bounds.skip));
    }
    text
}

/// An order as a text, over the names of columns.
pub(crate) fn order_text<'n>(order: &[SortColumn], name: &dyn Fn(usize) -> &'n str) -> String {
    let texts = order.iter().map(|sort| {
        let direction = if sort.descending { " desc" } else { "" };
        let nulls = if sort.nulls_first { " nulls first" } else { "" };
        format!("{}{direction}{nulls}", name(sort.column))
    });
    texts.collect::<Vec<_>>().join(", ")
}

impl Lowering<'_> {
    pub(crate) fn rank(&mut self, node: NodeId, wanted: &Columns) -> Emitted {
        let graph = self.graph;
        let current = &graph.nodes[node];
        let NodeKind::Rank {
            partition,
            order,
            function,
            bounds,
        } = &current.kind
        else {
            unreachable!("the caller looked at the kind")
        };
        if is_arrival(order) {
            return self.arrival(node, wanted);
        }
        let number = current.columns.len() - 1;
        let shown = wanted.contains(&number);
        let below = self.emit_input(node, wanted);
        let known = self.logic[below.operator].columns.clone();
        let schema = self.operators[below.operator].schema.clone();
        let identity = |expr: &Expr| Identity::of(&below.moved(expr), &known);
        let read: Vec<(usize, Expr)> = wanted
            .iter()
            .filter(|&&column| column != number)
            .map(|&column| {
                let place = below.columns[&column];
                let data_type = schema[place].data_type.clone();
                (column, Expr::column(place, data_type, Span::default()))
            })
            .collect();
        let mut fitting = Fitting::default();
        for part in partition.iter().chain(order.iter().map(|sort| &sort.expr)) {
            fitting.place(identity(part), below.moved(part));
        }
        for (_, column) in &read {
            fitting.place(Identity::of(column, &known), column.clone());
        }
        fitting.sort_from(0);
        let input = if fitting.exprs.is_empty() {
            // Rows that nobody reads are numbered all the same.
            below.operator
        } else {
            let measured = self.with_time(node, 0, fitting.measured(), &below);
            self.push_project(below.operator, measured, &current.path)
        };
        let hidden = self.hidden_columns(node);
        let mut partition_places: Vec<usize> = partition
            .iter()
            .map(|part| fitting.find(&identity(part)))
            .collect();
        partition_places.sort_unstable();
        partition_places.dedup();
        let mut order_places: Vec<SortColumn> = Vec::with_capacity(order.len());
        for sort in order {
            let column = fitting.find(&identity(&sort.expr));
            // Within a partition its columns are all equal, and of one column the first mention decides.
            let is_known = order_places.iter().any(|known| known.column == column);
            if !is_known && !partition_places.contains(&column) {
                order_places.push(SortColumn {
                    column,
                    descending: sort.descending,
                    nulls_first: sort.nulls_first,
                });
            }
        }
        let width = self.operators[input].schema.len() - hidden;
        let mut columns: BTreeMap<usize, usize> = read
            .iter()
            .map(|(column, expr)| (*column, fitting.find(&Identity::of(expr, &known))))
            .collect();
        let mut schema = self.operators[input].schema.clone();
        schema.truncate(width);
        let mut identities = self.logic[input].columns.clone();
        identities.truncate(width);
        let over = |form: fn(&Identity) -> &str| {
            let parts: Vec<&str> = partition_places
                .iter()
                .map(|&i| form(&identities[i]))
                .collect();
            format!(
                "partition by {} order by {}",
                parts.join(", "),
                order_text(&order_places, &|column| form(&identities[column]))
            )
        };
        let (shown_over, typed_over) = (over(|id| &id.name), over(|id| &id.typed));
        let mut texts: Vec<&str> = identities.iter().map(|id| id.typed.as_str()).collect();
        texts.sort_unstable();
        let detail = format!(
            "{} {typed_over} {} of {}",
            function.name(),
            bounds_text(bounds),
            texts.join(", ")
        );
        if shown {
            columns.insert(number, width);
            schema.push(Column::new(
                current.columns[number].name.clone(),
                DataType::Int64,
            ));
            identities.push(Identity::new(
                format!("{}() over ({shown_over})", function.name()),
                format!("{}() over ({typed_over})", function.name()),
            ));
        }
        let kept = |column: usize| (column < width).then_some(column);
        let mut properties = deduplicated(self.properties(input).moved(&kept));
        properties.changelog = crate::plan::Changelog::Retractions;
        (properties.event_time, properties.window) = (None, None);
        if *function == RankFunction::RowNumber {
            let one_row = bounds.last == Some(1);
            if one_row || (shown && properties.unique_key.is_none()) {
                let mut key = partition_places.clone();
                key.extend((!one_row).then_some(width));
                properties.unique_key = Some(key);
            }
        }
        self.ttl = self.ttl_of(node);
        let operator = self.push(New {
            id: current.named(),
            kind: OperatorKind::Rank {
                partition: partition_places.clone(),
                order: order_places,
                function: *function,
                bounds: *bounds,
                shown,
            },
            inputs: vec![Input {
                from: input,
                partitioning: Partitioning::Hash(partition_places),
            }],
            schema,
            properties,
            span: current.span,
            logic: NewLogic::Stateful(detail, Box::new(move |_| identities)),
        });
        Emitted { operator, columns }
    }
}

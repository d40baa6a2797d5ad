//! OVER: the input is made to measure, as for a ranking, so that what is stored is what the block reads.

use std::collections::BTreeMap;

use weir_types::{Column, Schema, SortColumn, Span};

use crate::identity::Identity;
use crate::logical::{AggregateCall, NodeId, NodeKind, OverExpr};
use crate::over::{OverCall, OverFunction, order_parts, window_text};
use crate::plan::{Aggregate, Expr, Input, OperatorKind, Partitioning};

use super::aggregate::{Fitting, canonical_calls, deduplicated};
use super::{Columns, Emitted, Lowering, New, NewLogic};

/// What EXPLAIN says of the operator.
pub(crate) fn explained(
    partition: &[usize],
    order: &[SortColumn],
    time: Option<usize>,
    calls: &[OverCall],
    input: &Schema,
) -> String {
    let name = |column: usize| input[column].name.clone();
    let partition: Vec<String> = partition.iter().map(|&column| name(column)).collect();
    let window = window_text(&partition, &order_parts(order, &name));
    let calls: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
    let when = if time.is_some() {
        ", when the watermark has passed"
    } else {
        ""
    };
    format!("Over ({window}){when}: {}", calls.join(", "))
}

impl Lowering<'_> {
    pub(crate) fn over(&mut self, node: NodeId, wanted: &Columns) -> Emitted {
        let graph = self.graph;
        let current = &graph.nodes[node];
        let NodeKind::Over {
            partition,
            order,
            time,
            calls,
        } = &current.kind
        else {
            unreachable!("the caller looked at the kind")
        };
        let first = current.columns.len() - calls.len();
        let below = self.emit_input(node, wanted);
        let known = self.logic[below.operator].columns.clone();
        let schema = self.operators[below.operator].schema.clone();
        let identity = |expr: &Expr| Identity::of(&below.moved(expr), &known);
        let column = |column: usize| {
            let place = below.columns[&column];
            Expr::column(place, schema[place].data_type.clone(), Span::default())
        };
        let read: Vec<(usize, Expr)> = wanted
            .iter()
            .copied()
            .filter(|&column| column < first)
            .chain(*time)
            .map(|wanted| (wanted, column(wanted)))
            .collect();
        let mut fitting = Fitting::default();
        let ordered = order.iter().map(|sort| &sort.expr);
        let parts = calls.iter().flat_map(OverExpr::parts);
        for part in partition.iter().chain(ordered).chain(parts) {
            fitting.place(identity(part), below.moved(part));
        }
        for (_, expr) in &read {
            fitting.place(Identity::of(expr, &known), expr.clone());
        }
        fitting.sort_from(0);
        let input = if fitting.exprs.is_empty() {
            below.operator
        } else {
            self.push_project(below.operator, fitting.measured(), &current.path)
        };
        let place = |expr: &Expr| fitting.find(&identity(expr));
        let mut partition_places: Vec<usize> = partition.iter().map(place).collect();
        partition_places.sort_unstable();
        partition_places.dedup();
        let mut order_places: Vec<SortColumn> = Vec::with_capacity(order.len());
        for sort in order {
            let column = place(&sort.expr);
            // Of one column the first mention decides. One of the partition stays: a RANGE counts from its value.
            if order_places.iter().all(|known| known.column != column) {
                order_places.push(SortColumn {
                    column,
                    descending: sort.descending,
                    nulls_first: sort.nulls_first,
                });
            }
        }
        let width = self.operators[input].schema.len();
        let mut identities = self.logic[input].columns.clone();
        let window = |form: fn(&Identity) -> &str| {
            let name = |column: usize| form(&identities[column]).to_owned();
            let partition: Vec<String> = partition_places.iter().map(|&i| name(i)).collect();
            window_text(&partition, &order_parts(&order_places, &name))
        };
        let (shown_window, typed_window) = (window(|id| &id.name), window(|id| &id.typed));
        let lowered: Vec<(OverCall, Identity)> = calls
            .iter()
            .map(|call| {
                let (call, own) = lowered_call(call, &fitting, &identity);
                let over = Identity::new(
                    format!("{} over ({shown_window})", own.name),
                    format!("{} over ({typed_window})", own.typed),
                );
                (call, over)
            })
            .collect();
        let mut texts: Vec<&str> = lowered.iter().map(|(_, id)| id.typed.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        let mut stored: Vec<&str> = identities.iter().map(|id| id.typed.as_str()).collect();
        stored.sort_unstable();
        let timed = if time.is_some() {
            "in event time"
        } else {
            "at the barrier"
        };
        let detail = format!("{} {timed} of {}", texts.join(", "), stored.join(", "));
        let mut columns: BTreeMap<usize, usize> = read
            .iter()
            .map(|(column, expr)| (*column, fitting.find(&Identity::of(expr, &known))))
            .collect();
        columns.extend((0..calls.len()).map(|call| (first + call, width + call)));
        let mut schema = self.operators[input].schema.clone();
        schema.extend(
            current.columns[first..]
                .iter()
                .map(|column| Column::new(column.name.clone(), column.data_type.clone())),
        );
        identities.extend(lowered.iter().map(|(_, identity)| identity.clone()));
        let properties = deduplicated(
            current
                .properties
                .moved(&|column| columns.get(&column).copied()),
        );
        let operator = self.push(New {
            id: current.named(),
            kind: OperatorKind::Over {
                partition: partition_places.clone(),
                order: order_places,
                time: time.map(|time| columns[&time]),
                calls: lowered.into_iter().map(|(call, _)| call).collect(),
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

/// A call over the columns of the measured input, and its identity without the window.
fn lowered_call(
    call: &OverExpr,
    fitting: &Fitting,
    identity: &dyn Fn(&Expr) -> Identity,
) -> (OverCall, Identity) {
    let aggregate = |call: &AggregateCall| -> (Aggregate, Identity) {
        let (mut aggregates, mut identities, _) =
            canonical_calls(std::slice::from_ref(call), fitting, identity);
        (aggregates.remove(0), identities.remove(0))
    };
    let text = |form: fn(&Identity) -> &str| {
        let text = call
            .function
            .text(&|call| form(&aggregate(call).1).to_owned(), &|expr| {
                form(&identity(expr)).to_owned()
            });
        OverCall::text_of(&call.function, text, &call.frame)
    };
    let own = Identity::new(text(|id| &id.name), text(|id| &id.typed));
    let function: OverFunction = call.function.mapped(&|call| aggregate(call).0, &|expr| {
        fitting.find(&identity(expr))
    });
    let lowered = OverCall {
        name: own.name.clone(),
        function,
        frame: call.frame.clone(),
        data_type: call.data_type.clone(),
        span: call.span,
    };
    (lowered, own)
}

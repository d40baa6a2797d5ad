//! Sessions: the input is made to measure, as for everything that keeps rows.

use weir_types::Span;

use crate::canonical;
use crate::fingerprint::sorted;
use crate::identity::window_columns;
use crate::logical::{NodeId, NodeKind};
use crate::plan::{Expr, Input, OperatorKind, Partitioning};

use super::aggregate::deduplicated;
use super::{Columns, Emitted, Lowering, New, NewLogic};

impl Lowering<'_> {
    pub(crate) fn session(&mut self, node: NodeId, wanted: &Columns) -> Emitted {
        let graph = self.graph;
        let current = &graph.nodes[node];
        let NodeKind::Session { gap, time, keys } = &current.kind else {
            unreachable!("the caller looked at the kind")
        };
        let below = self.wanted_inputs(node, wanted).remove(0);
        let input = current.inputs[0];
        let first = graph.nodes[input].columns.len();
        let column = |&column: &usize| {
            let data_type = current.columns[column].data_type.clone();
            Expr::column(column, data_type, Span::default())
        };
        let key_exprs: Vec<Expr> = keys.iter().map(column).collect();
        let side = self.side(input, &below, &below, &key_exprs, &current.path);
        let mut key_places = side.keys.clone();
        key_places.sort_by(|&a, &b| side.identities[a].cmp(&side.identities[b]));
        key_places.dedup();
        let time_place = side.columns[time];
        let text = |typed: bool| {
            let form = |&place: &usize| {
                let identity = &side.identities[place];
                if typed {
                    identity.typed.as_str()
                } else {
                    identity.name.as_str()
                }
            };
            let keys: Vec<&str> = key_places.iter().map(form).collect();
            canonical::session(*gap, form(&time_place), &keys)
        };
        let detail = format!("{} of {}", text(true), sorted(side.identities.clone()));
        let mut identities = side.identities.clone();
        identities.extend(window_columns(&text(false)));
        let width = side.identities.len();
        let mut columns = side.columns.clone();
        columns.extend((0..3).map(|i| (first + i, width + i)));
        let mut schema = self.operators[side.operator].schema.clone();
        schema.extend(current.columns[first..].iter().cloned());
        let properties = deduplicated(
            current
                .properties
                .moved(&|column| columns.get(&column).copied()),
        );
        let operator = self.push(New {
            id: current.named(),
            kind: OperatorKind::Session {
                gap: *gap,
                time: time_place,
                keys: key_places.clone(),
            },
            inputs: vec![Input {
                from: side.operator,
                partitioning: Partitioning::Hash(key_places),
            }],
            schema,
            properties,
            span: current.span,
            logic: NewLogic::Stateful(detail, Box::new(move |_| identities)),
        });
        Emitted { operator, columns }
    }
}

//! INTERSECT and EXCEPT: both inputs get the same columns in the same order, by identity, and are routed by all of them.

use std::collections::BTreeMap;

use weir_types::{Column, Span};

use crate::fingerprint::sorted;
use crate::identity::Identity;
use crate::logical::NodeId;
use crate::plan::{Expr, Input, OperatorKind, Partitioning, SetOperator};

use super::emit::Measured;
use super::{Emitted, Lowering, New, NewLogic};

impl Lowering<'_> {
    pub(crate) fn set_operation(
        &mut self,
        node: NodeId,
        operator: SetOperator,
        all: bool,
    ) -> Emitted {
        let graph = self.graph;
        let current = &graph.nodes[node];
        let width = current.columns.len();
        let wanted = self.wanted_inputs(node, &(0..width).collect());
        let inputs = current.inputs.iter().zip(&wanted);
        let sides: Vec<Emitted> = inputs
            .map(|(&input, wanted)| self.emit(input, wanted))
            .collect();
        let word = match operator {
            SetOperator::Intersect => "intersect",
            SetOperator::Except => "except",
        };
        // A column of the result is a pair of columns; the order of the text means nothing to what is stored.
        let pair = |column: usize| {
            let of = |side: &Emitted| &self.logic[side.operator].columns[side.columns[&column]];
            Identity::together(word, &[of(&sides[0]), of(&sides[1])])
        };
        let pairs: Vec<Identity> = (0..width).map(pair).collect();
        let mut identities = pairs.clone();
        identities.sort();
        identities.dedup();
        let place = |column: usize| identities.iter().position(|known| *known == pairs[column]);
        let columns: BTreeMap<usize, usize> = (0..width)
            .filter_map(|column| Some((column, place(column)?)))
            .collect();

        let first_of = |identity: &Identity| pairs.iter().position(|pair| pair == identity);
        let sources: Vec<usize> = identities.iter().filter_map(first_of).collect();
        let inputs: Vec<usize> = sides
            .iter()
            .enumerate()
            .map(|(input, side)| {
                let schema = self.operators[side.operator].schema.clone();
                let measured = sources.iter().zip(&identities).map(|(column, identity)| {
                    let place = side.columns[column];
                    let data_type = schema[place].data_type.clone();
                    Measured {
                        column: Column::new(identity.name.clone(), data_type.clone()),
                        expr: Expr::column(place, data_type, Span::default()),
                    }
                });
                let measured = self.with_time(node, input, measured.collect(), side);
                self.push_project(side.operator, measured, &current.path)
            })
            .collect();
        let keys: Vec<usize> = (0..identities.len()).collect();
        let mut schema = self.operators[inputs[0]].schema.clone();
        schema.truncate(identities.len());
        let properties = current
            .properties
            .moved(&|column| columns.get(&column).copied());
        let quantifier = if all { " all" } else { "" };
        let detail = format!("{word}{quantifier} {}", sorted(identities.clone()));
        self.ttl = self.ttl_of(node);
        let pushed = self.push(New {
            id: current.named(),
            kind: OperatorKind::SetOperation { operator, all },
            inputs: inputs
                .into_iter()
                .map(|from| Input {
                    from,
                    partitioning: Partitioning::Hash(keys.clone()),
                })
                .collect(),
            schema,
            properties: super::aggregate::deduplicated(properties),
            span: current.span,
            logic: NewLogic::Stateful(detail, Box::new(move |_| identities)),
        });
        Emitted {
            operator: pushed,
            columns,
        }
    }
}

//! Grouping sets: each row once for every set.

use std::collections::BTreeMap;

use weir_types::{Column, DataType, Schema, Span};

use crate::identity::Identity;
use crate::logical::{NodeId, NodeKind};
use crate::plan::{Expr, OperatorKind};

use super::emit::{Measured, forward};
use super::{Columns, Emitted, Lowering, New, NewLogic};

impl Lowering<'_> {
    pub(crate) fn expand(&mut self, node: NodeId, wanted: &Columns) -> Emitted {
        let graph = self.graph;
        let current = &graph.nodes[node];
        let NodeKind::Expand { keys, sets } = &current.kind else {
            unreachable!("the caller looked at the kind")
        };
        let width = graph.nodes[current.inputs[0]].columns.len();
        let below = self.emit_input(node, wanted);
        let known = self.logic[below.operator].columns.clone();
        let schema = self.operators[below.operator].schema.clone();
        // The columns that somebody reads, then the keys.
        let kept: Vec<usize> = wanted
            .iter()
            .copied()
            .filter(|&column| column < width)
            .collect();
        let mut measured: Vec<Measured> = kept
            .iter()
            .map(|column| {
                let place = below.columns[column];
                Measured {
                    expr: Expr::column(place, schema[place].data_type.clone(), Span::default()),
                    column: schema[place].clone(),
                }
            })
            .collect();
        let identities: Vec<Identity> = keys
            .iter()
            .map(|key| Identity::of(&below.moved(key), &known))
            .collect();
        measured.extend(
            keys.iter()
                .zip(&identities)
                .map(|(key, identity)| Measured {
                    expr: below.moved(key),
                    column: Column::new(identity.name.clone(), key.data_type.clone()),
                }),
        );
        let input = self.push_project(below.operator, measured, &current.path);

        let numbered = current.columns.len() - width > 2 * keys.len();
        let mut added: Vec<Identity> = identities.iter().map(|key| key.called("set")).collect();
        added.extend(identities.iter().map(|key| key.called("grouping")));
        if numbered {
            added.push(Identity::named("grouping set"));
        }
        let mut schema: Schema = self.operators[input].schema.clone();
        let types = keys.iter().map(|key| key.data_type.clone());
        let types = types.chain(std::iter::repeat(DataType::Int64));
        let names = added.iter().map(|identity| identity.name.clone());
        schema.extend(
            names
                .zip(types)
                .map(|(name, data_type)| Column::new(name, data_type)),
        );
        let form = form_of(&identities, sets);
        let all: Vec<usize> = (0..kept.len() + keys.len()).collect();
        let logic = self.logic[input].unnested(&form, &all, added);
        let mut columns: BTreeMap<usize, usize> = kept.iter().copied().zip(0..).collect();
        let first_added = kept.len() + keys.len();
        columns.extend((width..current.columns.len()).zip(first_added..));
        let properties = current
            .properties
            .moved(&|column| columns.get(&column).copied());
        let id = self.names.take(&current.path, "expand").id;
        let operator = self.push(New {
            id,
            kind: OperatorKind::Expand {
                keys: (kept.len()..first_added).collect(),
                sets: sets.clone(),
                numbered,
            },
            inputs: vec![forward(input)],
            schema,
            properties,
            span: current.span,
            logic: NewLogic::Stateless(form, logic),
        });
        Emitted { operator, columns }
    }
}

/// The sets in an order that is not the text's.
fn form_of(keys: &[Identity], sets: &[Vec<bool>]) -> String {
    let set = |set: &Vec<bool>| {
        let grouped = keys.iter().zip(set).filter(|(_, grouped)| **grouped);
        let mut names: Vec<&str> = grouped.map(|(key, _)| key.typed.as_str()).collect();
        names.sort_unstable();
        format!("({})", names.join(", "))
    };
    let mut sets: Vec<String> = sets.iter().map(set).collect();
    sets.sort();
    format!("expand({})", sets.join(", "))
}

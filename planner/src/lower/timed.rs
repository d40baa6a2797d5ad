//! Joins that time bounds: like other joins their inputs are made to measure, with the columns of time among them.

use crate::canonical;
use crate::fingerprint::sorted;
use crate::identity::{Identity, joined_columns};
use crate::logical::{NodeId, NodeKind};
use crate::plan::{Expr, Input, OperatorKind, Partitioning};

use super::stateful::deduplicated;
use super::{Columns, Emitted, Lowering, New, NewLogic, columns_of};

impl Lowering<'_> {
    pub(crate) fn timed_join(&mut self, node: NodeId, wanted: &Columns) -> Emitted {
        let graph = self.graph;
        let current = &graph.nodes[node];
        let NodeKind::TimedJoin {
            timing,
            join,
            left_keys,
            right_keys,
            residual,
        } = &current.kind
        else {
            unreachable!("the caller looked at the kind")
        };
        let first_right = graph.nodes[current.inputs[0]].columns.len();
        let wanted_inputs = self.wanted_inputs(node, wanted);
        let (left_time, right_time) = timing.columns();
        let mut read = wanted | &columns_of(residual.iter());
        read.extend([left_time, first_right + right_time]);
        let left_read = read.iter().copied().filter(|&column| column < first_right);
        let right_read = read
            .iter()
            .filter_map(|&column| column.checked_sub(first_right));
        let (left_read, right_read) = (left_read.collect(), right_read.collect());
        let (left_input, right_input) = (current.inputs[0], current.inputs[1]);
        let path = &current.path;
        let left = self.side(left_input, &wanted_inputs[0], &left_read, left_keys, path);
        let right = self.side(
            right_input,
            &wanted_inputs[1],
            &right_read,
            right_keys,
            path,
        );

        let mut pairs: Vec<(usize, usize)> = left
            .keys
            .iter()
            .copied()
            .zip(right.keys.iter().copied())
            .collect();
        pairs.sort_by_key(|&(l, r)| (left.identities[l].clone(), right.identities[r].clone()));
        pairs.dedup();
        let pair_texts: Vec<String> = pairs
            .iter()
            .map(|&(l, r)| {
                let (l, r) = (&left.identities[l].typed, &right.identities[r].typed);
                format!("{l} = {r}")
            })
            .collect();
        let left_width = left.identities.len();
        let mut columns = left.columns.clone();
        columns.extend(
            right
                .columns
                .iter()
                .map(|(&column, &place)| (first_right + column, left_width + place)),
        );
        let output = Emitted {
            operator: 0,
            columns,
        };
        let timing = timing.moved(left.columns[&left_time], right.columns[&right_time]);
        let residual = residual.as_ref().map(|residual| output.moved(residual));
        let through = right.identities.iter().map(|identity| Identity {
            name: format!("right:{}", identity.name),
            typed: format!("right:{}", identity.typed),
        });
        let both: Vec<Identity> = left.identities.iter().cloned().chain(through).collect();
        let conjuncts = residual
            .iter()
            .flat_map(|residual: &Expr| residual.clone().conjuncts());
        let residual_text = sorted(conjuncts.map(|conjunct| Identity::of(&conjunct, &both)));
        let (left_place, right_place) = timing.columns();
        let timing_text = canonical::timing(
            &timing,
            &both[left_place].typed,
            &both[left_width + right_place].typed,
        );
        let detail = format!(
            "{} on {} {timing_text} residual {residual_text} left {} right {}",
            join.word(),
            pair_texts.join(" and "),
            sorted(left.identities.clone()),
            sorted(right.identities.clone())
        );
        let mut schema = self.operators[left.operator].schema.clone();
        schema.extend(self.operators[right.operator].schema.iter().cloned());
        let (left_places, right_places): (Vec<usize>, Vec<usize>) = pairs.into_iter().unzip();
        let (id, join) = (current.named(), *join);
        let properties = deduplicated(
            current
                .properties
                .moved(&|column| output.columns.get(&column).copied()),
        );
        let (id_text, left_identities, right_identities) =
            (id.to_string(), left.identities, right.identities);
        let edge = |from: usize, keys: &[usize]| Input {
            from,
            partitioning: Partitioning::Hash(keys.to_vec()),
        };
        let operator = self.push(New {
            id,
            inputs: vec![
                edge(left.operator, &left_places),
                edge(right.operator, &right_places),
            ],
            kind: OperatorKind::TimedJoin {
                timing,
                join,
                left_keys: left_places,
                right_keys: right_places,
                residual,
            },
            schema,
            properties,
            span: current.span,
            logic: NewLogic::Stateful(
                detail,
                Box::new(move |logic| {
                    joined_columns(join, &left_identities, &right_identities, &id_text, logic)
                }),
            ),
        });
        Emitted {
            operator,
            columns: output.columns,
        }
    }

    /// What a join that time bounds wants of its inputs.
    pub(crate) fn wanted_of_timed_join(&self, node: NodeId, wanted: &Columns) -> Vec<Columns> {
        let current = &self.graph.nodes[node];
        let NodeKind::TimedJoin {
            timing,
            left_keys,
            right_keys,
            residual,
            ..
        } = &current.kind
        else {
            unreachable!("the caller looked at the kind")
        };
        let first_right = self.graph.nodes[current.inputs[0]].columns.len();
        let both = wanted | &columns_of(residual.iter());
        let (left_time, right_time) = timing.columns();
        let left = both.iter().copied().filter(|&column| column < first_right);
        let right = both
            .iter()
            .filter_map(|&column| column.checked_sub(first_right));
        vec![
            left.chain(columns_of(left_keys.iter()))
                .chain([left_time])
                .collect(),
            right
                .chain(columns_of(right_keys.iter()))
                .chain([right_time])
                .collect(),
        ]
    }
}

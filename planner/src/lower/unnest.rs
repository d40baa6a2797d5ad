//! UNNEST: only the columns that somebody reads are copied for each element.

use std::collections::BTreeMap;

use weir_types::{Column, DataType, Schema, Span};

use crate::identity::{Identity, unnested_columns};
use crate::logical::{NodeId, NodeKind};
use crate::plan::{Expr, OperatorKind};

use super::emit::{Measured, forward};
use super::{Columns, Emitted, Lowering, New, NewLogic};

impl Lowering<'_> {
    pub(crate) fn unnest(&mut self, node: NodeId, wanted: &Columns) -> Emitted {
        let graph = self.graph;
        let current = &graph.nodes[node];
        let NodeKind::Unnest {
            argument,
            outer,
            ordinality,
        } = &current.kind
        else {
            unreachable!("the caller looked at the kind")
        };
        let width = graph.nodes[current.inputs[0]].columns.len();
        let kept: Vec<usize> = wanted
            .iter()
            .copied()
            .filter(|&column| column < width)
            .collect();
        let below = self.emit_input(node, wanted);
        let (input, column) = self.with_argument(&below, argument, node);

        let from = &self.operators[input];
        let keep: Vec<usize> = kept.iter().map(|column| below.columns[column]).collect();
        let mut schema: Schema = keep
            .iter()
            .map(|&place| from.schema[place].clone())
            .collect();
        schema.extend(current.columns[width..].iter().cloned());
        let logic = &self.logic[input];
        let array = &logic.columns[column];
        let added = unnested_columns(
            array,
            &current.columns[width..],
            *ordinality,
            self.earlier_unnests(node),
        );
        let form = format!(
            "unnest({}){}{}",
            array.typed,
            if *outer { " outer" } else { "" },
            if *ordinality { " with ordinality" } else { "" }
        );
        let logic = logic.unnested(&form, &keep, added);
        let new_place = |column: usize| {
            kept.iter()
                .position(|&kept| kept == column)
                .or_else(|| column.checked_sub(width).map(|added| kept.len() + added))
        };
        let columns: BTreeMap<usize, usize> = kept
            .iter()
            .copied()
            .chain(width..current.columns.len())
            .filter_map(|column| Some((column, new_place(column)?)))
            .collect();
        let properties = current
            .properties
            .moved(&|column| columns.get(&column).copied());
        let id = self.names.take(&current.path, "unnest").id;
        let operator = self.push(New {
            id,
            kind: OperatorKind::Unnest {
                column,
                keep,
                outer: *outer,
                ordinality: *ordinality,
            },
            inputs: vec![forward(input)],
            schema,
            properties,
            span: current.span,
            logic: NewLogic::Stateless(form, logic),
        });
        Emitted { operator, columns }
    }

    /// The operator that has the array as a column, and which: everything below it keeps its place.
    fn with_argument(&mut self, below: &Emitted, argument: &Expr, node: NodeId) -> (usize, usize) {
        let argument = below.moved(argument);
        if let Some(column) = argument.as_column() {
            return (below.operator, column);
        }
        let schema = self.operators[below.operator].schema.clone();
        let name = Identity::of(&argument, &self.logic[below.operator].columns).name;
        let mut measured: Vec<Measured> = schema
            .iter()
            .enumerate()
            .map(|(place, column)| Measured {
                expr: Expr::column(place, column.data_type.clone(), Span::default()),
                column: column.clone(),
            })
            .collect();
        measured.push(Measured {
            column: Column::new(name, argument.data_type.clone()),
            expr: argument,
        });
        let column = measured.len() - 1;
        let path = self.graph.nodes[node].path.clone();
        (self.push_project(below.operator, measured, &path), column)
    }

    /// How many UNNESTs the rows have come through before this one: two of one array are two.
    fn earlier_unnests(&self, node: NodeId) -> usize {
        let mut earlier = 0;
        let mut at = node;
        while let Some(&input) = self.graph.nodes[at].inputs.first() {
            at = input;
            match &self.graph.nodes[at].kind {
                NodeKind::Unnest { .. } => earlier += 1,
                NodeKind::Aggregate { .. } | NodeKind::SetOperation { .. } | NodeKind::Union => {
                    break;
                }
                _ => {}
            }
        }
        earlier
    }
}

/// The types of the columns that an element gives.
pub(crate) fn element_types(data_type: &DataType) -> Option<Vec<DataType>> {
    Some(match data_type {
        DataType::Array(element) => match element.as_ref() {
            DataType::Row(fields) => fields.iter().map(|field| field.data_type.clone()).collect(),
            element => vec![element.clone()],
        },
        DataType::Map(key, value) => vec![key.as_ref().clone(), value.as_ref().clone()],
        _ => return None,
    })
}

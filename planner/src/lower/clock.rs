//! What goes by the clock: rows whose event time is, from here on, the processing time of their epoch.

use crate::logical::NodeId;
use crate::plan::OperatorKind;

use super::emit::forward;
use super::{Columns, Emitted, Lowering, New, NewLogic};

impl Lowering<'_> {
    /// The same columns, under the clock's watermark.
    pub(crate) fn clock(&mut self, node: NodeId, time: usize, wanted: &Columns) -> Emitted {
        let current = &self.graph.nodes[node];
        let below = self.emit_input(node, wanted);
        let place = below.columns[&time];
        let from = &self.operators[below.operator];
        let schema = from.schema.clone();
        let mut properties = self.properties(below.operator);
        (properties.event_time, properties.window) = (Some(place), None);
        properties.further_event_times.clear();
        let detail = self.logic[below.operator].columns[place].typed.clone();
        let logic = self.logic[below.operator].clocked();
        let id = self.names.take(&current.path, "clock").id;
        let operator = self.push(New {
            id,
            kind: OperatorKind::Clock { time: place },
            inputs: vec![forward(below.operator)],
            schema,
            properties,
            span: current.span,
            logic: NewLogic::Stateless(detail, logic),
        });
        Emitted {
            operator,
            columns: below.columns,
        }
    }
}

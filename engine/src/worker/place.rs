//! Which record is to blame: split and offset of a row on which an expression failed, before the first exchange.
//!
//! Batches do not carry offsets. When a row fails in an operator that is fused with a source by stateless operators, the
//! source's last batch is sent through them once more, row by row, until one fails again: the job is over anyway.

use weir_planner::plan::OperatorKind;

use super::Worker;
use super::item::Feed;
use crate::Error;
use crate::source::Reader;

impl Worker {
    /// Adds the place of the record to an error in a row, where it can be known.
    pub(super) fn place_error(&mut self, root: usize, error: Error) -> Error {
        let Error::Row(mut failed) = error else {
            return error;
        };
        if failed.place.is_some() {
            return Error::Row(failed);
        }
        let Some(failing) = self
            .nodes
            .iter()
            .position(|node| node.id == failed.operator)
        else {
            return Error::Row(failed);
        };
        let Some(path) = self.stateless_path(failing) else {
            return Error::Row(failed);
        };
        let Feed::Source { reader, .. } = &self.roots[root].feed else {
            return Error::Row(failed);
        };
        let Some((batch, offsets, origin)) = Reader::last_given(reader) else {
            return Error::Row(failed);
        };
        for (row, &offset) in offsets.iter().enumerate() {
            if self.fails_alone(&path, batch.slice(row, 1)) {
                failed.place = Some((origin.to_string(), offset));
                break;
            }
        }
        Error::Row(failed)
    }

    /// The operators from the one below the source up to `failing`, if all are stateless and on this worker.
    fn stateless_path(&self, failing: usize) -> Option<Vec<usize>> {
        let mut path = Vec::new();
        let mut at = failing;
        loop {
            let operator = &self.job.plan.operators[at];
            match operator.kind {
                OperatorKind::Source { .. } => break,
                OperatorKind::Filter { .. }
                | OperatorKind::Project { .. }
                | OperatorKind::WindowAssign { .. } => path.push(at),
                _ => return None,
            }
            let exchanged = self
                .job
                .topology
                .exchanges
                .iter()
                .any(|(_, node, _, _)| *node == at);
            if exchanged {
                return None;
            }
            at = operator.inputs.first()?.from;
        }
        path.reverse();
        Some(path)
    }

    fn fails_alone(&mut self, path: &[usize], row: weir_types::ChangeBatch) -> bool {
        let mut batch = row;
        for &node in path {
            self.ctx.output = None;
            let Some(operator) = self.nodes[node].operator.as_mut() else {
                return false;
            };
            match operator.on_batch(0, batch, &mut self.ctx) {
                Err(_) => return true,
                Ok(_) => match self.ctx.output.take() {
                    Some(output) => batch = output,
                    None => return false,
                },
            }
        }
        false
    }
}

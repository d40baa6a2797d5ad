//! Nodes that give rows from their state: what a rebuilt operator is filled from, and the difference at a sink.
//!
//! Such a node is a root like a source: it gives as long as the epoch may take rows, and its barrier follows its rows.

use weir_types::ChangeBatch;

use super::Worker;
use super::item::{Feed, Item};
use crate::Result;
use crate::evolution::bootstrap::Phase;
use crate::failpoint::pass;
use crate::operators::Progress;

/// A job that gives rows from its state has no sources: there is one entry.
const ENTRY: usize = 0;

impl Worker {
    /// Gives the next piece, or ends the epoch.
    pub(super) fn feed_standing(&mut self, root: usize) -> Result<bool> {
        let Feed::Standing(standing) = &mut self.roots[root].feed else {
            return Ok(false);
        };
        let node = standing.node;
        if standing.at_barrier {
            return Ok(false);
        }
        if self.job.control.is_closing(self.epoch) {
            standing.at_barrier = true;
            self.roots[root].stack.push(Item::ForwardBarrier { node });
            return Ok(true);
        }
        let phase = self.job.bootstrap.as_ref().and_then(|of| of.gives(node));
        let Some(phase) = phase.filter(|phase| standing.given != Some(*phase)) else {
            return Ok(false);
        };
        let begins = phase == Phase::TakeBack && standing.given.is_none();
        if self.job.control.ask(self.epoch, ENTRY) == 0 || !self.nodes[node].has_room() {
            return Ok(false);
        }
        if begins {
            // What was collected is read from where it is at rest.
            self.other_states
                .iter()
                .try_for_each(|state| state.write_back())?;
        }
        self.give_standing(root, node, phase)?;
        Ok(true)
    }

    fn give_standing(&mut self, root: usize, node: usize, phase: Phase) -> Result<()> {
        match phase {
            Phase::Fill => pass("engine.evolution.fill")?,
            Phase::TakeBack | Phase::Give => pass("engine.evolution.difference")?,
        }
        self.running = node;
        self.ctx.now = self.job.control.now(self.epoch);
        let Some(operator) = self.nodes[node].operator.as_mut() else {
            return Err(self.wrong(node, "a node without an operator was asked for its rows"));
        };
        let progress = operator.give_standing(&mut self.ctx)?;
        self.ctx.failed.clear();
        self.maintain()?;
        if let Some(batch) = self.ctx.output.take() {
            self.note_given(&batch);
            let mut stack = std::mem::take(&mut self.roots[root].stack);
            let given = self.give(node, batch, &mut stack);
            self.roots[root].stack = stack;
            given?;
        }
        if progress == Progress::Done {
            if let Feed::Standing(standing) = &mut self.roots[root].feed {
                standing.given = Some(phase);
            }
            if let Some(bootstrap) = &self.job.bootstrap {
                bootstrap.on_given();
            }
            self.job.events.wake.notify_one();
        }
        Ok(())
    }

    /// What is given counts like what a source deals: an epoch takes so much.
    fn note_given(&self, batch: &ChangeBatch) {
        let wall_micros = self.job.clock.wall_micros();
        let bytes = batch.rows.get_array_memory_size() as u64;
        let control = &self.job.control;
        let rows = batch.num_rows() as u64;
        control.on_dealt(self.epoch, ENTRY, rows, bytes, wall_micros);
    }
}

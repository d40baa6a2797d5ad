//! Epochs of a run that computes state from state: there are no sources, and it is over when everything was given.

use std::time::Duration;

use super::control::EpochFacts;
use super::{Coordinator, Outcome};
use crate::failpoint::pass;
use crate::{Error, Result};

impl Coordinator {
    /// Closes the open epoch if it is full, or if it ends a phase. The last one ends with the checkpoint.
    pub(super) fn decide_computed(&mut self, now: Duration, facts: EpochFacts) -> Result<()> {
        let Some(bootstrap) = self.job.bootstrap.clone() else {
            return Ok(());
        };
        if self.job.is_stopping() {
            return Err(Error::Job(
                "stopped before the edit of the query was carried out: nothing has changed"
                    .to_owned(),
            ));
        }
        if !bootstrap.is_phase_over() {
            if facts.pressed {
                self.pacer.on_memory_pressure();
            }
            if self.pacer.is_due(now, facts) {
                self.close(now, facts, false);
            }
            return Ok(());
        }
        if bootstrap.next().is_some() {
            self.ends_phase = true;
            self.close(now, facts, false);
            return Ok(());
        }
        pass("engine.evolution.checkpoint")?;
        self.ending = Some(Outcome::Stopped);
        self.job.control.finish_with(self.epoch);
        self.close(now, facts, true);
        Ok(())
    }

    /// An epoch came through.
    pub(super) fn on_through_computed(&mut self) {
        if let (true, Some(bootstrap)) = (std::mem::take(&mut self.ends_phase), &self.job.bootstrap)
        {
            bootstrap.go_on();
        }
    }
}

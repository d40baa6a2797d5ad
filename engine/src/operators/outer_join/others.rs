//! What a batch of changes does to the rows of the other side: those that get their first partner or lose their last one.

use arrow::buffer::BooleanBuffer;
use arrow::compute::take;
use weir_state::{Matches, ProbeCursor};
use weir_types::ChangeBatch;

use super::super::OperatorContext;
use super::super::build::internal;
use super::super::join::Found;
use super::{Alone, OuterJoin, Phase, Probe, Step};
use crate::Result;

impl OuterJoin {
    /// Without a residual a key's rows all have partners or none: only keys count whose rows came or went altogether.
    pub(super) fn begin_others(&self, step: &mut Step) -> Result<Phase> {
        let here = &self.sides[step.side].rows;
        if let Some(had_rows) = &step.had_rows {
            here.apply(&step.keys, &step.hashes, &step.batch.rows, &step.weights)?;
            let has_rows = here.contains(&step.touched.keys, &step.touched.hashes, None)?;
            let same = had_rows.iter().zip(&has_rows).map(|(had, has)| had == has);
            step.touched.skip = Some(same.collect());
        } else if self.sides[1 - step.side].alone == Alone::Never {
            here.apply(&step.keys, &step.hashes, &step.batch.rows, &step.weights)?;
            return Ok(Phase::Over);
        }
        Ok(Phase::Others(Probe::begin()))
    }

    pub(super) fn others(
        &mut self,
        step: &mut Step,
        mut probe: Probe,
        limit: usize,
        ctx: &mut OperatorContext,
    ) -> Result<Phase> {
        if let Some(cursor) = probe.next() {
            let (keys, hashes) = (&step.touched.keys, &step.touched.hashes);
            let other = &self.sides[1 - step.side].rows;
            let (matches, cursor) =
                other.probe(keys, hashes, step.touched.skip.as_ref(), cursor, limit)?;
            probe.cursor = cursor;
            let (matches, retracted) = self.changed_others(step, matches, limit, ctx)?;
            probe.retracted = retracted;
            probe.found = Some(Found::new(matches));
        }
        if let Some(found) = &mut probe.found {
            let (_, matching) = found.expand(limit);
            let is_at_end = found.is_at_end();
            if !matching.is_empty() {
                let rows = self.taken(&found.matches.rows, &matching)?;
                let retracted: BooleanBuffer = matching
                    .iter()
                    .map(|&m| probe.retracted[m as usize])
                    .collect();
                ctx.emit(ChangeBatch {
                    rows: self.extended(1 - step.side, &rows)?,
                    retracted: Some(retracted),
                    own_watermark: None,
                });
            }
            if is_at_end {
                probe.found = None;
            }
        }
        if !probe.is_over() {
            return Ok(Phase::Others(probe));
        }
        if step.had_rows.is_none() {
            let here = &self.sides[step.side].rows;
            here.apply(&step.keys, &step.hashes, &step.batch.rows, &step.weights)?;
        }
        Ok(Phase::Over)
    }

    /// Of rows of the other side those that got a partner or lost the last one, and whether each is taken back.
    fn changed_others(
        &mut self,
        step: &Step,
        matches: Matches,
        limit: usize,
        ctx: &OperatorContext,
    ) -> Result<(Matches, Vec<bool>)> {
        let matched_is_given = self.sides[1 - step.side].alone == Alone::Matched;
        let becomes: Vec<Option<bool>> = match &step.had_rows {
            Some(had_rows) => matches
                .probe_rows
                .values()
                .iter()
                .map(|&key| Some(!had_rows.value(key as usize)))
                .collect(),
            None => {
                let before = self.partners_before(step, &matches, limit, ctx)?;
                let change = self.partners_changed(step, &matches, limit, ctx)?;
                let of_row = before.iter().zip(&change).map(|(&before, &change)| {
                    let (had, has) = (before > 0, before + change > 0);
                    (had != has).then_some(has)
                });
                of_row.collect()
            }
        };
        let kept: Vec<u32> = (0..becomes.len() as u32)
            .filter(|&row| becomes[row as usize].is_some())
            .collect();
        let retracted = becomes
            .iter()
            .flatten()
            .map(|&has| has != matched_is_given)
            .collect();
        let rows = self.taken(&matches.rows, &kept)?;
        let counts = kept
            .iter()
            .map(|&row| matches.counts[row as usize])
            .collect();
        let probe_rows = kept
            .iter()
            .map(|&row| matches.probe_rows.value(row as usize));
        let probe_rows = probe_rows.collect::<Vec<u32>>().into();
        Ok((
            Matches {
                probe_rows,
                rows,
                counts,
            },
            retracted,
        ))
    }

    /// For each row of the other side how many partners this side's rows were, before the change.
    fn partners_before(
        &mut self,
        step: &Step,
        others: &Matches,
        limit: usize,
        ctx: &OperatorContext,
    ) -> Result<Vec<i64>> {
        let mut partners = vec![0_i64; others.counts.len()];
        let keys = step
            .touched
            .keys
            .iter()
            .map(|key| take(key, &others.probe_rows, None))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| internal(&self.operator, &error))?;
        let hashes: Vec<u64> = others
            .probe_rows
            .values()
            .iter()
            .map(|&key| step.touched.hashes[key as usize])
            .collect();
        let mut cursor = Some(ProbeCursor::default());
        while let Some(at) = cursor {
            let here = &self.sides[step.side].rows;
            let (found, next) = here.probe(&keys, &hashes, None, at, limit)?;
            cursor = next;
            let other_rows = self.taken(&others.rows, found.probe_rows.values())?;
            let pairs = self.paired(step.side, &found.rows, &other_rows)?;
            let keep = self.judged(&pairs, ctx)?;
            for (pair, &other) in found.probe_rows.values().iter().enumerate() {
                if keep.as_ref().is_none_or(|keep| keep.value(pair)) {
                    partners[other as usize] += found.counts[pair];
                }
            }
        }
        Ok(partners)
    }

    /// For each row of the other side by how many partners the change makes it richer or poorer.
    fn partners_changed(
        &mut self,
        step: &Step,
        others: &Matches,
        limit: usize,
        ctx: &OperatorContext,
    ) -> Result<Vec<i64>> {
        let mut change = vec![0_i64; others.counts.len()];
        let candidates = others.probe_rows.values().iter().enumerate();
        let mut candidates = candidates.flat_map(|(other, &key)| {
            let rows = &step.touched.rows[key as usize];
            rows.iter().map(move |&row| (other as u32, row))
        });
        loop {
            let (other, rows): (Vec<u32>, Vec<u32>) = candidates.by_ref().take(limit).unzip();
            if rows.is_empty() {
                return Ok(change);
            }
            let here_rows = self.taken(&step.batch.rows, &rows)?;
            let other_rows = self.taken(&others.rows, &other)?;
            let pairs = self.paired(step.side, &here_rows, &other_rows)?;
            let keep = self.judged(&pairs, ctx)?;
            for (pair, (&other, &row)) in other.iter().zip(&rows).enumerate() {
                if keep.as_ref().is_none_or(|keep| keep.value(pair)) {
                    change[other as usize] += step.weights[row as usize];
                }
            }
        }
    }
}

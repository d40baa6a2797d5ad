//! Whether what an edit does was accepted; if not, the report, and the command that accepts it.
//!
//! ```text
//!   unchanged                                        goes on
//!   rebuilt, replayed, migrated, as exact as before  --upgrade
//!   carried over, partial, new, old rows stay        --accept ID
//!   dropped                                          --allow-dropped-state
//!   incompatible                                     --start-empty ID
//! ```

use std::collections::BTreeSet;

use weir_planner::compare::{
    Exactness, OperatorReport, Past, Report, SinkReport, SinkVerdict, StartAt, Verdict, advice,
};
use weir_planner::plan::{Changelog, StreamPlan};
use weir_types::OperatorId;

use super::EvolutionOptions;
use crate::{Error, Result};

/// An edit with all that its acceptance hangs on.
pub(super) struct Edit<'a> {
    pub(super) job: &'a str,
    pub(super) old: &'a StreamPlan,
    pub(super) new: &'a StreamPlan,
    pub(super) past: &'a Past,
    pub(super) report: &'a Report,
    pub(super) options: &'a EvolutionOptions,
    /// The query file, for the command.
    pub(super) file: Option<&'a str>,
}

/// What a start still needs to be told.
#[derive(Default)]
struct Needed {
    accept: BTreeSet<OperatorId>,
    start_empty: BTreeSet<OperatorId>,
    dropped: bool,
}

impl Edit<'_> {
    /// Goes through, or says what it would do and how to let it.
    pub(super) fn check(&self) -> Result<()> {
        self.check_ids()?;
        self.check_changelogs()?;
        let needed = self.needed();
        let options = self.options;
        let accepted = options.wants_changes()
            && needed.accept.iter().all(|id| options.accept.takes(id))
            && needed
                .start_empty
                .iter()
                .all(|id| options.start_empty.contains(id))
            && (options.allow_dropped_state || !needed.dropped);
        if accepted || (self.report.is_unchanged() && options.renames.is_empty()) {
            return Ok(());
        }
        Err(Error::Job(format!(
            "[E0002] the query is not the one that the checkpoint of job `{}` was taken from. What the edit does:\n\n{}\n\
             To let it: {}\nOr put the query back as it was, or run it with --fresh (it starts from the beginning), or give \
             it another name with SET 'job.name' = '…'",
            self.job,
            advice(self.report),
            self.command(&needed)
        )))
    }

    fn needed(&self) -> Needed {
        let mut needed = Needed::default();
        for operator in &self.report.operators {
            match operator.verdict {
                Verdict::Dropped => needed.dropped = true,
                Verdict::Incompatible => {
                    needed.start_empty.insert(operator.id.clone());
                }
                _ if self.needs_acceptance(operator) => {
                    needed.accept.insert(operator.id.clone());
                }
                _ => {}
            }
        }
        let stays =
            |sink: &&SinkReport| sink.verdict == SinkVerdict::OldRowsStay && self.is_old(&sink.id);
        let sinks = self.report.sinks.iter().filter(stays);
        needed.accept.extend(sinks.map(|sink| sink.id.clone()));
        needed
    }

    fn needs_acceptance(&self, operator: &OperatorReport) -> bool {
        match operator.verdict {
            Verdict::CarriedOver | Verdict::Partial => true,
            Verdict::New => {
                operator.exact != Exactness::Yes && !self.feeds_new_sinks_alone(&operator.id)
            }
            // What is inexact by itself, and was not before: a TTL forgets.
            Verdict::Rebuilt | Verdict::Replayed | Verdict::Migrated => {
                let id = operator.renamed_from.as_ref().unwrap_or(&operator.id);
                let mark = self.past.marks.get(id).cloned().unwrap_or_default();
                operator.exact == Exactness::No
                    && operator.inherited_from.is_empty()
                    && mark != operator.exact
                    && !self.feeds_new_sinks_alone(&operator.id)
            }
            Verdict::Unchanged | Verdict::Dropped | Verdict::Incompatible => false,
        }
    }

    fn is_old(&self, id: &OperatorId) -> bool {
        self.old.operator(id).is_some()
    }

    /// Whether nobody but sinks that are new themselves reads it.
    fn feeds_new_sinks_alone(&self, id: &OperatorId) -> bool {
        let operators = &self.new.operators;
        let mut reached: Vec<bool> = operators
            .iter()
            .map(|operator| operator.id == *id)
            .collect();
        for (index, operator) in operators.iter().enumerate() {
            if operator.inputs.iter().any(|input| reached[input.from]) {
                reached[index] = true;
            }
        }
        let ends = operators
            .iter()
            .zip(&reached)
            .filter(|(operator, reached)| {
                **reached && self.report.sinks.iter().any(|sink| sink.id == operator.id)
            });
        let mut ends = ends.peekable();
        ends.peek().is_some() && ends.all(|(operator, _)| !self.is_old(&operator.id))
    }

    /// Whoever names an operator in a flag means one that there is.
    fn check_ids(&self) -> Result<()> {
        let accept = match &self.options.accept {
            super::Accept::Only(ids) => ids.clone(),
            _ => BTreeSet::new(),
        };
        let known = |id: &OperatorId| {
            self.report.operators.iter().any(|known| known.id == *id)
                || self.report.sinks.iter().any(|known| known.id == *id)
        };
        let flags = [
            ("--accept", &accept),
            ("--start-empty", &self.options.start_empty),
        ];
        for (flag, ids) in flags {
            if let Some(id) = ids.iter().find(|id| !known(id)) {
                return Err(Error::Job(format!(
                    "[E0004] {flag}: the query has no operator or sink `{id}`; `weir explain` lists their IDs"
                )));
            }
        }
        Ok(())
    }

    /// Nothing starts empty below rows that may be taken back: it would be asked to take back what it never counted.
    fn check_changelogs(&self) -> Result<()> {
        let starts_empty = |report: &OperatorReport| match report.verdict {
            Verdict::New => misses_rows(report),
            Verdict::Incompatible => self.options.start_empty.contains(&report.id),
            _ => false,
        };
        empty_below_changelog(self.new, self.report, &starts_empty)
    }

    fn command(&self, needed: &Needed) -> String {
        let mut words = vec!["weir run".to_owned(), quoted(self.file.unwrap_or("FILE"))];
        words.push("--upgrade".to_owned());
        let list = |ids: &BTreeSet<OperatorId>| {
            let ids: Vec<&str> = ids.iter().map(OperatorId::as_str).collect();
            quoted(&ids.join(","))
        };
        if !needed.accept.is_empty() {
            words.push(format!("--accept {}", list(&needed.accept)));
        }
        if needed.dropped {
            words.push("--allow-dropped-state".to_owned());
        }
        if !needed.start_empty.is_empty() {
            words.push(format!("--start-empty {}", list(&needed.start_empty)));
        }
        for (old, new) in &self.options.renames {
            words.push(format!("--rename {}", quoted(&format!("{old}={new}"))));
        }
        match &self.options.replay {
            weir_planner::compare::Replay::None => {}
            weir_planner::compare::Replay::All => words.push("--replay all".to_owned()),
            weir_planner::compare::Replay::Only(ids) => {
                words.push(format!("--replay {}", list(ids)));
            }
        }
        for (table, start) in &self.options.sources {
            let word = match start {
                StartAt::Keep => "keep".to_owned(),
                StartAt::Earliest => "earliest".to_owned(),
                StartAt::Latest => "latest".to_owned(),
                StartAt::Time(time) => time.to_string(),
            };
            words.push(format!("--sources {}", quoted(&format!("{table}={word}"))));
        }
        words.join(" ")
    }
}

/// Whether what is new may have missed rows: not where its sources are new as well.
pub(super) fn misses_rows(report: &OperatorReport) -> bool {
    report.verdict == Verdict::New && report.exact != Exactness::Yes
}

/// Refuses that an operator starts empty below rows that are taken back.
///
/// # Errors
/// E0003.
pub(super) fn empty_below_changelog(
    new: &StreamPlan,
    report: &Report,
    starts_empty: &dyn Fn(&OperatorReport) -> bool,
) -> Result<()> {
    for report in &report.operators {
        let Some(operator) = new.operator(&report.id).filter(|_| starts_empty(report)) else {
            continue;
        };
        let updating = operator
            .inputs
            .iter()
            .find(|input| new.operators[input.from].changelog == Changelog::Retractions);
        if let Some(input) = updating {
            return Err(Error::Job(format!(
                "[E0003] {} would start empty below `{}`, which takes rows back: it would be asked to take back rows that \
                 it never counted. What was found: {}\nCompute it from its source again with --replay '{}', or give the \
                 query another job with SET 'job.name' = '…'",
                report.id, new.operators[input.from].id, report.reason, report.id
            )));
        }
    }
    Ok(())
}

/// As a shell wants it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=,:".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

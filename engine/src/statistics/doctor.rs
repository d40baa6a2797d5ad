//! What the figures of a job's checkpoints say about the job: pure rules over the last records.
//!
//! | finding | rule |
//! |---|---|
//! | checkpoints fail | of the last ones at least two in three did not complete, or the last three |
//! | a slow operator | one operator did more than half of all work, and all work took most of the time |
//! | a sink holds barriers back | flush and prepare of a sink are most of the time that barriers take, and it is long |
//! | skewed rows | one worker takes more than twice its share of an operator's rows |
//! | skewed key groups | one key group has more than a quarter of an operator's changed entries |
//! | growing state | an operator's state, bounded by nothing or by keys, is larger in the later half of the records, by entries and by bytes |
//! | slow storage | storing takes most of a checkpoint, and longer than the time between two of them |

use super::{CheckpointRecord, Ending, OperatorRecord};

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// In a few words: `a slow operator`.
    pub title: &'static str,
    /// The operator ID that it is about, if it is about one.
    pub operator: Option<String>,
    /// The figures that say so.
    pub evidence: String,
    /// What can be done.
    pub advice: &'static str,
}

/// Records that are looked at: the last ones of the last start.
const WINDOW: usize = 50;
/// Fewer completed checkpoints say nothing about growth.
const GROWTH_RECORDS_MIN: usize = 8;
/// Fewer entries or rows say nothing about skew.
const SKEW_MIN: u64 = 1_000;
/// A barrier that is through sooner than this is no trouble.
const BARRIER_MICROS_MIN: u64 = 100_000;

/// The records that count: the last ones of the last start.
pub fn looked_at(records: &[CheckpointRecord]) -> Vec<&CheckpointRecord> {
    let Some(last) = records.last() else {
        return Vec::new();
    };
    let mut recent: Vec<&CheckpointRecord> = records
        .iter()
        .filter(|record| record.generation == last.generation)
        .collect();
    recent.drain(..recent.len().saturating_sub(WINDOW));
    recent
}

/// Looks at the records of a job, the oldest first.
pub fn diagnose(records: &[CheckpointRecord]) -> Vec<Finding> {
    let recent = looked_at(records);
    let recent = recent.as_slice();
    let completed: Vec<&CheckpointRecord> = recent
        .iter()
        .copied()
        .filter(|record| record.ending == Ending::Completed)
        .collect();
    let mut findings = Vec::new();
    findings.extend(failing(recent));
    findings.extend(slow_operator(&completed));
    findings.extend(slow_sink(&completed));
    findings.extend(skewed_rows(&completed));
    findings.extend(skewed_groups(&completed));
    findings.extend(growing(&completed));
    findings.extend(slow_storage(&completed));
    findings
}

fn failing(recent: &[&CheckpointRecord]) -> Option<Finding> {
    let bad = |record: &&&CheckpointRecord| record.ending != Ending::Completed;
    let failed = recent.iter().filter(bad).count();
    let in_a_row = recent.iter().rev().take_while(bad).count();
    if in_a_row < 3 && (failed < 3 || failed * 3 < recent.len() * 2) {
        return None;
    }
    let reason = recent.iter().rev().find_map(|record| record.reason.clone());
    Some(Finding {
        title: "checkpoints fail",
        operator: None,
        evidence: format!(
            "{failed} of the last {} did not complete; the newest reason: {}",
            recent.len(),
            reason.unwrap_or_else(|| "none was recorded".to_owned())
        ),
        advice: "see whether the storage has space and answers; 'checkpoint.timeout' gives a slow one more time",
    })
}

/// The sum of a figure over all records, by operator.
fn sums(
    records: &[&CheckpointRecord],
    figure: impl Fn(&OperatorRecord) -> u64,
) -> Vec<(String, u64)> {
    let mut sums: Vec<(String, u64)> = Vec::new();
    for operator in records.iter().flat_map(|record| &record.operators) {
        match sums.iter_mut().find(|(id, _)| *id == operator.id) {
            Some((_, sum)) => *sum += figure(operator),
            None => sums.push((operator.id.clone(), figure(operator))),
        }
    }
    sums
}

fn slow_operator(records: &[&CheckpointRecord]) -> Option<Finding> {
    let (first, last) = (records.first()?, records.last()?);
    // What was done before the first record is in it too: leave it out, as its time is not known.
    let rest = &records[1..];
    let time = last
        .triggered_after_micros
        .saturating_sub(first.triggered_after_micros);
    let workers = last
        .operators
        .iter()
        .map(|operator| operator.rows_by_worker.len())
        .max()?;
    let busy = sums(rest, |operator| operator.busy_micros);
    let all: u64 = busy.iter().map(|(_, micros)| micros).sum();
    let (id, most) = busy.into_iter().max_by_key(|(_, micros)| *micros)?;
    let capacity = time * workers.max(1) as u64;
    if time < 1_000_000 || all * 10 < capacity * 6 || most * 2 < all {
        return None;
    }
    Some(Finding {
        title: "a slow operator",
        evidence: format!(
            "{id} did {} % of all work, and the workers were busy {} % of the time",
            most * 100 / all.max(1),
            (all * 100 / capacity.max(1)).min(100)
        ),
        operator: Some(id),
        advice: "filter or aggregate before it, give the job more 'parallelism', or more 'state.memory' if its state does not fit",
    })
}

fn slow_sink(records: &[&CheckpointRecord]) -> Option<Finding> {
    let barriers: u64 = records.iter().map(|record| record.barrier_micros).sum();
    if barriers < BARRIER_MICROS_MIN * records.len() as u64 || records.is_empty() {
        return None;
    }
    let held = sums(records, |operator| match operator.sink {
        true => operator.flush_micros + operator.prepare_micros,
        false => 0,
    });
    let (id, most) = held.into_iter().max_by_key(|(_, micros)| *micros)?;
    if most * 2 < barriers {
        return None;
    }
    Some(Finding {
        title: "a sink that holds barriers back",
        evidence: format!(
            "{id} took {} ms of the {} ms that a checkpoint's barrier needs on average",
            most / 1000 / records.len() as u64,
            barriers / 1000 / records.len() as u64
        ),
        operator: Some(id),
        advice: "write less to it (aggregate first), to a faster place, or with more 'parallelism'; a longer 'epoch.interval' gives it fewer, larger pieces",
    })
}

fn skewed_rows(records: &[&CheckpointRecord]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(last) = records.last() else {
        return findings;
    };
    for operator in last
        .operators
        .iter()
        .filter(|operator| !operator.bound.is_empty())
    {
        let mut rows = vec![0; operator.rows_by_worker.len()];
        for other in records.iter().flat_map(|record| &record.operators) {
            if other.id == operator.id {
                rows.iter_mut()
                    .zip(&other.rows_by_worker)
                    .for_each(|(sum, rows)| *sum += rows);
            }
        }
        let all: u64 = rows.iter().sum();
        let workers = rows.len() as u64;
        let Some((worker, &most)) = rows.iter().enumerate().max_by_key(|(_, rows)| **rows) else {
            continue;
        };
        // With two workers, twice the share would be everything.
        let skewed = most * workers > all * 2 || (workers == 2 && most * 10 > all * 9);
        if workers > 1 && all >= SKEW_MIN && skewed {
            findings.push(Finding {
                title: "skewed keys",
                operator: Some(operator.id.clone()),
                evidence: format!(
                    "worker {worker} took {} % of the rows of {}, where {} % would be its share",
                    most * 100 / all,
                    operator.id,
                    100 / workers
                ),
                advice: "few keys have most of the rows: aggregate by a finer key first, and by the coarse one after it",
            });
        }
    }
    findings
}

fn skewed_groups(records: &[&CheckpointRecord]) -> Vec<Finding> {
    let Some(last) = records.last() else {
        return Vec::new();
    };
    let skewed = last.operators.iter().filter(|operator| {
        operator.entries >= SKEW_MIN
            && operator.groups > 4
            && operator.hottest_entries * 4 > operator.entries
    });
    skewed
        .map(|operator| Finding {
            title: "skewed key groups",
            operator: Some(operator.id.clone()),
            evidence: format!(
                "key group {} has {} % of the {} entries of {} that changed",
                operator.hottest_group,
                operator.hottest_entries * 100 / operator.entries,
                operator.entries,
                operator.id
            ),
            advice: "one key has many rows of state: add a column to the key that divides it, or keep less for each key",
        })
        .collect()
}

fn growing(records: &[&CheckpointRecord]) -> Vec<Finding> {
    if records.len() < GROWTH_RECORDS_MIN {
        return Vec::new();
    }
    let (early, late) = records.split_at(records.len() / 2);
    let mut findings = Vec::new();
    for operator in &records[records.len() - 1].operators {
        if !matches!(operator.bound.as_str(), "nothing" | "keys") {
            continue;
        }
        // The database counts an entry that was changed once more until it has merged its files, so entries rise and fall where
        // nothing grows: the least of each half is compared. Bytes are those of files that do not overlap, and jump
        // at the first merge instead. What really grows is larger by both.
        let of = |records: &[&CheckpointRecord], figure: fn(&OperatorRecord) -> u64| {
            let all = records.iter().flat_map(|record| &record.operators);
            let own = all.filter(|other| other.id == operator.id).map(figure);
            own.min().unwrap_or(0)
        };
        let grown = |figure: fn(&OperatorRecord) -> u64| {
            let (before, after) = (of(early, figure), of(late, figure));
            (before, after, after * 5 >= before * 6 && after > before)
        };
        let (before, after, more_entries) = grown(|operator| operator.entries_total);
        let (_, _, more_bytes) = grown(|operator| operator.bytes_total);
        if more_entries && more_bytes && after >= SKEW_MIN {
            findings.push(Finding {
                title: "growing state",
                operator: Some(operator.id.clone()),
                evidence: format!(
                    "{} had at least {before} entries in the earlier half of {} checkpoints and at least {after} in the later half; \
                     what bounds it is: {}",
                    operator.id,
                    records.len(),
                    operator.bound
                ),
                advice: "group or join within a window, or limit what is kept; `weir explain` shows what bounds each state table",
            });
        }
    }
    findings
}

fn slow_storage(records: &[&CheckpointRecord]) -> Option<Finding> {
    let count = records.len() as u64;
    let (first, last) = (records.first()?, records.last()?);
    if count < 3 {
        return None;
    }
    let stored: u64 = records
        .iter()
        .map(|record| {
            record.total_micros.saturating_sub(
                record
                    .barrier_micros
                    .max(record.frozen_micros + record.write_micros),
            )
        })
        .sum();
    let total: u64 = records.iter().map(|record| record.total_micros).sum();
    let apart = last
        .triggered_after_micros
        .saturating_sub(first.triggered_after_micros)
        / (count - 1);
    if stored * 2 < total || total / count * 10 < apart * 8 || total / count < BARRIER_MICROS_MIN {
        return None;
    }
    Some(Finding {
        title: "a slow storage",
        operator: None,
        evidence: format!(
            "storing and committing took {} ms of {} ms on average, and checkpoints begin every {} ms",
            stored / count / 1000,
            total / count / 1000,
            apart / 1000
        ),
        advice: "a longer 'checkpoint.interval', 'checkpoint.max-concurrent' = '2', or 'checkpoint.compression' = 'zstd'",
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A healthy checkpoint of two workers, ten seconds after the one before.
    pub(in crate::statistics) fn record(number: u64) -> CheckpointRecord {
        let operator = |id: &str, sink: bool, bound: &str| OperatorRecord {
            id: id.to_owned(),
            sink,
            bound: bound.to_owned(),
            flush_micros: 200,
            entries: 2000,
            bytes: 40_000,
            entries_total: 10_000,
            bytes_total: 200_000,
            hottest_entries: 30,
            hottest_group: 7,
            groups: 128,
            busy_micros: 900_000,
            rows_by_worker: vec![50_000, 51_000],
            ..OperatorRecord::default()
        };
        CheckpointRecord {
            checkpoint: number,
            generation: 1,
            triggered_micros: 1_700_000_000_000_000 + number as i64 * 10_000_000,
            triggered_after_micros: number * 10_000_000,
            ending: Ending::Completed,
            reason: None,
            barrier_micros: 3_000,
            frozen_micros: 100,
            write_micros: 20_000,
            ready_micros: 40_000,
            publish_micros: 5_000,
            total_micros: 45_000,
            bytes_new: 50_000,
            bytes_total: 400_000,
            entries: 4000,
            entries_bytes: 80_000,
            operators: vec![
                operator("totals/aggregate", false, "nothing"),
                operator("out/sink", true, ""),
            ],
        }
    }

    fn titles(change: impl Fn(usize, &mut CheckpointRecord)) -> Vec<&'static str> {
        let mut records: Vec<_> = (1..=20).map(record).collect();
        records
            .iter_mut()
            .enumerate()
            .for_each(|(i, record)| change(i, record));
        diagnose(&records)
            .iter()
            .map(|finding| finding.title)
            .collect()
    }

    #[test]
    fn a_healthy_job_has_nothing_to_look_at() {
        assert!(titles(|_, _| {}).is_empty());
        assert!(diagnose(&[]).is_empty());
        assert!(diagnose(&[record(1)]).is_empty());
    }

    #[test]
    fn each_trouble_is_found_by_its_figures() {
        let slow = titles(|_, record| record.operators[0].busy_micros = 15_000_000);
        assert_eq!(slow, ["a slow operator"]);
        let sink = titles(|_, record| {
            record.barrier_micros = 900_000;
            record.total_micros = 945_000;
            record.operators[1].flush_micros = 800_000;
        });
        assert_eq!(sink, ["a sink that holds barriers back"]);
        let rows = titles(|_, record| record.operators[0].rows_by_worker = vec![99_000, 100]);
        assert_eq!(rows, ["skewed keys"]);
        let groups = titles(|_, record| record.operators[0].hottest_entries = 1500);
        assert_eq!(groups, ["skewed key groups"]);
        let growing = titles(|i, record| {
            record.operators[0].entries_total = 10_000 + 2_000 * i as u64;
            record.operators[0].bytes_total = 100_000 + 20_000 * i as u64;
        });
        assert_eq!(growing, ["growing state"]);
        let storage = titles(|_, record| {
            record.ready_micros = 9_000_000;
            record.total_micros = 9_500_000;
        });
        assert_eq!(storage, ["a slow storage"]);
        let failing = titles(|i, record| {
            if i >= 17 {
                record.ending = Ending::Expired;
                record.reason = Some("it was not written within 5 s".to_owned());
            }
        });
        assert_eq!(failing, ["checkpoints fail"]);
    }

    #[test]
    fn estimates_of_a_database_that_merges_now_and_then_are_no_growth() {
        // Every key changes each time: entries pile up until they are merged.
        let piled = titles(|i, record| {
            record.operators[0].entries_total = 5_000 * (1 + i as u64);
            record.operators[0].bytes_total = 40_000;
        });
        assert!(piled.is_empty());
        // A merge in the middle: bytes jump, entries fall.
        let merged = titles(|i, record| {
            let since = (i as u64 + 10) % 20;
            record.operators[0].entries_total = 100_000 + 5_000 * since;
            record.operators[0].bytes_total = if i < 10 { 50_000 } else { 1_000_000 };
        });
        assert!(merged.is_empty());
    }

    #[test]
    fn state_that_the_watermark_bounds_may_grow() {
        let bounded = titles(|i, record| {
            record.operators[0].bound = "watermark".to_owned();
            record.operators[0].entries_total = 10_000 + 2_000 * i as u64;
        });
        assert!(bounded.is_empty());
    }

    #[test]
    fn figures_of_an_earlier_start_are_left_out() {
        let records: Vec<_> = (1..=20)
            .map(|number| CheckpointRecord {
                generation: if number <= 15 { 1 } else { 2 },
                ending: if number <= 15 {
                    Ending::Failed
                } else {
                    Ending::Completed
                },
                ..record(number)
            })
            .collect();
        assert!(diagnose(&records).is_empty());
    }
}

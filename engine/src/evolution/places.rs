//! The place of a time in a source, for `--sources TABLE=TIME`.
//!
//! ```text
//!   WATERMARK FOR ts …   each split is read from its beginning, up to the first record whose ts is the time or later
//!   files without one    those that were changed at the time or later
//!   anything else        no place: E0048
//! ```
//!
//! It is what Kafka means by the offset of a time: from the first record of that time on everything comes, also what is older
//! and stands behind it. The place is found by reading, so that it needs no index of the connector and takes as long as
//! reading that far does; columns other than the event time are not decoded.
//!
//! # Invariants
//! 1. The record in front of the place is older than the time, the one behind it is not; or the place is the end.
//! 2. Nothing is remembered of what was read: no row of it reaches an operator.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::Array;
use weir_connectors::{Chunk, Deal, Decoder, Position, Source, open_source};
use weir_planner::compare::StartAt;
use weir_planner::plan::{ColumnOrigin, OperatorKind, StreamPlan, TableDefinition};
use weir_types::{EventTime, ProcessingTime, SplitId};

use super::again::unpaced;
use crate::source::{ColumnPlan, RowBuilder};
use crate::{Error, Result};

/// So much is looked at in one go.
const CHUNK_BYTES: usize = 1 << 20;
const CHUNK_RECORDS: u64 = 1 << 14;
/// A source without an end is given up after so many records of a split: the time may never come.
const RECORDS_MAX: u64 = 50_000_000;

/// Whether a table can be read from such a place on, as far as its definition says; else why not, and what can be done.
pub(crate) fn can_start_at(table: &TableDefinition, start: StartAt) -> Result<(), String> {
    let connector = table.options.get("connector").map_or("", String::as_str);
    let name = &table.name;
    let again = weir_connectors::can_be_read_again(&table.options);
    match start {
        StartAt::Keep | StartAt::Earliest => Ok(()),
        StartAt::Latest if weir_connectors::has_an_end(&table.options) => Ok(()),
        StartAt::Latest => Err(format!(
            "connector `{connector}` does not know where the end of `{name}` is: --sources {name}=keep goes on where it was"
        )),
        StartAt::Time(_) if !again => Err(format!(
            "connector `{connector}` finds no place by a time, because it keeps nothing that was read: --sources {name}=keep \
             goes on with what comes"
        )),
        StartAt::Time(_) => match &table.watermark {
            Some(watermark) if hangs_on_the_clock(table, watermark.column) => Err(format!(
                "the event time of `{name}` is computed from the clock, so that no record has it for good: --sources \
                 {name}=earliest reads it from its beginning"
            )),
            None if !weir_connectors::keeps_times(&table.options) => Err(format!(
                "`{name}` declares no event time, and connector `{connector}` keeps no times by which a place could be found: \
                 declare WATERMARK FOR the column that holds the time, or --sources {name}=earliest reads it from its beginning"
            )),
            _ => Ok(()),
        },
    }
}

/// Whether a column is another one each time that its record is read.
fn hangs_on_the_clock(table: &TableDefinition, column: usize) -> bool {
    let Some(ColumnOrigin::Computed(expr)) = table.columns.get(column).map(|column| &column.origin)
    else {
        return false;
    };
    expr.is_volatile()
        || expr
            .columns()
            .into_iter()
            .any(|column| hangs_on_the_clock(table, column))
}

/// The place of a time in each split of the source operator `index`.
///
/// # Errors
/// E0048 if there is none; whatever reading it fails with.
pub(super) fn of_time(
    plan: &StreamPlan,
    index: usize,
    base: &Path,
    time: EventTime,
) -> Result<BTreeMap<String, Position>> {
    // Nothing but the event time is read, and as fast as it can be.
    let mut plan = unpaced(plan.clone());
    let operator = &mut plan.operators[index];
    operator.schema.clear();
    if let OperatorKind::Source {
        columns, filter, ..
    } = &mut operator.kind
    {
        columns.clear();
        *filter = None;
    }
    let columns = ColumnPlan::new(&plan, index)?;
    let source = open_source(columns.request(&plan, index, base)?)?;
    let rows = RowBuilder::new(&plan, index, &columns)?;
    let by_records = rows.has_event_time();
    let OperatorKind::Source { table, .. } = &plan.operators[index].kind else {
        return Err(nowhere(
            plan.operators[index].id.as_str(),
            "it is no source",
        ));
    };
    let mut search = Search {
        decoder: source.decoder()?,
        source: &*source,
        rows,
        time: time.0,
        table,
    };
    let mut places = BTreeMap::new();
    for split in source.splits(&BTreeMap::new())?.splits {
        let place = if by_records {
            search.in_split(&split)?
        } else {
            source
                .written_since(&split, time.0)?
                .ok_or_else(|| nowhere(search.table, "its connector keeps no times"))?
        };
        places.insert(split.0, place);
    }
    Ok(places)
}

fn nowhere(table: &str, why: &str) -> Error {
    Error::Job(format!(
        "[E0048] --sources {table}: {why}: --sources {table}=earliest reads it from its beginning"
    ))
}

/// Reading a source for the first record of a time.
struct Search<'a> {
    source: &'a dyn Source,
    decoder: Box<dyn Decoder>,
    rows: RowBuilder,
    time: i64,
    table: &'a str,
}

impl Search<'_> {
    fn in_split(&mut self, split: &SplitId) -> Result<Position> {
        let mut dealer = self.source.dealer(split, None)?;
        let (mut most, mut read) = (CHUNK_RECORDS, 0_u64);
        loop {
            let before = dealer.position();
            match dealer.deal(CHUNK_BYTES, most)? {
                Deal::Pending | Deal::End => return Ok(dealer.position()),
                Deal::Chunk(chunk) if self.is_reached(&chunk)? => {
                    if chunk.records <= 1 {
                        return Ok(before);
                    }
                    // It is among these: once more, in smaller pieces.
                    most = (chunk.records / 2).max(1);
                    dealer = self.source.dealer(split, Some(&before))?;
                }
                Deal::Chunk(chunk) => read += chunk.records,
            }
            if read > RECORDS_MAX && !self.source.bounded() {
                return Err(nowhere(
                    self.table,
                    &format!("none of its first {read} records is of that time"),
                ));
            }
        }
    }

    /// Whether a chunk holds a record of the time or later.
    fn is_reached(&mut self, chunk: &Chunk) -> Result<bool> {
        for batch in self.decoder.decode(chunk)?.batches {
            let prepared = self.rows.prepare(batch, ProcessingTime(0), &chunk.origin)?;
            if let Some((times, _)) = &prepared.times
                && (0..times.len()).any(|row| times.is_valid(row) && times.value(row) >= self.time)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

//! A source and a sink of a program's own: numbers that are counted up, and a sink that adds up what it is given.
//!
//! Run it with `cargo run --release --example custom_source_and_sink`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use weir_connectors::{
    Deal, Dealer, Decoder, HandedRows, Position, Result, Sink, SinkCommitter, SinkEnvironment,
    SinkWriter, Source, SplitListing, TableRequest, Visibility,
};
use weir_engine::{ProgramSink, ProgramSource, Session, TableSpec};
use weir_types::{ChangeBatch, CheckpointId, Column, DataType, SplitId, WorkerId};

/// The numbers below `end`: they can be read again from any place, so a crash loses nothing.
struct Numbers {
    end: i64,
}

impl ProgramSource for Numbers {
    fn open(&self, request: TableRequest) -> Result<Box<dyn Source>> {
        Ok(Box::new(OpenNumbers {
            end: self.end,
            handed: HandedRows::default(),
            request,
        }))
    }

    fn bounded(&self) -> bool {
        true
    }
}

struct OpenNumbers {
    end: i64,
    handed: HandedRows,
    request: TableRequest,
}

impl Source for OpenNumbers {
    fn splits(&self, _: &BTreeMap<SplitId, Position>) -> Result<SplitListing> {
        Ok(SplitListing::one("numbers"))
    }

    fn dealer(&self, _: &SplitId, position: Option<&Position>) -> Result<Box<dyn Dealer>> {
        Ok(Box::new(Counter {
            next: position.and_then(Position::as_i64).unwrap_or(0),
            end: self.end,
            handed: self.handed.clone(),
        }))
    }

    fn decoder(&self) -> Result<Box<dyn Decoder>> {
        Ok(self.handed.decoder(&self.request))
    }

    fn bounded(&self) -> bool {
        true
    }
}

struct Counter {
    next: i64,
    end: i64,
    handed: HandedRows,
}

impl Dealer for Counter {
    fn deal(&mut self, _: usize, max_records: u64) -> Result<Deal> {
        let count = (self.end - self.next).min(max_records.min(8192) as i64);
        if self.next == self.end {
            return Ok(Deal::End);
        }
        if count == 0 {
            return Ok(Deal::Pending);
        }
        let first = self.next;
        self.next += count;
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(first..self.next));
        let rows = RecordBatch::try_from_iter([("n", numbers)]).expect("one column");
        let rows = ChangeBatch::append_only(rows);
        Ok(Deal::Chunk(self.handed.hand(
            &"numbers".into(),
            first as u64,
            rows,
        )))
    }

    fn position(&self) -> Position {
        self.next.into()
    }

    fn progress(&self) -> (u64, Option<u64>) {
        (self.next as u64, Some(self.end as u64))
    }
}

/// Adds up the first column, retractions included.
#[derive(Clone, Default)]
struct Total(Arc<AtomicI64>);

impl ProgramSink for Total {
    fn open(&self, _: TableRequest, _: &SinkEnvironment) -> Result<Box<dyn Sink>> {
        Ok(Box::new(self.clone()))
    }
}

impl Sink for Total {
    fn visibility(&self) -> Visibility {
        Visibility::Epoch
    }

    fn accepts_retractions(&self) -> bool {
        true
    }

    fn writer(&self, _: WorkerId) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(self.clone()))
    }

    fn committer(&self) -> Result<Box<dyn SinkCommitter>> {
        Ok(Box::new(self.clone()))
    }
}

impl SinkWriter for Total {
    fn write(&mut self, changes: &ChangeBatch) -> Result<()> {
        let values = changes.rows.column(0).as_primitive::<Int64Type>();
        let sum: i64 = (0..changes.num_rows())
            .map(|row| changes.weight(row) * values.value(row))
            .sum();
        self.0.fetch_add(sum, Ordering::Relaxed);
        Ok(())
    }

    fn end_epoch(&mut self) -> Result<()> {
        Ok(())
    }

    fn prepare(&mut self, _: CheckpointId) -> Result<Option<serde_json::Value>> {
        Ok(None)
    }
}

impl SinkCommitter for Total {
    fn commit(&mut self, _: CheckpointId, _: &[serde_json::Value]) -> Result<()> {
        Ok(())
    }

    fn rollback_to(&mut self, _: Option<CheckpointId>) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn holds_output(&self) -> Result<bool> {
        Ok(false)
    }

    fn remove_output(&mut self) -> Result<()> {
        Ok(())
    }
}

fn main() -> weir_engine::Result<()> {
    let spec = TableSpec::new(vec![Column::new("n", DataType::Int64)]);
    let total = Total::default();
    let mut session = Session::ephemeral();
    session.declare_source("numbers", &spec, Arc::new(Numbers { end: 100_000 }))?;
    session.declare_sink("total", &spec, Arc::new(total.clone()))?;
    session.execute("INSERT INTO total SELECT n * 2 FROM numbers WHERE n % 2 = 0")?;
    session.wait("total")?;
    let sum = total.0.load(Ordering::Relaxed);
    println!("the even numbers, doubled, add up to {sum}");
    assert_eq!(
        sum,
        (0..100_000_i64)
            .filter(|n| n % 2 == 0)
            .map(|n| n * 2)
            .sum::<i64>()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() {
        super::main().expect("it runs");
    }
}

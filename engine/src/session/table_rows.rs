//! A table whose rows the program has: Arrow batches, read from the beginning by every query.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use weir_connectors::{
    Deal, Dealer, Decoder, HandedRows, Position, Source, SplitListing, TableRequest,
};
use weir_types::{ChangeBatch, SplitId};

use super::program::ProgramSource;

/// The rows.
pub(super) struct RowsTable {
    batches: Arc<[RecordBatch]>,
}

impl RowsTable {
    pub(super) fn new(batches: Vec<RecordBatch>) -> Self {
        Self {
            batches: batches.into(),
        }
    }
}

impl ProgramSource for RowsTable {
    fn open(&self, request: TableRequest) -> weir_connectors::Result<Box<dyn Source>> {
        Ok(Box::new(RowsSource {
            batches: self.batches.clone(),
            handed: HandedRows::default(),
            request,
        }))
    }

    fn bounded(&self) -> bool {
        true
    }
}

struct RowsSource {
    batches: Arc<[RecordBatch]>,
    handed: HandedRows,
    request: TableRequest,
}

impl Source for RowsSource {
    fn splits(&self, _: &BTreeMap<SplitId, Position>) -> weir_connectors::Result<SplitListing> {
        Ok(SplitListing::one(self.request.table.clone()))
    }

    fn dealer(
        &self,
        _: &SplitId,
        position: Option<&Position>,
    ) -> weir_connectors::Result<Box<dyn Dealer>> {
        let done = position.and_then(|position| position.get("rows")?.as_u64());
        Ok(Box::new(RowsDealer {
            batches: self.batches.clone(),
            handed: self.handed.clone(),
            origin: self.request.table.as_str().into(),
            done: done.unwrap_or_default(),
        }))
    }

    fn decoder(&self) -> weir_connectors::Result<Box<dyn Decoder>> {
        Ok(self.handed.decoder(&self.request))
    }

    fn bounded(&self) -> bool {
        true
    }
}

struct RowsDealer {
    batches: Arc<[RecordBatch]>,
    handed: HandedRows,
    origin: Arc<str>,
    /// Rows dealt so far.
    done: u64,
}

impl Dealer for RowsDealer {
    fn deal(&mut self, _: usize, max_records: u64) -> weir_connectors::Result<Deal> {
        if max_records == 0 {
            return Ok(Deal::Pending);
        }
        let mut before = 0u64;
        for batch in self.batches.iter() {
            let rows = batch.num_rows() as u64;
            if self.done < before + rows {
                let from = (self.done - before) as usize;
                let most = usize::try_from(max_records).unwrap_or(usize::MAX);
                let count = (batch.num_rows() - from).min(most);
                let piece = ChangeBatch::append_only(batch.slice(from, count));
                let first = self.done;
                self.done += count as u64;
                return Ok(Deal::Chunk(self.handed.hand(&self.origin, first, piece)));
            }
            before += rows;
        }
        Ok(Deal::End)
    }

    fn position(&self) -> Position {
        serde_json::json!({ "rows": self.done })
    }

    fn progress(&self) -> (u64, Option<u64>) {
        let all = self.batches.iter().map(|batch| batch.num_rows() as u64);
        (self.done, Some(all.sum()))
    }
}

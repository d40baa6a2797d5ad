//! What every operator has done since its job started: counted by the workers, read by anybody at any time.
//!
//! ```text
//!   worker 0: rows, batches, time ─┐ relaxed counters,       ┌─▶ weir explain --analyze
//!   worker 1: …                    ┼ one set for each ─ sum ─┼─▶ /metrics
//!   worker 2: …                    ┘ worker and operator     └─▶ Session, JobSummary
//! ```
//!
//! # Invariants
//! 1. A counter has one writer, its worker; whoever reads sees a number that was true a moment ago.
//! 2. Time is measured with the monotonic clock, and nothing is decided by it.
//! 3. Counting starts anew when a job starts or restarts; what goes on over restarts is in [`Progress`].

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use weir_types::Watermark;

use crate::Progress;
use crate::job::Shared;

/// The counters of one operator on one worker.
#[derive(Debug)]
pub(crate) struct OperatorCounters {
    rows_in: AtomicU64,
    batches_in: AtomicU64,
    rows_out: AtomicU64,
    batches_out: AtomicU64,
    busy_nanos: AtomicU64,
    exchange_nanos: AtomicU64,
    alignment_nanos: AtomicU64,
    state_entries: AtomicU64,
    state_bytes: AtomicU64,
    state_entries_peak: AtomicU64,
    state_bytes_peak: AtomicU64,
    watermark: AtomicI64,
}

impl Default for OperatorCounters {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            rows_in: zero(),
            batches_in: zero(),
            rows_out: zero(),
            batches_out: zero(),
            busy_nanos: zero(),
            exchange_nanos: zero(),
            alignment_nanos: zero(),
            state_entries: zero(),
            state_bytes: zero(),
            state_entries_peak: zero(),
            state_bytes_peak: zero(),
            watermark: AtomicI64::new(Watermark::MIN.0),
        }
    }
}

/// Adds to a counter that nobody else writes.
fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Ordering::Relaxed);
}

impl OperatorCounters {
    /// A batch came in.
    pub(crate) fn on_batch(&self, rows: usize) {
        add(&self.batches_in, 1);
        add(&self.rows_in, rows as u64);
    }

    /// A source has read so many records, malformed ones included.
    pub(crate) fn on_records(&self, records: u64) {
        if records > 0 {
            self.on_batch(records as usize);
        }
    }

    /// A batch goes out.
    pub(crate) fn on_given(&self, rows: usize) {
        add(&self.batches_out, 1);
        add(&self.rows_out, rows as u64);
    }

    /// The operator worked so long.
    pub(crate) fn on_busy(&self, time: Duration) {
        add(&self.busy_nanos, time.as_nanos() as u64);
    }

    /// Its rows were cut up and sent to other workers for so long.
    pub(crate) fn on_exchange(&self, time: Duration) {
        add(&self.exchange_nanos, time.as_nanos() as u64);
    }

    /// The first barrier of an epoch waited so long for the last one.
    pub(crate) fn on_aligned(&self, time: Duration) {
        add(&self.alignment_nanos, time.as_nanos() as u64);
    }

    /// It keeps so much in memory now.
    pub(crate) fn on_state(&self, entries: u64, bytes: u64) {
        self.state_entries.store(entries, Ordering::Relaxed);
        self.state_bytes.store(bytes, Ordering::Relaxed);
        self.state_entries_peak
            .fetch_max(entries, Ordering::Relaxed);
        self.state_bytes_peak.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Its inputs have promised this.
    pub(crate) fn on_watermark(&self, watermark: Watermark) {
        self.watermark.store(watermark.0, Ordering::Relaxed);
    }
}

/// What one operator has done since the start, on all workers together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OperatorMetrics {
    /// The operator's ID.
    pub id: String,
    /// Rows that came in; of a source the records read, malformed ones included.
    pub rows_in: u64,
    /// And in how many batches.
    pub batches_in: u64,
    /// Rows given on, once for all consumers; nothing for a sink.
    pub rows_out: u64,
    /// And in how many batches.
    pub batches_out: u64,
    /// Time in the operator's own code, of all workers.
    pub busy_micros: u64,
    /// The share of the worker that spent most: far above the average, a few keys have most of the rows.
    pub busiest_micros: u64,
    /// Time spent to cut its rows by key and send them to other workers.
    pub exchange_micros: u64,
    /// How long first barriers waited for last ones, summed over the epochs: of the worker that waited longest.
    pub alignment_micros: u64,
    /// Rows left out because they came late.
    pub late_rows: u64,
    /// Rows given to the outside, by a sink or a SELECT.
    pub written_rows: u64,
    /// Entries of its state that are in memory.
    pub state_entries: u64,
    /// And their bytes, about.
    pub state_bytes: u64,
    /// The most that there were at the end of an epoch (the sum of each worker's most).
    pub state_entries_peak: u64,
    /// The most bytes that they took.
    pub state_bytes_peak: u64,
    /// The least promise of its inputs over all workers, microseconds since the Unix epoch.
    pub watermark_micros: Option<i64>,
}

/// What a job has done since its start.
#[derive(Clone, Debug, Default)]
pub struct JobMetrics {
    /// Totals, which go on after a resume.
    pub progress: Progress,
    /// Since the start.
    pub elapsed: Duration,
    /// Workers.
    pub parallelism: u32,
    /// By operator, in the plan's order.
    pub operators: Vec<OperatorMetrics>,
}

/// Reads the counters of a job.
pub(crate) fn of_job(shared: &Shared) -> JobMetrics {
    JobMetrics {
        progress: shared.progress(),
        elapsed: shared.clock.elapsed(),
        parallelism: shared.options.parallelism,
        operators: of_operators(shared),
    }
}

/// The counters of every operator, summed over the workers.
pub(crate) fn of_operators(shared: &Shared) -> Vec<OperatorMetrics> {
    let operators = shared.plan.operators.iter().enumerate();
    let metrics = operators.map(|(index, operator)| {
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let mut sum = OperatorMetrics {
            id: operator.id.to_string(),
            ..OperatorMetrics::default()
        };
        let mut watermark = i64::MAX;
        for worker in &shared.counters {
            let own = &worker.operators[index];
            let busy = read(&own.busy_nanos) / 1000;
            sum.rows_in += read(&own.rows_in);
            sum.batches_in += read(&own.batches_in);
            sum.rows_out += read(&own.rows_out);
            sum.batches_out += read(&own.batches_out);
            sum.busy_micros += busy;
            sum.busiest_micros = sum.busiest_micros.max(busy);
            sum.exchange_micros += read(&own.exchange_nanos) / 1000;
            let waited = read(&own.alignment_nanos) / 1000;
            sum.alignment_micros = sum.alignment_micros.max(waited);
            sum.late_rows += read(&worker.late[index]);
            sum.written_rows += read(&worker.written[index]);
            sum.state_entries += read(&own.state_entries);
            sum.state_bytes += read(&own.state_bytes);
            sum.state_entries_peak += read(&own.state_entries_peak);
            sum.state_bytes_peak += read(&own.state_bytes_peak);
            watermark = watermark.min(own.watermark.load(Ordering::Relaxed));
        }
        let known = watermark != Watermark::MIN.0 && watermark != Watermark::MAX.0;
        sum.watermark_micros = known.then_some(watermark);
        sum
    });
    metrics.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_remembers_its_peak_and_batches_are_counted_with_their_rows() {
        let counters = OperatorCounters::default();
        counters.on_batch(3);
        counters.on_batch(4);
        counters.on_records(0);
        counters.on_state(10, 100);
        counters.on_state(2, 20);
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        assert_eq!(
            (read(&counters.batches_in), read(&counters.rows_in)),
            (2, 7)
        );
        assert_eq!(read(&counters.state_entries), 2);
        assert_eq!(read(&counters.state_entries_peak), 10);
        assert_eq!(read(&counters.state_bytes_peak), 100);
    }
}

//! Figures of the server and its jobs in the text format of Prometheus.
//!
//! Counters of a job go on after a restart of its process, as its checkpoints have them; those of its operators begin again with each
//! process, which is what `rate()` expects of counters.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::Ordering;

use serde_json::Value;
use weir_engine::statistics::{self, CheckpointRecord, Ending, OperatorRecord};

use super::server::Server;

/// Of the file of records, the last ones are looked for in so many bytes.
const RECORDS_BYTES: u64 = 256 << 10;

/// Every state that a job may be in.
const STATES: [&str; 9] = [
    "starting",
    "waiting",
    "running",
    "stopping",
    "upgrading",
    "restarting",
    "stopped",
    "finished",
    "failed",
];

/// Samples by metric: each metric has all its samples under one heading.
#[derive(Default)]
struct Page {
    metrics: Vec<&'static str>,
    texts: BTreeMap<&'static str, String>,
}

impl Page {
    fn add(
        &mut self,
        name: &'static str,
        (kind, about): (&str, &str),
        labels: &[(&str, &str)],
        value: f64,
    ) {
        let text = self.texts.entry(name).or_insert_with(|| {
            self.metrics.push(name);
            format!("# HELP {name} {about}\n# TYPE {name} {kind}\n")
        });
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        // A String takes whatever is written.
        let _ = writeln!(text, "{name}{labels} {value}");
    }

    fn text(self) -> String {
        self.metrics
            .iter()
            .map(|name| self.texts[name].as_str())
            .collect()
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// The page.
pub(crate) fn page(server: &Server) -> String {
    let mut page = Page::default();
    let count = |value: u64| value as f64;
    page.add(
        "weir_server_info",
        ("gauge", "The server's release."),
        &[("version", env!("CARGO_PKG_VERSION"))],
        1.0,
    );
    page.add(
        "weir_server_uptime_seconds",
        ("gauge", "Since the server's start."),
        &[],
        server.started.elapsed().as_secs_f64(),
    );
    page.add(
        "weir_server_requests_total",
        ("counter", "Requests that were answered."),
        &[],
        count(server.requests.load(Ordering::Relaxed)),
    );
    page.add(
        "weir_server_requests_unauthorized_total",
        ("counter", "Requests without the token."),
        &[],
        count(server.refused.load(Ordering::Relaxed)),
    );
    for (job, progress) in server.all_with_progress() {
        let (name, now) = (job.name.as_str(), job.state());
        for state in STATES {
            page.add(
                "weir_job_state",
                ("gauge", "1 for the state that the job is in."),
                &[("job", name), ("state", state)],
                if state == now { 1.0 } else { 0.0 },
            );
        }
        page.add(
            "weir_job_restarts_total",
            (
                "counter",
                "Processes that were started again, since the server's start.",
            ),
            &[("job", name)],
            count(job.restarts()),
        );
        if let Some(progress) = progress {
            of_progress(&mut page, name, &progress);
            of_operators(&mut page, name, &progress);
        }
        if let Some(record) = newest_record(&job.home.state()) {
            of_record(&mut page, name, &record);
        }
    }
    page.text()
}

/// Name in the status, name of the metric, kind, what it is.
const FIGURES: [(&str, &str, &str, &str); 12] = [
    (
        "rows_in",
        "weir_job_rows_in_total",
        "counter",
        "Records read, malformed ones included.",
    ),
    (
        "rows_out",
        "weir_job_rows_out_total",
        "counter",
        "Rows given to sinks.",
    ),
    (
        "late_rows",
        "weir_job_late_rows_total",
        "counter",
        "Rows dropped because they came late.",
    ),
    (
        "rejected_rows",
        "weir_job_rejected_rows_total",
        "counter",
        "Malformed records that were skipped or kept elsewhere.",
    ),
    (
        "failed_rows",
        "weir_job_failed_rows_total",
        "counter",
        "Rows left out because an expression failed.",
    ),
    (
        "bytes_done",
        "weir_job_input_bytes_total",
        "counter",
        "Input done: bytes, or rows of a generator.",
    ),
    (
        "last_checkpoint",
        "weir_job_last_checkpoint",
        "gauge",
        "The number of the newest whole checkpoint.",
    ),
    (
        "state_memory_bytes",
        "weir_job_state_memory_bytes",
        "gauge",
        "Memory that state takes: tables, block cache, write buffers.",
    ),
    (
        "state_memory_bytes_peak",
        "weir_job_state_memory_peak_bytes",
        "gauge",
        "The most that was taken at any time.",
    ),
    (
        "state_memory_bytes_budget",
        "weir_job_state_memory_budget_bytes",
        "gauge",
        "'state.memory'.",
    ),
    (
        "state_entries_spilled",
        "weir_job_state_entries_spilled_total",
        "counter",
        "Entries that left memory because it ran short.",
    ),
    (
        "state_entries_reloaded",
        "weir_job_state_entries_reloaded_total",
        "counter",
        "Entries that were read back.",
    ),
];

fn of_progress(page: &mut Page, job: &str, progress: &Value) {
    for (field, name, kind, about) in FIGURES {
        if let Some(value) = progress[field].as_f64() {
            page.add(name, (kind, about), &[("job", job)], value);
        }
    }
    if let Some(micros) = progress["watermark_micros"].as_f64() {
        page.add(
            "weir_job_watermark_seconds",
            (
                "gauge",
                "The least watermark of the sources, in seconds since 1970.",
            ),
            &[("job", job)],
            micros / 1e6,
        );
    }
}

fn of_record(page: &mut Page, job: &str, record: &CheckpointRecord) {
    let labels = [("job", job)];
    let seconds = |micros: u64| micros as f64 / 1e6;
    page.add(
        "weir_job_checkpoint_duration_seconds",
        (
            "gauge",
            "The newest checkpoint, from its barrier until its sinks had committed.",
        ),
        &labels,
        seconds(record.total_micros),
    );
    page.add(
        "weir_job_checkpoint_timestamp_seconds",
        (
            "gauge",
            "When the newest checkpoint began, in seconds since 1970.",
        ),
        &labels,
        record.triggered_micros as f64 / 1e6,
    );
    page.add(
        "weir_job_checkpoint_bytes",
        ("gauge", "All files of the newest checkpoint."),
        &labels,
        record.bytes_total as f64,
    );
    page.add(
        "weir_job_checkpoint_uploaded_bytes",
        ("gauge", "What of it was new."),
        &labels,
        record.bytes_new as f64,
    );
    let with_state = |operator: &&OperatorRecord| !operator.bound.is_empty();
    for operator in record.operators.iter().filter(with_state) {
        let labels = [("job", job), ("operator", operator.id.as_str())];
        page.add(
            "weir_operator_checkpoint_state_entries",
            (
                "gauge",
                "All entries of its state at the newest checkpoint, roughly.",
            ),
            &labels,
            operator.entries_total as f64,
        );
        page.add(
            "weir_operator_checkpoint_state_bytes",
            ("gauge", "Their bytes, roughly."),
            &labels,
            operator.bytes_total as f64,
        );
    }
}

/// Name in the metrics of an operator, name of the metric, kind, what it is, how many make one of the metric's unit.
const OPERATORS: [(&str, &str, &str, &str, f64); 8] = [
    (
        "rows_in",
        "weir_operator_rows_in_total",
        "counter",
        "Rows that an operator took.",
        1.0,
    ),
    (
        "rows_out",
        "weir_operator_rows_out_total",
        "counter",
        "Rows that it gave on.",
        1.0,
    ),
    (
        "batches_in",
        "weir_operator_batches_in_total",
        "counter",
        "Batches that it took.",
        1.0,
    ),
    (
        "batches_out",
        "weir_operator_batches_out_total",
        "counter",
        "Batches that it gave on.",
        1.0,
    ),
    (
        "busy_micros",
        "weir_operator_busy_seconds_total",
        "counter",
        "Time in its own code, of all workers.",
        1e6,
    ),
    (
        "alignment_micros",
        "weir_operator_alignment_seconds_total",
        "counter",
        "Time that barriers waited for each other.",
        1e6,
    ),
    (
        "state_entries",
        "weir_operator_state_entries",
        "gauge",
        "Entries of its state in memory.",
        1.0,
    ),
    (
        "state_bytes",
        "weir_operator_state_bytes",
        "gauge",
        "Bytes of its state in memory.",
        1.0,
    ),
];

fn of_operators(page: &mut Page, job: &str, progress: &Value) {
    for operator in progress["operators"].as_array().into_iter().flatten() {
        let id = operator["id"].as_str().unwrap_or_default();
        for (field, name, kind, about, unit) in OPERATORS {
            if let Some(value) = operator[field].as_f64() {
                page.add(
                    name,
                    (kind, about),
                    &[("job", job), ("operator", id)],
                    value / unit,
                );
            }
        }
    }
}

/// The newest record of a checkpoint that was completed, from the end of the file.
fn newest_record(state: &Path) -> Option<CheckpointRecord> {
    let mut file = std::fs::File::open(statistics::file_of(state)).ok()?;
    let size = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(RECORDS_BYTES)))
        .ok()?;
    let mut bytes = Vec::new();
    file.take(RECORDS_BYTES).read_to_end(&mut bytes).ok()?;
    bytes
        .split(|byte| *byte == b'\n')
        .rev()
        .filter_map(|line| serde_json::from_slice::<CheckpointRecord>(line).ok())
        .find(|record| record.ending == Ending::Completed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_metric_stand_together_and_labels_are_escaped() {
        let mut page = Page::default();
        for job in ["a", "b\"c"] {
            page.add("x_total", ("counter", "X."), &[("job", job)], 3.0);
            page.add("y", ("gauge", "Y."), &[("job", job)], 0.5);
        }
        assert_eq!(
            page.text(),
            "# HELP x_total X.\n# TYPE x_total counter\nx_total{job=\"a\"} 3\nx_total{job=\"b\\\"c\"} 3\n\
             # HELP y Y.\n# TYPE y gauge\ny{job=\"a\"} 0.5\ny{job=\"b\\\"c\"} 0.5\n"
        );
    }
}

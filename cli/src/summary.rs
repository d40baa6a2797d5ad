//! The last words of a run, on standard error.

use serde_json::{Value, json};
use weir_engine::{JobSummary, Outcome};
use weir_types::EventTime;

use crate::text::{bytes, counted, elapsed, grouped, rate};

/// Some lines, the first one saying how the job ended. `rows_before` were read by earlier starts.
pub(crate) fn describe(job: &str, summary: &JobSummary, rows_before: u64) -> String {
    let progress = &summary.progress;
    let time = elapsed(summary.elapsed);
    let mut lines = vec![match summary.outcome {
        Outcome::Drained => format!("{job}: done in {time}"),
        Outcome::Stopped if progress.last_checkpoint.is_some() => {
            format!("{job}: stopped after {time}; the same command goes on from there")
        }
        // A job that only prints keeps nothing.
        Outcome::Stopped => format!("{job}: stopped after {time}"),
        Outcome::AlreadyDrained => {
            let at = summary.finished_at_micros.map(|micros| {
                format!(
                    "finished at {} UTC",
                    EventTime(micros / 1_000_000 * 1_000_000)
                )
            });
            let at = at.unwrap_or_else(|| "finished earlier".to_owned());
            return format!("{job}: {at}, there is nothing left to do; --fresh runs it again\n");
        }
    }];
    if let Some(checkpoint) = summary.resumed_from {
        lines.push(format!("  resumed      from checkpoint {checkpoint}"));
    }
    let rows_before = if summary.resumed_from.is_some() {
        rows_before
    } else {
        0
    };
    lines.push(format!(
        "  rows         {} in, {} out, {} rows/s",
        grouped(progress.rows_in),
        grouped(progress.rows_out),
        grouped(rate(
            progress.rows_in.saturating_sub(rows_before),
            summary.elapsed
        ))
    ));
    for (table, rows) in &summary.written {
        lines.push(format!(
            "  written      {} to {table}",
            counted(*rows, "row", "rows")
        ));
    }
    let late: u64 = summary.late.iter().map(|(_, rows)| rows).sum();
    if late > 0 {
        let operators: Vec<_> = summary
            .late
            .iter()
            .filter(|(_, rows)| *rows > 0)
            .map(|(operator, rows)| format!("{} in {operator}", grouped(*rows)))
            .collect();
        lines.push(format!("  late         {}", operators.join(", ")));
    } else {
        lines.push("  late         0 rows".to_owned());
    }
    if progress.rejected_rows > 0 {
        lines.push(format!(
            "  malformed    {}",
            counted(progress.rejected_rows, "record", "records")
        ));
    }
    if progress.failed_rows > 0 {
        lines.push(format!(
            "  failed       {}, left out by 'row.error'",
            counted(progress.failed_rows, "row", "rows")
        ));
    }
    match progress.last_checkpoint {
        Some(last) => lines.push(format!(
            "  checkpoints  {}, the last one is number {last}",
            grouped(summary.checkpoints)
        )),
        None => lines.push("  checkpoints  none".to_owned()),
    }
    let state = &progress.state;
    lines.push(format!(
        "  state        {} at most of {}, {} spilled, {} reloaded",
        bytes(state.memory_bytes_peak),
        bytes(state.memory_bytes_budget),
        counted(state.entries_spilled, "entry", "entries"),
        counted(state.entries_reloaded, "entry", "entries"),
    ));
    if state.gate_wait_ms > 0 {
        lines.push(format!(
            "  waited       {} ms for checkpoints to be written",
            grouped(state.gate_wait_ms)
        ));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The same as an object, for programs.
pub(crate) fn json(job: &str, summary: &JobSummary) -> Value {
    let progress = &summary.progress;
    let named = |rows: &[(String, u64)]| -> Value {
        let rows = rows.iter().filter(|(_, rows)| *rows > 0);
        rows.map(|(name, rows)| (name.clone(), json!(rows)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    json!({
        "job": job,
        "outcome": match summary.outcome {
            Outcome::Drained => "drained",
            Outcome::Stopped => "stopped",
            Outcome::AlreadyDrained => "already drained",
        },
        "elapsed_micros": summary.elapsed.as_micros() as u64,
        "resumed_from": summary.resumed_from.map(|checkpoint| checkpoint.0),
        "rows_in": progress.rows_in,
        "rows_out": progress.rows_out,
        "written": named(&summary.written),
        "late": named(&summary.late),
        "rejected_rows": progress.rejected_rows,
        "failed_rows": progress.failed_rows,
        "checkpoints": summary.checkpoints,
        "last_checkpoint": progress.last_checkpoint.map(|checkpoint| checkpoint.0),
        "state": {
            "bytes_peak": progress.state.memory_bytes_peak,
            "bytes_budget": progress.state.memory_bytes_budget,
            "entries_spilled": progress.state.entries_spilled,
            "entries_reloaded": progress.state.entries_reloaded,
            "waited_ms": progress.state.gate_wait_ms,
        },
        "operators": summary.operators,
        "warnings": progress.warnings,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weir_engine::Progress;
    use weir_types::CheckpointId;

    use super::*;

    #[test]
    fn the_summary_names_late_rows_by_operator_and_what_was_spilled() {
        let mut progress = Progress {
            rows_in: 10_000,
            rows_out: 24,
            rejected_rows: 1,
            failed_rows: 2,
            ..Progress::default()
        };
        progress.last_checkpoint = Some(CheckpointId(7));
        progress.state.entries_spilled = 1234;
        progress.state.memory_bytes_budget = 64 << 20;
        let summary = JobSummary {
            outcome: Outcome::Drained,
            progress,
            elapsed: Duration::from_millis(500),
            resumed_from: Some(CheckpointId(3)),
            checkpoints: 4,
            late: vec![
                ("delays/aggregate".to_owned(), 12),
                ("quiet/aggregate".to_owned(), 0),
            ],
            written: vec![("out".to_owned(), 24)],
            operators: Vec::new(),
            finished_at_micros: None,
        };
        let expected = "\
flights: done in 0.50 s
  resumed      from checkpoint 3
  rows         10,000 in, 24 out, 12,000 rows/s
  written      24 rows to out
  late         12 in delays/aggregate
  malformed    1 record
  failed       2 rows, left out by 'row.error'
  checkpoints  4, the last one is number 7
  state        0 B at most of 64.0 MiB, 1,234 entries spilled, 0 entries reloaded
";
        assert_eq!(describe("flights", &summary, 4_000), expected);
    }
}

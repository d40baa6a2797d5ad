//! How to run a job: from `SET` in its text, overridden by flags.

use std::path::PathBuf;
use std::time::Duration;

use weir_planner::plan::{OperatorKind, StreamPlan};
use weir_state::BackendKind;
use weir_types::Diagnostic;

use crate::{Error, Result};

/// How to run a job. [`JobOptions::resolve`] applies the plan's settings; callers overwrite fields for their flags.
#[derive(Clone, Debug)]
pub struct JobOptions {
    /// Number of workers; default: the machine's cores.
    pub parallelism: u32,
    /// 'state.dir'; default `.weir/JOB`. `None`: ephemeral (no folder, no checkpoint, no lock).
    pub state_dir: Option<PathBuf>,
    /// 'state.memory' in bytes. Default 512 MiB.
    pub state_memory: usize,
    /// 'state.backend'.
    pub backend: BackendKind,
    /// 'checkpoint.interval'. Default 10 s.
    pub checkpoint_interval: Duration,
    /// 'checkpoint.retain'. Default 3.
    pub checkpoints_retained: usize,
    /// 'checkpoint.mode': `exactly-once` (default) publishes at checkpoints, `at-least-once` at epochs.
    pub exactly_once: bool,
    /// 'epoch.interval'. Default 10 ms.
    pub epoch_interval: Duration,
    /// 'key.groups'. Default 128; fixed at the first start.
    pub key_groups: u16,
    /// 'batch.rows'. Default 8192.
    pub batch_rows: usize,
    /// Folder that relative paths of tables start from.
    pub base: PathBuf,
    /// The query file (canonical path), recorded in the state folder as its owner.
    pub file: Option<PathBuf>,
    /// `--fresh`: forgets the job's checkpoints.
    pub fresh: bool,
    /// `--replace-output`: with `fresh`, removes what the job's sinks hold.
    pub replace_output: bool,
    /// `--stop-after [TABLE=]ROWS`: records counted from the first one of the source, so that the same command ends
    /// at the same record however often it was interrupted.
    pub stop_after: Vec<(Option<String>, u64)>,
    /// `--savepoint DIR`: write one at the (regular or --stop-after) end.
    pub savepoint: Option<PathBuf>,
    /// `--from DIR`: start from this savepoint instead of the job's last checkpoint.
    pub restore_from: Option<PathBuf>,
    /// Run everything on one thread, with paused time, the interleaving decided by this seed (tests).
    pub simulation_seed: Option<u64>,
    /// Random batch cuts, chunk sizes and epoch lengths from this seed, on threads too (tests).
    pub test_cuts: Option<u64>,
}

impl JobOptions {
    /// Defaults for a job of that name, with the plan's settings applied.
    ///
    /// # Errors
    /// A setting whose value cannot be used.
    pub fn resolve(plan: &StreamPlan, job: &str) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let mut options = Self {
            parallelism: cores,
            state_dir: (!is_ephemeral(plan)).then(|| PathBuf::from(".weir").join(job)),
            state_memory: 512 << 20,
            backend: BackendKind::Rocksdb,
            checkpoint_interval: Duration::from_secs(10),
            checkpoints_retained: 3,
            exactly_once: true,
            epoch_interval: Duration::from_millis(10),
            key_groups: 128,
            batch_rows: 8192,
            base: PathBuf::from("."),
            file: None,
            fresh: false,
            replace_output: false,
            stop_after: Vec::new(),
            savepoint: None,
            restore_from: None,
            simulation_seed: None,
            test_cuts: None,
        };
        for (key, value) in &plan.settings {
            options.apply(key, value)?;
        }
        Ok(options)
    }

    fn apply(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "parallelism" => self.parallelism = number(key, value, 1, 1024)? as u32,
            // A job that only prints keeps nothing, wherever its state would be.
            "state.dir" => {
                if let Some(folder) = &mut self.state_dir {
                    *folder = PathBuf::from(value);
                }
            }
            "state.memory" => self.state_memory = bytes(key, value)?,
            "state.backend" => {
                self.backend = match value {
                    "rocksdb" => BackendKind::Rocksdb,
                    "memory" => BackendKind::Memory,
                    _ => return Err(unusable(key, value, "`rocksdb` or `memory`")),
                }
            }
            "checkpoint.interval" => self.checkpoint_interval = duration(key, value)?,
            "checkpoint.retain" => {
                self.checkpoints_retained = number(key, value, 1, 1_000_000)? as usize
            }
            "checkpoint.mode" => {
                self.exactly_once = match value {
                    "exactly-once" => true,
                    "at-least-once" => false,
                    _ => return Err(unusable(key, value, "`exactly-once` or `at-least-once`")),
                }
            }
            "epoch.interval" => self.epoch_interval = duration(key, value)?,
            "key.groups" => self.key_groups = number(key, value, 1, u64::from(u16::MAX))? as u16,
            "batch.rows" => self.batch_rows = number(key, value, 1, 1 << 20)? as usize,
            // The planner has checked the keys; what is not for the runtime is for others.
            _ => {}
        }
        Ok(())
    }
}

/// Only bare SELECTs: nothing is kept.
pub(crate) fn is_ephemeral(plan: &StreamPlan) -> bool {
    !plan
        .operators
        .iter()
        .any(|operator| matches!(operator.kind, OperatorKind::Sink { .. }))
}

fn number(key: &str, value: &str, least: u64, most: u64) -> Result<u64> {
    value
        .trim()
        .parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| unusable(key, value, &format!("a number from {least} to {most}")))
}

/// `250ms`, `10 s`, `2min`, `1 h`, `1 d`; a bare number is milliseconds.
pub(crate) fn duration(key: &str, value: &str) -> Result<Duration> {
    let (number, unit) = split_unit(value);
    let factor = match unit {
        "us" | "µs" => Some(1e-6),
        "" | "ms" => Some(1e-3),
        "s" | "sec" | "second" | "seconds" => Some(1.0),
        "m" | "min" | "minute" | "minutes" => Some(60.0),
        "h" | "hour" | "hours" => Some(3600.0),
        "d" | "day" | "days" => Some(86_400.0),
        _ => None,
    };
    let seconds = number.zip(factor).map(|(number, factor)| number * factor);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| unusable(key, value, "a duration such as `200ms`, `10s` or `5 min`"))
}

/// `64MiB`, `64 MB`, `1g`; a bare number is bytes.
fn bytes(key: &str, value: &str) -> Result<usize> {
    let (number, unit) = split_unit(value);
    let factor: Option<u64> = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" | "kib" => Some(1 << 10),
        "kb" => Some(1_000),
        "m" | "mib" => Some(1 << 20),
        "mb" => Some(1_000_000),
        "g" | "gib" => Some(1 << 30),
        "gb" => Some(1_000_000_000),
        _ => None,
    };
    number
        .zip(factor)
        .map(|(number, factor)| (number * factor as f64) as usize)
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| unusable(key, value, "a size such as `64MiB` or `1 GB`"))
}

fn split_unit(value: &str) -> (Option<f64>, &str) {
    let value = value.trim();
    let end = value
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(value.len());
    (value[..end].parse().ok(), value[end..].trim())
}

fn unusable(key: &str, value: &str, expected: &str) -> Error {
    let diagnostic = Diagnostic::error("E0001", format!("setting '{key}' cannot be '{value}'"))
        .help(format!("write {expected}"));
    Error::Plan(diagnostic.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_take_the_usual_units() {
        assert_eq!(duration("k", "200ms").unwrap(), Duration::from_millis(200));
        assert_eq!(duration("k", "1.5 s").unwrap(), Duration::from_millis(1500));
        assert_eq!(duration("k", "2 min").unwrap(), Duration::from_secs(120));
        assert!(duration("k", "soon").is_err());
        assert!(duration("k", "-1s").is_err());
        assert_eq!(bytes("k", "64MiB").unwrap(), 64 << 20);
        assert_eq!(bytes("k", "1 gb").unwrap(), 1_000_000_000);
        assert!(bytes("k", "0").is_err());
        assert!(number("k", "0", 1, 5).is_err());
    }
}

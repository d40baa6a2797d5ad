//! How to run a job: from `SET` in its text, overridden by flags.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use weir_planner::plan::{OperatorKind, StreamPlan};
use weir_planner::settings;
use weir_state::{BackendKind, Compression, SnapshotOptions, StorageHook, StorageSettings};

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
    /// The other settings of checkpoints.
    pub checkpoints: CheckpointOptions,
    /// The settings of restarts.
    pub restart: RestartOptions,
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
    /// What an edited query may do to the job's state.
    pub evolution: crate::EvolutionOptions,
    /// 'savepoint.interval': a savepoint each time so much has passed. `None`: none.
    pub savepoint_interval: Option<Duration>,
    /// 'savepoint.retain': periodic savepoints that are kept.
    pub savepoints_retained: usize,
    /// 'savepoint.dir': where periodic savepoints go; below `state_dir` unless set.
    pub savepoint_dir: Option<PathBuf>,
    /// Sources are read again, as far as this says, and then the run is over: `evolution/replay.rs`.
    pub again: Option<Arc<crate::evolution::Again>>,
    /// By which the job can be asked for savepoints and a stop while it runs: keep a clone.
    pub control: crate::JobControl,
    /// Who is told of checkpoints, restarts and edits.
    pub listener: crate::JobListener,
    /// Tables that the program hands over: see [`crate::Session`].
    pub program: crate::ProgramTables,
    /// State tables that the query reads: see [`crate::StateQuery`].
    pub state_tables: Option<Arc<weir_state::StateReader>>,
    /// Run everything on one thread, with paused time, the interleaving decided by this seed (tests).
    pub simulation_seed: Option<u64>,
    /// Random batch cuts, chunk sizes and epoch lengths from this seed, on threads too (tests).
    pub test_cuts: Option<u64>,
    /// Processing time stands still at this many microseconds since the Unix epoch (tests).
    pub test_clock: Option<i64>,
    /// In a simulation: storage that fails and stalls, and crashes, drawn from this seed (tests).
    pub simulation_faults: Option<u64>,
}

/// How checkpoints are taken: `docs/checkpoints.md`.
#[derive(Clone)]
pub struct CheckpointOptions {
    /// 'checkpoint.timeout'. Default 10 min.
    pub timeout: Duration,
    /// 'checkpoint.min-pause'. Default none.
    pub min_pause: Duration,
    /// 'checkpoint.max-concurrent'. Default 1.
    pub max_concurrent: usize,
    /// 'checkpoint.tolerable-failures', in a row; `None`: any number.
    pub tolerable_failures: Option<u64>,
    /// 'checkpoint.on-cancel' is `delete`.
    pub delete_on_cancel: bool,
    /// 'checkpoint.asynchronous' is `false`.
    pub synchronous: bool,
    /// 'checkpoint.incremental', 'checkpoint.compression' and 'checkpoint.max-concurrent', as the state takes them.
    pub snapshots: SnapshotOptions,
    /// 'checkpoint.storage'; `None`: in the state folder.
    pub storage: Option<String>,
    /// 'checkpoint.storage.…': how object stores are reached, for savepoints too.
    pub storage_settings: StorageSettings,
    /// Between a checkpoint and its storage (tests).
    pub storage_hook: Option<StorageHook>,
}

impl Default for CheckpointOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(600),
            min_pause: Duration::ZERO,
            max_concurrent: 1,
            tolerable_failures: None,
            delete_on_cancel: false,
            synchronous: false,
            snapshots: SnapshotOptions::default(),
            storage: None,
            storage_settings: StorageSettings::default(),
            storage_hook: None,
        }
    }
}

impl std::fmt::Debug for CheckpointOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckpointOptions")
            .field("timeout", &self.timeout)
            .field("min_pause", &self.min_pause)
            .field("max_concurrent", &self.max_concurrent)
            .field("tolerable_failures", &self.tolerable_failures)
            .field("delete_on_cancel", &self.delete_on_cancel)
            .field("synchronous", &self.synchronous)
            .field("snapshots", &self.snapshots)
            .field("storage", &self.storage)
            .field("storage_settings", &self.storage_settings)
            .finish_non_exhaustive()
    }
}

/// When a failed job starts again by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartOptions {
    /// 'restart.strategy'.
    pub strategy: RestartStrategy,
    /// 'restart.attempts', in a row. Default 3.
    pub attempts: u64,
    /// 'restart.delay'. Default 1 s.
    pub delay: Duration,
    /// 'restart.max-delay'. Default 1 min.
    pub max_delay: Duration,
}

/// 'restart.strategy'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartStrategy {
    /// Never.
    None,
    /// After the same time each time.
    FixedDelay,
    /// After twice the time each time.
    ExponentialDelay,
}

impl Default for RestartOptions {
    fn default() -> Self {
        Self {
            strategy: RestartStrategy::ExponentialDelay,
            attempts: 3,
            delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
        }
    }
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
            checkpoints: CheckpointOptions::default(),
            restart: RestartOptions::default(),
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
            evolution: crate::EvolutionOptions::default(),
            savepoint_interval: None,
            savepoints_retained: 3,
            savepoint_dir: None,
            again: None,
            control: crate::JobControl::default(),
            listener: crate::JobListener::default(),
            program: crate::ProgramTables::default(),
            state_tables: None,
            simulation_seed: None,
            test_cuts: None,
            simulation_faults: None,
            test_clock: None,
        };
        for (key, value) in &plan.settings {
            settings::check(key, value)
                .map_err(|problem| Error::Plan(problem.without_place().into()))?;
            options.apply(key, value);
        }
        Ok(options)
    }

    /// Takes a setting whose value has the right form.
    fn apply(&mut self, key: &str, value: &str) {
        match key {
            "parallelism" => set(&mut self.parallelism, number(value)),
            // A job that only prints keeps nothing, wherever its state would be.
            "state.dir" => {
                if let Some(folder) = &mut self.state_dir {
                    *folder = PathBuf::from(value);
                }
            }
            "state.memory" => set(
                &mut self.state_memory,
                settings::parse_bytes(value).map(|bytes| bytes as usize),
            ),
            "state.backend" => {
                self.backend = if value == "memory" {
                    BackendKind::Memory
                } else {
                    BackendKind::Rocksdb
                };
            }
            "checkpoint.interval" => set(
                &mut self.checkpoint_interval,
                settings::parse_duration(value),
            ),
            "checkpoint.retain" => set(&mut self.checkpoints_retained, number(value)),
            "checkpoint.mode" => self.exactly_once = value != "at-least-once",
            "savepoint.interval" => {
                self.savepoint_interval =
                    settings::parse_duration(value).filter(|interval| !interval.is_zero());
            }
            "savepoint.retain" => set(&mut self.savepoints_retained, number(value)),
            "savepoint.dir" => self.savepoint_dir = Some(PathBuf::from(value)),
            "epoch.interval" => set(&mut self.epoch_interval, settings::parse_duration(value)),
            "key.groups" => set(&mut self.key_groups, number(value)),
            "batch.rows" => set(&mut self.batch_rows, number(value)),
            // The others are for operators and sources.
            _ => {
                self.checkpoints.apply(key, value);
                self.restart.apply(key, value);
            }
        }
    }
}

impl CheckpointOptions {
    fn apply(&mut self, key: &str, value: &str) {
        match key {
            "checkpoint.timeout" => set(&mut self.timeout, settings::parse_duration(value)),
            "checkpoint.min-pause" => set(&mut self.min_pause, settings::parse_duration(value)),
            "checkpoint.max-concurrent" => {
                set(&mut self.max_concurrent, number(value));
                self.snapshots.concurrent_more = self.max_concurrent - 1;
            }
            "checkpoint.tolerable-failures" => self.tolerable_failures = number(value),
            "checkpoint.on-cancel" => self.delete_on_cancel = value == "delete",
            "checkpoint.asynchronous" => self.synchronous = value == "false",
            "checkpoint.incremental" => self.snapshots.full = value == "false",
            "checkpoint.compression" => {
                self.snapshots.compression = (value == "zstd").then_some(Compression::Zstd);
            }
            "checkpoint.storage" => self.storage = Some(value.to_owned()),
            "checkpoint.storage.endpoint" => {
                self.storage_settings.endpoint = Some(value.to_owned());
            }
            "checkpoint.storage.region" => self.storage_settings.region = Some(value.to_owned()),
            "checkpoint.storage.allow-http" => self.storage_settings.allow_http = value == "true",
            "checkpoint.storage.conditional-put" => {
                self.storage_settings.unconditional = value == "disabled";
            }
            _ => {}
        }
    }
}

impl RestartOptions {
    fn apply(&mut self, key: &str, value: &str) {
        match key {
            "restart.strategy" => {
                self.strategy = match value {
                    "none" => RestartStrategy::None,
                    "fixed-delay" => RestartStrategy::FixedDelay,
                    _ => RestartStrategy::ExponentialDelay,
                }
            }
            "restart.attempts" => set(&mut self.attempts, number(value)),
            "restart.delay" => set(&mut self.delay, settings::parse_duration(value)),
            "restart.max-delay" => set(&mut self.max_delay, settings::parse_duration(value)),
            _ => {}
        }
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn number<T: std::str::FromStr>(value: &str) -> Option<T> {
    value.trim().parse().ok()
}

/// Only bare SELECTs, and no table for rows that are left out: nothing is kept.
pub(crate) fn is_ephemeral(plan: &StreamPlan) -> bool {
    crate::beside::tables(plan).is_empty()
        && !plan
            .operators
            .iter()
            .any(|operator| matches!(operator.kind, OperatorKind::Sink { .. }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn resolve(settings: &[(&str, &str)]) -> Result<JobOptions> {
        let settings = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let plan = StreamPlan {
            format_version: 1,
            job_name: None,
            settings: settings.collect(),
            tables: BTreeMap::new(),
            operators: Vec::new(),
            state_from: BTreeMap::new(),
        };
        JobOptions::resolve(&plan, "job")
    }

    #[test]
    fn every_setting_of_checkpoints_and_restarts_arrives() {
        let options = resolve(&[
            ("checkpoint.timeout", "5 s"),
            ("checkpoint.min-pause", "2 s"),
            ("checkpoint.max-concurrent", "3"),
            ("checkpoint.tolerable-failures", "0"),
            ("checkpoint.on-cancel", "delete"),
            ("checkpoint.asynchronous", "false"),
            ("checkpoint.incremental", "false"),
            ("checkpoint.compression", "zstd"),
            ("checkpoint.storage", "memory:"),
            ("checkpoint.storage.endpoint", "http://localhost:9000"),
            ("checkpoint.storage.region", "eu-north-1"),
            ("checkpoint.storage.allow-http", "true"),
            ("checkpoint.storage.conditional-put", "disabled"),
            ("restart.strategy", "fixed-delay"),
            ("restart.attempts", "9"),
            ("restart.delay", "7 s"),
            ("restart.max-delay", "8 s"),
        ])
        .unwrap();
        let checkpoints = options.checkpoints;
        assert_eq!(checkpoints.timeout, Duration::from_secs(5));
        assert_eq!(checkpoints.min_pause, Duration::from_secs(2));
        assert_eq!(checkpoints.max_concurrent, 3);
        assert_eq!(checkpoints.snapshots.concurrent_more, 2);
        assert_eq!(checkpoints.tolerable_failures, Some(0));
        assert!(checkpoints.delete_on_cancel && checkpoints.synchronous);
        assert!(checkpoints.snapshots.full);
        assert_eq!(checkpoints.snapshots.compression, Some(Compression::Zstd));
        assert_eq!(checkpoints.storage.as_deref(), Some("memory:"));
        let reached = StorageSettings {
            endpoint: Some("http://localhost:9000".to_owned()),
            region: Some("eu-north-1".to_owned()),
            allow_http: true,
            unconditional: true,
        };
        assert_eq!(checkpoints.storage_settings, reached);
        let expected = RestartOptions {
            strategy: RestartStrategy::FixedDelay,
            attempts: 9,
            delay: Duration::from_secs(7),
            max_delay: Duration::from_secs(8),
        };
        assert_eq!(options.restart, expected);
        let unlimited = resolve(&[("checkpoint.tolerable-failures", "unlimited")]).unwrap();
        assert_eq!(unlimited.checkpoints.tolerable_failures, None);
    }

    #[test]
    fn settings_become_options_and_what_cannot_be_used_is_refused() {
        let options = resolve(&[
            ("state.memory", "64MiB"),
            ("checkpoint.interval", "200ms"),
            ("parallelism", "3"),
        ]);
        let options = options.unwrap();
        assert_eq!(options.state_memory, 64 << 20);
        assert_eq!(options.checkpoint_interval, Duration::from_millis(200));
        assert_eq!(options.parallelism, 3);
        assert_eq!(options.state_dir, None, "without a sink nothing is kept");
        assert!(matches!(
            resolve(&[("parallelism", "0")]),
            Err(Error::Plan(_))
        ));
        assert!(matches!(
            resolve(&[("paralelism", "2")]),
            Err(Error::Plan(_))
        ));
    }
}

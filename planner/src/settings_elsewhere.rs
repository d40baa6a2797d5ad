//! Settings of Flink, and what says the same here.
//!
//! What a user of another system types first is a key that they know. It is not taken silently, and not answered with a guess
//! from its letters.

/// Beginnings of foreign keys, the longer ones first, and what to write instead.
const FOREIGN: &[(&str, &str)] = &[
    ("table.exec.state.ttl", "SET 'state.ttl' = '1 d'"),
    (
        "table.exec.source.idle-timeout",
        "SET 'source.idle-timeout' = '10 s'",
    ),
    (
        "table.exec.emit.",
        "there is no early or late fire: an unwindowed GROUP BY is current at each 'epoch.interval', and late rows go to a 'late.table'",
    ),
    (
        "table.exec.mini-batch.",
        "rows are gathered until the end of each epoch in any case: SET 'epoch.interval' = '1 s' makes them longer",
    ),
    (
        "table.exec.resource.default-parallelism",
        "SET 'parallelism' = '4'",
    ),
    (
        "table.exec.sink.",
        "declare NOT NULL columns and keys in CREATE TABLE; they are checked and kept without a setting",
    ),
    ("table.local-time-zone", "SET 'time.zone' = 'Europe/Oslo'"),
    ("table.sql-dialect", "remove it: there is one dialect"),
    (
        "table.dml-sync",
        "remove it: `weir run` waits until the job ends",
    ),
    (
        "table.optimizer.",
        "remove it: the plan follows from the text alone, so that state is found again",
    ),
    (
        "pipeline.watermark-alignment.",
        "SET 'watermark.max-drift' = '1 min'",
    ),
    ("pipeline.name", "SET 'job.name' = 'name'"),
    ("pipeline.max-parallelism", "SET 'key.groups' = '128'"),
    (
        "pipeline.auto-watermark-interval",
        "remove it: a watermark follows every row",
    ),
    ("parallelism.default", "SET 'parallelism' = '4'"),
    (
        "execution.runtime-mode",
        "remove it: a job ends when all of its inputs have ended",
    ),
    (
        "execution.checkpointing.interval",
        "SET 'checkpoint.interval' = '10 s'",
    ),
    (
        "execution.checkpointing.min-pause",
        "SET 'checkpoint.min-pause' = '5 s'",
    ),
    (
        "execution.checkpointing.timeout",
        "SET 'checkpoint.timeout' = '10 min'",
    ),
    (
        "execution.checkpointing.mode",
        "SET 'checkpoint.mode' = 'at-least-once'; exactly-once is the default",
    ),
    (
        "execution.checkpointing.",
        "docs/settings.md lists what begins with 'checkpoint.'",
    ),
    (
        "execution.savepoint.",
        "`weir run --from-savepoint PATH` starts from one",
    ),
    ("state.backend.", "SET 'state.backend' = 'rocksdb'"),
    (
        "state.checkpoints.dir",
        "SET 'checkpoint.storage' = 'path or URL'",
    ),
    ("state.savepoints.dir", "SET 'savepoint.dir' = 'path'"),
    ("restart-strategy", "SET 'restart.strategy' = '…'"),
    (
        "sql-client.",
        "remove it: `weir query` prints a result, --format and --changelog say how",
    ),
    (
        "taskmanager.",
        "remove it: a job runs in one process; 'parallelism' and 'state.memory' say how much it may use",
    ),
    (
        "jobmanager.",
        "remove it: a job runs in one process; 'parallelism' and 'state.memory' say how much it may use",
    ),
];

/// What to write instead of a key of another system.
pub(crate) fn spelled_here(key: &str) -> Option<&'static str> {
    let key = key.to_ascii_lowercase();
    let known = FOREIGN.iter().find(|(start, _)| key.starts_with(start));
    known.map(|(_, help)| *help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_beginning_stands_before_a_shorter_one_of_it() {
        for (place, (start, _)) in FOREIGN.iter().enumerate() {
            let hidden = FOREIGN[..place]
                .iter()
                .find(|(earlier, _)| start.starts_with(earlier));
            assert!(hidden.is_none(), "{start} is never found");
        }
    }

    #[test]
    fn every_setting_that_is_named_is_one() {
        for (start, help) in FOREIGN {
            let named = help
                .split_once("SET '")
                .and_then(|(_, rest)| rest.split_once('\''));
            if let Some((key, _)) = named {
                let exists = crate::settings::SETTINGS
                    .iter()
                    .any(|setting| setting.key == key);
                assert!(exists, "{start}: there is no '{key}'");
            }
        }
    }
}

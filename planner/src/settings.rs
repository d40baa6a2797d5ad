//! The settings of a job: what `SET 'key' = 'value'` and the command's flags may say.
//!
//! One table ([`SETTINGS`]) holds key, default, form and meaning of each; `docs/settings.md` is generated from it.
//! Durations and sizes are written as people write them: `200ms`, `10 s`, `1 min 30 s`, `64MB`, `64 MiB`.

use std::time::Duration;

use weir_types::{Diagnostic, Span};

use crate::codes;

/// A setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name, lower case.
    pub key: &'static str,
    /// What holds without it, as text; in parentheses where it follows from something else.
    pub default: &'static str,
    /// What its value has to look like.
    pub form: Form,
    /// What it does, and what gets worse if it is set too low or too high.
    pub help: &'static str,
}

/// The form of a setting's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A time greater than zero.
    Duration,
    /// A time; zero turns the thing off.
    DurationOrOff,
    /// A time greater than zero, or this word.
    DurationOrWord(&'static str),
    /// A number of bytes, at least so many.
    Bytes(u64),
    /// A whole number from … to ….
    Number(u64, u64),
    /// A whole number from … to …, or this word.
    NumberOr(u64, u64, &'static str),
    /// Any text that is not empty.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of these words, or this prefix and something behind it.
    ChoiceOrPrefix(&'static [&'static str], &'static str),
    /// A time zone.
    Zone,
}

/// Every setting, in the order of the reference page.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "job.name",
        default: "(the file's name without `.sql`)",
        form: Form::Text,
        help: "What the job is called: its state lives in `.weir/JOB`, and it is found by this name. Renaming a job starts a new one.",
    },
    Setting {
        key: "parallelism",
        default: "(one worker for each core)",
        form: Form::Number(1, 1024),
        help: "Number of workers: threads that each run every operator over a share of the keys. A job may be resumed with another number. More than there are cores, or than there are key groups, gains nothing.",
    },
    Setting {
        key: "key.groups",
        default: "128",
        form: Form::Number(1, 32_768),
        help: "Into how many groups keys are divided; workers own ranges of them, so this is the greatest useful parallelism. Fixed at the job's first start.",
    },
    Setting {
        key: "batch.rows",
        default: "8192",
        form: Form::Number(1, 1_048_576),
        help: "Rows that travel together at most. Smaller batches cost throughput, larger ones memory.",
    },
    Setting {
        key: "epoch.interval",
        default: "10 ms",
        form: Form::Duration,
        help: "How often results become visible, while the job keeps up with its input. Shorter costs throughput, longer is felt as latency.",
    },
    Setting {
        key: "checkpoint.interval",
        default: "10 s",
        form: Form::Duration,
        help: "How often state is saved and sinks commit. After a crash, what came since the last checkpoint is read again. Shorter means more writing and more, smaller files; longer means results that appear later in files and more to read again.",
    },
    Setting {
        key: "checkpoint.retain",
        default: "3",
        form: Form::Number(1, 1_000),
        help: "How many checkpoints are kept: if the newest is damaged, the job goes on from an older one. More take more space.",
    },
    Setting {
        key: "checkpoint.timeout",
        default: "10 min",
        form: Form::Duration,
        help: "A checkpoint that has not been written after this time is dropped and counts as failed; the job goes on, and what its sinks had prepared is committed with the next one. Also how long the storage of a URL may take for an answer. Too short, and large state is never saved; too long, and a storage that hangs is noticed late.",
    },
    Setting {
        key: "checkpoint.min-pause",
        default: "0 s",
        form: Form::DurationOrOff,
        help: "At least this time passes between the end of a checkpoint and the beginning of the next, however short the interval is. Longer leaves more of a slow storage to the job; more is read again after a crash. With a pause there is never more than one checkpoint under way.",
    },
    Setting {
        key: "checkpoint.max-concurrent",
        default: "1",
        form: Form::Number(1, 16),
        help: "How many checkpoints may be under way at once. More than one keeps to the interval where the storage is slow to answer; each holds its files until it is written, and a file that two of them need is uploaded twice.",
    },
    Setting {
        key: "checkpoint.tolerable-failures",
        default: "unlimited",
        form: Form::NumberOr(0, 1_000_000, "unlimited"),
        help: "How many checkpoints in a row may fail or time out; one more, and the job fails (and restarts, as 'restart.strategy' says). `0` fails at the first. While checkpoints fail nothing is lost, but sinks do not publish and more is read again after a crash.",
    },
    Setting {
        key: "checkpoint.on-cancel",
        default: "retain",
        form: Form::Choice(&["retain", "delete"]),
        help: "What becomes of the checkpoints when the job is stopped on request (Ctrl-C, SIGTERM, a closed pipe). `retain` keeps them, and the same command goes on. `delete` removes them after the last one is committed: no space is kept, and the job can go on from a savepoint alone.",
    },
    Setting {
        key: "checkpoint.incremental",
        default: "true",
        form: Form::Choice(&["true", "false"]),
        help: "Whether a checkpoint shares the files of earlier ones and uploads only what is new. `false` uploads everything each time: more to write, but each checkpoint lies in folders of its own.",
    },
    Setting {
        key: "checkpoint.asynchronous",
        default: "true",
        form: Form::Choice(&["true", "false"]),
        help: "Whether the job goes on while a checkpoint is written. `false` stops each worker until its part is stored: no memory for both versions of what changes meanwhile, at the price of a pause.",
    },
    Setting {
        key: "checkpoint.compression",
        default: "none",
        form: Form::Choice(&["none", "zstd"]),
        help: "How files are packed before they are uploaded. The tables of RocksDB hold LZ4 blocks already; `zstd` is for the backend `memory` and for storage that is slow or dear. Packed files cannot be linked, so a restart from a local folder takes longer.",
    },
    Setting {
        key: "checkpoint.storage",
        default: "(`checkpoints/` in the job's state folder)",
        form: Form::Text,
        help: "Where checkpoints are kept: a folder or `file:` URL, in which the job gets a folder of its name; `memory:`, gone with the process; or an object store: `s3://bucket/path`, `gs://bucket/path`, `az://container/path`, reached with the credentials of the environment. The state folder itself stays local.",
    },
    Setting {
        key: "checkpoint.storage.endpoint",
        default: "(the provider's)",
        form: Form::Text,
        help: "The URL of the server of an object store, where it is not the provider's own: MinIO, Ceph, a test. It holds for savepoints at URLs as well.",
    },
    Setting {
        key: "checkpoint.storage.region",
        default: "(from `AWS_REGION`)",
        form: Form::Text,
        help: "The region of an `s3:` store.",
    },
    Setting {
        key: "checkpoint.storage.allow-http",
        default: "false",
        form: Form::Choice(&["true", "false"]),
        help: "Whether an object store may be spoken to without TLS. Whoever is between reads the state.",
    },
    Setting {
        key: "checkpoint.storage.conditional-put",
        default: "required",
        form: Form::Choice(&["required", "disabled"]),
        help: "Whether the server of an object store has create-if-absent, by which no two processes can both write the same checkpoint; a start tries it out. `disabled` is for servers without it: then nothing but the lock of the state folder keeps a second process out.",
    },
    Setting {
        key: "restart.strategy",
        default: "exponential-delay",
        form: Form::Choice(&["none", "fixed-delay", "exponential-delay"]),
        help: "What happens when a job fails for a reason that may pass (a disk, a network, a worker): it goes on from its newest whole checkpoint in the same process, after 'restart.delay', or after twice as long each time. An error in a row or in the SQL is never retried, nor is a job that prints rows or reads what cannot be read again.",
    },
    Setting {
        key: "restart.attempts",
        default: "3",
        form: Form::Number(1, 1_000_000),
        help: "How often a job is restarted in a row; a checkpoint that completes sets the count back. Then it fails for good.",
    },
    Setting {
        key: "restart.delay",
        default: "1 s",
        form: Form::Duration,
        help: "The time before the first restart (with `fixed-delay` before each). Shorter is sooner back; longer gives what failed more time.",
    },
    Setting {
        key: "restart.max-delay",
        default: "1 min",
        form: Form::Duration,
        help: "With `exponential-delay` no wait is longer than this.",
    },
    Setting {
        key: "checkpoint.mode",
        default: "exactly-once",
        form: Form::Choice(&["exactly-once", "at-least-once"]),
        help: "With `exactly-once`, sinks publish when the checkpoint is durable. With `at-least-once` they publish at each epoch: sooner, and after a crash some rows come twice. State is exact in both.",
    },
    Setting {
        key: "savepoint.interval",
        default: "0 s",
        form: Form::DurationOrOff,
        help: "A savepoint each time so much has passed and something has happened; zero: none. It is a folder of Parquet files that any release and any tool can read. Shorter means more writing: a savepoint is always whole.",
    },
    Setting {
        key: "savepoint.retain",
        default: "3",
        form: Form::Number(1, 1_000),
        help: "How many periodic savepoints are kept. One that somebody asked for is never deleted by the job.",
    },
    Setting {
        key: "savepoint.dir",
        default: "`.weir/JOB/savepoints`",
        form: Form::Text,
        help: "The folder (or the URL of an object store) of periodic savepoints, each in a folder of its own, called `periodic-` and the number of its checkpoint.",
    },
    Setting {
        key: "state.backend",
        default: "rocksdb",
        form: Form::Choice(&["rocksdb", "memory"]),
        help: "Where keyed state lives. `memory` is for small state and for tests: it does not spill.",
    },
    Setting {
        key: "state.memory",
        default: "512 MiB",
        form: Form::Bytes(1 << 20),
        help: "Memory for the state of the whole job: caches and write buffers. What does not fit is on disk; too little makes a job with large state slow.",
    },
    Setting {
        key: "state.dir",
        default: "`.weir/JOB`",
        form: Form::Text,
        help: "The folder of the job's state and checkpoints. A job is resumed from there.",
    },
    Setting {
        key: "state.ttl",
        default: "off",
        form: Form::DurationOrWord("off"),
        help: "How long the state of a key is kept that gets no rows: groups, rows of joins and rankings, distinct rows. Then it is dropped, and rows of that key that come later begin anew; what was given for it stays. `off` keeps it for ever. A hint sets it for one query: `SELECT /*+ STATE_TTL('o' = '1 d') */ …`. Too short, and results begin anew while their rows still come; `docs/sql/state.md` has the rules.",
    },
    Setting {
        key: "state.ttl.time",
        default: "event",
        form: Form::Choice(&["event", "processing"]),
        help: "The time by which state gets old. `event`: the rows' event time and the watermark, so that the same input gives the same answer; an operator whose input has no event time keeps its state. `processing`: the clock, which is the same for a whole epoch and kept with it; for inputs that only grow.",
    },
    Setting {
        key: "row.error",
        default: "fail",
        form: Form::ChoiceOrPrefix(&["fail", "null", "skip"], "dead-letter:"),
        help: "What happens to a row over which an expression fails (a cast, an overflow, a division by zero): `fail` stops the job and names operator, place and row; `null` gives NULL for that expression; `skip` drops the row and counts it; `dead-letter:TABLE` drops it and writes a row into that table, whose columns are filled by name: `operator`, `reason`, `position` (in the SQL), `row` (JSON), `file`, `offset`.",
    },
    Setting {
        key: "late.table",
        default: "(late rows are counted only)",
        form: Form::Text,
        help: "A table that takes the rows which come too late for a window, a session, a join that time bounds or state that got old. It is written like any sink, exactly once; its columns are filled by name: `operator`, `event_time`, `watermark` (the row's own), `row` (JSON), `retracted`.",
    },
    Setting {
        key: "time.zone",
        default: "UTC",
        form: Form::Zone,
        help: "The zone of the clock by which a TIMESTAMP_LTZ is read and written: in casts from and to text, dates and TIMESTAMP, in EXTRACT, patterns and units. A name (`Europe/Oslo`) or an offset (`+02:00`).",
    },
    Setting {
        key: "source.idle-timeout",
        default: "0 s",
        form: Form::DurationOrOff,
        help: "After this time without a row, a split of an unbounded source no longer holds the watermark back. Zero: never. Too short, and a source that merely pauses makes its next rows late.",
    },
    Setting {
        key: "watermark.max-drift",
        default: "0 s",
        form: Form::DurationOrOff,
        help: "A split whose watermark is further ahead of the slowest one than this is paused, so that less has to be remembered. Zero: no split waits for another.",
    },
];

/// What is wrong with a key or its value.
#[derive(Clone, Debug)]
pub struct Problem {
    diagnostic: Diagnostic,
    label: String,
    at_value: bool,
}

impl Problem {
    /// The diagnostic, at the key or at the value.
    pub fn diagnostic(mut self, key: Span, value: Span) -> Diagnostic {
        let label = weir_types::Label {
            span: if self.at_value { value } else { key },
            text: self.label,
        };
        self.diagnostic.labels.insert(0, label);
        self.diagnostic
    }

    /// The diagnostic for a setting that came from a flag: it has no place in a text.
    pub fn without_place(self) -> Diagnostic {
        self.diagnostic
    }
}

/// Whether `key` is a setting and `value` has its form.
///
/// # Errors
/// What is wrong, with the nearest key or the form that is expected.
pub fn check(key: &str, value: &str) -> Result<(), Problem> {
    let Some(setting) = find(key) else {
        let near = nearest(key, SETTINGS.iter().map(|setting| setting.key));
        let diagnostic = Diagnostic::error(
            codes::UNKNOWN_SETTING,
            format!("there is no setting '{key}'"),
        );
        let diagnostic = match (crate::settings_elsewhere::spelled_here(key), near) {
            (Some(help), _) => diagnostic.help(help),
            (None, Some(near)) => diagnostic.nearest(Some(near)),
            (None, None) => diagnostic.help("docs/settings.md lists all settings"),
        };
        return Err(Problem {
            diagnostic,
            label: "unknown".to_owned(),
            at_value: false,
        });
    };
    let wrong = |code, message: String, help: String| Problem {
        diagnostic: Diagnostic::error(code, message).help(help),
        label: setting.form.describe(),
        at_value: true,
    };
    let misfit = || {
        wrong(
            codes::SETTING_VALUE,
            format!("'{value}' is no value of '{key}'"),
            format!("for example SET '{key}' = '{}'", setting.form.example()),
        )
    };
    let fits = match setting.form {
        Form::Duration => parse_duration(value).is_some_and(|duration| !duration.is_zero()),
        Form::DurationOrOff => parse_duration(value).is_some(),
        Form::DurationOrWord(word) => {
            value == word || parse_duration(value).is_some_and(|duration| !duration.is_zero())
        }
        Form::Bytes(least) => parse_bytes(value).is_some_and(|bytes| bytes >= least),
        Form::Number(least, most) => value
            .trim()
            .parse::<u64>()
            .is_ok_and(|number| (least..=most).contains(&number)),
        Form::NumberOr(least, most, word) => {
            value == word
                || value
                    .trim()
                    .parse::<u64>()
                    .is_ok_and(|number| (least..=most).contains(&number))
        }
        Form::Text => !value.trim().is_empty(),
        Form::Choice(words) => words.contains(&value),
        Form::ChoiceOrPrefix(words, prefix) => {
            let behind = value.strip_prefix(prefix);
            words.contains(&value) || behind.is_some_and(|behind| !behind.trim().is_empty())
        }
        Form::Zone => crate::functions::parse_zone(value).is_ok(),
    };
    if fits {
        return Ok(());
    }
    let mut problem = misfit();
    if let Form::Choice(words) | Form::ChoiceOrPrefix(words, _) = setting.form {
        problem.diagnostic = problem
            .diagnostic
            .nearest(nearest(value, words.iter().copied()));
    }
    Err(problem)
}

/// The tables into which a job writes rows that are left out: what for (a setting's key) and the table's name.
pub fn tables_beside(
    settings: &std::collections::BTreeMap<String, String>,
) -> impl Iterator<Item = (&'static str, &str)> {
    let failed = settings.get("row.error");
    let failed = failed.and_then(|value| value.strip_prefix("dead-letter:"));
    let late = settings.get("late.table").map(String::as_str);
    [("row.error", failed), ("late.table", late)]
        .into_iter()
        .filter_map(|(key, table)| Some((key, table?.trim())))
}

/// The setting of that key.
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

impl Form {
    /// The form in a few words.
    pub fn describe(&self) -> String {
        match self {
            Self::Duration => {
                "expected a time greater than zero: `200ms`, `10 s`, `1 min`".to_owned()
            }
            Self::DurationOrOff => {
                "expected a time: `200ms`, `10 s`, `1 min`; `0 s` turns it off".to_owned()
            }
            Self::DurationOrWord(word) => {
                format!("expected a time greater than zero, or '{word}': `12 h`, `1 day`, `{word}`")
            }
            Self::Bytes(least) => format!(
                "expected a size of at least {} MiB: `64MB`, `64 MiB`, `1 GiB`",
                least >> 20
            ),
            Self::Number(least, most) => format!("expected a whole number from {least} to {most}"),
            Self::NumberOr(least, most, word) => {
                format!("expected a whole number from {least} to {most}, or '{word}'")
            }
            Self::Text => "expected a text that is not empty".to_owned(),
            Self::Choice(words) => {
                format!("expected {}", quoted(words))
            }
            Self::ChoiceOrPrefix(words, prefix) => {
                format!("expected {}, or '{prefix}TABLE'", quoted(words))
            }
            Self::Zone => "expected a time zone: a name or an offset".to_owned(),
        }
    }

    fn example(&self) -> &'static str {
        match self {
            Self::Duration | Self::DurationOrOff => "10 s",
            Self::DurationOrWord(_) => "1 day",
            Self::Bytes(_) => "64 MiB",
            Self::Number(..) | Self::NumberOr(..) => "4",
            Self::Text => "nightly",
            Self::Choice(words) | Self::ChoiceOrPrefix(words, _) => words[0],
            Self::Zone => "Europe/Oslo",
        }
    }
}

/// `'a', 'b' or 'c'`.
fn quoted(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    match quoted.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        all => all.join(""),
    }
}

/// A time as people write it: `200ms`, `10 s`, `1.5 s`, `1 min 30 s`, `2 hours`, `1d`. A number alone counts
/// milliseconds, as in Flink. `None` if it is something else, or negative.
pub fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: &[(&[&str], u64)] = &[
        (&["ns", "nano", "nanos", "nanosecond", "nanoseconds"], 1),
        (
            &["us", "µs", "micro", "micros", "microsecond", "microseconds"],
            1_000,
        ),
        (
            &["ms", "milli", "millis", "millisecond", "milliseconds", ""],
            1_000_000,
        ),
        (&["s", "sec", "secs", "second", "seconds"], 1_000_000_000),
        (&["m", "min", "mins", "minute", "minutes"], 60_000_000_000),
        (&["h", "hour", "hours"], 3_600_000_000_000),
        (&["d", "day", "days"], 86_400_000_000_000),
    ];
    let mut rest = text.trim();
    let mut total: u128 = 0;
    let several = rest.chars().any(char::is_alphabetic);
    while !rest.is_empty() {
        let (nanos, unit, after) = quantity(rest, |unit| {
            UNITS
                .iter()
                .find(|(names, _)| names.contains(&unit))
                .map(|&(_, nanos)| u128::from(nanos))
        })?;
        if unit.is_empty() && several {
            return None;
        }
        total = total.checked_add(nanos)?;
        rest = after;
    }
    if text.trim().is_empty() {
        return None;
    }
    u64::try_from(total).ok().map(Duration::from_nanos)
}

/// A number of bytes as people write it: `64MB`, `64 MiB`, `1.5 GiB`, `4096`. Units are powers of 1024, as in Flink,
/// spelled either way. `None` if it is something else, or negative.
pub fn parse_bytes(text: &str) -> Option<u64> {
    const UNITS: &[(&[&str], u32)] = &[
        (&["", "b", "byte", "bytes"], 0),
        (&["k", "kb", "kib", "kibibytes"], 10),
        (&["m", "mb", "mib", "mebibytes"], 20),
        (&["g", "gb", "gib", "gibibytes"], 30),
        (&["t", "tb", "tib", "tebibytes"], 40),
    ];
    let (bytes, _, rest) = quantity(text.trim(), |unit| {
        UNITS
            .iter()
            .find(|(names, _)| names.contains(&unit))
            .map(|&(_, shift)| 1u128 << shift)
    })?;
    if rest.is_empty() {
        u64::try_from(bytes).ok()
    } else {
        None
    }
}

/// `12.5 unit rest` → the amount in the unit's parts, the unit in lower case, the rest.
fn quantity(text: &str, factor: impl Fn(&str) -> Option<u128>) -> Option<(u128, String, &str)> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let rest = rest.trim_start();
    let letters = rest
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    let unit = unit.to_lowercase();
    let factor = factor(&unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || whole.len() > 18 || fraction.len() > 9 || fraction.contains('.') {
        return None;
    }
    let scale = 10u128.pow(fraction.len() as u32);
    let amount = format!("{whole}{fraction}")
        .parse::<u128>()
        .ok()?
        .checked_mul(factor)?
        / scale;
    Some((amount, unit, rest.trim_start()))
}

/// The known name that `name` is most likely a slip of, if one is near enough.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).clamp(1, 4);
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= limit && distance < candidate.chars().count())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// The reference page, `docs/settings.md`.
pub fn reference() -> String {
    let mut page = String::from(
        "# Settings\n\n<!-- Generated from planner/src/settings.rs: UPDATE=1 cargo test rewrites it. -->\n\n\
         `SET 'key' = 'value';` in a query file, or `--set KEY=VALUE` on the command line, which wins. A setting holds for the whole job,\n\
         wherever in the file it stands. Times are written `200ms`, `10 s`, `1 min 30 s`; sizes `64MB` or `64 MiB` (units are powers of 1024).\n\n",
    );
    for setting in SETTINGS {
        let default = setting.default.trim_matches(['(', ')']);
        let default = if default.contains('`') || setting.default.starts_with('(') {
            default.to_owned()
        } else {
            format!("`{default}`")
        };
        page.push_str(&format!(
            "## `{}`\n\n{}\n\nDefault: {default}. {}.\n\n",
            setting.key,
            setting.help,
            capitalized(&setting.form.describe())
        ));
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let millis =
            |text: &str| parse_duration(text).map(|duration| duration.as_micros() as f64 / 1000.0);
        assert_eq!(millis("200ms"), Some(200.0));
        assert_eq!(millis("10 s"), Some(10_000.0));
        assert_eq!(millis("1.5 s"), Some(1_500.0));
        assert_eq!(millis("1 min"), Some(60_000.0));
        assert_eq!(millis("1 min 30 s"), Some(90_000.0));
        assert_eq!(millis("2h"), Some(7_200_000.0));
        assert_eq!(millis("1 DAY"), Some(86_400_000.0));
        assert_eq!(millis("250"), Some(250.0));
        assert_eq!(millis("50 µs"), Some(0.05));
        for text in [
            "",
            " ",
            "s",
            "-1 s",
            "1 fortnight",
            "1 s 5",
            "1..5 s",
            "1.2.3 s",
            "99999999999 days",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse_bytes("64MB"), Some(64 << 20));
        assert_eq!(parse_bytes("64 MiB"), Some(64 << 20));
        assert_eq!(parse_bytes("1.5g"), Some(3 << 29));
        assert_eq!(parse_bytes("4096"), Some(4096));
        for text in ["", "MB", "-1 MB", "1 MB 2", "1 XB", "99999999999999 TB"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn every_default_that_is_a_value_has_the_form_of_its_setting() {
        for setting in SETTINGS {
            if !setting.default.starts_with(['(', '`']) {
                assert!(
                    check(setting.key, setting.default).is_ok(),
                    "{}",
                    setting.key
                );
            }
            assert!(
                check(setting.key, setting.form.example()).is_ok(),
                "{}",
                setting.key
            );
        }
    }

    #[test]
    fn slips_in_keys_and_values_are_told() {
        let text = |key, value| check(key, value).unwrap_err().without_place().to_string();
        assert!(text("checkpoint.intervall", "1 s").contains("did you mean `checkpoint.interval`"));
        assert!(text("checkpoint.interval", "often").starts_with("[P0021]"));
        assert!(text("checkpoint.interval", "0 s").starts_with("[P0021]"));
        assert!(text("state.backend", "roksdb").contains("did you mean"));
        assert!(text("state.memory", "1 KB").starts_with("[P0021]"));
        assert!(text("row.error", "dead-letter:").starts_with("[P0021]"));
        assert!(check("row.error", "dead-letter:bad").is_ok());
        assert!(text("time.zone", "Mars/Olympus").starts_with("[P0021]"));
        assert!(text("parallelism", "0").starts_with("[P0021]"));
    }

    #[test]
    fn the_reference_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/settings.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            reference(),
            "UPDATE=1 rewrites docs/settings.md"
        );
    }
}

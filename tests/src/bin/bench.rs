//! `make bench`: rows per second and peak memory of the standard queries, with checkpoints, from files and from `datagen`.
//!
//! ```text
//!   weir-bench [--rows N] [NAME …]        all benchmarks, or those whose name starts with one of the NAMEs
//!   weir-bench checkpoint [--scale S] [PART …]   what checkpoints and restarts of 1 GB of state cost
//!   weir-bench latency [--rows N] [--seconds S]   event to result at several loads, start-up, size
//!   weir-bench machine                  what this machine can do at best: newline scan, memory copy
//!   weir-bench upgrade [--keys N]         an aggregate rebuilt from the groups of another, against reading as many rows
//!   weir-bench big-state [--keys N]       five million keys under 64 MiB of state memory, and the right answer
//! ```
//!
//! Each figure is one run of the binary `weir` as a process of its own: what is measured is what a user gets, start and last
//! checkpoint included. Peak memory is the greatest resident size that the kernel has noted for that process (`VmHWM`).
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a program for measuring; it watches real processes"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use weir_tests::checkpoint_bench::Scale;

/// A query to measure.
struct Bench {
    name: &'static str,
    /// The statements after the tables; `{out}` is a fresh folder.
    queries: &'static str,
    /// Rows of this part of all.
    share: f64,
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "pass-through",
        queries: "CREATE TABLE sink (id BIGINT, user_id BIGINT, amount BIGINT, note STRING) \
                  WITH ('connector' = 'filesystem', 'path' = '{out}', 'format' = 'json');\n\
                  INSERT INTO sink SELECT id, user_id, amount, note FROM events;",
        share: 1.0,
    },
    Bench {
        name: "filter",
        queries: "CREATE TABLE sink (id BIGINT, amount BIGINT) WITH ('connector' = 'blackhole');\n\
                  INSERT INTO sink SELECT id, amount * 2 FROM events WHERE amount < 100 AND user_id % 2 = 0;",
        share: 1.0,
    },
    Bench {
        name: "tumbling-count",
        queries: "CREATE TABLE sink (window_start TIMESTAMP(6), amount BIGINT, n BIGINT) WITH ('connector' = 'blackhole');\n\
                  INSERT INTO sink SELECT window_start, amount, count(*) FROM TUMBLE(events, at, INTERVAL '10' SECOND) \
                  GROUP BY window_start, window_end, amount;",
        share: 1.0,
    },
    Bench {
        name: "updating-sum",
        queries: "CREATE TABLE sink (user_id BIGINT, total BIGINT) WITH ('connector' = 'blackhole');\n\
                  INSERT INTO sink SELECT user_id, sum(amount) FROM events GROUP BY user_id;",
        share: 1.0,
    },
    Bench {
        name: "join",
        queries: "CREATE TABLE sink (id BIGINT, name STRING) WITH ('connector' = 'blackhole');\n\
                  INSERT INTO sink SELECT e.id, u.note FROM events AS e JOIN events AS u ON e.user_id = u.id WHERE u.id < 1000000;",
        share: 0.25,
    },
];

/// Users, and so keys of the updating sum.
const USERS: u64 = 1_000_000;

const COLUMNS: &str = "id BIGINT, user_id BIGINT, amount BIGINT, note STRING, at TIMESTAMP(6), WATERMARK FOR at AS at - INTERVAL '5' SECOND";

fn main() {
    let mut names: Vec<String> = Vec::new();
    let (mut rows, mut keys) = (4_000_000u64, 5_000_000u64);
    let (mut scale, mut seconds) = (1.0, 10);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            arguments
                .next()
                .and_then(|text| text.replace('_', "").parse().ok())
                .expect("a number follows")
        };
        match argument.as_str() {
            "--rows" => rows = number(),
            "--keys" => keys = number(),
            "--seconds" => seconds = number(),
            "--scale" => {
                let text = arguments.next().expect("a share follows");
                scale = text.parse().expect("a share such as 0.01");
            }
            _ => names.push(argument),
        }
    }
    if names.iter().any(|name| name == "machine") {
        weir_tests::machine_bench::run();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    if names.iter().any(|name| name == "big-state") {
        big_state(folder.path(), keys);
        return;
    }
    if names.iter().any(|name| name == "latency") {
        weir_tests::latency_bench::run(&binary(), folder.path(), rows, seconds);
        return;
    }
    if names.iter().any(|name| name == "upgrade") {
        upgrade(folder.path(), keys.min(1_000_000));
        let part = ["downtime".to_owned()];
        weir_tests::checkpoint_bench::run(&binary(), folder.path(), Scale { scale }, &part);
        return;
    }
    if names.iter().any(|name| name == "checkpoint") {
        names.retain(|name| name != "checkpoint");
        weir_tests::checkpoint_bench::run(&binary(), folder.path(), Scale { scale }, &names);
        return;
    }
    println!(
        "{:<16} {:<8} {:>3} {:>12} {:>9} {:>14} {:>12}",
        "query", "source", "P", "rows", "seconds", "rows/s", "peak MiB"
    );
    let wanted = |bench: &&Bench| {
        names.is_empty()
            || names
                .iter()
                .any(|name| bench.name.starts_with(name.as_str()))
    };
    for bench in BENCHES.iter().filter(wanted) {
        let rows = (rows as f64 * bench.share) as u64;
        for source in ["files", "datagen"] {
            for parallelism in [1, 2] {
                let measured = measure(folder.path(), bench, source, rows, parallelism);
                println!(
                    "{:<16} {source:<8} {parallelism:>3} {rows:>12} {:>9.2} {:>14.0} {:>12.0}",
                    bench.name,
                    measured.elapsed.as_secs_f64(),
                    rows as f64 / measured.elapsed.as_secs_f64(),
                    measured.peak_bytes as f64 / f64::from(1 << 20)
                );
            }
        }
    }
}

fn measure(folder: &Path, bench: &Bench, source: &str, rows: u64, parallelism: u32) -> Measured {
    let table = match source {
        "files" => {
            let path = events(folder, rows);
            format!(
                "CREATE TABLE events ({COLUMNS}) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');",
                path.display()
            )
        }
        _ => datagen(rows),
    };
    let work = folder.join("work");
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(&work).unwrap();
    let text = format!(
        "SET 'checkpoint.interval' = '2s';\n{table}\n{}\n",
        bench.queries.replace("{out}", "out")
    );
    std::fs::write(work.join("bench.sql"), text).unwrap();
    run(&work, &["-p", &parallelism.to_string()])
}

/// Rows of the same columns out of nothing.
fn datagen(rows: u64) -> String {
    let fields = [
        ("id.kind", "sequence".to_owned()),
        ("user_id.max", (USERS - 1).to_string()),
        ("amount.max", "999".to_owned()),
        ("note.cardinality", "10000".to_owned()),
        ("at.step", "10us".to_owned()),
        ("at.jitter", "60ms".to_owned()),
    ];
    let fields: String = fields
        .iter()
        .map(|(field, value)| format!(", 'fields.{field}' = '{value}'"))
        .collect();
    format!(
        "CREATE TABLE events ({COLUMNS}) WITH ('connector' = 'datagen', 'rows' = '{rows}'{fields});"
    )
}

/// A file of JSON lines, made once for each number of rows.
fn events(folder: &Path, rows: u64) -> PathBuf {
    let path = folder.join(format!("events-{rows}.jsonl"));
    if path.exists() {
        return path;
    }
    let mut out = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(&path).unwrap());
    for id in 0..rows {
        let random = weir_types::hash::mix(id);
        let (user, amount) = (random % USERS, (random >> 32) % 1000);
        // A hundred thousand events make a second, and some come a little behind.
        let micros = 1_704_067_200_000_000 + id as i64 * 10 - (random >> 48) as i64;
        let at = weir_types::EventTime(micros);
        writeln!(
            out,
            r#"{{"id":{id},"user_id":{user},"amount":{amount},"note":"note {}","at":"{at}"}}"#,
            random % 10_000
        )
        .unwrap();
    }
    out.flush().unwrap();
    path
}

struct Measured {
    elapsed: Duration,
    peak_bytes: u64,
    stdout: String,
    stderr: String,
}

fn binary() -> PathBuf {
    match std::env::var_os("WEIR_BIN") {
        Some(path) => path.into(),
        None => std::env::current_exe()
            .expect("a program knows where it is")
            .with_file_name("weir"),
    }
}

fn run(folder: &Path, arguments: &[&str]) -> Measured {
    let (out, err) = (folder.join("stdout.txt"), folder.join("stderr.txt"));
    let started = Instant::now();
    let mut child = Command::new(binary())
        .current_dir(folder)
        .args(["run", "bench.sql", "--no-progress", "--format", "json"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&out).unwrap())
        .stderr(std::fs::File::create(&err).unwrap())
        .spawn()
        .expect("the binary starts");
    let mut peak_bytes = 0;
    let status = loop {
        peak_bytes = peak_of(child.id()).unwrap_or(peak_bytes);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let elapsed = started.elapsed();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let (stdout, stderr) = (read(&out), read(&err));
    assert!(status.success(), "{status}\n{stdout}{stderr}");
    Measured {
        elapsed,
        peak_bytes,
        stdout,
        stderr,
    }
}

/// The high-water mark of a living process's resident memory.
fn peak_of(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Many more keys than fit: every key comes twice, the second time when its entry has long been spilled.
fn big_state(folder: &Path, keys: u64) {
    let rows = 2 * keys;
    let text = format!(
        "SET 'state.memory' = '64MiB';\nSET 'checkpoint.interval' = '5s';\n\
         CREATE TABLE numbers (id BIGINT) WITH ('connector' = 'datagen', 'rows' = '{rows}', \
         'fields.id.kind' = 'sequence');\n\
         CREATE TABLE result (n BIGINT, keys BIGINT, total BIGINT, key_sum BIGINT) \
         WITH ('connector' = 'filesystem', 'path' = 'result.json', 'format' = 'json', 'mode' = 'snapshot');\n\
         INSERT INTO result SELECT n, count(*) AS keys, sum(total) AS total, sum(k) AS key_sum FROM \
         (SELECT id % {keys} AS k, count(*) AS n, sum(id) AS total FROM numbers GROUP BY id % {keys}) AS x GROUP BY n;\n"
    );
    std::fs::write(folder.join("bench.sql"), text).unwrap();
    let measured = run(folder, &["--state-dir", "state"]);
    println!("{}{}", measured.stdout, measured.stderr);
    println!(
        "big-state: {keys} keys, {rows} rows in {:.1} s; peak memory of the process {} MiB",
        measured.elapsed.as_secs_f64(),
        measured.peak_bytes >> 20
    );
    let total = rows * (rows - 1) / 2;
    let expected =
        serde_json::json!({"n": 2, "keys": keys, "total": total, "key_sum": keys * (keys - 1) / 2});
    let answer: Vec<serde_json::Value> = std::fs::read_to_string(folder.join("result.json"))
        .expect("the result is there")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a row as JSON"))
        .collect();
    assert_eq!(answer, [expected], "the right answer");
}

/// An aggregate over all groups of another, rebuilt after an edit, and replayed; and what the same costs where nothing was there
/// before.
fn upgrade(folder: &Path, keys: u64) {
    let file = events(folder, keys);
    let source = format!(
        "SET 'state.memory' = '128MiB';\nCREATE TABLE events ({COLUMNS}) WITH ('connector' = 'filesystem', 'path' = '{}', \
         'format' = 'json');\n\
         CREATE TABLE sizes (size BIGINT, users BIGINT, total BIGINT) \
         WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'changelog-json');\n",
        file.display()
    );
    // Every group of `totals` has a key of its own.
    let edited = |size: u64| {
        format!(
            "{source}CREATE VIEW totals AS SELECT id, sum(amount) AS total FROM events GROUP BY id;\n\
             INSERT INTO sizes SELECT id % {size}, count(*), sum(total) FROM totals GROUP BY id % {size};\n"
        )
    };
    let read = format!(
        "{source}INSERT INTO sizes SELECT id % 1009, count(*), sum(amount) FROM events GROUP BY id % 1009;\n"
    );
    let run_in = |name: &str, text: &str, arguments: &[&str]| {
        let work = folder.join(name);
        std::fs::create_dir_all(&work).unwrap();
        std::fs::write(work.join("bench.sql"), text).unwrap();
        run(&work, arguments)
    };
    println!("{keys} groups, state memory 128 MiB");
    for parallelism in ["1", "2"] {
        let name = format!("edited-{parallelism}");
        let p = ["-p", parallelism];
        run_in(&name, &edited(997), &p);
        let show = |what: &str, measured: &Measured| {
            println!(
                "P {parallelism}  {what:<44} {:>7.2} s  peak {:>5} MiB",
                measured.elapsed.as_secs_f64(),
                measured.peak_bytes >> 20
            );
        };
        let rebuilt = run_in(&name, &edited(1009), &[&p[..], &["--upgrade"]].concat());
        show("rebuilt from the groups, start to end", &rebuilt);
        let same = run_in(&format!("read-{parallelism}"), &read, &p);
        show("as many rows read and aggregated", &same);
        // A condition that every row fulfils: the replay reads and keeps what the run did.
        let tightened = |size: u64| {
            edited(size).replace(
                "FROM events GROUP BY id;",
                "FROM events WHERE amount IS NOT NULL GROUP BY id;",
            )
        };
        let flags = [&p[..], &["--upgrade", "--replay", "all"]].concat();
        let replayed = run_in(&name, &tightened(1009), &flags);
        show("replayed from the source, start to end", &replayed);
        let fresh = run_in(&format!("fresh-{parallelism}"), &tightened(1009), &p);
        show("the same query from the beginning", &fresh);
    }
}

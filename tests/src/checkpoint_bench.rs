//! `make bench-checkpoint`: what checkpoints cost, on the binary `weir` as a process of its own.
//!
//! ```text
//!   fill:    every key once, as fast as it goes ─┐
//!   updates: random keys, so many a second ──────┴─ UNION ALL ─▶ GROUP BY id: count, max(payload) ─▶ sink
//! ```
//!
//! 1. The synchronous part, at an interval of one second of which 5 % of the keys change: percentiles over at least 200.
//! 2. Throughput with checkpoints against that without, alternating.
//! 3. Bytes uploaded over ten checkpoints in a row against the bytes that changed: the worst ten of thirty.
//! 4. Restart from the state of (3): from the process's start to its first row.
//! 5. `weir upgrade` by a query more, of the same state: from the old query's last row to the new one's first.
//! 6. A sink a hundred times slower than its source (a reader of `print` that takes its time): from barrier to ready-to-commit.
//!
//! `weir-bench checkpoint bytes` runs one part: `synchronous`, `throughput`, `bytes` (with the restart), `downtime` or `slow-sinks`.
//! Figures come from the statistics of the job's own folder. `--scale 0.01` runs all of it small, to see that it works.

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use weir_engine::statistics::{self, CheckpointRecord, Ending};

/// How large, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Share of 1 GB of state, and of all times.
    pub scale: f64,
}

/// Bytes of a key's payload; with key, count and overhead a key takes about a quarter of a KiB.
const PAYLOAD_BYTES: u64 = 240;
/// Keys of 1 GB of state.
const KEYS: f64 = 4_000_000.0;
/// Of the keys, so many change from checkpoint to checkpoint.
const CHANGED: f64 = 0.05;
/// Checkpoints whose bytes are looked at: longer than it takes until every worker has merged its files.
const WINDOW: u64 = 32;
/// Percentiles want so many samples.
const SAMPLES: usize = 200;

impl Scale {
    fn keys(self) -> u64 {
        (KEYS * self.scale) as u64
    }

    fn seconds(self, seconds: f64) -> f64 {
        (seconds * self.scale.sqrt()).max(3.0)
    }

    /// Checkpoints to look at.
    fn samples(self) -> usize {
        match self.scale < 0.5 {
            true => 10,
            false => SAMPLES,
        }
    }
}

/// Runs all parts, or those whose name starts with one of `parts`, in `folder`, with the binary `weir`.
///
/// # Panics
/// When a run fails.
pub fn run(weir: &Path, folder: &Path, scale: Scale, parts: &[String]) {
    println!(
        "state: {} keys of about {PAYLOAD_BYTES} bytes each, {:.2} GB",
        scale.keys(),
        scale.keys() as f64 * (PAYLOAD_BYTES + 24) as f64 / 1e9
    );
    let bench = Bench {
        weir: weir.to_owned(),
        folder: folder.to_owned(),
        scale,
    };
    let all: [(&str, fn(&Bench)); 5] = [
        ("synchronous", Bench::synchronous_part),
        ("throughput", Bench::throughput),
        ("bytes", Bench::bytes_and_restart),
        ("downtime", Bench::downtime),
        ("slow-sinks", Bench::slow_sinks),
    ];
    for (name, part) in all {
        if parts.is_empty() || parts.iter().any(|part| name.starts_with(part.as_str())) {
            part(&bench);
        }
    }
}

struct Bench {
    weir: PathBuf,
    folder: PathBuf,
    scale: Scale,
}

impl Bench {
    /// The tables of the large state. `rate`: updates a second; `None`: as fast as it goes.
    fn tables(&self, rate: Option<u64>, updates: u64) -> String {
        let keys = self.scale.keys();
        let payload = format!("'fields.payload.length' = '{PAYLOAD_BYTES}'");
        let rate = rate.map_or(String::new(), |rate| {
            format!(", 'rows-per-second' = '{rate}'")
        });
        format!(
            "CREATE TABLE fill (id BIGINT, payload STRING) WITH ('connector' = 'datagen', 'rows' = '{keys}', \
             'fields.id.kind' = 'sequence', {payload});\n\
             CREATE TABLE updates (id BIGINT, payload STRING) WITH ('connector' = 'datagen', 'rows' = '{updates}'{rate}, \
             'fields.id.kind' = 'random', 'fields.id.max' = '{}', {payload});\n",
            keys - 1
        )
    }

    fn query(sink: &str) -> String {
        format!(
            "CREATE TABLE sink (id BIGINT, n BIGINT, payload STRING) WITH ('connector' = '{sink}');\n\
             INSERT INTO sink SELECT id, count(*) AS n, max(payload) AS payload FROM \
             (SELECT id, payload FROM fill UNION ALL SELECT id, payload FROM updates) AS x GROUP BY id;\n"
        )
    }

    fn start(&self, name: &str, text: &str, arguments: &[&str], out: Stdio) -> Child {
        let work = self.folder.join(name);
        std::fs::create_dir_all(&work).unwrap();
        std::fs::write(work.join("bench.sql"), text).unwrap();
        let err = std::fs::File::create(work.join("stderr.txt")).unwrap();
        Command::new(&self.weir)
            .current_dir(&work)
            .args(["run", "bench.sql", "--no-progress", "--state-dir", "state"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .expect("the binary starts")
    }

    fn finish(&self, name: &str, mut child: Child) {
        let status = child.wait().unwrap();
        let text = std::fs::read_to_string(self.folder.join(name).join("stderr.txt")).unwrap();
        assert!(status.success(), "{name} ended with {status}\n{text}");
    }

    fn records(&self, name: &str) -> Vec<CheckpointRecord> {
        statistics::read(&self.folder.join(name).join("state")).unwrap()
    }

    /// Completed checkpoints after every key was there, the last one left out: it comes with the end.
    fn steady(&self, name: &str) -> Vec<CheckpointRecord> {
        let mut records = self.records(name);
        records.pop();
        // From the one after the first that wrote no more than others do: all was filled in, and what it took to merge that is
        // uploaded.
        let mut entries: Vec<u64> = records.iter().map(|record| record.entries).collect();
        entries.sort_unstable();
        let median = entries.get(entries.len() / 2).copied().unwrap_or(0);
        let keys = self.scale.keys();
        let filled = |record: &CheckpointRecord| {
            let totals = record.operators.iter();
            let total = totals.map(|operator| operator.entries_total).max();
            total.unwrap_or(0) * 10 >= keys * 9 && record.entries * 2 <= median * 3
        };
        let first = records
            .iter()
            .position(filled)
            .map_or(records.len(), |at| at + 1);
        records.drain(..first.min(records.len()));
        records.retain(|record| record.ending == Ending::Completed);
        records
    }

    fn synchronous_part(&self) {
        let samples = self.scale.samples();
        let rate = (self.scale.keys() as f64 * CHANGED) as u64;
        // Time for the fill beside them.
        let updates = rate * (samples as u64 * 5 / 4 + 30);
        let text = format!(
            "SET 'checkpoint.interval' = '1s';\n{}{}",
            self.tables(Some(rate), updates),
            Self::query("blackhole")
        );
        let child = self.start("sync", &text, &[], Stdio::null());
        self.finish("sync", child);
        let records = self.steady("sync");
        let frozen: Vec<u64> = records.iter().map(|record| record.frozen_micros).collect();
        let changed: u64 = records.iter().map(|record| record.entries).sum();
        println!(
            "synchronous part: {} (target: 99th percentile below 20 ms); {:.1} % of the keys changed",
            percentiles(&frozen),
            changed as f64 * 100.0 / (records.len().max(1) as f64 * self.scale.keys() as f64)
        );
        self.forget("sync");
    }

    fn throughput(&self) {
        let updates = (self.scale.keys() as f64 * 2.0) as u64;
        let mut seconds = [Vec::new(), Vec::new()];
        for round in 0..6 {
            let with = round % 2 == 0;
            let name = format!("throughput-{round}");
            let interval = match with {
                true => format!("{}s", self.scale.seconds(10.0).ceil()),
                false => "10h".to_owned(),
            };
            let text = format!(
                "SET 'checkpoint.interval' = '{interval}';\n{}{}",
                self.tables(None, updates),
                Self::query("blackhole")
            );
            let started = Instant::now();
            let child = self.start(&name, &text, &[], Stdio::null());
            self.finish(&name, child);
            // The last checkpoint is part of both; what counts is the time of the rows.
            let last = self
                .records(&name)
                .last()
                .map_or(0, |record| record.total_micros);
            let took = started
                .elapsed()
                .saturating_sub(Duration::from_micros(last));
            seconds[usize::from(!with)].push(took.as_secs_f64());
            self.forget(&name);
        }
        let rows = (updates + self.scale.keys()) as f64;
        let median = |values: &mut Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (with, without) = {
            let [with, without] = &mut seconds;
            (median(with), median(without))
        };
        println!(
            "throughput: {:.0} rows/s with checkpoints, {:.0} without: {:.0} % (target: at least 85 %; medians of 3, alternating)",
            rows / with,
            rows / without,
            without / with * 100.0
        );
    }

    fn bytes_and_restart(&self) {
        let interval = self.scale.seconds(10.0).ceil() as u64;
        let rate = (self.scale.keys() as f64 * CHANGED / interval as f64) as u64;
        let updates = rate * (interval * (WINDOW + 4) + 30);
        let text = |sink: &str| {
            format!(
                "SET 'checkpoint.interval' = '{interval}s';\n{}{}",
                self.tables(Some(rate), updates),
                Self::query(sink)
            )
        };
        let stop = format!("updates={}", rate * (interval * (WINDOW + 2) + 20));
        let child = self.start(
            "bytes",
            &text("print"),
            &["--stop-after", &stop],
            Stdio::null(),
        );
        self.finish("bytes", child);
        let records = self.steady("bytes");
        let ratio = |records: &[CheckpointRecord]| {
            let (new, changed) = records.iter().fold((0, 0), |(new, changed), record| {
                (new + record.bytes_new, changed + record.entries_bytes)
            });
            (new, changed, new as f64 / changed.max(1) as f64)
        };
        let (new, changed, all) = ratio(&records);
        // Files are merged now and then: what counts is the worst of all stretches of ten.
        let tens = records.windows(10.min(records.len().max(1)));
        let worst = tens.map(|ten| ratio(ten).2).fold(0.0, f64::max);
        println!(
            "bytes: {:.1} MB uploaded, {:.1} MB changed in {} checkpoints: {all:.2} times; {worst:.2} times in the worst ten in a row \
             (target: at most 3)",
            new as f64 / 1e6,
            changed as f64 / 1e6,
            records.len(),
        );
        let started = Instant::now();
        let mut child = self.start("bytes", &text("print"), &[], Stdio::piped());
        let mut first = [0];
        let read = child
            .stdout
            .take()
            .map(|mut out| out.read(&mut first).map(|read| (read, out)));
        let (read, _out) = read.expect("standard output is a pipe").unwrap();
        let took = started.elapsed();
        let _ = child.kill();
        let _ = child.wait();
        assert_eq!(read, 1, "a restarted job gives rows");
        println!(
            "restart: {:.2} s from the process's start to the first row (target: below 2 s)",
            took.as_secs_f64()
        );
        self.forget("bytes");
    }

    /// The old query prints until its process ends, the new one in the process of `weir upgrade`.
    fn downtime(&self) {
        let rate = (self.scale.keys() as f64 * CHANGED / 10.0) as u64;
        // Both without an end; the reader says when it is enough.
        let text = format!(
            "SET 'checkpoint.interval' = '5s';\n{}{}",
            self.tables(Some(rate), rate * 3600),
            Self::query("print")
        );
        let mut old = self.start("downtime", &text, &[], Stdio::piped());
        let last_of_old = Rows::of(old.stdout.take());
        let filled = || {
            let records = self.records("downtime");
            let entries = records.last().map(|record| {
                let all = record.operators.iter();
                all.map(|operator| operator.entries_total)
                    .max()
                    .unwrap_or(0)
            });
            entries.unwrap_or(0) * 10 >= self.scale.keys() * 9
        };
        while !filled() {
            assert!(old.try_wait().unwrap().is_none(), "the job ended");
            std::thread::sleep(Duration::from_millis(200));
        }
        let more = "CREATE TABLE more (n BIGINT) WITH ('connector' = 'blackhole');\n\
                    INSERT INTO more SELECT count(*) FROM updates;\n";
        let work = self.folder.join("downtime");
        std::fs::write(work.join("bench.sql"), text + more).unwrap();
        let err = std::fs::File::create(work.join("upgrade.txt")).unwrap();
        let mut new = Command::new(&self.weir)
            .current_dir(&work)
            .args(["upgrade", "bench", "bench.sql", "--yes", "--no-progress"])
            .args(["--state-dir", "state", "--accept", "all"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(err)
            .spawn()
            .expect("the binary starts");
        let first_of_new = Rows::of(new.stdout.take());
        let status = old.wait().unwrap();
        assert!(status.success(), "the old query ended with {status}");
        let first = loop {
            if let Some((first, _)) = first_of_new.seen() {
                break first;
            }
            if let Some(status) = new.try_wait().unwrap() {
                let text = std::fs::read_to_string(work.join("upgrade.txt")).unwrap();
                panic!("the upgrade ended with {status}\n{text}");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let (_, last) = last_of_old.seen().expect("the old query gave rows");
        let _ = new.kill();
        let _ = new.wait();
        println!(
            "upgrade of unchanged state: {:.2} s from the old query's last row to the new one's first (target: below 3 s)",
            first.saturating_duration_since(last).as_secs_f64()
        );
        self.forget("downtime");
    }

    /// Each query's source gives rows as fast as it can; the reader of its printed rows takes a hundredth of that.
    fn slow_sinks(&self) {
        let keys = ((1e6 * self.scale.scale) as u64).max(1000);
        let table = |name: &str, rows: &str, max: u64| {
            format!(
                "CREATE TABLE {name} (id BIGINT, k BIGINT) WITH ('connector' = 'datagen'{rows}, 'fields.id.kind' = 'sequence', \
                 'fields.k.kind' = 'random', 'fields.k.max' = '{max}');\n"
            )
        };
        let hundred = table("hundred", ", 'rows' = '100000'", 999);
        let cases = [
            (
                "pass-through",
                table("events", "", 999),
                "SELECT id, k FROM events".to_owned(),
            ),
            (
                "aggregate",
                table("events", "", keys - 1),
                "SELECT k AS id, count(*) AS k FROM events GROUP BY k".to_owned(),
            ),
            (
                "join",
                table("events", "", 999) + &hundred,
                "SELECT e.id, h.id AS k FROM events AS e JOIN hundred AS h ON e.k = h.k".to_owned(),
            ),
        ];
        for (name, tables, query) in cases {
            let mut text = "SET 'checkpoint.interval' = '500ms';\n".to_owned();
            let _ = write!(
                text,
                "{tables}CREATE TABLE sink (id BIGINT, k BIGINT) WITH ('connector' = 'print');\nINSERT INTO sink {query};\n"
            );
            let mut child = self.start(name, &text, &[], Stdio::piped());
            let mut out = child.stdout.take().expect("standard output is a pipe");
            let limit = Duration::from_secs_f64(self.scale.seconds(150.0).max(5.0));
            let started = Instant::now();
            let mut buffer = vec![0; 8192];
            // About ten thousand rows a second, where the source alone gives a million.
            while started.elapsed() < limit {
                let read = out.read(&mut buffer).unwrap();
                assert!(read > 0, "{name} ended");
                std::thread::sleep(Duration::from_secs_f64(read as f64 / 200_000.0));
            }
            let _ = child.kill();
            let _ = child.wait();
            let ready: Vec<u64> = self
                .records(name)
                .iter()
                .filter(|record| record.ending == Ending::Completed)
                .map(|record| record.ready_micros)
                .collect();
            println!(
                "slow sink, {name}: from barrier to ready-to-commit {} (target: 99th percentile below 5 s)",
                percentiles(&ready)
            );
            self.forget(name);
        }
    }

    fn forget(&self, name: &str) {
        let _ = std::fs::remove_dir_all(self.folder.join(name));
    }
}

/// When something printed: for the first time, and for the last.
struct Rows(Arc<Mutex<Option<(Instant, Instant)>>>);

impl Rows {
    /// Reads it to its end on a thread of its own.
    fn of(out: Option<ChildStdout>) -> Self {
        let mut out = out.expect("standard output is a pipe");
        let seen = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            while out.read(&mut buffer).is_ok_and(|read| read > 0) {
                let now = Instant::now();
                let mut seen = noted.lock().unwrap();
                let first = seen.map_or(now, |(first, _)| first);
                *seen = Some((first, now));
            }
        });
        Self(seen)
    }

    fn seen(&self) -> Option<(Instant, Instant)> {
        *self.0.lock().unwrap()
    }
}

/// Median, 99th percentile and maximum of microseconds.
fn percentiles(micros: &[u64]) -> String {
    let mut sorted = micros.to_vec();
    sorted.sort_unstable();
    let Some(&most) = sorted.last() else {
        return "no checkpoint completed".to_owned();
    };
    let at =
        |percent: usize| sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)] as f64 / 1e3;
    format!(
        "median {:.1} ms, 99 % {:.1} ms, most {:.1} ms of {} checkpoints",
        at(50),
        at(99),
        most as f64 / 1e3,
        sorted.len()
    )
}

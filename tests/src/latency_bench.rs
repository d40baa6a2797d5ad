//! `make bench-latency`: how long after an event its result is seen, how long a first answer takes, how large the binary is.
//!
//! ```text
//!   this program ── numbers, on a schedule ──▶ weir ── every change, each epoch ──▶ this program
//!        n is due at start + n / rate                  seen now: latency = now - due, whether or not it was sent in time
//! ```
//!
//! An event counts from the moment that it was due, not from the one at which the pipe took it: a system that falls behind is
//! not excused (no coordinated omission).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Groups of the query; event `n` belongs to group `n % KEYS`.
const KEYS: u64 = 100;
/// Between two writes of the sender.
const TICK: Duration = Duration::from_millis(1);

/// A job with state, a sink and checkpoints, that shows every change.
const JOB: &str = "SET 'epoch.interval' = '10ms';
SET 'checkpoint.interval' = '1s';
CREATE TABLE events (n BIGINT) WITH ('connector' = 'stdin', 'format' = 'csv', 'csv.header' = 'false');
CREATE VIEW counts AS SELECT n % 100 AS k, count(*) AS c, max(n) AS newest FROM events GROUP BY n % 100;
CREATE TABLE kept (k BIGINT, c BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO kept SELECT k, c FROM counts;
SELECT k, newest FROM counts;
";

/// Runs all of it. `events`: in the run that finds the highest rate; `seconds`: of each measured one.
pub fn run(weir: &Path, folder: &Path, events: u64, seconds: u64) {
    start_up(weir, folder);
    size(weir, folder);
    // A line is a row; a line changes a count, and is the change.
    let rows = ["query", "--format", "csv", "SELECT line FROM stdin"];
    tail(
        weir,
        folder,
        ("tail -f | weir query", &rows[..]),
        |row, number| row == format!("line {number}\n"),
    );
    let count = "SELECT count(*) AS lines FROM stdin";
    let changes = ["query", "--format", "csv", "--changelog", count];
    let what = ("tail -f | weir query --changelog", &changes[..]);
    tail(weir, folder, what, |row, number| {
        row == format!("+U,{}\n", number + 2)
    });
    let highest = highest_rate(weir, folder, events);
    println!(
        "\nan updating GROUP BY with checkpoints every second and epochs of 10 ms; highest rate {highest} events/s"
    );
    println!(
        "{:>6} {:>12} {:>10} {:>9} {:>9} {:>9} {:>9}",
        "load", "events/s", "samples", "p50 ms", "p90 ms", "p99 ms", "max ms"
    );
    for percent in [10, 50, 80] {
        let rate = (highest * percent / 100).max(1000);
        let mut latencies = at_rate(weir, folder, rate, rate * seconds);
        latencies.sort_unstable();
        println!(
            "{percent:>4} % {rate:>12} {:>10} {:>9.1} {:>9.1} {:>9.1} {:>9.1}",
            latencies.len(),
            at(&latencies, 50),
            at(&latencies, 90),
            at(&latencies, 99),
            at(&latencies, 100),
        );
    }
}

/// A percentile of sorted microseconds, in milliseconds.
fn at(sorted: &[u64], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get(last * percent / 100)
        .map_or(f64::NAN, |&micros| micros as f64 / 1e3)
}

fn start_up(weir: &Path, folder: &Path) {
    let csv: String = (0..1000).map(|n| format!("{},{n}\n", n % 7)).collect();
    std::fs::write(folder.join("small.csv"), format!("k,v\n{csv}")).unwrap();
    println!("{:<52} {:>9} {:>9}", "start to end", "p50 ms", "p90 ms");
    for sql in [
        "SELECT 1",
        "SELECT k, v FROM 'small.csv' WHERE v > 990",
        "SELECT k, sum(v) AS v FROM 'small.csv' GROUP BY k",
    ] {
        let mut times: Vec<u64> = (0..30)
            .map(|_| {
                let started = Instant::now();
                let output = Command::new(weir)
                    .args(["query", sql])
                    .current_dir(folder)
                    .output()
                    .unwrap();
                assert!(
                    output.status.success(),
                    "{}",
                    String::from_utf8_lossy(&output.stderr)
                );
                started.elapsed().as_micros() as u64
            })
            .collect();
        times.sort_unstable();
        println!("{sql:<52} {:>9.1} {:>9.1}", at(&times, 50), at(&times, 90));
    }
}

/// Of the binary as it was built, and without what only a debugger needs.
fn size(weir: &Path, folder: &Path) {
    let mebibytes = |path: &Path| std::fs::metadata(path).map_or(0.0, |m| m.len() as f64 / 1e6);
    let stripped = folder.join("stripped");
    let made = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(weir)
        .status();
    let without = match made {
        Ok(status) if status.success() => format!(", {:.0} MB stripped", mebibytes(&stripped)),
        _ => String::new(),
    };
    println!("\nthe binary has {:.0} MB{without}", mebibytes(weir));
}

/// A line is appended to a file, and what it comes to is seen at the other end: `is_answer` says which row that is.
fn tail(
    weir: &Path,
    folder: &Path,
    (what, arguments): (&str, &[&str]),
    is_answer: impl Fn(&str, u64) -> bool,
) {
    let path = folder.join("log");
    std::fs::write(&path, "start\n").unwrap();
    let mut log = std::fs::File::options().append(true).open(&path).unwrap();
    let mut tail = Command::new("tail")
        .args(["-n", "+1", "-f"])
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = tail.stdout.take().unwrap();
    let mut query = Command::new(weir)
        .args(arguments)
        .current_dir(folder)
        .stdin(lines)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut rows = BufReader::new(query.stdout.take().unwrap());
    let mut row = String::new();
    // The header, and the first line.
    for _ in 0..2 {
        rows.read_line(&mut row).unwrap();
    }
    let mut latencies = Vec::new();
    for number in 0..300 {
        std::thread::sleep(Duration::from_millis(3 + number % 11));
        let line = format!("line {number}\n");
        let started = Instant::now();
        log.write_all(line.as_bytes()).unwrap();
        loop {
            row.clear();
            let read = rows.read_line(&mut row).unwrap();
            assert!(read > 0, "every line has an answer, and {number} has none");
            if is_answer(&row, number) {
                break;
            }
        }
        latencies.push(started.elapsed().as_micros() as u64);
    }
    tail.kill().unwrap();
    tail.wait().unwrap();
    query.wait().unwrap();
    latencies.sort_unstable();
    println!(
        "{what}: {:.1} ms in the middle, {:.1} ms p99",
        at(&latencies, 50),
        at(&latencies, 99)
    );
}

/// The job, in a folder of its own, with pipes at both ends.
fn start(weir: &Path, folder: &Path) -> Child {
    let work = folder.join("work");
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(&work).unwrap();
    std::fs::write(work.join("latency.sql"), JOB).unwrap();
    Command::new(weir)
        .args([
            "run",
            "latency.sql",
            "--no-progress",
            "--changelog",
            "--format",
            "csv",
        ])
        .current_dir(&work)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn highest_rate(weir: &Path, folder: &Path, events: u64) -> u64 {
    let mut job = start(weir, folder);
    let mut input = std::io::BufWriter::with_capacity(1 << 16, job.stdin.take().unwrap());
    let output = job.stdout.take().unwrap();
    let reader = std::thread::spawn(move || BufReader::new(output).lines().count());
    let started = Instant::now();
    for n in 0..events {
        writeln!(input, "{n}").unwrap();
    }
    drop(input);
    assert!(job.wait().unwrap().success());
    reader.join().unwrap();
    (events as f64 / started.elapsed().as_secs_f64()) as u64
}

/// Latencies of the events, in microseconds, those of the first second left out.
fn at_rate(weir: &Path, folder: &Path, rate: u64, events: u64) -> Vec<u64> {
    let mut job = start(weir, folder);
    let mut input = job.stdin.take().unwrap();
    let output = job.stdout.take().unwrap();
    // It has started when the first row is there; the schedule begins then.
    writeln!(input, "0").unwrap();
    let mut lines = BufReader::new(output);
    let mut first = String::new();
    while !first.starts_with("+I") {
        first.clear();
        assert!(
            lines.read_line(&mut first).unwrap() > 0,
            "the job shows its first row"
        );
    }
    let started = Instant::now();
    let due =
        move |n: u64| Duration::from_nanos((n as u128 * 1_000_000_000 / u128::from(rate)) as u64);
    let reader = std::thread::spawn(move || {
        let mut seen: Vec<Option<u64>> = vec![None; KEYS as usize];
        seen[0] = Some(0);
        let mut latencies = Vec::new();
        for line in lines.lines().map_while(Result::ok) {
            let mut fields = line.split(',');
            let (Some("+I" | "+U"), Some(Ok(k)), Some(Ok(newest))) = (
                fields.next(),
                fields.next().map(str::parse::<u64>),
                fields.next().map(str::parse::<u64>),
            ) else {
                continue;
            };
            let now = started.elapsed();
            let seen = &mut seen[k as usize];
            let mut n = seen.map_or(k, |seen| seen + KEYS);
            while n <= newest {
                if due(n) >= Duration::from_secs(1) {
                    latencies.push(now.saturating_sub(due(n)).as_micros() as u64);
                }
                n += KEYS;
            }
            *seen = Some(newest);
        }
        latencies
    });
    let (mut next, mut text) = (1, Vec::new());
    while next < events {
        text.clear();
        let now = started.elapsed();
        while next < events && due(next) <= now {
            writeln!(text, "{next}").unwrap();
            next += 1;
        }
        input.write_all(&text).unwrap();
        std::thread::sleep(TICK);
    }
    drop(input);
    assert!(job.wait().unwrap().success());
    reader.join().unwrap()
}

#[cfg(test)]
mod tests {
    #[test]
    fn percentiles_are_those_of_sorted_numbers() {
        let sorted: Vec<u64> = (1..=101).map(|n| n * 1000).collect();
        assert_eq!(super::at(&sorted, 50), 51.0);
        assert_eq!(super::at(&sorted, 100), 101.0);
        assert!(super::at(&[], 50).is_nan());
    }
}

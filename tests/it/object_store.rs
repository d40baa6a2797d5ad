//! Checkpoints and savepoints in an S3 server (`weir_tests::s3`), as people use it: the binary, its environment, URLs.
//!
//! ```text
//!   weir run ─▶ proxy with a script ─▶ S3 server
//!    │ SIGKILL, and again                every object: checkpoints/JOB/…, savepoints/…
//!    ▼
//!   out/  must hold exactly what arithmetic says
//! ```

use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use rand::Rng;
use rand::seq::IndexedRandom;
use weir_tests::process::{Place, binary, folded_changelog, kill, text_of, wait_for};
use weir_tests::s3::{Fault, S3};
use weir_tests::suite::Suite;
use weir_tests::value::{Multiset, Value};

const ROWS: i64 = 20_000;
/// Never to be found in anything that is written.
const SECRET: &str = "never-to-be-written-down";

const SQL: &str = "\
SET 'checkpoint.interval' = '150ms';
SET 'checkpoint.timeout' = '20 s';
SET 'restart.delay' = '50ms';
SET 'restart.attempts' = '50';
SET 'checkpoint.storage' = '{url}';
CREATE TABLE numbers (id BIGINT)
WITH ('connector' = 'datagen', 'rows' = '20000', 'rows-per-second' = '5000', 'fields.id.kind' = 'sequence', 'fields.id.start' = '0');
CREATE TABLE digits (k BIGINT, n BIGINT, total BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'changelog-json');
INSERT INTO digits SELECT id % 1000, count(*), sum(id) FROM numbers GROUP BY id % 1000;
";

fn expected() -> Multiset {
    Multiset::of((0..1000).map(|key| {
        let total = (0..ROWS).filter(|id| id % 1000 == key).sum();
        vec![Value::Int(key), Value::Int(ROWS / 1000), Value::Int(total)]
    }))
}

/// A job whose checkpoints are in the server.
struct Job<'a> {
    server: &'a S3,
    place: Place,
}

impl<'a> Job<'a> {
    fn new(server: &'a S3, folder: &Path, prefix: &str) -> Self {
        let sql = SQL.replace("{url}", &server.url(prefix));
        Self {
            server,
            place: Place::new(folder, "numbers", &sql),
        }
    }

    /// The same with fewer rows a second: it is still at work when a few commands have been run.
    fn slow(server: &'a S3, folder: &Path, prefix: &str) -> Self {
        let job = Self::new(server, folder, prefix);
        let sql = SQL.replace("{url}", &server.url(prefix));
        let sql = sql.replace("'rows-per-second' = '5000'", "'rows-per-second' = '700'");
        std::fs::write(job.place.folder.join("numbers.sql"), sql).unwrap();
        job
    }

    fn with_environment(&self, mut command: Command) -> Command {
        command
            .envs(self.server.environment())
            .env("AWS_SECRET_ACCESS_KEY", SECRET);
        command
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let log = || {
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(self.place.folder.join("log.txt"))
                .unwrap()
        };
        self.with_environment(self.place.run(arguments))
            .stdout(log())
            .stderr(log())
            .spawn()
            .unwrap()
    }

    /// Runs to the end, which must be a good one.
    fn finish(&self, arguments: &[&str], context: &str) {
        let output = self
            .with_environment(self.place.run(arguments))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{context}: weir run {arguments:?}\n{}{}",
            text_of(&output),
            self.place.log()
        );
        self.assert_exact(context);
    }

    fn assert_exact(&self, context: &str) {
        let found = folded_changelog(&self.place.folder.join("out"));
        if let Some(text) = found.difference(&expected()) {
            panic!("{context}: {text}\n{}", self.place.log());
        }
    }

    fn weir(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.current_dir(&self.place.folder).args(arguments);
        self.with_environment(command).output().unwrap()
    }

    fn must(&self, arguments: &[&str]) -> String {
        let output = self.weir(arguments);
        assert!(
            output.status.success(),
            "weir {arguments:?}\n{}\n{}",
            text_of(&output),
            self.place.log()
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, arguments: &[&str], code: &str) -> String {
        let text = text_of(&self.weir(arguments));
        assert!(
            text.contains(&format!("error[{code}]")),
            "weir {arguments:?}\n{text}"
        );
        text
    }

    fn wait_for_socket(&self) {
        until("the job listens", || {
            self.place
                .folder
                .join(".weir/numbers/control.json")
                .exists()
        });
    }
}

fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(
            started.elapsed() < Duration::from_secs(90),
            "it never happened: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether any file below a folder has these bytes.
fn is_written(folder: &Path, bytes: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return is_written(&path, bytes);
        }
        // A socket cannot be read.
        let content = std::fs::read(&path).unwrap_or_default();
        content
            .windows(bytes.len())
            .any(|part| part == bytes.as_bytes())
    })
}

#[test]
fn checkpoints_and_savepoints_are_made_read_and_restored_at_urls() {
    let server = S3::start();
    let folder = tempfile::tempdir().unwrap();
    let job = Job::slow(&server, &folder.path().join("job"), "first");
    let saved = server.url("saved/monday");
    let mut child = job.start(&["-p", "2"]);
    job.wait_for_socket();
    let note = ["--note", "before the change", "--json"];
    let made = job.must(&[&["savepoint", "create", "numbers", &saved][..], &note].concat());
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    assert_eq!(made["folder"], saved.as_str());
    assert_eq!(made["name"], "monday");
    job.refused(&["savepoint", "create", "numbers", &saved], "S0021");
    let count = "SELECT sum(\"count(*)\") AS n FROM \"digits/aggregate\"";
    let n = |target: &str| {
        let text = job.must(&["state", target, count, "--format", "json"]);
        serde_json::from_str::<serde_json::Value>(text.trim()).unwrap()["n"]
            .as_i64()
            .unwrap_or(0)
    };
    let then = n(&saved);
    until("the job goes on", || n("numbers") > then);
    assert!(kill(&mut child), "{}", job.place.log());
    assert!(
        !job.place.folder.join(".weir/numbers/checkpoints").exists(),
        "nothing is in the state folder"
    );
    // What is left of the killed job is in the server, and every command finds it there.
    let crashed = server.url("saved/crashed");
    job.must(&[
        "savepoint",
        "create",
        "numbers",
        &crashed,
        "--from-checkpoint",
    ]);
    assert!(n(&crashed) >= then);
    assert_eq!(n("numbers"), n(&crashed));
    let listed = job.must(&["savepoint", "list", &server.url("saved"), "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["monday", "crashed"]);
    for target in [&saved, &crashed] {
        let text = job.must(&["savepoint", "verify", target]);
        assert!(text.contains("whole"), "{text}");
    }
    let text = job.must(&["savepoint", "inspect", &saved]);
    assert!(
        text.contains("before the change") && text.contains("\"digits/aggregate\""),
        "{text}"
    );
    let rows = job.must(&[
        "savepoint",
        "inspect",
        &crashed,
        "--rows",
        "\"digits/aggregate\"",
        "--where",
        "\"count(*)\" > 0",
        "--json",
    ]);
    assert_eq!(rows.lines().count() as i64, n(&crashed).min(1000), "{rows}");
    assert!(
        job.must(&["state", "diff", &saved, &saved])
            .contains("the same")
    );
    // Back to the first one, on another backend; what came later is withdrawn. The rest may come faster.
    let text = std::fs::read_to_string(job.place.folder.join("numbers.sql")).unwrap();
    std::fs::write(
        job.place.folder.join("numbers.sql"),
        text.replace("'rows-per-second' = '700'", "'rows-per-second' = '9000'"),
    )
    .unwrap();
    job.finish(
        &["-p", "3", "--state-backend", "memory", "--from", &saved],
        "from the savepoint",
    );
    job.must(&["savepoint", "delete", &saved]);
    job.refused(&["savepoint", "inspect", &saved], "S0020");
    job.refused(&["savepoint", "inspect", "carrierpigeon://loft/7"], "S0043");
    // The finished job gives one at its end too, and a stop does.
    let end = server.url("saved/end");
    job.finish(&["--savepoint", &end], "at the end");
    assert_eq!(n(&end), ROWS);
    assert!(
        !is_written(folder.path(), SECRET),
        "credentials are not written down"
    );
}

#[test]
fn periodic_savepoints_go_to_a_url_and_only_the_newest_are_kept() {
    let server = S3::start();
    let folder = tempfile::tempdir().unwrap();
    let job = Job::new(&server, &folder.path().join("job"), "periodic");
    let saved = server.url("every");
    let dir = format!("savepoint.dir={saved}");
    let set = [
        "--set",
        "savepoint.interval=300ms",
        "--set",
        "savepoint.retain=2",
        "--set",
        &dir,
    ];
    let mut child = job.start(&set);
    let status = wait_for(&mut child, Duration::from_secs(90)).expect("it ends");
    assert!(status.success(), "{}", job.place.log());
    job.assert_exact("with periodic savepoints");
    let listed = job.must(&["savepoint", "list", &saved, "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
}

#[test]
fn a_server_that_does_not_keep_create_if_absent_is_refused_unless_the_user_says_that_it_may() {
    let server = S3::start();
    server.script(|_| Fault::Unconditional);
    let folder = tempfile::tempdir().unwrap();
    let job = Job::new(&server, &folder.path().join("job"), "unconditional");
    let text = job.refused(&["run", "numbers.sql", "--no-progress"], "J0060");
    assert!(
        text.contains("checkpoint.storage.conditional-put"),
        "{text}"
    );
    job.finish(
        &["--set", "checkpoint.storage.conditional-put=disabled"],
        "without conditions",
    );
    // One that says that it cannot.
    server.script(|request| match request.has_header("if-none-match") {
        true => Fault::Status(501),
        false => Fault::Pass,
    });
    let job = Job::new(&server, &folder.path().join("other"), "not-implemented");
    job.refused(&["run", "numbers.sql", "--no-progress"], "J0060");
}

#[test]
fn a_store_that_is_not_there_is_told_within_a_minute() {
    let server = S3::start();
    server.script(|_| Fault::Status(503));
    let folder = tempfile::tempdir().unwrap();
    let job = Job::new(&server, &folder.path().join("job"), "away");
    let started = Instant::now();
    let output = job
        .with_environment(job.place.run(&["--set", "restart.strategy=none"]))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    let text = text_of(&output);
    assert!(text.contains("s3://") && text.contains("503"), "{text}");
    assert!(started.elapsed() < Duration::from_secs(60));
}

/// Steps of a job whose checkpoints and savepoint are at URLs, and where its run dies at them: the how-manieth passing.
const STEPS: &[&str] = &[
    "state.upload.between:4",
    "state.upload.after:2",
    "state.manifest.before:2",
    "state.manifest.after:2",
    "state.retain.between:1",
    "engine.commit.after:2",
    "state.savepoint.before",
    "state.savepoint.table",
    "state.savepoint.upload.between",
    "state.savepoint.manifest.before",
    "state.savepoint.manifest.after",
];

/// Steps of a restore from it.
const RESTORES: &[&str] = &[
    "state.remove.between",
    "state.import.between",
    "state.import.after",
    "engine.restore.after-withdraw",
    "state.restore.before",
    "state.restore.between",
];

#[test]
fn a_death_at_any_step_of_a_savepoint_at_a_url_or_of_a_restore_from_it_loses_nothing() {
    let server = S3::start();
    let root = tempfile::tempdir().unwrap();
    for (number, step) in STEPS.iter().enumerate() {
        let folder = root.path().join(format!("job-{number}"));
        let job = Job::new(&server, &folder, &format!("steps/{number}"));
        let sql = std::fs::read_to_string(folder.join("numbers.sql")).unwrap();
        let sql = sql
            .replace("'rows-per-second' = '5000'", "'rows-per-second' = '20000'")
            .replace("'150ms'", "'60ms'");
        std::fs::write(folder.join("numbers.sql"), sql).unwrap();
        let saved = server.url(&format!("saved/steps/{number}"));
        let armed = |point: &str, arguments: &[&str]| {
            let output = job
                .with_environment(job.place.run(arguments))
                .env("WEIR_FAILPOINT", point)
                .output()
                .unwrap();
            let name = point.split(':').next().unwrap();
            let text = text_of(&output);
            assert!(
                text.contains(&format!("failure point {name}: abort")),
                "{point} was not passed\n{text}"
            );
        };
        // There is a checkpoint before anything dies.
        let output = job
            .with_environment(job.place.run(&["--stop-after", "3000"]))
            .output()
            .unwrap();
        assert!(output.status.success(), "{step}: {}", text_of(&output));
        let first = ["-p", "2", "--stop-after", "9000", "--savepoint", &saved];
        armed(step, &first);
        let whole = job.weir(&["savepoint", "verify", &saved]).status.success();
        assert_eq!(whole, *step == "state.savepoint.manifest.after", "{step}");
        if !whole {
            job.must(&[
                "savepoint",
                "create",
                "numbers",
                &saved,
                "--from-checkpoint",
            ]);
        }
        // Beyond it, so that a restore has something to withdraw.
        let output = job
            .with_environment(job.place.run(&["--stop-after", "15000"]))
            .output()
            .unwrap();
        assert!(output.status.success(), "{step}: {}", text_of(&output));
        let restore = RESTORES[number % RESTORES.len()];
        armed(restore, &["-p", "3", "--from", &saved]);
        // What is later than the savepoint is gone, and the newer checkpoint perhaps not there yet: the same command again.
        job.finish(&["--from", &saved], &format!("{step}, then {restore}"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

/// What a seed does to requests: a share of them fails in one of the ways, and at times all of them do.
fn script(seed: u64) -> impl Fn(&weir_tests::s3::Request) -> Fault + Send + Sync + 'static {
    move |request| {
        let mut rng = weir_tests::data::rng(seed ^ request.number.wrapping_mul(0x9E37_79B9));
        // Half a dozen requests in a row: longer than retries of one of them take.
        let away = (request.number / 6) % 23 == seed % 23;
        if away || rng.random_bool(0.12) {
            let kinds = [
                Fault::Status(503),
                Fault::Status(500),
                Fault::DropBefore,
                Fault::DropAfter,
                Fault::CutAnswer,
                Fault::Stall(Duration::from_millis(300)),
            ];
            return *kinds.choose(&mut rng).unwrap();
        }
        Fault::Pass
    }
}

#[test]
fn whatever_the_server_does_and_whenever_the_job_is_killed_nothing_is_lost_and_nothing_doubled() {
    let mut suite = Suite::begin("object_store", 60, 4);
    let server = S3::start();
    let root = tempfile::tempdir().unwrap();
    let mut killed = 0;
    while let Some(seed) = suite.next_seed() {
        let mut rng = weir_tests::data::rng(seed);
        let folder = root.path().join(format!("job-{seed}"));
        let job = Job::new(&server, &folder, &format!("seeds/{seed}"));
        server.script(script(seed));
        let context = format!("seed {seed}");
        let saved = server.url(&format!("saved/{seed}"));
        let backends = ["rocksdb", "memory"];
        let mut made = None;
        for _ in 0..rng.random_range(1..=2) {
            let parallelism = rng.random_range(1..=4).to_string();
            let backend = *backends.choose(&mut rng).unwrap();
            let mut child = job.start(&["-p", &parallelism, "--state-backend", backend]);
            std::thread::sleep(Duration::from_millis(rng.random_range(300..2500)));
            // In the middle of a savepoint, or after one, or without.
            let asker = rng.random_bool(0.6).then(|| {
                let mut command = Command::new(binary());
                command.current_dir(&job.place.folder).args([
                    "savepoint",
                    "create",
                    "numbers",
                    &saved,
                ]);
                job.with_environment(command)
                    .stdout(std::process::Stdio::null())
                    .stderr(std::process::Stdio::null())
                    .spawn()
                    .unwrap()
            });
            std::thread::sleep(Duration::from_millis(rng.random_range(0..1500)));
            killed += u64::from(kill(&mut child));
            if let Some(mut asker) = asker {
                let _ = asker.wait();
            }
            made = Some(());
        }
        assert!(made.is_some());
        // Half a savepoint is none, and is no hindrance.
        let whole = job.weir(&["savepoint", "verify", &saved]).status.success();
        let from = ["--from", saved.as_str()];
        let arguments: &[&str] = match whole {
            true => &from,
            false => &[],
        };
        job.finish(arguments, &context);
        server.script(|_| Fault::Pass);
        if !whole {
            job.must(&[
                "savepoint",
                "create",
                "numbers",
                &saved,
                "--from-checkpoint",
            ]);
        }
        job.must(&["savepoint", "verify", &saved]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
    assert!(killed > 0, "nothing was killed at work");
    assert!(
        server.faults() > 20,
        "{} faults in {} requests",
        server.faults(),
        server.requests()
    );
}

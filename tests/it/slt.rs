//! Scripts of SQL (`tests/slt/*.slt`): rows, changelogs and errors of bounded jobs.
//!
//! A script is read by the `sqllogictest` crate; what its records mean here:
//!
//! * `statement ok` with `FILE name`, then lines: writes a file into the script's folder.
//! * `statement ok` with `CREATE …` or `SET …`: planned, and added to the text that later queries run with.
//! * `statement ok` with `CLOCK 2024-01-01T00:00:00Z [10]`: processing time stands still there; in `CHANGELOG` queries it is so many
//!   seconds later with each record.
//! * `statement ok` with `RESET`: forgets the text and the files.
//! * `query …` with a SELECT: runs text and SELECT as one job to its end; the answer is the folded result.
//! * `query …` with `CHANGELOG SELECT …`: the job is stopped and resumed after each record, so that every record is an epoch; the
//!   answer is every change in its order, the first column being `+` or `-`. Changes of one epoch are sorted, retractions first.
//! * `query …` with `SINK table SELECT …`: `INSERT INTO table SELECT …`; the answer is the lines of the files that the table has then.
//! * `query …` with `BESIDE table SELECT …`: runs the SELECT; the answer is the lines of the files of a table that takes what it leaves out.
//! * `query …` with `VIEW SELECT …`: a job that keeps the SELECT as a materialized view, stopped on the way; the answer is the view's rows.
//! * `query …` with `LATE SELECT …`: the operators that left out late rows, and how many.
//!
//! Every script runs with one worker, with three, and several times with random cuts, backends and memory.

use std::path::{Path, PathBuf};

use sqllogictest::{DBOutput, DefaultColumnType, Runner};
use weir_engine::Outcome;
use weir_tests::data::rng;
use weir_tests::job::{self, Setup};
use weir_tests::process::published_lines;
use weir_tests::suite::Suite;
use weir_tests::value::{Multiset, Row, Value};

/// More records than any table of a `CHANGELOG` query has.
const CHANGELOG_RECORDS_MAX: u64 = 60;

/// What a script talks to.
struct Script {
    setup: Setup,
    folder: tempfile::TempDir,
    /// The statements so far.
    text: String,
    jobs: usize,
    /// Each SELECT is run as a materialized view, too, which has to have the same rows.
    as_views: bool,
    /// Microseconds from one record of a `CHANGELOG` query to the next.
    tick: i64,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failure(String);

type Answer = DBOutput<DefaultColumnType>;

impl Script {
    fn new(setup: Setup) -> Self {
        Self {
            setup,
            folder: tempfile::tempdir().unwrap(),
            text: String::new(),
            jobs: 0,
            as_views: false,
            tick: 0,
        }
    }

    fn file(&self, rest: &str) -> Answer {
        let (name, lines) = rest.split_once('\n').unwrap_or((rest, ""));
        let path = self.folder.path().join(name.trim());
        std::fs::create_dir_all(path.parent().expect("a file is in a folder")).unwrap();
        // The parser drops the last line's end.
        let end = if lines.is_empty() { "" } else { "\n" };
        std::fs::write(path, format!("{lines}{end}")).unwrap();
        DBOutput::StatementComplete(0)
    }

    fn clock(&mut self, rest: &str) -> Answer {
        let mut words = rest.split_whitespace();
        let start = words.next().expect("CLOCK has a time");
        let start = arrow::compute::kernels::cast_utils::string_to_timestamp_nanos(start);
        self.setup.clock = Some(start.unwrap() / 1000);
        let seconds = words.next().map_or(0, |seconds| seconds.parse().unwrap());
        self.tick = seconds * 1_000_000;
        DBOutput::StatementComplete(0)
    }

    fn job(&self, query: &str, setup: &Setup) -> Result<job::Ran, Failure> {
        job::run(
            &format!("{}{query};\n", self.text),
            self.folder.path(),
            setup,
        )
        .map_err(Failure)
    }

    /// One epoch a record: the job is stopped after the first record of every source, resumed, stopped after the second, and so on.
    fn changelog(&mut self, query: &str) -> Result<Answer, Failure> {
        self.jobs += 1;
        let state = Some(self.folder.path().join(format!("state-{}", self.jobs)));
        let text = format!("{}{query};\n", self.text);
        let (mut rows, mut before) = (Vec::new(), Vec::new());
        for record in 1..=CHANGELOG_RECORDS_MAX {
            let setup = Setup {
                state: state.clone(),
                stop_after: Some(record),
                clock: self
                    .setup
                    .clock
                    .map(|clock| clock + record as i64 * self.tick),
                ..self.setup.clone()
            };
            let ran = job::run_from("changelog", &text, self.folder.path(), &setup, &before)
                .map_err(Failure)?;
            let mut changes = Multiset::default();
            for (row, weight) in ran.outputs[0].epochs.iter().flatten() {
                changes.add(row.clone(), *weight);
            }
            let mut changes: Vec<_> = changes.0.into_iter().collect();
            changes.sort_by(|(a, a_weight), (b, b_weight)| {
                (a_weight.signum(), a).cmp(&(b_weight.signum(), b))
            });
            for (row, weight) in changes {
                let mut texts = vec![if weight > 0 { "+" } else { "-" }.to_owned()];
                texts.extend(texts_of(&row));
                rows.extend(std::iter::repeat_n(texts, weight.unsigned_abs() as usize));
            }
            if ran.summary.outcome != Outcome::Stopped {
                return Ok(answer(rows));
            }
            before = ran.outputs;
        }
        Err(Failure(format!(
            "no end after {CHANGELOG_RECORDS_MAX} records"
        )))
    }

    fn sink(&mut self, rest: &str) -> Result<Answer, Failure> {
        let (table, query) = rest
            .split_once(char::is_whitespace)
            .expect("SINK table SELECT …");
        self.jobs += 1;
        let state = self.folder.path().join(format!("state-{}", self.jobs));
        let setup = Setup {
            state: Some(state),
            ..self.setup.clone()
        };
        let text = format!("{}INSERT INTO {table} {query};\n", self.text);
        job::run_named(
            &format!("sink_{}", self.jobs),
            &text,
            self.folder.path(),
            &setup,
        )
        .map_err(Failure)?;
        let target = self.folder.path().join(table);
        let lines = if target.is_file() {
            std::fs::read_to_string(&target)
                .unwrap()
                .lines()
                .map(str::to_owned)
                .collect()
        } else {
            self.published(&target)
        };
        let answer = answer(lines.into_iter().map(|line| vec![line]).collect());
        let _ = std::fs::remove_dir_all(&target).or_else(|_| std::fs::remove_file(&target));
        Ok(answer)
    }

    /// The lines that a sink has published; a CSV header counts once, however many files a job was cut into.
    fn published(&self, folder: &Path) -> Vec<String> {
        let mut lines = published_lines(folder, None);
        let first = lines.first().cloned();
        if let Some(header) = first.filter(|line| !line.starts_with(['{', '['])) {
            lines.retain(|line| *line != header);
            lines.insert(0, header);
        }
        lines
    }

    /// What a SELECT leaves out. It is stopped on the way and resumed, so that the table is written by two runs.
    fn beside(&mut self, rest: &str) -> Result<Answer, Failure> {
        let (table, query) = rest
            .split_once(char::is_whitespace)
            .expect("BESIDE table SELECT …");
        self.jobs += 1;
        let state = self.folder.path().join(format!("state-{}", self.jobs));
        let text = format!("{}{query};\n", self.text);
        let name = format!("beside_{}", self.jobs);
        // A SELECT before may have left out rows too.
        let target = self.folder.path().join(table);
        let _ = std::fs::remove_dir_all(&target);
        let mut before = Vec::new();
        for stop_after in [Some(3), None] {
            let setup = Setup {
                state: Some(state.clone()),
                stop_after,
                ..self.setup.clone()
            };
            let ran = job::run_from(&name, &text, self.folder.path(), &setup, &before);
            before = ran.map_err(Failure)?.outputs;
        }
        let lines = self.published(&target);
        let _ = std::fs::remove_dir_all(&target);
        Ok(answer(lines.into_iter().map(|line| vec![line]).collect()))
    }

    /// The rows that a materialized view has in the end: `None` if the query cannot be one, because of its columns' names or types.
    fn view(&mut self, query: &str) -> Result<Option<Answer>, Failure> {
        self.jobs += 1;
        let state = self.folder.path().join(format!("state-{}", self.jobs));
        let text = format!(
            "{}CREATE MATERIALIZED VIEW \"The view\" AS {query};\n",
            self.text
        );
        let job = format!("view_{}", self.jobs);
        for stop_after in [Some(2), None] {
            let setup = Setup {
                state: Some(state.clone()),
                stop_after,
                through_savepoint: None,
                ..self.setup.clone()
            };
            match job::run_named(&job, &text, self.folder.path(), &setup) {
                Err(error) if error.contains("error[P1520]") => return Ok(None),
                Err(error) => return Err(Failure(error)),
                Ok(_) => {}
            }
        }
        let found = weir_engine::view_rows(&state, &job, "The view")
            .map_err(|error| Failure(error.to_string()))?;
        // A view is in no order; a script has its rows in that of the folded ones.
        let mut rows: Vec<Row> = found
            .rows
            .iter()
            .flat_map(weir_tests::value::rows_of)
            .collect();
        rows.sort();
        Ok(Some(answer(rows.iter().map(texts_of).collect())))
    }

    fn late(&self, query: &str) -> Result<Answer, Failure> {
        let late = self.job(query, &self.setup)?.summary.late;
        let late = late.into_iter().filter(|(_, rows)| *rows > 0);
        Ok(answer(
            late.map(|(operator, rows)| vec![operator, rows.to_string()])
                .collect(),
        ))
    }
}

impl sqllogictest::DB for Script {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<Answer, Failure> {
        let (word, rest) = sql.split_once(char::is_whitespace).unwrap_or((sql, ""));
        match word {
            "FILE" => Ok(self.file(rest)),
            "RESET" if rest.is_empty() => {
                let as_views = self.as_views;
                *self = Self::new(Setup {
                    clock: None,
                    ..self.setup.clone()
                });
                self.as_views = as_views;
                Ok(DBOutput::StatementComplete(0))
            }
            "CLOCK" => Ok(self.clock(rest)),
            "CHANGELOG" => self.changelog(rest),
            "SINK" => self.sink(rest),
            "BESIDE" => self.beside(rest),
            "LATE" => self.late(rest),
            "VIEW" => match self.view(rest)? {
                Some(answer) => Ok(answer),
                None => Err(Failure("it cannot be a materialized view".to_owned())),
            },
            "SELECT" | "WITH" | "(SELECT" | "VALUES" => {
                if self.as_views
                    && let Some(answer) = self.view(sql)?
                {
                    return Ok(answer);
                }
                let ran = self.job(sql, &self.setup)?;
                let rows = ran.outputs[0].folded.0.iter();
                let rows = rows
                    .flat_map(|(row, count)| std::iter::repeat_n(texts_of(row), *count as usize));
                Ok(answer(rows.collect()))
            }
            _ => {
                let text = format!("{}{sql};\n", self.text);
                job::plan(&text).map_err(Failure)?;
                self.text = text;
                Ok(DBOutput::StatementComplete(0))
            }
        }
    }
}

fn texts_of(row: &Row) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::Text(text) if text.is_empty() => "(empty)".to_owned(),
        Value::Float(value) => format!("{:.10}", value)
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned(),
        other => other.to_string(),
    };
    row.iter().map(text).collect()
}

fn answer(rows: Vec<Vec<String>>) -> Answer {
    let columns = rows.first().map_or(0, Vec::len);
    DBOutput::Rows {
        types: vec![DefaultColumnType::Any; columns],
        rows,
    }
}

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("slt");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "slt"));
    found.sort();
    assert!(!found.is_empty(), "there are scripts");
    found
}

fn run_script(path: &Path, setup: &Setup) -> Result<(), String> {
    run_script_as(path, setup, false)
}

fn run_script_as(path: &Path, setup: &Setup, as_views: bool) -> Result<(), String> {
    let mut runner = Runner::new(|| {
        let mut script = Script::new(setup.clone());
        script.as_views = as_views;
        async move { Ok::<_, Failure>(script) }
    });
    runner
        .run_file(path)
        .map_err(|error| format!("{}\n{setup:?}", error.display(false)))
}

/// `WEIR_SLT=windows` runs the scripts whose name has this in it.
#[test]
fn scripts_give_the_rows_that_they_say() {
    let wanted = std::env::var("WEIR_SLT").unwrap_or_default();
    let scripts: Vec<_> = scripts()
        .into_iter()
        .filter(|path| path.to_string_lossy().contains(&wanted))
        .collect();
    let mut suite = Suite::begin("slt", 20, scripts.len() as u64);
    let mut failures = Vec::new();
    let plain = [
        Setup::default(),
        Setup {
            parallelism: 3,
            ..Setup::default()
        },
    ];
    for setup in plain {
        for script in &scripts {
            suite.count();
            failures.extend(run_script(script, &setup).err());
        }
        assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    }
    while let Some(seed) = suite.next_seed() {
        let script = &scripts[seed as usize % scripts.len()];
        failures.extend(run_script(script, &Setup::random(&mut rng(seed))).err());
        assert!(failures.len() < 3, "{}", failures.join("\n\n"));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Every query is stopped somewhere, and goes on from a savepoint in another folder with another parallelism and backend.
#[test]
fn scripts_give_the_same_rows_by_way_of_a_savepoint() {
    let wanted = std::env::var("WEIR_SLT").unwrap_or_default();
    let mut scripts = scripts();
    scripts.retain(|path| path.to_string_lossy().contains(&wanted));
    // A share of the suite's time: each query is two jobs with a folder.
    let mut suite = Suite::with_share("slt", 0.4, 20, 4);
    let mut failures = Vec::new();
    while let Some(seed) = suite.next_seed() {
        let script = &scripts[seed as usize % scripts.len()];
        let mut setup = Setup::random(&mut rng(seed));
        setup.through_savepoint = Some(seed);
        failures.extend(run_script(script, &setup).err());
        assert!(failures.len() < 3, "{}", failures.join("\n\n"));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Every query is kept as a materialized view by a job that is stopped on the way: its rows are those of the query.
#[test]
fn scripts_give_the_same_rows_as_materialized_views() {
    let wanted = std::env::var("WEIR_SLT").unwrap_or_default();
    let mut scripts = scripts();
    scripts.retain(|path| path.to_string_lossy().contains(&wanted));
    let mut suite = Suite::with_share("slt", 0.3, 20, 3);
    let mut failures = Vec::new();
    while let Some(seed) = suite.next_seed() {
        let script = &scripts[seed as usize % scripts.len()];
        let setup = Setup::random(&mut rng(seed));
        failures.extend(run_script_as(script, &setup, true).err());
        assert!(failures.len() < 3, "{}", failures.join("\n\n"));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Roles whose state is in no savepoint of a script's SELECT, and the test that covers them.
const COVERED_ELSEWHERE: &[(&str, &str)] = &[
    // Its state is its transactions and positions, which are no tables.
    (
        "source",
        "savepoints::a_running_job_gives_savepoints_and_nothing_is_lost_or_doubled_afterwards",
    ),
    (
        "view",
        "slt::scripts_give_the_same_rows_as_materialized_views",
    ),
    (
        "sink",
        "savepoints::a_running_job_gives_savepoints_and_nothing_is_lost_or_doubled_afterwards",
    ),
];

/// The role of an operator: the last part of its ID, without what is in parentheses and without an ordinal.
fn role_of(id: &str) -> String {
    let role = id.rsplit_once('/').map_or(id, |(_, role)| role);
    // `over("partition by a/b")` has a stroke of its own.
    let role = id.find("/over(").map_or(role, |at| &id[at + 1..]);
    let role = role.split('(').next().unwrap_or(role);
    role.trim_end_matches(|c: char| c.is_ascii_digit())
        .trim_end_matches('_')
        .to_owned()
}

/// The roles that keep something, as the page of operator IDs has them.
fn documented_roles() -> std::collections::BTreeSet<String> {
    let page = weir_tests::process::root().join("docs/operator-ids.md");
    let text = std::fs::read_to_string(page).unwrap();
    let mut roles = std::collections::BTreeSet::new();
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("| role |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        if cells.last() == Some(&"nothing") {
            continue;
        }
        let names = cells[0].split('`').skip(1).step_by(2);
        roles.extend(names.map(|name| role_of(&format!("x/{name}"))));
    }
    roles
}

/// Every SELECT of a script that runs by way of a savepoint, planned: the roles that keep state in it.
fn roles_in_scripts() -> std::collections::BTreeSet<String> {
    let mut roles = std::collections::BTreeSet::new();
    for path in scripts() {
        let records = sqllogictest::parse_file::<DefaultColumnType>(&path).unwrap();
        let mut text = String::new();
        for record in records {
            use sqllogictest::{Record, StatementExpect};
            match record {
                Record::Statement {
                    sql,
                    expected: StatementExpect::Ok,
                    ..
                } => match sql.split_whitespace().next().unwrap_or_default() {
                    "FILE" | "CLOCK" => {}
                    "RESET" => text.clear(),
                    _ => text.push_str(&format!("{sql};\n")),
                },
                Record::Query { sql, .. } => {
                    let plain = ["SELECT", "WITH", "(SELECT", "VALUES"];
                    let first = sql.split_whitespace().next().unwrap_or_default().to_owned();
                    if !plain.contains(&first.as_str()) {
                        continue;
                    }
                    // One whose answer is an error keeps nothing.
                    let Ok(plan) = job::plan(&format!("{text}{sql};\n")) else {
                        continue;
                    };
                    let keeping = plan.operators.iter().filter(|one| !one.state.is_empty());
                    roles.extend(keeping.map(|one| role_of(one.id.as_str())));
                }
                _ => {}
            }
        }
    }
    roles
}

/// A new operator that keeps state needs a script, which then runs by way of a savepoint as well.
#[test]
fn every_role_that_keeps_state_is_in_a_script_that_goes_through_savepoints() {
    let (documented, found) = (documented_roles(), roles_in_scripts());
    assert!(
        documented.len() > 10,
        "the page has a table of roles: {documented:?}"
    );
    let missing: Vec<&String> = documented
        .iter()
        .filter(|role| !found.contains(*role))
        .filter(|role| COVERED_ELSEWHERE.iter().all(|(own, _)| own != role))
        .collect();
    assert!(
        missing.is_empty(),
        "no script has {missing:?}; there are {found:?}"
    );
    let unknown: Vec<&String> = found
        .iter()
        .filter(|role| !documented.contains(*role))
        .collect();
    assert!(
        unknown.is_empty(),
        "docs/operator-ids.md does not say that {unknown:?} keep state"
    );
}

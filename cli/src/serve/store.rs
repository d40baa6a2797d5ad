//! What a server keeps of its jobs: a folder each.
//!
//! ```text
//!   DATA/lock                  held while a server runs
//!   DATA/token                 0600, unless the token comes from elsewhere
//!   DATA/server.json           where the server listens
//!   DATA/files/                relative paths of jobs, unless they say otherwise
//!   DATA/jobs/NAME/job.json    what is wanted of the job, and its text: replaced as a whole, durably
//!   DATA/jobs/NAME/query.sql   the text again, for people
//!   DATA/jobs/NAME/state/      the job's folder, as `weir run` has it: its lock sees to it that the job runs once
//!   DATA/jobs/NAME/log         what the job's process says, log.1 the older half
//!   DATA/jobs/NAME/end.json    the last word of the job's process
//! ```

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use weir_engine::JobOptions;
use weir_planner::plan::{OperatorKind, StreamPlan};
use weir_state::Savepoint;
use weir_types::{Diagnostic, Diagnostics};

use super::flags::EditFlags;
use super::own_file::write_own;
use super::problem::{ApiError, Place, Problem};
use crate::query_file::QueryFile;

const VERSION: u32 = 1;

/// What is to become of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wanted {
    Running,
    Stopped,
    /// All its input has ended, or it was drained: it is over for good.
    Finished,
    /// It failed for good; somebody has to look.
    Failed,
}

/// A job's text, and what fills it in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Text {
    pub(crate) sql: String,
    /// They win over those of the text.
    #[serde(default)]
    pub(crate) settings: BTreeMap<String, String>,
    /// Of `${NAME}`; what is not here comes from the server's environment.
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, String>,
}

/// A start that goes on from a savepoint, until it has saved what it read itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Edit {
    pub(crate) savepoint: PathBuf,
    pub(crate) flags: EditFlags,
    /// The text that ran before; `None`: this is the way back to it.
    pub(crate) old: Option<Text>,
}

/// `job.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobSpec {
    pub(crate) version: u32,
    pub(crate) name: String,
    pub(crate) created_micros: i64,
    pub(crate) wanted: Wanted,
    #[serde(flatten)]
    pub(crate) text: Text,
    /// Where relative paths start.
    pub(crate) folder: PathBuf,
    /// The savepoint that the very first start goes on from.
    #[serde(default)]
    pub(crate) from: Option<PathBuf>,
    #[serde(default)]
    pub(crate) edit: Option<Edit>,
    /// Why it failed, or why its last upgrade did.
    #[serde(default)]
    pub(crate) failure: Option<Problem>,
}

/// The last word of a job's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum End {
    Finished,
    Stopped,
    Failed { problem: Problem },
}

/// A job's folder.
#[derive(Clone, Debug)]
pub(crate) struct JobHome(pub(crate) PathBuf);

impl JobHome {
    pub(crate) fn spec(&self) -> PathBuf {
        self.0.join("job.json")
    }

    pub(crate) fn query(&self) -> PathBuf {
        self.0.join("query.sql")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    pub(crate) fn end(&self) -> PathBuf {
        self.0.join("end.json")
    }

    pub(crate) fn read(&self) -> std::io::Result<JobSpec> {
        let spec: JobSpec = read_json(&self.spec())?;
        if spec.version != VERSION {
            return Err(std::io::Error::other(format!(
                "it is of version {}, and this release knows version {VERSION}",
                spec.version
            )));
        }
        Ok(spec)
    }

    /// Writes what is wanted; after a crash the old or the new is there, whole.
    pub(crate) fn write(&self, spec: &JobSpec) -> std::io::Result<()> {
        std::fs::write(self.query(), &spec.text.sql)?;
        write_json(&self.spec(), spec)
    }

    pub(crate) fn read_end(&self) -> Option<End> {
        read_json(&self.end()).ok()
    }

    /// Whether a process runs the job, be it one of an earlier server.
    pub(crate) fn is_taken(&self) -> bool {
        let Ok(file) = File::open(self.state().join("lock")) else {
            return false;
        };
        matches!(file.try_lock(), Err(TryLockError::WouldBlock))
    }
}

impl JobSpec {
    pub(crate) fn new(name: &str, text: Text, folder: PathBuf, created_micros: i64) -> Self {
        Self {
            version: VERSION,
            name: name.to_owned(),
            created_micros,
            wanted: Wanted::Running,
            text,
            folder,
            from: None,
            edit: None,
            failure: None,
        }
    }
}

/// A text that was planned for a job of a server.
pub(crate) struct Prepared {
    pub(crate) file: QueryFile,
    pub(crate) plan: StreamPlan,
    pub(crate) warnings: Vec<Diagnostic>,
    pub(crate) options: JobOptions,
}

/// Plans a job's text as its process will run it.
pub(crate) fn prepare(
    home: &JobHome,
    name: &str,
    text: &Text,
    folder: &Path,
) -> Result<Prepared, ApiError> {
    let mut file = QueryFile::of_text(&format!("{name}.sql"), &text.sql);
    file.path = home.query();
    file.fill_in(&text.variables)
        .map_err(|problems| ApiError::sql(&problems))?;
    let planned = file
        .plan_at(folder)
        .map_err(|problems| ApiError::sql(&problems))?;
    let mut plan = planned.plan;
    check_plan(name, &plan)?;
    plan.job_name = Some(name.to_owned());
    let mut problems = Vec::new();
    for (key, value) in &text.settings {
        if is_ours(key) {
            return Err(ours(key, Place::named("field", format!("settings.{key}"))));
        }
        match weir_planner::settings::check(key, value) {
            Ok(()) => drop(plan.settings.insert(key.clone(), value.clone())),
            Err(problem) => problems.push(problem.without_place()),
        }
    }
    if !problems.is_empty() {
        return Err(ApiError::sql(&Diagnostics(problems)));
    }
    let mut options =
        JobOptions::resolve(&plan, name).map_err(|error| ApiError::engine(name, &error))?;
    options.state_dir = Some(home.state());
    options.file = Some(home.query());
    options.base = folder.to_owned();
    Ok(Prepared {
        file,
        plan,
        warnings: planned.warnings,
        options,
    })
}

/// Settings that say where a job is and how it is called.
fn is_ours(key: &str) -> bool {
    matches!(key, "state.dir" | "job.name")
}

fn ours(key: &str, place: Place) -> ApiError {
    ApiError::new(
        400,
        Problem::new(
            "J0088",
            place,
            format!("'{key}' is the server's to decide: it keeps each job in a folder by its name"),
            "leave the setting out; the request's `name` names the job",
        ),
    )
}

fn check_plan(name: &str, plan: &StreamPlan) -> Result<(), ApiError> {
    let sql = || Place {
        part: "sql".to_owned(),
        ..Place::default()
    };
    if let Some(named) = plan.job_name.as_deref().filter(|named| *named != name) {
        return Err(ApiError::new(
            400,
            Problem::new(
                "J0086",
                sql(),
                format!("the text names its job `{named}`, and the request `{name}`"),
                "let both say the same, or leave SET 'job.name' out",
            ),
        ));
    }
    if plan.settings.contains_key("state.dir") {
        return Err(ours("state.dir", sql()));
    }
    let kinds = || plan.operators.iter().map(|operator| &operator.kind);
    if kinds().any(|kind| matches!(kind, OperatorKind::Output { .. })) {
        return Err(ApiError::new(
            400,
            Problem::new(
                "J0083",
                sql(),
                "a job of a server has nobody to print to, and the text has a SELECT of its own",
                "give it a table to write to: INSERT INTO table SELECT …",
            ),
        ));
    }
    if !kinds().any(|kind| matches!(kind, OperatorKind::Sink { .. })) {
        return Err(ApiError::new(
            400,
            Problem::new(
                "J0083",
                sql(),
                "the text has no INSERT: there is nothing to run",
                "give it an INSERT INTO table SELECT …",
            ),
        ));
    }
    Ok(())
}

/// Whether a job has saved something since a savepoint that it read itself: the savepoint is not needed any more to go on.
pub(crate) fn came_up(name: &str, state: &Path, savepoint: &Path) -> bool {
    let Ok(saved) = Savepoint::open(savepoint) else {
        return false;
    };
    crate::upgrade::came_up(name, state, &saved.manifest.checkpoint)
}

/// A name that a folder can have.
pub(crate) fn check_name(name: &str) -> Result<(), ApiError> {
    let first = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if first && name.len() <= 64 && name.bytes().all(plain) {
        return Ok(());
    }
    Err(ApiError::new(
        400,
        Problem::new(
            "J0086",
            Place::named("field", "name"),
            format!("`{name}` cannot be the name of a job"),
            "1 to 64 letters, digits, `_`, `-` and `.`, the first one a letter or digit",
        ),
    ))
}

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> std::io::Result<T> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

/// Writes a value as JSON into a file that only its owner reads.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> std::io::Result<()> {
    write_own(path, &serde_json::to_vec_pretty(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQL: &str =
        "CREATE TABLE a (x INT) WITH ('connector' = 'datagen', 'rows' = '${ROWS:-3}');
CREATE TABLE b (x INT) WITH ('connector' = 'filesystem', 'path' = 'b', 'format' = 'json');
";

    fn text(end: &str) -> Text {
        Text {
            sql: format!("{SQL}{end}"),
            settings: BTreeMap::new(),
            variables: BTreeMap::new(),
        }
    }

    fn code(text: &Text) -> String {
        let home = JobHome("/nowhere/j".into());
        match prepare(&home, "j", text, Path::new("/nowhere")) {
            Ok(_) => "planned".to_owned(),
            Err(error) => error.problems[0].code.clone(),
        }
    }

    #[test]
    fn a_job_of_a_server_writes_somewhere_and_leaves_its_place_to_the_server() {
        let insert = "INSERT INTO b SELECT x FROM a;";
        assert_eq!(code(&text(insert)), "planned");
        assert_eq!(code(&text("SELECT x FROM a;")), "J0083");
        assert_eq!(code(&text("")), "J0083");
        assert_eq!(
            code(&text(&format!("SET 'state.dir' = 'x';{insert}"))),
            "J0088"
        );
        assert_eq!(
            code(&text(&format!("SET 'job.name' = 'x';{insert}"))),
            "J0086"
        );
        let mut set = text(insert);
        set.settings.insert("state.dir".into(), "x".into());
        assert_eq!(code(&set), "J0088");
        set.settings = BTreeMap::from([("parallelism".into(), "many".into())]);
        assert_ne!(code(&set), "planned");
        let mut unfilled = text(insert);
        unfilled.sql = unfilled.sql.replace(":-3", "_OF_NOBODY");
        assert_eq!(code(&unfilled), "R0014");
        unfilled
            .variables
            .insert("ROWS_OF_NOBODY".into(), "4".into());
        assert_eq!(code(&unfilled), "planned");
    }

    #[test]
    fn what_is_wanted_comes_back_and_is_read_by_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let home = JobHome(folder.path().to_owned());
        let mut spec = JobSpec::new("j", text(""), "/data".into(), 7);
        spec.edit = Some(Edit {
            savepoint: "/saved".into(),
            flags: EditFlags::default(),
            old: Some(text("x")),
        });
        home.write(&spec).unwrap();
        assert_eq!(home.read().unwrap(), spec);
        let mode = std::fs::metadata(home.spec()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        spec.version = 9;
        home.write(&spec).unwrap();
        assert!(home.read().is_err());
        assert!(!home.is_taken());
    }

    #[test]
    fn names_are_those_that_a_folder_can_have() {
        for good in ["a", "orders-2.eu", "A_1"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        let long = "x".repeat(65);
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "../x",
            "-x",
            "ü",
            "a b",
            long.as_str(),
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}

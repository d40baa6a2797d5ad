//! The binary `weir` as a process: to run, to kill, to run again.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::value::{Multiset, Row, Value};

const SIGKILL: i32 = 9;

/// The repository's root.
pub fn root() -> PathBuf {
    match std::env::var_os("WEIR_ROOT") {
        Some(root) => root.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("the crate lies in the repository")
            .to_owned(),
    }
}

/// The binary under test: `WEIR_BIN`, else the one built beside this test.
pub fn binary() -> PathBuf {
    let path = match std::env::var_os("WEIR_BIN") {
        Some(path) => path.into(),
        None => {
            let test = std::env::current_exe().expect("a test knows where it is");
            test.ancestors()
                .nth(2)
                .expect("a test lies in target/release/deps")
                .join("weir")
        }
    };
    assert!(
        path.exists(),
        "there is no {}: build the workspace, or set WEIR_BIN",
        path.display()
    );
    path
}

/// A query file in a folder of its own, with everything that it reads and writes below.
pub struct Place {
    /// The folder; it is also where the process runs.
    pub folder: PathBuf,
    file: String,
}

impl Place {
    /// Makes the folder and puts the text there.
    pub fn new(folder: &Path, stem: &str, sql: &str) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let file = format!("{stem}.sql");
        std::fs::write(folder.join(&file), sql).unwrap();
        Self {
            folder: folder.to_owned(),
            file,
        }
    }

    /// `weir run FILE`, ready to start.
    pub fn run(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .current_dir(&self.folder)
            .args(["run", &self.file, "--no-progress"])
            .args(arguments)
            .env_remove("WEIR_FAILPOINT")
            .stdin(Stdio::null());
        command
    }

    /// Runs to the end, which must be a good one.
    pub fn must_run(&self, arguments: &[&str]) -> Output {
        let output = self.run(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "weir run {arguments:?} ended with {}\n{}",
            output.status,
            text_of(&output)
        );
        output
    }

    /// Starts it, with its output kept aside in files of the folder.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let log = || {
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(self.folder.join("log.txt"))
                .unwrap()
        };
        self.run(arguments)
            .stdout(log())
            .stderr(log())
            .spawn()
            .unwrap()
    }

    /// Everything that started processes printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log.txt")).unwrap_or_default()
    }
}

/// Standard output and standard error as text.
pub fn text_of(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// SIGKILL; whether it was that which ended the process, and not its own end just before.
pub fn kill(child: &mut Child) -> bool {
    use std::os::unix::process::ExitStatusExt;
    child.kill().unwrap();
    child.wait().unwrap().signal() == Some(SIGKILL)
}

/// Waits until the process ends, no longer than `limit`; then it is killed and the answer is `None`.
pub fn wait_for(child: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let started = std::time::Instant::now();
    while started.elapsed() < limit {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    kill(child);
    None
}

/// The data files that a sink published in a folder, hidden and commit folders left out, in the order of names.
pub fn published(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name.starts_with(['_', '.']) {
                continue;
            }
            if path.is_dir() {
                folders.push(path)
            } else {
                found.push(path)
            }
        }
    }
    found.sort();
    found
}

/// All published lines of a folder, CSV headers left out (`header` is the header line, if there is one).
pub fn published_lines(folder: &Path, header: Option<&str>) -> Vec<String> {
    published(folder)
        .iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            text.lines()
                .filter(|line| Some(*line) != header)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The lines of `changelog-json` files added up. Parts of one checkpoint are written by several workers, so order is not looked at.
pub fn folded_changelog(folder: &Path) -> Multiset {
    let mut set = Multiset::default();
    for line in published_lines(folder, None) {
        let serde_json::Value::Object(mut fields) = serde_json::from_str(&line).unwrap() else {
            panic!("not an object: {line}")
        };
        let weight = match fields.remove("op").as_ref().and_then(|op| op.as_str()) {
            Some("+I" | "+U") => 1,
            Some("-U" | "-D") => -1,
            other => panic!("op is {other:?}: {line}"),
        };
        set.add(row_of_json(&fields), weight);
    }
    set
}

/// The values of a JSON object in the order of its fields' names.
pub fn row_of_json(fields: &serde_json::Map<String, serde_json::Value>) -> Row {
    let mut names: Vec<_> = fields.keys().collect();
    names.sort();
    names
        .into_iter()
        .map(|name| match &fields[name] {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(value) => Value::Int(value),
                None => Value::Float(number.as_f64().expect("a JSON number is a float at worst")),
            },
            serde_json::Value::String(text) => Value::Text(text.clone()),
            other => Value::Text(other.to_string()),
        })
        .collect()
}

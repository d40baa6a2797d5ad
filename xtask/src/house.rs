//! House rules that a compiler does not know: they read the text of the repository.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo;
use crate::report::Report;

/// Every rule, one check each.
pub(crate) fn check(report: &mut Report) {
    let files = match tracked_files() {
        Ok(files) => files,
        Err(error) => return report.check("house rules", Err(error)),
    };
    report.check("every code is explained", codes_are_explained(&files));
    report.check("every page is linked", pages_are_linked(&files));
    for (name, rule) in RULES {
        let wrong: Vec<String> = files.iter().flat_map(rule).collect();
        report.check(
            name,
            if wrong.is_empty() {
                Ok(())
            } else {
                Err(anyhow::anyhow!(wrong.join("\n")))
            },
        );
    }
}

/// A text file of the repository.
struct File {
    /// With `/`, from the root.
    path: String,
    text: String,
}

/// Gives one line for each offence.
type Rule = fn(&File) -> Vec<String>;

const RULES: &[(&str, Rule)] = &[
    ("no path of one machine", no_machine_paths),
    ("every Rust file says what it is for", module_header),
    ("pages name files that are there", named_files_exist),
    ("no unfinished code", nothing_unfinished),
    ("long files are few", file_length),
];

/// Rust files longer than this want a second look; STYLE gives the number.
const LONG_FILE_LINES: usize = 900;

fn tracked_files() -> Result<Vec<File>> {
    let output = Command::new("git")
        .current_dir(cargo::root())
        .args(["ls-files", "-z"])
        .output();
    // An archive without git is checked too: by walking the folders.
    let paths: Vec<String> = match output {
        Ok(output) if output.status.success() => output
            .stdout
            .split(|byte| *byte == 0)
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect(),
        _ => walk(cargo::root())?,
    };
    let mut files = Vec::new();
    for path in paths.into_iter().filter(|path| is_text(path)) {
        // A file that is deleted but not committed yet is none.
        if let Ok(text) = std::fs::read_to_string(cargo::root().join(&path)) {
            files.push(File { path, text });
        }
    }
    if files.is_empty() {
        bail!("no file of the repository was found");
    }
    Ok(files)
}

fn is_text(path: &str) -> bool {
    let extension = Path::new(path)
        .extension()
        .and_then(|extension| extension.to_str());
    matches!(extension, Some("rs" | "md" | "toml" | "sql" | "slt" | "sh"))
        || path == "Makefile"
        || path == ".ci/run"
}

fn walk(root: &Path) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() && name != "target" && name != ".git" && name != ".venv" {
                folders.push(path);
            } else if let Ok(relative) = path.strip_prefix(root) {
                paths.push(relative.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    Ok(paths)
}

/// Lines with one of `needles`, except in this file, which has to name them.
fn lines_with(file: &File, needles: &[&str]) -> Vec<String> {
    if file.path == "xtask/src/house.rs" {
        return Vec::new();
    }
    file.text
        .lines()
        .enumerate()
        .filter(|(_, line)| needles.iter().any(|needle| line.contains(needle)))
        .map(|(i, line)| format!("{}:{}: {}", file.path, i + 1, line.trim()))
        .collect()
}

/// A path of somebody's machine works on no other.
fn no_machine_paths(file: &File) -> Vec<String> {
    // A made-up home is an example, not a machine.
    let mut lines = lines_with(file, &["/root/", "/work/", "/home/"]);
    lines.retain(|line| !line.contains("/home/me"));
    lines
}

/// A newcomer opens any file and reads first what it is for.
fn module_header(file: &File) -> Vec<String> {
    let is_code = file.path.ends_with(".rs") && !file.path.ends_with("build.rs");
    if !is_code || file.text.trim_start().starts_with("//!") {
        return Vec::new();
    }
    vec![format!("{}: no `//!` header", file.path)]
}

/// A page that sends a reader to a file which was moved has lost him. Paths in backticks that begin with a folder of the
/// repository are meant; `*`, `…` and capital letters stand for something else.
fn named_files_exist(file: &File) -> Vec<String> {
    if !file.path.ends_with(".md") || file.path == "CHANGELOG.md" {
        return Vec::new();
    }
    let is_ours = |path: &str| {
        let plain = path
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "/._-".contains(c));
        plain && FOLDERS.iter().any(|folder| path.starts_with(folder))
    };
    file.text
        .lines()
        .enumerate()
        .flat_map(|(i, line)| {
            line.split('`')
                .skip(1)
                .step_by(2)
                .map(move |path| (i, path))
        })
        .filter(|(_, path)| is_ours(path) && !cargo::root().join(path).exists())
        .map(|(i, path)| format!("{}:{}: there is no `{path}`", file.path, i + 1))
        .collect()
}

/// Folders whose files pages speak of.
const FOLDERS: &[&str] = &[
    "types/",
    "planner/",
    "state/",
    "connectors/",
    "engine/",
    "cli/",
    "tests/",
    "xtask/",
    "docs/",
    "queries/",
    "scripts/",
];

/// A code that a message shows is looked up: it has a page of its name in `docs/errors`, or stands on another page.
fn codes_are_explained(files: &[File]) -> Result<()> {
    let pages: Vec<&File> = files
        .iter()
        .filter(|file| file.path.starts_with("docs/"))
        .collect();
    let mut wrong = Vec::new();
    for file in files
        .iter()
        .filter(|file| file.path.ends_with(".rs") && file.path.contains("/src/"))
    {
        for (i, line) in file.text.lines().enumerate() {
            for code in line
                .split('"')
                .skip(1)
                .step_by(2)
                .filter(|text| is_code(text))
            {
                if !pages.iter().any(|page| page.text.contains(code)) {
                    wrong.push(format!(
                        "{}:{}: no page of docs/ explains {code}",
                        file.path,
                        i + 1
                    ));
                }
            }
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(anyhow::anyhow!(wrong.join("\n")))
    }
}

fn pages_are_linked(files: &[File]) -> Result<()> {
    let pages = files
        .iter()
        .filter(|file| file.path.ends_with(".md"))
        .map(|file| (file.path.as_str(), file.text.as_str()))
        .collect();
    let wrong = crate::links::wrong(&pages);
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(anyhow::anyhow!(wrong.join("\n")))
    }
}

/// A letter of those that codes begin with, and four digits.
fn is_code(text: &str) -> bool {
    text.len() == 5
        && text.starts_with(['P', 'W', 'C', 'E', 'R'])
        && text[1..].bytes().all(|byte| byte.is_ascii_digit())
}

/// Sketches are for the time before the first delivery.
fn nothing_unfinished(file: &File) -> Vec<String> {
    if !file.path.ends_with(".rs") {
        return Vec::new();
    }
    lines_with(
        file,
        &[
            "todo!(",
            "unimplemented!(",
            "INTERFACE SKETCH",
            "INTERFACE (",
            "FIXME",
        ],
    )
}

/// Beyond this length a file holds more than one idea.
fn file_length(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    if !file.path.ends_with(".rs") || lines <= LONG_FILE_LINES {
        return Vec::new();
    }
    vec![format!(
        "{}: {lines} lines (at most {LONG_FILE_LINES}: a second concept wants its own file)",
        file.path
    )]
}

#[cfg(test)]
mod unit {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn rules_find_offences_with_their_line() {
        let path = ["/ro", "ot/x"].concat();
        assert_eq!(
            no_machine_paths(&file("a.md", &format!("fine\nsee {path}")))[0],
            format!("a.md:2: see {path}")
        );
        assert_eq!(module_header(&file("a/src/b.rs", "use x;")).len(), 1);
        assert!(module_header(&file("a/src/b.rs", "//! Says.\nuse x;")).is_empty());
        assert_eq!(
            nothing_unfinished(&file("b.rs", &["to", "do!()"].concat())).len(),
            1
        );
        assert_eq!(
            file_length(&file("b.rs", &"x\n".repeat(LONG_FILE_LINES + 1))).len(),
            1
        );
    }
}

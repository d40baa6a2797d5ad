//! Builds the tests once and runs each binary by itself, so that every line and every count is ours to print.
//!
//! The binary `weir` that end-to-end tests start is the one of the same build, debug assertions included; it is copied
//! aside first, because a later build of the demo writes to the same place.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::cargo::{self, Executable};
use crate::report::Report;
use crate::suites::{SUITES, Suite};

/// What the tests need to run.
pub(crate) struct TestBuild {
    binaries: Vec<Executable>,
    weir: PathBuf,
}

/// What a run of one test binary said.
#[derive(Debug, Default, PartialEq)]
struct Counted {
    passed: u64,
    failed: Vec<String>,
    /// Sum of `cases=` over the lines of a suite.
    cases: Option<u64>,
    ended: bool,
}

impl TestBuild {
    /// Compiles every test of the workspace, and the binary.
    pub(crate) fn new() -> Result<Self> {
        let executables = cargo::build(cargo::with_assertions(
            cargo::command("test").arg("--no-run"),
        ))?;
        let built = executables
            .iter()
            .find(|executable| executable.target == "weir" && !executable.is_test)
            .context("the tests' build gave no binary `weir`")?;
        let folder = built
            .path
            .parent()
            .context("the binary lies in a folder")?
            .join("under-test");
        std::fs::create_dir_all(&folder)?;
        let weir = folder.join("weir");
        // Removed first: a copy over a running binary is refused.
        let _ = std::fs::remove_file(&weir);
        std::fs::copy(&built.path, &weir).context("cannot copy the binary aside")?;
        let binaries = executables
            .into_iter()
            .filter(|executable| executable.is_test)
            .collect();
        Ok(Self { binaries, weir })
    }

    /// Every test that is in no suite.
    pub(crate) fn run_tests(&self, report: &mut Report, update_snapshots: bool) {
        for binary in &self.binaries {
            let mut command = self.command(binary);
            if update_snapshots {
                command.env("UPDATE", "1");
            }
            if is_end_to_end(binary) {
                for suite in SUITES {
                    command.args(["--skip", &format!("{}::", suite.name)]);
                }
            }
            let name = format!("{}/{}", binary.package, binary.target);
            let counted = run(&mut command, &name);
            report.add(&name, counted.passed, &counted.failed);
        }
    }

    /// One suite with its seconds; below its floor it fails.
    pub(crate) fn run_suite(&self, report: &mut Report, suite: &Suite) {
        let Some(binary) = self.binaries.iter().find(|binary| is_end_to_end(binary)) else {
            report.add(
                suite.name,
                0,
                &["the crate `weir-tests` has no test binary `it`".to_owned()],
            );
            return;
        };
        let started = Instant::now();
        let mut command = self.command(binary);
        command
            .args([&format!("{}::", suite.name), "--nocapture"])
            .env("WEIR_SUITE_SECONDS", suite.seconds.to_string())
            .env("WEIR_SUITE_FLOOR", suite.floor.to_string());
        let mut counted = run(&mut command, suite.name);
        let cases = counted.cases.unwrap_or(counted.passed);
        println!(
            "suite {} in all: cases={cases} floor={} seconds={:.1}",
            suite.name,
            suite.floor,
            started.elapsed().as_secs_f64()
        );
        if cases < suite.floor {
            counted
                .failed
                .push(format!("{cases} cases, the floor is {}", suite.floor));
        }
        report.add(suite.name, counted.passed, &counted.failed);
    }

    fn command(&self, binary: &Executable) -> Command {
        let mut command = Command::new(&binary.path);
        // Tests of a package expect its folder, as `cargo test` has it.
        command
            .current_dir(cargo::root().join(&binary.package))
            .env("WEIR_BIN", &self.weir)
            .env("WEIR_ROOT", cargo::root())
            .stdin(Stdio::null());
        command
    }
}

fn is_end_to_end(binary: &Executable) -> bool {
    binary.package == "tests" && binary.target == "it"
}

/// Runs a test binary, prints what it prints, and counts.
fn run(command: &mut Command, name: &str) -> Counted {
    println!("\n-- {name}");
    let mut counted = Counted::default();
    match command.stdout(Stdio::piped()).spawn() {
        Err(error) => counted.failed.push(format!("cannot start: {error}")),
        Ok(mut child) => {
            let output = BufReader::new(child.stdout.take().expect("standard output is piped"));
            for line in output.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                println!("{line}");
                counted.read(&line);
            }
            match child.wait() {
                Ok(status) if status.success() || (counted.ended && !counted.failed.is_empty()) => {
                }
                Ok(status) => counted.failed.push(format!("ended with {status}")),
                Err(error) => counted.failed.push(format!("lost: {error}")),
            }
        }
    }
    counted
}

impl Counted {
    /// Takes in a line of libtest or of a suite. With `--nocapture` a test's own output may stand before either.
    fn read(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("test result: ") {
            self.ended = true;
            self.passed += number_before(rest, " passed").unwrap_or(0);
        } else if let Some(test) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failed.push(test.to_owned());
        } else if let Some(test) = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            // Printed for each failure with captured output; the line above may have been torn by other output.
            if !self.failed.iter().any(|known| known == test) {
                self.failed.push(test.to_owned());
            }
        } else if let Some(at) = line.find("suite ").filter(|_| line.contains(": cases=")) {
            let cases = line[at..]
                .split("cases=")
                .nth(1)
                .and_then(|rest| rest.split_whitespace().next());
            if let Some(cases) = cases.and_then(|text| text.parse::<u64>().ok()) {
                *self.cases.get_or_insert(0) += cases;
            }
        }
    }
}

/// The number right before `marker`.
fn number_before(text: &str, marker: &str) -> Option<u64> {
    text[..text.find(marker)?].rsplit(' ').next()?.parse().ok()
}

/// Doc tests of all crates.
pub(crate) fn doc_tests() -> Result<()> {
    cargo::run(cargo::with_assertions(cargo::command("test").arg("--doc")))
}

/// A folder for things that a chore leaves behind: in the target folder.
pub(crate) fn scratch(weir: &Path, name: &str) -> Result<PathBuf> {
    let folder = weir
        .parent()
        .context("the binary lies in a folder")?
        .join("scratch")
        .join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

#[cfg(test)]
#[path = "tests_tests.rs"]
mod unit;

//! The chores as sequences of steps: decisions here, work in the other modules.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::report::Report;
use crate::suites::{SUITES, Suite};
use crate::tests::{self, TestBuild};
use crate::{cargo, edges, house, licences};

/// The whole check. What needs no compiler comes first; lints and documentation come last, because they check every
/// dependency once more.
pub(crate) fn run() -> Result<ExitCode> {
    let mut report = Report::new();
    check_rules(&mut report)?;

    report.heading("build of the tests");
    match TestBuild::new() {
        Ok(build) => {
            report.heading("tests");
            build.run_tests(&mut report, false);
            for suite in SUITES {
                report.heading(&format!("suite {}: {}", suite.name, suite.about));
                build.run_suite(&mut report, suite);
            }
            report.heading("doc tests");
            report.check("doc tests", tests::doc_tests());
        }
        Err(error) => report.check("build of the tests", Err(error)),
    }

    report.heading("lints");
    report.check("clippy", clippy());
    report.heading("documentation");
    report.check("cargo doc", documentation());
    Ok(report.finish())
}

/// Some suites, perhaps with other seconds; their floors stay.
pub(crate) fn suites(names: &[String], seconds: Option<u64>) -> Result<ExitCode> {
    for name in names {
        if !SUITES.iter().any(|suite| suite.name == name) {
            let known: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
            bail!("no suite `{name}`; there are {}", known.join(", "));
        }
    }
    let mut report = Report::new();
    let build = TestBuild::new()?;
    for suite in SUITES
        .iter()
        .filter(|suite| names.is_empty() || names.iter().any(|name| name == suite.name))
    {
        report.heading(&format!("suite {}: {}", suite.name, suite.about));
        build.run_suite(
            &mut report,
            &Suite {
                seconds: seconds.unwrap_or(suite.seconds),
                ..*suite
            },
        );
    }
    Ok(report.finish())
}

/// What needs no compiler.
pub(crate) fn rules() -> Result<ExitCode> {
    let mut report = Report::new();
    check_rules(&mut report)?;
    Ok(report.finish())
}

fn check_rules(report: &mut Report) -> Result<()> {
    report.heading("house rules");
    report.check("formatting", format());
    house::check(report);
    check_crates(report)
}

/// Crate edges, licences and versions alone.
pub(crate) fn edges() -> Result<ExitCode> {
    let mut report = Report::new();
    check_crates(&mut report)?;
    Ok(report.finish())
}

fn check_crates(report: &mut Report) -> Result<()> {
    report.heading("crates");
    let metadata = cargo_metadata::MetadataCommand::new()
        .current_dir(cargo::root())
        .exec()
        .context("cannot read the workspace's metadata")?;
    report.check("crate edges", edges::check(&metadata));
    report.check(
        "one version of each shared crate",
        edges::check_single_versions(&metadata),
    );
    report.check("licences", licences::check(&metadata));
    Ok(())
}

/// Writes what snapshot tests give into their files.
pub(crate) fn update_snapshots() -> Result<ExitCode> {
    let mut report = Report::new();
    TestBuild::new()?.run_tests(&mut report, true);
    println!("now read the diff: git diff");
    Ok(report.finish())
}

/// Builds Weir and runs the bundled query. The job starts afresh each time, so a second demo shows the same.
pub(crate) fn demo() -> Result<ExitCode> {
    eprintln!(
        "weir: building; the first time compiles RocksDB and Arrow, which takes a while (later runs take seconds)"
    );
    let weir = cargo::build_binary()?;
    let state = tests::scratch(&weir, "demo")?;
    println!("$ weir run queries/flights.sql\n");
    let status = Command::new(&weir)
        .current_dir(cargo::root())
        .args([
            "run",
            "queries/flights.sql",
            "--fresh",
            "--replace-output",
            "--state-dir",
        ])
        .arg(&state)
        .stdin(Stdio::null())
        .status()
        .context("cannot start the binary that was built")?;
    if !status.success() {
        bail!("the demo ended with {status}");
    }
    println!(
        "
What to try next (`weir` is {}):
  less queries/flights.sql                      the queries that you have just seen run, explained
  weir run queries/flights.sql --changelog      how the updating results came about, change by change
  weir run queries/flights.sql --format json    for other programs
  weir explain queries/flights.sql              operators, their IDs, and what each of them remembers
  make test                                     the whole check",
        weir.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Runs the benchmark program of the crate `weir-tests` against the binary of the demo's build.
pub(crate) fn bench(arguments: &[String]) -> Result<ExitCode> {
    let executables =
        cargo::build(cargo::command("build").args(["--bin", "weir", "--bin", "weir-bench"]))?;
    let find = |name: &str| {
        executables
            .iter()
            .find(|executable| executable.target == name)
            .map(|executable| executable.path.clone())
            .with_context(|| format!("the build gave no binary `{name}`"))
    };
    let status = Command::new(find("weir-bench")?)
        .current_dir(cargo::root())
        .args(arguments)
        .env("WEIR_BIN", find("weir")?)
        .env("WEIR_ROOT", cargo::root())
        .stdin(Stdio::null())
        .status()?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn format() -> Result<()> {
    // `cargo fmt` knows no profile: it compiles nothing.
    cargo::run(
        Command::new("cargo")
            .current_dir(cargo::root())
            .args(["fmt", "--all", "--", "--check", "-l"]),
    )
    .context("run `cargo fmt`")
}

fn clippy() -> Result<()> {
    cargo::run(cargo::command("clippy").args([
        "--all-targets",
        "--quiet",
        "--",
        "--deny",
        "warnings",
    ]))
}

fn documentation() -> Result<()> {
    cargo::run(
        cargo::command("doc")
            .args(["--no-deps", "--quiet"])
            .env("RUSTDOCFLAGS", "--deny warnings"),
    )
}

//! The one way in which cargo is called: `--release`, the whole workspace, no standard input.
//!
//! RocksDB takes half an hour of CPU *per profile* and Arrow minutes per set of features, so a call without these flags
//! is a mistake that costs more than the check (docs/decisions/0002).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Our crates; tests run with their debug assertions on.
pub(crate) const CRATES: &[&str] = &[
    "weir-types",
    "weir-planner",
    "weir-state",
    "weir-connectors",
    "weir-engine",
    "weir-cli",
    "weir-tests",
];

/// The repository's root folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a folder of the repository")
}

/// `cargo SUBCOMMAND --release --workspace`, to be extended.
pub(crate) fn command(subcommand: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(root())
        .arg(subcommand)
        .args(["--release", "--workspace"])
        .stdin(Stdio::null());
    forget_ourselves(&mut command);
    command
}

/// What cargo told this program of the package that it is: a build script that looks at these names (that of `ring`, below the
/// object stores, below DataFusion) would run again, and half the tree compile, whenever cargo is called in another way.
fn forget_ourselves(command: &mut Command) {
    let ours = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(ours) {
            command.env_remove(name);
        }
    }
}

/// The variant of our crates that tests run: release, with debug assertions.
pub(crate) fn with_assertions(command: &mut Command) -> &mut Command {
    for name in CRATES {
        command.arg("--config").arg(format!(
            "profile.release.package.{name}.debug-assertions=true"
        ));
    }
    command
}

/// Runs to the end; a failure names the command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{} ended with {status}", describe(command));
    }
    Ok(())
}

/// An executable that a build gave.
#[derive(Clone, Debug)]
pub(crate) struct Executable {
    /// Name of the target: `weir`, `it`, `weir_engine`.
    pub(crate) target: String,
    /// The package's name.
    pub(crate) package: String,
    pub(crate) path: PathBuf,
    /// Whether it is a test harness.
    pub(crate) is_test: bool,
}

/// Builds, and says which executables came out of it. Compiler messages go to standard error.
pub(crate) fn build(command: &mut Command) -> Result<Vec<Executable>> {
    command
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {}", describe(command)))?;
    let output = std::io::BufReader::new(child.stdout.take().expect("standard output is piped"));
    let mut executables = Vec::new();
    for message in cargo_metadata::Message::parse_stream(output) {
        if let cargo_metadata::Message::CompilerArtifact(artifact) = message?
            && let Some(path) = artifact.executable
        {
            executables.push(Executable {
                target: artifact.target.name.clone(),
                package: package_of(&artifact.manifest_path.into_std_path_buf()),
                path: path.into_std_path_buf(),
                is_test: artifact.profile.test,
            });
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{} ended with {status}", describe(command));
    }
    Ok(executables)
}

/// Builds the `weir` binary without debug assertions: the one of demo and benchmarks.
pub(crate) fn build_binary() -> Result<PathBuf> {
    let executables = build(command("build").args(["--bin", "weir"]))?;
    executables
        .into_iter()
        .find(|executable| executable.target == "weir" && !executable.is_test)
        .map(|executable| executable.path)
        .context("the build gave no binary `weir`")
}

/// The folder's name is enough to tell our packages apart in a log.
fn package_of(manifest: &Path) -> String {
    manifest
        .parent()
        .and_then(Path::file_name)
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn describe(command: &Command) -> String {
    let arguments: Vec<_> = command
        .get_args()
        .map(|argument| argument.to_string_lossy())
        .filter(|argument| argument != "--config" && !argument.starts_with("profile."))
        .collect();
    format!("cargo {}", arguments.join(" "))
}

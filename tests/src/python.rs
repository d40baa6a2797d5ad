//! A Python with the packages of `tests/requirements.txt`, in a virtual environment that is made once and kept.
//!
//! `WEIR_TEST_PYTHON` names an interpreter that has them already.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::process::text_of;

/// The interpreter.
///
/// # Panics
/// When there is no Python 3 with `venv`, or its packages cannot be had: the text says what to install.
pub fn python() -> PathBuf {
    if let Some(given) = std::env::var_os("WEIR_TEST_PYTHON") {
        return given.into();
    }
    let wanted = include_str!("../requirements.txt");
    let pinned: String = wanted
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect::<Vec<_>>()
        .join("-")
        .replace("==", "-");
    let folder = cache().join(format!("test-python-{pinned}"));
    let python = folder.join("bin/python");
    if folder.join("ready").exists() {
        return python;
    }
    // Tests of one process wait for each other. Two processes make one each, and the first to finish is kept.
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if folder.join("ready").exists() {
        return python;
    }
    let own = folder.with_extension(format!("{}", std::process::id()));
    let run = |command: &mut Command, what: &str| {
        let output = command.output().unwrap_or_else(|error| {
            panic!("{what}: {error}; install Python 3 with venv (apt-get install python3-venv)")
        });
        assert!(output.status.success(), "{what}:\n{}", text_of(&output));
    };
    run(
        Command::new("python3").args(["-m", "venv"]).arg(&own),
        "making a virtual environment",
    );
    let requirements = own.join("requirements.txt");
    std::fs::write(&requirements, wanted).unwrap();
    run(
        Command::new(own.join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "-r",
            ])
            .arg(&requirements),
        "installing tests/requirements.txt from PyPI",
    );
    std::fs::write(own.join("ready"), "").unwrap();
    if std::fs::rename(&own, &folder).is_err() {
        assert!(
            folder.join("ready").exists(),
            "{} is in the way",
            folder.display()
        );
        let _ = std::fs::remove_dir_all(&own);
    }
    python
}

fn cache() -> PathBuf {
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/weir"));
    let usable = home.filter(|folder| std::fs::create_dir_all(folder).is_ok());
    usable.unwrap_or_else(std::env::temp_dir)
}

/// Runs a program and gives what it prints.
///
/// # Panics
/// When it fails.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(python())
        .args(["-c", program])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{program}\n{}", text_of(&output));
    String::from_utf8(output.stdout).unwrap()
}

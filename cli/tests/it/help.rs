//! The help texts, as snapshots: a changed flag is a change that users see.

use crate::weir::{Folder, root};

/// Compares with `cli/tests/it/snapshots/NAME`; `cargo xtask update-snapshots` writes it instead.
fn snapshot(name: &str, text: &str) {
    let path = root().join("cli/tests/it/snapshots").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text,
        expected,
        "{}: see `cargo xtask update-snapshots`",
        path.display()
    );
}

#[test]
fn every_command_has_a_help_text() {
    let folder = Folder::new();
    for command in [
        "", "run", "query", "repl", "explain", "check", "diff", "fmt", "generate", "jobs", "serve",
        "submit", "logs",
    ] {
        let arguments: Vec<&str> = [command, "--help"]
            .into_iter()
            .filter(|word| !word.is_empty())
            .collect();
        let ended = folder.weir(&arguments);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
        let name = if command.is_empty() { "weir" } else { command };
        snapshot(&format!("help-{name}.txt"), &ended.stdout);
    }
}

/// The commands that a help text lists.
fn commands_of(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.strip_prefix("  "))
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_has_examples() {
    let folder = Folder::new();
    let listed = folder.weir(&["--help"]).stdout;
    let commands = commands_of(&listed);
    assert!(commands.len() > 15, "{commands:?}");
    for command in commands.iter().map(String::as_str) {
        let ended = folder.weir(&[command, "--help"]);
        let examples = ended.stdout.split("Examples:\n").nth(1);
        let called = format!("weir {command}");
        for below in commands_of(&ended.stdout) {
            let help = folder.weir(&[command, &below, "--help"]).stdout;
            let called = format!("{called} {below}");
            let examples = help.split("Examples:\n").nth(1);
            let shown = examples.is_some_and(|text| text.contains(&called));
            assert!(shown, "{called} --help shows no example\n{help}");
        }
        let shown = examples.is_some_and(|text| {
            text.contains(&called) || (command == "repl" && text.contains("weir\n"))
        });
        assert!(shown, "{called} --help shows no example\n{}", ended.stdout);
    }
}

#[test]
fn the_version_is_that_of_the_workspace() {
    assert_eq!(
        Folder::new().weir(&["--version"]).stdout,
        format!("weir {}\n", env!("CARGO_PKG_VERSION"))
    );
}

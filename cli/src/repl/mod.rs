//! `weir` and `weir repl`: statements one after another, at a terminal or from a pipe.
//!
//! ```text
//!   terminal ─▶ rustyline (helper.rs) ─┐                            ┌ printed              (print/)
//!                                      ├─▶ Shell ─▶ Session ─▶ rows ┤ live table, keys      (live.rs, screen.rs, keys.rs)
//!   pipe ─────▶ lines ─────────────────┘     │                      └ chart                 (plot.rs)
//!                                            └ \commands            (meta.rs)
//! ```
//!
//! # Invariants
//! 1. Ctrl-C ends what runs in the foreground, never the REPL and never a job.
//! 2. What a statement prints is the same at a terminal and in a pipe, but for live tables and colours.
//! 3. A script stops at its first error, with the exit code that `weir run` would have.

mod helper;
mod keys;
mod live;
mod meta;
mod plot;
mod result;
mod screen;
mod shell;
mod words;

use std::cell::RefCell;
use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::rc::Rc;

use clap::Args;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{CompletionType, Config, Editor};
use weir_engine::{QueryStream, SessionOptions};

use crate::arguments::{Format, key_and_value};
use crate::exit::{Code, Failure};
use helper::{Names, Shoulder, is_complete};
use shell::{After, Shell};

/// So many statements are remembered.
const HISTORY_MAX: usize = 5000;

/// `weir repl`.
#[derive(Args, Default)]
#[command(after_help = "Examples:
  weir
  weir repl --format csv < script.sql
  echo \"SELECT count(*) FROM 'data/*.csv';\" | weir repl

In it: \\help lists the commands, Tab completes, Ctrl-C ends a query, Ctrl-D leaves.")]
pub(crate) struct ReplOptions {
    /// How rows are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// Shows every change (+I -U +U -D) instead of the current result.
    #[arg(long)]
    pub(crate) changelog: bool,
    /// Folder of the jobs' folders [default: .weir].
    #[arg(long, value_name = "FOLDER")]
    pub(crate) state_root: Option<PathBuf>,
    /// Any setting, as `SET 'key' = 'value'` would.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub(crate) set: Vec<(String, String)>,
}

/// Runs the REPL, or a script from a pipe.
pub(crate) fn repl(options: &ReplOptions) -> Result<Code, Failure> {
    let defaults = crate::defaults::Defaults::read()?;
    let mut settings = defaults.environment;
    settings.extend(options.set.iter().cloned());
    let root = options
        .state_root
        .clone()
        .unwrap_or_else(|| PathBuf::from(".weir"));
    let session = SessionOptions {
        views_root: Some(root.clone()),
        state_root: Some(root),
        settings,
        ..SessionOptions::default()
    };
    let interactive = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let mut shell = Shell::new(session, options.format, options.changelog, interactive)?;
    crate::query::declare_settings(&mut shell.session, &defaults.file)?;
    if interactive {
        at_terminal(&mut shell)
    } else {
        from_pipe(&mut shell)
    }
}

/// Whether the terminal can do more than print lines.
pub(crate) fn is_capable() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term != "dumb" && !term.is_empty())
}

/// Whether colours are wanted.
fn has_colours() -> bool {
    is_capable() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A query as a live table (`weir query` on a terminal).
pub(crate) fn live_view(rows: QueryStream) -> weir_engine::Result<()> {
    live::show(rows)
}

fn at_terminal(shell: &mut Shell) -> Result<Code, Failure> {
    let failed =
        |error: ReadlineError| Failure::failed(format!("cannot read from the terminal: {error}"));
    let config = Config::builder()
        .max_history_size(HISTORY_MAX)
        .map_err(failed)?
        .history_ignore_dups(true)
        .map_err(failed)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .auto_add_history(true)
        .build();
    let names = Rc::new(RefCell::new(Names::default()));
    let mut editor: Editor<Shoulder, DefaultHistory> =
        Editor::with_config(config).map_err(failed)?;
    editor.set_helper(Some(Shoulder::new(names.clone(), has_colours())));
    let history = history_file();
    if let Some(file) = &history {
        // There is none at the first start.
        drop(editor.load_history(file));
    }
    println!(
        "weir {}: SQL over streams. \\help lists the commands, \\q leaves.",
        env!("CARGO_PKG_VERSION")
    );
    loop {
        shell.tell_about_jobs();
        shell.fill_names(&mut names.borrow_mut());
        match editor.readline("weir> ") {
            Ok(text) => {
                if let Some(file) = &history {
                    save_history(&mut editor, file);
                }
                if shell.run(&text, 0) == After::Leave {
                    break;
                }
            }
            // What was typed so far is dropped.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(failed(error)),
        }
    }
    shell.leave();
    Ok(Code::Done)
}

/// A history that cannot be written is none; the REPL works without.
fn save_history(editor: &mut Editor<Shoulder, DefaultHistory>, file: &PathBuf) {
    if let Some(folder) = file.parent() {
        drop(std::fs::create_dir_all(folder));
    }
    drop(editor.save_history(file));
}

/// `WEIR_HISTORY`, or below the folder for such things; `None`: none is kept.
fn history_file() -> Option<PathBuf> {
    match std::env::var_os("WEIR_HISTORY") {
        Some(file) if file.is_empty() => return None,
        Some(file) => return Some(file.into()),
        None => {}
    }
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(state.join("weir/history"))
}

/// Statements as lines bring them; the first error ends the script.
fn from_pipe(shell: &mut Shell) -> Result<Code, Failure> {
    let (mut text, mut line_before) = (String::new(), 0);
    for (lines_read, line) in std::io::stdin().lock().lines().enumerate() {
        let line =
            line.map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
        if text.trim().is_empty() {
            text.clear();
            line_before = lines_read;
        }
        text.push_str(&line);
        text.push('\n');
        if is_complete(&text) {
            match shell.run(&text, line_before) {
                After::GoOn => {}
                After::Leave => break,
                After::Failed(code) => return Ok(code),
            }
            text.clear();
        }
    }
    if !text.trim().is_empty()
        && let After::Failed(code) = shell.run(&text, line_before)
    {
        return Ok(code);
    }
    shell.wait_for_jobs()
}

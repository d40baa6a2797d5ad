//! `weir completions SHELL` and `weir man`: what shells and manuals want to know, from the arguments themselves.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::exit::{Code, Failure};
use crate::print::is_closed_pipe;

/// `weir completions`.
#[derive(Args)]
#[command(after_help = "Examples:
  weir completions bash > ~/.local/share/bash-completion/completions/weir
  weir completions zsh > \"${fpath[1]}/_weir\"
  weir completions fish > ~/.config/fish/completions/weir.fish")]
pub(crate) struct CompletionsOptions {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// `weir man`.
#[derive(Args)]
#[command(after_help = "Examples:
  weir man | man -l -
  weir man query > weir-query.1")]
pub(crate) struct ManOptions {
    /// A command: its own page instead of that of weir.
    pub(crate) command: Option<String>,
}

/// Runs `weir completions`.
pub(crate) fn completions(options: &CompletionsOptions) -> Result<Code, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut Arguments::command(), "weir", &mut text);
    print(&text)
}

/// Runs `weir man`.
pub(crate) fn man(options: &ManOptions) -> Result<Code, Failure> {
    let mut all = Arguments::command();
    all.build();
    let command = match &options.command {
        None => all,
        Some(name) => {
            let found = all
                .get_subcommands()
                .find(|command| command.get_name() == name);
            let names: Vec<&str> = all.get_subcommands().map(clap::Command::get_name).collect();
            let found = found.ok_or_else(|| {
                Failure::usage(format!(
                    "there is no command `{name}`; there are {}",
                    names.join(", ")
                ))
            })?;
            let name: &'static str = Box::leak(format!("weir-{name}").into_boxed_str());
            found.clone().name(name)
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut text)
        .map_err(|error| Failure::failed(format!("cannot make the page: {error}")))?;
    print(&text)
}

fn print(text: &[u8]) -> Result<Code, Failure> {
    match std::io::stdout().lock().write_all(text) {
        Err(error) if !is_closed_pipe(&error) => {
            Err(Failure::failed(format!("cannot print: {error}")))
        }
        _ => Ok(Code::Done),
    }
}

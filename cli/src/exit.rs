//! How the command ends: exit codes, and failures as people read them.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done, stopped with a checkpoint, or nothing to do |
//! | 1 | the job failed while it ran |
//! | 2 | the arguments or the SQL are wrong; nothing was started |
//! | 3 | the job's folder refuses the start: locked, another file's, another plan's, output is there |
//! | 130 | stopped at once by a second Ctrl-C, without a checkpoint |

use std::process::ExitCode;

use weir_engine::Error;
use weir_types::{Diagnostic, Diagnostics};

use crate::query_file::QueryFile;

/// The exit codes that are ours to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Refused = 3,
}

/// The code of a second Ctrl-C: 128 and the signal's number, as shells count.
pub(crate) const STOPPED_AT_ONCE: i32 = 130;

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// Why the command could not do what it was asked, ready to print.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    /// Whole lines, with `error` in front.
    text: String,
}

impl Failure {
    /// A mistake in the arguments, or a file that is not there.
    pub(crate) fn usage(message: impl std::fmt::Display) -> Self {
        Self {
            code: Code::Usage,
            text: format!("error: {message}\n"),
        }
    }

    /// The same where the message begins with its code: `[R0100] …`.
    pub(crate) fn mistake(message: impl std::fmt::Display) -> Self {
        Self {
            code: Code::Usage,
            text: said(&message.to_string()),
        }
    }

    /// Something went wrong on our way to the user.
    pub(crate) fn failed(message: impl std::fmt::Display) -> Self {
        Self {
            code: Code::Failed,
            text: format!("error: {message}\n"),
        }
    }

    /// The job's folder, or a savepoint's, refuses.
    pub(crate) fn refused(message: impl std::fmt::Display) -> Self {
        Self {
            code: Code::Refused,
            text: said(&message.to_string()),
        }
    }

    /// What the engine said where there is no SQL to point at.
    pub(crate) fn plain(error: &Error) -> Self {
        let code = match error {
            Error::Job(_) | Error::State(weir_state::Error::Incompatible(_)) => Code::Refused,
            _ => Code::Failed,
        };
        Self {
            code,
            text: said(&error.to_string()),
        }
    }

    /// Mistakes in the SQL, each with its lines.
    pub(crate) fn sql(file: &QueryFile, diagnostics: &Diagnostics) -> Self {
        let errors = diagnostics.0.len();
        let mut text = diagnostics.render(&file.shown, &file.sql);
        if errors > 1 {
            text.push_str(&format!("\n{errors} problems in {}\n", file.shown));
        }
        Self {
            code: Code::Usage,
            text,
        }
    }

    /// Mistakes in flags that stand for settings: they have no place in the SQL.
    pub(crate) fn flags(diagnostics: &Diagnostics) -> Self {
        Self {
            code: Code::Usage,
            text: diagnostics.render("", ""),
        }
    }

    /// What the engine said.
    pub(crate) fn engine(file: &QueryFile, error: &Error) -> Self {
        match error {
            Error::Plan(diagnostics) => Self::sql(file, diagnostics),
            Error::Connector(weir_connectors::Error::Diagnostic(diagnostic)) => Self {
                code: Code::Usage,
                text: diagnostic.render(&file.shown, &file.sql),
            },
            Error::Job(message) | Error::State(weir_state::Error::Incompatible(message)) => Self {
                code: Code::Refused,
                text: said(message),
            },
            Error::Row(row) => {
                let mut diagnostic = Diagnostic::error("R0001", row.reason.clone());
                diagnostic = diagnostic.at(row.span, format!("in operator {}", row.operator));
                diagnostic = diagnostic.help(format!("the row: {}", pairs(&row.row)));
                if let Some((split, offset)) = &row.place {
                    diagnostic =
                        diagnostic.help(format!("it stands at offset {offset} of {split}"));
                }
                Self {
                    code: Code::Failed,
                    text: diagnostic.render(&file.shown, &file.sql),
                }
            }
            other => Self {
                code: Code::Failed,
                text: format!("error: {other}\n"),
            },
        }
    }

    /// What another process said, as it is to be printed.
    pub(crate) fn rendered(code: Code, text: String) -> Self {
        Self { code, text }
    }

    /// The exit code, and what would be printed.
    pub(crate) fn into_parts(self) -> (Code, String) {
        (self.code, self.text)
    }

    /// Prints it and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        self.tell().into()
    }

    /// Prints it.
    pub(crate) fn tell(self) -> Code {
        eprint!("{}", self.text);
        self.code
    }
}

/// An error's line; a code in brackets in front of the message goes where codes are.
fn said(message: &str) -> String {
    let coded = message
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "));
    match coded {
        Some((code, rest)) => format!("error[{code}]: {rest}\n"),
        None => format!("error: {message}\n"),
    }
}

fn pairs(row: &[(String, String)]) -> String {
    row.iter()
        .map(|(column, value)| format!("{column} = {value}"))
        .collect::<Vec<_>>()
        .join(", ")
}

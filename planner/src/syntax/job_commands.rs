//! What SQL asks of jobs that run elsewhere: `STOP JOB`, `SAVEPOINT JOB`.
//!
//! ```text
//!   STOP JOB clicks;
//!   STOP JOB clicks WITH DRAIN;
//!   STOP JOB clicks WITH SAVEPOINT 's3://bucket/last';
//!   SAVEPOINT JOB clicks 'saved/monday';
//! ```
//!
//! Such statements plan nothing: they are read here and carried out by `weir_engine::run_job_command`, for a file and for a
//! prompt alike. A text holds either these or a job, never both: a job that stops others at an unknown time of its own life would be
//! nobody's wish.

use sqlparser::tokenizer::Token;
use weir_types::{Diagnostic, Diagnostics, Span};

use super::cursor::Cursor;
use super::tokens;
use crate::codes;

/// Something that is asked of a running job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobCommand {
    /// `SAVEPOINT JOB name ['folder or URL']`.
    Savepoint {
        /// The job.
        job: String,
        /// Where to; in the job's own folder unless it is named.
        folder: Option<String>,
        /// The statement.
        span: Span,
    },
    /// `STOP JOB name [WITH SAVEPOINT ['folder or URL']] [WITH DRAIN]`.
    Stop {
        /// The job.
        job: String,
        /// With a savepoint of its last checkpoint, and where to.
        savepoint: Option<Option<String>>,
        /// As if every input had ended.
        drain: bool,
        /// The statement.
        span: Span,
    },
}

impl JobCommand {
    /// The job that is spoken to.
    pub fn job(&self) -> &str {
        match self {
            Self::Savepoint { job, .. } | Self::Stop { job, .. } => job,
        }
    }
}

/// The commands of a text that consists of nothing else; `None`: it speaks to no other job.
///
/// # Errors
/// A command that cannot be read, or one among statements of another kind.
pub fn job_commands(sql: &str) -> Result<Option<Vec<JobCommand>>, Diagnostics> {
    let (chunks, _) = tokens::scan(sql);
    let mut commands = Vec::new();
    let mut other = None;
    for chunk in &chunks {
        let mut cursor = Cursor::new(&chunk.tokens, chunk.end);
        if cursor.is_at_end() {
            continue;
        }
        let start = cursor.span();
        match command(&mut cursor) {
            Some(command) => commands.push(command?),
            None => other = other.or(Some(start)),
        }
    }
    match (commands.first(), other) {
        (None, _) => Ok(None),
        (Some(_), None) => Ok(Some(commands)),
        (Some(JobCommand::Savepoint { span, .. } | JobCommand::Stop { span, .. }), Some(other)) => {
            Err(Diagnostic::error(
                codes::UNKNOWN_STATEMENT,
                "a text either runs a job or speaks to others",
            )
            .at(*span, "this speaks to another job")
            .at(other, "this belongs to a job")
            .help("put STOP JOB and SAVEPOINT JOB into a file of their own, or use `weir stop` and `weir savepoint`")
            .into())
        }
    }
}

fn command(cursor: &mut Cursor<'_>) -> Option<Result<JobCommand, Diagnostics>> {
    let start = cursor.span();
    let stop = cursor.is_keywords(&["STOP", "JOB"]);
    if !stop && !cursor.is_keywords(&["SAVEPOINT", "JOB"]) {
        return None;
    }
    cursor.skip(2);
    Some(if stop {
        stop_job(cursor, start)
    } else {
        savepoint_job(cursor, start)
    })
}

fn savepoint_job(cursor: &mut Cursor<'_>, start: Span) -> Result<JobCommand, Diagnostics> {
    let job = job_name(cursor)?;
    let folder = folder(cursor)?;
    end(cursor, "a folder in quotes, or the end")?;
    Ok(JobCommand::Savepoint {
        job,
        folder,
        span: start.union(cursor.last_span()),
    })
}

fn stop_job(cursor: &mut Cursor<'_>, start: Span) -> Result<JobCommand, Diagnostics> {
    let job = job_name(cursor)?;
    let (mut savepoint, mut drain) = (None, false);
    while cursor.take_keyword("WITH") {
        if savepoint.is_none() && cursor.take_keyword("SAVEPOINT") {
            savepoint = Some(folder(cursor)?);
        } else if !drain && cursor.take_keyword("DRAIN") {
            drain = true;
        } else {
            return Err(cursor.expected("SAVEPOINT or DRAIN").into());
        }
    }
    end(cursor, "WITH SAVEPOINT, WITH DRAIN or the end")?;
    Ok(JobCommand::Stop {
        job,
        savepoint,
        drain,
        span: start.union(cursor.last_span()),
    })
}

/// A name, or a string: jobs are called by the stems of their files.
fn job_name(cursor: &mut Cursor<'_>) -> Result<String, Diagnostics> {
    match cursor.peek(0) {
        Some(Token::SingleQuotedString(_)) => Ok(cursor.string("the name of a job")?.0),
        // As it is written: a file's name keeps its letters.
        _ => Ok(cursor.name("the name of a job")?.spelling),
    }
}

fn folder(cursor: &mut Cursor<'_>) -> Result<Option<String>, Diagnostics> {
    match cursor.peek(0) {
        Some(Token::SingleQuotedString(_)) => Ok(Some(cursor.string("a folder")?.0)),
        _ => Ok(None),
    }
}

fn end(cursor: &Cursor<'_>, what: &str) -> Result<(), Diagnostics> {
    match cursor.is_at_end() {
        true => Ok(()),
        false => Err(cursor.expected(what).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> Vec<JobCommand> {
        job_commands(sql).unwrap().unwrap()
    }

    #[test]
    fn commands_name_a_job_and_what_is_asked_of_it() {
        let found = read(
            "-- in the evening\nSAVEPOINT JOB clicks 's3://b/x'; stop job 'my-Job' with savepoint;\n\
             STOP JOB Clicks WITH SAVEPOINT 'last' WITH DRAIN;",
        );
        let texts: Vec<(&str, String)> = found
            .iter()
            .map(|command| match command {
                JobCommand::Savepoint { job, folder, .. } => (job.as_str(), format!("{folder:?}")),
                JobCommand::Stop {
                    job,
                    savepoint,
                    drain,
                    ..
                } => (job.as_str(), format!("{savepoint:?} {drain}")),
            })
            .collect();
        assert_eq!(texts[0], ("clicks", "Some(\"s3://b/x\")".to_owned()));
        assert_eq!(texts[1], ("my-Job", "Some(None) false".to_owned()));
        assert_eq!(texts[2], ("Clicks", "Some(Some(\"last\")) true".to_owned()));
    }

    #[test]
    fn a_text_without_them_is_none_and_a_mixed_one_is_refused() {
        assert_eq!(
            job_commands("SELECT 1; SET 'parallelism' = '2';").unwrap(),
            None
        );
        assert_eq!(job_commands("").unwrap(), None);
        // A transaction's savepoint is another thing, and has its own message.
        assert_eq!(job_commands("SAVEPOINT s;").unwrap(), None);
        let error = job_commands("SELECT 1;\nSTOP JOB a;").unwrap_err();
        let text = error.render("q.sql", "SELECT 1;\nSTOP JOB a;");
        assert!(
            text.contains("either runs a job or speaks to others"),
            "{text}"
        );
        for wrong in [
            "STOP JOB",
            "STOP JOB a WITH",
            "STOP JOB a 'x'",
            "SAVEPOINT JOB a b",
        ] {
            assert!(job_commands(wrong).is_err(), "{wrong}");
        }
    }
}

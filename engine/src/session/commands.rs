//! Statements about jobs: SHOW JOBS, STOP JOB, SAVEPOINT JOB. They speak to the session, not to the planner.
//!
//! ```text
//!   SHOW JOBS
//!   STOP JOB name [WITH SAVEPOINT ['folder']] [WITH DRAIN]
//!   SAVEPOINT JOB name [TO 'folder']
//! ```

use std::path::PathBuf;

use weir_planner::lexemes::{Lexeme, LexemeKind, lexemes};
use weir_types::{Diagnostic, Diagnostics};

use super::files::span_of;
use crate::{SavepointOrder, StopOrder};

/// A statement about jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    ShowJobs,
    Stop { job: String, order: StopOrder },
    Savepoint { job: String, order: SavepointOrder },
}

/// The statement at this place of a text, if it is about jobs.
pub(super) fn command(
    text: &str,
    range: std::ops::Range<usize>,
) -> Option<Result<Command, Diagnostics>> {
    let statement = &text[range.clone()];
    let pieces: Vec<Lexeme> = lexemes(statement)
        .into_iter()
        .filter(|piece| !piece.is_silent() && piece.kind != LexemeKind::End)
        .collect();
    let is = |at: usize, word: &str| {
        pieces
            .get(at)
            .is_some_and(|piece| piece.is(statement, word))
    };
    let read = if is(0, "SHOW") && is(1, "JOBS") {
        if pieces.len() == 2 {
            Ok(Command::ShowJobs)
        } else {
            Err((2, "SHOW JOBS takes nothing more"))
        }
    } else if is(0, "STOP") && is(1, "JOB") {
        stop(statement, &pieces)
    } else if is(0, "SAVEPOINT") && is(1, "JOB") {
        savepoint(statement, &pieces)
    } else {
        return None;
    };
    Some(read.map_err(|(at, what)| {
        let place = match pieces.get(at) {
            Some(piece) => range.start + piece.range.start..range.start + piece.range.end,
            None => range.end.saturating_sub(1)..range.end,
        };
        Diagnostic::error("R0013", what)
            .at(span_of(text, place), "here")
            .help("STOP JOB name [WITH SAVEPOINT ['folder'] | WITH DRAIN]; SAVEPOINT JOB name [TO 'folder']; SHOW JOBS")
            .into()
    }))
}

fn stop(sql: &str, pieces: &[Lexeme]) -> Result<Command, (usize, &'static str)> {
    let job = name(sql, pieces, 2)?;
    let is = |at: usize, word: &str| pieces.get(at).is_some_and(|piece| piece.is(sql, word));
    let mut order = StopOrder::default();
    let mut at = 3;
    while at < pieces.len() {
        if !is(at, "WITH") {
            return Err((
                at,
                "expected WITH SAVEPOINT, WITH DRAIN or the end of the statement",
            ));
        }
        if is(at + 1, "DRAIN") {
            order.drain = true;
            at += 2;
        } else if is(at + 1, "SAVEPOINT") {
            at += 2;
            let folder = pieces
                .get(at)
                .filter(|piece| piece.kind == LexemeKind::Text);
            at += usize::from(folder.is_some());
            order.savepoint = Some(SavepointOrder {
                folder: folder.map(|piece| PathBuf::from(unquoted(piece.text(sql)))),
                ..SavepointOrder::default()
            });
        } else {
            return Err((at + 1, "expected SAVEPOINT or DRAIN behind WITH"));
        }
    }
    Ok(Command::Stop { job, order })
}

fn savepoint(sql: &str, pieces: &[Lexeme]) -> Result<Command, (usize, &'static str)> {
    let job = name(sql, pieces, 2)?;
    let mut order = SavepointOrder::default();
    let to = pieces.get(3).is_some_and(|piece| piece.is(sql, "TO"));
    match pieces.get(3 + usize::from(to)) {
        Some(piece) if piece.kind == LexemeKind::Text => {
            order.folder = Some(PathBuf::from(unquoted(piece.text(sql))));
        }
        None if !to => {}
        _ => {
            return Err((
                3 + usize::from(to),
                "expected the savepoint's folder in quotes",
            ));
        }
    }
    if pieces.len() > 4 + usize::from(to) {
        return Err((4 + usize::from(to), "expected the end of the statement"));
    }
    Ok(Command::Savepoint { job, order })
}

/// A job's name: a word, a quoted name or a text.
fn name(sql: &str, pieces: &[Lexeme], at: usize) -> Result<String, (usize, &'static str)> {
    match pieces.get(at) {
        Some(piece) if piece.kind == LexemeKind::Word => Ok(piece.text(sql).to_owned()),
        Some(piece) if matches!(piece.kind, LexemeKind::QuotedName | LexemeKind::Text) => {
            Ok(unquoted(piece.text(sql)))
        }
        _ => Err((at, "expected the name of a job; SHOW JOBS lists them")),
    }
}

/// What stands between quotes, doubled ones made single.
pub(super) fn unquoted(text: &str) -> String {
    let Some(quote) = text.chars().next() else {
        return String::new();
    };
    let inner = text.strip_prefix(quote).unwrap_or(text);
    let inner = inner.strip_suffix(quote).unwrap_or(inner);
    inner.replace(&format!("{quote}{quote}"), &quote.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> Option<Result<Command, Diagnostics>> {
        command(sql, 0..sql.len())
    }

    #[test]
    fn statements_about_jobs_are_read_and_others_are_left_alone() {
        assert_eq!(read("show jobs;").unwrap().unwrap(), Command::ShowJobs);
        let Some(Ok(Command::Stop { job, order })) =
            read("STOP JOB \"a b\" WITH SAVEPOINT 'x' WITH DRAIN;")
        else {
            panic!("a stop");
        };
        assert_eq!(job, "a b");
        assert!(order.drain);
        assert_eq!(order.savepoint.unwrap().folder.unwrap(), PathBuf::from("x"));
        assert!(matches!(
            read("SAVEPOINT JOB busy"),
            Some(Ok(Command::Savepoint { .. }))
        ));
        assert!(read("SHOW TABLES").is_none());
        for wrong in [
            "STOP JOB",
            "STOP JOB a b",
            "SAVEPOINT JOB a TO",
            "SHOW JOBS now",
            "STOP JOB a WITH",
        ] {
            assert!(matches!(read(wrong), Some(Err(_))), "{wrong}");
        }
    }
}

//! Statements about jobs: SHOW JOBS, STOP JOB, SAVEPOINT JOB. They speak to the session, not to the planner.

use std::path::PathBuf;

use weir_planner::lexemes::lexemes;
use weir_planner::{JobCommand, job_commands};
use weir_types::Diagnostics;

use crate::{SavepointOrder, StopOrder};

/// A statement about jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    ShowJobs,
    Stop { job: String, order: StopOrder },
    Savepoint { job: String, order: SavepointOrder },
}

/// The statement, if it is about jobs. `padded`: with blanks in front, so that places are those of what was typed.
pub(super) fn command(padded: &str) -> Option<Result<Command, Diagnostics>> {
    let words: Vec<String> = lexemes(padded)
        .iter()
        .filter(|piece| !piece.is_silent() && piece.text(padded) != ";")
        .map(|piece| piece.text(padded).to_ascii_uppercase())
        .collect();
    if words == ["SHOW", "JOBS"] {
        return Some(Ok(Command::ShowJobs));
    }
    if !matches!(
        words.first().map(String::as_str),
        Some("STOP" | "SAVEPOINT")
    ) {
        return None;
    }
    let commands = match job_commands(padded) {
        Ok(commands) => commands?,
        Err(problems) => return Some(Err(problems)),
    };
    Some(Ok(match commands.into_iter().next()? {
        JobCommand::Savepoint { job, folder, .. } => Command::Savepoint {
            job,
            order: order(folder),
        },
        JobCommand::Stop {
            job,
            savepoint,
            drain,
            ..
        } => Command::Stop {
            job,
            order: StopOrder {
                savepoint: savepoint.map(order),
                drain,
            },
        },
    }))
}

fn order(folder: Option<String>) -> SavepointOrder {
    SavepointOrder {
        folder: folder.map(PathBuf::from),
        ..SavepointOrder::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_about_jobs_are_read_and_others_are_left_alone() {
        assert_eq!(command("show jobs;").unwrap().unwrap(), Command::ShowJobs);
        let Some(Ok(Command::Stop { job, order })) =
            command("\n STOP JOB busy WITH SAVEPOINT 'x' WITH DRAIN;")
        else {
            panic!("a stop");
        };
        assert_eq!(job, "busy");
        assert!(order.drain);
        assert_eq!(order.savepoint.unwrap().folder.unwrap(), PathBuf::from("x"));
        let saved = command("SAVEPOINT JOB busy");
        assert!(matches!(saved, Some(Ok(Command::Savepoint { .. }))));
        assert!(command("SHOW TABLES").is_none());
        assert!(matches!(command("STOP JOB"), Some(Err(_))));
    }
}
